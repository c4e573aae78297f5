"""What each lesson of short polling is there to show, held against theory: exact where time adds up, else statistically.

L is the latency of one way; with bandwidth, loss and jitter out of the way, a warm poll takes 2L. The server's Hypercorn hangs
up after 5 s of idleness, so a pause longer than that costs another 2L for a new connection.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from math import ceil, exp, sqrt

import pytest

from engines.lab.commands import TimedCommand
from engines.lab.facts import EventBorn, EventHandled, Measured, MessageStarted, Noted, PacketSent, Role, WorkStarted
from engines.lab.knobs import Value
from engines.lab.session import SessionState, run_headless
from engines.lab.trace import Trace
from engines.metrics import Numbers
from engines.patterns.jobs import Job, event_when_done
from engines.patterns.short_polling import PATTERN
from engines.patterns.short_polling.pauses import as_date, as_seconds, read_retry_after
from tests.patterns.laws import breaches, every
from tests.patterns.runs import at


def play(
    name: str, commands: Sequence[TimedCommand] = (), until_s: float = 0.0, seed: int = 0, **knobs: Value
) -> Trace:
    """A run of a lesson; `read_timeout=2.0` sets the knob read-timeout."""
    lesson = PATTERN.lesson(name)
    values: Mapping[str, Value] = {knob.replace("_", "-"): value for knob, value in knobs.items()}
    session = run_headless(
        lesson, name=name, seed=seed, knobs=values, commands=commands, until_s=until_s or lesson.until_s
    )
    assert session.status.state is SessionState.ENDED, session.status.message
    return session.trace


def number(trace: Trace, name: str) -> float:
    value = Numbers(trace).value(name, 1e9)
    assert value is not None
    return value


def measured(trace: Trace, what: str) -> float:
    return sum(fact.amount for _, fact in every(trace, Measured) if fact.what == what)


def delays(trace: Trace) -> list[float]:
    """How late each event was heard of, in the order of hearing."""
    born_s = {fact.event: record.time_s for record, fact in every(trace, EventBorn)}
    return [record.time_s - born_s[fact.event] for record, fact in every(trace, EventHandled)]


def polls_of_each_job(trace: Trace) -> list[int]:
    """How many polls it took to learn of each job that was done."""
    heard = [record.id for record, _ in every(trace, EventHandled)]
    polls = [record.id for record, fact in every(trace, Measured) if fact.what == "polls"]
    return [bisect_left(polls, end) - bisect_left(polls, start) for start, end in zip([0, *heard], heard, strict=False)]


def exactly(expected: float | list[float]) -> object:
    """Equal but for the last bits of a sum of floats."""
    return pytest.approx(expected, abs=1e-9, rel=0.0)


def looks_uniform(samples: Sequence[float], low: float, high: float) -> None:
    """Kolmogorov and Smirnov: a truly uniform sample fails in one of a thousand; and the mean is within four sigma."""
    n = len(samples)
    assert n >= 300
    assert low - 1e-9 <= min(samples)
    assert max(samples) <= high + 1e-9
    shares = sorted((sample - low) / (high - low) for sample in samples)
    furthest = max(max(share - i / n, (i + 1) / n - share) for i, share in enumerate(shares))
    assert furthest * sqrt(n) < 1.95
    assert abs(sum(samples) / n - (low + high) / 2) < 4 * (high - low) / sqrt(12 * n)


# --- a long job ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval_s", [0.2, 1.0, 2.0, 7.0])
@pytest.mark.parametrize("job_s", [0.7, 5.1, 13.3])
@pytest.mark.parametrize("latency_s", [0.001, 0.15])
def test_polls_of_a_job_and_the_wait_after_its_end(interval_s: float, job_s: float, latency_s: float) -> None:
    """The k-th poll reaches the server k cycles after the upload did; the first that comes after the end brings the news."""
    trace = play("long-job", interval=interval_s, job_time=job_s, latency=latency_s, until_s=60.0)
    cycle_s = interval_s + 2 * latency_s * (2 if interval_s > 5 else 1)
    polls = ceil(job_s / cycle_s)
    found = polls_of_each_job(trace)
    assert len(found) >= 3
    assert set(found) == {polls}
    assert delays(trace) == exactly([polls * cycle_s - job_s + latency_s] * len(found))


def test_the_wait_after_the_end_is_uniform_over_a_cycle() -> None:
    """If the job's time has nothing to do with the interval. Mean: half a cycle and a transit."""
    latency_s, cycle_s = 0.15, 2.0 + 0.3
    trace = play("long-job", interval=2.0, latency=latency_s, job_time=2 * cycle_s, job_spread=1.0, until_s=2600.0)
    looks_uniform(delays(trace), latency_s, cycle_s + latency_s)
    assert number(trace, "event-delay-mean") == pytest.approx(cycle_s / 2 + latency_s, rel=0.05)


