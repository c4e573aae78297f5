"""MQTT 5, the rules of conversation: how much may be in flight, how long one may be silent, what may not be said."""

from itertools import pairwise

import mqtt5
import pytest
import trio
from mqtt5 import DisconnectReasonCode, QoS, TopicFilter

from engines.lab.host import Host
from engines.wire.mqtt_broker import Policy
from engines.wire.mqtt_client import ClientSession, MqttRefused, mqtt_connect
from engines.wire.mqtt_packets import PORT, MqttConnectionLost, MqttDisconnected, MqttMalformed, MqttStream
from tests.wire.mqtt_world import LATENCY_S, RawClient, World, texts

# --- flow control, keep alive, reason codes -----------------------------------------------------------------------------


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("maximum", [1, 3, 20])
def test_receive_maximum_is_how_many_may_be_in_flight(qos: int, maximum: int) -> None:
    async def publisher(host: Host) -> None:
        async with mqtt_connect(host, "broker", "p") as client:
            await trio.sleep_until(2)
            for n in range(10):
                client.publish("t", str(n).encode(), qos=qos)
            await trio.sleep_until(30)

    async def subscriber(host: Host) -> None:
        async with mqtt_connect(host, "broker", "s", receive_maximum=maximum) as client:
            await client.subscribe("t", 2)
            await trio.sleep_until(5)
            assert client.waiting == min(10, maximum)
            (await anext(client)).ack()
            await trio.sleep(1)
            assert client.waiting == min(9, maximum)
            assert len(await texts(client, 10)) == 9

    World(publisher=publisher, subscriber=subscriber)


def test_a_publisher_keeps_to_the_broker_s_receive_maximum() -> None:
    async def talk(host: Host) -> None:
        async with mqtt_connect(host, "broker", "p") as client:
            for n in range(6):
                client.publish("t", str(n).encode(), qos=2)
            await trio.sleep(5)
            assert client.session.unsettled == 0

    world = World(client=talk, policy=Policy(receive_maximum=lambda: 2))
    sent = world.said_at("client", "PUBLISH")
    round_trips = [round((time_s - sent[0]) / (4 * LATENCY_S)) for time_s in sent]
    assert round_trips == [0, 0, 1, 1, 2, 2]  # two messages for each PUBLISH … PUBCOMP


def test_one_that_does_not_is_sent_away() -> None:
    async def talk(host: Host) -> None:
        raw = await RawClient.connected(host)
        for number in (1, 2):
            assert isinstance(
                await raw.ask(mqtt5.PublishPacket("t", b"", qos=QoS(2), packet_id=number)), mqtt5.PubRecPacket
            )
        answer = await raw.ask(mqtt5.PublishPacket("t", b"", qos=QoS(2), packet_id=3))
        assert isinstance(answer, mqtt5.DisconnectPacket)
        assert answer.reason_code is DisconnectReasonCode.RECEIVE_MAX_EXCEEDED

    World(client=talk, policy=Policy(receive_maximum=lambda: 2))


@pytest.mark.parametrize(
    ("when_full", "kept", "reason"),
    [("drop newest", "0123", "newest at a full queue"), ("drop oldest", "0145", "oldest in a full queue")],
)
def test_a_full_queue_drops(when_full: str, kept: str, reason: str) -> None:
    """Two in flight, two wait; of six messages two are too many."""

    async def talk(host: Host) -> None:
        async with (
            mqtt_connect(host, "broker", "s", receive_maximum=2) as subscriber,
            mqtt_connect(host, "broker", "p") as publisher,
        ):
            await subscriber.subscribe("t", 1)
            for n in range(6):
                publisher.publish("t", str(n).encode(), qos=1)
            await trio.sleep(2)
            assert "".join(await texts(subscriber, 3)) == kept

    world = World(client=talk, policy=Policy(max_queued=lambda: 2, when_full=lambda: when_full))
    assert [why for _, _, why in world.dropped] == [reason] * 2


def test_or_sends_the_slow_one_away() -> None:
    async def slow(host: Host) -> None:
        async with mqtt_connect(host, "broker", "s", receive_maximum=1) as client:
            await client.subscribe("t", 1)
            await trio.sleep_until(5)
            with pytest.raises(MqttDisconnected) as lost:
                await texts(client, 5)
            assert lost.value.code is DisconnectReasonCode.QUOTA_EXCEEDED

    async def publisher(host: Host) -> None:
        async with mqtt_connect(host, "broker", "p") as client:
            await trio.sleep_until(2)
            for n in range(6):
                client.publish("t", str(n).encode(), qos=1)
            await trio.sleep(2)

    World(slow=slow, publisher=publisher, policy=Policy(max_queued=lambda: 2, when_full=lambda: "disconnect"))


def test_an_idle_client_pings_and_a_silent_broker_is_given_up() -> None:
    async def talk(host: Host) -> None:
        async with mqtt_connect(host, "broker", "me", keep_alive_s=4) as client:
            await trio.sleep_until(20)
            client.check()
            with pytest.raises(MqttConnectionLost, match="PINGRESP"):
                await anext(client)

    world = World("20 cut broker>client", client=talk)
    pings = world.said_at("client", "PINGREQ")
    assert [round(later - one, 9) for one, later in pairwise(pings)] == [4] * (len(pings) - 1)
    assert len(pings) == 5
    assert len(world.said_at("broker", "PINGRESP")) == 5


