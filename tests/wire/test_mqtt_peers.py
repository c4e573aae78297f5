"""MQTT 5, client and broker on the lab's network: what a hop costs, who gets what, and what a session is good for."""

from itertools import chain, pairwise

import mqtt5
import pytest
import trio
from mqtt5 import DisconnectReasonCode, QoS, RetainHandling, TopicFilter, Will

from engines.lab.facts import EventBorn, EventHandled
from engines.lab.host import Host
from engines.wire.mqtt_broker import Policy
from engines.wire.mqtt_client import ClientSession, MqttRefused, mqtt_connect
from engines.wire.mqtt_packets import PORT, MqttConnectionLost, MqttDisconnected, MqttMalformed, MqttStream
from tests.patterns.laws import every
from tests.wire.mqtt_world import LATENCY_S, RawClient, World, texts

# --- one message over two hops ------------------------------------------------------------------------------------------

EXCHANGES = {
    0: (["PUBLISH"], []),
    1: (["PUBLISH"], ["PUBACK"]),
    2: (["PUBLISH", "PUBREL"], ["PUBREC", "PUBCOMP"]),
}
"""What sender and receiver of a hop say for one message: one packet, two, four."""


def once(qos: int, *commands: str) -> World:
    """One message, published with `qos` at 2 s, to somebody who subscribed with 2."""

    async def publisher(host: Host) -> None:
        async with mqtt_connect(host, "broker", "publisher") as client:
            await trio.sleep_until(2)
            number = host.event_born()
            client.publish("news", str(number).encode(), qos=qos)
            await trio.sleep_until(10)

    async def subscriber(host: Host) -> None:
        async with mqtt_connect(host, "broker", "subscriber") as client:
            assert await client.subscribe("news", 2) == 2
            received = await anext(client)
            host.event_handled(int(received.payload))
            received.ack()
            await trio.sleep_until(10)

    return World(*commands, publisher=publisher, subscriber=subscriber)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_hop_costs_one_packet_or_two_or_four_and_a_delay_of_two_transits(qos: int) -> None:
    world = once(qos)
    asked, answered = EXCHANGES[qos]
    for sender, receiver in (("publisher", "broker"), ("broker", "subscriber")):
        assert [kind for kind in world.kinds(sender, receiver) if kind.startswith("PUB")] == asked
        assert [kind for kind in world.kinds(receiver, sender) if kind.startswith("PUB")] == answered
    (born, _), (handled, _) = every(world.trace, EventBorn)[0], every(world.trace, EventHandled)[0]
    assert handled.time_s - born.time_s == pytest.approx(2 * LATENCY_S, abs=1e-9)


def test_the_smallest_packets_are_as_small_as_the_standard_has_them() -> None:
    """PUBLISH "news" with one octet: 2 + 2 + 4 + 1 + 1; QoS 1 and 2 add a packet id; each acknowledgement is 4 octets."""
    sizes = [once(qos).bytes_sent("publisher") for qos in (0, 1, 2)]
    acks = [once(qos).bytes_sent("subscriber") for qos in (0, 1, 2)]
    assert [size - sizes[0] for size in sizes] == [0, 2, 2 + 4]
    assert [size - acks[0] for size in acks] == [0, 4, 8]


@pytest.mark.parametrize(("published", "granted", "got"), [(2, 0, 0), (2, 1, 1), (1, 2, 1), (0, 2, 0)])
def test_the_lower_qos_holds(published: int, granted: int, got: int) -> None:
    async def talk(host: Host) -> None:
        async with mqtt_connect(host, "broker", "me") as client:
            assert await client.subscribe("t", granted) == granted
            client.publish("t", b"x", qos=published)
            received = await anext(client)
            assert received.qos == got

    World(client=talk)


# --- subscriptions ------------------------------------------------------------------------------------------------------


def test_wildcards_overlaps_and_own_messages() -> None:
    async def talk(host: Host) -> None:
        raw = await RawClient.connected(host)
        await raw.subscribe(TopicFilter("a/+", max_qos=QoS(0), retain_as_published=False), identifier=1)
        await raw.subscribe(TopicFilter("a/#", max_qos=QoS(1), retain_as_published=False), identifier=2)
        await raw.subscribe(TopicFilter("mine", no_local=True, retain_as_published=False))
        await raw.say(mqtt5.PublishPacket("mine", b"not for me"))
        await raw.say(mqtt5.PublishPacket("$SYS/a", b"not by a wildcard"))
        answer = await raw.ask(mqtt5.PublishPacket("a/b", b"x", qos=QoS(2), packet_id=1))
        copy = await raw.hear()
        if isinstance(answer, mqtt5.PublishPacket):
            answer, copy = copy, answer
        assert isinstance(copy, mqtt5.PublishPacket)
        assert (copy.payload, copy.qos, copy.subscription_ids) == (b"x", 1, [1, 2])  # one copy, with the highest QoS
        assert await raw.silence()

    World(client=talk)


