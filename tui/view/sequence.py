"""The sequence diagram as a whole: its folds, and any window of it at any moment, at a cost in proportion to the window."""

from dataclasses import dataclass
from math import log

from engines.lab import facts as f
from engines.lab.trace import Trace
from engines.messages import ArrowKind, MessageIndex, Phase
from tui.view import compact, scale
from tui.view.compact import Scene
from tui.view.flights import Flights
from tui.view.glyphs import UNICODE, Glyphs
from tui.view.lifelines import Layout, Lifelines, paint_header
from tui.view.lines import Line
from tui.view.rows import Detail, RowIndex

_ROWS_S = [digit * 10.0**power for power in range(-5, 2) for digit in (1, 2, 5)]
"""The steps of the zoom, in seconds a row: 10 µs to 50 s."""

_ROWS_ON_THE_WAY = 4


@dataclass(frozen=True, slots=True)
class Mode:
    """The scale: `row_s` 0 is compact (a row for each fact), otherwise a row is that many seconds."""

    row_s: float = 0.0

    @property
    def to_scale(self) -> bool:
        return self.row_s > 0

    def zoomed(self, steps: int) -> "Mode":
        """The mode that many steps of 1, 2, 5 finer (positive) or coarser. Compact stays compact."""
        if not self.to_scale:
            return self
        nearest = min(range(len(_ROWS_S)), key=lambda i: abs(_ROWS_S[i] - self.row_s))
        return Mode(_ROWS_S[max(0, min(len(_ROWS_S) - 1, nearest - steps))])


