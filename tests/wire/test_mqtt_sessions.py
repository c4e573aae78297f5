"""MQTT 5 sessions: what outlives a connection, for how long; and what is said in the name of those who are gone."""

import mqtt5
import pytest
import trio
from mqtt5 import DisconnectReasonCode, QoS, TopicFilter, Will

from engines.lab.host import Host
from engines.wire.mqtt_broker import Policy
from engines.wire.mqtt_client import mqtt_connect
from engines.wire.mqtt_packets import MqttDisconnected
from tests.wire.mqtt_world import LATENCY_S, RawClient, World, texts

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
