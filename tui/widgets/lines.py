"""A widget that shows styled lines and repaints only those that changed. All the panels are one of these."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.panels.glyphs import ASCII, UNICODE, Glyphs, plain
from tui.panels.lines import Line
from tui.themes import Palette, palette

if TYPE_CHECKING:
    from tui.app import CommtuiApp


class LineView(ScrollView):
    """Lines on the line API. `show` is cheap to call with what is already there."""

    DEFAULT_CSS = """
    LineView { background: $paper; color: $ink; overflow-x: hidden; scrollbar-size-vertical: 1; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.lines: list[Line] = []
        self._painted_with: tuple[Palette, bool] | None = None

    @property
    def glyphs(self) -> Glyphs:
        return ASCII if self._ascii else UNICODE

    @property
    def _ascii(self) -> bool:
        return cast("CommtuiApp", self.app).ascii

    @property
    def palette(self) -> Palette:
        return palette(self.app.theme)

    @property
    def room(self) -> Size:
        """The cells there are to fill, without border and scrollbar."""
        return self.scrollable_content_region.size

    def show(self, lines: Sequence[Line]) -> None:
        """Show `lines`; only rows that differ from what is there are painted again."""
        new = list(lines)
        look = (self.palette, self._ascii)
        if look != self._painted_with:
            self._painted_with = look
            old: list[Line] = []
        else:
            old = self.lines
        if new == old:
            return
        same_height = len(new) == len(old)
        self.lines = new
        if not same_height:
            self.virtual_size = Size(0, len(new))
            self.refresh(layout=self.styles.is_auto_height)
            return
        top = self.scroll_offset.y
        width = self.size.width
        changed = [Region(0, y - top, width, 1) for y, line in enumerate(new) if line != old[y] and y >= top]
        if changed:
            self.refresh(*changed)

    def repaint(self) -> None:
        """Forget what was painted: the looks have changed."""
        self._painted_with = None
        self.refresh()

    def render_line(self, y: int) -> Strip:
        row = y + self.scroll_offset.y
        width = self.scrollable_content_region.width
        looks = self.palette
        ground = looks["text"]
        if row >= len(self.lines):
            return Strip.blank(width, ground)
        ascii_only = self._ascii
        segments = [
            Segment(
                plain(span.text) if ascii_only else span.text,
                looks[span.style] + Style.from_meta({"@click": span.action}) if span.action else looks[span.style],
            )
            for span in self.lines[row]
        ]
        return Strip(segments).adjust_cell_length(width, ground).simplify()