def test_unsubscribed_means_no_more() -> None:
    async def talk(host: Host) -> None:
        async with mqtt_connect(host, "broker", "me") as client:
            await client.subscribe("t")
            client.publish("t", b"one")
            assert await texts(client, 1) == ["one"]
            assert await client.unsubscribe("t") == 0
            assert await client.unsubscribe("t") == 17
            client.publish("t", b"two", qos=1)
            assert await texts(client, 1) == []

    assert "PUBACK 1 no matching subscribers" in World(client=talk).labels("broker")


def test_properties_are_passed_on_and_a_message_that_is_too_old_is_not() -> None:
    async def talk(host: Host) -> None:
        async with mqtt_connect(host, "broker", "sub", clean_start=False, session_expiry_s=100) as client:
            await client.subscribe("t", 1)
        raw = await RawClient.connected(host)
        for lifetime in (5, 50):
            await raw.ask(
                mqtt5.PublishPacket(
                    "t", b"%d" % lifetime, qos=QoS(1), packet_id=lifetime, message_expiry_interval=lifetime,
                    content_type="c", response_topic="r", correlation_data=b"d", user_properties=[("k", "v")],
                    payload_format_indicator=1,
                )
            )  # fmt: skip
        await trio.sleep(10)
        async with mqtt_connect(host, "broker", "sub", clean_start=False) as client:
            received = await anext(client)
            packet = received.packet
            assert received.payload == b"50"
            assert packet.message_expiry_interval == 50 - 10  # but for a transit, which is less than a second
            assert (packet.content_type, packet.response_topic, packet.correlation_data) == ("c", "r", b"d")
            assert (packet.user_properties, packet.payload_format_indicator) == ([("k", "v")], 1)

    World(client=talk)


@pytest.mark.parametrize(
    ("handling", "first", "again"),
    [
        (RetainHandling.SEND_ALWAYS, ["newr"], ["newr"]),
        (RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS, ["newr"], []),
        (RetainHandling.SEND_NEVER, [], []),
    ],
)
def test_retained_messages(handling: RetainHandling, first: list[str], again: list[str]) -> None:
    async def talk(host: Host) -> None:
        async with mqtt_connect(host, "broker", "pub") as client:
            for payload in (b"old", b"new"):
                client.publish("a/b", payload, retain=True, qos=1)
            client.publish("a/c", b"gone", retain=True, qos=1)
            client.publish("a/c", b"", retain=True, qos=1)
            client.publish("a/d", b"not kept", qos=1)
            await trio.sleep(1)
        async with mqtt_connect(host, "broker", "sub") as client:
            for expected in (first, again):
                await client.subscribe("a/#", 1, retain_handling=handling)
                assert await texts(client, 1) == expected
            client.publish("a/b", b"live", retain=True)
            assert await texts(client, 1) == ["live"]  # not marked: it is news (3.3.1-12)

    World(client=talk)


def test_a_shared_subscription_takes_turns_and_goes_on_without_who_is_gone() -> None:
    got: dict[str, list[str]] = {}

    def member(name: str) -> object:
        async def talk(host: Host) -> None:
            try:
                async with mqtt_connect(host, "broker", name) as client:
                    await client.subscribe("$share/workers/jobs/#", 1)
                    got[name] = await texts(client, 18)
            except MqttConnectionLost:
                pass

        return talk

    async def boss(host: Host) -> None:
        async with mqtt_connect(host, "broker", "boss") as client:
            await client.subscribe("jobs/#")
            await trio.sleep_until(2)
            for n in range(6):
                client.publish(f"jobs/{n}", str(n).encode(), qos=1)
            await trio.sleep_until(15)
            for n in range(6, 10):
                client.publish(f"jobs/{n}", str(n).encode(), qos=1)
            assert await texts(client, 5) == [str(n) for n in range(10)]  # an ordinary subscription gets them all

    async def leaver(host: Host) -> None:
        async with mqtt_connect(host, "broker", "c") as client:
            await client.subscribe("$share/workers/jobs/#", 1)
            got["c"] = await texts(client, 10)

    World(a=member("a"), b=member("b"), c=leaver, boss=boss)  # type: ignore[arg-type]
    assert [len(got[name]) for name in "abc"] == [4, 4, 2]
    assert sorted(chain.from_iterable(got.values())) == [str(n) for n in range(10)]


