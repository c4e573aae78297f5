"""AMQP 0-9-1, client and broker on the lab's network: who gets which message, and what becomes of it when things break."""

from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
import trio
from pamqp.commands import Basic, Connection, Tx

from engines.lab.commands import TimedCommand, parse_command
from engines.lab.facts import ConnectionClosed, Measured, MessageStarted, Noted
from engines.lab.host import Host
from engines.lab.scenario import HostSpec, Scenario
from engines.lab.session import SessionState, run_headless
from engines.lab.trace import Trace
from engines.wire.amqp import AmqpDissector
from engines.wire.amqp_broker import AmqpBroker
from engines.wire.amqp_client import AmqpChannel, AmqpRefused, Delivery, amqp_connect
from engines.wire.amqp_frames import PORT, AmqpConnectionLost, AmqpStream
from engines.wire.amqp_queues import Message
from tests.patterns.laws import breaches, every

Talk = Callable[[Host], Awaitable[None]]
BEAT_S = 4
LATENCY_S = 0.1


class Conversation:
    """A run of `talk` on the host "client", and of `other` on another, with a broker. `dropped` was too much for a queue."""

    def __init__(self, talk: Talk, other: Talk | None = None, *commands: str, max_length: float = float("inf")) -> None:
        self.dropped: list[bytes] = []
        self._max_length = max_length
        self._talk = talk
        hosts = [HostSpec("client", self._client), HostSpec("broker", self._broker)]
        if other is not None:
            hosts.append(HostSpec("other", other))
        network = {"latency": LATENCY_S}
        scenario = Scenario(
            "amqp", "a", "", tuple(hosts), protocols={PORT: AmqpDissector}, until_s=60.0, network=network
        )
        orders = [TimedCommand(float(at), parse_command(order)) for at, order in (c.split(" ", 1) for c in commands)]
        session = run_headless(scenario, commands=orders)
        assert session.status.state is SessionState.ENDED, session.status.message
        self.trace: Trace = session.trace
        assert breaches(self.trace) == []
        assert "finished" in [noted.text for _, noted in every(self.trace, Noted)]

    async def _client(self, host: Host) -> None:
        await self._talk(host)
        host.note("finished")

    async def _broker(self, host: Host) -> None:
        def drop(message: Message) -> None:
            self.dropped.append(message.content.body)

        await AmqpBroker(host, heartbeat_s=lambda: BEAT_S, max_length=lambda: self._max_length, on_drop=drop).serve()


def on_a_channel(talk: Callable[[AmqpChannel], Awaitable[None]]) -> Talk:
    """`talk` on a fresh channel, with an empty queue "q"."""

    async def program(host: Host) -> None:
        async with amqp_connect(host, "broker") as connection:
            channel = await connection.channel()
            assert await channel.declare("q") == 0
            await talk(channel)

    return program


async def publish(channel: AmqpChannel, *bodies: str, persistent: bool = False) -> None:
    for body in bodies:
        await channel.publish("q", body.encode(), persistent=persistent)


async def fetch(channel: AmqpChannel) -> Delivery:
    delivery = await channel.get("q")
    assert delivery is not None
    return delivery


def text(delivery: Delivery) -> str:
    """A delivery in short: its body, with a star when it is redelivered."""
    return delivery.content.body.decode() + "*" * delivery.redelivered


async def all_now(channel: AmqpChannel) -> list[str]:
    """Take all that is ready in the queue."""
    found = []
    while (delivery := await channel.get("q", no_ack=True)) is not None:
        found.append(text(delivery))
    return found


# --- fetching -----------------------------------------------------------------------------------------------------------


def test_publish_get_ack() -> None:
    async def talk(channel: AmqpChannel) -> None:
        assert await channel.get("q") is None
        await publish(channel, "one", "two")
        first = await fetch(channel)
        assert (first.tag, text(first)) == (1, "one")
        await first.ack()
        assert await all_now(channel) == ["two"]
        assert await channel.declare("q") == 0

    trace = Conversation(on_a_channel(talk)).trace
    labels = [str(started.label) for _, started in every(trace, MessageStarted)]
    assert labels.count("basic.get-empty") == 2
    assert "connection.close 200 bye" in labels
    assert labels[-1] == "connection.close-ok"


def test_nack_requeues_at_the_old_place_and_reject_may_drop() -> None:
    async def talk(channel: AmqpChannel) -> None:
        await publish(channel, *"abcd")
        a, b, c = [await fetch(channel) for _ in range(3)]
        await b.nack()
        await a.nack()
        await c.reject(requeue=False)
        assert await all_now(channel) == ["a*", "b*", "d"]

    Conversation(on_a_channel(talk))


