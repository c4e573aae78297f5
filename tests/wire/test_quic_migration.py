"""A client of QUIC whose address changes: its connection goes on, on the same streams and without another handshake."""

import pytest
import trio

pytest.importorskip("aioquic")

from engines.lab.facts import MessageStarted, PacketSent
from engines.wire.quic import QuicClient
from tests.lab.rig import Rig
from tests.wire.quic_world import LATENCY_S, World, run_world

ROUND_TRIP_S = 2 * LATENCY_S
MOVED_S = 1.0


def sent(world: World, sender: str, since_s: float) -> list[tuple[float, int]]:
    """When each datagram left, and its size."""
    return [(r.time_s, len(r.fact.payload)) for r in world.rig.trace
            if isinstance(r.fact, PacketSent) and r.fact.sender == sender and r.time_s >= since_s]  # fmt: skip


def ids(world: World, sender: str, since_s: float = 0.0, until_s: float = 1e9) -> list[str]:
    """The connection ids of 1-RTT datagrams, in the order in which they were first used."""
    labels = [str(r.fact.label) for r in world.rig.trace
              if isinstance(r.fact, MessageStarted) and r.fact.sender == sender and since_s <= r.time_s < until_s]  # fmt: skip
    return list(dict.fromkeys(label.split()[2].rstrip(",") for label in labels if label.startswith("1-RTT for ")))


def handshakes(world: World) -> int:
    return sum("handshake complete" in news for _, who, news in world.news if who == "client")


@pytest.mark.parametrize("told", [True, False])
def test_a_client_that_moves_between_requests_keeps_its_connection(told: bool) -> None:
    """Told, it takes an id that nobody has seen (RFC 9000, section 9.5); not told, it cannot know that it should."""

    async def use(client: QuicClient, rig: Rig) -> None:
        assert await client.get("/100") == bytes(100)
        await trio.sleep_until(MOVED_S)
        rig.network.move("a")
        if told:
            client.moved()
        await trio.sleep(0.5)
        assert await client.get("/3000") == bytes(3000)
        assert await client.get("/100") == bytes(100)

    world = run_world(use)
    assert handshakes(world) == 1
    learned_s = MOVED_S + LATENCY_S + (0.0 if told else 0.5)
    assert (pytest.approx(learned_s), "server", "the peer is at a@2 now") in world.news
    before, after = ids(world, "a", until_s=MOVED_S), ids(world, "a", since_s=MOVED_S)
    assert (after == before) is not told
    assert not set(after) & set(before) or not told


def test_a_stream_that_is_under_way_goes_on_from_the_new_address() -> None:
    async def use(client: QuicClient, rig: Rig) -> None:
        await client.get("/10")

        async def move() -> None:
            await trio.sleep_until(MOVED_S)
            rig.network.move("a")
            client.moved()

        await trio.sleep_until(MOVED_S - 0.3)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(move)
            assert await client.get("/200000") == bytes(200_000)
            assert trio.current_time() > MOVED_S

    world = run_world(use)
    assert handshakes(world) == 1
    assert {streams for time_s, streams in world.streams_sent() if time_s > MOVED_S and streams} == {frozenset({4})}


def test_until_the_new_address_is_proved_it_gets_no_more_than_three_times_what_it_sent() -> None:
    """RFC 9000, sections 8.1 and 9.3. The move is silent, the request is small, and the answer is not."""

    async def use(client: QuicClient, rig: Rig) -> None:
        await client.get("/10")
        await trio.sleep_until(MOVED_S)
        rig.network.move("a")
        assert await client.get("/10000") == bytes(10_000)
        took_s = trio.current_time() - MOVED_S
        assert (
            2 * ROUND_TRIP_S <= took_s < 2.5 * ROUND_TRIP_S
        )  # one for the proof, one for the rest, which aioquic paces

    world = run_world(use)
    proof_s = MOVED_S + LATENCY_S + ROUND_TRIP_S  # the challenge has gone there, the response has come
    heard = sum(size for time_s, size in sent(world, "a", MOVED_S) if time_s + LATENCY_S < proof_s)
    said = sum(size for time_s, size in sent(world, "b", MOVED_S) if time_s < proof_s)
    assert 0 < said <= 3 * heard < 1000
    assert sum(size for _, size in sent(world, "b", proof_s)) > 9000
    assert 1200 in [size for _, size in sent(world, "a", MOVED_S)]  # the response fills its datagram (section 8.2.2)


def test_who_only_listens_and_does_not_know_hears_nothing_more() -> None:
    async def use(client: QuicClient, rig: Rig) -> None:
        await client.get("/10")
        rig.network.link("b", "a").bandwidth = 20_000.0
        with trio.move_on_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.get, "/100000")
                await trio.sleep(0.5)
                rig.network.move("a")
        assert not client.over
        assert await client.get("/10") == bytes(10)  # a word is enough

    world = run_world(use)
    assert handshakes(world) == 1


def test_a_server_does_not_move() -> None:
    """RFC 9000, section 9: whatever comes from another address of the server's, the client does not take."""

    async def use(client: QuicClient, rig: Rig) -> None:
        await client.get("/10")
        rig.network.move("b")
        with trio.move_on_after(3) as limit:
            await client.get("/10")
        assert limit.cancelled_caught

    run_world(use)
