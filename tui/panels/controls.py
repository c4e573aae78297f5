"""The knob panel and the faults under it, row by row, from their declarations and their values at the playhead."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, log
from typing import TYPE_CHECKING

from engines.lab.knobs import Choice, Knob, Number, Toggle, Value
from tui.panels.glyphs import Glyphs
from tui.panels.lines import Line, Span, fit, line, wrap

if TYPE_CHECKING:
    from engines.lab.scenario import Fault


BEND = 0.4


@dataclass(frozen=True, slots=True)
class KnobRow:
    key: str
    knob: Knob
    text: str  # its value at the playhead, formatted
    value: Value | None  # the same, parsed; None when the text cannot be


@dataclass(frozen=True, slots=True)
class FaultRow:
    key: str
    fault: "Fault"
    on: bool
    times: int  # how often it was applied up to the playhead


Row = KnobRow | FaultRow


@dataclass(frozen=True, slots=True)
class Cursor:
    """Which row has the keyboard, and the text being typed into it (None: not typing)."""

    row: int
    typed: str | None = None


def command_for(knob: Knob, value: Value) -> str:
    """The command that turns `knob` to `value`, in the friendliest text that still means exactly that value."""
    text = knob.format(value)
    try:
        exact = knob.parse(text) == value
    except ValueError:
        exact = False
    if not exact and isinstance(knob, Number):
        number = float(value)
        text = "unlimited" if number == inf else f"{number * 100!r}%" if knob.unit == "%" else f"{number!r} {knob.unit}"
    return f"set {knob.name} {text}".rstrip()


def parsed(knob: Knob, text: str) -> Value | None:
    try:
        return knob.parse(text)
    except ValueError:
        return None


def fraction(knob: Number, value: float) -> float:
    """Where `value` stands in the range, 0 to 1; on a logarithmic scale for knobs that span magnitudes."""
    if knob.ratio is None:
        linear = knob.fraction(value)
        # A range of hundreds of steps is bent, or the useful values would all lie in the first cell.
        return float(linear**BEND) if knob.maximum - knob.minimum > 100 * knob.step else linear
    low = max(knob.minimum, knob.step / 1000, 1e-9)
    high = min(knob.maximum, 1e9)
    if value >= high:
        return 1.0
    return max(0.0, min(1.0, log(max(value, low) / low) / log(high / low))) if high > low else 0.0


def slider(knob: Number, value: float, width: int, glyphs: Glyphs) -> str:
    place = round(fraction(knob, value) * (width - 1))
    return glyphs.rest * place + glyphs.handle + glyphs.rest * (width - 1 - place)


_VALUE_WIDTH = 9


def _knob_face(row: KnobRow, width: int, glyphs: Glyphs) -> Line:
    """What stands right of the title: the value and how it can be turned, in `width` cells."""
    knob = row.knob
    if isinstance(knob, Toggle):
        return line(Span(f"[ {row.text} ]", "on" if row.value else "text"))
    if isinstance(knob, Choice):
        room = max(1, width - 4)
        text = row.text if len(row.text) <= room else fit(row.text, room, glyphs.ellipsis)
        return line(Span(f"{glyphs.left} ", "muted"), Span(text, "strong"), Span(f" {glyphs.right}", "muted"))
    value = Span(f"{row.text:>{_VALUE_WIDTH}}", "strong")
    room = min(12, width - _VALUE_WIDTH - 1)
    if room < 4 or row.value is None:
        return line(value)
    return line(value, Span(" " + slider(knob, float(row.value), room, glyphs), "muted"))


def _fault_face(row: FaultRow, glyphs: Glyphs) -> Line:
    if row.fault.off is not None:
        return line(Span("[ ON  ]" if row.on else "[ off ]", "trouble" if row.on else "text"))
    done = f" {row.times}{glyphs.times}" if row.times else ""
    return line(Span("[ do ]"), Span(done, "trouble"))


def control_lines(
    rows: Sequence[Row], cursor: Cursor | None, width: int, glyphs: Glyphs, *, frozen: bool = False
) -> tuple[list[Line], list[int | None]]:
    """The panel's lines, and for each line the index of the row it belongs to (None for rules and help).

    `frozen` is true in review, where nothing can be turned: the values are those of the past.
    """
    lines: list[Line] = []
    owner: list[int | None] = []
    titles = (len(row.knob.title) for row in rows if isinstance(row, KnobRow))
    title_width = min(max(titles, default=8), 18, max(8, width - 5 - _VALUE_WIDTH - 5))
    faults_begun = False
    for index, row in enumerate(rows):
        if isinstance(row, FaultRow) and not faults_begun:
            faults_begun = True
            lines.append(line(Span(fit(f"{glyphs.rule} faults ", 9) + glyphs.rule * max(0, width - 9), "rule-title")))
            owner.append(None)
        here = cursor is not None and cursor.row == index
        pointer = Span(glyphs.pointer if here else " ", "key")
        key = Span(f"{row.key or ' '} ", "muted" if frozen else "key")
        title = row.knob.title if isinstance(row, KnobRow) else row.fault.title
        if isinstance(row, KnobRow):
            head = Span(fit(title, title_width, glyphs.ellipsis) + " ", "cursor" if here else "text")
            if here and cursor is not None and cursor.typed is not None:
                face = line(Span(f"{cursor.typed}{glyphs.caret}", "typing"), Span(" enter sets", "muted"))
            else:
                face = _knob_face(row, width - 5 - title_width, glyphs)
        else:
            face = _fault_face(row, glyphs)
            room = width - 3 - sum(len(span.text) for span in face) - 2
            head = Span(fit(title, max(8, room), glyphs.ellipsis) + " ", "cursor" if here else "text")
        lines.append((pointer, key, head, *face))
        owner.append(index)
    if cursor is not None and 0 <= cursor.row < len(rows):
        row = rows[cursor.row]
        about = row.knob.help if isinstance(row, KnobRow) else row.fault.help
        for text in wrap(about, width - 3, "muted"):
            lines.append((Span("   "), *text))
            owner.append(None)
    return lines, owner


def knob_rows(knobs: Sequence[Knob], texts: Mapping[str, str], keys: Mapping[str, str]) -> list[Row]:
    """A row for each knob, with its value's text from `texts` (by name; the default where it is missing)."""
    rows: list[Row] = []
    for knob in knobs:
        text = texts.get(knob.name, knob.format(knob.default))
        rows.append(KnobRow(keys.get(knob.name, ""), knob, text, parsed(knob, text)))
    return rows