def test_a_handle_comes_at_once_however_long_the_job_takes() -> None:
    trace = play("long-job", job_time=600.0)
    accepted = next(record.time_s for record, m in every(trace, MessageStarted) if m.label.startswith("202"))
    assert accepted == exactly(3 * 0.15)  # SYN, SYN-ACK, the upload: the answer leaves


@pytest.mark.parametrize(("kept", "pause_s", "lost", "uploads"), [("memory", 1.0, 1, 2), ("store", 60.0, 0, 1)])
def test_a_killed_server_remembers_what_is_in_its_store(kept: str, pause_s: float, lost: int, uploads: int) -> None:
    trouble = [at(3.0, "kill server"), at(4.0, "restart server")]
    trace = play("long-job", trouble, handles_kept=kept, until_s=14.0, pause=pause_s)
    assert (measured(trace, "jobs lost"), measured(trace, "uploads")) == (lost, uploads)
    assert measured(trace, "videos done") == 1
    begun = [work.label for _, work in every(trace, WorkStarted)]
    assert len(begun) == 2  # what had been done of it is lost either way
    assert (len(set(begun)) == 1) == (kept == "store")


def test_the_goodbye_of_an_idle_server_may_cross_a_poll() -> None:
    trace = play("long-job", interval=4.8, job_time=12.0)
    assert "no answer: RemoteProtocolError" in [note.text for _, note in every(trace, Noted)]
    assert measured(trace, "videos done") >= 1


def test_a_status_reads_what_it_writes() -> None:
    job = Job("00c0ffee", 5.0)
    assert event_when_done(job.to_json()) is None
    job.begun_s = 1.0
    assert event_when_done(job.to_json()) is None
    job.event = 3
    assert event_when_done(job.to_json()) == 3


# --- leaving and coming back --------------------------------------------------------------------------------------------


def test_with_the_handle_on_its_disk_the_phone_gets_each_video() -> None:
    trace = play("leave-and-return", until_s=120.0)
    assert measured(trace, "videos done") > 10
    assert 0 <= measured(trace, "uploads") - measured(trace, "videos done") <= 1
    assert number(trace, "events-waiting") <= 1


def test_with_the_handle_in_memory_the_server_works_for_nobody() -> None:
    trace = play("leave-and-return", handle_noted="memory", until_s=120.0)
    assert measured(trace, "videos done") == 0
    assert measured(trace, "uploads") >= 120 // 7
    assert number(trace, "events-waiting") == number(trace, "events") > 10


def test_who_comes_back_after_the_end_learns_of_it_with_the_first_poll() -> None:
    """Open at 0, 7, 14 … s: a job that is done at 5.45 s is heard of at 7 s, a connection and a poll later."""
    trace = play("leave-and-return", until_s=8.0)
    assert [record.time_s for record, _ in every(trace, EventHandled)] == exactly([7.0 + 4 * 0.15])
    assert delays(trace) == exactly([7.6 - 5.45])


def test_a_killed_client_goes_on_with_its_handle() -> None:
    trouble = [at(1.5, "kill client"), at(12.0, "restart client")]
    trace = play("leave-and-return", trouble, until_s=13.0)
    assert (measured(trace, "uploads"), measured(trace, "videos done")) == (1, 1)


# --- notifications ------------------------------------------------------------------------------------------------------

LATENCY_S = 0.1


@pytest.mark.parametrize("arrivals", ["fixed", "poisson", "burst"])
@pytest.mark.parametrize("counted_from", ["question", "answer"])
@pytest.mark.parametrize("interval_s", [0.3713, 2.0307, 4.5111])
def test_each_event_waits_for_the_next_poll_and_comes_with_its_answer(
    arrivals: str, counted_from: str, interval_s: float
) -> None:
    """The first poll reaches the server after 3L. The next ones do so each interval from the first question on (which a
    connection of 2L delayed, and no other), or an interval and a round trip after the one before."""
    until_s = 120.0
    trace = play("notifications", arrivals=arrivals, counted_from=counted_from, interval=interval_s, until_s=until_s)
    if counted_from == "question":
        first_s = interval_s if interval_s > 4 * LATENCY_S else 4 * LATENCY_S  # never two polls at a time
        polls_s = [3 * LATENCY_S, *(first_s + k * interval_s + LATENCY_S for k in range(1000))]
    else:
        polls_s = [3 * LATENCY_S + k * (interval_s + 2 * LATENCY_S) for k in range(1000)]
    born_s = [record.time_s for record, _ in every(trace, EventBorn)]
    expected = [polls_s[bisect_left(polls_s, born)] + LATENCY_S for born in born_s]
    heard_s = [record.time_s for record, _ in every(trace, EventHandled)]
    assert len(heard_s) > 30
    assert heard_s == exactly([heard for heard in expected if heard <= until_s - 1e-6])


