"""The MQTT lessons of publish/subscribe, held to their formulas: how late, how much, what is kept, and what is not."""

from itertools import pairwise

import pytest

from engines.lab.facts import EventBorn, EventHandled, EventLost, Measured, MessageStarted, StateChanged
from engines.lab.knobs import Value
from engines.lab.links import HEADER_BYTES
from engines.lab.trace import Trace
from engines.metrics import Numbers
from engines.patterns.contract import Lesson
from engines.patterns.pub_sub import (
    away_and_back,
    delivery,
    fan_out,
    late_joiner,
    long_job,
    notifications,
    shared_subscription,
    slow_subscriber,
)
from engines.patterns.push import notifications as push
from tests.patterns.laws import breaches, every
from tests.patterns.runs import at, run


def play(lesson: Lesson, *orders: str, until_s: float = 30.0, seed: int = 0, **knobs: Value) -> Trace:
    """A run of a lesson; `work_time=1.0` sets the knob work-time, and an order is "TIME COMMAND"."""
    commands = [at(float(time_s), text) for time_s, text in (order.split(" ", 1) for order in orders)]
    board = {name.replace("_", "-"): value for name, value in knobs.items()}
    trace = run(lesson, commands, knobs=board, until_s=until_s, seed=seed).trace
    assert breaches(trace) == []
    return trace


def born(trace: Trace) -> dict[int, float]:
    return {event.event: record.time_s for record, event in every(trace, EventBorn)}


def handled(trace: Trace, host: str) -> dict[int, float]:
    """When `host` heard of each event, the first time."""
    found: dict[int, float] = {}
    for record, event in every(trace, EventHandled):
        if event.host == host:
            found.setdefault(event.event, record.time_s)
    return found


def delays(trace: Trace, host: str, since_s: float = 3.0) -> list[float]:
    """How late `host` heard of the events that were born from then on."""
    births = born(trace)
    return [time_s - births[event] for event, time_s in handled(trace, host).items() if births[event] > since_s]


def lost(trace: Trace) -> list[int]:
    return [event.event for _, event in every(trace, EventLost)]


def measured(trace: Trace, what: str) -> float:
    return sum(fact.amount for _, fact in every(trace, Measured) if fact.what == what)


def said(trace: Trace, label: str, sender: str = "") -> list[float]:
    return [
        record.time_s
        for record, message in every(trace, MessageStarted)
        if message.label.startswith(label) and sender in ("", message.sender)
    ]


# --- fan-out ------------------------------------------------------------------------------------------------------------

PUBLISH_BYTES = 3 + 2 + len(fan_out.TOPIC) + 1
"""Of a PUBLISH around its payload, where that has 128 to 16,383 bytes: fixed header, topic, properties."""


@pytest.mark.parametrize("subscribers", [1, 5, 10, 20])
@pytest.mark.parametrize("size", [200, 1000])
def test_copies_leave_one_behind_the_other_and_beyond_the_cable_s_rate_every_message_is_later(
    subscribers: int, size: int
) -> None:
    """A message's last copy leaves n (size + headers) / bandwidth after it could begin, and it begins when the one before has
    left: the Lindley recursion, exact. Receive windows of 65,535 bytes are not reached."""
    bandwidth, rate, latency_s = 20_000.0, 2.0, 0.1
    trace = play(
        fan_out.LESSON, "10 set event-rate 2", subscribers=subscribers, event_size=size, broker_uplink=bandwidth,
        event_rate=rate, latency=latency_s, until_s=25.0,
    )  # fmt: skip
    copy_s = (PUBLISH_BYTES + size + HEADER_BYTES) / bandwidth
    free_s = 0.0
    arrived: list[list[float]] = []
    for at_s in born(trace).values():
        begins_s = max(at_s + latency_s, free_s)
        free_s = begins_s + subscribers * copy_s
        arrived.append([begins_s + (n + 1) * copy_s + latency_s for n in range(subscribers)])
    hosts = [f"sub{n + 1}" for n in range(subscribers)]
    heard = [handled(trace, host) for host in hosts]
    checked = 0
    for event, expected in zip(born(trace), arrived, strict=True):
        if born(trace)[event] > 2 and expected[-1] < 25.0:
            assert sorted(times[event] for times in heard) == pytest.approx(expected, abs=1e-9)
            checked += 1
    assert checked > 10
    load = subscribers * copy_s * rate
    late = [times[-1] - at_s for times, at_s in zip(arrived, born(trace).values(), strict=True)]
    growth_s = max(0.0, load - 1) / rate
    assert [round(later - one, 9) for one, later in pairwise(late[8:])] == [round(growth_s, 9)] * (len(late) - 9)


