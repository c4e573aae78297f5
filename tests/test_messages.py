"""Arrows: how packets and messages become one, and how far each has come at any moment."""

from math import inf

import pytest

from engines.lab import facts as f
from engines.lab.facts import PacketKind, Role
from engines.messages import HEAD_LIMIT_BYTES, ArrowKind, MessageIndex, Phase
from tests.view.traces import SEGMENT, Play, simple_get


def read(play: Play) -> MessageIndex:
    index = MessageIndex(play.trace)
    index.consume()
    return index


def connected(protocol: str = "http/1.1") -> Play:
    """Two hosts with connection 1 between them, its handshake left out."""
    play = Play("client", "server")
    play.ends[1] = ("client", "server")
    play.record(f.ConnectionOpening(1, "client", "server", 80, protocol))
    return play


def labels(index: MessageIndex) -> list[str]:
    return [index.label(arrow) or index.packet_kind(arrow).name for arrow in range(len(index))]


def phases(index: MessageIndex, arrow: int, *times: float) -> list[Phase]:
    return [index.state_at(arrow, t).phase for t in times]


def test_a_simple_exchange_is_six_arrows() -> None:
    index = read(simple_get())
    assert labels(index) == ["SYN", "SYN_ACK", "GET /hello", "200 OK", "FIN", "FIN"]
    assert [index.sender(arrow) for arrow in range(6)] == ["client", "server", "client", "server", "client", "server"]
    assert index.role(2) is Role.REQUEST
    assert index.role(0) is None
    assert index.first_sent_s(2) == pytest.approx(0.08)
    assert index.completed_s(2) == pytest.approx(0.12)


def test_a_head_moves_in_proportion_to_time_between_sent_and_arrival() -> None:
    play = connected()
    (packet,) = play.message(1, "client", Role.REQUEST, "GET /")
    play.at(0.04)
    play.deliver(packet)
    index = read(play)
    states = [index.state_at(0, t) for t in (0.0, 0.01, 0.03, 0.04)]
    assert [state.phase for state in states] == [Phase.IN_FLIGHT, Phase.IN_FLIGHT, Phase.IN_FLIGHT, Phase.DELIVERED]
    assert [state.fraction for state in states] == pytest.approx([0, 0.25, 0.75, 1])


def test_a_long_message_is_one_arrow_that_fills_up() -> None:
    play = connected()
    packets = play.message(1, "client", Role.REQUEST, "PUT /image", size=4 * SEGMENT)
    for n, packet in enumerate(packets):
        play.at(0.04 + n * 0.01)
        play.deliver(packet)
    index = read(play)
    assert len(index) == 1
    assert phases(index, 0, 0.02, 0.04, 0.06, 0.07) == [Phase.IN_FLIGHT, Phase.PARTIAL, Phase.PARTIAL, Phase.DELIVERED]
    state = index.state_at(0, 0.05)
    assert (state.delivered, state.total, state.fraction) == (2 * SEGMENT, 4 * SEGMENT, 0.5)
    assert index.completed_s(0) == pytest.approx(0.07)


def test_the_size_is_unknown_until_the_last_byte_has_left() -> None:
    play = connected()
    first = play.packet(1, "client", payload=b"x" * SEGMENT)
    message = play.head(first, Role.REQUEST, "PUT /image")
    play.at(0.04)
    play.deliver(first)
    play.at(0.1)
    last = play.packet(1, "client", payload=b"y" * 40)
    play.end(last, message)
    index = read(play)
    assert index.state_at(0, 0.05).total is None
    assert index.state_at(0, 0.1).total == SEGMENT + 40
    assert index.completed_s(0) == inf


