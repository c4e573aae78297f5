"""What each lesson of long polling is there to show, held against the theory: exact where time adds up, else with enough samples.

L is the latency of one way; bandwidth, loss and jitter are out of the way. The first question reaches the server after 3L (SYN,
SYN-ACK, request), each later one 2L after the answer before it left: that is the gap, G = 2L.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import ceil, exp, inf, sqrt

import pytest

from engines.lab.commands import TimedCommand
from engines.lab.facts import (
    EventBorn,
    EventHandled,
    EventLost,
    Measured,
    MessageStarted,
    StateChanged,
    WaitEnded,
)
from engines.lab.knobs import Value
from engines.lab.session import SessionState, run_headless
from engines.lab.trace import Trace
from engines.metrics import Numbers
from engines.patterns.long_polling import PATTERN
from tests.patterns.laws import breaches, every
from tests.patterns.runs import at


def play(
    name: str,
    commands: Sequence[TimedCommand] = (),
    base: Mapping[str, Value] | None = None,
    until_s: float = 0.0,
    **knobs: Value,
) -> Trace:
    """A run of a lesson; `read_timeout=2.0` sets the knob read-timeout, and `base` has more of them."""
    lesson = PATTERN.lesson(name)
    values: Mapping[str, Value] = {knob.replace("_", "-"): value for knob, value in {**(base or {}), **knobs}.items()}
    session = run_headless(
        lesson, name=name, seed=0, knobs=values, commands=commands, until_s=until_s or lesson.until_s
    )
    assert session.status.state is SessionState.ENDED, session.status.message
    return session.trace


def number(trace: Trace, name: str) -> float:
    value = Numbers(trace).value(name, 1e9)
    assert value is not None
    return value


def amounts(trace: Trace, what: str) -> list[float]:
    return [fact.amount for _, fact in every(trace, Measured) if fact.what == what]


def born_s(trace: Trace) -> list[float]:
    return [record.time_s for record, _ in every(trace, EventBorn)]


def heard_s(trace: Trace) -> list[float]:
    return [record.time_s for record, _ in every(trace, EventHandled)]


def delays(trace: Trace) -> list[float]:
    """How late each event was heard of, in the order of hearing."""
    born = {fact.event: record.time_s for record, fact in every(trace, EventBorn)}
    return [record.time_s - born[fact.event] for record, fact in every(trace, EventHandled)]


def sent_s(trace: Trace, label: str, sender: str) -> list[float]:
    """When messages whose label begins so left `sender`."""
    found = every(trace, MessageStarted)
    return [record.time_s for record, m in found if m.sender == sender and m.label.startswith(label)]


def most_held(trace: Trace) -> int:
    return max(int(state.value) for _, state in every(trace, StateChanged) if state.key == "held")


def exactly(expected: float | list[float]) -> object:
    """Equal but for the last bits of a sum of floats."""
    return pytest.approx(expected, abs=1e-9, rel=0.0)


def within_four_sigma(counts: Sequence[float], mean: float, variance: float) -> bool:
    """Whether independent counts have the mean that they should have; a true one fails once in 16,000 times."""
    return abs(sum(counts) / len(counts) - mean) < 4 * sqrt(variance / len(counts))


# --- notifications ------------------------------------------------------------------------------------------------------


def answers(
    born: Sequence[float], latency_s: float, hold_s: float, cursor: bool = True
) -> Iterator[tuple[float, list[int]]]:
    """Theory: when each answer leaves, and which events are in it. Events count from 1."""
    arrives_s, told = 3 * latency_s, 0
    while True:
        if not cursor:
            told = max(told, bisect_right(born, arrives_s))
        next_s = born[told] if told < len(born) else inf
        leaves_s = max(arrives_s, min(next_s, arrives_s + hold_s))
        known = bisect_right(born, leaves_s)
        yield leaves_s, list(range(told + 1, known + 1))
        told, arrives_s = known, leaves_s + 2 * latency_s


PATIENT: dict[str, Value] = {"read_timeout": 1000.0, "hold": 600.0}


@pytest.mark.parametrize("arrivals", ["fixed", "poisson", "burst"])
@pytest.mark.parametrize("cursor", [True, False])
@pytest.mark.parametrize(("hold_s", "latency_s", "rate"), [(3.0, 0.15, 0.5), (0.37, 0.1, 2.0), (50.0, 0.41, 5.0)])
def test_every_answer_leaves_when_it_must_and_brings_what_it_must(
    arrivals: str, cursor: bool, hold_s: float, latency_s: float, rate: float
) -> None:
    until_s = 120.0
    trace = play(
        "notifications", until_s=until_s, arrivals=arrivals, cursor=cursor, hold=hold_s, latency=latency_s,
        event_rate=rate, read_timeout=1000.0,
    )  # fmt: skip
    heard: list[tuple[int, float]] = []
    empty = 0
    for leaves_s, events in answers(born_s(trace), latency_s, hold_s, cursor):
        if leaves_s + latency_s > until_s - 1e-6:
            break
        heard += [(event, leaves_s + latency_s) for event in events]
        empty += not events
    found = [(fact.event, record.time_s) for record, fact in every(trace, EventHandled)]
    assert len(found) > 15
    assert [event for event, _ in found] == [event for event, _ in heard]
    assert [time for _, time in found] == exactly([time for _, time in heard])
    assert number(trace, "empty") in (empty, empty + 1)  # one more may be on its way at the end
    lost = set(range(1, found[-1][0])) - {event for event, _ in found}
    assert {fact.event for _, fact in every(trace, EventLost)} == lost
    assert not (lost and cursor)


@pytest.mark.parametrize(("latency_s", "rate"), [(0.05, 0.5), (0.15, 2.0), (0.15, 10.0), (0.5, 1.0)])
def test_one_transit_if_it_is_held_three_at_most_in_the_gap(latency_s: float, rate: float) -> None:
    """RFC 6202, section 2.2. An event in the gap comes with the next answer: 3L after the last one left."""
    trace = play("notifications", until_s=200 / rate, latency=latency_s, event_rate=rate, base=PATIENT)
    left_s = [-inf, *sent_s(trace, "200", "server")]
    in_the_gap = 0
    for born, delay in zip(born_s(trace), delays(trace), strict=False):
        if born < 3 * latency_s:
            continue  # before the first question
        since_s = born - left_s[bisect_right(left_s, born - 1e-9) - 1]
        in_the_gap += since_s < 2 * latency_s
        assert delay == exactly(max(latency_s, 3 * latency_s - since_s))
        assert latency_s - 1e-9 <= delay <= 3 * latency_s + 1e-9
    assert 0 < in_the_gap < len(delays(trace))


def seconds_of(answers: int, gap_s: float, rate: float, hold_s: float = inf) -> float:
    """How long that many answers take on average: a gap each, and if nothing has happened in it, the wait for an event."""
    return answers * (gap_s + exp(-rate * gap_s) * (1 - exp(-rate * hold_s)) / rate)


@pytest.mark.parametrize(("latency_s", "rate"), [(0.05, 0.5), (0.15, 0.5), (0.15, 5.0), (0.5, 2.0)])
def test_the_mean_delay_and_the_events_of_an_answer(latency_s: float, rate: float) -> None:
    """A cycle brings the Poisson(g) events of the gap, each G/2 + L late on average, or else, with chance e^-g, one event that
    is L late; g = rate * G. So g + e^-g events an answer, and a mean delay of L + (g * G/2) / (g + e^-g)."""
    gap_s = 2 * latency_s
    g = rate * gap_s
    trace = play(
        "notifications", until_s=seconds_of(600, gap_s, rate), latency=latency_s, event_rate=rate, base=PATIENT
    )
    cycles: dict[float, list[float]] = {}
    for time_s, delay in zip(heard_s(trace), delays(trace), strict=True):
        cycles.setdefault(time_s, []).append(delay)
    found = list(cycles.values())[1:]  # the first came after the connection was made
    assert len(found) > 500
    mean = g + exp(-g)
    assert within_four_sigma([len(cycle) for cycle in found], mean, g + g**2 + exp(-g) - mean**2)
    theory_s = latency_s + g * gap_s / 2 / mean
    residuals = [sum(cycle) - theory_s * len(cycle) for cycle in found]
    assert abs(sum(residuals)) < 4 * sqrt(sum(residual**2 for residual in residuals))


@pytest.mark.parametrize(("hold_s", "rate"), [(0.5, 0.5), (3.0, 0.5), (3.0, 0.1)])
def test_an_answer_is_empty_when_nothing_happens_in_gap_and_hold(hold_s: float, rate: float) -> None:
    """Poisson: with chance e^(-rate * (G + H)), whatever happened before."""
    until_s = seconds_of(800, 0.3, rate, hold_s)
    trace = play("notifications", until_s=until_s, hold=hold_s, event_rate=rate, read_timeout=1000.0)
    replies, empty = number(trace, "responses"), number(trace, "empty")
    chance = exp(-rate * (0.3 + hold_s))
    assert replies > 700
    assert abs(empty / replies - chance) < 4 * sqrt(chance * (1 - chance) / replies)


@pytest.mark.parametrize("rate", [0.5, 5.0])
def test_without_a_cursor_the_gap_is_lost(rate: float) -> None:
    """Poisson: rate * G events lost for each one that is heard, and those that are heard are one transit late."""
    until_s = 600 * (0.3 + 1 / rate)
    trace = play("notifications", until_s=until_s, cursor=False, event_rate=rate, base=PATIENT)
    heard = [fact.event for _, fact in every(trace, EventHandled)]
    lost = [later - earlier - 1 for earlier, later in pairwise(heard)]
    assert len(lost) > 500
    assert within_four_sigma(lost, rate * 0.3, rate * 0.3)
    assert sum(lost) + heard[0] - 1 == number(trace, "events-lost")
    assert delays(trace) == exactly([0.15] * len(heard))


@pytest.mark.parametrize(
    ("trouble", "mended"),
    [
        ("unplug client", "plug client"),
        ("kill client", "restart client"),
        ("kill server", "restart server"),
        ("cut server>client", "restore server>client"),
        ("lose next response", ""),
    ],
)
def test_with_a_cursor_nothing_is_lost_and_nothing_heard_twice(trouble: str, mended: str) -> None:
    troubles = [at(5.0, trouble)] + ([at(15.0, mended)] if mended else [])
    trace = play("notifications", troubles, event_rate=2.0, until_s=60.0)
    heard = [fact.event for _, fact in every(trace, EventHandled)]
    assert heard == list(range(1, len(heard) + 1))
    assert number(trace, "events") - len(heard) <= 10
    assert breaches(trace) == []


# --- a long job ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("job_s", [0.2, 3.2, 3.4, 5.0, 9.87, 13.3])
@pytest.mark.parametrize("hold_s", [0.71, 3.0, 60.0])
@pytest.mark.parametrize("latency_s", [0.01, 0.15])
def test_the_questions_of_a_job_and_the_wait_after_its_end(job_s: float, hold_s: float, latency_s: float) -> None:
    """The first question arrives a round trip after the upload. If one is held at the end, the client knows a transit later."""
    trace = play("long-job", until_s=60.0, job_time=job_s, hold=hold_s, latency=latency_s, read_timeout=1000.0)
    arrives_s, questions = 2 * latency_s, 1
    while arrives_s + hold_s < job_s:
        arrives_s, questions = arrives_s + hold_s + 2 * latency_s, questions + 1
    expected_s = max(job_s, arrives_s) + latency_s - job_s
    done = len(heard_s(trace))
    assert done >= 3
    assert delays(trace) == exactly([expected_s] * done)
    assert latency_s - 1e-9 <= expected_s <= 3 * latency_s + 1e-9
    assert len(amounts(trace, "polls")) in range(done * questions, (done + 1) * questions + 1)
    assert number(trace, "empty") in range(done * (questions - 1), (done + 1) * (questions - 1) + 1)


@pytest.mark.parametrize(("kept", "lost", "uploads"), [("memory", 1, 2), ("store", 0, 1)])
def test_a_killed_server_remembers_what_is_in_its_store(kept: str, lost: int, uploads: int) -> None:
    trouble = [at(3.0, "kill server"), at(4.0, "restart server")]
    trace = play("long-job", trouble, handles_kept=kept, until_s=14.0, pause=60.0)
    assert (len(amounts(trace, "jobs lost")), len(amounts(trace, "uploads"))) == (lost, uploads)
    assert len(heard_s(trace)) == 1


# --- a proxy's timeout --------------------------------------------------------------------------------------------------

QUIET: dict[str, Value] = {"arrivals": "fixed", "event_rate": 0.01}
"""Nothing happens before 100 s."""


@pytest.mark.parametrize("timeout_s", [2.0, 15.0])
def test_a_longer_hold_is_answered_504_after_the_proxy_s_timeout_and_after_growing_pauses(timeout_s: float) -> None:
    trace = play("proxy", until_s=90.0, route_timeout=timeout_s, base=QUIET)
    expected = [0.3 + timeout_s]
    for pause_s in (0.5, 1.0, 2.0, 4.0):
        expected.append(expected[-1] + 0.1 + pause_s + 0.1 + timeout_s)
    found = sent_s(trace, "504", "proxy")
    assert found[:5] == exactly(expected)
    assert sent_s(trace, "204", "server") == []
    dropped = [wait for _, wait in every(trace, WaitEnded) if (wait.host, wait.outcome) == ("server", "client left")]
    assert len(dropped) in (len(found), len(found) - 1)


@pytest.mark.parametrize(("spare_s", "errors"), [(0.01, False), (-0.01, True)])
@pytest.mark.parametrize("latency_s", [0.05, 0.3])
def test_a_hold_below_the_timeout_must_leave_time_for_the_way(spare_s: float, errors: bool, latency_s: float) -> None:
    """From the proxy's view: a round trip for the connection, one for the request and its answer, and the hold."""
    hold_s = 5.0 - 4 * latency_s - spare_s
    trace = play("proxy", until_s=60.0, route_timeout=5.0, hold=hold_s, latency=latency_s, base=QUIET)
    assert (number(trace, "errors") > 0) == errors
    assert (number(trace, "empty") > 0) == (not errors)


