"""What is said of push, held to the last digit: one transit a word, headers of 2, 4 and 10 bytes, and who loses what."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest

from engines.lab.commands import TimedCommand
from engines.lab.facts import (
    EventBorn,
    EventHandled,
    EventLost,
    MessageEnded,
    MessageStarted,
    Noted,
    PacketKind,
    PacketSent,
    Role,
    StateChanged,
    TimedOut,
)
from engines.lab.knobs import Value
from engines.lab.links import HEADER_BYTES
from engines.lab.tcp import RECEIVE_WINDOW, SEND_BUFFER
from engines.lab.trace import Trace
from engines.metrics import Numbers
from engines.patterns.contract import Lesson
from engines.patterns.push import PATTERN
from engines.patterns.workload import NOTIFICATIONS
from engines.wire.websocket import HEARTBEAT_KNOBS
from tests.patterns.laws import every
from tests.patterns.runs import at, run

NOTIFIED = PATTERN.lesson("notifications")
OFFLINE = PATTERN.lesson("client-offline")
SLOW = PATTERN.lesson("slow-client")
HALF_OPEN = PATTERN.lesson("half-open-peer")
CHAT = PATTERN.lesson("chat")

LATENCIES_S = (0.0, 0.001, 0.15, 0.8)


def played(
    lesson: Lesson,
    commands: Sequence[TimedCommand] = (),
    *,
    until_s: float | None = None,
    seed: int = 0,
    knobs: Mapping[str, Value] | None = None,
    **more: Value,
) -> Trace:
    """A run; `event_rate=2.0` sets the knob event-rate."""
    values = {name.replace("_", "-"): value for name, value in {**(knobs or {}), **more}.items()}
    return run(lesson, commands, knobs=values, until_s=until_s, seed=seed).trace


def exactly(expected: float | list[float]) -> object:
    """Equal but for the last bits of a sum of floats."""
    return pytest.approx(expected, abs=1e-9, rel=0.0)


def born(trace: Trace) -> dict[int, float]:
    return {fact.event: record.time_s for record, fact in every(trace, EventBorn)}


def heard(trace: Trace) -> dict[int, float]:
    """When each event was heard of for the first time."""
    times: dict[int, float] = {}
    for record, fact in every(trace, EventHandled):
        times.setdefault(fact.event, record.time_s)
    return times


def lost(trace: Trace) -> dict[int, str]:
    return {fact.event: fact.reason for _, fact in every(trace, EventLost)}


def unknown_fate(trace: Trace) -> set[int]:
    """Events that nobody heard of, and that nobody knows to be lost."""
    return set(born(trace)) - set(heard(trace)) - set(lost(trace))


def delays(trace: Trace) -> dict[int, float]:
    times = born(trace)
    return {event: heard_s - times[event] for event, heard_s in heard(trace).items()}


def messages(trace: Trace, pattern: str) -> list[tuple[float, MessageStarted]]:
    """Messages whose label begins with `pattern`."""
    return [(r.time_s, f) for r, f in every(trace, MessageStarted) if re.match(pattern, f.label)]


# --- notifications ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("latency_s", LATENCIES_S)
@pytest.mark.parametrize("arrivals", ["fixed", "poisson", "burst"])
def test_a_push_takes_one_transit(latency_s: float, arrivals: str) -> None:
    trace = played(NOTIFIED, latency=latency_s, arrivals=arrivals, event_rate=2.0)
    measured = delays(trace)
    assert len(measured) > 20
    assert list(measured.values()) == exactly([latency_s] * len(measured))


def test_only_what_happens_before_the_client_is_there_is_lost() -> None:
    """Three transits: SYN, SYN-ACK, the request; from then on the server may push."""
    trace = played(NOTIFIED, latency=0.5, arrivals="fixed", event_rate=10.0)
    times = born(trace)
    assert {event for event in times if times[event] < 1.5 - 1e-9} == set(lost(trace)) | ({15} - set(heard(trace)))
    assert unknown_fate(trace) <= {event for event in times if times[event] > NOTIFIED.until_s - 0.5 - 1e-9}


def test_there_is_one_request_however_many_events() -> None:
    for rate in (0.1, 2.0, 20.0):
        trace = played(NOTIFIED, event_rate=rate)
        numbers = Numbers(trace)
        assert (numbers.value("requests", 30.0), numbers.value("responses", 30.0)) == (1, 1)


@pytest.mark.parametrize(
    ("size", "header"), [(40, 2), (125, 2), (126, 4), (1000, 4), (65_535, 4), (65_536, 10), (100_000, 10)]
)
def test_an_event_costs_its_bytes_and_2_or_4_or_10(size: int, header: int) -> None:
    trace = played(NOTIFIED, event_size=size, arrivals="fixed", event_rate=1.0)
    frames = messages(trace, "text")
    ends = {ended.message: ended.end for _, ended in every(trace, MessageEnded)}
    ids = [record.id for record, fact in every(trace, MessageStarted) if fact.label.startswith("text")]
    assert len(frames) == 30
    assert {fact.role for _, fact in frames} == {Role.PUSH}
    assert [ends[i] - fact.offset for i, (_, fact) in zip(ids, frames, strict=True) if i in ends] == [
        header + size for i in ids if i in ends
    ]


def test_the_bytes_of_a_run_are_a_handshake_and_the_frames() -> None:
    trace = played(NOTIFIED, event_size=100, event_rate=2.0)
    response = messages(trace, "text")[0][1].offset
    request = sum(len(p.payload) for _, p in every(trace, PacketSent) if p.sender == "client")
    pushed = len(messages(trace, "text"))
    assert Numbers(trace).value("bytes", 30.0) == request + response + pushed * 102


def test_bandwidth_is_paid_for_every_byte() -> None:
    trace = played(NOTIFIED, latency=0.1, bandwidth=1000.0, event_size=100, arrivals="fixed", event_rate=0.5)
    expected = 0.1 + (2 + 100 + HEADER_BYTES) / 1000
    assert list(delays(trace).values()) == exactly([expected] * len(delays(trace)))
    assert len(delays(trace)) > 10


def test_a_lost_packet_holds_back_what_is_behind_it() -> None:
    trace = played(NOTIFIED, [at(3.1, "drop next packet from server")], latency=0.1, arrivals="fixed", event_rate=5.0)
    late = {event: delay for event, delay in delays(trace).items() if delay > 0.1 + 1e-9}
    assert len(late) > 1
    times = heard(trace)
    assert len({times[event] for event in late}) == 1  # they all wait for the one that is sent again
    assert sorted(times, key=lambda event: (times[event], event)) == sorted(times)


def test_exactly_one_lesson_is_to_be_compared() -> None:
    assert [lesson.name for lesson in PATTERN.lessons if lesson.workload == NOTIFICATIONS] == ["notifications"]


# --- client offline -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_a_server_that_keeps_nothing_loses_what_happens_meanwhile(seed: int) -> None:
    trace = played(OFFLINE, seed=seed, keep="never", event_rate=10.0)
    times, gone = born(trace), lost(trace)
    assert gone
    leaves = [time_s for time_s, fact in messages(trace, "close 1001") if fact.sender == "server"]
    joins = [time_s for time_s, _ in messages(trace, "101")]
    for event in gone:
        before = max([join for join in joins if join <= times[event]], default=-1.0)
        after = [leave for leave in leaves if before < leave <= times[event]]
        assert before < 0 or after, "lost while the client was connected"
    assert list(delays(trace).values()) == exactly([0.15] * len(delays(trace)))


@pytest.mark.parametrize("seed", range(4))
def test_what_crosses_with_the_close_is_lost_without_acknowledgements_and_not_with_them(seed: int) -> None:
    """Events pushed between one transit before the client leaves and one after: nobody reads them, nobody knows."""
    for keep, expect_loss in (("until sent", True), ("until acknowledged", False)):
        trace = played(OFFLINE, seed=seed, keep=keep, event_rate=10.0, keep_at_most=1000)
        assert lost(trace) == {}
        times = born(trace)
        settled = {event for event in unknown_fate(trace) if times[event] < 20.0}
        assert bool(settled) is expect_loss
        for event in settled:
            assert any(abs(times[event] - leave) <= 0.15 + 1e-9 for leave in first_closes(trace)), event


def first_closes(trace: Trace) -> list[float]:
    return [time_s for time_s, fact in messages(trace, "close 1001") if fact.sender == "client"]


def test_what_was_kept_comes_at_once_and_in_order_when_the_client_is_back() -> None:
    trace = played(OFFLINE, keep="until acknowledged", event_rate=10.0)
    batches: defaultdict[float, list[int]] = defaultdict(list)
    for event, time_s in heard(trace).items():
        batches[time_s].append(event)
    longest = max(batches.values(), key=len)
    assert len(longest) > 25  # about 40 in the 4 s away
    assert longest == sorted(longest)
    assert Numbers(trace).value("events-unordered", 28.0) == 0


def test_a_full_memory_gives_the_oldest_up() -> None:
    trace = played(OFFLINE, keep="until sent", event_rate=10.0, keep_at_most=5)
    assert set(lost(trace).values()) == {"too many to keep"}
    batches: defaultdict[float, list[int]] = defaultdict(list)
    for event, time_s in heard(trace).items():
        batches[time_s].append(event)
    assert max(map(len, batches.values())) <= 5 + 1


def test_acknowledgements_that_are_lost_make_duplicates() -> None:
    commands = [
        at(2.0, "cut client>server"),
        at(3.0, "kill client"),
        at(4.0, "restart client"),
        at(4.0, "restore client>server"),
    ]
    trace = played(OFFLINE, commands, keep="until acknowledged", event_rate=10.0)
    duplicates = Numbers(trace).value("events-duplicated", 28.0)
    assert duplicates is not None
    assert duplicates >= 5
    assert {event for event in unknown_fate(trace) if born(trace)[event] < 20.0} == set()


def test_memory_does_not_survive_the_server() -> None:
    commands = [at(9.0, "kill server"), at(9.5, "restart server")]
    trace = played(OFFLINE, commands, keep="until acknowledged", arrivals="fixed", event_rate=2.0)
    gone = {event for event in unknown_fate(trace) if born(trace)[event] < 20.0}
    assert gone
    assert all(6.0 < born(trace)[event] < 9.0 for event in gone)


# --- slow client --------------------------------------------------------------------------------------------------------

EVENT_BYTES = 16_000 + 4


@pytest.mark.parametrize("policy", ["drop oldest", "drop newest", "block", "disconnect"])
def test_a_busy_client_hears_at_its_own_speed(policy: str) -> None:
    trace = played(SLOW, when_full=policy)
    times = list(heard(trace).values())
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert min(gaps) == exactly(0.5)
    if policy != "disconnect":
        assert gaps == exactly([0.5] * len(gaps))


def test_before_anything_is_lost_three_buffers_are_full() -> None:
    """The client's kernel, the server's kernel and the program's own: what is born, minus what was heard, is in them."""
    trace = played(SLOW, buffer_size=10)
    first_loss_s = next(record.time_s for record, _ in every(trace, EventLost))
    inside = sum(t <= first_loss_s for t in born(trace).values()) - sum(
        t <= first_loss_s for t in heard(trace).values()
    )
    kernels = (RECEIVE_WINDOW + SEND_BUFFER) / EVENT_BYTES
    in_programs = 10 + 1 + 1 + 1  # the buffer, the one just born, one at the client's hands, one half in the kernel
    assert in_programs + kernels - 3 <= inside <= in_programs + kernels + 6


