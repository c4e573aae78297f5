"""Drawing one arrow, one mark or one ruled line on a canvas row; shared by both scales."""

from engines.messages import Phase
from tui.view.glyphs import Glyphs
from tui.view.lifelines import Lane
from tui.view.lines import Canvas, fit
from tui.view.words import Mark, Sketch

_ROOM_FOR_TAG = 5


def draw_lane(canvas: Canvas, x: int, lane: Lane, glyphs: Glyphs) -> None:
    """The lifeline at `x`, or the bar that stands on it."""
    glyph, style = lane.bar(glyphs) or lane.line(glyphs)
    canvas.put(x, glyph, style)


def shaft(sketch: Sketch, n: int, rightward: bool, glyphs: Glyphs) -> tuple[str, int]:
    """The `n` cells of an arrow from its tail on, and how many of them (from the tail) it has passed."""
    state, pattern = sketch.state, sketch.pattern
    size = len(pattern)
    line = "".join(pattern[(n - k) % size] for k in range(n))
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
    if sketch.state.phase is Phase.LOST:
        first, last = _beside_the_cross(first, last, low + passed if rightward else low + n - 1 - passed)
    _draw_words(canvas, first, last, sketch, rightward, (low, n, passed), glyphs)


def _beside_the_cross(first: int, last: int, cross: int) -> tuple[int, int]:
    """The longer of the two stretches that a lost arrow's end leaves free for its words."""
    return (first, cross) if cross - first >= last - cross - 1 else (cross + 1, last)


def _draw_words(
    canvas: Canvas, first: int, last: int, sketch: Sketch, rightward: bool, way: tuple[int, int, int], glyphs: Glyphs
) -> None:
    room = last - first
    if room < 5:
        return
    low, n, passed = way
    tag = next((t for t in sketch.tags if len(sketch.text) + len(t) + _ROOM_FOR_TAG + 4 <= room), "")
    text = sketch.text
    if not tag and len(text) + len(sketch.tags[-1]) + 5 <= room:
        text = f"{text} {sketch.tags[-1]}"
    text = f" {fit(text, room - 4)} "
    x = first + (room - len(text)) // 2
    if tag:
        beside = len(tag) + 3
        tag_x = first + 1 if rightward else last - beside
        canvas.put(tag_x, f" {tag} ", "tag")
        x = max(x, first + beside + 1) if rightward else min(x, last - beside - 1 - len(text))
    if sketch.state.phase is Phase.LOST:
        canvas.put(x, text, sketch.style)
        return
    edge = low + passed if rightward else low + n - passed  # the label lights up as the head passes it
    split = max(0, min(len(text), edge - x))
    canvas.put(x, text[:split], sketch.style if rightward else "dim")
    canvas.put(x + split, text[split:], "dim" if rightward else sketch.style)
    if sketch.state.phase in (Phase.IN_FLIGHT, Phase.HELD):
        glyph = glyphs.head if sketch.state.phase is Phase.IN_FLIGHT else glyphs.held
        canvas.put(low + passed if rightward else low + n - 1 - passed, glyph, sketch.style)


def draw_mark(canvas: Canvas, x: int, mark: Mark, gap: int, last: bool, glyphs: Glyphs) -> None:
    """A mark on the lifeline at `x` with its words beside it: to the right, or to the left where there is more room.

    `gap` is the number of cells to the next lifeline on either side; `last`: there is none on the right.
    """
    canvas.put(x, mark.bar or mark.glyph, mark.style)
    words = mark.text
    right = max(0, canvas.right - (x + 2)) if last else min(gap - 3, max(0, canvas.right - (x + 2)))
    if len(words) > right and len(words) <= gap - 3 and x - gap >= 0:
        canvas.put(x - 1 - len(words), words, mark.style)
    else:
        canvas.put(x + 2, fit(words, max(0, canvas.right - (x + 2))), mark.style)


def draw_rule(canvas: Canvas, mark: Mark, glyphs: Glyphs) -> None:
    """A line across the whole picture, with its words in the middle: what a person ordered, or what the network became."""
    canvas.put(canvas.left, glyphs.rule * canvas.width, mark.style)
    words = f" {mark.glyph} {fit(mark.text, max(0, canvas.width - 8))} "
    canvas.put(canvas.left + max(0, (canvas.width - len(words)) // 2), words, mark.style)
