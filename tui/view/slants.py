"""Slanted arrows: a staircase from one lifeline down to another, through rows that are equal steps of time."""

from dataclasses import dataclass

from engines.messages import Phase
from tui.view.glyphs import Glyphs
from tui.view.lines import Canvas, fit
from tui.view.words import Sketch

_SHORTER_WORDS = (14, 9)


@dataclass(frozen=True, slots=True)
class Slant:
    """An arrow's way across the picture. `way` is (time, fraction of the way) wherever its speed changes; `start` and `stop`
    are the columns of its lifelines; `last_row` is where it is now, `arrival_row` where it is expected to end. `crowded`:
    other words stand in its first row."""

    sketch: Sketch
    way: list[tuple[float, float]]
    row_s: float
    start_row: int
    last_row: int
    arrival_row: int
    start: int
    stop: int
    crowded: bool

    @property
    def rightward(self) -> bool:
        return self.stop > self.start

    @property
    def cells(self) -> int:
        """How many cells lie between the lifelines."""
        return abs(self.stop - self.start) - 1

    def cell_at(self, row: int) -> int:
        """The cell, counted from the tail, that it had reached when `row` began."""
        time_s = row * self.row_s
        before, fraction = self.way[0]
        for after, reached in self.way[1:]:
            if time_s <= before:
                break
            if time_s < after:
                fraction += (reached - fraction) * (time_s - before) / (after - before)
                break
            before, fraction = after, reached
        return min(self.cells - 1, int(fraction * self.cells))

    @property
    def last_cell(self) -> int:
        """The cell of its head, or where it ended."""
        return min(self.cells - 1, int(self.sketch.state.fraction * self.cells))


def draw_slant(slant: Slant, canvases: list[Canvas], top: int, glyphs: Glyphs) -> None:
    """The staircase, as far as it has come, on the canvases of rows `top` and following."""
    style = slant.sketch.style
    for row in range(max(slant.start_row, top), min(slant.last_row, top + len(canvases) - 1) + 1):
        canvas = canvases[row - top]
        first, text = _stair(slant, row, glyphs)
        if row == slant.start_row and canvas.get(slant.start) == glyphs.lifeline:
            canvas.put(slant.start, glyphs.tail_right if slant.rightward else glyphs.tail_left, style)
        if slant.rightward:
            canvas.put(slant.start + 1 + first, text, style)
        else:
            canvas.put(slant.start - first - len(text), text[::-1], style)


def _stair(slant: Slant, row: int, glyphs: Glyphs) -> tuple[int, str]:
    """The cells of one row, from the tail on: the first one's number, and what is in them."""
    enters, leaves = row > slant.start_row, row < slant.last_row
    first = min(slant.last_cell, slant.cell_at(row)) if enters else 0
    last = min(slant.last_cell, slant.cell_at(row + 1)) if leaves else slant.last_cell
    cells = [slant.sketch.pattern[0]] * (max(first, last) - first + 1)
    if leaves:
        cells[-1] = glyphs.corner_down_right if slant.rightward else glyphs.corner_down_left
    if enters:
        turn = glyphs.corner_up_right if slant.rightward else glyphs.corner_up_left
        cells[0] = turn if last > first else glyphs.lifeline
    if not leaves:
        arrow = glyphs.right if slant.rightward else glyphs.left
        tips = {Phase.DELIVERED: arrow, Phase.LOST: glyphs.lost, Phase.HELD: glyphs.held}
        cells[-1] = tips.get(slant.sketch.state.phase, glyphs.head)
    return first, "".join(cells)


def draw_slant_words(slant: Slant, canvases: list[Canvas], top: int) -> None:
    """Its words, moved along their row to where nothing else is, and shortened to fit; none, if there is no such place."""
    row, cell, words = _place_words(slant)
    if not words or not top <= row < top + len(canvases):
        return
    canvas, style = canvases[row - top], slant.sketch.style
    wanted = slant.start + 1 + cell if slant.rightward else slant.start - cell - len(words)
    if row == slant.start_row and canvas.get(wanted + 1) == slant.sketch.pattern[0]:  # on its own long first stretch
        canvas.put(wanted, words, style)
        return
    low = min(slant.start, slant.stop) + 1
    for width in (len(words), *_SHORTER_WORDS):
        text = f" {fit(words.strip(), width - 2)} "
        places = sorted(range(low, low + slant.cells - len(text) + 1), key=lambda x: abs(x - wanted))
        place = next((x for x in places if canvas.is_blank(x, len(text))), None)
        if place is not None:
            canvas.put(place, text, style)
            return


def _place_words(slant: Slant) -> tuple[int, int, str]:
    """Where the words would best be: the row, the cell from the tail, the text. It depends on the way alone, so that the
    words stay where they are while the head moves."""
    text = f" {slant.sketch.words} {slant.sketch.tags[-1]} "
    row, arrival = slant.start_row, slant.arrival_row
    if slant.crowded and arrival - row > 1:
        row += 1
    end = slant.cell_at(row + 1)
    if row == slant.start_row and end >= len(text) + 2:
        return row, (end - len(text)) // 2 + 1, text
    behind = slant.cells - end - 2
    if behind >= len(text) or arrival == row:
        return row, end + 1, fit(text, behind)
    last_start = slant.cell_at(arrival)
    if last_start > behind and slant.last_row == arrival:
        text = fit(text, last_start)
        return arrival, last_start - len(text), text
    return row, end + 1, fit(text, max(0, behind))
