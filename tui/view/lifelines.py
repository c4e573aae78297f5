"""The lifelines: which hosts there are, what each was doing at any fact, where its column is, and the header that says so."""

from array import array
from bisect import bisect_right
from dataclasses import dataclass
from itertools import permutations

from engines.lab import facts as f
from engines.lab.trace import Trace
from tui.view.glyphs import Glyphs
from tui.view.lines import Canvas, Line, fit, text_for

GUTTER = 10
"""Cells before the lifelines: the time (8), the cursor, and a blank. They stay put when the lifelines scroll sideways."""

HEADER_HEIGHT = 2
TIGHT_PITCH, SCROLLING_PITCH = 10, 16
"""Cells from lifeline to lifeline: at least so many where all of them can be seen at once; a picture that must scroll sideways
anyhow takes more room for its words."""

_LEFT_PAD = 5
_NOT_STARTED, _UP, _CRASHED, _FINISHED = range(4)
WAIT_WORDS = {
    f.WaitKind.HELD: "holding",
    f.WaitKind.POOL: "waiting for the pool",
    f.WaitKind.BLOCKED: "blocked",
    f.WaitKind.TIMER: "pausing",
}


@dataclass(frozen=True, slots=True)
class Lane:
    """What a host is doing: `works` and `waits` under way, the kind of the latest wait, and whether it can be reached."""

    base: int = _NOT_STARTED
    offline: bool = False
    wait: int = 0
    works: int = 0
    waits: int = 0

    @property
    def present(self) -> bool:
        """Whether there is a lifeline to draw."""
        return self.base in (_UP, _FINISHED)

    def bar(self, glyphs: Glyphs) -> tuple[str, str] | None:
        """The glyph and style of the bar that stands on the lifeline, or None."""
        if self.works > self.waits:
            return glyphs.work, "work"
        if self.waits:
            return (glyphs.timer if self.wait == f.WaitKind.TIMER else glyphs.wait), "wait"
        return None

    def line(self, glyphs: Glyphs) -> tuple[str, str]:
        """The glyph and style of the lifeline itself."""
        return (glyphs.lifeline, "lifeline") if self.present else (" ", "")

    def words(self, glyphs: Glyphs) -> tuple[str, str]:
        """The state as a glyph and words, and its style."""
        if self.base == _CRASHED:
            return f"{glyphs.dead} crashed", "error"
        if self.base == _NOT_STARTED:
            return f"{glyphs.down} not started", "dim"
        if self.offline:
            return f"{glyphs.down} cut off", "error"
        if self.works > self.waits:
            count = f" {self.works}" if self.works > 1 else ""
            return f"{glyphs.work} working{count}", "work"
        if self.waits:
            return f"{glyphs.wait} {WAIT_WORDS[f.WaitKind(self.wait)]}", "wait"
        return (f"{glyphs.down} finished", "dim") if self.base == _FINISHED else (f"{glyphs.up} up", "state")


ABSENT = Lane()


class Spans:
    """Stretches from one fact to a later one: of work, or of waiting. Packed; found by the fact they began with."""

    def __init__(self) -> None:
        self.starts = array("i")
        self.ends = array("i")

    def open(self, fact: int) -> None:
        self.starts.append(fact)
        self.ends.append(-1)

    def close(self, start: int, end: int) -> None:
        i = bisect_right(self.starts, start) - 1
        if i >= 0 and self.starts[i] == start and self.ends[i] < 0:
            self.ends[i] = end

    def end_of(self, start: int) -> int:
        """The fact that ended what began with `start`, or -1."""
        i = bisect_right(self.starts, start) - 1
        return self.ends[i] if i >= 0 and self.starts[i] == start else -1


class _Host:
    """One host's present state while folding, and its history as (fact, state) where it changed."""

    def __init__(self) -> None:
        self.base = _NOT_STARTED
        self.offline = False
        self.works: dict[int, None] = {}
        self.waits: dict[int, int] = {}
        self.facts = array("i")
        self.states = array("H")

    def note(self, fact: int, states: dict[Lane, int], lanes: list[Lane]) -> None:
        wait = next(reversed(self.waits.values()), 0)
        lane = Lane(self.base, self.offline, wait, len(self.works), len(self.waits))
        number = states.setdefault(lane, len(lanes))
        if number == len(lanes):
            lanes.append(lane)
        if len(self.states) and self.states[-1] == number:
            return
        self.facts.append(fact)
        self.states.append(number)