def test_multiple_settles_all_up_to_a_tag_and_a_closed_channel_gives_back_the_rest() -> None:
    async def talk(host: Host) -> None:
        async with amqp_connect(host, "broker") as connection:
            channel, other = await connection.channel(), await connection.channel()
            await channel.declare("q")
            await publish(channel, *"abcdef")
            held = [await fetch(channel) for _ in range(6)]
            await held[1].ack(multiple=True)
            await held[3].nack(multiple=True)
            assert await all_now(channel) == ["c*", "d*"]
            await channel.close()
            assert await all_now(other) == ["e*", "f*"]

    Conversation(talk)


@pytest.mark.parametrize("persistent", [False, True])
def test_only_persistent_messages_survive_the_broker_and_those_handed_out_are_redelivered(persistent: bool) -> None:
    async def talk(host: Host) -> None:
        async with amqp_connect(host, "broker") as connection:
            channel = await connection.channel()
            await channel.declare("q", durable=True)
            await publish(channel, *"abc", persistent=persistent)
            await (await fetch(channel)).ack()
            await fetch(channel)
            await trio.sleep_until(10)
            with pytest.raises(AmqpConnectionLost):
                await fetch(channel)
        await trio.sleep_until(20)
        async with amqp_connect(host, "broker") as connection:
            channel = await connection.channel()
            await channel.declare("q", durable=True)
            assert await all_now(channel) == (["b*", "c"] if persistent else [])

    Conversation(talk, None, "9 kill broker", "15 restart broker")


def test_a_queue_that_is_full_drops_its_oldest_and_counts_only_what_is_ready() -> None:
    async def talk(channel: AmqpChannel) -> None:
        await publish(channel, "a")
        await fetch(channel)
        await publish(channel, *"bcde")
        assert await all_now(channel) == ["d", "e"]

    assert Conversation(on_a_channel(talk), max_length=2).dropped == [b"b", b"c"]


def test_of_a_policy_and_an_argument_the_smaller_holds() -> None:
    async def talk(host: Host) -> None:
        async with amqp_connect(host, "broker") as connection:
            channel = await connection.channel()
            await channel.declare("q", arguments={"x-max-length": 1})
            await publish(channel, *"abc")
            assert await all_now(channel) == ["c"]

    assert Conversation(talk, max_length=2).dropped == [b"a", b"b"]


@pytest.mark.parametrize("size", [0, 1, 131_064, 131_065, 400_000])
def test_a_body_of_any_size_comes_whole(size: int) -> None:
    async def talk(channel: AmqpChannel) -> None:
        body = bytes(n % 251 for n in range(size))
        await channel.publish("q", body, message_id="m")
        delivery = await fetch(channel)
        assert delivery.content.body == body
        assert delivery.content.properties.message_id == "m"

    Conversation(on_a_channel(talk))


def test_confirms_come_in_order() -> None:
    async def talk(channel: AmqpChannel) -> None:
        confirmed: list[int] = []
        channel.on_confirm = confirmed.append
        await publish(channel, "earlier")
        await channel.confirm()
        await publish(channel, *"abc")
        assert confirmed == []
        await trio.sleep(2 * LATENCY_S + 0.01)
        assert confirmed == [1, 2, 3]

    Conversation(on_a_channel(talk))


# --- being pushed -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("prefetch", "pushed"), [(0, 5), (1, 1), (2, 2), (5, 5), (9, 5)])
def test_prefetch_is_how_many_may_be_unacked(prefetch: int, pushed: int) -> None:
    async def talk(channel: AmqpChannel) -> None:
        await publish(channel, *"abcde")
        await channel.qos(prefetch)
        deliveries = await channel.consume("q")
        await trio.sleep(1)
        assert deliveries.waiting == pushed
        await (await anext(deliveries)).ack()
        await trio.sleep(1)
        assert deliveries.waiting == min(pushed, 4)

    Conversation(on_a_channel(talk))


def test_prefetch_does_not_limit_consumers_without_acks_or_basic_get() -> None:
    async def talk(channel: AmqpChannel) -> None:
        await publish(channel, *"abcde")
        await channel.qos(1)
        await channel.qos(1, globally=True)
        assert text(await fetch(channel)) == "a"
        assert text(await fetch(channel)) == "b"
        deliveries = await channel.consume("q", no_ack=True)
        await trio.sleep(1)
        assert deliveries.waiting == 3

    Conversation(on_a_channel(talk))