@pytest.mark.parametrize(("interval_s", "latency_s"), [(0.5, 0.05), (4.0, 0.4)])
def test_the_mean_delay_by_a_timer_is_half_the_interval_and_one_transit(interval_s: float, latency_s: float) -> None:
    trace = play("notifications", interval=interval_s, latency=latency_s, event_rate=1.0, until_s=500.0)
    looks_uniform(delays(trace), latency_s, interval_s + latency_s)


@pytest.mark.parametrize(("interval_s", "latency_s"), [(0.5, 0.05), (4.0, 0.4)])
def test_the_mean_delay_by_a_sleeping_loop_is_half_the_interval_and_a_round_trip(
    interval_s: float, latency_s: float
) -> None:
    """The cycle is the interval and a round trip: half of that, and one transit, are half the interval and two transits."""
    trace = play(
        "notifications", interval=interval_s, latency=latency_s, counted_from="answer", event_rate=1.0, until_s=500.0
    )
    low, high = latency_s, interval_s + 2 * latency_s + latency_s
    assert (low + high) / 2 == pytest.approx(interval_s / 2 + 2 * latency_s)
    looks_uniform(delays(trace), low, high)


@pytest.mark.parametrize("rate", [0.1, 0.5, 2.0])
def test_a_poll_is_empty_when_nothing_happened_in_its_interval(rate: float) -> None:
    """Poisson: that is so with chance e^(-rate × interval). One poll an interval, whatever happens."""
    until_s, interval_s = 600.0, 2.0
    trace = play("notifications", interval=interval_s, event_rate=rate, until_s=until_s)
    polls = measured(trace, "polls")
    assert polls == until_s / interval_s + 1
    chance = exp(-rate * interval_s)
    assert abs(number(trace, "empty") / polls - chance) < 4 * sqrt(chance * (1 - chance) / polls)


@pytest.mark.parametrize(
    ("trouble", "mended"),
    [
        ("unplug client", "plug client"),
        ("kill client", "restart client"),
        ("cut server>client", "restore server>client"),
        ("lose next response", ""),
    ],
)
def test_nothing_is_lost_and_nothing_heard_twice(trouble: str, mended: str) -> None:
    troubles = [at(5.0, trouble)] + ([at(15.0, mended)] if mended else [])
    trace = play("notifications", troubles, event_rate=2.0, until_s=60.0)
    heard = [fact.event for _, fact in every(trace, EventHandled)]
    assert heard == list(range(1, len(heard) + 1))
    assert number(trace, "events") - len(heard) <= 10
    assert number(trace, "events-duplicated") == 0


# --- many clients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("clients", "service_s"), [(1, 0.05), (20, 0.05), (50, 0.02), (50, 0.05)])
def test_in_phase_all_come_within_one_second_and_the_last_waits_for_all(clients: int, service_s: float) -> None:
    trace = play("many-clients", clients=clients, service_time=service_s, until_s=14.9)
    assert measured(trace, "peak requests a second") == clients
    assert number(trace, "requests") == 5 * clients
    assert number(trace, "delay-max") == exactly(0.2 + clients * service_s)
    assert number(trace, "delay") == exactly(0.2 + ceil(clients / 2) * service_s)


def test_jitter_spreads_as_many_requests() -> None:
    """Each client draws its pauses from half to one and a half intervals. The mean is the interval: so is the rate."""
    together = play("many-clients", clients=50, service_time=0.02, until_s=44.9)
    apart = play("many-clients", clients=50, service_time=0.02, until_s=44.9, polls="with jitter")
    assert number(together, "requests") == 50 * 15
    assert number(apart, "requests") == pytest.approx(50 * 15, rel=0.03)
    assert measured(together, "peak requests a second") == 50
    # 50/3 = 16.7 a second on average; of Poisson arrivals, more than 16.7 + 4.5 sigma in a second would be rare.
    assert 50 / 3 < measured(apart, "peak requests a second") < 50 / 3 + 4.5 * sqrt(50 / 3)
    assert number(apart, "delay-p95") < number(together, "delay-p95") / 3