@pytest.mark.parametrize("size", [5, 10, 40])
def test_the_buffer_never_holds_more_than_it_may(size: int) -> None:
    for policy in ("drop oldest", "drop newest", "block", "disconnect"):
        trace = played(SLOW, when_full=policy, buffer_size=size)
        shown = [int(fact.value.split()[0]) for _, fact in every(trace, StateChanged) if fact.key == "buffer"]
        assert max(shown) == size


def test_dropping_the_oldest_keeps_the_client_younger_than_dropping_the_newest() -> None:
    """Both hear as many; in the steady state the one hears events of a shorter queue, the other of all of it."""
    oldest, newest = (played(SLOW, when_full=policy) for policy in ("drop oldest", "drop newest"))
    assert len(heard(oldest)) == len(heard(newest))
    assert max(delays(oldest).values()) < max(delays(newest).values())
    for trace in (oldest, newest):
        assert list(heard(trace)) == sorted(heard(trace))


def test_littles_law() -> None:
    """Where nothing is dropped from the middle: delay = events in the system x time for one (L = lambda W)."""
    trace = played(SLOW, when_full="block", until_s=60.0)
    births, hearings = born(trace), heard(trace)
    for event, delay in list(delays(trace).items())[-30:]:
        ahead = sum(time_s <= births[event] for time_s in births.values())
        done = sum(time_s <= births[event] for time_s in hearings.values())
        assert delay == pytest.approx((ahead - done) * 0.5, abs=1.0)


