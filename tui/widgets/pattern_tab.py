"""The body of a tab: one pattern, one run of one of its scenarios, and the panels that show it."""

from collections.abc import Callable
from threading import Thread
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Container, Horizontal, Vertical
from textual.message import Message

from engines.lab.knobs import Value
from engines.lab.trace import Trace
from engines.pools import PoolHistory
from tui.bindings import RESERVED
from tui.engine import Engine, NumbersLike
from tui.faults import fault_states
from tui.index import TraceIndex
from tui.panels.controls import FaultRow, Row, knob_rows
from tui.panels.header import HeaderFacts
from tui.panels.keys import assign_letters
from tui.panels.lines import Line, Span, line
from tui.panels.numbers import Reading, number_lines
from tui.panels.pool import pool_lines
from tui.panels.story import StoryFacts, story_lines
from tui.panels.wire import wire_lines
from tui.playback import Playback
from tui.widgets.control_panel import ControlPanel
from tui.widgets.lines import LineView
from tui.widgets.panes import Pane
from tui.widgets.sequence import SequenceDiagram
from tui.wire import bytes_behind, bytes_that_led_to, wire_facts

if TYPE_CHECKING:
    from engines.patterns.contract import Lesson, Pattern

FACTS_A_FRAME = 20_000
SPARK_BUCKETS = 24
STORY_SENTENCES = 6
MOST_POOL_LINES = 300
"""The pane can be scrolled, but nobody reads a queue of thousands."""


