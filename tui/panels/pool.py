"""The pool panel: who stands in line, which connections are opening, busy or idle, and whom they serve.

Every state has a glyph and a word of its own; the line of counts tells which is which.
"""

from collections.abc import Iterator, Sequence

from engines.pools import Member, Pool, State
from tui.panels.glyphs import Glyphs
from tui.panels.lines import Line, Span, best_fit, clip, fit, line, spread

QUEUED = "queued"
NOTHING = "No pool here that several requests share at a time."

_STYLES = {QUEUED: "trouble", State.BUSY: "request", State.OPENING: "strong", State.IDLE: "muted"}


def pool_lines(pools: Sequence[Pool], time_s: float, width: int, height: int, glyphs: Glyphs) -> list[Line]:
    """All `pools` in `height` lines, of which each gets its share; at least what is in it by numbers and as a row of glyphs."""
    if not pools:
        return [line(Span(fit(f" {NOTHING}", width, glyphs.ellipsis).rstrip(), "muted"))]
    share = max(3, height // len(pools))
    return [clip(spans, width) for pool in pools for spans in _one(pool, time_s, width, share, glyphs)]


def _one(pool: Pool, time_s: float, width: int, height: int, glyphs: Glyphs) -> list[Line]:
    cells = list(_cells(pool))
    lines = [
        spread(
            line(Span(f" pool of {pool.host}", "strong")), line(Span(f"at most {pool.size} at a time ", "muted")), width
        ),
        _counts(cells, width, glyphs),
        _row(cells, pool.size, width, glyphs),
    ]
    rows = list(_rows(pool, time_s, width, glyphs))
    room = height - len(lines)
    if len(rows) > room:
        rest = len(rows) - max(0, room - 1)
        rows = rows[: max(0, room - 1)] + [line(Span(f"   and {rest} more", "muted"))] * (room > 0)
    return lines + rows


def _cells(pool: Pool) -> Iterator[str]:
    """A state for each request in line and each place that is taken; a connection with several requests takes several."""
    for _ in pool.queue:
        yield QUEUED
    for member in pool.members.values():
        yield from [member.state.value] * max(1, len(member.requests))


def _glyph(state: str, glyphs: Glyphs) -> str:
    return {
        QUEUED: glyphs.queued,
        State.BUSY.value: glyphs.busy,
        State.OPENING.value: glyphs.opening,
        State.IDLE.value: glyphs.idle,
    }[state]


def _counts(cells: Sequence[str], width: int, glyphs: Glyphs) -> Line:
    """The numbers, which are the key to the glyphs as well. A state in which nobody is goes unsaid."""
    counts = [(state, count) for state in _STYLES if (count := cells.count(state))]
    if not counts:
        return line(Span(" empty", "muted"))

    def said(gap: str) -> Line:
        return line(
            *(
                span
                for state, count in counts
                for span in (Span(f" {_glyph(state, glyphs)}{gap}", _STYLES[state]), Span(f"{count} {state}{gap}"))
            )
        )

    return best_fit([said(" "), said("")], width)


def _row(cells: Sequence[str], size: int, width: int, glyphs: Glyphs) -> Line:
    """The line of those who wait, the first nearest to the pool, and the pool's places; what is too long for it is cut."""
    waiting = [cell for cell in cells if cell == QUEUED]
    taken = [cell for cell in cells if cell != QUEUED]
    places = width - 5
    shown = taken[: max(1, places * 2 // 3)]
    free = max(0, min(size - len(taken), places - len(shown) - len(waiting), places // 2))
    room = max(0, places - len(shown) - free)
    cut = glyphs.ellipsis if len(waiting) > room else ""
    line_of_waiting = cut + glyphs.queued * (min(len(waiting), room) - len(cut))
    spans = [Span(f" {line_of_waiting}", "trouble"), Span(f" {glyphs.into} ", "muted")]
    spans += [Span(_glyph(cell, glyphs), _STYLES[cell]) for cell in shown]
    spans.append(Span(glyphs.free * free, "muted"))
    spans.append(Span(glyphs.ellipsis if size - len(taken) > free or len(taken) > len(shown) else "", "muted"))
    return line(*spans)


def _rows(pool: Pool, time_s: float, width: int, glyphs: Glyphs) -> Iterator[Line]:
    """The first in line, each connection and what it does, then the others in line."""
    waiting = [
        _told(glyphs.queued, QUEUED, "", r.label, time_s - r.since_s, width, glyphs) for r in pool.queue.values()
    ]
    yield from waiting[:1]
    for member in pool.members.values():
        glyph = _glyph(member.state.value, glyphs)
        yield _told(glyph, member.state, f"{member.number}", _whom(member), time_s - member.since_s, width, glyphs)
    yield from waiting[1:]


def _whom(member: Member) -> str:
    labels = [request.label for request in member.requests.values()]
    if len(labels) > 1:
        return f"{len(labels)} requests, {labels[0]} to {labels[-1]}"
    return labels[0] if labels else ""


def _told(glyph: str, state: str, number: str, whom: str, since_s: float, width: int, glyphs: Glyphs) -> Line:
    since = f" {max(0.0, since_s):.1f} s "
    label = Span(fit(whom, width - 16 - len(since), glyphs.ellipsis))
    left = line(Span(f" {glyph} ", _STYLES[state]), Span(f"{number:>3} {state:<7} ", "muted"), label)
    return spread(left, line(Span(since, "muted")), width)
