"""The pane below the diagram: the story, or the bytes of the selected message."""

from collections.abc import Sequence

from textual.content import Content

from tui.panels.lines import Line
from tui.widgets.lines import LineView

PANES = ("story", "wire")


class Pane(LineView):
    """Shows one of PANES; which one stands marked in its title."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.shown = PANES[0]

    def on_mount(self) -> None:
        self.turn_to(self.shown)

    def turn_to(self, name: str) -> None:
        """Show pane `name` from its top."""
        if name != self.shown:
            self.scroll_to(y=0, animate=False)
        self.shown = name
        glyphs = self.glyphs
        names = [f"{glyphs.pointer} {each}" if each == name else each for each in PANES]
        self.border_title = Content(" " + f" {glyphs.beside} ".join(names) + " ")

    def show_pane(self, lines: Sequence[Line]) -> None:
        self.show(lines)