def test_the_publisher_pays_for_one_copy_whoever_listens() -> None:
    published = [len(said(play(fan_out.LESSON, subscribers=n), "PUBLISH", "publisher")) for n in (1, 20)]
    copied = [len(said(play(fan_out.LESSON, subscribers=n, broker_uplink=1e9), "PUBLISH", "broker")) for n in (1, 20)]
    assert published[0] == published[1]
    assert copied[1] == 20 * copied[0] > 1000


def test_subscribers_come_and_go_with_the_knob() -> None:
    trace = play(fan_out.LESSON, "10 set subscribers 2", "20 set subscribers 8", subscribers=4)
    births = born(trace)
    for host, stretches in {"sub1": [(2, 29)], "sub4": [(2, 9.5), (21, 29)], "sub8": [(21, 29)]}.items():
        inside = [n for n, at_s in births.items() if any(start < at_s < end for start, end in stretches)]
        outside = [n for n, at_s in births.items() if not any(start - 2 < at_s < end + 1 for start, end in stretches)]
        assert set(inside) <= set(handled(trace, host))
        assert not set(outside) & set(handled(trace, host))


# --- away and back ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("knobs", "all_heard"),
    [
        ({}, True),
        ({"qos": "2"}, True),
        ({"qos": "0"}, False),
        ({"session": "clean"}, False),
        ({"session_expiry": 3.0}, False),
        ({"session_expiry": 5.0, "away": 6.0}, False),
        ({"session_expiry": 8.0, "away": 6.0}, True),
    ],
)
def test_only_a_session_that_lives_long_enough_keeps_what_was_missed(knobs: dict[str, Value], all_heard: bool) -> None:
    trace = play(away_and_back.LESSON, until_s=48.0, **knobs)
    births, heard = born(trace), handled(trace, "subscriber")
    settled = [event for event, at_s in births.items() if 1 < at_s < 35]
    assert (set(settled) <= set(heard)) == all_heard
    assert bool(lost(trace)) != all_heard
    assert list(heard) == sorted(heard)
    assert not set(heard) & set(lost(trace))
    if all_heard:  # at most the time away, a new connection, and the last transit
        assert max(delays(trace, "subscriber")) < 6.0 + 0.8


# --- late joiner --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("latency_s", [0.05, 0.2])
def test_a_late_joiner_is_blind_for_six_transits_or_until_something_is_said(latency_s: float) -> None:
    def blind(**knobs: Value) -> list[float]:
        trace = play(late_joiner.LESSON, latency=latency_s, until_s=200.0, **knobs)
        return [
            fact.amount for _, fact in every(trace, Measured) if (fact.host, fact.what) == ("late", "blind seconds")
        ]

    retained = blind()
    assert len(retained) > 20
    assert retained == pytest.approx([6 * latency_s] * len(retained), abs=1e-9)
    told = blind(retain=False, interval=2.0)
    assert all(6 * latency_s - 1e-9 <= seconds <= 2.0 + 6 * latency_s + 1e-9 for seconds in told)
    assert 0.7 < sum(told) / len(told) - 5 * latency_s < 1.3  # half an interval on average


