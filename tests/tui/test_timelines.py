"""Branches of real runs: the same up to the moment, whatever the moment, and what was asked for after it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.differences import first_difference
from engines.lab.commands import CommandError
from engines.lab.facts import CommandApplied, PacketDropped
from engines.lab.session import Session, run_headless
from engines.lab.trace import Trace
from engines.patterns.contract import Lesson
from tests.patterns.runs import BY_NAME, LESSONS, at, fingerprint
from tests.tui.contest import open_paused
from tests.tui.fake_lab import FakeLab, FakeSession
from tui.beginning import Beginning
from tui.loading import load_engine
from tui.timelines import LONG_PAST, MOST_BRANCHES, RESTING_S, TURNING_S, Timelines

ENGINE = replace(load_engine(), open_session=open_paused)
PATTERN = ENGINE.patterns[0]
PATIENCE_S = 60.0

A_FEW = [pytest.param(BY_NAME[name], id=name) for name in list(BY_NAME)[:: max(1, len(BY_NAME) // 6)]]


class Hands:
    """A person with a tab's runs, and real time in the hand of the test."""

    def __init__(self, lesson: Lesson, until_s: float, seed: int = 3) -> None:
        self.real_s = 0.0
        self.lines = Timelines(
            ENGINE, PATTERN, lesson, Beginning(seed), now=lambda: self.real_s
        )  # fmt: skip
        self.first = self.lines.run
        self.go_to(until_s)

    @property
    def session(self) -> Session:
        session = self.lines.run.session
        assert isinstance(session, Session)
        return session

    @property
    def trace(self) -> Trace:
        return self.lines.run.trace

    def go_to(self, time_s: float) -> None:
        self.session.run_until(time_s)
        assert self.session.wait_idle(PATIENCE_S)
        while self.lines.run.consume():
            pass

    def tended(self) -> None:
        """Frames go by until nothing is on its way."""
        began = time.monotonic()
        while self.lines.tend():
            self.real_s += 0.1
            assert time.monotonic() - began < PATIENCE_S, self.lines.progress
        self.session.wait_idle(PATIENCE_S)


@contextmanager
def hands(lesson: Lesson, until_s: float, seed: int = 3) -> Iterator[Hands]:
    mine = Hands(lesson, until_s, seed)
    try:
        yield mine
    finally:
        for branch in mine.lines.tree.branches:
            branch.item.session.close()
        mine.lines.close()


# --- what a branch is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lesson", A_FEW)
def test_a_branch_without_a_change_is_the_run_byte_for_byte(lesson: Lesson) -> None:
    until_s = lesson.until_s / 2
    with hands(lesson, until_s / 4) as mine:
        mine.lines.order(lesson.faults[0].on)
        mine.go_to(until_s)
        mine.lines.run.playback.seek(until_s / 2)
        replay = mine.lines._replay_to(until_s / 2)
        replay.run.session.run_until(until_s)
        assert replay.run.session.wait_idle(PATIENCE_S)
        assert fingerprint(replay.run.trace) == fingerprint(mine.trace)
        assert first_difference(replay.run.trace, mine.trace) is None


@pytest.mark.parametrize("lesson", A_FEW)
@settings(max_examples=3)
@given(share=st.floats(0.01, 0.99), fault=st.integers(0, 9), early=st.floats(0.0, 1.0))
def test_what_was_before_the_branch_is_the_same_and_the_change_comes_next(
    lesson: Lesson, share: float, fault: int, early: float
) -> None:
    until_s, order = min(8.0, lesson.until_s), lesson.faults[fault % len(lesson.faults)].on
    with hands(lesson, until_s * early) as mine:
        mine.lines.order("set latency 0.17 s")
        mine.go_to(until_s)
        at_s = share * until_s
        mine.lines.run.playback.seek(at_s)
        mine.lines.order(order)
        mine.tended()
        original = mine.first.trace
        prefix = original.length_at(at_s)
        assert mine.lines.run is not mine.first
        # An order has a time in whole microseconds, after the moment that is shown: what happens in between happens first.
        change = next(i for i in range(prefix, len(mine.trace)) if isinstance(mine.trace[i].fact, CommandApplied))
        assert first_difference(original, mine.trace, 0, change) is None
        assert at_s - 1e-6 <= mine.trace.time[change] <= at_s + 3e-6
        mine.go_to(until_s)
        recorded = mine.session.commands
        assert str(recorded[-1].command) == str(at(0, order).command)
        name = f"{PATTERN.name}/{lesson.name}"
        again = run_headless(lesson, name=name, commands=recorded, seed=3, until_s=until_s)
        assert fingerprint(again.trace) == fingerprint(mine.trace)