def test_prefetch_holds_for_consumers_that_begin_after_it() -> None:
    async def talk(channel: AmqpChannel) -> None:
        await channel.qos(2)
        first = await channel.consume("q")
        await channel.qos(1)
        second = await channel.consume("q")
        await publish(channel, *"abcde")
        await trio.sleep(1)
        assert (first.waiting, second.waiting) == (2, 1)

    Conversation(on_a_channel(talk))


def test_a_global_prefetch_is_shared_by_the_channel_and_holds_at_once() -> None:
    async def talk(channel: AmqpChannel) -> None:
        first, second = await channel.consume("q"), await channel.consume("q")
        await channel.qos(3, globally=True)
        await publish(channel, *"abcde")
        await trio.sleep(1)
        assert (first.waiting, second.waiting) == (2, 1)
        await channel.qos(0, globally=True)
        await trio.sleep(1)
        assert (first.waiting, second.waiting) == (3, 2)

    Conversation(on_a_channel(talk))


def test_consumers_take_turns() -> None:
    async def talk(channel: AmqpChannel) -> None:
        consumers = [await channel.consume("q") for _ in range(3)]
        await publish(channel, *"abcdefg")
        await trio.sleep(1)
        for deliveries in consumers:
            await deliveries.cancel()
        assert [[text(d) async for d in deliveries] for deliveries in consumers] == [[*"adg"], [*"be"], [*"cf"]]

    Conversation(on_a_channel(talk))


def test_what_came_before_the_cancel_can_still_be_had_and_acked() -> None:
    async def talk(channel: AmqpChannel) -> None:
        await publish(channel, *"ab")
        deliveries = await channel.consume("q")
        await deliveries.cancel()
        await deliveries.cancel()
        await publish(channel, "c")
        found = [delivery async for delivery in deliveries]
        assert [text(d) for d in found] == ["a", "b"]
        await found[-1].ack(multiple=True)
        assert await all_now(channel) == ["c"]

    Conversation(on_a_channel(talk))


# --- being gone ---------------------------------------------------------------------------------------------------------


async def hoard(host: Host) -> None:
    """Takes everything and acknowledges nothing; when it loses the connection, that is it."""
    async with amqp_connect(host, "broker") as connection:
        channel = await connection.channel()
        await channel.declare("q")
        deliveries = await channel.consume("q")
        await trio.sleep_until(40)
        with pytest.raises(AmqpConnectionLost):
            await anext(deliveries)


def after(seconds: float, expected: list[str]) -> Talk:
    """Publish three messages, wait, and see what there is."""

    async def talk(channel: AmqpChannel) -> None:
        await trio.sleep_until(3)
        await publish(channel, *"abc")
        await trio.sleep_until(seconds)
        assert await all_now(channel) == expected

    return on_a_channel(talk)


def test_a_dead_consumer_s_messages_are_ready_again() -> None:
    trace = Conversation(after(6, ["a*", "b*", "c*"]), hoard, "5 kill other").trace
    assert [measured.amount for _, measured in every(trace, Measured)] == [3]


def test_what_a_silent_consumer_holds_comes_free_after_two_missed_heartbeats() -> None:
    """The last octet it heard was sent before the cable was pulled; BEAT_S later, and not before, it is given up."""
    trace = Conversation(after(20, ["a*", "b*", "c*"]), hoard, "5 unplug other").trace
    beats = [r.time_s for r, m in every(trace, MessageStarted) if m.sender == "other" and r.time_s < 5]
    freed = [r.time_s for r, m in every(trace, Measured) if m.what == "requeued"]
    assert freed == pytest.approx([beats[-1] + LATENCY_S + BEAT_S], abs=1e-9)


def test_an_idle_connection_lives_on_heartbeats_one_every_half_of_the_timeout() -> None:
    async def talk(channel: AmqpChannel) -> None:
        await trio.sleep(10 * BEAT_S)
        assert await channel.get("q") is None

    trace = Conversation(on_a_channel(talk)).trace
    beats = [r.time_s for r, m in every(trace, MessageStarted) if m.label == "heartbeat" and m.sender == "client"]
    assert len(beats) >= 19
    assert {round(later - one, 9) for one, later in pairwise(beats)} == {BEAT_S / 2}


def test_a_broker_that_dies_is_noticed_wherever_somebody_waits() -> None:
    async def talk(host: Host) -> None:
        async with amqp_connect(host, "broker") as connection:
            channel = await connection.channel()
            await channel.declare("q")
            deliveries = await channel.consume("q")
            for wait in (anext(deliveries), channel.get("q"), channel.publish("q", b"")):
                with pytest.raises(AmqpConnectionLost):
                    await wait
        with pytest.raises(ConnectionRefusedError):
            async with amqp_connect(host, "broker"):
                pass

    Conversation(talk, None, "5 kill broker")