def test_blocking_loses_nothing_and_makes_the_source_as_slow_as_the_client() -> None:
    trace = played(SLOW, when_full="block", until_s=60.0)
    assert set(lost(trace).values()) <= {"nobody is connected"}
    births = [time_s for time_s in born(trace).values() if time_s > 20.0]
    rate = (len(births) - 1) / (births[-1] - births[0])
    assert rate == pytest.approx(2.0, rel=0.15)  # 1 / 0.5 s, though 5 a second were asked for


def test_a_slow_client_is_sent_away_with_1013_and_comes_back() -> None:
    trace = played(SLOW, when_full="disconnect")
    closes = messages(trace, "close 1013")
    assert {fact.sender for _, fact in closes} == {"client", "server"}
    assert len(messages(trace, "101")) > 1
    assert set(lost(trace).values()) == {
        "newest at a full buffer",
        "the client was disconnected",
        "nobody is connected",
    }


def test_a_client_that_is_fast_enough_loses_nothing() -> None:
    trace = played(SLOW, consumer_time=0.1)
    assert lost(trace) == {}
    assert max(delays(trace).values()) < 1.0


# --- half-open peer -----------------------------------------------------------------------------------------------------

HOP_S = 0.1
OPEN_S = 8 * HOP_S
"""Two connections and a handshake over two hops: SYN and SYN-ACK, again behind the firewall, the request, the 101."""


