"""The pattern's own source, client and server beside each other, with the line in which each of them stands at this moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.source import Place, source_lines
from tui.panels.glyphs import Glyphs
from tui.panels.lines import Line, Span, fit, line

NUMBER_WIDTH = 4
SMALLEST_COLUMN = 36
"""Code in less than this is not worth reading: then there is one column."""
_LOOK_BACK = 0.4  # share of the height that shows what comes before the line


@dataclass(frozen=True, slots=True)
class Column:
    """One host: the line where its youngest task stands, and the lines of the same file where others do."""

    host: str
    place: Place | None
    others: frozenset[int] = frozenset()


def columns(hosts: Sequence[str], places: Sequence[Place]) -> list[Column]:
    """A column for each of `hosts`."""
    found = []
    for host in hosts:
        here = [place for place in places if place.host == host]
        last = here[-1] if here else None
        others = frozenset(p.line for p in here if last is not None and p.file == last.file and p.line != last.line)
        found.append(Column(host, last, others))
    return found


def code_lines(shown: Sequence[Column], width: int, height: int, glyphs: Glyphs) -> list[Line]:
    """As many of the columns as can be read, beside each other; `height` lines in all."""
    if not shown:
        return [line(Span(" Nobody runs here.", "muted"))]
    count = max(1, min(len(shown), width // SMALLEST_COLUMN))
    room = width // count
    blocks = [_column(column, room - 1, height, glyphs) for column in shown[:count]]
    return [_beside([block[row] for block in blocks], room) for row in range(height)]


def _beside(cells: Sequence[Line], room: int) -> Line:
    spans: list[Span] = []
    for number, cell in enumerate(cells):
        spans += cell
        if number < len(cells) - 1:
            spans.append(Span(" " * max(1, room - sum(len(span.text) for span in cell))))
    return tuple(spans)


def _column(column: Column, width: int, height: int, glyphs: Glyphs) -> list[Line]:
    place = column.place
    if place is None:
        head = line(Span(f" {column.host}", "strong"), Span("  does not run", "muted"))
        return [head] + [line()] * (height - 1)
    path = Path(place.file)
    where = f"  {path.parent.name}/{path.name}, in {place.function.rpartition('.')[2]}"
    where = fit(where, max(0, width - len(column.host) - 1), glyphs.ellipsis)
    head = line(Span(f" {column.host}", "strong"), Span(where, "muted"))
    source = source_lines(place.file)
    rows = height - 1
    first = max(0, min(place.line - 1 - int(rows * _LOOK_BACK), len(source) - rows))
    window = range(first + 1, min(len(source), first + rows) + 1)
    written = [source[number - 1] for number in window if source[number - 1].strip()]
    indent = min((len(text) - len(text.lstrip()) for text in written), default=0)  # room is dear
    shown = [_source_line(column, place, number, source[number - 1][indent:], width, glyphs) for number in window]
    return [head, *shown, *[line()] * (rows - len(shown))]


def _source_line(column: Column, place: Place, number: int, text: str, width: int, glyphs: Glyphs) -> Line:
    text = fit(text, max(0, width - NUMBER_WIDTH - 3), glyphs.ellipsis).rstrip()
    if number == place.line:
        return line(Span(f"{number:>{NUMBER_WIDTH}} {glyphs.pointer} ", "strong"), Span(text, "strong"))
    if number in column.others:
        return line(Span(f"{number:>{NUMBER_WIDTH}} {glyphs.here} ", "text"), Span(text, "text"))
    comment = text.lstrip().startswith(("#", '"""'))
    return line(Span(f"{number:>{NUMBER_WIDTH}}   ", "muted"), Span(text, "muted" if comment else "text"))
