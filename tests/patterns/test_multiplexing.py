"""What each lesson of multiplexing is there to show, held against the theory: exact where time adds up.

L is the latency of one way, R = 2L a round trip, S the time that the server works on a request. A new connection costs R.
"""

import struct
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import ceil

import pytest

from engines.lab.commands import TimedCommand
from engines.lab.facts import (
    ConnectionOpened,
    ConnectionOpening,
    Measured,
    MessageStarted,
    Noted,
    PacketKind,
    PacketSent,
    PoolAssigned,
    PoolEvicted,
    PoolLeft,
    PoolResized,
    WorkStarted,
)
from engines.lab.knobs import Value
from engines.lab.session import SessionState, run_headless
from engines.lab.trace import Trace
from engines.metrics import Numbers
from engines.patterns.multiplexing import PATTERN
from engines.wire.http2_frames import PREFACE, FrameSplitter, FrameType
from tests.patterns.laws import breaches, every
from tests.patterns.runs import at


def play(name: str, commands: Sequence[TimedCommand] = (), until_s: float = 0.0, **knobs: Value) -> Trace:
    """A run of a lesson; `service_time=0.2` sets the knob service-time."""
    lesson = PATTERN.lesson(name)
    values: Mapping[str, Value] = {knob.replace("_", "-"): value for knob, value in knobs.items()}
    session = run_headless(
        lesson, name=name, seed=0, knobs=values, commands=commands, until_s=until_s or lesson.until_s
    )
    assert session.status.state is SessionState.ENDED, session.status.message
    assert breaches(session.trace) == []
    return session.trace


def number(trace: Trace, name: str) -> float:
    value = Numbers(trace).value(name, 1e9)
    return value if value is not None else 0.0


def amounts(trace: Trace, what: str) -> list[float]:
    return [fact.amount for _, fact in every(trace, Measured) if fact.what == what]


def exactly(expected: float) -> object:
    return pytest.approx(expected, abs=1e-9, rel=0.0)


def opened_by(trace: Trace, client: str) -> int:
    """How many connections came about that `client` had asked for."""
    asked = {fact.flow for _, fact in every(trace, ConnectionOpening) if fact.client == client}
    return len(asked & {fact.flow for _, fact in every(trace, ConnectionOpened) if fact.host == client})


# --- twenty requests ----------------------------------------------------------------------------------------------------

ONE_ROUND: dict[str, Value] = {"interval": 60.0}


@pytest.mark.parametrize(("latency_s", "service_s"), [(0.1, 0.2), (0.03, 0.0), (0.0, 0.5), (0.41, 0.13)])
@pytest.mark.parametrize(("requests", "pool"), [(20, 1), (20, 6), (20, 20), (7, 3), (1, 1)])
def test_requests_go_through_a_pool_in_rounds(latency_s: float, service_s: float, requests: int, pool: int) -> None:
    """R for the greeting, then ceil(n / k) rounds of R + S."""
    trace = play(
        "twenty-requests", latency=latency_s, service_time=service_s, requests=requests, pool_size=pool, **ONE_ROUND
    )
    round_trip_s = 2 * latency_s
    expected_s = round_trip_s + ceil(requests / pool) * (round_trip_s + service_s)
    assert amounts(trace, "makespan seconds")[0] == exactly(expected_s)
    assert opened_by(trace, "client") % min(requests, pool) == 0


@pytest.mark.parametrize(("latency_s", "service_s"), [(0.1, 0.2), (0.03, 0.0), (0.41, 0.13)])
@pytest.mark.parametrize("requests", [1, 20, 100])
def test_with_http_2_all_requests_take_as_long_as_one(latency_s: float, service_s: float, requests: int) -> None:
    trace = play(
        "twenty-requests", http="http/2", latency=latency_s, service_time=service_s, requests=requests, body_size=500,
        until_s=6.0,
    )  # fmt: skip
    makespans = amounts(trace, "makespan seconds")
    assert makespans == [exactly(4 * latency_s + service_s)] * len(makespans)
    assert len(makespans) >= 2
    assert opened_by(trace, "client") in (len(makespans), len(makespans) + 1), "one connection a round"


