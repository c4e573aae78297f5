"""The help screen's text: every action with its keys, in groups, in as many columns as fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tui.panels.lines import Line, Span, clip, line, width_of, wrap


@dataclass(frozen=True, slots=True)
class HelpRow:
    keys: str
    text: str


def help_lines(groups: Mapping[str, Sequence[HelpRow]], about: Sequence[str], width: int) -> list[Line]:
    """`about` first, then the groups, shared out over the columns so that they are about equally long."""
    lines: list[Line] = []
    for sentence in about:
        lines += [(Span(" "), *spans) for spans in wrap(sentence, width - 2)]
    lines.append(())
    count = max(1, min(3, width // 36))
    column_width = width // count
    blocks = [_block(title, rows, column_width) for title, rows in groups.items() if rows]
    columns: list[list[Line]] = [[] for _ in range(count)]
    target = sum(map(len, blocks)) / count
    index = 0
    for block in blocks:
        if columns[index] and len(columns[index]) + len(block) / 2 > target and index < count - 1:
            index += 1
        columns[index] += block
    for y in range(max(map(len, columns))):
        row: list[Span] = []
        for column in columns:
            cell = clip(column[y], column_width - 1) if y < len(column) else ()
            row += [*cell, Span(" " * (column_width - width_of(cell)))]
        lines.append(line(*row))
    return lines


def _block(title: str, rows: Sequence[HelpRow], width: int) -> list[Line]:
    key_width = max(len(row.keys) for row in rows)
    lines: list[Line] = [line(Span(f" {title}", "title"))]
    for row in rows:
        wrapped = wrap(row.text, width - key_width - 5)
        for number, spans in enumerate(wrapped or [()]):
            keys = row.keys if number == 0 else ""
            lines.append((Span(f"  {keys:<{key_width}}  ", "key"), *spans))
    lines.append(())
    return lines
