"""The lab's streams behave as trio's contract and as TCP say."""

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from engines.lab.facts import ConnectionReset, PacketDelivered, PacketDropped, PacketKind, PacketSent
from engines.lab.fate import Action, Subject, Verdict
from engines.lab.tcp import MSS, RECEIVE_WINDOW, RETRY_FLOOR_S, SEND_BUFFER, Endpoint
from tests.lab.rig import Rig, run_in_rig


@pytest.mark.parametrize("latency_s", [0.0, 0.05])
def test_conforms_to_trios_stream_contract(latency_s: float) -> None:
    async def body(rig: Rig) -> None:
        async def clogged() -> tuple[Endpoint, Endpoint]:
            ours, theirs = await rig.connected()
            for end in (ours, theirs):
                await end.send_all(bytes(SEND_BUFFER + RECEIVE_WINDOW))
            return ours, theirs

        await trio.testing.check_half_closeable_stream(rig.connected, clogged)

    run_in_rig(body, latency_s=latency_s)


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=4000), max_size=8),
    loss=st.sampled_from([0.0, 0.2, 0.3]),  # at 0.5, one segment in 65,000 is lost sixteen times and given up
    jitter_s=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 9),
)
def test_every_byte_arrives_in_order_whatever_the_network_loses(
    chunks: list[bytes], loss: float, jitter_s: float, seed: int
) -> None:
    async def body(rig: Rig) -> None:
        ours, theirs = await rig.connected()
        for link in rig.network.links.values():
            link.loss, link.jitter_s = loss, jitter_s

        async def send() -> None:
            for chunk in chunks:
                await ours.send_all(chunk)
            await ours.send_eof()

        received = bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            while data := await theirs.receive_some(700):
                received += data
        assert bytes(received) == b"".join(chunks)

    run_in_rig(body, latency_s=0.04, seed=seed)


def test_a_lost_segment_holds_back_what_is_behind_it() -> None:
    class LoseFirst:
        spent = False

        def judge(self, packet: Subject) -> Verdict | None:
            if packet.kind is PacketKind.DATA and not self.spent:
                self.spent = True
                return Verdict(Action.DROP, "fault")
            return None

    async def body(rig: Rig) -> None:
        ours, theirs = await rig.connected()
        rig.network.rules.append(LoseFirst())
        began = trio.current_time()
        await ours.send_all(bytes(3 * MSS))
        await theirs.receive_some(1)
        # The first segment dies half way (20 ms); its timer ends one round trip and 200 ms later; one more trip.
        assert trio.current_time() - began == pytest.approx(0.02 + 0.08 + RETRY_FLOOR_S + 0.04)
        assert len(await theirs.receive_some()) == 3 * MSS - 1

    rig = run_in_rig(body, latency_s=0.04)
    attempts = [r.fact.attempt for r in rig.trace if isinstance(r.fact, PacketSent) and r.fact.kind is PacketKind.DATA]
    assert attempts == [1, 1, 1, 2]


def test_the_window_stops_a_sender_whose_peer_does_not_read() -> None:
    async def body(rig: Rig) -> None:
        ours, theirs = await rig.connected()
        with trio.move_on_after(10) as scope:
            await ours.send_all(bytes(SEND_BUFFER + RECEIVE_WINDOW + 1))
        assert scope.cancelled_caught
        read_at = trio.current_time()
        total = 0
        while total < RECEIVE_WINDOW:
            total += len(await theirs.receive_some())
        assert trio.current_time() == read_at
        total += len(await theirs.receive_some())
        # The news that there is room takes one trip, the bytes another.
        assert trio.current_time() == pytest.approx(read_at + 0.08)

    run_in_rig(body, latency_s=0.04)


def test_bandwidth_is_bytes_with_headers_over_time() -> None:
    async def body(rig: Rig) -> None:
        ours, theirs = await rig.connected()
        rig.network.link("a", "b").bandwidth = 150_000
        began = trio.current_time()
        await ours.send_all(bytes(10 * MSS))
        total = 0
        while total < 10 * MSS:
            total += len(await theirs.receive_some())
        assert trio.current_time() - began == pytest.approx(10 * 1500 / 150_000 + 0.04)

    run_in_rig(body, latency_s=0.04)


def test_nobody_listening_is_refused_after_one_round_trip() -> None:
    async def body(rig: Rig) -> None:
        with pytest.raises(ConnectionRefusedError):
            await rig.kernels["a"].connect("b", 81)
        assert trio.current_time() == pytest.approx(0.08)

    run_in_rig(body, latency_s=0.04)


def test_silence_is_answered_by_seven_syns_and_127_seconds() -> None:
    async def body(rig: Rig) -> None:
        rig.network.change_link(rig.network.link("a", "b"), "cut")
        with pytest.raises(TimeoutError):
            await rig.kernels["a"].connect("b", 80)
        assert trio.current_time() == pytest.approx(127)

    rig = run_in_rig(body, latency_s=0.04)
    syns = [r.time_s for r in rig.trace if isinstance(r.fact, PacketSent)]
    assert syns == pytest.approx([0, 1, 3, 7, 15, 31, 63])


def test_a_cut_is_silence_and_mends_by_retransmission() -> None:
    async def body(rig: Rig) -> None:
        ours, theirs = await rig.connected()
        link = rig.network.link("a", "b")
        rig.network.change_link(link, "cut")
        await ours.send_all(b"x")
        with trio.move_on_after(5) as scope:
            await theirs.receive_some()
        assert scope.cancelled_caught
        rig.network.change_link(link, "up")
        assert await theirs.receive_some() == b"x"

    run_in_rig(body, latency_s=0.04)


