"""Where the time of each request and each event went, as a browser's network panel draws it: from queued to received.

    request: queued for a pool | connecting | sending | waiting for the first byte | receiving, until the last byte can be read
    event:   born, not sent yet | on the wire | arrived, not handled yet

Bars only ever grow at their right end: what a bar looked like at a moment can be told later, by leaving out what came after.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

from engines.lab import facts as f
from engines.lab.facts import Role
from engines.lab.trace import NO_CAUSE, Trace
from engines.messages import MessageIndex

_ANSWERS = (Role.RESPONSE, Role.ERROR)
_CAUSES_SEARCHED = 16


class Phase(IntEnum):
    """What a request or an event was doing."""

    QUEUED = 0
    CONNECTING = 1
    SENDING = 2
    WAITING = 3
    RECEIVING = 4
    BORN = 5
    TRAVELLING = 6
    HANDLING = 7


@dataclass(slots=True)
class Bar:
    """`marks` are the phases in order, each with the virtual times at which it began and at which that was known (an event tells
    only when it is handled how it has travelled); the last one lasts until `end_s`.

    `end_s` is None while it is not over. `outcome` says how it ended where that is not as usual. `fact` and `answer` are the
    facts of the question (or of the event's birth) and of its answer. Before `known_s` nobody could tell that it exists.
    """

    known_s: float
    host: str
    label: str
    fact: int
    marks: list[tuple[float, Phase, float]]
    end_s: float | None = None
    end_known_s: float = float("inf")
    outcome: str = ""
    answer: int | None = None

    @property
    def begun_s(self) -> float:
        return self.marks[0][0]

    def enter(self, time_s: float, phase: Phase, known_s: float | None = None) -> None:
        """The next phase begins."""
        if self.end_s is None and phase > self.marks[-1][1]:
            self.marks.append((time_s, phase, time_s if known_s is None else known_s))

    def end(self, time_s: float, outcome: str = "", known_s: float | None = None) -> None:
        if self.end_s is None:
            self.end_s, self.outcome, self.end_known_s = time_s, outcome, time_s if known_s is None else known_s

    def end_by(self, time_s: float) -> float | None:
        """When it was over, as far as that was known at `time_s`."""
        return self.end_s if self.end_known_s <= time_s else None

    def spans(self, time_s: float) -> list[tuple[Phase, float, float]]:
        """Its phases as far as they were known at `time_s`, each with its beginning and its end so far; those that took no time
        are left out."""
        end_s = self.end_by(time_s)
        known = [(since_s, phase) for since_s, phase, known_s in self.marks if known_s <= time_s]
        edges = [*(since_s for since_s, _ in known), time_s if end_s is None else end_s]
        found = [(phase, since_s, min(edges[n + 1], edges[-1])) for n, (since_s, phase) in enumerate(known)]
        return [(phase, since_s, until_s) for phase, since_s, until_s in found if until_s > since_s]


def _interim(label: str) -> bool:
    """Whether the answer proper is still to come (RFC 9110, section 15.2); 101 is one."""
    return label.startswith("1") and not label.startswith("101")


@dataclass(slots=True)
class _Flow:
    """A connection: when its client began to open it, and had it open; requests that no answer has begun to arrive for."""

    client: int
    opening_s: float
    opened_s: float | None = None
    used: bool = False
    asked: dict[int, deque[Bar]] = field(default_factory=dict)  # by stream
    bars: list[Bar] = field(default_factory=list)  # not over


class Waterfall:
    """The bars of a trace, in the order in which they became known. `messages` must have read as far as this has."""

    def __init__(self, trace: Trace, messages: MessageIndex) -> None:
        self.bars: list[Bar] = []
        self.consumed = 0
        self._trace = trace
        self._messages = messages
        self._flows: dict[int, _Flow] = {}
        self._tickets: dict[tuple[int, int, int], Bar] = {}
        self._ready: dict[tuple[int, str], deque[Bar]] = {}  # got a place in their pool and have not been sent
        self._requests: dict[int, Bar] = {}  # MessageStarted -> its bar, until its last byte has left
        self._first_bytes: dict[
            tuple[int, int, int], Bar
        ] = {}  # flow, sender, offset of the packet with an answer's first byte
        self._receiving: list[Bar] = []
        self._events: dict[
            int, tuple[int, Bar | None]
        ] = {}  # event -> fact of its birth, and the bar that waits for a handler
        self._handlers: dict[int, Callable[[int], None]] = {
            f.PoolQueued.code: self._queued,
            f.PoolAssigned.code: self._assigned,
            f.PoolLeft.code: self._left,
            f.ConnectionOpening.code: self._opening,
            f.ConnectionOpened.code: self._opened,
            f.ConnectionClosed.code: self._gone,
            f.ConnectionReset.code: self._gone,
            f.ConnectionRefused.code: self._gone,
            f.MessageStarted.code: self._started,
            f.MessageEnded.code: self._ended,
            f.PacketDelivered.code: self._delivered,
            f.EventBorn.code: self._born,
            f.EventHandled.code: self._handled,
            f.EventLost.code: self._lost,
        }

    def consume(self) -> None:
        """Read what `messages` has read."""
        kinds, handlers = self._trace.kind, self._handlers
        for i in range(self.consumed, self._messages.consumed):
            handler = handlers.get(kinds[i])
            if handler is not None:
                handler(i)
        self.consumed = self._messages.consumed
        self._settle()

    def at(self, time_s: float, most: int) -> list[Bar]:
        """The last `most` bars that were known by `time_s`, the oldest first."""
        low, high = 0, len(self.bars)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.bars[middle].known_s <= time_s else (low, middle)
        return self.bars[max(0, low - most) : low]

    # --- requests -------------------------------------------------------------------------------------------------------

    def _new(self, host: int, label: str, fact: int, begun_s: float, phase: Phase) -> Bar:
        """`fact` is what makes it known; it may have begun before that."""
        bar = Bar(self._trace.time[fact], self._trace.names[host], label, fact, [(begun_s, phase, begun_s)])
        self.bars.append(bar)
        return bar

    def _queued(self, i: int) -> None:
        trace = self._trace
        ticket = (trace.b[i], trace.a[i], trace.c[i])
        self._tickets[ticket] = self._new(trace.b[i], trace.text(i), i, trace.time[i], Phase.QUEUED)

    def _assigned(self, i: int) -> None:
        trace = self._trace
        bar = self._tickets.get((trace.b[i], trace.a[i], trace.c[i]))
        if bar is not None:
            bar.enter(trace.time[i], Phase.CONNECTING if trace.names[trace.e[i]] == "opened" else Phase.SENDING)
            self._ready.setdefault((trace.b[i], bar.label), deque()).append(bar)

    def _left(self, i: int) -> None:
        trace = self._trace
        bar = self._tickets.pop((trace.b[i], trace.a[i], trace.c[i]), None)
        if bar is not None and bar.answer is None:
            ready = self._ready.get((trace.b[i], bar.label))
            if ready and bar in ready:
                ready.remove(bar)
            bar.end(trace.time[i], trace.names[trace.d[i]])

    def _opening(self, i: int) -> None:
        self._flows[self._trace.a[i]] = _Flow(self._trace.b[i], self._trace.time[i])

    def _opened(self, i: int) -> None:
        flow = self._flows.get(self._trace.a[i])
        if flow is not None and flow.client == self._trace.b[i]:
            flow.opened_s = self._trace.time[i]

    def _started(self, i: int) -> None:
        trace = self._trace
        flow = self._flows.get(trace.a[i])
        if flow is None:
            return
        role, stream = trace.d[i], trace.f[i]
        if role == Role.REQUEST:
            bar = self._sent(i, flow)
            flow.used = True
            flow.asked.setdefault(stream, deque()).append(bar)
            flow.bars.append(bar)
            self._requests[i] = bar
        elif role in _ANSWERS and not _interim(trace.text(i)) and (asked := flow.asked.get(stream)):
            bar = asked.popleft()
            bar.answer = i
            packet = trace.cause[i]
            if packet != NO_CAUSE and trace.kind[packet] == f.PacketSent.code:
                self._first_bytes[trace.a[packet], trace.b[packet], trace.e[packet]] = bar
            self._receiving.append(bar)

    def _sent(self, i: int, flow: _Flow) -> Bar:
        """The bar of a request whose first byte leaves now: the one that has waited for it, or a new one."""
        trace, time_s = self._trace, self._trace.time[i]
        ready = self._ready.get((trace.b[i], trace.text(i)))
        if ready:
            bar = ready.popleft()
            bar.fact = i
        elif not flow.used and flow.opened_s is not None and flow.opened_s > flow.opening_s:
            bar = self._new(trace.b[i], trace.text(i), i, flow.opening_s, Phase.CONNECTING)
        else:
            return self._new(trace.b[i], trace.text(i), i, time_s, Phase.SENDING)
        bar.enter(time_s, Phase.SENDING)
        return bar

    def _ended(self, i: int) -> None:
        bar = self._requests.pop(self._trace.a[i], None)
        if bar is not None:
            bar.enter(self._trace.time[i], Phase.WAITING)

    def _delivered(self, i: int) -> None:
        trace = self._trace
        packet = trace.a[i]
        bar = self._first_bytes.pop((trace.a[packet], trace.b[packet], trace.e[packet]), None)
        if bar is not None:
            bar.enter(trace.time[i], Phase.RECEIVING)

    def _settle(self, by_s: float = float("inf")) -> None:
        """End the bars whose answers could be read whole by then."""
        waiting = []
        for bar in self._receiving:
            arrow = self._messages.arrow_of_fact(bar.answer) if bar.answer is not None else None
            done_s = self._messages.completed_s(arrow) if arrow is not None else float("inf")
            if arrow is not None and done_s < float("inf") and done_s <= by_s:
                ended = self._messages.ended[arrow]  # where it ends may be known only after its last byte: by a FIN
                bar.end(done_s, known_s=max(done_s, self._trace.time[ended]) if ended >= 0 else done_s)
            elif bar.end_s is None:
                waiting.append(bar)
        self._receiving = waiting

    def _gone(self, i: int) -> None:
        """The client has its connection no more: what it still waits for there will not come."""
        flow = self._flows.get(self._trace.a[i])
        if flow is None or self._trace.b[i] != flow.client:
            return
        self._settle(self._trace.time[i])
        for bar in flow.bars:
            bar.end(self._trace.time[i], "given up" if self._trace.kind[i] == f.ConnectionClosed.code else "broken")
        flow.bars.clear()
        flow.asked.clear()

    # --- events ---------------------------------------------------------------------------------------------------------

    def _born(self, i: int) -> None:
        trace = self._trace
        bar = self._new(trace.a[i], f"event {trace.b[i]}", i, trace.time[i], Phase.BORN)
        self._events[trace.b[i]] = (i, bar)

    def _handled(self, i: int) -> None:
        """A host has heard of it. The first to do so ends the event's own bar; each further one has a bar of its own."""
        trace = self._trace
        birth, bar = self._events.get(trace.b[i], (NO_CAUSE, None))
        if birth == NO_CAUSE:
            return
        if bar is None:
            bar = self._new(trace.a[i], f"event {trace.b[i]}", i, trace.time[birth], Phase.BORN)
        self._events[trace.b[i]] = (birth, None)
        travelled = self._travelled(i)
        if travelled is not None and travelled[0] >= bar.begun_s:
            bar.enter(travelled[0], Phase.TRAVELLING, trace.time[i])
            bar.enter(travelled[1], Phase.HANDLING, trace.time[i])
        bar.end(trace.time[i])

    def _travelled(self, i: int) -> tuple[float, float] | None:
        """When the packet that brought the news was sent and arrived, if the causes tell."""
        trace, cause = self._trace, self._trace.cause[i]
        for _ in range(_CAUSES_SEARCHED):
            if cause == NO_CAUSE:
                return None
            if trace.kind[cause] == f.PacketDelivered.code:
                return trace.time[trace.a[cause]], trace.time[cause]
            cause = trace.cause[cause]
        return None

    def _lost(self, i: int) -> None:
        trace = self._trace
        birth, bar = self._events.get(trace.b[i], (NO_CAUSE, None))
        if bar is not None:
            bar.end(trace.time[i], "lost")
            self._events[trace.b[i]] = (birth, None)