class Lifelines:
    """The hosts of `trace` from left to right and their states, grown by `consume`."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.hosts: list[str] = []
        self.index: dict[int, int] = {}  # number of the name -> place
        self.spans = Spans()
        self._hosts: list[_Host] = []
        self._lanes: list[Lane] = [ABSENT]
        self._states: dict[Lane, int] = {ABSENT: 0}
        self._cut: set[tuple[int, int]] = set()
        self._handlers = {
            f.HostDeclared.code: lambda i: self._host(self.trace.a[i]),
            f.HostStarted.code: self._started,
            f.HostCrashed.code: self._crashed,
            f.HostFinished.code: self._finished,
            f.WorkStarted.code: self._work_started,
            f.WorkFinished.code: self._work_finished,
            f.WaitStarted.code: self._wait_started,
            f.WaitEnded.code: self._wait_ended,
            f.LinkChanged.code: self._link_changed,
        }

    def consume(self, first: int, stop: int) -> None:
        """Read facts `first` to `stop` - 1."""
        handlers, kinds = self._handlers, self.trace.kind
        for i in range(first, stop):
            handler = handlers.get(kinds[i])
            if handler is not None:
                handler(i)

    def place(self, name: int) -> int:
        """The lifeline of the host whose name has that number, or -1."""
        return self.index.get(name, -1)

    def lane(self, host: int, fact: int) -> Lane:
        """What the host was doing just after `fact`."""
        history = self._hosts[host]
        i = bisect_right(history.facts, fact)
        return self._lanes[history.states[i - 1]] if i else ABSENT

    def busy_within(self, host: int, first: int, last: int) -> Lane | None:
        """The latest state with a bar between two facts (both included), for rows that stand for many facts."""
        history = self._hosts[host]
        i = bisect_right(history.facts, last) - 1
        for _ in range(8):
            if i < 0 or history.facts[i] < first:
                return None
            if (lane := self._lanes[history.states[i]]).works or lane.waits:
                return lane
            i -= 1
        return None

    def _host(self, name: int) -> _Host:
        place = self.index.get(name)
        if place is None:
            place = self.index[name] = len(self._hosts)
            self._hosts.append(_Host())
            self.hosts.append(self.trace.names[name])
        return self._hosts[place]

    def _note(self, host: _Host, fact: int) -> None:
        host.note(fact, self._states, self._lanes)

    def _started(self, i: int) -> None:
        host = self._host(self.trace.a[i])
        host.base = _UP
        self._note(host, i)

    def _crashed(self, i: int) -> None:
        self._stopped(i, _CRASHED)

    def _finished(self, i: int) -> None:
        self._stopped(i, _FINISHED)

    def _stopped(self, i: int, base: int) -> None:
        host = self._host(self.trace.a[i])
        for start in (*host.works, *host.waits):
            self.spans.close(start, i)
        host.works.clear()
        host.waits.clear()
        host.base = base
        self._note(host, i)

    def _work_started(self, i: int) -> None:
        host = self._host(self.trace.a[i])
        host.works[i] = None
        self.spans.open(i)
        self._note(host, i)

    def _work_finished(self, i: int) -> None:
        host = self._host(self.trace.b[i])
        if host.works.pop(self.trace.a[i], 0) is None:
            self.spans.close(self.trace.a[i], i)
            self._note(host, i)

    def _wait_started(self, i: int) -> None:
        host = self._host(self.trace.a[i])
        host.waits[i] = self.trace.b[i]
        self.spans.open(i)
        self._note(host, i)

    def _wait_ended(self, i: int) -> None:
        host = self._host(self.trace.b[i])
        if host.waits.pop(self.trace.a[i], None) is not None:
            self.spans.close(self.trace.a[i], i)
            self._note(host, i)

    def _link_changed(self, i: int) -> None:
        trace = self.trace
        pair = (trace.a[i], trace.b[i])
        if trace.names[trace.c[i]] == "cut":
            self._cut.add(pair)
        else:
            self._cut.discard(pair)
        links = list(permutations(self.index, 2))
        for name in pair:
            host = self._host(name)
            own = [link for link in links if name in link]
            host.offline = bool(own) and all(link in self._cut for link in own)
            self._note(host, i)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where lifelines stand. Columns are counted from the first cell behind the gutter, before any sideways scrolling."""

    pitch: int
    margin: int
    count: int

    @classmethod
    def of(cls, width: int, count: int) -> "Layout":
        """The layout of `count` lifelines in `width` cells: shared out evenly, unless they would come too close."""
        room = max(1, width - GUTTER - _LEFT_PAD)
        if count < 2:
            return cls(room, 14 if count else room, count)
        margin = max(14, min(26, room // (count + 1)))
        pitch = (room - margin) // (count - 1)
        return cls(pitch if pitch >= TIGHT_PITCH else SCROLLING_PITCH, margin, count)

    def x(self, host: int) -> int:
        return _LEFT_PAD + host * self.pitch

    @property
    def width(self) -> int:
        """Cells of the whole picture, gutter included."""
        return GUTTER + _LEFT_PAD + max(0, self.count - 1) * self.pitch + self.margin

    def visible(self, left: int, right: int) -> range:
        """The lifelines with something to show between two columns: those inside and one on each side."""
        first = max(0, (left - _LEFT_PAD) // self.pitch - 1)
        return range(first, max(first, min(self.count, (right - _LEFT_PAD) // self.pitch + 2)))


def paint_header(lifelines: Lifelines, layout: Layout, width: int, left: int, limit: int, glyphs: Glyphs) -> list[Line]:
    """Two lines: the hosts' names over their lifelines, and their states after the first `limit` facts in words. How many
    more there are on either side is said in the gutter."""
    names, states = Canvas(left, max(0, width - GUTTER)), Canvas(left, max(0, width - GUTTER))
    for host in layout.visible(left, left + width):
        x, room = layout.x(host), layout.pitch - 1
        if not names.left <= x < names.right:
            continue
        _centred(names, x, fit(text_for(glyphs, lifelines.hosts[host]), room), "title")
        words, style = lifelines.lane(host, limit - 1).words(glyphs)
        _centred(states, x, fit(words, room), style)
    before = sum(layout.x(host) < left for host in range(layout.count))
    after = sum(layout.x(host) >= names.right for host in range(layout.count))
    ends = (f" {glyphs.left} {before} more" if before else "", f" {after} more {glyphs.right}" if after else "")
    gutters = [(end.ljust(GUTTER)[: max(0, width)], "dim") for end in ends]
    return [names.line(gutters[0]), states.line(gutters[1])]


def _centred(canvas: Canvas, x: int, text: str, style: str) -> None:
    """`text` over column `x`, or as near to it as the edges allow: a lifeline that can be seen has its whole name."""
    start = min(x - len(text) // 2, canvas.right - len(text))
    canvas.put(max(canvas.left, start), text, style)
