"""The numbers that need no more than counting: packets, connections, pools, work, and what programs measured."""

from engines.lab.facts import (
    ConnectionClosed,
    ConnectionOpened,
    ConnectionOpening,
    ConnectionReset,
    HostCrashed,
    Measured,
    MessageEnded,
    MessageStarted,
    PacketDelivered,
    PacketDropped,
    PacketKind,
    PacketSent,
    PoolAssigned,
    PoolCreated,
    PoolLeft,
    PoolQueued,
    PoolResized,
    Role,
    TimedOut,
    WorkFinished,
    WorkStarted,
)
from engines.lab.trace import Trace
from engines.metrics.collect import Collector, Handlers

BYTES_OF = "bytes-of:"
MEASURED = "measured:"
LATEST = "latest:"


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
        if self.trace.f[i] > 1 and self.trace.d[i] != PacketKind.DATAGRAM:  # nobody sends a datagram's copy
            self.again.add(i, 1)

    def _delivered(self, i: int) -> None:
        self.in_flight.add(i, -1)
        if size := self.trace.payload_size[self.trace.a[i]]:
            self.delivered.add(i, size)

    def _dropped(self, i: int) -> None:
        self.in_flight.add(i, -1)
        self.lost.add(i, 1)


class Protocols(Collector):
    """Bytes by the protocol of their connection."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace)
        self._protocols: dict[int, int] = {}  # flow -> the number of a name

    def handlers(self) -> Handlers:
        return {ConnectionOpening: self._opening, PacketSent: self._sent}

    def _opening(self, i: int) -> None:
        self._protocols[self.trace.a[i]] = self.trace.e[i]

    def _sent(self, i: int) -> None:
        size, protocol = self.trace.payload_size[i], self._protocols.get(self.trace.a[i])
        if size and protocol is not None:
            self.level(BYTES_OF + self.trace.names[protocol]).add(i, size)


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
    """Requests that wait for a connection of a pool and for how long, and how much of the pools is in use."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace)
        self.queue = self.level("pool-queue")
        self.busy = self.level("pool-busy")
        self.wait = self.series("pool-wait")
        self.use = self.area("pool-use")
        self.places = self.area("pool-places")
        self._queued: dict[tuple[int, int, int], float] = {}
        self._served: set[tuple[int, int, int]] = set()
        self._sizes: dict[tuple[int, int], int] = {}

    def handlers(self) -> Handlers:
        return {
            PoolCreated: self._sized,
            PoolResized: self._sized,
            PoolQueued: self._enter,
            PoolAssigned: self._got,
            PoolLeft: self._leave,
        }

    def _ticket(self, i: int) -> tuple[int, int, int]:
        return self.trace.b[i], self.trace.a[i], self.trace.c[i]

    def _sized(self, i: int) -> None:
        host, pool, size = self._ticket(i)
        self.places.add(i, self.trace.time[i], size - self._sizes.get((host, pool), 0))
        self._sizes[host, pool] = size

    def _enter(self, i: int) -> None:
        self._queued[self._ticket(i)] = self.trace.time[i]
        self.queue.add(i, 1)

    def _got(self, i: int) -> None:
        since_s = self._unqueue(i)
        if since_s is not None:
            self.wait.add(i, self.trace.time[i] - since_s)
        if self._ticket(i) not in self._served:
            self._served.add(self._ticket(i))
            self._hold(i, 1)

    def _leave(self, i: int) -> None:
        self._unqueue(i)
        if self._ticket(i) in self._served:
            self._served.remove(self._ticket(i))
            self._hold(i, -1)

    def _hold(self, i: int, amount: int) -> None:
        self.busy.add(i, amount)
        self.use.add(i, self.trace.time[i], amount)

    def _unqueue(self, i: int) -> float | None:
        since_s = self._queued.pop(self._ticket(i), None)
        if since_s is not None:
            self.queue.add(i, -1)
        return since_s


class OpenStreams(Collector):
    """Streams of HTTP/2 that are open: from the request's head until the response is complete, reset, or its connection gone."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace)
        self.streams = self.level("streams")
        self._open: dict[int, set[int]] = {}  # by connection, for those that speak HTTP/2

    def handlers(self) -> Handlers:
        return {
            ConnectionOpening: self._opening,
            ConnectionClosed: self._connection_ended,
            ConnectionReset: self._connection_ended,
            MessageStarted: self._started,
            MessageEnded: self._ended,
        }

    def _opening(self, i: int) -> None:
        if self.trace.names[self.trace.e[i]] == "h2":
            self._open[self.trace.a[i]] = set()

    def _started(self, i: int) -> None:
        flow, role, stream = self.trace.a[i], self.trace.d[i], self.trace.f[i]
        if flow not in self._open or not stream:
            return
        if role == Role.REQUEST and stream not in self._open[flow]:
            self._open[flow].add(stream)
            self.streams.add(i, 1)
        elif role == Role.ERROR and self.trace.text(i).startswith("RST_STREAM"):
            self._close(i, flow, stream)

    def _ended(self, i: int) -> None:
        message = self.trace.a[i]
        if self.trace.d[message] != Role.RESPONSE or self.trace.text(message).startswith("1"):
            return  # a request, or an interim response: the answer proper is still to come (RFC 9110, section 15.2)
        self._close(i, self.trace.a[message], self.trace.f[message])

    def _connection_ended(self, i: int) -> None:
        for stream in list(self._open.get(self.trace.a[i], ())):
            self._close(i, self.trace.a[i], stream)

    def _close(self, i: int, flow: int, stream: int) -> None:
        if stream in self._open.get(flow, ()):
            self._open[flow].remove(stream)
            self.streams.add(i, -1)


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
        self._latest: dict[str, float] = {}

    def handlers(self) -> Handlers:
        return {TimedOut: self._timed_out, Measured: self._measured}

    def _timed_out(self, i: int) -> None:
        self.timeouts.add(i, 1)

    def _measured(self, i: int) -> None:
        what, amount = self.trace.names[self.trace.b[i]], self.trace.x[i]
        self.level(MEASURED + what).add(i, amount)
        self.series(MEASURED + what).add(i, amount)
        self.level(LATEST + what).add(i, amount - self._latest.get(what, 0.0))
        self._latest[what] = amount