class PatternTab(Container):
    """Begins its run when it is mounted. `frame` is called by the screen; it draws what has changed and says if more will."""

    class Changed(Message):
        """Something moved without the engine: the screen should draw."""

    def __init__(
        self, pattern: "Pattern", engine: Engine, *, lesson: "Lesson", seed: int, pace: float, now: Callable[[], float]
    ) -> None:
        super().__init__(id=f"pattern-{pattern.name}", classes="pattern")
        self.pattern = pattern
        self.lesson = lesson
        self.seed = seed
        self.as_hex = False
        self._engine = engine
        self._now = now
        self._selected: int | None = None
        self._drawn: tuple[object, ...] = ()
        self._keys: dict[str, str] = {}
        self._pools = PoolHistory(Trace())
        self.begin(lesson, seed, pace, {})

    # --- a run ----------------------------------------------------------------------------------------------------------

    def begin(self, lesson: "Lesson", seed: int, pace: float, knobs: dict[str, Value]) -> None:
        """A new session and everything that reads its trace."""
        self.lesson, self.seed = lesson, seed
        session = self._engine.open_session(self.pattern, lesson, seed, knobs, pace)
        self.session, self.trace = session, session.trace
        self.playback = Playback(session, [session.trace], self._now)
        self.index = TraceIndex(session.trace)
        self._starting = {knob.name: knob.format(knobs.get(knob.name, knob.default)) for knob in lesson.all_knobs()}
        self._numbers: NumbersLike = self._engine.numbers(session.trace)
        self._numbers_read = 0
        self._selected = None
        self._drawn = ()
        faults = {fault.name: fault.key for fault in lesson.faults}
        # The network's knobs choose first: their letters are the same in every scenario.
        knobs_in_turn = lesson.all_knobs()[len(lesson.knobs) :] + lesson.knobs
        names = [*faults, *(knob.name for knob in knobs_in_turn)]
        self._keys = assign_letters(names, RESERVED, faults)
        session.start()

    def restart(self, *, lesson: "Lesson | None" = None, seed: int | None = None) -> None:
        """Again from the start. The same scenario keeps its knobs as they stand; another one has its own."""
        pace = self.playback.pace
        same = lesson is None or lesson.name == self.lesson.name
        knobs = dict(self.session.knob_values()) if same else {}
        self.close_session()
        self.begin(lesson or self.lesson, self.seed if seed is None else seed, pace, knobs)
        self.diagram.show_trace(self.trace)

    def key_table(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Keys and explanations of the knobs and of the faults, for the help screen."""
        knobs = [(self._keys[knob.name], f"{knob.title}: {knob.help}") for knob in self.lesson.all_knobs()]
        faults = [(self._keys[fault.name], f"{fault.title}: {fault.help}") for fault in self.lesson.faults]
        return knobs, faults

    def close_session(self) -> None:
        """End the run without waiting for it."""
        Thread(target=self.session.close, name="closing a session", daemon=True).start()

    # --- the widgets ----------------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        with Horizontal():
            with Vertical(classes="main"):
                yield SequenceDiagram(self.trace, classes="panel")
                yield Pane(classes="panel")
            with Vertical(classes="side"):
                yield ControlPanel(classes="panel")
                yield LineView(classes="panel pool")
                yield LineView(classes="panel numbers")

    def on_mount(self) -> None:
        self.diagram.border_title = " sequence "
        self.numbers_view.border_title = "numbers "
        self.numbers_view.can_focus = False
        self.pool_view.border_title = "pool "
        self.pool_view.can_focus = False

    def look_changed(self) -> None:
        """Another theme or another set of glyphs: everything is drawn anew."""
        self._drawn = ()
        self.pane.turn_to(self.pane.shown)

    @property
    def diagram(self) -> SequenceDiagram:
        return self.query_one(SequenceDiagram)

    @property
    def controls(self) -> ControlPanel:
        return self.query_one(ControlPanel)

    @property
    def pane(self) -> Pane:
        return self.query_one(Pane)

    @property
    def numbers_view(self) -> LineView:
        return self.query_one(".numbers", LineView)

    @property
    def pool_view(self) -> LineView:
        return self.query_one(".pool", LineView)

    def on_sequence_diagram_row_selected(self, event: SequenceDiagram.RowSelected) -> None:
        event.stop()
        self._selected = event.fact_id
        self.post_message(self.Changed())

    # --- a frame --------------------------------------------------------------------------------------------------------

    def playhead(self, *, motion: bool) -> float:
        """Where the playhead is drawn: without motion, at the latest fact instead of between two."""
        return self.playback.shown_s(motion=motion)

    def header(self, *, motion: bool) -> HeaderFacts:
        playback = self.playback
        return HeaderFacts(
            pattern=f"{self.pattern.key} {self.pattern.title}",
            tab=f"{self.pattern.key} {self.pattern.tab}",
            scenario=self.lesson.title,
            standing=playback.standing,
            playhead_s=self.playhead(motion=motion),
            pace=playback.pace,
            seed=self.seed,
            rolling=playback.rolling,
        )

    def frame(self, *, motion: bool, full: bool = True) -> bool:
        """Draw what has changed since the last frame; true if there is more to come by itself.

        A frame that is not `full` leaves out the numbers and the pane: nobody reads them eighteen times a second.
        """
        self.playback.settle()
        behind = self.index.consume(FACTS_A_FRAME)
        behind = bool(self.diagram.consume(FACTS_A_FRAME)) or behind
        time_s = self.playhead(motion=motion)
        self.diagram.tick(time_s)
        self.controls.show_rows(self._rows(time_s), frozen=self.playback.in_review)
        behind = self._read_pools() or behind
        late = self._draw_slow_panels(time_s, full=full)
        return behind or late or self.playback.moving

    def _read_pools(self) -> bool:
        """Take in what happened in pools; a run in which one ever matters shows it. True if there is more to read."""
        if self._pools.trace is not self.trace:
            self._pools = PoolHistory(self.trace)
        behind = self._pools.consume(FACTS_A_FRAME)
        self.set_class(self._pools.mattered, "-with-pool")
        self.pane.offer(["pool"] if self._pools.mattered else [])
        return behind

    def _rows(self, time_s: float) -> list[Row]:
        texts = {**self._starting, **self.index.knobs_at(time_s)}
        rows = knob_rows(self.lesson.all_knobs(), texts, self._keys)
        states = fault_states(self.lesson.faults, self.index.commands_at(time_s))
        rows += [
            FaultRow(self._keys[fault.name], fault, state.on, state.times)
            for fault, state in zip(self.lesson.faults, states, strict=True)
        ]
        return rows

    def _draw_slow_panels(self, time_s: float, *, full: bool) -> bool:
        """Numbers and pane follow the facts, not the clock: they are made anew only when a fact or the selection is new.

        True if they are out of date and were left so.
        """
        length = min(self.trace.length_at(time_s), self._numbers_read + FACTS_A_FRAME)
        self._numbers_read = max(self._numbers_read, length)
        pane = self.pane
        state = (
            length, self._selected, self.diagram.detail, pane.shown, self.as_hex, pane.room, self.numbers_view.room, pane.glyphs,
            self.app.theme, self.playback.message, self.pool_view.room, self._pools.seen,
            round(time_s, 1) if self._pools.mattered else 0.0,  # it tells for how long
        )  # fmt: skip
        if state == self._drawn:
            return False
        if not full:
            return True
        self._drawn = state
        if self.numbers_view.is_on_screen:
            lines = number_lines(self._readings(time_s, length), self.numbers_view.room.width, pane.glyphs)
            self.numbers_view.show(lines)
        if self.pool_view.is_on_screen:
            self.pool_view.show(self._pool_lines(time_s, self.pool_view, self.pool_view.room.height))
        if pane.is_on_screen:
            pane.show_pane(_PANE_LINES[pane.shown](self, time_s))
        return False

    def _readings(self, time_s: float, length: int) -> list[Reading]:
        numbers = self._numbers
        return [
            Reading(
                self._engine.metric_title(name),
                numbers.text(name, time_s, length),
                tuple(numbers.series(name, time_s, SPARK_BUCKETS, length=length)),
            )
            for name in self.lesson.metrics
        ]

    def story_pane(self, time_s: float) -> list[Line]:
        room = self.pane.room
        chosen = self._chosen(time_s)
        trace, lesson, length = self.trace, self.lesson, self.trace.length_at(time_s)
        explained = () if chosen is None else self._engine.explain(trace, chosen, lesson)
        told = self._engine.tell(trace, length, lesson, STORY_SENTENCES)
        first = self._engine.suggest(trace, length, lesson)
        place = lesson.try_next.index(first) if first in lesson.try_next else 0
        facts = StoryFacts(lesson.purpose, told, explained, lesson.try_next[place:] + lesson.try_next[:place])
        return story_lines(facts, room.width, room.height, self.pane.glyphs)

    def wire_pane(self, time_s: float) -> list[Line]:
        """The bytes of the selected row, or of the newest message while nothing is selected."""
        chosen = self._chosen(time_s)
        if self._selected is None:
            fact_id = self.index.newest_message(time_s)
        else:
            packets = self.diagram.detail == "packets"
            fact_id = None if chosen is None else bytes_behind(self.index, chosen, time_s, packets=packets)
        above: list[Line] = []
        if fact_id is None and chosen is not None:
            fact_id = bytes_that_led_to(self.index, chosen, time_s)
            above = [line(Span(" No bytes of its own; these led to it:", "muted"))]
        if fact_id is None:
            return [line(Span(" No bytes here. Choose an arrow in the diagram: up and down, or a click.", "muted"))]
        facts = wire_facts(self._engine, self.index, fact_id, time_s)
        return above + wire_lines(facts, self.pane.room.width, self.pane.glyphs, as_hex=self.as_hex)

    def pool_pane(self, time_s: float) -> list[Line]:
        return self._pool_lines(time_s, self.pane, MOST_POOL_LINES)

    def _pool_lines(self, time_s: float, view: LineView, height: int) -> list[Line]:
        pools = self._pools.at(self.trace.length_at(time_s))
        return pool_lines(pools, time_s, view.room.width, height, view.glyphs)

    def _chosen(self, time_s: float) -> int | None:
        """The selected fact, if it had happened by `time_s`."""
        chosen = self._selected
        happened = chosen is not None and chosen < self.index.seen and self.trace.time[chosen] <= time_s
        return chosen if happened else None


_PANE_LINES: dict[str, Callable[[PatternTab, float], list[Line]]] = {
    "story": PatternTab.story_pane,
    "wire": PatternTab.wire_pane,
    "pool": PatternTab.pool_pane,
}
