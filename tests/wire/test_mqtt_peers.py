"""MQTT 5, client and broker on the lab's network: what a hop costs, who gets what, and what a session is good for."""

from itertools import chain

import mqtt5
import pytest
import trio
from mqtt5 import QoS, RetainHandling, TopicFilter

from engines.lab.facts import EventBorn, EventHandled
from engines.lab.host import Host
from engines.wire.mqtt_client import mqtt_connect
from engines.wire.mqtt_packets import MqttConnectionLost
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