@pytest.mark.parametrize("lesson", LESSONS)
def test_every_lesson_can_branch(lesson: Lesson) -> None:
    """Some of its faults, each in a branch of the branch before."""
    until_s, faults = min(5.0, lesson.until_s / 3), lesson.faults[:2]
    with hands(lesson, until_s) as mine:
        for number, fault in enumerate(faults, 1):
            mine.lines.run.playback.seek(until_s * 0.9)
            mine.lines.order(fault.on)
            mine.tended()
            assert mine.lines.tree.current.name.startswith(fault.on.split()[0])
            assert mine.lines.tree.current.number == number
            mine.go_to(until_s)
        assert len(mine.lines.tree) == 1 + len(faults)
        assert mine.session.status.message == ""


def test_a_message_on_its_way_is_dropped_in_the_branch_alone() -> None:
    lesson = BY_NAME["request-response/simple-get"]
    with hands(lesson, 6.0) as mine:
        messages = mine.lines.run.model.messages
        packet = next(p for p in messages.packets if mine.trace.time[p] > 2.0 and mine.trace.payload_size[p])
        sent_s = mine.trace.time[packet]
        mine.lines.what_if(f"drop #{packet}", sent_s)
        mine.tended()
        dropped = [r for r in mine.trace if isinstance(r.fact, PacketDropped)]
        assert [(r.fact.packet, r.fact.reason) for r in dropped if isinstance(r.fact, PacketDropped)] == [
            (packet, "fault")
        ]
        assert not any(isinstance(r.fact, PacketDropped) for r in mine.first.trace)
        assert mine.lines.tree.current.name == f"drop “GET /hello” at {sent_s:.3f} s"


# --- how it comes about -------------------------------------------------------------------------------------------------


def fake() -> tuple[Timelines, FakeLab, list[float]]:
    lab, real = FakeLab(), [0.0]
    engine = lab.load()
    lines = Timelines(
        engine, engine.patterns[0], engine.patterns[0].lessons[0], Beginning(7), now=lambda: real[0]
    )  # fmt: skip
    lab.session.advance(5.65)
    lines.run.consume()
    return lines, lab, real


def tended(lines: Timelines, real: list[float]) -> None:
    for _ in range(20):
        lines.tend()
        real[0] += 0.1


def test_at_the_live_end_an_order_is_an_order() -> None:
    lines, lab, _ = fake()
    lines.order("kill server")
    assert (lab.session.given, len(lines.tree), lines.asked) == (["kill server"], 1, None)


def test_a_knob_turned_step_by_step_is_one_answer() -> None:
    lines, lab, real = fake()
    lines.run.playback.seek(3.0)
    for text in ("set latency 50 ms", "set latency 60 ms", "set body large", "set latency 70 ms"):
        lines.order(text)
        assert lines.tend() is True
        real[0] += TURNING_S * 0.8
    assert lines.asked_texts() == {"body": "large", "latency": "70 ms"}
    assert lines.progress.startswith("what if: set body large and set latency 70 ms at 3.000 s")
    tended(lines, real)
    assert len(lab.sessions) == 2
    assert lab.session.given == ["set body large", "set latency 70 ms"]
    assert lines.take_notice() == "branch 1: set body large and set latency 70 ms at 3.000 s"
    assert lines.take_notice() == lines.progress == ""


def test_a_knob_turned_back_to_where_it_stood_asks_nothing() -> None:
    lines, lab, real = fake()
    lines.run.playback.seek(3.0)
    for text in ("set latency 50 ms", "set latency 0.04 s"):
        lines.order(text)
    tended(lines, real)
    assert len(lines.tree) == 1
    assert lines.take_notice() == "latency stands there already"
    assert lab.sessions[0].given == []


def test_it_plays_on_if_the_run_did_and_else_stands() -> None:
    for playing in (True, False):
        lines, lab, _ = fake()
        if not playing:
            lab.session.pause()
        lines.run.playback.seek(3.0)
        lines.order("kill server")
        assert lines.tend() is False  # in one frame
        assert lab.session.status.state.value == ("playing" if playing else "paused")
        assert lab.sessions[0].status.state.value == "paused"
        assert lab.session.status.now_s == pytest.approx(3.0)
        assert ("space plays on" in lines.take_notice()) is not playing