@pytest.mark.parametrize(("interval_s", "timeout_s"), [(20.0, 20.0), (10.0, 5.0), (15.0, 1.0)])
def test_a_heartbeat_finds_a_dead_peer_after_its_interval_and_its_timeout(interval_s: float, timeout_s: float) -> None:
    knobs: dict[str, Value] = {"ping_interval": interval_s, "ping_timeout": timeout_s, "event_rate": 0.11}
    trace = played(HALF_OPEN, knobs=knobs)
    found = [record.time_s for record, fact in every(trace, TimedOut) if fact.what == "pong"]
    assert found[0] == exactly(OPEN_S + interval_s + timeout_s)
    gone = [record.time_s for record, fact in every(trace, Noted) if fact.text == "a client has gone"]
    last_pong_s = OPEN_S + 2 * HOP_S  # the answer to Hypercorn's first ping, which leaves with the 101
    assert gone[0] == exactly(last_pong_s + interval_s + timeout_s)


def test_without_pings_nobody_finds_out_and_everything_is_swallowed() -> None:
    trace = played(HALF_OPEN, who_pings="nobody", until_s=300.0)
    assert len(messages(trace, "GET")) == 2  # one on each side of the firewall: nobody ever connects again
    assert heard(trace) == {}
    assert lost(trace) == {}
    assert unknown_fate(trace) == set(born(trace))
    assert len(born(trace)) == 30
    assert messages(trace, "ping") == []


@pytest.mark.parametrize(("who", "reconnects", "noticed"), [("client", True, False), ("server", False, True)])
def test_only_who_pings_finds_out(who: str, reconnects: bool, noticed: bool) -> None:
    trace = played(HALF_OPEN, who_pings=who)
    assert (len(messages(trace, "GET")) > 2) is reconnects
    assert any(fact.text == "a client has gone" for _, fact in every(trace, Noted)) is noticed


def test_pings_more_often_than_the_firewall_forgets_keep_the_connection() -> None:
    trace = played(HALF_OPEN, ping_interval=5.0)
    assert len(messages(trace, "GET")) == 2
    assert list(delays(trace).values()) == exactly([2 * HOP_S] * len(delays(trace)))
    assert len(unknown_fate(trace)) <= 1  # the one on its way at the end
    assert not any(fact.text.startswith("swallowed") for _, fact in every(trace, Noted))


