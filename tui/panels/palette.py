"""Finding an entry in a list by a few letters, as the palette and the scenario picker do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tui.panels.glyphs import Glyphs
from tui.panels.lines import Line, Span, fit, line, wrap

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Entry(Generic[V]):
    """One thing to choose: what it is called, a line about it, the key that does the same, and what choosing it returns."""

    title: str
    about: str
    value: V
    key: str = ""
    words: str = ""  # more words by which it can be found


def matching(entries: Sequence[Entry[V]], query: str) -> list[Entry[V]]:
    """The entries that contain every word of `query`; those whose title begins with it first. All for an empty query."""
    words = query.lower().split()

    def rank(entry: Entry[V]) -> int:
        title = entry.title.lower()
        if title.startswith(" ".join(words)):
            return 0
        if any(part.startswith(words[0]) for part in title.split()):
            return 1
        return 2

    found = [
        entry
        for entry in entries
        if all(word in f"{entry.title} {entry.about} {entry.words}".lower() for word in words)
    ]
    return sorted(found, key=rank) if words else found


def entry_lines(
    entries: Sequence[Entry[V]], cursor: int, width: int, glyphs: Glyphs, *, tall: bool = False
) -> tuple[list[Line], list[int]]:
    """The list, and for each line the entry it belongs to. `tall` entries have what is said about them below the title."""
    lines: list[Line] = []
    owner: list[int] = []
    title_width = max((len(entry.title) for entry in entries), default=0)
    key_width = max((len(entry.key) for entry in entries), default=0)
    for index, entry in enumerate(entries):
        here = index == cursor
        pointer = Span(f" {glyphs.pointer if here else ' '} ", "key")
        style = "cursor" if here else "text"
        key = Span(f" {entry.key:>{key_width}} ", "key")
        if tall:
            lines.append(line(pointer, Span(f"{entry.title} ", style)))
            owner.append(index)
            for spans in wrap(entry.about, width - 8, "muted"):
                lines.append((Span("     "), *spans))
                owner.append(index)
            continue
        room = max(8, width - 3 - key_width - 2)
        title = fit(entry.title, min(title_width, room - 2), glyphs.ellipsis)
        about_width = room - len(title) - 2
        about = fit(entry.about, about_width, glyphs.ellipsis) if about_width > 8 else " " * max(0, about_width)
        lines.append(line(pointer, Span(title, style), Span("  "), Span(about, "muted"), key))
        owner.append(index)
    if not entries:
        lines.append(line(Span("   nothing is called that", "muted")))
        owner.append(0)
    return lines, owner