def test_through_a_proxy_a_held_event_takes_two_transits() -> None:
    trace = play("proxy", until_s=100.0, route_timeout=inf, hold=600.0, read_timeout=1000.0)
    assert {round(delay, 9) for delay in delays(trace)} == {0.2}


# --- the pool -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 6])
def test_with_as_many_held_as_connections_nobody_else_gets_through(size: int) -> None:
    trace = play("pool", until_s=20.5, pool_size=size, feeds=size, hold=600.0, read_timeout=1000.0, base=QUIET)
    assert len(amounts(trace, "wanted")) == 20
    assert len(amounts(trace, "starved")) == 15  # all that were wanted more than 5 s before the end
    assert sent_s(trace, "GET /profile", "client") == []


@pytest.mark.parametrize("hold_s", [2.5, 4.0])
def test_the_first_connection_comes_free_with_the_end_of_the_first_hold(hold_s: float) -> None:
    """SYN, SYN-ACK, question; the hold; the answer."""
    trace = play("pool", until_s=10.0, hold=hold_s, hold_spread=0.0, base=QUIET)
    assert sent_s(trace, "GET /profile", "client")[0] == exactly(3 * 0.1 + hold_s + 0.1)


@pytest.mark.parametrize(("size", "feeds"), [(7, 6), (6, 5), (2, 1)])
def test_one_connection_more_than_is_held_is_enough(size: int, feeds: int) -> None:
    trace = play("pool", until_s=20.5, pool_size=size, feeds=feeds, base=QUIET)
    connecting_s = 2 * 0.1
    assert sent_s(trace, "GET /profile", "client") == exactly([1.0 + connecting_s, *map(float, range(2, 21))])
    assert (amounts(trace, "starved"), len(amounts(trace, "looked up"))) == ([], 20)