def test_what_a_member_owed_to_the_group_goes_to_another_when_its_session_ends() -> None:
    """With QoS 1, and not with QoS 2 once it has been sent (4.8.2)."""

    async def hoarder(host: Host) -> None:
        async with mqtt_connect(host, "broker", "a", receive_maximum=2) as client:
            await client.subscribe("$share/g/t", 2)
            await texts(client, 5, ack=False)

    async def other(host: Host) -> None:
        await trio.sleep_until(4)
        async with mqtt_connect(host, "broker", "b") as client:
            await client.subscribe("$share/g/t", 2)
            assert await texts(client, 10) == ["1", "3", "4"]

    async def publisher(host: Host) -> None:
        async with mqtt_connect(host, "broker", "p") as client:
            await trio.sleep_until(2)
            for n, qos in ((1, 1), (2, 2), (3, 2), (4, 1)):
                client.publish("t", str(n).encode(), qos=qos)
            await trio.sleep(5)

    world = World(hoarder=hoarder, other=other, publisher=publisher)
    assert [(client, payload) for client, payload, _ in world.dropped] == [("a", "2")]


# --- sessions -----------------------------------------------------------------------------------------------------------


def away(expiry_s: int, clean_start: bool, gone_s: float, qos: int = 1) -> list[str]:
    """Subscribe, leave, miss a message, and come back after `gone_s`: what is heard then?"""
    heard: list[str] = []

    async def subscriber(host: Host) -> None:
        async with mqtt_connect(host, "broker", "sub", clean_start=False, session_expiry_s=expiry_s) as client:
            await client.subscribe("t", 2)
        left_s = trio.current_time()
        await trio.sleep(0.5)
        async with mqtt_connect(host, "broker", "pub") as client:
            client.publish("t", b"missed", qos=qos)
            await trio.sleep(1)
        await trio.sleep_until(left_s + gone_s)
        async with mqtt_connect(host, "broker", "sub", clean_start=clean_start) as client:
            heard.append("present" if client.session_present else "new")
            heard.extend(await texts(client, 1))

    World(subscriber=subscriber)
    return heard


def test_a_session_outlives_its_connection_as_long_as_its_expiry_and_only_without_a_clean_start() -> None:
    assert away(expiry_s=20, clean_start=False, gone_s=10) == ["present", "missed"]
    assert away(expiry_s=20, clean_start=False, gone_s=10, qos=0) == ["present"]
    assert away(expiry_s=20, clean_start=True, gone_s=10) == ["new"]
    assert away(expiry_s=5, clean_start=False, gone_s=10) == ["new"]
    assert away(expiry_s=0, clean_start=False, gone_s=2) == ["new"]
    assert away(expiry_s=0xFFFFFFFF, clean_start=False, gone_s=40) == ["present", "missed"]


def test_a_session_expires_to_the_second() -> None:
    """The broker hears DISCONNECT one transit after it was said, and CONNECT two transits after the client began to connect
    (SYN, SYN-ACK, and then CONNECT itself): a transit each way, so that only one is left of them in the sum."""
    assert away(5, False, 5 + LATENCY_S - 3 * LATENCY_S - 0.001) == ["present", "missed"]
    assert away(5, False, 5 + LATENCY_S - 3 * LATENCY_S + 0.001) == ["new"]


@pytest.mark.parametrize("persistence", [False, True])
def test_a_broker_that_restarts_remembers_what_is_on_its_disk(persistence: bool) -> None:
    async def talk(host: Host) -> None:
        async with mqtt_connect(host, "broker", "sub", clean_start=False, session_expiry_s=60) as client:
            await client.subscribe("t", 1)
        async with mqtt_connect(host, "broker", "pub") as client:
            client.publish("t", b"x", qos=1, retain=True)
            await trio.sleep(1)
        await trio.sleep_until(20)
        async with mqtt_connect(host, "broker", "sub", clean_start=False) as client:
            assert client.session_present == persistence
            assert await texts(client, 1) == ["x"] * persistence
            await client.subscribe("t", 1)
            assert await texts(client, 1) == ["xr"] * persistence

    World("10 kill broker", "15 restart broker", client=talk, policy=Policy(persistence=lambda: persistence))


