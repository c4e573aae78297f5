"""The playhead: where it is, and what orders it lets through; with a session whose time stands still."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tui.fake_lab import FakeSession, lesson
from tui.faults import canonical, fault_states
from tui.index import TraceIndex
from tui.panels.header import Standing
from tui.playback import PACES, InReview, Playback


def _playing(seconds: float = 5.65) -> tuple[Playback, FakeSession, list[float]]:
    session = FakeSession(lesson(), "p/s", 0, {}, 1.0)
    session.start()
    session.advance(seconds)
    real = [0.0]
    return Playback(session, [session.trace], lambda: real[0]), session, real


def test_live_is_the_engines_moment() -> None:
    playback, session, _ = _playing()
    assert playback.standing is Standing.LIVE
    assert playback.playhead_s == 5.65
    session.advance(1.0)
    assert playback.playhead_s == 6.65


def test_stepping_there_and_back_visits_every_moment_once() -> None:
    playback, session, _ = _playing()
    times = sorted(set(session.trace.time))
    playback.seek(0.0)
    visited = [playback.playhead_s]
    while playback.in_review:
        playback.next_fact()
        visited.append(playback.playhead_s)
    assert visited == [*times, 5.65]
    back: list[float] = []
    while not back or back[-1] > 0:
        playback.previous_fact()
        back.append(playback.playhead_s)
    assert back == list(reversed(times))


def test_going_live_resumes_only_what_was_playing() -> None:
    playback, _, _ = _playing()
    playback.toggle()
    playback.seek(1.0)
    playback.go_live()
    assert not playback.moving
    playback.toggle()
    playback.seek(1.0)
    playback.seek(2.0)
    playback.go_live()
    assert playback.moving


def test_a_rolling_review_obeys_the_pace_from_where_it_is() -> None:
    playback, _, real = _playing()
    playback.seek(1.0)
    playback.toggle()
    real[0] = 1.0
    assert playback.playhead_s == pytest.approx(2.0)
    playback.change_pace(1)
    assert playback.playhead_s == pytest.approx(2.0)
    real[0] = 2.0
    assert playback.playhead_s == pytest.approx(4.0)
    playback.toggle()
    real[0] = 9.0
    assert playback.playhead_s == pytest.approx(4.0)
    playback.settle()
    assert playback.in_review


def test_orders_are_refused_in_review() -> None:
    playback, session, _ = _playing()
    playback.seek(1.0)
    with pytest.raises(InReview, match="press end"):
        playback.command("kill server")
    assert session.given == []


@given(
    st.lists(
        st.sampled_from(["toggle", "next", "previous", "back", "forward", "live", "faster", "slower"]), max_size=40
    )
)
def test_the_playhead_never_leaves_the_run(orders: list[str]) -> None:
    playback, session, real = _playing(3.0)
    actions: dict[str, Callable[[], object]] = {
        "toggle": playback.toggle,
        "next": playback.next_fact,
        "previous": playback.previous_fact,
        "back": lambda: playback.nudge(-1),
        "forward": lambda: playback.nudge(10),
        "live": playback.go_live,
        "faster": lambda: playback.change_pace(1),
        "slower": lambda: playback.change_pace(-1),
    }
    for order in orders:
        actions[order]()
        real[0] += 0.05
        playback.settle()
        assert 0.0 <= playback.playhead_s <= session.status.now_s
        assert playback.pace in PACES


# --- the index and the faults -------------------------------------------------------------------------------------------


def test_the_index_reads_in_slices_and_answers_for_any_moment() -> None:
    _, session, _ = _playing(9.0)
    slices, whole = TraceIndex(session.trace), TraceIndex(session.trace)
    while slices.consume(3):
        pass
    whole.consume()
    for time_s in (0.0, 0.8, 1.3, 2.0, 5.0, 9.0):
        assert slices.newest_message(time_s) == whole.newest_message(time_s)
        assert slices.stream(1, "client", time_s) == whole.stream(1, "client", time_s)
    assert whole.stream(1, "client", 2.0) == b"GET /hello HTTP/1.1\r\nhost: server\r\n\r\n"
    assert whole.stream(1, "client", 3.0) == b"GET /hello HTTP/1.1\r\nhost: server\r\n\r\n" * 2
    assert whole.stream(9, "nobody", 3.0) == b""


def test_a_message_is_found_by_any_of_its_bytes() -> None:
    _, session, _ = _playing(9.0)
    index = TraceIndex(session.trace)
    index.consume()
    first, second = index.message_at(1, "client", 36, 9.0), index.message_at(1, "client", 37, 9.0)
    assert first is not None
    assert second is not None
    assert first < second
    assert index.message_at(1, "client", 37, 1.0) is None
    assert index.end_of(first, 9.0) is not None
    assert index.end_of(first, 0.1) is None


def test_faults_are_folded_over_commands_however_they_were_written() -> None:
    faults = lesson().faults
    on, off = canonical("kill  server"), canonical("restart server")
    assert [state.on for state in fault_states(faults, [])] == [False, False]
    assert [state.on for state in fault_states(faults, [on])] == [True, False]
    assert [state.on for state in fault_states(faults, [on, off])] == [False, False]
    assert [state.times for state in fault_states(faults, [on, off, on, "drop next 1 message"])] == [2, 1]
