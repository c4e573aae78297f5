"""Styled lines: text with names of styles instead of colours, so that a panel can be tested as text and painted in any theme."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size


class Span(NamedTuple):
    """A run of text in one style (a name from `tui.themes.STYLES`); `action` is what a click on it does, if anything."""

    text: str
    style: str = "text"
    action: str = ""


Line = tuple[Span, ...]


def line(*parts: Span | str) -> Line:
    """A line of `parts`; a bare string is ordinary text, and empty parts vanish."""
    spans = (part if isinstance(part, Span) else Span(part) for part in parts)
    return tuple(span for span in spans if span.text)


def text_of(spans: Line) -> str:
    return "".join(span.text for span in spans)


def width_of(spans: Line) -> int:
    return sum(cell_len(span.text) for span in spans)


def fit(text: str, width: int, ellipsis: str = "…") -> str:
    """`text` in exactly `width` cells: padded with spaces, or cut with an ellipsis."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, max(0, width - cell_len(ellipsis))) + ellipsis[:width]


def clip(spans: Line, width: int) -> Line:
    """`spans` cut to at most `width` cells."""
    kept: list[Span] = []
    room = width
    for span in spans:
        cells = cell_len(span.text)
        if cells <= room:
            kept.append(span)
            room -= cells
            continue
        if room > 0:
            kept.append(span._replace(text=set_cell_size(span.text, room)))
        break
    return tuple(kept)


def spread(left: Line, right: Line, width: int) -> Line:
    """`left` and `right` at the two ends of a line of `width` cells; `left` gives way when both do not fit."""
    room = width - width_of(right)
    left = clip(left, max(0, room - 1))
    return clip((*left, Span(" " * max(0, room - width_of(left))), *right), width)


def wrap(text: str, width: int, style: str = "text", indent: str = "") -> list[Line]:
    """`text` broken at spaces into lines of at most `width` cells; later lines begin with `indent`. Long words are cut."""
    lines: list[str] = []
    current = ""
    for word in text.split():
        while cell_len(word) > width - len(indent) > 0:
            if current.strip():
                lines.append(current)
            head = max(1, width - len(indent))
            lines.append((indent if lines else "") + word[:head])
            word, current = word[head:], indent
        if not word:
            continue
        candidate = word if not current else current + word if current == indent else f"{current} {word}"
        if cell_len(candidate) <= width or not current.strip():
            current = candidate
        else:
            lines.append(current)
            current = indent + word
    if current.strip():
        lines.append(current)
    return [line(Span(text, style)) for text in lines]


def best_fit(candidates: Sequence[Line], width: int) -> Line:
    """The first (fullest) of `candidates` that fits in `width`, or the last one cut."""
    for candidate in candidates:
        if width_of(candidate) <= width:
            return candidate
    return clip(candidates[-1], width)


def joined(lines: Iterable[Line]) -> str:
    """The text of `lines`, one a row, without trailing spaces: what the tests compare."""
    return "\n".join(text_of(spans).rstrip() for spans in lines)
