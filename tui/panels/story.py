"""The story pane: what just happened and why, in plain words, and what to try next."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tui.panels.glyphs import Glyphs
from tui.panels.lines import Line, Span, line, wrap


@dataclass(frozen=True, slots=True)
class Told:
    """A sentence of the story and the virtual second it was said at."""

    time_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a chain of causes: a fact, when it happened, and what it is in words."""

    fact_id: int
    time_s: float
    text: str


@dataclass(frozen=True, slots=True)
class StoryFacts:
    """`purpose` says what the scenario is about; `chosen` explains the selected row, one line each."""

    purpose: str
    told: tuple[Told, ...]
    chosen: tuple[str, ...] = ()
    try_next: tuple[str, ...] = ()


def story_lines(facts: StoryFacts, width: int, height: int, glyphs: Glyphs) -> list[Line]:
    """The newest of the story first; suggestions stand beside it when the pane is wide, below it when it is narrow."""
    if width >= 100 and facts.try_next:
        right_width = min(44, width // 3)
        left = _flat(_told(facts, width - right_width - 3, glyphs))
        right = _suggestions(facts, right_width, glyphs)
        return _beside(left, right, width - right_width - 3, max(len(left), len(right)), glyphs)
    # In a low pane the first suggestion matters more than the oldest sentences; the others can be scrolled to.
    first = _suggestions(replace(facts, try_next=facts.try_next[:1]), width, glyphs)
    blocks = _told(facts, width, glyphs)
    room = max(2, height - len(first))
    kept = blocks[:1]
    for block in blocks[1:]:
        if len(_flat(kept)) + len(block) > room:
            break
        kept.append(block)
    return [*_flat(kept), *_suggestions(facts, width, glyphs)]


def _flat(blocks: Sequence[Sequence[Line]]) -> list[Line]:
    return [spans for block in blocks for spans in block]


def _told(facts: StoryFacts, width: int, glyphs: Glyphs) -> list[list[Line]]:
    """Each explanation and each sentence as a block of lines, most important first; at last what the scenario is about."""
    blocks: list[list[Line]] = []
    for text in facts.chosen:
        wrapped = wrap(text, width - 4)
        blocks.append(
            [(Span(f" {glyphs.pointer} " if i == 0 else "   ", "key"), *spans) for i, spans in enumerate(wrapped)]
        )
    for index, told in enumerate(facts.told):
        style = "strong" if index == 0 and not facts.chosen else "text"
        stamp = f" {told.time_s:8.3f} s  "
        wrapped = wrap(told.text, width - len(stamp) - 1, style)
        blocks.append(
            [(Span(stamp if i == 0 else " " * len(stamp), "muted"), *spans) for i, spans in enumerate(wrapped)]
        )
    blocks.append([(Span(" "), *spans) for spans in wrap(facts.purpose, width - 2, "muted" if blocks else "text")])
    return blocks


def _suggestions(facts: StoryFacts, width: int, glyphs: Glyphs) -> list[Line]:
    if not facts.try_next:
        return []
    lines: list[Line] = [line(Span(" Try next", "response"))]
    for text in facts.try_next:
        wrapped = wrap(text, width - 4)
        lines += [(Span(f" {glyphs.bullet} " if i == 0 else "   ", "muted"), *spans) for i, spans in enumerate(wrapped)]
    return lines


def _beside(left: Sequence[Line], right: Sequence[Line], left_width: int, height: int, glyphs: Glyphs) -> list[Line]:
    rows: list[Line] = []
    for y in range(height):
        first = left[y] if y < len(left) else ()
        second = right[y] if y < len(right) else ()
        gap = " " * max(0, left_width - sum(len(span.text) for span in first))
        rows.append(line(*first, Span(gap), Span(f" {glyphs.beside} ", "rule"), *second))
    return rows
