"""QUIC on lab datagrams: aioquic's two ends against each other in virtual time, and what an observer can see of them."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("aioquic")

from engines.lab.dissection import Side, Started
from engines.lab.facts import ConnectionOpening, MessageStarted, PacketSent, Role
from engines.wire.dissectors import dissector_named
from engines.wire.quic import QuicClient, QuicError
from engines.wire.quic_dissector import QuicDissector
from tests.lab.rig import Rig
from tests.wire.conversations import assert_covers
from tests.wire.quic_world import LATENCY_S, DropNth, World, run_world

ROUND_TRIP_S = 2 * LATENCY_S


def sent(world: World, sender: str) -> list[PacketSent]:
    return [r.fact for r in world.rig.trace if isinstance(r.fact, PacketSent) and r.fact.sender == sender]


def labels(world: World) -> list[tuple[str, str]]:
    return [(r.fact.sender, str(r.fact.label)) for r in world.rig.trace if isinstance(r.fact, MessageStarted)]


# --- the handshake ------------------------------------------------------------------------------------------------------


def test_a_handshake_takes_one_round_trip_and_the_first_answer_another() -> None:
    times: list[float] = []

    async def use(client: QuicClient, rig: Rig) -> None:
        times.append(trio.current_time())
        assert await client.get("/1000") == bytes(1000)
        times.append(trio.current_time())

    world = run_world(use)
    assert times == pytest.approx([ROUND_TRIP_S, 2 * ROUND_TRIP_S])
    assert labels(world)[:2] == [("a", "Initial, 1,200 B"), ("b", "Initial + Handshake, 1,200 B")]
    assert (pytest.approx(2 * ROUND_TRIP_S), "client", "connection over: closed here") in world.news
    assert world.news[-1][1:] == ("server", "connection over: closed by the peer")


def test_a_server_says_no_more_than_three_times_what_it_heard_before_it_knows_the_address() -> None:
    """RFC 9000, section 8.1: and so the client pads what it says first to 1,200 bytes (section 14.1)."""

    async def use(client: QuicClient, rig: Rig) -> None:
        pass

    world = run_world(use)
    heard, said = 0, 0
    for record in world.rig.trace:
        if isinstance(record.fact, PacketSent) and record.time_s <= 1.5 * ROUND_TRIP_S:
            heard += len(record.fact.payload) if record.fact.sender == "a" else 0
            said += len(record.fact.payload) if record.fact.sender == "b" else 0
            assert said <= 3 * heard
    assert len(sent(world, "a")[0].payload) == 1200


def test_a_client_that_hears_nothing_gives_up() -> None:
    async def use(client: QuicClient, rig: Rig) -> None:
        rig.network.change_link(rig.network.link("b", "a"), "cut")
        rig.network.change_link(rig.network.link("a", "b"), "cut")
        await client.get("/10")

    with pytest.raises(BaseExceptionGroup) as caught:  # the group is of the rig's own nursery
        run_world(use, idle_timeout_s=5.0)
    assert caught.group_contains(QuicError, match="idle timeout")


def test_what_the_program_raises_comes_out_as_it_is() -> None:
    async def use(client: QuicClient, rig: Rig) -> None:
        raise KeyError("mine")

    with pytest.raises(BaseExceptionGroup) as caught:  # the group is of the rig's own nursery
        run_world(use)
    assert caught.group_contains(KeyError)


# --- loss ---------------------------------------------------------------------------------------------------------------

STREAMS, SIZE = 8, 1000


def answered(lost: int | None) -> tuple[dict[int, float], World]:
    """When each of eight responses, asked for at once, was whole; `lost` is the number of the server's datagram that is lost."""
    done: dict[int, float] = {}

    async def use(client: QuicClient, rig: Rig) -> None:
        await client.get("/10")
        await trio.sleep(1)

        async def get(number: int) -> None:
            assert len(await client.get(f"/{SIZE}")) == SIZE
            done[4 + 4 * number] = trio.current_time()  # stream 0 was the first

        if lost is not None:
            rig.network.rules.append(DropNth("b", lost, trio.current_time))
        async with trio.open_nursery() as nursery:
            for number in range(STREAMS):
                nursery.start_soon(get, number)

    return done, run_world(use)


def test_without_loss_all_are_there_after_one_round_trip() -> None:
    done, _ = answered(None)
    start_s = 1 + 2 * ROUND_TRIP_S
    assert list(done.values()) == [pytest.approx(start_s + ROUND_TRIP_S, abs=0.05)] * STREAMS  # aioquic paces


@pytest.mark.parametrize("lost", range(1, 8))
def test_a_lost_packet_keeps_those_streams_waiting_that_were_in_it_and_no_others(lost: int) -> None:
    """RFC 9000, section 13: a stream waits only for its own bytes."""
    whole, _ = answered(None)
    done, world = answered(lost)
    asked_s = 1 + 2 * ROUND_TRIP_S
    answers = [streams for time_s, streams in world.streams_sent() if time_s >= asked_s]
    waited = {stream for stream in done if done[stream] > whole[stream] + LATENCY_S}
    assert waited == answers[lost - 1]
    assert 1 <= len(waited) <= 2 < STREAMS
    assert all(done[stream] - whole[stream] >= ROUND_TRIP_S - 0.05 for stream in waited)


def test_everything_arrives_whatever_is_lost() -> None:
    async def use(client: QuicClient, rig: Rig) -> None:
        for way in (("a", "b"), ("b", "a")):
            rig.network.link(*way).loss = 0.2
        for size in (1, 3000, 100_000):
            assert await client.get(f"/{size}") == bytes(size)

    run_world(use)


# --- streams ------------------------------------------------------------------------------------------------------------