@pytest.mark.parametrize("workers", [1, 3, 5, 20])
def test_the_server_s_workers_are_a_queue_that_no_protocol_shortens(workers: int) -> None:
    trace = play("twenty-requests", http="http/2", workers=workers, read_timeout=60.0, **ONE_ROUND)
    assert amounts(trace, "makespan seconds") == [exactly(4 * 0.1 + ceil(20 / workers) * 0.2)]


def test_the_numbers_of_a_round() -> None:
    """Six connections: rounds of 0.4 s, in which 6, 6, 6 and 2 are in flight; the pool waits are multiples of it."""
    numbers, end_s = Numbers(play("twenty-requests", pool_size=6, **ONE_ROUND)), 1.8
    assert numbers.value("pool-wait", end_s) == exactly(0.2 + 0.4)  # the 10th of 20: second round
    assert numbers.value("pool-wait-p95", end_s) == exactly(0.2 + 3 * 0.4)
    held_s = 6 * (0.2 + 0.4) + (6 + 6 + 2) * 0.4  # the first six have theirs while they are opened
    assert numbers.value("pool-use", end_s - 1e-9) == pytest.approx(held_s / (6 * 1.8), rel=1e-6)
    assert numbers.value("pool-busy", 0.3) == 6
    assert numbers.value("pool-queue", 0.3) == 14
    assert numbers.value("latest:makespan seconds", end_s - 0.1) is None
    assert numbers.value("latest:makespan seconds", end_s) == exactly(1.8)


def test_a_pool_that_shrinks_harms_nobody_in_flight() -> None:
    """Six work when two are allowed: all six are answered, four connections close, and two go on."""
    trace = play("twenty-requests", [at(0.3, "set pool-size 2")], pool_size=6, **ONE_ROUND)
    first_s, round_s = 0.2 + 0.4, 0.4
    assert amounts(trace, "makespan seconds") == [exactly(first_s + ceil(14 / 2) * round_s)]
    assert number(trace, "measured:failed") == 0
    surplus = [record.time_s for record, gone in every(trace, PoolEvicted) if gone.reason == "surplus"]
    assert surplus == [exactly(first_s)] * 4
    assert {left.outcome for _, left in every(trace, PoolLeft)} == {"returned"}


# --- proxies ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", [1, 5, 12])
@pytest.mark.parametrize("latency_s", [0.1, 0.03])
def test_a_multiplexing_proxy_adds_a_hop_and_no_queue(pool: int, latency_s: float) -> None:
    """Each request travels both hops; the first also waits for the proxy's one connection."""
    trace = play("h2-backend", latency=latency_s, pool_size=pool, until_s=14.0)
    hops_s = ceil(12 / pool) * (4 * latency_s + 0.2)
    first, *later = amounts(trace, "makespan seconds")
    assert first == exactly(2 * latency_s + 2 * latency_s + hops_s)
    assert later == [exactly(2 * latency_s + hops_s)] * len(later)
    assert opened_by(trace, "proxy") == 1


@pytest.mark.parametrize("pool", [1, 4, 5, 12])
@pytest.mark.parametrize("latency_s", [0.1, 0.03])
def test_a_demultiplexing_proxy_is_as_quick_as_its_pool(pool: int, latency_s: float) -> None:
    """All arrive at the proxy at once; behind it they go through the pool in rounds."""
    trace = play("h2-frontend", latency=latency_s, proxy_pool=pool, until_s=12.0)
    rounds_s = ceil(12 / pool) * (2 * latency_s + 0.2)
    first, *later = amounts(trace, "makespan seconds")
    assert first == exactly(2 * latency_s + 2 * latency_s + 2 * latency_s + rounds_s)
    assert later == [exactly(2 * latency_s + 2 * latency_s + rounds_s)] * len(later)
    assert opened_by(trace, "proxy") == min(pool, 12)


