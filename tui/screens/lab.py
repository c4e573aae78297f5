"""The one screen: header, tabs, the open pattern, footer. It passes keys on to where they belong."""

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.containers import Container, Horizontal

from tui.bindings import ACTIONS
from tui.panels.header import HeaderFacts, Standing, TabFacts
from tui.panels.lines import wrap
from tui.screens.actions import LabActions
from tui.screens.playing import FRAMES_A_SECOND
from tui.widgets.lines import LineView
from tui.widgets.top import FooterBar, HeaderView, ScrubBar, TabBar

if TYPE_CHECKING:
    from engines.patterns.contract import Lesson, Pattern
    from tui.beginning import Beginning
    from tui.engine import Engine
    from tui.index import TraceIndex
    from tui.playback import Playback
    from tui.widgets.control_panel import ControlPanel
    from tui.widgets.pattern_tab import PatternTab
    from tui.widgets.sequence import SequenceDiagram

FIRST_HINT = "space pauses, ← looks back, letters turn knobs, ? tells it all"


class LabScreen(LabActions):
    """Everything that a person sees at first, and returns to."""

    review_keys = MappingProxyType({"this": "this message", "find-back": "jump", "branches": "branches"})

    def __init__(self, now: Callable[[], float], frames_a_second: int = FRAMES_A_SECOND) -> None:
        super().__init__(now, frames_a_second)
        self.tabs: dict[str, PatternTab] = {}
        self._open: PatternTab | None = None
        self._notice = FIRST_HINT
        self._failure = ""

    # --- what stands where ----------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        with Horizontal(id="top"):
            yield HeaderView()
            yield ScrubBar()
        yield TabBar()
        yield Container(id="bodies")
        yield FooterBar()
        yield LineView(id="too-small")

    @property
    def tab(self) -> "PatternTab | None":
        """The open tab, once there is one."""
        return self._open if self._open is not None and self._open.is_mounted else None

    @property
    def playback(self) -> "Playback | None":
        return self.tab.playback if self.tab is not None else None

    @property
    def diagrams(self) -> "Sequence[SequenceDiagram]":
        return [self.tab.diagram] if self.tab is not None else []

    @property
    def indexes(self) -> "Sequence[TraceIndex]":
        return [self.tab.index] if self.tab is not None else []

    async def show_engine(self, engine: "Engine", pattern: "Pattern", lesson: "Lesson", beginning: "Beginning") -> None:
        """The engines are loaded: open the first tab, playing."""
        self._engine = engine
        await self._show_pattern(pattern, lesson, beginning)

    async def open_tab(self, pattern: "Pattern") -> None:
        await self._show_pattern(pattern, pattern.lessons[0], self.lab.beginning.plain())

    async def _show_pattern(self, pattern: "Pattern", lesson: "Lesson", beginning: "Beginning") -> None:
        assert self._engine is not None
        found = self.tabs.get(pattern.name)
        if found is None:
            from tui.widgets.pattern_tab import PatternTab

            found = PatternTab(pattern, self._engine, lesson=lesson, beginning=beginning, now=self._now)
            self.tabs[pattern.name] = found
            await self.query_one("#bodies").mount(found)
        if self._open is not None and self._open is not found:
            self._open.playback.leave()
            self._open.display = False
        found.display = True
        found.playback.come_back()
        self._open = found
        found.diagram.focus()
        self.wake()

    # --- frames ---------------------------------------------------------------------------------------------------------

    def draw(self, *, full: bool = True) -> bool:
        if not self.is_mounted:
            return False
        tab = self.tab
        moving = tab.frame(motion=self.lab.motion, full=full) if tab is not None else False
        if tab is not None and (told := tab.timelines.take_notice()):
            self._notice = told
        self._draw_top(tab)
        self._draw_footer(tab)
        return moving

    def _draw_top(self, tab: "PatternTab | None") -> None:
        header = self.query_one(HeaderView)
        scrub = self.query_one(ScrubBar)
        if tab is None:
            name = "starting the laboratory" if not self._failure else "the laboratory did not start"
            standing = Standing.FAILED if self._failure else Standing.STARTING
            header.show_facts(
                HeaderFacts(name, name, "", standing, 0.0, self.lab.beginning.pace, self.lab.beginning.seed)
            )
            return
        header.show_facts(tab.header(motion=self.lab.motion))
        live = tab.playback.live_s
        place = tab.playhead(motion=self.lab.motion) / live if live > 0 else 1.0
        scrub.show_fraction(place if tab.playback.in_review else 1.0, tab.playback.in_review)
        patterns = self._engine.patterns if self._engine is not None else ()
        self.query_one(TabBar).show_tabs(
            [TabFacts(p.key, p.tab, f"screen.open_pattern({p.name!r})", p is tab.pattern) for p in patterns]
        )

    def _draw_footer(self, tab: "PatternTab | None") -> None:
        notice = self._notice
        if tab is not None and tab.playback.standing is Standing.FAILED:
            notice = f"{tab.playback.message or 'this run failed'}: press r to start again"
        elif tab is not None:
            notice = tab.timelines.progress or notice or tab.playback.message
        if self._failure:
            notice = self._failure
        footer = self.query_one(FooterBar)
        footer.show_hints(self.hints(ACTIONS, turning=tab is not None and tab.controls.has_focus), notice)

    def look_changed(self) -> None:
        for tab in self.tabs.values():
            tab.look_changed()
        self.wake()

    def show_failure(self, text: str) -> None:
        """The engines could not be loaded; nothing will play."""
        self._failure = text
        self.draw()

    def on_resize(self, event: events.Resize) -> None:
        text = self.too_small(*event.size)
        self.query_one("#too-small", LineView).show(wrap(text, event.size.width, "strong"))
        self.call_after_refresh(self.wake)

    # --- keys of the open pattern ---------------------------------------------------------------------------------------

    async def on_key(self, event: events.Key) -> None:
        """Digits open tabs, letters work knobs and faults: they come from declarations, so no binding can name them."""
        self._notice = ""
        self.wake()
        if self._engine is None or not event.character:
            return
        pattern = next((p for p in self._engine.patterns if p.key == event.character), None)
        if pattern is not None:
            event.stop()
            await self.action_open_pattern(pattern.name)
        elif self.tab is not None and (row := self.tab.controls.press_letter(event.character)) is not None:
            event.stop()
            if self.tab.controls.wants_cursor(row):
                self.reveal_controls()
                self.set_focus(self.tab.controls)

    def on_control_panel_ordered(self, event: "ControlPanel.Ordered") -> None:
        event.stop()
        self.order(event.command)

    def on_control_panel_refused(self, event: "ControlPanel.Refused") -> None:
        event.stop()
        self.notify_line(event.reason)

    def on_control_panel_left(self) -> None:
        self.action_diagram()

    def on_pattern_tab_changed(self) -> None:
        self.wake()

    def on_scrub_bar_scrubbed(self, event: ScrubBar.Scrubbed) -> None:
        if self.tab is not None:
            self.seek(event.fraction * self.tab.playback.live_s)