@pytest.mark.parametrize("will", [False, True])
def test_only_a_will_tells_that_the_last_word_is_out_of_date(will: bool) -> None:
    trace = play(late_joiner.LESSON, "12 kill thermometer", will=will)
    shown = display(trace, "late", 14.0)
    assert shown
    assert all(("unknown" in text) == will for text in shown)


def display(trace: Trace, host: str, since_s: float) -> list[str]:
    """What `host` shows from then on, of the temperature."""
    changes = every(trace, StateChanged)
    return [str(c.value) for record, c in changes if c.host == host and record.time_s > since_s and c.value != "–"]


# --- delivery -----------------------------------------------------------------------------------------------------------

FAULTS = {fault.name: fault.on for fault in delivery.LESSON.faults}


@pytest.mark.parametrize(
    ("fault", "missing", "twice", "marked"),
    [
        ("lose-puback", 0, 1, 1),
        ("lose-pubrec", 0, 0, 0),
        ("lose-pubrel", 0, 0, 0),
        ("lose-pubcomp", 0, 0, 0),
        ("lose-puback-to-publisher", 0, 1, 0),
        ("lose-pubrec-to-publisher", 0, 0, 0),
    ],
)
def test_each_fault_of_the_lesson_does_what_its_help_says(fault: str, missing: int, twice: int, marked: int) -> None:
    trace = play(delivery.LESSON, f"1 {FAULTS[fault]}")
    numbers = Numbers(trace)
    assert numbers.value("resets", 30.0) == 1
    assert numbers.value("events-duplicated", 30.0) == twice
    assert measured(trace, "marked DUP") == marked
    assert (
        len([event for event in born(trace) if event not in handled(trace, "subscriber")]) == missing + 1
    )  # under way


def test_at_qos_0_a_lost_message_is_lost_and_nobody_knows() -> None:
    trace = play(delivery.LESSON, f"1 {FAULTS['lose-publish']}", qos="0")
    assert not lost(trace)
    assert [event for event in born(trace) if event not in handled(trace, "subscriber")][:1] == [1]


def test_packets_of_an_exchange_in_bytes_and_numbers() -> None:
    """Event k has QoS k mod 3, so that three events in turn cost 1 + 2 + 4 packets a hop."""
    trace = play(delivery.LESSON, until_s=60.0)
    events = len([at_s for at_s in born(trace).values() if at_s < 58])
    packets = {kind: len(said(trace, kind)) / 2 for kind in ("PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP")}
    per_event = sum(packets.values()) / events
    assert per_event == pytest.approx(7 / 3, rel=0.05)
    assert packets["PUBREC"] == packets["PUBREL"] == packets["PUBCOMP"]


# --- slow subscriber ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("maximum", [1, 2, 5])
@pytest.mark.parametrize("latency_s", [0.05, 0.2])
def test_receive_maximum_is_a_window(maximum: int, latency_s: float) -> None:
    """With a backlog, `maximum` messages are done in the longer of their work and work + round trip (Little's law)."""
    work_s = 0.25
    trace = play(
        slow_subscriber.LESSON, receive_maximum=maximum, latency=latency_s, consumer_time=work_s, event_rate=20.0,
        queue_limit=1000,
    )  # fmt: skip
    done = [time_s for time_s in handled(trace, "subscriber").values() if time_s > 5]
    period_s = max(maximum * work_s, work_s + 2 * latency_s)
    assert len(done) > 20
    for earlier, later in zip(done, done[maximum:], strict=False):
        assert later - earlier == pytest.approx(period_s, abs=1e-9)


@pytest.mark.parametrize(("when_full", "waited_s"), [("drop newest", 15.0), ("drop oldest", 8.0)])
def test_a_full_queue_makes_messages_as_old_as_what_waits_in_front_of_them(when_full: str, waited_s: float) -> None:
    """Newest dropped: 20 wait and 5 are in flight, each for 0.6 s. Oldest dropped: a message that survives at all came when the
    20 in front of it came, a quarter of a second each, and then waits for the 5 in flight, 0.6 s each."""
    trace = play(slow_subscriber.LESSON, when_full=when_full, until_s=60.0)
    assert max(delays(trace, "subscriber", 30.0)) == pytest.approx(waited_s, abs=1.0)
    assert len(lost(trace)) > 50