# --- the server steers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("job_s", [0.4, 2.1, 3.0, 7.5])
def test_an_obedient_client_asks_once(job_s: float) -> None:
    """Told with the 202, counted from its arrival: ceil(job) and a round trip after the start, and a transit back."""
    trace = play("server-steers", obeys=True, job_time=job_s)
    assert set(polls_of_each_job(trace)) == {1}
    new_connection_s = 2 * 0.15 if ceil(job_s) > 5 else 0.0
    late_s = ceil(job_s) - job_s + 3 * 0.15 + new_connection_s
    assert delays(trace) == exactly([late_s] * len(delays(trace)))
    assert measured(trace, "turned away") == 0


@pytest.mark.parametrize("ahead_s", [0.0, -2.0])
def test_a_date_is_obeyed_by_the_client_s_own_clock(ahead_s: float) -> None:
    """One transit there and one back after the date, which is the first full second after the end."""
    trace = play("server-steers", obeys=True, retry_after="date", clock_error=ahead_s, job_time=1.5, until_s=60.0)
    done_s = [record.time_s for record, _ in every(trace, EventBorn)][: len(delays(trace))]
    assert set(polls_of_each_job(trace)) == {1}
    assert delays(trace) == exactly([ceil(done) - ahead_s + 2 * 0.15 - done for done in done_s])


def test_a_clock_that_is_ahead_makes_a_client_ask_in_vain() -> None:
    trace = play("server-steers", obeys=True, retry_after="date", clock_error=3.0)
    assert min(polls_of_each_job(trace)) >= 3


@pytest.mark.parametrize("allowed_s", [0.0, 1.0, 3.0])
def test_a_client_that_does_not_listen_is_turned_away(allowed_s: float) -> None:
    job_s, cycle_s = 5.0, 0.5 + 0.3
    trace = play("server-steers", obeys=False, least_interval=allowed_s, job_time=job_s, pause=100.0)
    told_s, k, turned_away = -60.0, 0, 0
    while told_s < job_s:
        k += 1
        if k * cycle_s < told_s + allowed_s - 1e-9:
            turned_away += 1
        else:
            told_s = k * cycle_s
    assert (measured(trace, "polls"), measured(trace, "turned away")) == (k, turned_away)
    assert delays(trace) == exactly([told_s - job_s + 0.15])


def test_without_a_word_from_the_server_there_is_nothing_to_obey() -> None:
    deaf, obedient = (play("server-steers", retry_after="none", obeys=obeys) for obeys in (False, True))
    assert delays(deaf) == delays(obedient)
    assert polls_of_each_job(deaf) == polls_of_each_job(obedient)


def test_retry_after_is_read_as_it_is_written() -> None:
    """RFC 9110, sections 5.6.7 and 10.2.3: a number of seconds, or a date in one of three forms."""
    assert as_seconds(4.1) == "5"
    assert as_date(4.1, 0.0) == "Thu, 01 Jan 2026 00:00:05 GMT"
    for text in (as_date(4.1, 0.0), "Thursday, 01-Jan-26 00:00:05 GMT", "Thu Jan  1 00:00:05 2026"):
        assert read_retry_after(text, 2.0) == 3.0
    assert read_retry_after("Thu, 01 Jan 2026 00:00:05 GMT", 9.0) == 0.0
    assert read_retry_after("120", 9.0) == 120.0
    for nonsense in (None, "", "soon", "-1", "1.5", "²"):
        assert read_retry_after(nonsense, 0.0) is None


# --- only if it changed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [100, 2000, 54_321])
@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_a_304_saves_a_body_and_its_two_header_fields(size: int, rate: float) -> None:
    knobs: dict[str, Value] = {"board_size": size, "change_rate": rate, "until_s": 100.5}
    asked, unasked = (play("conditional", conditional=on, **knobs) for on in (True, False))  # type: ignore[arg-type]
    unchanged = number(asked, "empty")
    assert unchanged > 10
    assert measured(asked, "saved bytes") == measured(unasked, "unchanged bytes") == unchanged * size
    fields = f"content-length: {size}\r\ncontent-type: application/json\r\n"
    conditions = sum(p.payload.count(b"If-None-Match") for _, p in every(asked, PacketSent))
    condition_bytes = sum(
        len(line) + 2
        for _, packet in every(asked, PacketSent)
        for line in packet.payload.split(b"\r\n")
        if line.startswith(b"If-None-Match")
    )
    assert conditions == measured(asked, "polls") - 1
    saved = unchanged * (size + len(fields)) - condition_bytes
    assert number(unasked, "bytes") - number(asked, "bytes") == saved
    assert delays(asked) == delays(unasked)
    assert number(asked, "requests") == number(unasked, "requests")