def test_a_server_that_dies_behind_the_proxy_is_a_502_for_each_stream_and_the_front_lives() -> None:
    trace = play("h2-frontend", [at(0.6, "kill server")], until_s=3.0, latency=0.1)
    answers = [m.label for _, m in every(trace, MessageStarted) if m.sender == "proxy" and m.label[:3].isdigit()]
    assert answers == ["502 Bad Gateway"] * 12
    assert opened_by(trace, "client") == 1


# --- pipelining ---------------------------------------------------------------------------------------------------------


def quick_mean(slow_place: int, ready_s: Sequence[float], latency_s: float) -> float:
    quick = [4 * latency_s + ready for place, ready in enumerate(ready_s, 1) if place != slow_place]
    return sum(quick) / len(quick)


@pytest.mark.parametrize("slow_place", [1, 3, 6])
@pytest.mark.parametrize("works", ["all at once", "one at a time"])
def test_pipelined_answers_keep_the_order_of_the_requests(slow_place: int, works: str) -> None:
    """Ready when the slowest so far is (or after all before it, one at a time); sent then, and never earlier."""
    work_s = [2.0 if place == slow_place else 0.1 for place in range(1, 7)]
    ready_s = list(accumulate(work_s, max if works == "all at once" else lambda a, b: a + b))
    trace = play("pipelining", slow_place=slow_place, server_works=works, interval=60.0)
    assert amounts(trace, "quick answers, mean seconds") == [exactly(quick_mean(slow_place, ready_s, 0.1))]
    assert amounts(trace, "makespan seconds") == [exactly(4 * 0.1 + ready_s[-1])]
    assert opened_by(trace, "client") == 1


@pytest.mark.parametrize(("sending", "connections"), [("http/2", 1), ("six connections", 6)])
def test_without_an_order_each_answer_comes_when_it_is_ready(sending: str, connections: int) -> None:
    trace = play("pipelining", sending=sending, interval=60.0)
    assert amounts(trace, "quick answers, mean seconds") == [exactly(4 * 0.1 + 0.1)]
    assert opened_by(trace, "client") == connections


def test_one_by_one_each_pays_a_round_trip() -> None:
    trace = play("pipelining", sending="one by one", interval=60.0)
    assert amounts(trace, "makespan seconds") == [exactly(0.2 + 6 * 0.2 + 2.0 + 5 * 0.1)]


# --- a lost segment -----------------------------------------------------------------------------------------------------

RETRANSMISSION_S = 2 * 0.1 + 0.2


@pytest.mark.parametrize("at_s", [3.0, 4.7, 8.1, 11.05])
@pytest.mark.parametrize("downloads", [2, 6])
def test_one_lost_packet_stops_all_that_share_the_connection(at_s: float, downloads: int) -> None:
    order = [at(at_s, "drop next packet from server")]
    for over, victims in (("one of http/2", downloads), ("one each", 1)):
        trace = play("lost-segment", order, until_s=15.0, loss=0.0, over=over, downloads=downloads)
        assert number(trace, "measured:stalls") == victims
        assert len(set(amounts(trace, "stalled seconds"))) >= 1
        for stalled_s in amounts(trace, "stalled seconds"):
            assert RETRANSMISSION_S - 0.2 <= stalled_s <= RETRANSMISSION_S + 0.1 + 1e-9
        assert opened_by(trace, "client") == (1 if over == "one of http/2" else downloads)


def test_at_random_losses_six_share_what_one_would_suffer() -> None:
    """Some 2,400 packets from the server, of which about 24 are lost: stalls for each loss are about 6, and about 1."""
    per_loss = {}
    for over in ("one of http/2", "one each"):
        trace = play("lost-segment", until_s=80.0, loss=0.01, over=over)
        per_loss[over] = number(trace, "measured:stalls") / number(trace, "lost")
    assert per_loss["one of http/2"] / per_loss["one each"] == pytest.approx(6.0, rel=0.25)


# --- flow control -------------------------------------------------------------------------------------------------------


def data_sent(trace: Trace) -> dict[int, int]:
    """Bytes in DATA frames that the server has sent, by stream: that and nothing else counts (RFC 9113, section 6.9)."""
    return _tally(trace, "server", lambda kind, payload: len(payload) if kind == FrameType.DATA else 0)


