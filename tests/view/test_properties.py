"""What must hold of the picture of any trace at all: exact widths, nothing raised, looking back equals having looked then."""

import sys
from math import inf
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.lab import facts as f
from engines.lab.facts import Fact, PacketKind, Role, Text
from engines.lab.trace import Trace
from engines.messages import Phase
from tests.view.traces import Play, showcase
from tui.view.glyphs import ASCII, UNICODE, Glyphs
from tui.view.lines import STYLES, Line, line_text
from tui.view.rows import Detail
from tui.view.sequence import COMPACT, Mode, SequenceModel, Window

HOSTS = ("a", "client", "a-host-with-a-long-name", "d")
MODES = (COMPACT, Mode(0.05), Mode(1.0))
DETAILS: tuple[Detail, ...] = ("messages", "packets")
LABELS = ("", "GET /hello", "500 Internal Server Error", "日本 [/x] \x1b[0m\n", "x" * 200)

hosts = st.sampled_from(HOSTS)
labels = st.sampled_from(LABELS).map(Text)
numbers = st.integers(0, 40)
flows = st.integers(1, 3)
fractions = st.floats(-0.5, 1.5)
words = st.sampled_from(("loss", "cut", "held", "up", "read", "cut short", ""))
later = st.floats(0, 2) | st.just(inf)
FACTS: st.SearchStrategy[tuple[Fact, float]] = st.one_of(
    st.builds(f.HostStarted, hosts, st.integers(1, 2)),
    st.builds(f.HostCrashed, hosts),
    st.builds(f.HostFinished, hosts),
    st.builds(f.StateChanged, hosts, words, labels),
    st.builds(f.WorkStarted, hosts, labels),
    st.builds(f.WorkFinished, numbers, hosts, labels),
    st.builds(f.WaitStarted, hosts, st.sampled_from(f.WaitKind), labels),
    st.builds(f.WaitEnded, numbers, hosts, labels),
    st.builds(f.TimedOut, hosts, words, st.floats(0, 10)),
    st.builds(f.Noted, hosts, labels),
    st.builds(f.LinkChanged, hosts, hosts, words),
    st.builds(f.CommandApplied, numbers, labels),
    st.builds(f.KnobTurned, words, labels),
    st.builds(f.RunFailed, hosts, labels),
    st.builds(f.ConnectionOpening, flows, hosts, hosts, st.just(80), words),
    st.builds(f.ConnectionOpened, flows, hosts),
    st.builds(f.ConnectionClosed, flows, hosts),
    st.builds(f.ConnectionRefused, flows, hosts),
    st.builds(f.ConnectionReset, flows, hosts, words),
    st.builds(
        f.PacketSent,
        flows, hosts, hosts, st.sampled_from(PacketKind), st.sampled_from((0, 3, 5, 10)), st.integers(1, 3), later,
        st.binary(max_size=5),
    ),
    st.builds(f.PacketDelivered, numbers, flows, hosts),
    st.builds(f.PacketDropped, numbers, flows, words, fractions),
    st.builds(f.PacketHeld, numbers, flows, words),
    st.builds(f.PacketReleased, numbers, flows, later),
    st.builds(
        f.MessageStarted, flows, hosts, hosts, st.sampled_from(Role), st.sampled_from((0, 3, 5, 12)), st.integers(0, 2), labels
    ),
    st.builds(f.MessageEnded, numbers, flows, st.sampled_from((0, 5, 10, 20)), words),
    st.builds(f.PoolQueued, numbers, hosts, numbers, labels),
    st.builds(f.PoolAssigned, numbers, hosts, numbers, numbers, words),
    st.builds(f.PoolLeft, numbers, hosts, numbers, words),
    st.builds(f.PoolOpening, numbers, hosts, numbers),
    st.builds(f.PoolOpened, numbers, hosts, numbers),
).map(lambda fact: (fact, 0.0))  # fmt: skip


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    trace = Trace()
    for host in HOSTS:
        trace.record(f.HostDeclared(host), 0.0)
        trace.record(f.HostStarted(host, 1), 0.0)
    now = 0.0
    for fact, _ in draw(st.lists(FACTS, max_size=30)):
        now += draw(st.sampled_from((0.0, 0.0, 0.01, 0.1, 0.5)))
        trace.record(fact, now, draw(st.integers(-1, len(trace) - 1)))
    return trace


def prefix(trace: Trace, length: int) -> Trace:
    result = Trace()
    for recorded in trace:
        if recorded.id >= length:
            break
        result.record(recorded.fact, recorded.time_s, -1 if recorded.cause is None else recorded.cause)
    return result


def picture(
    trace: Trace, t: float, mode: Mode, detail: Detail, glyphs: Glyphs = UNICODE, width: int = 74
) -> list[Line]:
    model = SequenceModel(trace)
    model.consume()
    rows = model.row_count(t, mode, detail)
    lines = model.header(width, 0, t, glyphs)
    return lines + model.paint(Window(0, rows + 3, 0, width), t, mode, 1, glyphs, detail)


