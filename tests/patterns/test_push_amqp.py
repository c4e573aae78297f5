"""RabbitMQ-style push, held to its formulas: how late, how fast, who gets what, and what is done twice or never."""

from itertools import pairwise

import pytest

from engines.lab.facts import EventBorn, EventHandled, EventLost, Measured, MessageStarted, WorkStarted
from engines.lab.knobs import Value
from engines.lab.trace import Trace
from engines.metrics import Numbers
from engines.patterns.push.amqp_push import LESSON
from tests.patterns.laws import breaches, every
from tests.patterns.runs import at, run

CONNECTED_S = 5.0
"""By then everybody is connected, whatever the latency of these tests."""


def events(*orders: str, until_s: float = 30.0, seed: int = 0, **knobs: Value) -> Trace:
    """A run of the lesson; `work_time=1.0` sets the knob work-time, and an order is "TIME COMMAND"."""
    commands = [at(float(time_s), text) for time_s, text in (order.split(" ", 1) for order in orders)]
    board = {name.replace("_", "-"): value for name, value in knobs.items()}
    trace = run(LESSON, commands, knobs=board, until_s=until_s, seed=seed).trace
    assert breaches(trace) == []
    return trace


def born(trace: Trace) -> dict[int, float]:
    return {event.event: record.time_s for record, event in every(trace, EventBorn)}


def handled(trace: Trace, host: str) -> dict[int, float]:
    """When `host` was done with each event, the first time."""
    found: dict[int, float] = {}
    for record, event in every(trace, EventHandled):
        if event.host == host:
            found.setdefault(event.event, record.time_s)
    return found


def measured(trace: Trace, what: str) -> float:
    return sum(fact.amount for _, fact in every(trace, Measured) if fact.what == what)


def labels(trace: Trace, sender: str) -> list[str]:
    return [str(message.label) for _, message in every(trace, MessageStarted) if message.sender == sender]


# --- how late -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("latency_s", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("work_s", [0.0, 0.4])
def test_a_push_is_late_by_two_transits_and_the_work(latency_s: float, work_s: float) -> None:
    """Producer to broker, broker to consumer, and nobody has to ask."""
    trace = events(latency=latency_s, work_time=work_s, slow_work_time=work_s, arrivals="fixed", event_rate=0.5)
    births = born(trace)
    done = {**handled(trace, "quick"), **handled(trace, "slow")}
    late = [done[event] - at_s for event, at_s in births.items() if event in done and at_s > CONNECTED_S]
    assert len(late) >= 10
    assert late == pytest.approx([2 * latency_s + work_s] * len(late), abs=1e-9)


@pytest.mark.parametrize("interval_s", [0.5, 2.0])
def test_a_poll_is_late_by_half_a_cycle_more_and_a_quiet_queue_makes_all_of_them_empty(interval_s: float) -> None:
    """A cycle is the pause and a round trip; an event comes at a random moment of it. Of n such delays the mean has an error
    of cycle / sqrt(12 n), of which four are allowed."""
    latency_s = 0.05
    trace = events(
        "0 kill slow", delivery="poll", poll_interval=interval_s, latency=latency_s, work_time=0.0, event_rate=0.2,
        heartbeat=0, until_s=1000.0 * interval_s,
    )  # fmt: skip
    births, done = born(trace), handled(trace, "quick")
    late = [done[event] - births[event] for event in done if births[event] > CONNECTED_S]
    cycle_s, error_s = interval_s + 2 * latency_s, (interval_s + 2 * latency_s) / (12 * len(late)) ** 0.5
    assert len(late) > 80
    assert sum(late) / len(late) == pytest.approx(2 * latency_s + cycle_s / 2, abs=4 * error_s)
    gets, empty = measured(trace, "gets"), measured(trace, "empty gets")
    assert gets - empty == len(done)
    # A get that brings something is followed by the next at once, an empty one by the pause: that is all the time there is.
    assert empty * cycle_s + len(done) * 2 * latency_s == pytest.approx(1000.0 * interval_s, abs=CONNECTED_S)


# --- how fast -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("latency_s", [0.05, 0.2])
@pytest.mark.parametrize("prefetch", [1, 2, 3, 4, 8])
def test_prefetch_is_a_window_so_many_messages_a_round_trip_and_no_more(prefetch: int, latency_s: float) -> None:
    """With a backlog, a consumer is done with `prefetch` messages in work + round trip, unless its work takes longer.

    It is Little's law, and TCP's window: rate = min(1 / work, prefetch / (work + 2 latency)).
    """
    work_s = 0.1
    trace = events(
        "0 kill slow", latency=latency_s, prefetch=prefetch, work_time=work_s, event_rate=50.0, arrivals="fixed",
        until_s=20.0,
    )  # fmt: skip
    done = [time_s for time_s in handled(trace, "quick").values() if time_s > CONNECTED_S]
    period_s = max(prefetch * work_s, work_s + 2 * latency_s)
    assert len(done) > 2 * prefetch
    for earlier, later in zip(done, done[prefetch:], strict=False):
        assert later - earlier == pytest.approx(period_s, abs=1e-9)


