"""Where the time went: phases that add up to the delay, as the textbook has them, and a past that does not change."""

import pytest

from engines.lab.session import run_headless
from engines.lab.trace import Trace
from engines.messages import MessageIndex
from engines.patterns.contract import Lesson
from engines.patterns.registry import find_lesson, find_pattern
from engines.waterfall import Bar, Phase, Waterfall
from tests.patterns.runs import LESSONS, run
from tui.panels.glyphs import ASCII, UNICODE
from tui.panels.lines import joined, width_of
from tui.panels.timeline import timeline_lines

SIMPLE = find_lesson(find_pattern("request-response"), "simple-get")


def read(trace: Trace, upto: int | None = None) -> Waterfall:
    messages = MessageIndex(trace)
    messages.consume(upto)
    waterfall = Waterfall(trace, messages)
    waterfall.consume()
    return waterfall


def bars_of(lesson: Lesson, until_s: float, **knobs: float | bool | str) -> list[Bar]:
    values = {name.replace("_", "-"): value for name, value in knobs.items()}
    return read(run(lesson, knobs=values, until_s=until_s).trace).bars


def durations(bar: Bar) -> dict[Phase, float]:
    return {phase: until_s - since_s for phase, since_s, until_s in bar.spans(1e9)}


def test_the_first_request_connects_and_the_second_does_not() -> None:
    """connect = one round trip; waiting = a round trip and the service, to the first byte of the answer."""
    first, second, *_ = bars_of(SIMPLE, 5.0, latency=0.2, service_time=0.3)
    assert durations(first) == pytest.approx({Phase.CONNECTING: 0.4, Phase.WAITING: 0.7})
    assert durations(second) == pytest.approx({Phase.WAITING: 0.7})


def test_a_big_answer_takes_time_to_receive() -> None:
    """The bytes behind the first segment arrive at the rate of the link; headers of 40 bytes a packet count."""
    bar = bars_of(SIMPLE, 8.0, body_size=20_000.0, bandwidth=20_000.0)[0]
    took = durations(bar)
    assert took[Phase.RECEIVING] == pytest.approx(20_000 / 20_000, rel=0.1)


def test_a_full_pool_queues() -> None:
    """A burst of 6 over a pool of 2: in pairs, each pair waits for the one before (connect + n exchanges)."""
    bars = bars_of(SIMPLE, 4.5, burst=6.0, pool_size=2.0, latency=0.1, service_time=0.3)[:6]
    queued = sorted(durations(bar).get(Phase.QUEUED, 0.0) for bar in bars)
    assert queued == pytest.approx([0.0, 0.0, 0.7, 0.7, 1.2, 1.2])


def test_an_event_is_on_the_wire_for_one_transit() -> None:
    push = find_lesson(find_pattern("push"), "notifications")
    events = [
        bar for bar in bars_of(push, 20.0, latency=0.15) if bar.label.startswith("event") and bar.end_s is not None
    ]
    heard = [durations(bar) for bar in events if bar.begun_s > 1.0]
    assert len(heard) > 3
    assert all(each == pytest.approx({Phase.TRAVELLING: 0.15}) for each in heard)


@pytest.mark.parametrize("lesson", LESSONS)
def test_looking_back_equals_having_looked_then(lesson: Lesson) -> None:
    """What is drawn of a moment does not depend on what came after it, and fits its width in both sets of glyphs."""
    trace = run_headless(lesson, until_s=min(lesson.until_s, 12.0)).trace
    whole = read(trace)
    for share in (0.1, 0.35, 0.8, 1.0):
        time_s = trace.time[int((len(trace) - 1) * share)]
        then = read(trace, trace.length_at(time_s))
        for glyphs in (UNICODE, ASCII):
            now_lines, then_lines = (timeline_lines(w.at(time_s, 10), time_s, 100, glyphs) for w in (whole, then))
            assert joined(now_lines) == joined(then_lines)
            assert all(width_of(each) <= 100 for each in now_lines)
    for bar in whole.bars:
        edges = [since_s for since_s, _, _ in bar.marks] + ([bar.end_s] if bar.end_s is not None else [])
        assert edges == sorted(edges)
        assert bar.known_s >= bar.begun_s