def test_what_lies_behind_a_hole_has_arrived_but_cannot_be_read() -> None:
    play = connected()
    (lost,) = play.message(1, "server", Role.RESPONSE, "first")
    (after,) = play.message(1, "server", Role.RESPONSE, "second")
    play.at(0.02)
    play.drop(lost)
    play.at(0.04)
    play.deliver(after)
    play.at(0.2)
    again = play.packet(1, "server", payload=b"x" * 80, attempt=2, offset=0)
    play.at(0.24)
    play.deliver(again)
    index = read(play)
    assert phases(index, 0, 0.01, 0.02, 0.3) == [Phase.IN_FLIGHT, Phase.LOST, Phase.LOST]
    blocked = index.state_at(1, 0.1)
    assert (blocked.phase, blocked.blocked) == (Phase.PARTIAL, True)
    assert index.state_at(1, 0.24).phase is Phase.DELIVERED
    assert index.kind[2] == ArrowKind.RETRANSMISSION
    assert index.source(2) == 0
    assert index.label(2) == "first"
    assert index.completed_s(0) == pytest.approx(0.24)


def test_a_packet_lost_from_a_longer_message_is_an_arrow_of_its_own() -> None:
    play = connected()
    packets = play.message(1, "client", Role.REQUEST, "PUT /image", size=3 * SEGMENT)
    play.at(0.02)
    play.drop(packets[1], 0.3)
    index = read(play)
    assert [index.kind[arrow] for arrow in range(2)] == [ArrowKind.BYTES, ArrowKind.LOST_PART]
    assert index.state_at(1, 0.02).phase is Phase.LOST
    assert index.state_at(1, 0.02).fraction == pytest.approx(0.3)
    assert index.label(1) == "PUT /image"


def test_a_held_packet_stands_still_and_then_goes_on() -> None:
    play = connected()
    (packet,) = play.message(1, "client", Role.REQUEST, "GET /")
    play.at(0.01)
    play.record(f.PacketHeld(packet, 1, "fault"))
    play.at(1.0)
    play.record(f.PacketReleased(packet, 1, 1.3))
    play.at(1.3)
    play.deliver(packet)
    index = read(play)
    states = [index.state_at(0, t) for t in (0.01, 0.9, 1.1, 1.3)]
    assert [state.phase for state in states] == [Phase.HELD, Phase.HELD, Phase.IN_FLIGHT, Phase.DELIVERED]
    assert [state.fraction for state in states] == pytest.approx([0.25, 0.25, 0.5, 1.0])
    assert states[0].reason == "fault"


def test_slices_of_a_head_become_the_message_once_it_is_complete() -> None:
    play = connected()
    packets = [play.packet(1, "client", payload=bytes([byte])) for byte in b"GET /"]
    message = play.head(packets[-1], Role.REQUEST, "GET /", offset=0)
    play.end(packets[-1], message)
    index = read(play)
    assert labels(index) == ["GET /"]
    assert index.fact[0] == packets[0]
    assert index.message_bytes(0) == b"GET /"
    assert all(index.arrow_of_fact(fact) == 0 for fact in (*packets, message))


def test_two_requests_in_one_packet_are_two_arrows() -> None:
    play = connected()
    packet = play.packet(1, "client", payload=b"GET /aGET /b")
    play.end(packet, play.head(packet, Role.REQUEST, "GET /a"), end=6)
    second = play.head(packet, Role.REQUEST, "GET /b", offset=6)
    play.end(packet, second, end=12)
    play.at(0.04)
    play.deliver(packet)
    index = read(play)
    assert labels(index) == ["GET /a", "GET /b"]
    assert index.fact[1] == second
    assert [index.message_bytes(arrow) for arrow in range(2)] == [b"GET /a", b"GET /b"]
    assert [index.state_at(arrow, 0.04).phase for arrow in range(2)] == [Phase.DELIVERED, Phase.DELIVERED]


def test_undissected_bytes_have_an_arrow_a_packet() -> None:
    play = connected(protocol="")
    for _ in range(3):
        play.packet(1, "client", payload=b"??")
    assert labels(read(play)) == ["DATA", "DATA", "DATA"]


def test_a_head_that_never_ends_is_drawn_in_pieces_of_bounded_size() -> None:
    play = connected()
    for _ in range(30):
        play.packet(1, "client", payload=b"?" * SEGMENT)
    index = read(play)
    assert 2 <= len(index) <= 5
    assert all(index.end[arrow] - index.start[arrow] <= HEAD_LIMIT_BYTES for arrow in range(len(index)))