# --- gone, and not noticed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("patience_s", "hold_s"), [(1.5, 20.0), (3.0, 20.0), (0.4, 6.9)])
def test_the_requests_of_nobody_pile_up(patience_s: float, hold_s: float) -> None:
    """A new one each time that the client loses patience and has connected anew; each stays for the rest of its hold."""
    trace = play("late-disconnect", until_s=60.0, read_timeout=patience_s, hold=hold_s, base=QUIET)
    assert most_held(trace) == ceil(hold_s / (patience_s + 2 * 0.15))
    useless_s = amounts(trace, "held for nobody seconds")
    assert len(useless_s) > 5
    assert useless_s == exactly([hold_s - patience_s] * len(useless_s))


def test_a_server_that_listens_drops_them() -> None:
    trace = play("late-disconnect", until_s=60.0, server_notices=True, base=QUIET)
    assert most_held(trace) == 1
    assert amounts(trace, "answers to nobody") == []


@pytest.mark.parametrize("cursor", [True, False])
def test_of_a_cable_that_is_out_no_server_hears(cursor: bool) -> None:
    """Unplugged at 5 s for 20 s: what the server tells meanwhile is in its TCP, which the client has hung up on."""
    trouble = [at(5.0, "unplug client"), at(25.0, "plug client")]
    trace = play("late-disconnect", trouble, until_s=60.0, server_notices=True, cursor=cursor, event_rate=1.0)
    ends = [(record.time_s, wait.outcome) for record, wait in every(trace, WaitEnded) if wait.host == "server"]
    assert {outcome for time_s, outcome in ends if 5.2 < time_s < 25.0} <= {"news", "nothing happened"}
    heard = [fact.event for _, fact in every(trace, EventHandled)]
    assert (number(trace, "events-lost") > 5) == (not cursor)
    assert (heard == list(range(1, len(heard) + 1))) == cursor