def test_a_stream_that_is_given_up_leaves_the_others_alone() -> None:
    async def use(client: QuicClient, rig: Rig) -> None:
        with trio.move_on_after(0.15):
            await client.get("/50000")
        assert await client.get("/10") == bytes(10)
        assert not client.over

    run_world(use)


def test_a_request_that_is_none_is_reset() -> None:
    async def use(client: QuicClient, rig: Rig) -> None:
        with pytest.raises(QuicError, match="the peer has reset the stream"):
            await client.get("/with a space")
        assert await client.get("/10") == bytes(10)

    run_world(use)


# --- repeatable, but for the keys ---------------------------------------------------------------------------------------


def test_runs_agree_in_everything_but_what_is_sealed() -> None:
    def seen() -> tuple[object, list[bytes]]:
        _, world = answered(3)
        facts = [(r.time_s, r.cause, type(r.fact), len(getattr(r.fact, "payload", b"")), getattr(r.fact, "label", ""))
                 for r in world.rig.trace]  # fmt: skip
        return facts, [packet.payload for packet in sent(world, "b")]

    first = seen()
    others = [seen() for _ in range(5)]
    assert all(facts == first[0] for facts, _ in others)
    assert all(payloads != first[1] for _, payloads in others)


# --- the dissector ------------------------------------------------------------------------------------------------------


def test_the_dissector_is_registered_and_says_that_it_sees_ciphertext() -> None:
    assert isinstance(dissector_named("quic"), QuicDissector)
    opening = next(r.fact for r in answered(None)[1].rig.trace if isinstance(r.fact, ConnectionOpening))
    assert (opening.protocol, opening.sealed) == ("quic", True)


def test_every_datagram_of_a_real_connection_is_read_and_covered() -> None:
    _, world = answered(3)
    said = [str(fact.label) for r in world.rig.trace if isinstance(fact := r.fact, MessageStarted)]
    assert not [label for label in said if label.startswith("not QUIC")]
    assert {label.split(",")[0].split(" for ")[0] for label in said} >= {"Initial", "Initial + Handshake", "1-RTT"}
    for side, sender in ((Side.CLIENT, "a"), (Side.SERVER, "b")):
        stream = b"".join(packet.payload for packet in sent(world, sender))
        for packet in sent(world, sender):
            start, end = packet.offset, packet.offset + len(packet.payload)
            parts = QuicDissector().parts(side, stream, start, end)
            assert_covers(parts, start, end)
            assert "not readable as QUIC" not in [part.note for part in parts]


def test_the_parts_of_an_initial_are_those_of_the_rfc() -> None:
    """RFC 9001, appendix A.2: the client's first packet, as it is protected; its header is 22 bytes up to the packet number."""
    head = bytes.fromhex("c000000001088394c8f03e5157080000449e")
    datagram = head + bytes(range(1, 256)) * 4 + bytes([7]) * (0x49E - 4 * 255)
    assert len(datagram) == 1200
    parts = QuicDissector().parts(Side.CLIENT, datagram, 0, 1200)
    assert [(part.start, part.end, part.name) for part in parts] == [
        (0, 1, "first byte"), (1, 5, "version"), (5, 6, "destination id length"), (6, 14, "destination connection id"),
        (14, 15, "source id length"), (15, 16, "token length"), (16, 18, "length"), (18, 1200, "protected"),
    ]  # fmt: skip
    assert parts[3].note == "8394c8f03e515708"
    started, _ = QuicDissector().feed(Side.CLIENT, datagram)
    assert isinstance(started, Started)
    assert (started.label, started.role) == ("Initial, 1,200 B", Role.CONTROL)


@pytest.mark.parametrize(
    ("datagram", "label"),
    [
        ("c00000000008" + "11" * 8 + "00" + "00000001", "Version Negotiation, 19 B"),
        ("f0000000010011" + "22" * 17 + "ab" * 30, "Retry, 54 B"),
        ("4f" + "11" * 8 + "99" * 20, "1-RTT for 11111111, 29 B"),
        ("4f" + "11" * 8 + "99" * 90, "1-RTT for 11111111, 99 B"),
        ("c000000001000000" + "40ff" + "abcd", "not QUIC: protected runs past the end"),
        ("00", "not QUIC: the fixed bit is zero"),
        ("c0ffffffff0000" + "11" * 5, "an unknown version, 12 B"),
    ],
)
def test_labels(datagram: str, label: str) -> None:
    data = bytes.fromhex(datagram)
    started, _ = QuicDissector().feed(Side.CLIENT, data)
    assert isinstance(started, Started)
    assert started.label == label
    assert_covers(QuicDissector().parts(Side.CLIENT, data, 0, len(data)), 0, len(data))


@pytest.mark.parametrize(
    ("size", "role"), [(20, Role.CONTROL), (39, Role.CONTROL), (40, Role.SEALED), (1200, Role.SEALED)]
)
def test_what_is_too_small_to_carry_data_is_control_and_the_rest_is_sealed(size: int, role: Role) -> None:
    started, _ = QuicDissector().feed(Side.CLIENT, b"\x4f" * size)
    assert isinstance(started, Started)
    assert started.role is role


@given(st.lists(st.tuples(st.sampled_from(Side), st.binary(max_size=80)), max_size=6))
def test_anything_can_be_fed(datagrams: list[tuple[Side, bytes]]) -> None:
    dissector = QuicDissector()
    sizes = {Side.CLIENT: 0, Side.SERVER: 0}
    for side, data in datagrams:
        started, ended = dissector.feed(side, data)
        assert isinstance(started, Started)
        assert started.offset == sizes[side]
        sizes[side] += len(data)
        assert ended.end == sizes[side]
        assert_covers(dissector.parts(side, data, 0, len(data)), 0, len(data))
