"""Drawing one arrow, one mark or one ruled line on a canvas row; shared by both scales."""

from engines.messages import Phase
from tui.view.glyphs import Glyphs
from tui.view.lifelines import Lane
from tui.view.lines import Canvas, fit
from tui.view.words import Mark, Sketch

_ROOM_FOR_TAG = 5
_ROOM_FOR_SHORT_WORDS = 16
_ROOM_FOR_A_WORD, _ROOM_FOR_WORDS = 7, 12
"""Cells that a word needs, and those that more than one need and blanks around a long one; between the two, an arrow says the
first word of what it brings."""


def draw_lane(canvas: Canvas, x: int, lane: Lane, glyphs: Glyphs) -> None:
    """The lifeline at `x`, or the bar that stands on it."""
    glyph, style = lane.bar(glyphs) or lane.line(glyphs)
    canvas.put(x, glyph, style)


def shaft(sketch: Sketch, n: int, rightward: bool, glyphs: Glyphs) -> tuple[str, int]:
    """The `n` cells of an arrow from its tail on, and how many of them (from the tail) it has passed."""
    state, pattern = sketch.state, sketch.pattern
    size = len(pattern)
    line = "".join(pattern[k % size] for k in range(n))
    if n <= 0:
        return "", 0
    at = min(n - 1, int(state.fraction * n))
    match state.phase:
        case Phase.DELIVERED:
            return line[:-1] + (glyphs.right if rightward else glyphs.left), n
        case Phase.IN_FLIGHT:
            return line[:at] + glyphs.head + " " * (n - at - 1), at
        case Phase.HELD:
            return line[:at] + glyphs.held + " " * (n - at - 1), at
        case Phase.LOST:
            return line[:at] + glyphs.lost + " " * (n - at - 1), at
        case Phase.PARTIAL:
            arrived = int(state.fraction * (n - 1)) if state.total is not None else 0
            return glyphs.heavy * arrived + line[arrived:-1] + (glyphs.held if state.blocked else glyphs.head), n
    return " " * n, 0


def draw_arrow(canvas: Canvas, start: int, stop: int, sketch: Sketch, glyphs: Glyphs) -> None:
    """A level arrow from the lifeline at `start` to the one at `stop`, with its words and its connection's tag."""
    rightward = stop > start
    n = abs(stop - start) - 1
    cells, passed = shaft(sketch, n, rightward, glyphs)
    low = min(start, stop) + 1
    drawn = len(cells.rstrip())
    if rightward:
        canvas.put(low, cells[:drawn], sketch.style)
    else:
        canvas.put(low + n - drawn, cells[:drawn][::-1], sketch.style)
    if canvas.get(start) == glyphs.lifeline:
        canvas.put(start, glyphs.tail_right if rightward else glyphs.tail_left, sketch.style)
    first, last = max(low, canvas.left), min(low + n, canvas.right)  # what of the shaft can be seen
    head = low + passed if rightward else low + n - 1 - passed
    if sketch.fate:
        _draw_fate(canvas, first, last, head, sketch, rightward)
        return
    # The words light up as the head passes them: behind it they have the arrow's style, before it they are dim.
    lit = range(low, head) if rightward else range(head + 1, low + n)
    _draw_words(canvas, first, last, sketch, sketch.text, rightward, lit)
    if sketch.state.phase is Phase.IN_FLIGHT:
        canvas.put(head, glyphs.head, sketch.style)


def _draw_fate(canvas: Canvas, first: int, last: int, head: int, sketch: Sketch, rightward: bool) -> None:
    """The words of an arrow that stands still: what it is on the drawn side, why it stands on the other. Where that is
    too narrow, both on the wider side."""
    behind, ahead = ((first, head), (head + 1, last)) if rightward else ((head + 1, last), (first, head))
    everywhere = range(first, last)
    fits = len(sketch.text) + 4 <= behind[1] - behind[0] and len(sketch.fate) + 2 <= ahead[1] - ahead[0]
    if fits:
        _draw_words(canvas, *behind, sketch, sketch.text, rightward, everywhere)
        canvas.put(ahead[0] + 1 if rightward else ahead[1] - 1 - len(sketch.fate), sketch.fate, sketch.style)
    else:
        wider = max(behind, ahead, key=lambda side: side[1] - side[0])
        _draw_words(canvas, *wider, sketch, sketch.words, rightward, everywhere, tagged=wider == behind)


def _draw_words(
    canvas: Canvas,
    first: int,
    last: int,
    sketch: Sketch,
    text: str,
    rightward: bool,
    lit: range,
    tagged: bool = True,
) -> None:
    """`text` in the middle of columns `first` to `last` - 1 and the connection's tag near the tail, as far as they fit."""
    room = last - first
    if room < _ROOM_FOR_A_WORD:
        return
    if len(text) > room - 4:
        text = sketch.brief if text == sketch.text else text
    tag = next((t for t in sketch.tags if tagged and len(text) + len(t) + _ROOM_FOR_TAG + 4 <= room), "")
    short = sketch.tags[-1]
    if not tag and room >= len(short) + _ROOM_FOR_SHORT_WORDS:
        text = f"{fit(text, room - len(short) - 5)} {short}"
    if room < _ROOM_FOR_WORDS and len(text) > room - 4:
        text = text.partition(" ")[0].rstrip(":,")
    text = f" {fit(text, room - 4)} " if room >= _ROOM_FOR_WORDS or len(text) <= room - 4 else fit(text, room - 2)
    x = first + (room - len(text)) // 2
    if tag:
        beside = len(tag) + 3
        canvas.put(first + 1 if rightward else last - beside, f" {tag} ", "tag")
        x = max(x, first + beside + 1) if rightward else min(x, last - beside - 1 - len(text))
    canvas.put(x, text, "dim")
    start, stop = max(x, lit.start), min(x + len(text), lit.stop)
    if start < stop:
        canvas.put(start, text[start - x : stop - x], sketch.style)


def draw_mark(canvas: Canvas, x: int, mark: Mark, gap: int, last: bool) -> None:
    """A mark on the lifeline at `x` with its words beside it: to the right, or to the left where there is more room.

    `gap` is the number of cells to the next lifeline on either side; `last`: there is none on the right.
    """
    canvas.put(x, mark.bar or mark.glyph, mark.style)
    words = mark.text
    right = max(0, canvas.right - (x + 2)) if last else min(gap - 3, max(0, canvas.right - (x + 2)))
    left = x - canvas.left - 2 if last else gap - 3
    if right < len(words) and x - gap >= 0 and (last or len(words) <= left):
        words = fit(words, max(0, left))
        canvas.put(x - 1 - len(words), words, mark.style)
    else:
        canvas.put(x + 2, fit(words, max(0, canvas.right - (x + 2))), mark.style)


def draw_rule(canvas: Canvas, mark: Mark, glyphs: Glyphs) -> None:
    """A line across the whole picture, with its words in the middle: what a person ordered, or what the network became."""
    canvas.put(canvas.left, glyphs.rule * canvas.width, mark.style)
    words = _rule_words(canvas, mark)
    canvas.put(canvas.left + max(0, (canvas.width - len(words)) // 2), words, mark.style)


def draw_rule_words_last(canvas: Canvas, mark: Mark) -> None:
    """The words of a ruled line at its right end, over whatever was drawn across the line."""
    words = _rule_words(canvas, mark)
    canvas.put(canvas.right - len(words) - 1, words, mark.style)


def _rule_words(canvas: Canvas, mark: Mark) -> str:
    return f" {mark.glyph} {fit(mark.text, max(0, canvas.width - 8))} "