@settings(max_examples=60, deadline=None)
@given(traces(), st.floats(0, 12), st.integers(0, 130), st.integers(0, 60), st.sampled_from((UNICODE, ASCII)))
def test_any_trace_can_be_painted_and_every_line_has_the_width_asked_for(
    trace: Trace, t: float, width: int, left: int, glyphs: Glyphs
) -> None:
    model = SequenceModel(trace)
    model.consume()
    for mode in MODES:
        for detail in DETAILS:
            rows = model.row_count(t, mode, detail)
            lines = model.paint(Window(0, rows + 2, left, width), t, mode, 0, glyphs, detail)
            for line in lines + model.header(width, left, t, glyphs):
                text = line_text(line)
                assert len(text) == width
                assert text.isprintable()
                assert not glyphs.ascii_only or text.isascii()
                assert all(style in STYLES for _, style in line)
            for row in range(-1, rows + 1):
                model.is_live(row, t, mode, detail)
                model.fact_of_row(row, mode, detail)
            for fact in range(len(trace)):
                assert model.row_of_fact(fact, mode, detail) >= 0
            assert model.row_of_time(t, mode, detail) < max(1, rows)
    assert model.animating(t) in (True, False)


@settings(max_examples=60, deadline=None)
@given(traces(), st.floats(0, 8))
def test_looking_back_at_a_moment_equals_having_looked_then(trace: Trace, t: float) -> None:
    then = prefix(trace, trace.length_at(t))
    for mode in MODES:
        for detail in DETAILS:
            assert picture(trace, t, mode, detail) == picture(then, t, mode, detail)


@settings(max_examples=30, deadline=None)
@given(traces(), st.lists(st.integers(1, 5), max_size=20))
def test_reading_in_small_pieces_gives_the_same_picture(trace: Trace, pieces: list[int]) -> None:
    model = SequenceModel(trace)
    for budget in pieces:
        model.consume(budget)
    model.consume()
    whole = SequenceModel(trace)
    whole.consume()
    rows = whole.row_count(9.0)
    assert model.paint(Window(0, rows, 0, 100), 9.0) == whole.paint(Window(0, rows, 0, 100), 9.0)


@settings(max_examples=40, deadline=None)
@given(traces(), st.floats(0, 8))
def test_rows_that_are_not_live_look_the_same_at_any_later_moment(trace: Trace, t: float) -> None:
    model = SequenceModel(trace)
    model.consume()
    for detail in DETAILS:
        for row in range(model.row_count(t, COMPACT, detail)):
            if not model.is_live(row, t, COMPACT, detail):
                now, then = (
                    model.paint(Window(row, 1, 0, 90), moment, COMPACT, None, UNICODE, detail) for moment in (t, 99.0)
                )
                assert now == then


@settings(max_examples=40, deadline=None)
@given(traces())
def test_every_packet_sent_ends_visibly(trace: Trace) -> None:
    """In the detail "packets" each packet has a row, and the row says what became of it."""
    model = SequenceModel(trace)
    model.consume()
    t = trace.time[len(trace) - 1]
    for fact in range(len(trace)):
        if trace.kind[fact] != f.PacketSent.code or trace.b[fact] == trace.c[fact]:
            continue
        row = model.row_of_fact(fact, COMPACT, "packets")
        assert model.fact_of_row(row, COMPACT, "packets") == fact
        (line,) = model.paint(Window(row, 1, 0, 100), t, COMPACT, None, UNICODE, "packets")
        state = model.messages.packet_state_at(fact, t, len(trace))
        ends = {Phase.DELIVERED: "►◄", Phase.LOST: "╳", Phase.HELD: "○", Phase.IN_FLIGHT: "●"}[state.phase]
        assert any(glyph in line_text(line) for glyph in ends)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("detail", DETAILS)
def test_a_row_alone_looks_as_it_does_in_its_window(mode: Mode, detail: Detail) -> None:
    model = SequenceModel(showcase().trace)
    model.consume()
    for t in (0.1, 0.75, 0.85, 2.02):
        rows = model.row_count(t, mode, detail)
        together = model.paint(Window(0, rows, 0, 90), t, mode, None, UNICODE, detail)
        alone = [model.paint(Window(row, 1, 0, 90), t, mode, None, UNICODE, detail)[0] for row in range(rows)]
        assert alone == together


def long_trace(exchanges: int) -> Play:
    play = Play("client", "server")
    play.connect(1, "client", "server")
    for n in range(exchanges):
        play.exchange(1, f"GET /{n}", "200 OK", size=20_000 if n % 5 == 0 else 80)
    return play


@pytest.mark.parametrize("mode", [COMPACT, Mode(0.01), Mode(1.0)])
@pytest.mark.parametrize("detail", DETAILS)
def test_the_work_for_a_window_does_not_grow_with_the_run(mode: Mode, detail: Detail) -> None:
    """Counted in function calls, which do not depend on the machine: binary searches may add a few, nothing else."""

    def calls(play: Play) -> int:
        model = SequenceModel(play.trace)
        model.consume()
        t = play.now
        top = max(0, model.row_count(t, mode, detail) - 30)
        counted = 0

        def count(frame: FrameType, event: str, argument: object) -> None:
            nonlocal counted
            counted += event == "call"

        sys.setprofile(count)
        try:
            model.paint(Window(top, 30, 0, 100), t, mode, None, UNICODE, detail)
            model.header(100, 0, t)
        finally:
            sys.setprofile(None)
        return counted

    assert calls(long_trace(1_000)) < 1.2 * calls(long_trace(200))


@pytest.mark.parametrize(("latency_s", "row_s"), [(0.04, 0.01), (0.2, 0.05), (0.0004, 0.0001), (60.0, 20.0)])
def test_the_suggested_scale_shows_a_way_in_a_few_rows(latency_s: float, row_s: float) -> None:
    play = Play("client", "server", latency_s=latency_s)
    play.connect(1, "client", "server")
    model = SequenceModel(play.trace)
    model.consume()
    assert model.suggested_scale().row_s == pytest.approx(row_s)
    assert model.suggested_scale().zoomed(1).row_s < row_s < model.suggested_scale().zoomed(-1).row_s
