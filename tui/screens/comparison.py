"""Several patterns at the same work, side by side under one clock: their diagrams, one table, and the knobs they share."""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from threading import Thread

from textual import events
from textual.app import ComposeResult
from textual.containers import Container, Horizontal, Vertical

from engines.comparison import EVENT_METRICS, Contender, shared_settings
from engines.lab.knobs import NETWORK_KNOBS, Value
from tui.bindings import COMPARISON_ACTIONS, RESERVED, bindings
from tui.engine import Engine
from tui.ensemble import Ensemble, Member, shared_faults, shared_knobs
from tui.faults import fault_states
from tui.index import TraceIndex
from tui.panels.choosing import workload_title
from tui.panels.comparison import comparison_table, table_lines, window
from tui.panels.controls import FaultRow, Row, knob_rows
from tui.panels.header import HeaderFacts, TabFacts
from tui.panels.keys import assign_letters
from tui.panels.lines import wrap
from tui.playback import Playback
from tui.screens.finding import Findable, orders_of
from tui.screens.travel import TravelScreen
from tui.view.sequence import Mode
from tui.widgets.control_panel import ControlPanel
from tui.widgets.lines import LineView
from tui.widgets.sequence import SequenceDiagram
from tui.widgets.table import TableView
from tui.widgets.top import FooterBar, HeaderView, ScrubBar, TabBar

FACTS_A_FRAME = 10_000
FIRST_HINT = "tab or } goes to the next pattern, letters turn knobs for all, ? tells it all"


class Run:
    """One of the runs, with what reads its trace."""

    def __init__(self, engine: Engine, contender: Contender, seed: int, knobs: Mapping[str, Value]) -> None:
        self.contender = contender
        self.session = engine.open_session(contender.pattern, contender.lesson, seed, knobs, 1.0, paused=True)
        self.member = Member(contender.pattern.title, contender.lesson, self.session)
        self.trace = self.session.trace
        self.index = TraceIndex(self.trace)
        self._numbers = engine.numbers(self.trace)
        self._read = 0
        self._starting = {knob.name: knob.format(knobs[knob.name]) for knob in contender.lesson.all_knobs()}

    def length_at(self, time_s: float) -> int:
        """The facts to count at `time_s`: all, or as many as can be read in a frame."""
        length = min(self.trace.length_at(time_s), self._read + FACTS_A_FRAME)
        self._read = max(self._read, length)
        return length

    def values(self, time_s: float, length: int) -> dict[str, float | None]:
        return {name: self._numbers.value(name, time_s, length) for name in EVENT_METRICS}

    def knob_texts(self, time_s: float) -> dict[str, str]:
        return {**self._starting, **self.index.knobs_at(time_s)}