def test_a_datagram_becomes_the_message_that_it_carries() -> None:
    play = connected("dns")
    packet = play.packet(1, "client", PacketKind.DATAGRAM, b"query")
    play.head(packet, Role.REQUEST, "A example.org")
    play.at(0.04)
    play.deliver(packet)
    index = read(play)
    assert labels(index) == ["A example.org"]
    assert index.state_at(0, 0.04).phase is Phase.DELIVERED
    assert index.message_bytes(0) == b"query"


def test_a_doomed_packet_travels_at_the_usual_speed_until_it_dies() -> None:
    play = connected()
    play.latency_s = 0.1
    play.packet(1, "client")
    doomed = play.packet(1, "client", payload=b"x", doomed=True)
    play.at(0.07)
    play.drop(doomed, 0.7)
    index = read(play)
    arrow = index.arrow_of_fact(doomed)
    assert arrow is not None
    assert index.state_at(arrow, 0.05).fraction == pytest.approx(0.5)
    assert index.state_at(arrow, 0.07).fraction == pytest.approx(0.7)


def test_streams_are_told_apart_and_each_byte_is_there_once() -> None:
    play = connected("http/2")
    one = play.packet(1, "client", payload=b"aaaa")
    first = play.head(one, Role.REQUEST, "GET /a", stream=1)
    two = play.packet(1, "client", payload=b"bbbb")
    second = play.head(two, Role.REQUEST, "GET /b", stream=3)
    play.packet(1, "client", payload=b"aaaa", attempt=2, offset=0)
    play.end(play.packet(1, "client", payload=b"cc"), first)
    index = read(play)
    assert [index.stream(arrow) for arrow in range(3)] == [1, 3, 1]
    assert index.stream_bytes(1, "client") == b"aaaabbbbcc"
    assert index.stream_bytes(1, "client", upto_fact=second) == b"aaaabbbb"
    assert index.stream_bytes(1, "nobody") == b""


def test_it_reads_no_more_than_its_budget_and_knows_no_later_facts() -> None:
    play = simple_get()
    index = MessageIndex(play.trace)
    assert index.consume(budget_facts=5)
    assert index.consumed == 5
    assert index.limit_at(99.0) == 5
    assert index.consume(upto=12)
    assert index.consumed == 12
    assert index.arrow_of_fact(15) is None
    assert index.consume()
    assert not index.consume()


def test_an_event_in_an_unending_response_is_an_arrow_of_its_own() -> None:
    """The response grows by it and stays open; a packet that carries the event is the event's, its loss as well."""
    play = connected("http/1.1+sse")
    head = play.packet(1, "server", payload=b"h" * 100)
    play.head(head, Role.RESPONSE, "200 OK")
    play.at(0.04)
    play.deliver(head)
    event = play.packet(1, "server", payload=b"e" * 50)
    inner = play.head(event, Role.PUSH, "event 1")
    play.end(event, inner, boundary="blank line")
    play.at(0.06)
    play.drop(event)
    lost = play.packet(1, "server", payload=b"e" * 60)
    inner = play.head(lost, Role.PUSH, "event 2")
    play.end(lost, inner, boundary="blank line")
    play.at(0.1)
    play.deliver(lost)
    index = read(play)
    assert labels(index) == ["200 OK", "event 1", "event 2"]
    assert [index.arrow_of_fact(packet) for packet in (head, event, lost)] == [0, 1, 2]
    assert phases(index, 0, 0.05, 0.1) == [Phase.PARTIAL, Phase.PARTIAL]
    assert phases(index, 1, 0.05, 0.1) == [Phase.IN_FLIGHT, Phase.LOST]
    assert index.message_range(0) == (0, 210)
    assert index.state_at(0, 0.1).total is None


def test_what_has_arrived_of_a_message_that_goes_on_is_counted() -> None:
    play = connected()
    first = play.packet(1, "server", payload=b"h" * 100)
    play.head(first, Role.RESPONSE, "200 OK")
    second = play.packet(1, "server", payload=b"b" * 900)
    play.at(0.04)
    play.deliver(first)
    play.deliver(second)
    assert read(play).state_at(0, 0.04).delivered == 1000