# --- batching -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "gather_s"), [(0.5, 0.0), (10.0, 0.0), (100.0, 0.0), (10.0, 1.0), (1.0, 0.5)])
def test_how_many_events_share_an_answer(rate: float, gather_s: float) -> None:
    """As without gathering, and rate * gather more: the mean is g + e^-g + w, and the two parts are independent."""
    g, w = rate * 0.3, rate * gather_s
    until_s = 400 * gather_s + seconds_of(400, 0.3, rate)
    trace = play(
        "batching", until_s=until_s, event_rate=rate, gather=gather_s, most=1000, hold=600.0, read_timeout=1000.0
    )
    batches: dict[float, int] = {}
    for time_s in heard_s(trace):
        batches[time_s] = batches.get(time_s, 0) + 1
    counts = list(batches.values())[1:]
    mean = g + exp(-g)
    assert len(counts) > 300
    assert within_four_sigma(counts, mean + w, g + g**2 + exp(-g) - mean**2 + w)


def test_one_event_an_answer_is_one_event_a_round_trip() -> None:
    trace = play("batching", until_s=30.0, most=1)
    assert [later - earlier for earlier, later in pairwise(heard_s(trace)[5:])] == exactly(
        [0.3] * (len(heard_s(trace)) - 6)
    )
    assert number(trace, "events-waiting") == number(trace, "events") - len(heard_s(trace)) > 150


