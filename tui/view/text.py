"""The whole diagram as plain text: for transcripts, for screen readers, and for tests."""

from math import inf

from tui.view.glyphs import UNICODE, Glyphs
from tui.view.lines import line_text
from tui.view.rows import Detail
from tui.view.sequence import COMPACT, Mode, SequenceModel, Window


def diagram_text(
    model: SequenceModel,
    t: float = inf,
    width: int = 80,
    mode: Mode = COMPACT,
    glyphs: Glyphs = UNICODE,
    detail: Detail = "messages",
) -> str:
    """The diagram of all that `model` has read, up to `t`, `width` cells wide (or as wide as its hosts need)."""
    if t == inf:
        t = model.trace.time[model.messages.consumed - 1] if model.messages.consumed else 0.0
    width = max(width, model.content_width(width))
    window = Window(0, model.row_count(t, mode, detail), 0, width)
    lines = model.header(width, 0, t, glyphs) + model.paint(window, t, mode, None, glyphs, detail)
    return "".join(line_text(line).rstrip() + "\n" for line in lines)
