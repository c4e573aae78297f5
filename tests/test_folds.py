"""Scrubbing to a moment equals playing to it, at a bounded price."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.folds import FoldReader
from engines.lab.facts import KnobTurned, Text
from engines.lab.trace import Trace


class Knobs:
    """The knobs' values: a small state that changes in place, so that a forgotten copy would show."""

    def initial(self) -> dict[str, str]:
        return {}

    def step(self, state: dict[str, str], trace: Trace, fact_id: int) -> dict[str, str]:
        state[trace.names[trace.a[fact_id]]] = trace.text(fact_id)
        return state

    def copy(self, state: dict[str, str]) -> dict[str, str]:
        return dict(state)


class Count:
    """An immutable state that is replaced at each step."""

    def initial(self) -> int:
        return 0

    def step(self, state: int, trace: Trace, fact_id: int) -> int:
        return state + 1

    def copy(self, state: int) -> int:
        return state


def turned(count: int) -> Trace:
    trace = Trace()
    for i in range(count):
        trace.record(KnobTurned(f"knob {i % 7}", Text(str(i))), i / 10)
    return trace


def played(trace: Trace, length: int) -> dict[str, str]:
    fold = Knobs()
    state = fold.initial()
    for i in range(length):
        state = fold.step(state, trace, i)
    return state


@given(st.lists(st.integers(0, 100), max_size=30), st.integers(1, 12))
def test_every_moment_is_what_playing_to_it_gives(moments: list[int], every: int) -> None:
    trace = turned(100)
    reader = FoldReader(Knobs(), trace, every)
    for moment in moments:
        assert reader.at(moment) == played(trace, moment)


def test_no_question_costs_more_than_one_stretch_once_read() -> None:
    trace = turned(20_000)
    reader = FoldReader(Count(), trace, every=500)
    reader.at(20_000)
    assert reader.steps == 20_000
    random = Random(1)
    for _ in range(300):
        before, moment = reader.steps, random.randrange(20_001)
        assert reader.at(moment) == moment
        assert reader.steps - before < 500


def test_following_a_growing_trace_takes_one_step_a_fact() -> None:
    trace = turned(0)
    reader = FoldReader(Count(), trace, every=64)
    for i in range(1000):
        trace.record(KnobTurned("latency", Text("1 s")), float(i))
        assert reader.at(len(trace)) == i + 1
    assert reader.steps == 1000


def test_going_on_a_little_from_where_it_stands_does_not_go_back_to_a_checkpoint() -> None:
    reader = FoldReader(Count(), turned(1000), every=100)
    reader.at(1000)
    reader.at(590)
    before = reader.steps
    reader.at(591)
    assert reader.steps == before + 1


def test_a_time_includes_what_happened_at_it() -> None:
    reader = FoldReader(Count(), turned(10))
    assert reader.at_time(-1.0) == 0
    assert reader.at_time(0.3) == 4
    assert reader.at_time(99.0) == 10


@pytest.mark.parametrize("length", [-1, 11])
def test_a_moment_outside_the_trace_is_refused(length: int) -> None:
    with pytest.raises(IndexError, match="10 facts"):
        FoldReader(Count(), turned(10)).at(length)


def test_a_checkpoint_interval_must_be_positive() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        FoldReader(Count(), turned(1), every=0)
