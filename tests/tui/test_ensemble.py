"""Several real sessions under one clock. Real time is a number in these tests; they only wait for threads to arrive."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

import pytest

from engines.comparison import EVENT_METRICS, Contender, compare
from engines.lab.commands import CommandError
from engines.lab.facts import KnobTurned
from engines.lab.knobs import Number
from engines.lab.session import SessionState, run_headless
from engines.lab.trace import Trace
from engines.metrics.numbers import Numbers
from tests.tui.contest import members, rings
from tui.ensemble import Ensemble, shared_faults, shared_knobs
from tui.panels.comparison import comparison_table, table_text
from tui.playback import Playback, time_after, time_by

QUICK, SLOW = rings("quick", "1", 0.25), rings("slow", "2", 0.375)
PATIENCE_S = 60


class Stage:
    """An ensemble, and real time as the test wants it."""

    def __init__(self, *group: Contender, pace: float = 1.0) -> None:
        self.real_s = 0.0
        self.ensemble = Ensemble(members(*group), lambda: self.real_s, pace)

    @property
    def traces(self) -> list[Trace]:
        return [member.session.trace for member in self.ensemble.members]

    @property
    def now_s(self) -> float:
        return self.ensemble.status.now_s

    def arrive(self) -> None:
        """Wait until all stand where they were sent."""
        for member in self.ensemble.members:
            if not member.over:
                assert member.session.wait_idle(PATIENCE_S)

    def frames(self, count: int, real_s: float = 0.05) -> None:
        for _ in range(count):
            self.real_s += real_s
            self.ensemble.keep_up()
            self.arrive()

    def stand(self) -> None:
        assert self.ensemble.wait_idle(PATIENCE_S)

    def mourn(self, place: int) -> None:
        """Wait until a run that breaks is over."""
        self.ensemble.members[place].session.close()


@contextmanager
def stage(*group: Contender, pace: float = 1.0) -> Iterator[Stage]:
    made = Stage(*group, pace=pace)
    made.ensemble.start()
    made.arrive()
    try:
        yield made
    finally:
        made.ensemble.close()


def test_all_stand_at_the_same_moment_however_they_got_there() -> None:
    with stage(QUICK, SLOW) as s:
        s.frames(21)
        assert s.now_s == pytest.approx(1.0)
        s.ensemble.set_pace(10.0)
        s.frames(11)
        assert s.now_s == pytest.approx(6.0)
        s.ensemble.set_pace(inf)
        s.frames(3)
        assert s.now_s > 7.5
        assert {m.session.status.now_s for m in s.ensemble.members} == {s.now_s}


def test_after_a_hitch_the_clock_does_not_leap() -> None:
    with stage(QUICK, SLOW) as s:
        s.frames(2)
        s.frames(1, real_s=60.0)
        assert s.now_s == pytest.approx(0.3)
        s.frames(1)
        assert s.now_s == pytest.approx(0.35)


def test_slices_change_nothing_of_what_happens() -> None:
    with stage(QUICK, SLOW, pace=3.0) as s:
        s.frames(50, real_s=0.0377)
        s.ensemble.pause()
        s.stand()
        for contender, trace in zip((QUICK, SLOW), s.traces, strict=True):
            alone = run_headless(contender.lesson, name=contender.name, seed=7, until_s=s.now_s)
            assert list(trace) == list(alone.trace)


def test_the_table_is_that_of_the_command_line() -> None:
    with stage(QUICK, SLOW) as s:
        s.ensemble.run_until(30.0)
        s.stand()
        values = [{name: Numbers(trace).value(name, 30.0) for name in EVENT_METRICS} for trace in s.traces]
    results = compare((QUICK, SLOW), seed=7, settings={}, until_s=30.0, metrics=EVENT_METRICS)
    assert table_text(comparison_table(["quick", "slow"], values)) == table_text(
        comparison_table(["quick", "slow"], [result.values for result in results])
    )


def test_steps_visit_every_moment_of_both() -> None:
    with stage(QUICK, SLOW) as s:
        playback = Playback(s.ensemble, s.traces, lambda: 0.0)
        visited: list[float] = []
        while s.now_s < 4.0:
            playback.next_fact()
            s.stand()
            visited.append(s.now_s)
        every = {moment for trace in s.traces for moment in trace.time if 0 < moment <= s.now_s}
        assert visited == sorted(every)
        playback.previous_fact()
        assert playback.playhead_s == visited[-2]
        playback.next_fact()
        assert not playback.in_review
        assert playback.playhead_s == visited[-1]


def test_an_order_reaches_all_that_it_fits_at_one_moment() -> None:
    with stage(QUICK, SLOW) as s:
        s.frames(31)
        s.ensemble.command("set rate 4/s")
        s.frames(4)
        turned = [[r.time_s for r in trace if isinstance(r.fact, KnobTurned)] for trace in s.traces]
        assert turned[0] == turned[1] != []
        s.ensemble.pause()
        s.ensemble.command("set only-slow 3 s")
        s.stand()
        assert [m.session.knob_values()["rate"] for m in s.ensemble.members] == [4.0, 4.0]
        assert s.ensemble.members[1].session.knob_values()["only-slow"] == 3.0


def test_after_a_step_an_order_brings_all_to_the_foremost_first() -> None:
    with stage(QUICK, SLOW) as s:
        s.ensemble.pause()
        s.ensemble.run_until(1.1)
        s.ensemble.step()
        s.stand()
        assert s.now_s == 1.25
        s.ensemble.command("set rate 2/s")
        s.stand()
        turned = [next(r.time_s for r in trace if isinstance(r.fact, KnobTurned)) for trace in s.traces]
        assert turned == pytest.approx([1.375, 1.375], abs=1e-5)
        assert s.now_s >= max(turned)


def test_what_fits_nobody_or_not_everybody_is_refused() -> None:
    narrow = rings("narrow", "3", 0.25, rate=Number("rate", "events", "1/s", 1.0, 0.1, 2.0, 0.1, "fewer"))
    with stage(QUICK, narrow) as s:
        with pytest.raises(CommandError, match="did you mean 'rate'"):
            s.ensemble.command("set rat 1/s")
        with pytest.raises(CommandError, match="2"):
            s.ensemble.command("set rate 8/s")
        with pytest.raises(CommandError, match="no host 'moon'"):
            s.ensemble.command("kill moon")


def test_one_that_fails_says_so_and_the_others_live_on() -> None:
    with stage(QUICK, rings("frail", "3", 0.25, breaks_at_s=2.5)) as s:
        s.ensemble.run_until(6.0)
        s.stand()
        s.mourn(1)
        status = s.ensemble.status
        assert status.now_s == 6.0
        assert status.state is SessionState.PAUSED
        assert status.message.startswith("Frail: ")
        assert "on purpose" in status.message
        s.ensemble.play()
        s.frames(3)
        assert s.now_s > 6.0


def test_when_all_have_failed_the_ensemble_has() -> None:
    with stage(rings("frail", "3", 0.25, breaks_at_s=0.5), rings("weak", "4", 0.25, breaks_at_s=0.5)) as s:
        s.ensemble.run_until(6.0)
        s.stand()
        s.mourn(0)
        s.mourn(1)
        assert s.ensemble.status.state is SessionState.FAILED


def test_knobs_and_faults_that_several_have() -> None:
    group = members(QUICK, SLOW)
    assert [knob.name for knob in shared_knobs(group)] == ["rate", "latency", "jitter", "bandwidth", "loss"]
    assert [fault.name for fault in shared_faults(group)] == ["kill"]


def test_moments_of_several_traces() -> None:
    with stage(QUICK, SLOW) as s:
        s.ensemble.run_until(1.3)
        s.stand()
        assert time_by(s.traces, 1.2) == 1.0
        assert time_after(s.traces, 1.1) == 1.25
        assert time_after(s.traces, 1.3) is None
        assert time_by([Trace()], 5.0) == 0.0