# --- Kafka's fetch ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("min_bytes", [1, 350, 1000])
@pytest.mark.parametrize("max_wait_s", [0.05, 0.5, 4.0])
@pytest.mark.parametrize("rate", [0.5, 20.0])
def test_a_fetch_ends_with_enough_bytes_or_with_the_wait(min_bytes: int, max_wait_s: float, rate: float) -> None:
    """Records have 100 bytes. The consumer needs no time for them: its next fetch leaves when the answer is there."""
    trace = play(
        "kafka-fetch", until_s=60.0, fetch_min_bytes=min_bytes, fetch_max_wait=max_wait_s, event_rate=rate, record_time=0.0
    )  # fmt: skip
    born, latency_s, expected = born_s(trace), 0.1, []
    arrives_s, offset, enough = 3 * latency_s, 0, ceil(min_bytes / 100)
    while True:
        full_s = born[offset + enough - 1] if offset + enough <= len(born) else inf
        leaves_s = max(arrives_s, min(full_s, arrives_s + max_wait_s))
        if leaves_s + latency_s > 60.0 - 1e-6:
            break
        known = bisect_right(born, leaves_s)
        expected += [leaves_s + latency_s] * (known - offset)
        offset, arrives_s = known, leaves_s + 2 * latency_s
    assert len(expected) > 10
    assert heard_s(trace) == exactly(expected)


def test_who_pulls_is_not_flooded() -> None:
    """One batch is worked on and one is here already; the rest stays at the broker until the program has taken that one."""
    trace = play("kafka-fetch", until_s=60.0, record_time=1.0)
    assert 55 <= len(heard_s(trace)) <= 60
    assert len(amounts(trace, "fetches")) < 8


@pytest.mark.parametrize(("most", "twice"), [(500, True), (1, False)])
def test_what_was_not_committed_comes_again(most: int, twice: bool) -> None:
    """At least once: killed in a batch, the consumer does again what it has done of it; after each record, nothing."""
    trouble = [at(10.0, "kill client"), at(12.0, "restart client")]
    trace = play("kafka-fetch", trouble, until_s=40.0, record_time=1.0, max_poll_records=most)
    assert (number(trace, "events-duplicated") > 0) == twice
    heard = {fact.event for _, fact in every(trace, EventHandled)}
    assert heard == set(range(1, max(heard) + 1))