COMPACT = Mode()


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a picture to paint: rows `top` to `top + height` - 1, `width` cells, scrolled sideways by `left`."""

    top: int
    height: int
    left: int
    width: int


class SequenceModel:
    """The diagram of `trace`. `consume` reads new facts; everything else is a function of the moment `t` and the window."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.messages = MessageIndex(trace)
        self.lifelines = Lifelines(trace)
        self.rows = RowIndex(trace, self.messages)
        self.flights = Flights(trace, self.messages)

    @property
    def hosts(self) -> list[str]:
        """The hosts' names from left to right."""
        return self.lifelines.hosts

    def consume(self, budget_facts: int = 1 << 60) -> bool:
        """Read at most so many new facts; true if there were any."""
        first = self.messages.consumed
        changed = self.messages.consume(None, budget_facts)
        stop = self.messages.consumed
        self.lifelines.consume(first, stop)
        self.rows.consume(first, stop)
        self.flights.consume(first, stop)
        return changed

    # --- rows and facts ---------------------------------------------------------------------------------------------

    def row_count(self, t: float, mode: Mode = COMPACT, detail: Detail = "messages") -> int:
        """How many rows there are at `t`."""
        limit = self.messages.limit_at(t)
        if mode.to_scale:
            return scale.row_at(t, mode.row_s) + 1 if limit else 0
        return self.rows.count(limit, detail)

    def row_of_time(self, t: float, mode: Mode = COMPACT, detail: Detail = "messages") -> int:
        """The last row that begins at or before `t`; 0 when there is none."""
        return max(0, self.row_count(t, mode, detail) - 1)

    def fact_of_row(self, row: int, mode: Mode = COMPACT, detail: Detail = "messages") -> int | None:
        """The fact that a row stands for: the first worth showing in it, else the last one before it; None for no fact."""
        rows = self.rows.facts[detail]
        if not mode.to_scale:
            return rows[row] if 0 <= row < len(rows) else None
        scene = self._scene(float("inf"), 0, 0, UNICODE, detail, None)
        first, stop = (scale.first_fact(scene, r, mode.row_s) for r in (row, row + 1))
        place = self.rows.count(first, detail)
        if place < len(rows) and rows[place] < stop:
            return rows[place]
        return first - 1 if first > 0 else None

    def row_of_fact(self, fact: int, mode: Mode = COMPACT, detail: Detail = "messages") -> int:
        """The row in which `fact` is to be seen: its own, its arrow's, or the one before it; 0 when there is none."""
        if mode.to_scale:
            return scale.row_at(self.trace.time[fact], mode.row_s) if 0 <= fact < len(self.trace) else 0
        return max(0, self.rows.row_of(fact, detail))

    def row_to_mark(self, fact: int, mode: Mode = COMPACT, detail: Detail = "messages") -> int:
        """The row in which it is to be seen that `fact` happened: its own, its arrow's, or else the next one."""
        if mode.to_scale:
            return self.row_of_fact(fact, mode, detail)
        own = self.rows.own_row(fact, detail)
        return own if own is not None else self.rows.count(fact, detail)

    def content_width(self, width: int) -> int:
        """Cells of the whole picture when it is shown in `width` cells; more than `width` means it scrolls sideways."""
        return Layout.of(width, len(self.hosts)).width

    def suggested_scale(self) -> Mode:
        """The scale at which a packet is on its way for a few rows: enough to see the slant, no more than that."""
        wanted = self.messages.usual_transit_s() / _ROWS_ON_THE_WAY
        return Mode(min(_ROWS_S, key=lambda row_s: abs(log(row_s / wanted))))

    # --- pictures ---------------------------------------------------------------------------------------------------

    def header(self, width: int, left: int, t: float, glyphs: Glyphs = UNICODE) -> list[Line]:
        """The hosts' names and states at `t`: lifelines.HEADER_HEIGHT lines."""
        layout = Layout.of(width, len(self.hosts))
        return paint_header(self.lifelines, layout, width, left, self.messages.limit_at(t), glyphs)

    def paint(
        self,
        window: Window,
        t: float,
        mode: Mode = COMPACT,
        cursor_row: int | None = None,
        glyphs: Glyphs = UNICODE,
        detail: Detail = "messages",
        marked: frozenset[int] = frozenset(),
    ) -> list[Line]:
        """`window.height` lines, each exactly `window.width` cells wide; `marked` rows differ from those of another run."""
        scene = self._scene(t, window.left, window.width, glyphs, detail, cursor_row, marked)
        if mode.to_scale:
            return scale.paint_rows(scene, window.top, window.height, mode.row_s)
        return [compact.paint_row(scene, row) for row in range(window.top, window.top + window.height)]

    def _scene(
        self,
        t: float,
        left: int,
        width: int,
        glyphs: Glyphs,
        detail: Detail,
        cursor_row: int | None,
        marked: frozenset[int] = frozenset(),
    ) -> Scene:
        return Scene(
            trace=self.trace,
            messages=self.messages,
            lifelines=self.lifelines,
            rows=self.rows,
            flights=self.flights,
            layout=Layout.of(width, len(self.hosts)),
            left=left,
            width=width,
            t=t,
            limit=self.messages.limit_at(t),
            detail=detail,
            glyphs=glyphs,
            cursor_row=cursor_row,
            marked=marked,
        )

    # --- what can still change --------------------------------------------------------------------------------------

    def is_live(self, row: int, t: float, mode: Mode = COMPACT, detail: Detail = "messages") -> bool:
        """Whether a row may look different at a later moment; rows that are not live need no repainting as time goes on."""
        rows = self.rows.facts[detail]
        limit = self.messages.limit_at(t)
        if mode.to_scale or not 0 <= row < len(rows) or rows[row] >= limit:
            return True
        fact = rows[row]
        if self.trace.kind[fact] in (f.WorkStarted.code, f.WaitStarted.code):
            return not 0 <= self.lifelines.spans.end_of(fact) < limit
        arrow = self.messages.arrow_of_fact(fact)
        if arrow is None:
            return False
        if detail == "packets":
            state = (
                self.messages.packet_state_at(fact, t, limit) if self.trace.kind[fact] == f.PacketSent.code else None
            )
        else:
            state = self.messages.state_at(arrow, t, limit)
        if state is not None and state.phase not in (Phase.DELIVERED, Phase.LOST):
            return True
        source = self.messages.source(arrow)
        return self.messages.kind[source] == ArrowKind.BYTES and not 0 <= self.messages.ended[source] < limit

    def animating(self, t: float) -> bool:
        """Whether the picture moves by the mere passing of time: something is on its way, or a bar is still growing."""
        limit = self.messages.limit_at(t)
        if any(
            self.messages.packet_state_at(packet, t, limit).phase is Phase.IN_FLIGHT
            for packet in self.flights.open_before(limit)
        ):
            return True
        lanes = (self.lifelines.lane(host, limit - 1) for host in range(len(self.hosts)))
        return any(lane.works or lane.waits for lane in lanes)
