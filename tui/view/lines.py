"""Lines of styled text, and the canvas they are drawn on. A style is a word ("request", "lost"); themes give it a look."""

from functools import lru_cache
from itertools import groupby

from rich.cells import cell_len

from tui.view.glyphs import Glyphs

Span = tuple[str, str]
Line = tuple[Span, ...]

STYLES = (
    "", "time", "lifeline", "dim", "title", "state", "request", "response", "push", "ack", "error", "heartbeat", "control",
    "data", "retransmission", "lost", "held", "tag", "work", "wait", "mark", "note", "command", "link", "cursor",
)  # fmt: skip
"""Every style name that a line can carry; a palette has all of them."""


def line_text(line: Line) -> str:
    """The line without its styles."""
    return "".join(text for text, _ in line)


@lru_cache(maxsize=4096)
def safe(text: str, ascii_only: bool = False) -> str:
    """`text` with every character that is not exactly one printable cell replaced, so that columns stay columns."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c if c.isprintable() and cell_len(c) == 1 and (c.isascii() or not ascii_only) else " " if c.isspace() else "?"
        for c in text
    )


def fit(text: str, width: int) -> str:
    """`text`, cut to `width` cells with two dots where something is missing."""
    if len(text) <= width:
        return text
    return text[: width - 2].rstrip() + ".." if width > 4 else text[: max(0, width)]


class Canvas:
    """One row of cells. Drawing outside of it is allowed and has no effect; later strokes cover earlier ones."""

    __slots__ = ("chars", "left", "styles", "width")

    def __init__(self, left: int, width: int) -> None:
        self.left = left
        self.width = width
        self.chars = [" "] * width
        self.styles = [""] * width

    @property
    def right(self) -> int:
        """The first column behind the canvas."""
        return self.left + self.width

    def put(self, x: int, text: str, style: str) -> None:
        """Draw `text` with its first character at column `x`."""
        start = x - self.left
        if start < 0:
            text = text[-start:]
            start = 0
        room = self.width - start
        if room <= 0 or not text:
            return
        text = text[:room]
        end = start + len(text)
        self.chars[start:end] = text
        self.styles[start:end] = [style] * len(text)

    def get(self, x: int) -> str:
        """The character at column `x`; a blank outside."""
        return self.chars[x - self.left] if self.left <= x < self.right else " "

    def is_blank(self, x: int, length: int) -> bool:
        """Whether nothing is drawn in those columns."""
        cells = self.chars[max(0, x - self.left) : max(0, x - self.left + length)]
        return cells.count(" ") == len(cells)

    def line(self, *before: Span) -> Line:
        """What was drawn, as spans, behind the spans `before`."""
        spans = list(before)
        chars, start = self.chars, 0
        for style, cells in groupby(self.styles):
            stop = start + len(list(cells))
            spans.append(("".join(chars[start:stop]), style))
            start = stop
        return tuple(span for span in spans if span[0])


def text_for(glyphs: Glyphs, text: str) -> str:
    """`text` from the trace as it may be drawn with `glyphs`."""
    return safe(text, glyphs.ascii_only)
