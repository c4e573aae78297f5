"""The pane below the diagram: the story, or the bytes of the selected message."""

from collections.abc import Iterable, Sequence

from textual.content import Content

from tui.panels.lines import Line
from tui.widgets.lines import LineView

PANES = ("story", "wire", "code", "timeline", "pool")
SELDOM = ("pool",)
"""Panes that not every run has something for: they stand in the title when it has, or when somebody asked for them."""


class Pane(LineView):
    """Shows one of PANES; which one stands marked in its title."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.shown = PANES[0]
        self._offered: frozenset[str] = frozenset()

    def on_mount(self) -> None:
        self.turn_to(self.shown)

    def turn_to(self, name: str) -> None:
        """Show pane `name` from its top."""
        if name != self.shown:
            self.scroll_to(y=0, animate=False)
        self.shown = name
        glyphs = self.glyphs
        offered = [each for each in PANES if each == name or each not in SELDOM or each in self._offered]
        names = [f"{glyphs.pointer} {each}" if each == name else each for each in offered]
        self.border_title = Content(" " + f" {glyphs.beside} ".join(names) + " ")

    def offer(self, names: Iterable[str]) -> None:
        """The run has something for these of the SELDOM panes."""
        offered = frozenset(names)
        if offered != self._offered:
            self._offered = offered
            self.turn_to(self.shown)

    def show_pane(self, lines: Sequence[Line]) -> None:
        self.show(lines)