# --- back-off -----------------------------------------------------------------------------------------------------------


def doubling(first_s: float, cap_s: float) -> Callable[[int], float]:
    return lambda k: min(first_s * 2**k, cap_s)


def fixed(first_s: float, cap_s: float) -> Callable[[int], float]:
    return lambda k: first_s


@pytest.mark.parametrize("pauses", [doubling, fixed])
@pytest.mark.parametrize("job_s", [0.3, 5.0, 14.9])
@pytest.mark.parametrize(("first_s", "cap_s"), [(0.5, 4.0), (0.25, 60.0), (1.0, 1.0)])
def test_the_polls_of_a_backing_off_client(
    pauses: Callable[[float, float], Callable[[int], float]], job_s: float, first_s: float, cap_s: float
) -> None:
    latency_s = 0.1
    trace = play("back-off", pauses=pauses.__name__, first_pause=first_s, cap=cap_s, job_time=job_s, job_spread=0.0)
    pause, polls, reached_s = pauses(first_s, cap_s), 0, 0.0
    while reached_s < job_s:
        reached_s += pause(polls) + 2 * latency_s * (2 if pause(polls) > 5 else 1)
        polls += 1
    assert set(polls_of_each_job(trace)) == {polls}
    assert delays(trace) == exactly([reached_s - job_s + latency_s] * len(delays(trace)))


def test_a_doubled_pause_is_never_longer_than_all_before_it_and_the_first() -> None:
    """Without a cap the wait after the end stays below the job's own time, the first pause and three transits."""
    trace = play("back-off", cap=600.0, until_s=900.0, latency=0.001, first_pause=0.3)
    starts = [record.time_s for record, _ in every(trace, WorkStarted)]
    ends = [record.time_s for record, _ in every(trace, EventBorn)]
    waits = delays(trace)
    assert len(waits) > 40
    for start, end, wait in zip(starts, ends, waits, strict=False):
        assert wait <= (end - start) + 0.3 + 0.005


def test_backing_off_trades_polls_for_delay() -> None:
    slow, eager = (play("back-off", pauses=pauses, until_s=200.0) for pauses in ("doubling", "fixed"))
    done = [measured(trace, "videos done") for trace in (slow, eager)]
    assert measured(slow, "polls") / done[0] < measured(eager, "polls") / done[1] / 2
    assert number(slow, "event-delay-mean") > 2 * number(eager, "event-delay-mean")


# --- a restart ----------------------------------------------------------------------------------------------------------


def test_a_store_makes_handles_survive_deployments() -> None:
    memory, store = (play("restart", handles_kept=kept, until_s=120.0) for kept in ("memory", "store"))
    assert measured(memory, "deployments") == measured(store, "deployments") == 16
    assert measured(memory, "jobs lost") >= 5
    assert measured(store, "jobs lost") == 0
    for trace in (memory, store):
        settled = measured(trace, "videos done") + measured(trace, "jobs lost")
        assert 0 <= measured(trace, "uploads") - settled <= 1


def test_a_job_longer_than_the_time_between_deployments_is_never_done() -> None:
    trace = play("restart", handles_kept="store", job_time=9.0, until_s=120.0)
    assert (measured(trace, "videos done"), measured(trace, "uploads")) == (0, 1)
    assert (
        len(every(trace, WorkStarted)) == 2 * measured(trace, "deployments") + 1
    )  # the job, and each new version's start


def test_while_the_service_starts_the_answer_is_503_and_no_job_is_lost_by_that() -> None:
    trace = play("restart", handles_kept="store", interval=0.1, latency=0.01)
    labels = [m.label for _, m in every(trace, MessageStarted) if m.role in (Role.RESPONSE, Role.ERROR)]
    assert any(label.startswith("503") for label in labels)
    assert not any(label.startswith("404") for label in labels)


@pytest.mark.parametrize("lesson", [lesson.name for lesson in PATTERN.lessons])
def test_long_runs_obey_the_laws(lesson: str) -> None:
    assert breaches(play(lesson, until_s=20.0, loss=0.05, jitter=0.05)) == []
