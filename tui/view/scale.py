"""The diagram to scale: rows are equal steps of time, arrows slant from where they were sent to where they arrive."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace

from engines.lab.facts import MessageStarted, PacketDropped, PacketSent
from engines.messages import ArrowState, Phase
from tui.view.compact import Scene, draw_sketch, format_time, paint_beyond
from tui.view.lines import Canvas, Line, fit
from tui.view.slants import Slant, draw_slant, draw_slant_words
from tui.view.strokes import draw_lane, draw_rule_words_last
from tui.view.words import Mark, Sketch, mark_of, sketch_arrow, sketch_packet

PACKETS_A_ROW = 8
"""How many packets of one row are looked at; a row that stands for more says how many it does not show."""

FACTS_A_ROW = 6
_TIME_EVERY_ROWS = 5
_FAR = 1e15
_EDGE, _ROUNDING = 1e-8, 1e-15  # rows within which `row_at` may round either way, near row 0 and for each row after it
_NEARLY = 0.15
_LEAST_WORDS = 6


def row_at(time_s: float, row_s: float) -> int:
    """The row that `time_s` falls in. The tiny addend keeps 3 x 0.1 in row 3."""
    return int(time_s / row_s + 1e-9)


def first_fact(scene: Scene, row: int, row_s: float) -> int:
    """The first fact not before that row, among those of the scene's moment.

    Asked for every row of every frame: the times are searched in C, and only facts at the row's very edge are asked singly.
    """
    time = scene.trace.time
    edge = _EDGE + abs(row) * _ROUNDING
    low = bisect_left(time, (row - edge) * row_s, 0, scene.limit)
    high = bisect_right(time, (row + edge) * row_s, low, scene.limit)
    return bisect_left(range(high), row, low, key=lambda i: row_at(time[i], row_s))


@dataclass(frozen=True, slots=True)
class _Path:
    """A packet's way across the picture: (time, fraction) wherever its speed changes, and the rows it has come through.
    `arrival_row` is where it is expected to end."""

    packet: int
    state: ArrowState
    way: list[tuple[float, float]]
    start_row: int
    last_row: int
    arrival_row: int

    @property
    def level(self) -> bool:
        """Whether all of it lies within one row."""
        return self.start_row == self.last_row == self.arrival_row


def paint_rows(scene: Scene, top: int, height: int, row_s: float) -> list[Line]:
    """Rows `top` to `top + height` - 1 of the diagram to scale."""
    now = row_at(scene.t, row_s)
    stop = max(top, min(top + height, now + 1))
    bounds = [first_fact(scene, row, row_s) for row in range(top, stop + 1)]
    canvases = [scene.canvas() for _ in range(top, stop)]
    hidden = [0] * len(canvases)
    marks = [_row_marks(scene, bounds[i], bounds[i + 1]) for i in range(len(canvases))]
    for i, canvas in enumerate(canvases):
        _draw_ground(scene, canvas, bounds[i], bounds[i + 1], marks[i])
    levels: dict[int, list[_Path]] = {}
    slants: list[Slant] = []
    for path in _paths(scene, bounds, hidden, row_s):
        if path.level or scene.trace.b[path.packet] == scene.trace.c[path.packet]:
            levels.setdefault(path.start_row, []).append(path)
        elif slant := _slant(scene, path, _sketch(scene, path), row_s):
            slants.append(slant)
    for slant in slants:
        draw_slant(slant, canvases, top, scene.glyphs)
    for slant in reversed(slants):
        draw_slant_words(slant, canvases, top)
    for row, paths in levels.items():
        if top <= row < stop:
            hidden[row - top] += _draw_levels(scene, canvases[row - top], paths)
    lines = []
    for i, canvas in enumerate(canvases):
        hidden[i] += _draw_row_marks(scene, canvas, marks[i])
        if hidden[i]:
            words = f" +{hidden[i]} more"
            canvas.put(canvas.right - len(words), words, "dim")
        row = top + i
        labelled = row % _TIME_EVERY_ROWS == 0 or row == scene.cursor_row
        lines.append(canvas.line(*scene.gutter(row, format_time(row * row_s) if labelled else "")))
    return lines + [paint_beyond(scene, row, False) for row in range(stop, top + height)]


def _row_facts(scene: Scene, first: int, stop: int) -> list[int]:
    """The facts worth a row among facts `first` to `stop` - 1: the first few of them."""
    rows = scene.rows.facts[scene.detail]
    low, high = bisect_left(rows, first), bisect_left(rows, stop)
    return list(rows[low : min(high, low + FACTS_A_ROW)])


def _row_marks(scene: Scene, first: int, stop: int) -> dict[int, Mark]:
    """The marks of a row that holds these facts, by host (-1: across all of them); several at one host become one."""
    marks: dict[int, Mark] = {}
    for fact in _row_facts(scene, first, stop):
        mark = mark_of(scene.trace, scene.lifelines.spans, fact, scene.t, scene.limit, scene.glyphs)
        if mark is not None:
            other = marks.get(mark.host)
            marks[mark.host] = mark if other is None else replace(mark, text=f"{other.text}, {mark.text}")
    return marks


def _draw_ground(scene: Scene, canvas: Canvas, first: int, stop: int, marks: dict[int, Mark]) -> None:
    """What everything else is drawn upon: a ruled line, the lifelines, the bars."""
    rule = marks.get(-1)
    if rule is not None:
        canvas.put(canvas.left, scene.glyphs.rule * canvas.width, rule.style)
    for host in scene.visible():
        busy = scene.lifelines.busy_within(host, first, stop - 1)
        lane = busy or scene.lifelines.lane(host, stop - 1)
        if lane.present or rule is None:
            draw_lane(canvas, scene.layout.x(host), lane, scene.glyphs)


def _draw_row_marks(scene: Scene, canvas: Canvas, marks: dict[int, Mark]) -> int:
    """The marks of a row, their words where the arrows left room; returns how many have no room for words."""
    wordless = 0
    for name, mark in marks.items():
        host = scene.lifelines.place(name)
        if name < 0:
            draw_rule_words_last(canvas, mark)
        elif host >= 0:
            x = scene.layout.x(host)
            canvas.put(x, mark.bar or mark.glyph, mark.style)
            stop = canvas.right if host == scene.layout.count - 1 else x + scene.layout.pitch
            start = next((at for at in range(x + 2, stop) if canvas.get(at) == canvas.get(at - 1) == " "), stop)
            end = next((at for at in range(start, stop) if canvas.get(at) != " "), stop)
            if end - start >= min(len(mark.text), _LEAST_WORDS):
                canvas.put(start, fit(mark.text, end - start), mark.style)
            else:
                wordless += canvas.left <= x < canvas.right
    return wordless


def _paths(scene: Scene, bounds: list[int], hidden: list[int], row_s: float) -> list[_Path]:
    """What crosses the window: the packets on their way when it begins, then those sent in it, at most so many a row."""
    if len(bounds) < 2:
        return []
    packets = scene.messages.packets
    chosen = _flying(scene, bounds[0])
    for i in range(len(bounds) - 1):
        low, high = bisect_left(packets, bounds[i]), bisect_left(packets, bounds[i + 1])
        cut = min(high, low + PACKETS_A_ROW)
        chosen.extend(packets[low:cut])
        hidden[i] += high - cut
    paths = [path for packet in chosen if (path := _path(scene, packet, row_s)) is not None]
    return sorted(paths, key=lambda path: path.state.phase is Phase.LOST)


def _flying(scene: Scene, limit: int) -> list[int]:
    return scene.flights.open_before(limit)[: 4 * PACKETS_A_ROW]


def _path(scene: Scene, packet: int, row_s: float) -> _Path | None:
    """The way of one packet; None for those in the middle of a message, which only the detail "packets" shows."""
    trace, messages = scene.trace, scene.messages
    state = messages.packet_state_at(packet, scene.t, scene.limit)
    if scene.detail == "messages" and state.phase is not Phase.LOST and not _is_edge(scene, packet, row_s):
        return None
    way, _ = messages.way(packet, scene.limit)
    start = row_at(trace.time[packet], row_s)
    # What arrives just as a row begins is drawn to its end in the row before.
    arrival = max(start, int(min(way[-1][0] / row_s, _FAR) - _NEARLY))
    now = row_at(scene.t, row_s)
    last = now if state.phase is Phase.HELD else min(now, arrival) if state.phase is Phase.IN_FLIGHT else arrival
    return _Path(packet, state, way, start, last, arrival)


def _is_edge(scene: Scene, packet: int, row_s: float) -> bool:
    """Whether the packet is the first of its arrow, or the last and not sent in the same row."""
    messages = scene.messages
    arrow = messages.arrow_of_fact(packet)
    if arrow is None or messages.packet[arrow] == packet:
        return arrow is not None
    return _is_last(scene, arrow, packet) and row_at(scene.trace.time[packet], row_s) > row_at(
        messages.first_sent_s(arrow), row_s
    )


def _is_last(scene: Scene, arrow: int, packet: int) -> bool:
    ended = scene.messages.ended[arrow]
    return 0 <= ended < scene.limit and scene.trace.cause[ended] == packet


def _sketch(scene: Scene, path: _Path) -> Sketch:
    messages = scene.messages
    arrow = messages.arrow_of_fact(path.packet)
    if scene.detail == "packets" or arrow is None:
        return sketch_packet(messages, path.packet, scene.t, scene.limit, scene.glyphs)
    if messages.packet[arrow] == path.packet:
        sketch = sketch_arrow(messages, arrow, scene.t, scene.limit, scene.glyphs)
        return sketch if path.state == sketch.state else replace(sketch, state=path.state)
    sketch = sketch_packet(messages, path.packet, scene.t, scene.limit, scene.glyphs)
    return replace(sketch, text="end") if _is_last(scene, arrow, path.packet) and not sketch.fate else sketch


def _draw_levels(scene: Scene, canvas: Canvas, paths: list[_Path]) -> int:
    """Arrows that begin and arrive within one row; returns how many found no room. Lost ones come first."""
    taken: list[tuple[int, int]] = []
    hidden = 0
    for path in reversed(paths):
        ends = sorted(scene.lifelines.place(column[path.packet]) for column in (scene.trace.b, scene.trace.c))
        if any(ends[0] < high and low < ends[1] for low, high in taken):
            hidden += 1
            continue
        taken.append((ends[0], ends[1]))
        draw_sketch(scene, canvas, _sketch(scene, path))
    return hidden


def _slant(scene: Scene, path: _Path, sketch: Sketch, row_s: float) -> Slant | None:
    """The path as a slanted arrow; None if its hosts are unknown."""
    sender, receiver = scene.lifelines.place(sketch.sender), scene.lifelines.place(sketch.receiver)
    if sender < 0 or receiver < 0:
        return None
    return Slant(
        sketch, path.way, row_s, path.start_row, path.last_row, path.arrival_row,
        scene.layout.x(sender), scene.layout.x(receiver), _is_crowded(scene, path.start_row, row_s),
    )  # fmt: skip


def _is_crowded(scene: Scene, row: int, row_s: float) -> bool:
    """Whether marks have their words in that row."""
    first, stop = first_fact(scene, row, row_s), first_fact(scene, row + 1, row_s)
    arrows = (PacketSent.code, MessageStarted.code, PacketDropped.code)
    return any(scene.trace.kind[fact] not in arrows for fact in _row_facts(scene, first, stop))