def test_disconnect_may_say_how_long_the_session_is_to_live_but_not_wake_one_that_was_to_end() -> None:
    async def talk(host: Host) -> None:
        raw = await RawClient.connected(host, session_expiry_interval=50)
        await raw.subscribe(TopicFilter("t"))
        await raw.say(mqtt5.DisconnectPacket(session_expiry_interval=0))
        await trio.sleep(1)
        raw = await RawClient.connected(host, session_expiry_interval=0)
        assert isinstance(raw.hello, mqtt5.ConnAckPacket)
        assert not raw.hello.session_present
        answer = await raw.ask(mqtt5.DisconnectPacket(session_expiry_interval=10))
        assert isinstance(answer, mqtt5.DisconnectPacket)
        assert answer.reason_code is DisconnectReasonCode.PROTOCOL_ERROR

    World(client=talk)


def test_a_second_connection_takes_the_session_over() -> None:
    async def first(host: Host) -> None:
        async with mqtt_connect(host, "broker", "me", clean_start=False, session_expiry_s=60) as client:
            await client.subscribe("t", 1)
            with pytest.raises(MqttDisconnected) as lost:
                await anext(client)
            assert lost.value.code is DisconnectReasonCode.SESSION_TAKEN_OVER

    async def second(host: Host) -> None:
        await trio.sleep(5)
        async with mqtt_connect(host, "broker", "me", clean_start=False) as client:
            assert client.session_present
            client.publish("t", b"x", qos=1)
            assert await texts(client, 1) == ["x"]

    World(first=first, second=second)


def test_nobody_needs_a_name() -> None:
    async def talk(host: Host) -> None:
        async with mqtt_connect(host, "broker") as one, mqtt_connect(host, "broker") as two:
            assert (one.client_id, two.client_id) == ("auto-1", "auto-2")

    World(client=talk)


# --- wills --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "delay_s", "expiry_s", "said_s"),
    [
        ("10 kill mortal", 0, 0, 10 + LATENCY_S),
        ("10 kill mortal", 5, 60, 15 + LATENCY_S),
        ("10 kill mortal", 30, 5, 15 + LATENCY_S),  # the session ends first (3.1.3.2.2)
        ("10 unplug mortal", 0, 0, None),  # only the keep alive tells
        ("10 set latency 0.1", 0, 0, None),
    ],
)
def test_a_will_is_published_when_its_client_goes_without_goodbye(
    order: str, delay_s: int, expiry_s: int, said_s: float | None
) -> None:
    heard: list[float] = []

    async def mortal(host: Host) -> None:
        host.note("finished")
        will = Will("wills", payload=b"alas", qos=QoS(1), will_delay_interval=delay_s)
        async with mqtt_connect(
            host, "broker", "m", will=will, session_expiry_s=expiry_s, keep_alive_s=20, clean_start=False
        ):
            await trio.sleep(20)

    async def heir(host: Host) -> None:
        async with mqtt_connect(host, "broker", "h") as client:
            await client.subscribe("wills", 1)
            with trio.move_on_after(55):
                await anext(client)
                heard.append(trio.current_time())

    World(order, mortal=mortal, heir=heir)
    if said_s is not None:
        assert heard == pytest.approx([said_s + LATENCY_S], abs=1e-9)
    elif "unplug" in order:  # CONNECT came three transits after the start, 1.5 keep alives later the client is given up
        assert heard == pytest.approx([3 * LATENCY_S + 1.5 * 20 + LATENCY_S], abs=1e-9)
    else:
        assert heard == []


def test_who_comes_back_in_time_has_no_will_published() -> None:
    async def mortal(host: Host) -> None:
        will = Will("wills", payload=b"alas", will_delay_interval=5)
        async with mqtt_connect(host, "broker", "m", will=will, session_expiry_s=60, clean_start=False):
            await trio.sleep(20)

    async def heir(host: Host) -> None:
        async with mqtt_connect(host, "broker", "h") as client:
            await client.subscribe("wills", 1)
            assert await texts(client, 50) == []

    World("5 kill mortal", "8 restart mortal", mortal=mortal, heir=heir)


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