def test_a_connection_without_an_answer_breaks_after_sixteen_attempts() -> None:
    async def body(rig: Rig) -> None:
        ours, _theirs = await rig.connected()
        rig.network.change_link(rig.network.link("a", "b"), "cut")
        await ours.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError, match="retransmission timeout"):
            await ours.receive_some()

    rig = run_in_rig(body, latency_s=0.04)
    assert sum(isinstance(r.fact, PacketDropped) for r in rig.trace) == 16


def test_held_bytes_arrive_together_on_release_and_in_order() -> None:
    async def body(rig: Rig) -> None:
        ours, theirs = await rig.connected()
        link = rig.network.link("a", "b")
        rig.network.change_link(link, "held")
        await ours.send_all(b"one")
        await ours.send_all(b"two")
        await trio.sleep(3)
        released = trio.current_time()
        rig.network.change_link(link, "up")
        received = b""
        while len(received) < 6:
            received += await theirs.receive_some()
        assert (received, trio.current_time()) == (b"onetwo", released)

    run_in_rig(body, latency_s=0.04)


def test_closing_with_unread_data_resets_the_peer() -> None:
    async def body(rig: Rig) -> None:
        ours, theirs = await rig.connected()
        await ours.send_all(b"never read")
        await trio.sleep(1)
        await theirs.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await ours.receive_some()

    rig = run_in_rig(body, latency_s=0.04)
    assert any(isinstance(r.fact, ConnectionReset) and r.fact.host == "a" for r in rig.trace)


def test_half_close_leaves_the_other_direction_open() -> None:
    async def body(rig: Rig) -> None:
        ours, theirs = await rig.connected()
        await ours.send_all(b"question")
        await ours.send_eof()
        assert await theirs.receive_some() == b"question"
        assert await theirs.receive_some() == b""
        await theirs.send_all(b"answer")
        await theirs.aclose()
        assert await ours.receive_some() == b"answer"
        assert await ours.receive_some() == b""

    run_in_rig(body, latency_s=0.04)


def test_every_packet_ends_exactly_once() -> None:
    async def body(rig: Rig) -> None:
        ours, theirs = await rig.connected()
        rig.network.link("a", "b").loss = 0.4
        await ours.send_all(bytes(20 * MSS))
        await ours.aclose()
        while await theirs.receive_some():
            pass
        await theirs.aclose()
        await trio.sleep(60)

    rig = run_in_rig(body, latency_s=0.04)
    sent = [r.id for r in rig.trace if isinstance(r.fact, PacketSent)]
    ended = [r.fact.packet for r in rig.trace if isinstance(r.fact, PacketDelivered | PacketDropped)]
    assert sorted(ended) == sent


def test_datagrams_arrive_whole_or_not_at_all() -> None:
    async def body(rig: Rig) -> None:
        rig.network.link("a", "b").loss = 0.5
        ours, theirs = rig.kernels["a"].bind(), rig.kernels["b"].bind(53)
        for number in range(100):
            await ours.send_to(b"%d" % number, "b", 53)
        await trio.sleep(1)
        arrived = 0
        with trio.move_on_after(1):
            while True:
                payload, source = await theirs.receive_from()
                assert payload.isdigit()
                assert source == ("a", ours.port)
                arrived += 1
        assert 30 < arrived < 70

    run_in_rig(body, latency_s=0.04)


def test_a_flow_of_datagrams_goes_on_where_it_was_when_a_port_is_bound_anew() -> None:
    """Offsets never go back: a byte of a direction is one byte, whichever socket sent it."""

    async def body(rig: Rig) -> None:
        client = rig.kernels["a"].bind()
        for life in range(2):
            with rig.kernels["b"].bind(53) as server:
                await client.send_to(b"question", "b", 53)
                assert (await server.receive_from())[0] == b"question"
                await server.send_to(b"answer %d" % life, "a", client.port)
                assert (await client.receive_from())[0] == b"answer %d" % life

    rig = run_in_rig(body, latency_s=0.04)
    sent = [(r.fact.flow, r.fact.sender, r.fact.offset) for r in rig.trace if isinstance(r.fact, PacketSent)]
    assert sent == [(1, "a", 0), (1, "b", 0), (1, "a", 8), (1, "b", 8)]


def test_a_socket_that_is_bound_anew_answers_on_the_flow_that_it_was_asked_on() -> None:
    """Also when who asked is gone by then: a flow has one client, the one who spoke first."""

    async def body(rig: Rig) -> None:
        with rig.kernels["b"].bind(53) as server:
            client = rig.kernels["a"].bind()
            await client.send_to(b"question", "b", 53)
            client.close()
            _, source = await server.receive_from()
            await server.send_to(b"answer", *source)

    rig = run_in_rig(body, latency_s=0.04)
    assert [r.fact.flow for r in rig.trace if isinstance(r.fact, PacketSent)] == [1, 1]


def test_a_program_that_is_being_ended_takes_no_port_from_the_next() -> None:
    async def body(rig: Rig) -> None:
        kernel = rig.kernels["b"]
        with trio.CancelScope() as scope:
            scope.cancel()
            late, late_listener = kernel.bind(53), kernel.listen(80)
            with kernel.bind(53) as socket, pytest.raises(trio.ClosedResourceError):
                await socket.receive_from()
        with kernel.bind(53) as living:
            late.close()
            late_listener.close()
            assert kernel.datagram_sockets == {53: living}

    run_in_rig(body)