def test_the_old_run_stays_where_it_was_and_can_be_shown_again() -> None:
    lines, lab, _ = fake()
    lines.run.playback.seek(3.0)
    lines.order("kill server")
    lines.tend()
    lab.session.advance(1.0)
    lines.switch_to(lines.tree.root)
    assert lines.run.playback.in_review
    assert lines.run.playback.playhead_s == 3.0
    assert lab.session.status.state.value == "paused"
    lines.run.playback.go_live()
    assert lab.sessions[0].status.state.value == "playing"
    lines.switch_to(lines.tree.branches[1])
    assert lab.sessions[0].status.state.value == "paused"
    assert lab.session.status.state.value == "playing"


def test_orders_that_do_not_fit_are_refused_before_anything_is_replayed() -> None:
    lines, lab, _ = fake()
    lines.run.playback.seek(3.0)
    for order in ("kill sever", "set latency 200 s", "nonsense"):
        with pytest.raises(CommandError):
            lines.order(order)
    assert len(lab.sessions) == 1


def test_going_live_or_giving_up_forgets_what_is_on_its_way() -> None:
    lines, lab, real = fake()
    for forget in (lines.give_up, lambda: lines.run.playback.go_live()):
        lines.run.playback.seek(3.0)
        lines.order("set latency 50 ms")
        assert lines.tend() is True
        forget()
        tended(lines, real)
        assert lines.asked is None
    assert len(lines.tree) == 1
    assert lab.sessions[0].given == []


def test_a_branch_of_a_branch_replays_the_orders_of_both() -> None:
    lines, lab, _ = fake()
    for moment, order in ((3.0, "kill server"), (2.0, "cut client>server"), (4.0, "restart server")):
        if lines.run.session.status.now_s < moment:
            lab.session.advance(moment + 1.0 - lines.run.session.status.now_s)
        lines.run.playback.seek(moment)
        lines.order(order)
        lines.tend()
    assert lab.session.given == ["cut client>server", "restart server"]
    assert [b.name for b in lines.tree.current.line_of_descent] == [
        "restart server at 4.000 s",
        "cut client>server at 2.000 s",
        "as it was",
    ]


def test_one_too_many_and_the_longest_unseen_goes() -> None:
    lines, lab, _ = fake()
    for number in range(MOST_BRANCHES + 1):
        lines.switch_to(lines.tree.root)
        lines.run.playback.seek(1.0 + number / 10)
        lines.order("kill server")
        lines.tend()
    assert len(lines.tree) == MOST_BRANCHES + 1
    assert [b.number for b in lines.tree.branches] == [0, *range(2, MOST_BRANCHES + 2)]
    assert lines.take_notice().endswith("; branch 1 had to go")
    assert sum(not session.closed for session in lab.sessions) >= MOST_BRANCHES + 1


def test_removing_the_one_that_is_shown_shows_its_parent() -> None:
    lines, lab, _ = fake()
    lines.run.playback.seek(3.0)
    lines.order("kill server")
    lines.tend()
    lines.remove(lines.tree.current)
    assert lines.run.session is lab.sessions[0]
    with pytest.raises(ValueError, match="stays"):
        lines.remove(lines.tree.root)


def test_a_long_past_is_replayed_ahead_as_soon_as_the_playhead_rests() -> None:
    lines, lab, real = fake()
    lab.session.advance(900.0)
    while lines.run.consume():
        pass
    assert lines.run.trace.length_at(800.0) > LONG_PAST
    playback = lines.run.playback
    for moment in (800.0, 790.0, 780.0):  # somebody scrubs
        playback.seek(moment)
        assert lines.tend() is True
        real[0] += RESTING_S / 2
    assert len(lab.sessions) == 1
    for _ in range(3):
        real[0] += RESTING_S
        lines.tend()
    ahead = lab.session
    assert (len(lab.sessions), ahead.status.now_s) == (2, 780.0)
    assert lines.progress == ""
    assert lines.tend() is False  # it stands there, and waits
    playback.seek(785.0)  # later in the same past: it need not begin again
    lines.order("kill server")
    lines.tend()
    assert lines.run.session is ahead
    assert ahead.status.now_s == pytest.approx(785.0)
    assert len(lab.sessions) == 2


def test_what_was_prepared_for_another_past_is_not_used() -> None:
    lines, lab, real = fake()
    lab.session.advance(900.0)
    lab.session.command("set body large")
    while lines.run.consume():
        pass
    lines.run.playback.seek(850.0)
    for _ in range(3):
        lines.tend()
        real[0] += RESTING_S
    prepared = lab.session
    lab.sessions[0].advance(10.0)
    lines.run.playback.seek(910.0)  # after the order, which the prepared run was not given
    lines.order("kill server")
    lines.tend()
    assert isinstance(prepared, FakeSession)
    assert lines.run.session is not prepared
    assert lab.session.given == ["set body large", "kill server"]
