"""What each lesson on logs is there to show, held against the theory. L is the latency of one way."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from math import sqrt

import pytest

from engines.lab.commands import TimedCommand
from engines.lab.facts import EventBorn, EventHandled, EventLost, Measured, MessageStarted, StateChanged, WorkStarted
from engines.lab.knobs import Value
from engines.lab.session import SessionState, run_headless
from engines.lab.trace import Trace
from engines.metrics import Numbers
from engines.patterns.pub_sub import PATTERN
from engines.wire.kafka_records import partition_of
from tests.patterns.laws import breaches, every
from tests.patterns.runs import at


def play(name: str, *orders: str, until_s: float = 0.0, seed: int = 0, **knobs: Value) -> Trace:
    """A run of a lesson; `work_time=1.0` sets the knob work-time, and an order is "TIME COMMAND"."""
    commands: Sequence[TimedCommand] = [at(float(time_s), text) for time_s, text in (o.split(" ", 1) for o in orders)]
    lesson = PATTERN.lesson(name)
    board = {knob.replace("_", "-"): value for knob, value in knobs.items()}
    session = run_headless(lesson, seed=seed, knobs=board, commands=commands, until_s=until_s or lesson.until_s)
    assert session.status.state is SessionState.ENDED, session.status.message
    assert breaches(session.trace) == []
    return session.trace


def exactly(expected: float | list[float]) -> object:
    """Equal but for the last bits of a sum of floats."""
    return pytest.approx(expected, abs=1e-9, rel=0.0)


def born(trace: Trace) -> dict[int, float]:
    return {event.event: record.time_s for record, event in every(trace, EventBorn)}


def heard(trace: Trace, host: str = "") -> list[tuple[int, float]]:
    """Which events `host` (or anybody) was done with, and when, in that order."""
    found = every(trace, EventHandled)
    return [(event.event, record.time_s) for record, event in found if host in ("", event.host)]


def lost(trace: Trace) -> list[int]:
    return [event.event for _, event in every(trace, EventLost)]


def total(trace: Trace, what: str, since_s: float = 0.0, until_s: float = 1e9) -> float:
    found = every(trace, Measured)
    return sum(fact.amount for r, fact in found if fact.what == what and since_s <= r.time_s < until_s)


def number(trace: Trace, name: str) -> float:
    value = Numbers(trace).value(name, 1e9)
    assert value is not None
    return value


def labels(trace: Trace, sender: str) -> list[str]:
    return [str(started.label) for _, started in every(trace, MessageStarted) if started.sender == sender]


# --- replay -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("latency_s", [0.05, 0.2])
def test_who_follows_a_log_hears_after_two_transits_and_its_work(latency_s: float) -> None:
    """Producer to broker, where a fetch is held, and on to the reader: as prompt as a push. A hold that has just ended costs
    what the next fetch takes to come, a round trip at most."""
    trace = play("replay", latency=latency_s, arrivals="fixed", event_rate=0.4, read_time=0.1)
    births = born(trace)
    late = [time_s - births[event] for event, time_s in heard(trace, "early")]
    assert min(late[1:]) == exactly(2 * latency_s + 0.1)
    assert max(late[1:]) <= 4 * latency_s + 0.1 + 1e-9
    assert len(late) >= 10


def test_earliest_latest_and_an_offset() -> None:
    latency_s, joins_s = 0.1, 8.0
    for start, first in (("earliest", 1), ("offset", 4), ("latest", None)):
        trace = play("replay", start=start, offset=3, arrivals="fixed", joins_after=joins_s)
        births = born(trace)
        if first is None:  # what the broker has when it is asked, three transits after the reader begins to connect
            first = 1 + sum(time_s + latency_s < joins_s + 3 * latency_s for time_s in births.values())
        events = [event for event, _ in heard(trace, "late")]
        assert events == list(range(first, first + len(events)))
        assert len(events) > 15
        assert [event for event, _ in heard(trace, "early")][:20] == list(range(1, 21))


def test_a_rewind_repeats_what_was_read_and_nobody_else_notices() -> None:
    plain, rewound = play("replay"), play("replay", "20.03 set start offset")
    before = [event for event, time_s in heard(rewound, "late") if time_s < 20.03]
    assert number(rewound, "events-duplicated") == len(before) - 5
    assert heard(rewound, "early") == heard(plain, "early")
    after = [event for event, time_s in heard(rewound, "late") if time_s > 20.03]
    assert after == list(range(6, 6 + len(after)))


@pytest.mark.parametrize("retention_s", [3.0, 5.0])
def test_the_earliest_is_as_old_as_retention_allows(retention_s: float) -> None:
    """Records are looked through once a second: the oldest one is between retention and a second more old."""
    trace = play("replay", retention=retention_s, joins_after=12.0, arrivals="fixed", event_rate=4.0, read_time=0.0)
    first, _ = heard(trace, "late")[0]
    age_s = 12.3 - born(trace)[first]
    assert retention_s - 0.3 < age_s < retention_s + 1.3


@pytest.mark.parametrize("trouble", ["kill late", "unplug late", "kill broker", "unplug early"])
def test_no_record_is_missed_and_none_read_twice_whatever_happens(trouble: str) -> None:
    mend = trouble.replace("kill", "restart").replace("unplug", "plug")
    trace = play("replay", f"12.01 {trouble}", f"15 {mend}", until_s=40.0, event_rate=2.0)
    for reader in ("early", "late"):
        events = [event for event, _ in heard(trace, reader)]
        assert events == list(range(1, len(events) + 1))
        assert len(events) > 50


# --- consumer group -----------------------------------------------------------------------------------------------------


def test_the_lag_is_what_is_in_the_log_and_not_committed() -> None:
    trace = play("consumer-group", "10 kill ann", "20 set members 3")
    committed = dict[int, int]()
    for label in labels(trace, "ann") + labels(trace, "ben") + labels(trace, "cat"):
        if label.startswith("OffsetCommit events"):
            for place in label.removeprefix("OffsetCommit events").replace(": ", ":").replace("/", " ").split():
                partition, _, offset = place.partition(":")
                committed[int(partition)] = max(int(offset), committed.get(int(partition), 0))
    produced = sum(int(label.split(": ")[1].split()[0]) for label in labels(trace, "producer") if "Produce e" in label)
    assert number(trace, "measured:lag") == pytest.approx(produced - sum(committed.values()), abs=3)


@pytest.mark.parametrize(("members", "partitions"), [(4, 2), (3, 1), (2, 4)])
def test_no_more_work_than_there_are_partitions(members: int, partitions: int) -> None:
    trace = play("consumer-group", members=members, partitions=partitions)
    workers = {event.host for _, event in every(trace, EventHandled)}
    assert len(workers) == min(members, partitions)
    assert number(trace, "events-duplicated") == number(trace, "measured:handled twice") == 0


def test_one_key_is_one_partition_is_one_worker() -> None:
    trace = play("consumer-group", members=4, keys=1)
    assert len({event.host for _, event in every(trace, EventHandled)}) == 1
    where = partition_of(b"user 1", 4)
    assert all(f"events/{where}:" in label for label in labels(trace, "producer") if label.startswith("Produce"))
    events = [event for event, _ in heard(trace)]
    assert events == sorted(events)


@pytest.mark.parametrize("members", [1, 2, 4])
def test_with_enough_to_do_each_member_does_what_it_can(members: int) -> None:
    """A cycle of one member with one record a poll: the work and the round trip of the commit; now and then a fetch."""
    work_s, latency_s = 0.4, 0.05
    trace = play(
        "consumer-group", members=members, event_rate=20.0, work_time=work_s, max_poll_records=1, latency=latency_s,
        keys=0,
    )  # fmt: skip
    times = [time_s for _, time_s in heard(trace) if 10.0 <= time_s < 40.0]
    assert len(times) == pytest.approx(members * 30.0 / (work_s + 2 * latency_s), rel=0.03)


@pytest.mark.parametrize("commit", ["after work", "before work"])
def test_a_crash_costs_one_poll_at_most_and_which_way_is_a_knob(commit: str) -> None:
    """With commits after the work nothing is missed, with commits before it nothing is done twice; over crashes at many times."""
    twice, never = list[float](), list[int]()
    for fifth in range(5):
        crash_s = 10.0 + fifth / 5
        trace = play(
            "consumer-group", f"{crash_s} kill ann", f"{crash_s} set event-rate 0.01", commit=commit, until_s=45.0,
            event_rate=4.0,
        )  # fmt: skip
        twice.append(total(trace, "handled twice"))
        done = {event for event, _ in heard(trace)}
        never.append(sum(event not in done for event, time_s in born(trace).items() if time_s < crash_s))
    assert max([*twice, *never]) <= 3  # max.poll.records
    if commit == "after work":
        assert sum(never) == 0 < sum(twice)
    else:
        assert sum(twice) == 0 < sum(never)


@pytest.mark.parametrize("timeout_s", [3.0, 6.0, 12.0])
def test_the_partitions_of_the_dead_rest_for_a_session_timeout(timeout_s: float) -> None:
    """From the last that was heard of ann until she is missed: the timeout exactly."""
    trace = play("consumer-group", "10 kill ann", session_timeout=timeout_s, work_time=0.2)
    heard_of = [
        record.time_s + 0.05
        for record, started in every(trace, MessageStarted)
        if started.sender == "ann" and started.label.startswith(("Heartbeat", "OffsetCommit"))
    ]
    [missed] = [r.time_s for r, m in every(trace, Measured) if m.what == "joins and leaves" and r.time_s > 10.0]
    assert missed == exactly(heard_of[-1] + timeout_s)


def test_turning_members_needs_no_timeout() -> None:
    trace = play("consumer-group", "10 set members 4", "20 set members 1", work_time=0.1)
    assert total(trace, "rebalances", 10.0, 13.0) >= 1
    assert total(trace, "rebalances", 20.0, 23.0) >= 1
    assert {host for host in ("ann", "ben", "cat", "dan") if [t for _, t in heard(trace, host) if t > 24.0]} == {"ann"}
    assert number(trace, "measured:handled twice") == 0


# --- slow consumer ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "work_s", "poll"), [(5.0, 0.5, 5), (10.0, 0.3, 2), (4.0, 0.5, 1)])
def test_the_lag_grows_by_what_comes_less_what_can_be_done(rate: float, work_s: float, poll: int) -> None:
    """A cycle: a fetch, the work on `poll` records, a commit; two round trips and the work."""
    latency_s, until_s = 0.05, 60.0
    trace = play("slow-consumer", event_rate=rate, work_time=work_s, max_poll_records=poll, until_s=until_s)
    lags = [(r.time_s, int(state.value)) for r, state in every(trace, StateChanged) if state.key == "lag"]
    slope = rate - poll / (poll * work_s + 4 * latency_s)
    lag_s = dict(lags)
    start, end = (max(t for t in lag_s if t < limit) for limit in (until_s / 3, until_s))
    assert lag_s[end] - lag_s[start] == pytest.approx(slope * (end - start), abs=2 * poll + 2)
    assert lost(trace) == []


@pytest.mark.parametrize("reset", ["earliest", "latest"])
def test_retention_is_the_length_of_the_buffer_in_seconds(reset: str) -> None:
    """The log holds rate × retention and up to a second more; what is older is lost, unless somebody has it in hand."""
    trace = play("slow-consumer", retention=5.0, reset=reset, until_s=60.0)
    late = [int(s.value) for r, s in every(trace, StateChanged) if s.key == "lag" and r.time_s > 20.0]
    assert max(late) <= 5 * 6 + 5
    done, gone = [event for event, _ in heard(trace)], lost(trace)
    assert len(set(done) & set(gone)) == 0
    assert len(gone) == len(set(gone)) > 50
    waiting = set(born(trace)) - set(done) - set(gone)
    assert min(waiting) > max(born(trace)) - 5 * 6 - 10  # nothing older is neither read nor known to be lost
    assert done == sorted(done)
    births = born(trace)
    delays = [time_s - births[event] for event, time_s in heard(trace)]
    assert max(delays) < 5.0 + 1.0 + 5 * 0.5 + 0.5  # retention, the second between two looks, and a poll's work


def test_a_consumer_that_was_away_misses_nothing() -> None:
    trace = play("slow-consumer", "10 kill consumer", "20 restart consumer", work_time=0.05, until_s=60.0)
    done = {event for event, _ in heard(trace)}
    assert done >= {event for event, time_s in born(trace).items() if time_s < 59.0}
    assert number(trace, "events-lost") == 0


# --- poison message -----------------------------------------------------------------------------------------------------


def test_a_poison_message_blocks_its_partition_and_no_other() -> None:
    trace = play("poison-message", work_time=0.2, retry_pause=1.0)
    events = [event for event, _ in heard(trace)]
    assert [event for event in events if event % 2 == 0] == [
        2,
        4,
        6,
        8,
    ]  # 10 is poison, and all that is even is behind it
    odd = [event for event in events if event % 2]
    assert odd == list(range(1, odd[-1] + 1, 2))
    assert odd[-1] > 70
    births = born(trace)
    late = [time_s - births[event] for event, time_s in heard(trace) if event % 2 and event > 5]
    assert min(late) == exactly(2 * 0.05 + 0.2)
    assert max(late) <= 4 * 0.05 + 0.2 + 1e-9  # the next fetch is on its way
    tries = [r.time_s for r, work in every(trace, WorkStarted) if work.label.startswith("event 10")]
    assert [later - earlier for earlier, later in pairwise(tries)] == exactly([1.2] * (len(tries) - 1))
    assert number(trace, "measured:retries") == number(trace, "measured:failures") == len(tries) - 1


@pytest.mark.parametrize("policy", ["dead letter", "skip"])
@pytest.mark.parametrize("retries", [0, 1, 3])
def test_after_its_retries_it_is_out_of_the_way(policy: str, retries: int) -> None:
    """Failures are (retries + 1) for each, and nothing good is lost. A record that was put aside costs its tries and pauses."""
    trace = play("poison-message", "20 set event-rate 0.01", policy=policy, retries=retries, until_s=60.0)
    events = sorted(born(trace))
    poison = [event for event in events if event % 10 == 0]
    assert len(poison) >= 3
    assert lost(trace) == poison
    assert sorted(event for event, _ in heard(trace)) == [event for event in events if event % 10]
    aside = number(trace, f"measured:{'dead letters' if policy == 'dead letter' else 'skipped'}")
    assert aside == len(poison)
    assert number(trace, "measured:failures") == (retries + 1) * len(poison)
    assert number(trace, "measured:retries") == retries * len(poison)
    tries = [r.time_s for r, work in every(trace, WorkStarted) if work.host != "support" and "event 10" in work.label]
    assert tries[-1] - tries[0] == exactly(retries * (0.2 + 1.0))
    looked_at = [str(work.label) for _, work in every(trace, WorkStarted) if work.host == "support"]
    assert looked_at == ([f"event {event}: no valid JSON" for event in poison] if policy == "dead letter" else [])
    assert number(trace, "measured:lag") == 0


def test_turning_the_policy_frees_the_partition_at_the_next_failure() -> None:
    trace = play("poison-message", "20 set policy dead letter", "20 set poison-every 9999", until_s=60.0)
    assert lost(trace)[0] == 10
    first_s = next(r.time_s for r, _ in every(trace, EventLost))
    assert 20.0 < first_s < 20.0 + 1.0 + 0.2 + 0.2 + 0.1
    behind = [event for event, time_s in heard(trace) if event in (12, 14, 16, 18) and time_s > first_s]
    assert behind == [12, 14, 16, 18]


@pytest.mark.parametrize("retries", [0, 1])
def test_retries_save_what_the_world_broke(retries: int) -> None:
    """A good record dies with chance p^(retries + 1)."""
    p = 0.4
    trace = play(
        "poison-message", policy="skip", flaky=p, retries=retries, poison_every=9999, retry_pause=0.0, work_time=0.0,
        event_rate=10.0, until_s=45.0,
    )  # fmt: skip
    count, chance = len(heard(trace)) + len(lost(trace)), p ** (retries + 1)
    assert count > 250
    assert abs(len(lost(trace)) - count * chance) < 4 * sqrt(count * chance * (1 - chance))


# --- microservices ------------------------------------------------------------------------------------------------------

TIMES = {"upload_time": 0.2, "compress_time": 0.8, "format_time": 0.5, "notify_time": 0.1}


def waits(trace: Trace) -> list[float]:
    """How long the client waited for each upload."""
    return [m.amount for _, m in every(trace, Measured) if m.what == "waiting seconds"]


@pytest.mark.parametrize("latency_s", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("scale", [0.0, 1.0, 0.5])
def test_in_a_chain_the_client_waits_for_all_and_with_topics_for_the_first(latency_s: float, scale: float) -> None:
    """Chain: four round trips and four pieces of work. Topics: one piece of work, a round trip here and one to the broker.

    Until the owner is notified it takes the work of all and four transits in a chain, seven with topics: there, back and
    forth to the broker in between, where a fetch is always held.
    """
    times = {name: scale * time_s for name, time_s in TIMES.items()}
    work_s = sum(times.values())
    for coupling, waited_s, notified_s in (
        ("chain", 8 * latency_s + work_s, 4 * latency_s + work_s),
        ("topics", 4 * latency_s + times["upload_time"], 7 * latency_s + work_s),
    ):
        trace = play("pipeline", coupling=coupling, latency=latency_s, event_rate=0.3, **times)
        births = born(trace)
        late = [time_s - births[event] for event, time_s in heard(trace, "notify")]
        # The first two find connections that are still to be opened.
        assert waits(trace)[2:] == exactly([waited_s] * (len(waits(trace)) - 2))
        assert min(late[2:]) == exactly(notified_s)
        assert max(late[2:]) <= notified_s + (6 * latency_s if coupling == "topics" else 0.0) + 1e-9  # see `replay`
        assert len(late) >= 10


@pytest.mark.parametrize("down", ["compress", "format", "notify"])
def test_one_service_down_fails_every_upload_of_a_chain_and_none_with_topics(down: str) -> None:
    orders = (f"11 kill {down}", f"21 restart {down}")
    chain = play("pipeline", *orders, coupling="chain", event_rate=0.5, until_s=60.0)
    # Uploads come every 2 s, at 2, 4, …; one reaches a later service after the work of those before it.
    before = {"compress": 0.2, "format": 1.0, "notify": 1.5}[down]
    meets = [event for event, time_s in born(chain).items() if 11.0 <= time_s + before + 0.2 < 21.0]
    failed = set(lost(chain))
    assert set(meets) - {meets[0], meets[-1]} <= failed <= set(range(meets[0] - 1, meets[-1] + 2))
    done = {event for event, _ in heard(chain)}
    assert done.isdisjoint(failed)
    topics = play("pipeline", *orders, event_rate=0.5, coupling="topics", until_s=60.0)
    assert lost(topics) == []
    assert total(topics, "failed uploads") == 0
    assert waits(topics)[2:] == exactly([0.4] * (len(waits(topics)) - 2))
    caught_up = Counter(event for event, _ in heard(topics))
    assert set(caught_up) >= {event for event, time_s in born(topics).items() if time_s < 55.0}


def test_the_bottleneck_is_the_same_but_who_waits_is_not() -> None:
    """1.5 videos a second for a service that takes 0.8 s: in a chain the queue is in front of the client's answer."""
    chain = play("pipeline", coupling="chain", event_rate=1.5, read_timeout=60.0)
    topics = play("pipeline", event_rate=1.5, coupling="topics")
    ends_s = [time_s for _, time_s in heard(chain) if time_s > 10.0]
    assert [later - earlier for earlier, later in pairwise(ends_s)] == exactly([0.8] * (len(ends_s) - 1))
    found = waits(chain)
    assert all(later > earlier for earlier, later in pairwise(found))
    assert found[-1] > 8.0
    assert waits(topics)[2:] == exactly([0.4] * (len(waits(topics)) - 2))


def test_work_before_the_failure_is_wasted_in_a_chain() -> None:
    trace = play("pipeline", "0.01 kill notify", coupling="chain", event_rate=0.5)
    failed = total(trace, "failed uploads")
    assert failed == len(waits(trace)) > 10
    wasted = total(trace, "wasted seconds")
    assert wasted == pytest.approx(1.5 * failed, abs=1.5)  # upload, compress and format


def test_a_turn_of_the_coupling_loses_nothing() -> None:
    trace = play("pipeline", "10 set coupling chain", "20 set coupling topics", "30 set coupling chain", until_s=60.0)
    assert lost(trace) == []
    counted = Counter(event for event, _ in heard(trace))
    assert set(counted) >= {event for event, time_s in born(trace).items() if time_s < 55.0}
    assert set(counted.values()) == {1}


def test_with_topics_uploads_wait_for_the_broker() -> None:
    trace = play("pipeline", "10 kill broker", "13 restart broker", coupling="topics", until_s=40.0)
    assert max(waits(trace)) > 3.0
    assert lost(trace) == []
