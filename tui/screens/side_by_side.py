"""Several runs side by side under one clock: their diagrams, one table, and the knobs they share. Which runs, others say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual import events
from textual.app import ComposeResult
from textual.containers import Container, Horizontal, Vertical

from engines.lab.knobs import NETWORK_KNOBS
from tui.bindings import RESERVED, Action
from tui.ensemble import Ensemble, Member, shared_faults, shared_knobs
from tui.faults import fault_states
from tui.index import TraceIndex
from tui.panels.comparison import window
from tui.panels.controls import FaultRow, Row, knob_rows
from tui.panels.header import HeaderFacts, TabFacts
from tui.panels.keys import assign_letters
from tui.panels.lines import Line, wrap
from tui.playback import Playback
from tui.runs import Run
from tui.screens.finding import Findable, orders_of
from tui.screens.travel import TravelScreen
from tui.view.sequence import Mode
from tui.widgets.control_panel import ControlPanel
from tui.widgets.lines import LineView
from tui.widgets.sequence import SequenceDiagram
from tui.widgets.table import TableView
from tui.widgets.top import FooterBar, HeaderView, ScrubBar, TabBar

FACTS_A_FRAME = 10_000


@dataclass(frozen=True, slots=True)
class Side:
    """One of the runs, and what it is called: over its diagram, at the head of its column, on its tab (with the key to it)."""

    run: Run
    title: str
    head: str
    key: str
    label: str
    action: str

    @property
    def member(self) -> Member:
        return Member(self.title, self.run.lesson, self.run.session)


class SideBySideScreen(TravelScreen):
    """What the screens of this kind have in common. `actions` are those that its keys do."""

    actions: Sequence[Action]
    knobs_title = "knobs of several "

    def __init__(self, sides: Sequence[Side], *, pace: float, now: Callable[[], float], frames: int) -> None:
        super().__init__(now, frames)
        self._focused = 0
        self._first = 0
        self._drawn: tuple[object, ...] = ()
        self._leaving = False
        self._take(sides, pace)
        self._diagrams = [SequenceDiagram(side.run.model, classes="panel") for side in self.sides]

    # --- what each of them says -----------------------------------------------------------------------------------------

    def heading(self, time_s: float) -> HeaderFacts:
        """The line at the top."""
        raise NotImplementedError

    def results(self, lengths: Sequence[int], time_s: float) -> list[Line]:
        """The lines of the table, with the numbers of each run after so many facts."""
        raise NotImplementedError

    # --- the runs -------------------------------------------------------------------------------------------------------

    def _take(self, sides: Sequence[Side], pace: float, clock_s: float = 0.0) -> None:
        """Show these runs from here on."""
        self.sides = list(sides)
        self.members = [side.member for side in self.sides]
        self.ensemble = Ensemble(self.members, self._now, pace, clock_s)
        self._playback = Playback(self.ensemble, [side.run.trace for side in self.sides], self._now)
        self._knobs = shared_knobs(self.members)
        self._faults = shared_faults(self.members)
        network = [knob.name for knob in NETWORK_KNOBS]
        own = [knob.name for knob in self._knobs if knob.name not in network]
        # The network's knobs choose first: their letters are the same everywhere.
        names = [*(fault.name for fault in self._faults), *network, *own]
        self._keys = assign_letters(names, RESERVED, {fault.name: fault.key for fault in self._faults})
        self._drawn = ()

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
        self.controls.border_title = self.knobs_title
        for side, diagram in zip(self.sides, self._diagrams, strict=True):
            diagram.border_title = f" {side.title} "
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
        return [side.run.index for side in self.sides]

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
        for side in self.sides:
            more = side.run.consume(FACTS_A_FRAME) or more
        more = self.look_closer() or more
        self._share_scale()
        for diagram in self._diagrams:
            if diagram.display:
                diagram.tick(time_s)
        self.controls.show_rows(self._rows(time_s), frozen=self.playback.in_review)
        more = self._draw_table(time_s, full=full) or more
        self._draw_around(time_s)
        return more or self.playback.moving

    def look_closer(self) -> bool:
        """Whatever else there is to read in a frame; true if there is more of it."""
        return False

    def _share_scale(self) -> None:
        """Equal steps of time are equal in all: whoever has the focus sets them."""
        row_s = self._diagrams[self._focused].row_s
        for diagram in self._diagrams:
            if row_s and diagram.row_s != row_s:
                diagram.mode = Mode(row_s)

    def _rows(self, time_s: float) -> list[Row]:
        texts: dict[str, str] = {}
        for side in reversed(self.sides):  # the first that has a knob declares it, so it also says where it stands
            texts |= side.run.knob_texts(time_s)
        rows = knob_rows(self._knobs, texts, self._keys)
        for fault in self._faults:
            owner = next(
                side.run
                for side in self.sides
                if (fault.on, fault.off) in [(f.on, f.off) for f in side.run.lesson.faults]
            )
            (state,) = fault_states([fault], owner.index.commands_at(time_s))
            rows.append(FaultRow(self._keys[fault.name], fault, state.on, state.times))
        return rows

    @property
    def over(self) -> tuple[bool, ...]:
        """Which of them cannot go on."""
        return tuple(member.over for member in self.members)

    def _draw_table(self, time_s: float, *, full: bool) -> bool:
        """Made anew when a fact is new; true if it is out of date and was left so."""
        lengths = tuple(side.run.counted(time_s, FACTS_A_FRAME) for side in self.sides)
        table = self.table
        state = (lengths, self.over, self._focused, table.room, table.glyphs, self.app.theme, self.seen_closer())
        if state == self._drawn:
            return False
        if not full:
            return True
        self._drawn = state
        if table.is_on_screen:
            table.show(self.results(lengths, time_s))
        return False

    def seen_closer(self) -> object:
        """What `look_closer` has found, as far as the table tells of it."""
        return None

    def _draw_around(self, time_s: float) -> None:
        playback = self.playback
        self.query_one(HeaderView).show_facts(self.heading(time_s))
        live = playback.live_s
        place = time_s / live if live > 0 and playback.in_review else 1.0
        self.query_one(ScrubBar).show_fraction(place, playback.in_review)
        tabs = [TabFacts(s.key, s.label, s.action, place == self._focused) for place, s in enumerate(self.sides)]
        self.query_one(TabBar).show_tabs(tabs)
        notice = self._notice or playback.message
        self.query_one(FooterBar).show_hints(self.hints(self.actions, turning=self.controls.has_focus), notice)

    # --- going about ----------------------------------------------------------------------------------------------------

    def go_to(self, place: int) -> None:
        """Bring that run's diagram in sight, with the focus on it."""
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

    def action_go_to(self, place: int) -> None:
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
        return Findable(self.lab.keys_shown, self.actions, (), knobs, faults, orders_of(self._faults))

    def on_key(self, event: events.Key) -> None:
        """Digits go to runs, letters work knobs and faults."""
        self._notice = ""
        self.wake()
        if not event.character:
            return
        place = next((n for n, side in enumerate(self.sides) if side.key == event.character), None)
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
