"""The body of a tab: one pattern, one run of one of its scenarios, and the panels that show it."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Container, Horizontal, Vertical
from textual.content import Content
from textual.message import Message

from engines.demos import Demo
from engines.lab.facts import Fact, MessageStarted, PacketSent
from engines.lab.trace import Trace
from tui.beginning import Beginning
from tui.bindings import RESERVED
from tui.code_watch import CodeWatch
from tui.engine import Engine
from tui.index import TraceIndex
from tui.panels.code import code_lines, columns
from tui.panels.header import HeaderFacts
from tui.panels.keys import assign_letters
from tui.panels.lines import Line, Span, line
from tui.panels.numbers import number_lines
from tui.panels.pool import pool_lines
from tui.panels.story import Link, StoryFacts, story_lines
from tui.panels.timeline import timeline_lines
from tui.panels.wire import wire_lines
from tui.playback import Playback, SessionLike
from tui.runs import Run
from tui.this_message import Chosen, chosen_message, packet_or_its_cause
from tui.timelines import Timelines
from tui.widgets.control_panel import ControlPanel
from tui.widgets.lines import LineView
from tui.widgets.panes import Pane
from tui.widgets.sequence import SequenceDiagram
from tui.wire import bytes_behind, bytes_that_led_to, wire_facts

if TYPE_CHECKING:
    from engines.patterns.contract import Lesson, Pattern

STORY_SENTENCES = 6
MOST_POOL_LINES = 300
"""The pane can be scrolled, but nobody reads a queue of thousands."""


class PatternTab(Container):
    """Begins its run when it is mounted. `frame` is called by the screen; it draws what has changed and says if more will."""

    class Changed(Message):
        """Something moved without the engine: the screen should draw."""

    def __init__(
        self, pattern: "Pattern", engine: Engine, *, lesson: "Lesson", beginning: Beginning, now: Callable[[], float]
    ) -> None:
        super().__init__(id=f"pattern-{pattern.name}", classes="pattern")
        self.pattern = pattern
        self.lesson = lesson
        self.as_hex = False
        self._engine = engine
        self._now = now
        self._selected: int | None = None
        self._drawn: tuple[object, ...] = ()
        self._titles = ("", "")
        self._keys: dict[str, str] = {}
        self.code = CodeWatch()
        self._begin(lesson, beginning)

    # --- a run ----------------------------------------------------------------------------------------------------------

    def _begin(self, lesson: "Lesson", beginning: Beginning) -> None:
        """A new run, and the keys of its knobs and faults."""
        self.lesson, self.beginning = lesson, beginning
        self.timelines = Timelines(self._engine, self.pattern, lesson, beginning, now=self._now)
        self._selected = None
        self._shown = self.run
        self._drawn = ()
        faults = {fault.name: fault.key for fault in lesson.faults}
        # The network's knobs choose first: their letters are the same in every scenario.
        knobs_in_turn = lesson.all_knobs()[len(lesson.knobs) :] + lesson.knobs
        names = [*faults, *(knob.name for knob in knobs_in_turn)]
        self._keys = assign_letters(names, RESERVED, faults)

    def restart(self, *, lesson: "Lesson | None" = None, seed: int | None = None) -> None:
        """Again from the start. The same scenario keeps its knobs as they stand, a demo its commands; another one has its own."""
        beginning = self.beginning.plain()
        if lesson is None or lesson.name == self.lesson.name:
            demo = self.beginning.commands
            knobs = self.beginning.knobs if demo else self.session.knob_values()
            beginning = replace(beginning, knobs=dict(knobs), commands=demo)
        if seed is not None:
            beginning = replace(beginning, seed=seed)
        self.close_session()
        self._begin(lesson or self.lesson, replace(beginning, pace=self.playback.pace))
        self.diagram.show_trace(self.run.model)

    @property
    def seed(self) -> int:
        return self.beginning.seed

    def demo(self) -> Demo:
        """Everything that makes the run that is shown; in review, to be watched from here on."""
        run, playback = self.run, self.playback
        start_at_s = round(playback.playhead_s, 3) if playback.in_review else 0.0
        return Demo(self.pattern, run.lesson, run.seed, run.knobs, tuple(run.session.commands), start_at_s)

    @property
    def run(self) -> Run:
        """The run that is shown: the one that was begun, or a branch of it."""
        return self.timelines.run

    @property
    def session(self) -> SessionLike:
        return self.run.session

    @property
    def trace(self) -> Trace:
        return self.run.trace

    @property
    def playback(self) -> Playback:
        return self.run.playback

    @property
    def index(self) -> TraceIndex:
        return self.run.index

    def key_table(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Keys and explanations of the knobs and of the faults, for the help screen."""
        knobs = [(self._keys[knob.name], f"{knob.title}: {knob.help}") for knob in self.lesson.all_knobs()]
        faults = [(self._keys[fault.name], f"{fault.title}: {fault.help}") for fault in self.lesson.faults]
        return knobs, faults

    def close_session(self) -> None:
        """End its runs without waiting for them."""
        self.code.rest()
        self.timelines.close()

    # --- the widgets ----------------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        with Horizontal():
            with Vertical(classes="main"):
                yield SequenceDiagram(self.run.model, classes="panel")
                yield Pane(classes="panel")
            with Vertical(classes="side"):
                yield ControlPanel(classes="panel")
                yield LineView(classes="panel pool")
                yield LineView(classes="panel numbers")

    def on_mount(self) -> None:
        self.numbers_view.border_title = "numbers "
        self.numbers_view.can_focus = False
        self.pool_view.border_title = "pool "
        self.pool_view.can_focus = False

    def _name_panels(self) -> None:
        """Say over the diagram which of the runs it shows, once there are several, and over the knobs what turning one means."""
        tree, glyphs = self.timelines.tree, self.pane.glyphs
        name = f"branch {tree.current.number}: {tree.current.name}" if tree.current.number else tree.current.name
        sequence = f" sequence {glyphs.into} {name} " if len(tree) > 1 else " sequence "
        knobs = f"knobs: what if {glyphs.ellipsis} " if self.playback.in_review else "knobs "
        if (sequence, knobs) != self._titles:
            self._titles = (sequence, knobs)
            self.diagram.border_title = Content(sequence)
            self.controls.border_title = Content(knobs)

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
        playback, branch = self.playback, self.timelines.tree.current
        return HeaderFacts(
            pattern=f"{self.pattern.key} {self.pattern.title}",
            tab=f"{self.pattern.key} {self.pattern.tab}",
            scenario=self.lesson.title,
            standing=playback.standing,
            playhead_s=self.playhead(motion=motion),
            pace=playback.pace,
            seed=self.seed,
            rolling=playback.rolling,
            branch=(f"branch {branch.number}", f"what if: {branch.name}") if branch.number else None,
        )

    def frame(self, *, motion: bool, full: bool = True) -> bool:
        """Draw what has changed since the last frame; true if there is more to come by itself.

        A frame that is not `full` leaves out the numbers and the pane: nobody reads them eighteen times a second.
        """
        more = self.timelines.tend()
        run = self.run
        if run is not self._shown:
            self._turn_to(run)
        self._name_panels()
        run.playback.settle()
        more = run.consume() or more
        time_s = self.playhead(motion=motion)
        self.diagram.tick(time_s)
        self.controls.show_rows(run.rows(time_s, self._keys, self.timelines.asked_texts()), frozen=False)
        pooled = run.pools.mattered(run.trace.length_at(time_s))
        self.set_class(pooled, "-with-pool")
        self.pane.offer(["pool"] if pooled else [])
        if self.pane.shown == "code" and self.pane.is_on_screen:
            more = self.code.look(run, time_s) or more
        else:
            self.code.rest()
        more = self._draw_slow_panels(time_s, full=full) or more
        return more or run.playback.moving

    def _turn_to(self, run: Run) -> None:
        """Show another branch. What is selected stays so if it happened there as well."""
        selected, before = self._selected, self._shown.trace
        self._shown, self._drawn = run, ()
        self.diagram.show_branch(run.model)
        if selected is not None and (selected >= len(run.trace) or run.trace[selected] != before[selected]):
            self._selected = self.diagram.cursor = None
        self.diagram.follow()

    def _draw_slow_panels(self, time_s: float, *, full: bool) -> bool:
        """Numbers and pane follow the facts, not the clock: they are made anew only when a fact or the selection is new.

        True if they are out of date and were left so.
        """
        length = self.run.counted(time_s)
        pane = self.pane
        state = (
            length, self._selected, self.diagram.detail, pane.shown, self.as_hex, pane.room, self.numbers_view.room, pane.glyphs,
            self.app.theme, self.playback.message, self.pool_view.room, self.run.pools.seen, self.code.version,
            round(time_s, 1) if self.has_class("-with-pool") else 0.0,  # it tells for how long
        )  # fmt: skip
        if state == self._drawn:
            return False
        if not full:
            return True
        self._drawn = state
        if self.numbers_view.is_on_screen:
            lines = number_lines(self.run.readings(time_s, length), self.numbers_view.room.width, pane.glyphs)
            self.numbers_view.show(lines)
        if self.pool_view.is_on_screen:
            self.pool_view.show(self._pool_lines(time_s, self.pool_view, self.pool_view.room.height))
        if pane.is_on_screen:
            pane.show_pane(_PANE_LINES[pane.shown](self, time_s))
        return False

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
        chosen, fact_id = self._chosen(time_s), self._behind(time_s)
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
        pools = self.run.pools.at(self.trace.length_at(time_s))
        return pool_lines(pools, time_s, view.room.width, height, view.glyphs)

    def code_pane(self, time_s: float) -> list[Line]:
        """Where the two hosts of the selected message stand, or of the newest; or the first two."""
        fact_id = self._behind(time_s)
        hosts = [host.name for host in self.lesson.hosts]
        talking = _hosts_of(self.trace[fact_id].fact) if fact_id is not None else ()
        shown = [host for host in hosts if host in talking] or hosts[:2]
        return code_lines(
            columns(shown, self.code.found), self.pane.room.width, self.pane.room.height, self.pane.glyphs
        )

    def timeline_pane(self, time_s: float) -> list[Line]:
        """The newest requests and events, as many as there is room for."""
        bars = self.run.bars(time_s, max(4, self.pane.room.height - 1))
        return timeline_lines(bars, time_s, self.pane.room.width, self.pane.glyphs, self._behind(time_s))

    def _behind(self, time_s: float) -> int | None:
        """The message or packet behind the selected row, or the newest message while nothing is selected."""
        if self._selected is None:
            return self.index.newest_message(time_s)
        chosen, packets = self._chosen(time_s), self.diagram.detail == "packets"
        return None if chosen is None else bytes_behind(self.index, chosen, time_s, packets=packets)

    def chosen_message(self) -> Chosen | None:
        """What can be done about that message, or the one that led to the selected row; None when there is none."""
        time_s, selected = self.playback.playhead_s, self._selected
        # A row that was chosen later than the playhead stands for a message all the same.
        known_s = time_s if selected is None else max(time_s, self.trace.time[selected])
        fact_id = self._behind(known_s)
        if fact_id is None and selected is not None:
            fact_id = packet_or_its_cause(self.index, selected, known_s)
        return None if fact_id is None else chosen_message(self.run, fact_id, time_s)

    def why(self, most: int) -> tuple[Link, ...]:
        """What the selected row followed from, or the newest message; nothing when there is neither."""
        chosen = self._selected if self._selected is not None else self._behind(self.playback.playhead_s)
        return self._engine.why(self.trace, chosen, self.lesson, most) if chosen is not None else ()

    def _chosen(self, time_s: float) -> int | None:
        """The selected fact, if it had happened by `time_s`."""
        chosen = self._selected
        happened = chosen is not None and chosen < self.index.seen and self.trace.time[chosen] <= time_s
        return chosen if happened else None


_PANE_LINES: dict[str, Callable[[PatternTab, float], list[Line]]] = {
    "story": PatternTab.story_pane,
    "wire": PatternTab.wire_pane,
    "pool": PatternTab.pool_pane,
    "code": PatternTab.code_pane,
    "timeline": PatternTab.timeline_pane,
}


def _hosts_of(fact: Fact) -> tuple[str, str] | tuple[()]:
    return (fact.sender, fact.receiver) if isinstance(fact, MessageStarted | PacketSent) else ()
