"""Virtual time: exact between events, honest against real time, and steerable."""

import math

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from engines.lab.clock import PacedClock


class RealTime:
    """A real clock that moves only when told, for a paced clock that is asked by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def wait_and_ask(clock: PacedClock, real: RealTime, deadline: float, early: float = 0.0) -> float:
    """What trio does: ask how long to wait, wait (perhaps woken too early), ask for the time."""
    sleep = clock.deadline_to_sleep_time(deadline)
    if sleep != math.inf:
        real.now += max(0.0, sleep - early)
    return clock.current_time()


@given(
    deadlines=st.lists(st.floats(0.001, 1e6), min_size=1, max_size=30), pace=st.sampled_from([0.1, 1.0, 7.3, math.inf])
)
def test_time_goes_to_each_deadline_exactly(deadlines: list[float], pace: float) -> None:
    real = RealTime()
    clock = PacedClock(pace=pace, real_time=real)
    clock.start_clock()
    before = 0.0
    for deadline in sorted(deadlines):
        first = wait_and_ask(clock, real, deadline)
        assert first in (before, deadline)  # real time, being a float too, may fall a hair short: trio asks again
        before = wait_and_ask(clock, real, deadline)
        assert before == deadline


def test_a_wake_up_from_outside_does_not_move_time() -> None:
    real = RealTime()
    clock = PacedClock(pace=1.0, real_time=real)
    clock.start_clock()
    assert wait_and_ask(clock, real, 10.0, early=4.0) == 0.0
    assert clock.playhead() == pytest.approx(6.0)
    assert wait_and_ask(clock, real, 10.0) == 10.0


def test_time_moves_only_where_trio_asks_first() -> None:
    real = RealTime()
    clock = PacedClock(pace=1.0, real_time=real)
    clock.start_clock()
    clock.deadline_to_sleep_time(1.0)
    clock.current_time()
    real.now += 50
    assert clock.current_time() == 0.0  # a program that asks in the middle of its work


@pytest.mark.parametrize("pace", [0.1, 1.0, 10.0])
def test_pacing_does_not_drift(pace: float) -> None:
    real = RealTime()
    clock = PacedClock(pace=pace, real_time=real)
    clock.start_clock()
    began = real.now
    for event in range(1, 6001):
        wait_and_ask(clock, real, event * 0.01 * pace)
        real.now += 0.0007  # the work that the event made
    assert (real.now - began) == pytest.approx(60, rel=0.001)


def test_far_behind_it_does_not_race_to_catch_up() -> None:
    real = RealTime()
    clock = PacedClock(pace=1.0, real_time=real)
    clock.start_clock()
    wait_and_ask(clock, real, 1.0)
    real.now += 30  # a laptop that slept
    assert wait_and_ask(clock, real, 2.0) == 2.0
    assert clock.deadline_to_sleep_time(3.0) == pytest.approx(1.0)


def test_pause_keeps_the_moment_that_a_person_saw() -> None:
    real = RealTime()
    clock = PacedClock(pace=2.0, real_time=real)
    clock.start_clock()
    clock.deadline_to_sleep_time(10.0)
    real.now += 1.5
    clock.pause()
    real.now += 60
    assert clock.playhead() == pytest.approx(3.0)
    assert clock.deadline_to_sleep_time(10.0) == math.inf
    clock.play()
    assert clock.deadline_to_sleep_time(10.0) == pytest.approx(3.5)


def test_the_playhead_never_runs_ahead_of_the_next_event() -> None:
    real = RealTime()
    clock = PacedClock(pace=1.0, real_time=real)
    clock.start_clock()
    clock.deadline_to_sleep_time(2.0)
    real.now += 10
    assert clock.playhead() == 2.0


def test_run_until_stops_there_even_between_events() -> None:
    real = RealTime()
    clock = PacedClock(playing=False, real_time=real)
    clock.start_clock()
    clock.run_until(5.0)
    assert wait_and_ask(clock, real, 4.0) == 4.0
    assert wait_and_ask(clock, real, 6.0) == 4.0
    assert clock.playhead() == 5.0


def test_it_never_passes_its_limit() -> None:
    real = RealTime()
    rests: list[float] = []
    clock = PacedClock(pace=math.inf, limit_s=5.0, real_time=real, on_rest=lambda: rests.append(real.now))
    clock.start_clock()
    assert wait_and_ask(clock, real, 5.0) == 5.0
    assert wait_and_ask(clock, real, 5.1) == 5.0
    assert not clock.playing
    assert rests


def test_a_step_takes_as_many_deadlines_as_it_needs() -> None:
    real = RealTime()
    clock = PacedClock(playing=False, real_time=real)
    clock.start_clock()
    seen: list[float] = []
    clock.step(lambda: len(seen) >= 2)
    for deadline in (1.0, 2.0, 3.0):
        time = wait_and_ask(clock, real, deadline)
        if time == deadline:
            seen.append(time)
    assert seen == [1.0, 2.0]


def test_flat_out_a_trio_run_needs_no_real_time() -> None:
    clock = PacedClock(pace=math.inf)

    async def main() -> float:
        await trio.sleep(80_000)
        return trio.current_time()

    assert trio.run(main, clock=clock) == 80_000
