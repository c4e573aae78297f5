"""The lines around the tabs: header, scrub bar, tab bar, footer."""

from collections.abc import Sequence

from textual import events
from textual.message import Message

from tui.panels.header import (
    HeaderFacts,
    Hint,
    TabFacts,
    footer_line,
    header_line,
    scrub_bar,
    scrub_fraction,
    tab_line,
)
from tui.widgets.lines import LineView


class HeaderView(LineView):
    """What is playing, and when."""

    can_focus = False

    def show_facts(self, facts: HeaderFacts) -> None:
        self.show([header_line(facts, self.size.width, self.glyphs)])


class ScrubBar(LineView):
    """A bar to drag the playhead with."""

    can_focus = False

    class Scrubbed(Message):
        """The person wants to see this fraction (0 to 1) of the run."""

        def __init__(self, fraction: float) -> None:
            super().__init__()
            self.fraction = fraction

    def show_fraction(self, fraction: float, review: bool) -> None:
        self.show([scrub_bar(fraction, self.size.width - 1, self.glyphs, review)])

    def _scrub(self, x: int) -> None:
        self.post_message(self.Scrubbed(scrub_fraction(x, self.size.width - 1)))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        event.stop()
        self.capture_mouse()
        self._scrub(event.x)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self.app.mouse_captured is self:
            self._scrub(event.x)

    def on_mouse_up(self, event: events.MouseUp) -> None:
        event.stop()
        self.release_mouse()


class TabBar(LineView):
    """The patterns, each with the digit that opens it."""

    can_focus = False

    def show_tabs(self, tabs: Sequence[TabFacts]) -> None:
        self.show([tab_line(tabs, self.size.width)])


class FooterBar(LineView):
    """The keys that matter now, or a notice."""

    can_focus = False

    def show_hints(self, hints: Sequence[Hint], notice: str) -> None:
        self.show([footer_line(hints, notice, self.size.width, self.glyphs)])