def windows_opened(trace: Trace) -> dict[int, int]:
    """Bytes that the client's WINDOW_UPDATEs have added, by stream; 0 is the connection."""
    return _tally(
        trace,
        "client",
        lambda kind, payload: struct.unpack(">L", payload)[0] if kind == FrameType.WINDOW_UPDATE else 0,
    )


def _tally(trace: Trace, sender: str, amount_of) -> dict[int, int]:  # type: ignore[no-untyped-def]
    splitters: defaultdict[int, FrameSplitter] = defaultdict(FrameSplitter)
    amounts_by_stream: defaultdict[int, int] = defaultdict(int)
    for _, packet in every(trace, PacketSent):
        if packet.kind is not PacketKind.DATA or packet.sender != sender or packet.attempt > 1:
            continue
        for header, frame in splitters[packet.flow].take(packet.payload.removeprefix(PREFACE)):
            amounts_by_stream[header.stream] += amount_of(header.type, frame[9:])
    return amounts_by_stream


FILM = 1  # the first stream


@pytest.mark.parametrize("window", [1000, 30_000, 65_535])
def test_a_stream_that_is_not_read_stops_after_its_window(window: int) -> None:
    trace = play("flow-control", film=False, stream_window=window, page_size=500)
    sent, opened = data_sent(trace), windows_opened(trace)
    assert sent[FILM] == window + opened[FILM]
    assert opened[FILM] <= 8000, "one piece was read before it was paused"
    assert number(trace, "latest:page seconds") == exactly(0.2)
    assert number(trace, "latest:like seconds") == exactly(0.2)


def test_the_connection_s_window_stops_all_data_and_nothing_else() -> None:
    trace = play("flow-control", film=False, window_opens="as it is read")
    assert sum(data_sent(trace).values()) == 65_535 + windows_opened(trace)[0]
    pages, likes = amounts(trace, "page seconds"), amounts(trace, "like seconds")
    assert pages == []
    assert len(likes) >= 14
    assert likes == [exactly(0.2)] * len(likes), "204 has no DATA"
    assert number(trace, "timeouts") >= 10


@pytest.mark.parametrize("knobs", [{"stream_window": 30_000}, {"connection_window": 1_000_000}])
def test_room_that_one_stream_cannot_take_is_left_for_the_others(knobs: dict[str, Value]) -> None:
    trace = play("flow-control", film=False, window_opens="as it is read", **knobs)
    assert amounts(trace, "page seconds") == [exactly(0.2)] * len(amounts(trace, "page seconds"))
    assert number(trace, "measured:failed") == 0


def test_nobody_sends_more_than_was_allowed_whatever_is_turned() -> None:
    orders = [
        at(3.0, "set stream-window 2kB"),
        at(6.0, "set connection-window 200kB"),
        at(9.0, "set window-opens as it is read"),
        at(10.0, "set film is paused"),
        at(14.0, "set film plays"),
        at(16.0, "set connection-window 65535"),
        at(18.0, "set stream-window 100kB"),
    ]
    trace = play("flow-control", orders, until_s=40.0)
    assert sum(data_sent(trace).values()) <= 65_535 + windows_opened(trace)[0]
    assert number(trace, "measured:failed") == 0
    late = [record.time_s for record, fact in every(trace, Measured) if fact.what == "film bytes"]
    assert max(late) > 39, "the film goes on"


def test_throughput_of_a_stream_is_a_window_a_round_trip() -> None:
    """Half of the window is given back at a time: between one half and one window, each round trip."""
    trace = play("flow-control", stream_window=4000, film_rate=1e6, until_s=30.0)
    rate = number(trace, "measured:film bytes") / 29.6
    assert 0.5 * 4000 / 0.2 <= rate <= 1.05 * 4000 / 0.2


