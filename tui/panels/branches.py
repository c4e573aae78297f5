"""The list of branches, and the sentence about where two of them part."""

from collections.abc import Sequence
from dataclasses import dataclass

from tui.panels.glyphs import Glyphs
from tui.panels.lines import Line, Span, fit, line, wrap

NONE_YET = (
    "No branches yet. Go back in time (← or a click on the bar at the top), then turn a knob, work a fault, or press M on a "
    "message: what would have happened becomes a branch, and the run itself stays as it is."
)


@dataclass(frozen=True, slots=True)
class BranchRow:
    """A branch as the list shows it; `reached_s` is how far it has been played."""

    number: int
    name: str
    depth: int
    reached_s: float
    shown: bool


def branch_lines(rows: Sequence[BranchRow], cursor: int, width: int, glyphs: Glyphs) -> list[Line]:
    """A line a branch, indented below what it grew out of; the one that is shown is marked by a word."""
    lines: list[Line] = []
    for place, row in enumerate(rows):
        here = place == cursor
        end = f"  {'shown' if row.shown else '':>5}  {row.reached_s:>9.3f} s "
        indent = "  " * min(row.depth, 6)
        room = max(8, width - 7 - len(indent) - len(end))
        lines.append(
            line(
                Span(f" {glyphs.pointer if here else ' '} ", "key"),
                Span(indent),
                Span(f"{row.number} ", "key"),
                Span(fit(row.name, room, glyphs.ellipsis), "cursor" if here else "strong" if row.shown else "text"),
                Span(end, "on" if row.shown else "muted"),
            )
        )
    if len(rows) < 2:
        lines += [(), *((Span("   "), *spans) for spans in wrap(NONE_YET, width - 6, "muted"))]
    return lines


@dataclass(frozen=True, slots=True)
class PartingFacts:
    """Where two runs part, in words: the first fact that differs, and what came of it in each; "" for nothing so far."""

    at_s: float | None
    first: str = ""
    effect_s: tuple[float, float] = (0.0, 0.0)
    effect: tuple[str, str] = ("", "")


def parting_lines(facts: PartingFacts, heads: tuple[str, str], width: int, glyphs: Glyphs) -> list[Line]:
    """What stands over the table of two branches."""
    if facts.at_s is None:
        return [line(Span(" no difference so far", "muted"))]
    mark = Span(f"{glyphs.differs}", "trouble")
    lines = _told(mark, f"first difference at {facts.at_s:.3f} s: {facts.first}", width)
    if not any(facts.effect):
        return [*lines, line(Span(" it has had no effect so far", "muted"))]
    for head, time_s, text in zip(heads, facts.effect_s, facts.effect, strict=True):
        if text:
            lines += _told(mark, f"{head}, {time_s:.3f} s: {text}", width)
    return lines


def _told(mark: Span, text: str, width: int) -> list[Line]:
    wrapped = wrap(text, width - 2)
    return [(mark if number == 0 else Span(" "), *spans) for number, spans in enumerate(wrapped)]