def test_without_a_limit_the_slow_one_hoards_and_with_one_the_quick_one_helps() -> None:
    """Round robin by number hands out halves; by credit, to whoever is free: the slow one then does what it can."""
    numbers = dict[int, tuple[int, int, float]]()
    for prefetch in (0, 1):
        trace = events(prefetch=prefetch, until_s=60.0)
        late_s = Numbers(trace).value("event-delay-p95", 60.0)
        assert late_s is not None
        delivered = [sum(m.receiver == host and m.label.startswith("basic.deliver") for _, m in every(trace, MessageStarted))
                     for host in ("quick", "slow")]  # fmt: skip
        numbers[prefetch] = delivered[0], delivered[1], late_s
    quick, slow, hoarded_s = numbers[0]
    assert abs(quick - slow) <= 5  # the first to connect has the backlog for itself
    quick, slow, shared_s = numbers[1]
    assert quick > 2.5 * slow
    assert shared_s < hoarded_s / 3


def test_a_burst_goes_round_without_a_limit() -> None:
    trace = events(arrivals="burst", burst_size=10, event_rate=2.0, latency=0.1)
    delivered = [
        message.receiver for _, message in every(trace, MessageStarted) if message.label.startswith("basic.deliver")
    ]
    assert len(delivered) >= 20
    assert all(one != other for one, other in pairwise(delivered))


# --- what is done twice, and what never ---------------------------------------------------------------------------------


def test_what_a_dead_consumer_held_is_delivered_again_and_marked() -> None:
    trace = events("15 kill slow")
    held = measured(trace, "requeued")
    again = [label for label in labels(trace, "broker") if label.endswith("redelivered")]
    assert held == len(again) == measured(trace, "redelivered") > 5
    assert measured(trace, "handled twice") == 0  # each was acked as soon as it was done
    assert not unheard(trace, up_to_s=20.0)


@pytest.mark.parametrize("ack_every", [1, 4, 10])
def test_what_was_done_and_not_yet_acked_is_done_twice(ack_every: int) -> None:
    trace = events("24 kill slow", ack_every=ack_every, slow_work_time=1.5, until_s=60.0)
    done = sum(time_s <= 24.0 for time_s in handled(trace, "slow").values())
    acked = [label.removeprefix("basic.ack ") for label in labels(trace, "slow") if label.startswith("basic.ack")]
    settled = max((int(tag.removeprefix("all up to ")) for tag in acked), default=0)
    assert measured(trace, "handled twice") == done - settled < ack_every


def test_a_lost_ack_has_the_work_done_twice() -> None:
    trace = events("10 lose next ack")
    assert measured(trace, "handled twice") == 1
    assert not unheard(trace, up_to_s=8.0)


def test_automatic_acks_lose_what_a_dead_consumer_had_not_looked_at() -> None:
    """Its own events up to the kill, less those that it was done with: nobody ever hears of them."""
    trace = events("15 kill slow", acks=False, prefetch=1, until_s=60.0)
    sent = sum(
        message.receiver == "slow" and message.label.startswith("basic.deliver")
        for _, message in every(trace, MessageStarted)
    )
    lost = sent - len(handled(trace, "slow"))
    assert lost > 5
    assert len(unheard(trace, up_to_s=50.0)) == lost
    assert measured(trace, "requeued") == 0


def test_polling_consumers_take_from_one_queue_and_lose_nothing() -> None:
    trace = events(delivery="poll", until_s=40.0)
    assert not unheard(trace, up_to_s=25.0)
    assert not [label for label in labels(trace, "broker") if label.startswith("basic.deliver")]


@pytest.mark.parametrize("confirms", [False, True])
def test_a_broker_that_restarts_has_its_queue_and_confirms_save_what_was_on_its_way(confirms: bool) -> None:
    """Events that leave the producer within a transit of the crash arrive at nobody."""
    lost = 0
    for seed in range(4):
        trace = events("10 kill broker", "12 restart broker", confirms=confirms, prefetch=5, seed=seed, event_rate=5.0,
                       slow_work_time=0.1, work_time=0.05, latency=0.3)  # fmt: skip
        births = born(trace)
        missing = unheard(trace, up_to_s=25.0)
        assert all(10.0 - 0.3 <= births[event] <= 10.0 + 0.3 for event in missing)
        lost += len(missing)
    assert (lost == 0) == confirms


def test_a_full_queue_drops_the_oldest_and_says_so() -> None:
    trace = events(prefetch=1, queue_limit=2, event_rate=4.0)
    lost = [event.event for _, event in every(trace, EventLost)]
    assert len(lost) > 20
    for record, event in every(trace, EventLost):
        later = [
            number for number, at_s in born(trace).items() if number > event.event and at_s <= record.time_s - 0.15
        ]
        assert len(later) >= 1
    assert not set(lost) & set(handled_by_anybody(trace))


def test_knobs_turned_while_it_runs_hold_and_lose_nothing() -> None:
    trace = events(
        "6 set prefetch 1", "12 set delivery poll", "18 set acks automatic", "24 set delivery push", "30 set acks manual",
        "36 set prefetch 0", slow_work_time=0.5, until_s=50.0,
    )  # fmt: skip
    assert not unheard(trace, up_to_s=45.0)
    assert measured(trace, "handled twice") == 0
    assert len(every(trace, WorkStarted)) >= len(born(trace)) - 3


def handled_by_anybody(trace: Trace) -> dict[int, float]:
    return {**handled(trace, "quick"), **handled(trace, "slow")}


def unheard(trace: Trace, up_to_s: float) -> list[int]:
    """The events that were born by then and that nobody has dealt with."""
    done = handled_by_anybody(trace)
    return [event for event, at_s in born(trace).items() if at_s <= up_to_s and event not in done]