# --- the stream limit ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 4])
def test_a_lowered_limit_is_never_exceeded_once_those_in_flight_are_done(limit: int) -> None:
    trace = play("stream-limit", [at(5.0, f"set stream-limit {limit}")], burst=6)
    numbers = Numbers(trace)
    drained_s = 5.0 + 0.2 + 1.2 + 0.2
    levels = [numbers.value("streams", record.time_s) or 0 for record, _ in every(trace, MessageStarted)
              if record.time_s > drained_s]  # fmt: skip
    assert max(levels) == limit
    assert number(trace, "measured:refused") == 0
    failed = [record.time_s for record, fact in every(trace, Measured) if fact.what == "failed"]
    assert all(time_s >= 5.0 + 5.0 for time_s in failed), "only those that waited for the pool timeout"
    assert [resized.size for _, resized in every(trace, PoolResized)] == [6, limit]


def test_open_another_undoes_the_limit() -> None:
    trace = play("stream-limit", [at(5.0, "set stream-limit 1")], stream_policy="open another", burst=6)
    assert number(trace, "measured:failed") == 0
    assert opened_by(trace, "client") == 4, "2.5 requests a second, 1.4 s each: 3.5 in flight"
    members = {fact.member for _, fact in every(trace, PoolAssigned)}
    assert members == {1, 2, 3, 4}


@pytest.mark.parametrize("burst", [6, 8, 20])
def test_what_is_refused_is_sent_again_and_nothing_is_done_twice(burst: int) -> None:
    trace = play("stream-limit", burst=burst, stream_limit=6)
    assert number(trace, "measured:refused") == burst - 6
    begun = [fact.label for _, fact in every(trace, WorkStarted)]
    assert len(begun) == len(set(begun))
    assert number(trace, "measured:failed") == 0


# --- GOAWAY -------------------------------------------------------------------------------------------------------------


def charges(trace: Trace) -> dict[str, int]:
    """How often work on each payment was begun."""
    begun: defaultdict[str, int] = defaultdict(int)
    for _, work in every(trace, WorkStarted):
        begun[work.label] += 1
    return begun


@pytest.mark.parametrize("goodbye", ["at once", "with a warning"])
@pytest.mark.parametrize(("deploys", "latency_s", "interval"), [(5.0, 0.1, 0.1), (0.5, 0.1, 0.05), (1.37, 0.31, 0.07)])
def test_after_goaway_everything_is_done_exactly_once(
    goodbye: str, deploys: float, latency_s: float, interval: float
) -> None:
    trace = play("goaway", goodbye=goodbye, deploys=deploys, latency=latency_s, interval=interval, until_s=20.0)
    assert set(charges(trace).values()) == {1}
    assert number(trace, "measured:in doubt") == 0
    still_under_way = (1.0 + 6 * latency_s) / interval + 1
    assert number(trace, "measured:wanted") - number(trace, "measured:confirmed") <= still_under_way
    sent_again = number(trace, "requests") - number(trace, "measured:wanted")
    assert (sent_again > 0) if goodbye == "at once" else (sent_again <= 0)


def test_to_go_without_a_word_leaves_in_doubt_what_was_in_flight() -> None:
    trace = play("goaway", goodbye="without a word", until_s=14.0)
    in_flight = (1.0 + 2 * 0.1) / 0.1
    assert number(trace, "measured:in doubt") == pytest.approx(2 * in_flight, abs=4)
    assert set(charges(trace).values()) == {1}
    assert len(charges(trace)) > number(trace, "measured:confirmed") + 15, "most of those were done"


def test_who_pays_again_pays_twice() -> None:
    trace = play("goaway", goodbye="without a word", retry=True, until_s=14.0)
    assert number(trace, "measured:in doubt") == 0
    assert number(trace, "measured:charged twice") >= 15


def test_a_loss_in_mid_farewell_changes_nothing() -> None:
    orders = [at(4.95, "drop next 2 packets from server"), at(9.95, "drop next packet from client")]
    trace = play("goaway", orders, until_s=20.0, loss=0.01)
    assert set(charges(trace).values()) == {1}
    assert number(trace, "measured:in doubt") == 0
    assert any("new version" in note.text for _, note in every(trace, Noted))
