"""Choosing what to compare: a workload, and which of the patterns that do it take part."""

from dataclasses import dataclass, replace

from tui.panels.glyphs import Glyphs
from tui.panels.lines import Line, Span, fit, line


@dataclass(frozen=True, slots=True)
class Offer:
    """A workload, and what does it: (pattern, scenario), as people call them."""

    workload: str
    contenders: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Choosing:
    """What is on the list, where the cursor is, and who was left out, as (offer, contender). At first everybody takes part."""

    offers: tuple[Offer, ...]
    row: int = 0
    left_out: frozenset[tuple[int, int]] = frozenset()

    @property
    def rows(self) -> list[tuple[int, int | None]]:
        """(offer, contender) for each row; the row of a workload itself has no contender."""
        return [
            (number, place)
            for number, offer in enumerate(self.offers)
            for place in (None, *range(len(offer.contenders)))
        ]

    @property
    def offer(self) -> int:
        """The workload that the cursor is on or in."""
        return self.rows[self.row][0]

    def moved(self, steps: int) -> "Choosing":
        return self.at(self.row + steps)

    def at(self, row: int) -> "Choosing":
        return replace(self, row=max(0, min(len(self.rows) - 1, row)))

    def on_workload(self, name: str) -> "Choosing":
        """The cursor on that workload, if it is there."""
        found = (row for row, (offer, place) in enumerate(self.rows) if self.offers[offer].workload == name)
        return self.at(next(found, self.row))

    def toggled(self) -> "Choosing":
        """Take the pattern under the cursor in or out; on a workload, all of its patterns."""
        offer, place = self.rows[self.row]
        if place is not None:
            return replace(self, left_out=self.left_out ^ {(offer, place)})
        everybody = frozenset((offer, place) for place in range(len(self.offers[offer].contenders)))
        return replace(
            self, left_out=self.left_out - everybody if self.left_out & everybody else self.left_out | everybody
        )

    def taking_part(self) -> list[int]:
        """The contenders of the cursor's workload that were not left out."""
        offer = self.offer
        return [place for place in range(len(self.offers[offer].contenders)) if (offer, place) not in self.left_out]


def choosing_lines(state: Choosing, width: int, glyphs: Glyphs) -> list[Line]:
    """A line a row. Boxes are ticked in words that need no colour."""
    lines: list[Line] = []
    names = max((len(name) for offer in state.offers for name, _ in offer.contenders), default=0)
    for number, (offer, place) in enumerate(state.rows):
        here = number == state.row
        pointer = Span(f" {glyphs.pointer if here else ' '} ", "key")
        if place is None:
            lines.append(
                line(pointer, Span(workload_title(state.offers[offer].workload), "cursor" if here else "title"))
            )
            continue
        name, scenario = state.offers[offer].contenders[place]
        taken = (offer, place) not in state.left_out
        box = Span("[x] " if taken else "[ ] ", "on" if taken else "muted")
        about = fit(scenario, max(0, width - 11 - names), glyphs.ellipsis).rstrip()
        title = Span(fit(name, names, glyphs.ellipsis), "cursor" if here else "text" if taken else "muted")
        lines.append(line(pointer, Span("  "), box, title, Span(f"  {about}", "muted")))
    return lines


def workload_title(name: str) -> str:
    """A workload's name as people write it."""
    return name.replace("-", " ").capitalize()