class ComparisonScreen(TravelScreen):
    """Begins its runs at once, and ends them when it is left."""

    BINDINGS = bindings(COMPARISON_ACTIONS)
    _seeds = Random()

    def __init__(
        self,
        engine: Engine,
        group: Sequence[Contender],
        *,
        seed: int,
        pace: float,
        now: Callable[[], float],
        frames: int,
    ) -> None:
        super().__init__(now, frames)
        self._engine = engine
        self._group = tuple(group)
        self._focused = 0
        self._first = 0
        self._drawn: tuple[object, ...] = ()
        self._leaving = False
        self._notice = FIRST_HINT
        self._begin(seed, pace, shared_settings(self._group, {}))
        self._diagrams = [SequenceDiagram(run.trace, classes="panel") for run in self.runs]

    # --- the runs -------------------------------------------------------------------------------------------------------

    def _begin(self, seed: int, pace: float, knobs: Sequence[Mapping[str, Value]]) -> None:
        self.seed = seed
        self.runs = [Run(self._engine, c, seed, values) for c, values in zip(self._group, knobs, strict=True)]
        members = [run.member for run in self.runs]
        self.ensemble = Ensemble(members, self._now, pace)
        self._playback = Playback(self.ensemble, [run.trace for run in self.runs], self._now)
        self._knobs = shared_knobs(members)
        self._faults = shared_faults(members)
        network = [knob.name for knob in NETWORK_KNOBS]
        own = [knob.name for knob in self._knobs if knob.name not in network]
        # The network's knobs choose first: their letters are the same everywhere.
        names = [*(fault.name for fault in self._faults), *network, *own]
        self._keys = assign_letters(names, RESERVED, {fault.name: fault.key for fault in self._faults})
        self._drawn = ()
        self.ensemble.start()

    def _close(self) -> None:
        """End the runs without waiting for them."""
        Thread(target=self.ensemble.close, name="closing a comparison", daemon=True).start()

    def on_unmount(self) -> None:
        self._close()

    def action_restart(self, new_seed: bool) -> None:
        seed = self._seeds.randrange(1, 10_000) if new_seed else self.seed
        pace, knobs = self.playback.pace, [dict(run.session.knob_values()) for run in self.runs]
        self._close()
        self._begin(seed, pace, knobs)
        for diagram, run in zip(self._diagrams, self.runs, strict=True):
            diagram.show_trace(run.trace)
        self.notify_line(f"again from the start, {'new ' if new_seed else ''}seed {seed}; knobs as they stood")
        self.wake()

    # --- what stands where ----------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        with Horizontal(id="top"):
            yield HeaderView()
            yield ScrubBar()
        yield TabBar()
        with Container(id="bodies", classes="comparison"):
            with Horizontal(classes="contest"):
                yield from self._diagrams
            with Horizontal(classes="results"):
                yield TableView(classes="panel")
                with Vertical(classes="side"):
                    yield ControlPanel(classes="panel")
        yield FooterBar()
        yield LineView(id="too-small")

    def on_mount(self) -> None:
        self.set_class(self.lab.ascii, "-ascii")
        self.table.border_title = " numbers "
        self.controls.border_title = "knobs of several "
        for run, diagram in zip(self.runs, self._diagrams, strict=True):
            diagram.border_title = f" {run.contender.pattern.title} "
        super().on_mount()
        self._place_diagrams()
        self.call_after_refresh(self.wake)

    @property
    def playback(self) -> Playback:
        return self._playback

    @property
    def diagrams(self) -> Sequence[SequenceDiagram]:
        return self._diagrams

    @property
    def indexes(self) -> Sequence[TraceIndex]:
        return [run.index for run in self.runs]

    @property
    def controls(self) -> ControlPanel:
        return self.query_one(ControlPanel)

    @property
    def table(self) -> TableView:
        return self.query_one(TableView)

    @property
    def body(self) -> Container:
        return self.query_one(".comparison", Container)

    def _place_diagrams(self) -> None:
        """Show as many as fit, the focused one among them."""
        shown = window(self._focused, self._first, len(self._diagrams), self.size.width or self.app.size.width)
        self._first = shown.start
        for place, diagram in enumerate(self._diagrams):
            diagram.display = place in shown

    def on_resize(self, event: events.Resize) -> None:
        text = self.too_small(*event.size)
        self.query_one("#too-small", LineView).show(wrap(text, event.size.width, "strong"))
        self._place_diagrams()
        self.call_after_refresh(self.wake)

    def look_changed(self) -> None:
        self._drawn = ()
        self.wake()

    # --- a frame --------------------------------------------------------------------------------------------------------

    def draw(self, *, full: bool = True) -> bool:
        if not self.is_mounted or not self.is_attached:
            return False
        more = self.ensemble.keep_up()
        self.playback.settle()
        time_s = self.playback.shown_s(motion=self.lab.motion)
        for run, diagram in zip(self.runs, self._diagrams, strict=True):
            more = run.index.consume(FACTS_A_FRAME) or more
            more = diagram.consume(FACTS_A_FRAME) or more
        self._share_scale()
        for diagram in self._diagrams:
            if diagram.display:
                diagram.tick(time_s)
        self.controls.show_rows(self._rows(time_s), frozen=self.playback.in_review)
        more = self._draw_table(time_s, full=full) or more
        self._draw_around(time_s)
        return more or self.playback.moving

    def _share_scale(self) -> None:
        """Equal steps of time are equal in all: whoever has the focus sets them."""
        row_s = self._diagrams[self._focused].row_s
        for diagram in self._diagrams:
            if row_s and diagram.row_s != row_s:
                diagram.mode = Mode(row_s)

    def _rows(self, time_s: float) -> list[Row]:
        texts: dict[str, str] = {}
        for run in reversed(self.runs):  # the first that has a knob declares it, so it also says where it stands
            texts |= run.knob_texts(time_s)
        rows = knob_rows(self._knobs, texts, self._keys)
        for fault in self._faults:
            owner = next(
                r for r in self.runs if any((f.on, f.off) == (fault.on, fault.off) for f in r.contender.lesson.faults)
            )
            (state,) = fault_states([fault], owner.index.commands_at(time_s))
            rows.append(FaultRow(self._keys[fault.name], fault, state.on, state.times))
        return rows

    def _draw_table(self, time_s: float, *, full: bool) -> bool:
        """Made anew when a fact is new; true if it is out of date and was left so."""
        lengths = tuple(run.length_at(time_s) for run in self.runs)
        over = tuple(run.member.over for run in self.runs)
        table = self.table
        state = (lengths, over, self._focused, table.room, table.glyphs, self.app.theme)
        if state == self._drawn:
            return False
        if not full:
            return True
        self._drawn = state
        if table.is_on_screen:
            heads = [run.contender.pattern.name for run in self.runs]
            values = [run.values(time_s, length) for run, length in zip(self.runs, lengths, strict=True)]
            numbers = comparison_table(heads, values)
            table.show(table_lines(numbers, table.room.width, table.glyphs, focused=self._focused, over=over))
        return False

    def _draw_around(self, time_s: float) -> None:
        playback = self.playback
        facts = HeaderFacts(
            pattern="Comparison",
            tab="Compare",
            scenario=workload_title(self._group[0].lesson.workload),
            standing=playback.standing,
            playhead_s=time_s,
            pace=playback.pace,
            seed=self.seed,
            rolling=playback.rolling,
        )
        self.query_one(HeaderView).show_facts(facts)
        live = playback.live_s
        place = time_s / live if live > 0 and playback.in_review else 1.0
        self.query_one(ScrubBar).show_fraction(place, playback.in_review)
        patterns = [run.contender.pattern for run in self.runs]
        tabs = [
            TabFacts(p.key, p.tab, f"screen.open_pattern({p.name!r})", place == self._focused)
            for place, p in enumerate(patterns)
        ]
        self.query_one(TabBar).show_tabs(tabs)
        notice = self._notice or playback.message
        self.query_one(FooterBar).show_hints(self.hints(COMPARISON_ACTIONS, turning=self.controls.has_focus), notice)

    # --- going about ----------------------------------------------------------------------------------------------------

    def go_to(self, place: int) -> None:
        """Bring that pattern's diagram in sight, with the focus on it."""
        self._focused = place % len(self._diagrams)
        self._place_diagrams()
        self.set_focus(self._diagrams[self._focused])
        self.call_after_refresh(self.wake)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if event.widget in self._diagrams:
            self._focused = self._diagrams.index(event.widget)
            self.wake()

    def action_turn_tab(self, steps: int) -> None:
        self.go_to(self._focused + steps)

    def action_open_pattern(self, name: str) -> None:
        for place, run in enumerate(self.runs):
            if run.contender.pattern.name == name:
                self.go_to(place)

    def action_diagram(self) -> None:
        """From the knobs or the table to the diagrams; from there back to the lesson."""
        elsewhere = not self._diagrams[self._focused].has_focus
        if elsewhere or self.body.has_class("-with-controls") or self.body.has_class("-zoomed"):
            self.body.remove_class("-with-controls", "-zoomed")
            self.go_to(self._focused)
        elif not self._leaving:
            self._leaving = True
            self.dismiss(None)

    def action_controls(self) -> None:
        if self.controls.has_focus:
            self.action_diagram()
            return
        self._reveal_controls()
        self.set_focus(self.controls)
        self.wake()

    def _reveal_controls(self) -> None:
        self.body.remove_class("-zoomed", "-without-results").add_class("-with-controls")

    def action_numbers(self) -> None:
        self.body.remove_class("-zoomed", "-with-controls").toggle_class("-without-results")
        self.go_to(self._focused)

    def action_zoom(self) -> None:
        self.body.toggle_class("-zoomed")
        self.go_to(self._focused)

    def findable(self) -> Findable:
        knobs = [(self._keys[knob.name], f"{knob.title}: {knob.help}") for knob in self._knobs]
        faults = [(self._keys[fault.name], f"{fault.title}: {fault.help}") for fault in self._faults]
        patterns = [run.contender.pattern for run in self.runs]
        return Findable(self.lab.keys_shown, COMPARISON_ACTIONS, patterns, knobs, faults, orders_of(self._faults))

    def on_key(self, event: events.Key) -> None:
        """Digits go to patterns, letters work knobs and faults."""
        self._notice = ""
        self.wake()
        if not event.character:
            return
        place = next((n for n, run in enumerate(self.runs) if run.contender.pattern.key == event.character), None)
        if place is not None:
            event.stop()
            self.go_to(place)
        elif (row := self.controls.press_letter(event.character)) is not None:
            event.stop()
            if self.controls.wants_cursor(row):
                self._reveal_controls()
                self.set_focus(self.controls)

    def on_control_panel_ordered(self, event: ControlPanel.Ordered) -> None:
        event.stop()
        self.order(event.command)

    def on_control_panel_refused(self, event: ControlPanel.Refused) -> None:
        event.stop()
        self.notify_line(event.reason)

    def on_control_panel_left(self) -> None:
        self.action_diagram()

    def on_scrub_bar_scrubbed(self, event: ScrubBar.Scrubbed) -> None:
        self.seek(event.fraction * self.playback.live_s)
