"""The numbers that need no more than counting: packets, connections, pools, work, and what programs measured."""

from engines.lab.facts import (
    ConnectionClosed,
    ConnectionOpened,
    ConnectionOpening,
    ConnectionReset,
    HostCrashed,
    Measured,
    PacketDelivered,
    PacketDropped,
    PacketSent,
    PoolAssigned,
    PoolLeft,
    PoolQueued,
    TimedOut,
    WorkFinished,
    WorkStarted,
)
from engines.lab.trace import Trace
from engines.metrics.collect import Collector, Handlers

MEASURED = "measured:"


class Packets(Collector):
    """Bytes and packets on the wire; a retransmission counts again, because it crosses the wire again."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace)
        self.bytes = self.level("bytes")
        self.delivered = self.level("delivered")
        self.lost = self.level("lost")
        self.again = self.level("retransmissions")
        self.in_flight = self.level("in-flight")

    def handlers(self) -> Handlers:
        return {PacketSent: self._sent, PacketDelivered: self._delivered, PacketDropped: self._dropped}

    def _sent(self, i: int) -> None:
        self.in_flight.add(i, 1)
        if size := self.trace.payload_size[i]:
            self.bytes.add(i, size)
        if self.trace.f[i] > 1:
            self.again.add(i, 1)

    def _delivered(self, i: int) -> None:
        self.in_flight.add(i, -1)
        if size := self.trace.payload_size[self.trace.a[i]]:
            self.delivered.add(i, size)

    def _dropped(self, i: int) -> None:
        self.in_flight.add(i, -1)
        self.lost.add(i, 1)


class Connections(Collector):
    """Connections as their client sees them: open from when it knows of it until it closes or learns of the end."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace)
        self.opened = self.level("connections")
        self.open = self.level("open")
        self.resets = self.level("resets")
        self._clients: dict[int, int] = {}
        self._open: set[int] = set()
        self._reset: set[int] = set()

    def handlers(self) -> Handlers:
        return {
            ConnectionOpening: self._opening,
            ConnectionOpened: self._opened,
            ConnectionClosed: self._ended,
            ConnectionReset: self._was_reset,
        }

    def _opening(self, i: int) -> None:
        self._clients[self.trace.a[i]] = self.trace.b[i]

    def _opened(self, i: int) -> None:
        flow, host = self.trace.a[i], self.trace.b[i]
        if self._clients.get(flow) == host and flow not in self._open:
            self._open.add(flow)
            self.opened.add(i, 1)
            self.open.add(i, 1)

    def _ended(self, i: int) -> None:
        flow, host = self.trace.a[i], self.trace.b[i]
        if flow in self._open and self._clients[flow] == host:
            self._open.remove(flow)
            self.open.add(i, -1)

    def _was_reset(self, i: int) -> None:
        if self.trace.a[i] not in self._reset:  # both ends learn of it; it is one connection
            self._reset.add(self.trace.a[i])
            self.resets.add(i, 1)
        self._ended(i)


class Pools(Collector):
    """Requests that wait for a connection of a pool, and for how long."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace)
        self.queue = self.level("pool-queue")
        self.wait = self.series("pool-wait")
        self._queued: dict[tuple[int, int, int], float] = {}

    def handlers(self) -> Handlers:
        return {PoolQueued: self._enter, PoolAssigned: self._got, PoolLeft: self._leave}

    def _ticket(self, i: int) -> tuple[int, int, int]:
        return self.trace.b[i], self.trace.a[i], self.trace.c[i]

    def _enter(self, i: int) -> None:
        self._queued[self._ticket(i)] = self.trace.time[i]
        self.queue.add(i, 1)

    def _got(self, i: int) -> None:
        since_s = self._leave(i)
        if since_s is not None:
            self.wait.add(i, self.trace.time[i] - since_s)

    def _leave(self, i: int) -> float | None:
        since_s = self._queued.pop(self._ticket(i), None)
        if since_s is not None:
            self.queue.add(i, -1)
        return since_s


class Work(Collector):
    """Work on hosts, and the time that went into work nobody got anything from."""

    FRUITLESS = ("cancelled", "failed", "wasted")

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace)
        self.started = self.level("work-started")
        self.finished = self.level("work-finished")
        self.cancelled = self.level("work-cancelled")
        self.wasted = self.level("wasted")
        self._running: dict[int, int] = {}  # work -> host

    def handlers(self) -> Handlers:
        return {WorkStarted: self._begin, WorkFinished: self._end, HostCrashed: self._crash}

    def _begin(self, i: int) -> None:
        self._running[i] = self.trace.a[i]
        self.started.add(i, 1)

    def _end(self, i: int) -> None:
        work, outcome = self.trace.a[i], self.trace.text(i)
        if outcome == "cancelled":
            self.cancelled.add(i, 1)
        elif outcome != "failed":
            self.finished.add(i, 1)
        if self._running.pop(work, None) is not None and outcome in self.FRUITLESS:
            self.wasted.add(i, self.trace.time[i] - self.trace.time[work])

    def _crash(self, i: int) -> None:
        host = self.trace.a[i]
        for work in [work for work, where in self._running.items() if where == host]:
            del self._running[work]
            self.wasted.add(i, self.trace.time[i] - self.trace.time[work])


class Programs(Collector):
    """What the programs say of themselves."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace)
        self.timeouts = self.level("timeouts")

    def handlers(self) -> Handlers:
        return {TimedOut: self._timed_out, Measured: self._measured}

    def _timed_out(self, i: int) -> None:
        self.timeouts.add(i, 1)

    def _measured(self, i: int) -> None:
        name = MEASURED + self.trace.names[self.trace.b[i]]
        self.level(name).add(i, self.trace.x[i])
        self.series(name).add(i, self.trace.x[i])