def test_a_client_that_is_sent_away_comes_back_to_its_queue() -> None:
    trace = play(slow_subscriber.LESSON, when_full="disconnect")
    assert len(said(trace, "DISCONNECT quota exceeded", "broker")) > 3
    assert len(said(trace, "CONNACK session present", "broker")) > 3
    assert Numbers(trace).value("events-duplicated", 30.0)


# --- notifications and long jobs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("latency_s", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_a_notification_takes_two_transits_whatever_its_qos(latency_s: float, qos: str) -> None:
    late = delays(play(notifications.LESSON, latency=latency_s, qos=qos, event_rate=5.0), "client")
    assert len(late) > 80
    assert late == pytest.approx([2 * latency_s] * len(late), abs=1e-9)


def test_a_client_that_was_dead_for_a_while_hears_everything_and_one_without_a_session_does_not() -> None:
    for session, missed in (("persistent", False), ("clean", True)):
        trace = play(notifications.LESSON, "10 kill client", "20 restart client", session=session, event_rate=2.0)
        unheard = [e for e, at_s in born(trace).items() if 2 < at_s < 28 and e not in handled(trace, "client")]
        assert bool(unheard) == missed
        assert set(unheard) <= set(lost(trace))


def test_a_result_takes_two_transits() -> None:
    late = delays(play(long_job.LESSON, until_s=120.0), "client", 0.0)
    assert len(late) > 15
    assert late == pytest.approx([0.3] * len(late), abs=1e-9)


@pytest.mark.parametrize(
    ("knobs", "jobs_lost"),
    [({}, 1), ({"worker_acks": "when done"}, 0), ({"handles_kept": "store"}, 0)],
)
def test_a_job_survives_its_worker_if_somebody_keeps_it(knobs: dict[str, Value], jobs_lost: int) -> None:
    trace = play(long_job.LESSON, "4 kill server", "5 restart server", until_s=60.0, **knobs)
    assert measured(trace, "jobs lost") == jobs_lost
    assert measured(trace, "videos done") >= 5


@pytest.mark.parametrize("seed", range(3))
def test_a_lesson_that_carries_a_workload_has_the_events_of_that_workload(seed: int) -> None:
    ours = born(play(notifications.LESSON, seed=seed, latency=0.1))
    theirs = born(play(push.LESSON, seed=seed, latency=0.1))
    assert ours == theirs


# --- shared subscription ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_workers_take_turns_and_each_order_is_done_once(workers: int) -> None:
    trace = play(shared_subscription.LESSON, workers=workers, work_time=0.2, event_rate=4.0)
    shares = [handled(trace, f"worker{n + 1}") for n in range(4)]
    settled = [event for event, at_s in born(trace).items() if 2 < at_s < 28]
    assert all(sum(event in share for share in shares) == 1 for event in settled)
    for n, share in enumerate(shares):
        turns = sorted(set(share) & set(settled))
        assert turns == settled[settled.index(turns[0]) :: workers] if n < workers else not turns
    assert measured(trace, "done twice") == 0


@pytest.mark.parametrize("qos", ["1", "2"])
def test_what_a_dead_worker_held_is_done_by_another_unless_it_was_sent_exactly_once(qos: str) -> None:
    trace = play(shared_subscription.LESSON, "10 kill worker1", slow_one=4.0, work_time=0.3, qos=qos)
    done = {**handled(trace, "worker1"), **handled(trace, "worker2")}
    missing = [event for event, at_s in born(trace).items() if 2 < at_s < 25 and event not in done]
    assert bool(missing) == (qos == "2")
    assert set(missing) <= set(lost(trace))
