"""The compact scale: one row for each fact worth a row, however much or little time lies between them."""

from dataclasses import dataclass

from engines.lab import facts as f
from engines.lab.trace import Trace
from engines.messages import MessageIndex, Phase
from tui.view.flights import Flights
from tui.view.glyphs import Glyphs
from tui.view.lifelines import GUTTER, Layout, Lifelines
from tui.view.lines import Canvas, Line, text_for
from tui.view.rows import Detail, RowIndex
from tui.view.strokes import draw_arrow, draw_lane, draw_mark, draw_rule
from tui.view.words import Mark, Sketch, mark_of, sketch_arrow, sketch_packet


@dataclass(frozen=True, slots=True)
class Scene:
    """All that a row's picture depends on besides its number: the folds, the moment, and how it is to be drawn."""

    trace: Trace
    messages: MessageIndex
    lifelines: Lifelines
    rows: RowIndex
    flights: Flights
    layout: Layout
    left: int
    width: int
    t: float
    limit: int
    detail: Detail
    glyphs: Glyphs
    cursor_row: int | None = None
    marked: frozenset[int] = frozenset()  # rows that differ from those of another run

    def gutter(self, row: int, time: str) -> tuple[tuple[str, str], ...]:
        """The spans before the lifelines: the time, the cursor's mark, and the mark of a difference."""
        cursor = self.glyphs.cursor if row == self.cursor_row else " "
        differs = self.glyphs.differs if row in self.marked else " "
        text = f"{time:>8}{cursor}{differs}"[: max(0, self.width)]
        return (
            (text[:8], "time"),
            (text[8:9], "cursor" if cursor != " " else ""),
            (text[9:], "lost" if differs != " " else ""),
        )

    def canvas(self) -> Canvas:
        return Canvas(self.left, max(0, self.width - GUTTER))

    def visible(self) -> range:
        return self.layout.visible(self.left, self.left + self.width)


def format_time(time_s: float) -> str:
    """A virtual time in at most 8 characters: milliseconds while there is room for them."""
    for digits in (3, 1):
        if len(text := f"{time_s:.{digits}f}") <= 8:
            return text
    return f"{time_s:.0f}"[-8:]


def sketch_of(scene: Scene, fact: int) -> Sketch | None:
    """The arrow that begins with `fact`, as it looks at the scene's moment; None if the fact is no arrow."""
    kind = scene.trace.kind[fact]
    if scene.detail == "packets":
        if kind != f.PacketSent.code:
            return None
        return sketch_packet(scene.messages, fact, scene.t, scene.limit, scene.glyphs)
    if kind not in (f.PacketSent.code, f.MessageStarted.code, f.PacketDropped.code):
        return None
    arrow = scene.messages.arrow_of_fact(fact)
    return None if arrow is None else sketch_arrow(scene.messages, arrow, scene.t, scene.limit, scene.glyphs)


def paint_row(scene: Scene, row: int) -> Line:
    """One row of the compact diagram; a row after the last shows the lifelines going on."""
    rows = scene.rows.facts[scene.detail]
    count = scene.rows.count(scene.limit, scene.detail)
    if row < 0 or row >= count:
        return paint_beyond(scene, row, row == count)
    fact = rows[row]
    time = format_time(scene.trace.time[fact])
    if row and format_time(scene.trace.time[rows[row - 1]]) == time:
        time = ""
    canvas = scene.canvas()
    mark = mark_of(scene.trace, scene.lifelines.spans, fact, scene.t, scene.limit, scene.glyphs)
    if mark is not None and mark.host < 0:
        draw_rule(canvas, mark, scene.glyphs)
        return canvas.line(*scene.gutter(row, time))
    _draw_lanes(scene, canvas, fact)
    sketch = sketch_of(scene, fact)
    if sketch is not None:
        draw_sketch(scene, canvas, sketch)
        draw_elsewhere(scene, canvas, (sketch.sender, sketch.receiver))
    elif mark is not None:
        draw_mark_at(scene, canvas, mark)
        draw_elsewhere(scene, canvas, (mark.host,))
    return canvas.line(*scene.gutter(row, time))


def draw_elsewhere(scene: Scene, canvas: Canvas, names: tuple[int, ...]) -> None:
    """Where it happens, if all of it is beyond one edge: the picture is scrolled sideways, and the row would be empty."""
    places = [scene.layout.x(place) for name in names if (place := scene.lifelines.place(name)) >= 0]
    if not places or canvas.width <= 0:
        return
    host = text_for(scene.glyphs, scene.trace.names[names[0]])
    if min(places) >= canvas.right:
        words = f" {host} {scene.glyphs.right}"
        canvas.put(canvas.right - len(words), words, "dim")
    elif max(places) < canvas.left:
        canvas.put(canvas.left, f"{scene.glyphs.left} {host} ", "dim")


def _draw_lanes(scene: Scene, canvas: Canvas, fact: int) -> None:
    for host in scene.visible():
        draw_lane(canvas, scene.layout.x(host), scene.lifelines.lane(host, fact), scene.glyphs)


def draw_sketch(scene: Scene, canvas: Canvas, sketch: Sketch) -> None:
    """Draw a level arrow between the lifelines of its sender and receiver."""
    start, stop = scene.lifelines.place(sketch.sender), scene.lifelines.place(sketch.receiver)
    if start < 0 or stop < 0:
        return
    if start != stop:
        draw_arrow(canvas, scene.layout.x(start), scene.layout.x(stop), sketch, scene.glyphs)
        return
    arrived = sketch.state.phase is Phase.DELIVERED
    words = f"to itself: {sketch.words} {sketch.tags[-1]}" + (", arrived" if arrived else "")
    draw_mark_at(scene, canvas, Mark(sketch.sender, scene.glyphs.head, words, sketch.style))


def draw_mark_at(scene: Scene, canvas: Canvas, mark: Mark) -> None:
    """Draw a mark on its host's lifeline."""
    host = scene.lifelines.place(mark.host)
    if host >= 0:
        last = host == scene.layout.count - 1
        draw_mark(canvas, scene.layout.x(host), mark, scene.layout.pitch, last)


def paint_beyond(scene: Scene, row: int, first: bool) -> Line:
    """A row where nothing has happened yet: the lifelines, and in the first such row the bars that are still open."""
    canvas = scene.canvas()
    for host in scene.visible():
        lane = scene.lifelines.lane(host, scene.limit - 1)
        bar = lane.bar(scene.glyphs) if first else None
        canvas.put(scene.layout.x(host), *((scene.glyphs.fading, bar[1]) if bar else lane.line(scene.glyphs)))
    return canvas.line(*scene.gutter(row, ""))