def test_without_acks_what_came_is_handed_out_though_the_connection_is_gone() -> None:
    async def talk(channel: AmqpChannel) -> None:
        await publish(channel, *"ab")
        automatic = await channel.consume("q", no_ack=True)
        await trio.sleep_until(6)
        assert [text(await anext(automatic)) for _ in range(2)] == ["a", "b"]
        with pytest.raises(AmqpConnectionLost):
            await anext(automatic)

    Conversation(on_a_channel(talk), None, "5 kill broker")


# --- being refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "ask"),
    [
        (404, lambda channel: channel.get("nowhere")),
        (404, lambda channel: channel.consume("nowhere")),
        (406, lambda channel: channel.declare("q", durable=True)),
        (406, lambda channel: _then_ask(channel, Basic.Ack(7))),
        (406, lambda channel: _then_ask(channel, Basic.Ack(7, True))),
        (406, lambda channel: _then_ask(channel, Basic.Ack(0))),
    ],
)
def test_a_refusal_closes_the_channel_and_nothing_else(
    code: int, ask: Callable[[AmqpChannel], Awaitable[object]]
) -> None:
    async def talk(host: Host) -> None:
        async with amqp_connect(host, "broker") as connection:
            channel, other = await connection.channel(), await connection.channel()
            await channel.declare("q")
            for _ in range(2):
                with pytest.raises(AmqpRefused) as refused:
                    await ask(channel)
                assert refused.value.code == code
            assert await other.get("q") is None

    Conversation(talk)


@pytest.mark.parametrize("method", [Tx.Select(), Basic.Qos(prefetch_size=1)])
def test_what_is_not_implemented_closes_the_connection(method: Tx.Select | Basic.Qos) -> None:
    """Reply codes from 500 on are "hard" errors; what was held is requeued, and another connection goes on."""

    async def talk(host: Host) -> None:
        async with amqp_connect(host, "broker") as connection:
            channel = await connection.channel()
            await channel.declare("q")
            await publish(channel, "a")
            await fetch(channel)
            with pytest.raises(AmqpConnectionLost, match="540 NOT_IMPLEMENTED"):
                await channel.call(method, Basic.QosOk)
        await on_another(host)

    async def on_another(host: Host) -> None:
        async with amqp_connect(host, "broker") as connection:
            assert await all_now(await connection.channel()) == ["a*"]

    Conversation(talk)


async def _then_ask(channel: AmqpChannel, method: Basic.Ack) -> None:
    await channel.send(method)
    await channel.get("q")


def test_a_wrong_password_opens_nothing() -> None:
    async def talk(host: Host) -> None:
        with pytest.raises(AmqpConnectionLost, match="ACCESS_REFUSED"):
            async with amqp_connect(host, "broker", password="secret"):
                pass

    Conversation(talk)


@pytest.mark.parametrize("data", [b"AMQP\x00\x01\x00\x00", b"GET / HTTP/1.1\r\n\r\n"])
def test_whoever_speaks_something_else_is_told_what_is_spoken_here(data: bytes) -> None:
    async def talk(host: Host) -> None:
        stream = await host.connect("broker", PORT)
        await stream.send_all(data)
        assert await stream.receive_some() == b"AMQP\x00\x00\x09\x01"

    Conversation(talk)


@pytest.mark.parametrize(
    "data", [b"\x01\x00\x01\x00\x00\x00\x00\xce", b"\x07" * 20, b"\x03\x00\x01\x00\x00\x00\x01x\xce"]
)
def test_nonsense_ends_the_connection_and_not_the_broker(data: bytes) -> None:
    async def talk(host: Host) -> None:
        endpoint = await host.connect("broker", PORT)
        stream = AmqpStream(endpoint)
        await stream.send_protocol_header()
        assert isinstance((await stream.receive()).method, Connection.Start)
        await endpoint.send_all(data)
        with pytest.raises(AmqpConnectionLost):
            await stream.receive()
        async with amqp_connect(host, "broker") as connection:
            await connection.channel()

    Conversation(talk)


def test_somebody_who_says_nothing_is_sent_away_after_ten_seconds() -> None:
    async def talk(host: Host) -> None:
        await host.connect("broker", PORT)
        await trio.sleep(15)

    trace = Conversation(talk).trace
    closed = [record.time_s for record, fact in every(trace, ConnectionClosed) if fact.host == "broker"]
    assert closed[0] == pytest.approx(10 + 3 * LATENCY_S, abs=1e-9)
