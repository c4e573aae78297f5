"""The numbers of several runs in one table, for the screen and for `commtui compare`; and how many diagrams fit beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engines.metrics import find_metric, format_value
from tui.panels.glyphs import Glyphs
from tui.panels.lines import Line, Span, fit, line

LEAST_DIAGRAM_WIDTH = 38
GAP = 3
TITLE_AT_LEAST = 10


@dataclass(frozen=True, slots=True)
class Table:
    """`heads` are the runs; each row is a number's title and its value in each run, as people read it."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def widths(self) -> list[int]:
        return [max(map(len, column)) for column in zip(("", *self.heads), *self.rows, strict=True)]


def comparison_table(heads: Sequence[str], values: Sequence[Mapping[str, float | None]]) -> Table:
    """A row a number, a column a pattern (`values` by metric name). Numbers that are nothing everywhere are left out."""
    rows: list[tuple[str, ...]] = []
    for name in values[0] if values else ():
        if any(column[name] for column in values):
            metric = find_metric(name)
            rows.append((metric.title, *(format_value(metric, column[name]) for column in values)))
    return Table(tuple(heads), tuple(rows))


def table_text(table: Table) -> str:
    """The table for a terminal without a screen, or for a file."""
    widths = table.widths()
    lines: list[str] = []
    for title, *cells in (("", *table.heads), *table.rows):
        columns = [title.ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells, widths[1:], strict=True))]
        lines.append("  " + (" " * GAP).join(columns).rstrip())
    return "\n".join(lines)


def difference_table(
    heads: Sequence[str], metrics: Sequence[str], values: Sequence[Mapping[str, float | None]]
) -> Table:
    """The same numbers of two runs, a row each, and by how much the second differs from the first."""
    rows: list[tuple[str, ...]] = []
    for name in metrics:
        metric, (one, other) = find_metric(name), (column[name] for column in values)
        texts = format_value(metric, one), format_value(metric, other)
        change = ""
        if one is not None and other is not None and texts[0] != texts[1]:
            by = format_value(metric, abs(other - one))
            change = f"{'+' if other > one else '-'}{by.replace('%', 'points')}"  # not 2 % of what it was
        elif texts[0] != texts[1]:
            change = "only one"
        rows.append((metric.title, *texts, change))
    return Table((*heads, "difference"), tuple(rows))


def table_lines(
    table: Table, width: int, glyphs: Glyphs, *, focused: int, over: Sequence[bool] = (), marked: Sequence[bool] = ()
) -> list[Line]:
    """The same table in `width` cells. The focused run's column stands out; that of a run that is `over` is set back, and the
    rows that are `marked` have a mark.

    Where it is too wide, the names of the runs give way first, then the titles.
    """
    wanted = table.widths()
    cells = [max(map(len, column), default=1) for column in zip(*(row[1:] for row in table.rows), strict=True)]
    cells = cells or [1] * len(table.heads)
    columns = list(wanted[1:])
    room = width - 1 - wanted[0] - GAP * len(columns)
    while sum(columns) > room and any(c > least for c, least in zip(columns, cells, strict=True)):
        widest = max(range(len(columns)), key=lambda i: columns[i] - cells[i])
        columns[widest] -= 1
    title_width = max(TITLE_AT_LEAST, min(wanted[0], width - 1 - sum(columns) - GAP * len(columns)))

    def styled(column: int, ordinary: str) -> str:
        if column < len(over) and over[column]:
            return "muted"
        return "strong" if column == focused else ordinary

    lines: list[Line] = []
    for number, (title, *texts) in enumerate((("", *table.heads), *table.rows)):
        differs = 0 < number <= len(marked) and marked[number - 1]
        spans = [
            Span(glyphs.differs if differs else " ", "trouble"),
            Span(fit(title, title_width, glyphs.ellipsis), "muted"),
        ]
        for column, (text, room) in enumerate(zip(texts, columns, strict=True)):
            shown = text.rjust(room) if len(text) <= room else fit(text, room, glyphs.ellipsis)
            style = "title" if number == 0 and column == focused else styled(column, "muted" if number == 0 else "text")
            spans += [Span(" " * GAP), Span(shown, style)]
        lines.append(line(*spans))
    return lines


def window(focused: int, first: int, total: int, width: int) -> range:
    """Which of `total` diagrams to show in `width` cells: as many as fit, with the focused one among them, moved
    no further from `first` than that needs."""
    count = max(1, min(total, width // LEAST_DIAGRAM_WIDTH))
    first = max(focused - count + 1, min(first, focused))
    first = max(0, min(first, total - count))
    return range(first, first + count)