def test_a_silent_client_is_gone_after_one_and_a_half_keep_alives() -> None:
    async def talk(host: Host) -> None:
        raw = await RawClient.connected(host, keep_alive=10)
        answer = await raw.hear()
        assert isinstance(answer, mqtt5.DisconnectPacket)
        assert answer.reason_code is DisconnectReasonCode.KEEP_ALIVE_TIMEOUT
        assert trio.current_time() == pytest.approx(3 * LATENCY_S + 15 + LATENCY_S, abs=1e-9)

    World(client=talk)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x00\x00", DisconnectReasonCode.MALFORMED_PACKET),
        (b"\x30\x02\x00\x05", DisconnectReasonCode.MALFORMED_PACKET),
        (b"\x30\xff\xff\xff\xff\x01", DisconnectReasonCode.MALFORMED_PACKET),
        (mqtt5.ConnectPacket("again").write(), DisconnectReasonCode.PROTOCOL_ERROR),
        (mqtt5.PingRespPacket().write(), DisconnectReasonCode.PROTOCOL_ERROR),
        (mqtt5.PublishPacket("t", b"", topic_alias=1).write(), DisconnectReasonCode.TOPIC_ALIAS_INVALID),
        (
            mqtt5.SubscribePacket(1, [TopicFilter("$share/g/t", no_local=True)]).write(),
            DisconnectReasonCode.PROTOCOL_ERROR,
        ),
    ],
)
def test_what_may_not_be_said_ends_the_connection_with_its_reason(data: bytes, code: DisconnectReasonCode) -> None:
    async def talk(host: Host) -> None:
        transport = await host.connect("broker", PORT)
        stream = MqttStream(transport)
        await stream.send(mqtt5.ConnectPacket("rude"))
        assert isinstance(await stream.receive(), mqtt5.ConnAckPacket)
        await transport.send_all(data)
        answer = await stream.receive()
        assert isinstance(answer, mqtt5.DisconnectPacket)
        assert answer.reason_code is code
        with pytest.raises(MqttConnectionLost):
            await stream.receive()
        await RawClient.connected(host)  # the broker lives on

    World(client=talk)


async def to_the_end(stream: MqttStream) -> None:
    while True:
        assert isinstance(await stream.receive(), mqtt5.DisconnectPacket)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", mqtt5.PingReqPacket().write(), b"\x10\x00", b""])
def test_who_does_not_begin_with_connect_gets_nowhere(data: bytes) -> None:
    async def talk(host: Host) -> None:
        transport = await host.connect("broker", PORT)
        await transport.send_all(data)
        stream = MqttStream(transport)
        with pytest.raises(MqttConnectionLost):
            await to_the_end(stream)
        if not data:
            assert trio.current_time() > 10

    World(client=talk)


def test_a_filter_that_is_none_is_refused_alone() -> None:
    async def talk(host: Host) -> None:
        async with mqtt_connect(host, "broker", "me") as client:
            assert await client.subscribe("$share//t", 1) == 143
            assert await client.subscribe("t", 1) == 1

    World(client=talk)


# --- a client with a broker that a test plays ---------------------------------------------------------------------------


def against(*answers: bytes) -> object:
    """What a client makes of a broker that answers CONNECT with these bytes: the exception, or the client."""
    outcome: list[object] = []

    async def server(host: Host) -> None:
        async with host.listen(PORT) as listener:
            transport = await listener.accept()
            assert isinstance(await MqttStream(transport).receive(), mqtt5.ConnectPacket)
            for answer in answers:
                await transport.send_all(answer)
            await trio.sleep(20)

    async def client(host: Host) -> None:
        try:
            async with mqtt_connect(host, "server", "c", keep_alive_s=0) as connected:
                await texts(connected, 5)
                outcome.append("fine")
        except (MqttConnectionLost, OSError) as error:
            outcome.append(error)

    World(client=client, server=server)
    return outcome[0]


def test_a_client_knows_what_a_broker_may_say() -> None:
    welcome = mqtt5.ConnAckPacket().write()
    assert against(welcome, mqtt5.PublishPacket("t", b"").write()) == "fine"
    busy = against(mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode.SERVER_BUSY).write())
    assert isinstance(busy, MqttRefused)
    assert "server busy" in str(busy)
    assert isinstance(against(b"HTTP/1.1 400 Bad Request\r\n"), MqttMalformed)
    assert isinstance(against(mqtt5.PingRespPacket().write()), MqttMalformed)
    assert isinstance(against(welcome, mqtt5.PingReqPacket().write()), MqttMalformed)
    assert isinstance(against(welcome, b"\x00\x00"), MqttMalformed)
    assert isinstance(against(), MqttConnectionLost)


def test_a_session_can_be_published_to_while_there_is_no_connection() -> None:
    async def talk(host: Host) -> None:
        session = ClientSession()
        settled: list[bytes] = []
        session.on_settled = lambda message: settled.append(message.payload)
        assert session.publish("t", b"kept", qos=1)
        assert not session.publish("t", b"not kept")
        async with mqtt_connect(host, "broker", "me", session=session) as client:
            assert session.connected
            await client.subscribe("t", 1)
            await trio.sleep(1)
        assert settled == [b"kept"]
        assert not session.connected

    assert [label for label in World(client=talk).labels("client") if "PUBLISH" in label] == ["PUBLISH QoS 1 id 1 t"]