def test_a_cable_that_is_out_is_silence_too() -> None:
    knobs: dict[str, Value] = {"forgets_after": float("inf"), "ping_interval": 5.0, "ping_timeout": 5.0}
    trace = played(HALF_OPEN, [at(7.0, "unplug client"), at(40.0, "plug client")], knobs=knobs)
    assert [record.time_s for record, fact in every(trace, TimedOut) if fact.what == "pong"] == exactly([OPEN_S + 15.0])
    assert len(messages(trace, "101")) == 4
    assert {event: time_s for event, time_s in heard(trace).items() if time_s > 40.0}


def test_a_death_is_told_at_once() -> None:
    trace = played(HALF_OPEN, [at(5.0, "kill client")], who_pings="nobody")
    gone = [record.time_s for record, fact in every(trace, Noted) if fact.text == "a client has gone"]
    assert gone == exactly([5.0 + 2 * HOP_S])


def test_the_defaults_are_those_of_the_websockets_library() -> None:
    assert [knob.default for knob in HEARTBEAT_KNOBS] == [20.0, 20.0]


# --- chat ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("latency_s", LATENCIES_S)
def test_a_word_takes_two_transits(latency_s: float) -> None:
    trace = played(CHAT, latency=latency_s)
    measured = delays(trace)
    assert len(measured) > 10
    assert list(measured.values()) == exactly([2 * latency_s] * len(measured))
    assert Numbers(trace).value("requests", 30.0) == 2


def test_words_are_masked_on_their_way_in_and_not_on_their_way_out() -> None:
    trace = played(CHAT)
    ends = {ended.message: ended.end for _, ended in every(trace, MessageEnded)}
    sizes: defaultdict[str, set[int]] = defaultdict(set)
    for record, fact in every(trace, MessageStarted):
        if fact.label.startswith("text"):
            said = int(fact.label.split()[1])
            sizes[fact.sender].add(ends[record.id] - fact.offset - said)
    assert sizes == {"ann": {2 + 4}, "bob": {2 + 4}, "server": {2}}


def test_a_word_by_post_is_a_request_and_costs_more() -> None:
    by_socket, by_post = (played(CHAT, speaks_by=way, latency=0.1) for way in ("websocket", "post"))
    warm = sorted(delays(by_post).values())
    assert warm[0] == exactly(0.2)
    assert warm[-1] == exactly(0.4)  # the first word also pays for its connection
    cost = [Numbers(trace).value("bytes-per-event-byte", 30.0) for trace in (by_socket, by_post)]
    assert cost[0] is not None
    assert cost[1] is not None
    assert cost[1] > 1.5 * cost[0]
    posted = len(messages(by_post, "POST"))
    assert Numbers(by_post).value("requests", 30.0) == 2 + posted
    assert posted == len(born(by_post))


def test_nothing_of_the_talk_is_sent_after_bob_has_left_but_the_server_knows() -> None:
    trace = played(CHAT, [at(5.0, "kill bob")])
    words = {event: time_s for event, time_s in born(trace).items() if time_s > 5.3}
    assert words
    assert set(lost(trace)) >= {event for event, time_s in words.items() if time_s < 29.0}


def test_packets_carry_whole_frames_here() -> None:
    """Small frames travel one to a packet: each push is one packet, and one arrow."""
    trace = played(NOTIFIED, arrivals="fixed", event_rate=1.0)
    data = [p for _, p in every(trace, PacketSent) if p.kind is PacketKind.DATA and p.sender == "server"]
    assert len(data) == 1 + len(messages(trace, "text"))


def test_a_101_that_shares_its_packet_with_a_ping_is_counted_once() -> None:
    """The firewall passes on what it reads: Hypercorn's 101 and its first ping, which leave in the same instant."""
    trace = played(HALF_OPEN)
    opened = len(messages(trace, "GET"))
    numbers = Numbers(trace)
    assert (numbers.value("requests", 90.0), numbers.value("responses", 90.0)) == (opened, opened)
