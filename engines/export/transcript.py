"""A run as plain text: one line for each thing that can be seen, with its time, who did it, and what, in words.

It is meant to be read aloud as well as looked at: no box drawing, no arrows, no colour, nothing that depends on
columns. Single packets are left out where the message they carry says the same.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from engines.lab import facts as f
from engines.lab.facts import Fact, PacketKind, Role, WaitKind
from engines.lab.trace import Trace
from engines.lab.units import format_quantity, format_seconds
from engines.metrics.streams import Streams
from engines.streams import in_datagram

Line = Callable[[Any, "_Reading"], str | None]
"""What a fact is in words, or None when it is not worth a line."""

_ROLES = {
    Role.REQUEST: "request",
    Role.RESPONSE: "response",
    Role.PUSH: "push",
    Role.ACK: "acknowledgement",
    Role.ERROR: "error",
    Role.HEARTBEAT: "heartbeat",
    Role.CONTROL: "control message",
    Role.SEALED: "encrypted message",
}

_PACKETS = {
    PacketKind.SYN: "request to connect (SYN)",
    PacketKind.SYN_ACK: "consent to connect (SYN-ACK)",
    PacketKind.DATA: "data",
    PacketKind.FIN: "end of stream (FIN)",
    PacketKind.RST: "reset (RST)",
    PacketKind.DATAGRAM: "datagram",
}

_WAITS = {
    WaitKind.HELD: "holds a request open",
    WaitKind.POOL: "queues for a connection",
    WaitKind.BLOCKED: "is blocked",
    WaitKind.TIMER: "waits",
}

_LINK_STATES = {"up": "is whole again", "held": "is held", "cut": "is cut"}


def transcript(trace: Trace, length: int | None = None) -> Iterator[str]:
    """The first `length` facts (default: all) as lines without line ends, such as

    `1.060 s  server to client: response 200 OK sent on c1, 44 B`
    """
    reading = _Reading(trace)
    width = len(_time(trace.time[len(trace) - 1])) if len(trace) else 0
    for fact_id in range(len(trace) if length is None else length):
        reading.fact_id = fact_id
        for line in reading.lines():
            yield f"{_time(trace.time[fact_id]):>{width}}  {_one_line(line)}"


class _Reading:
    """The trace up to a fact, with what must be remembered to say when a message has arrived."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.fact_id = 0
        self._streams = Streams()
        self._arrived: deque[int] = deque()

    def lines(self) -> Iterator[str]:
        """What there is to say about the present fact, and about messages that are whole because of it."""
        fact = self.trace[self.fact_id].fact
        if isinstance(fact, f.PacketSent):
            self._streams.packet_sent(self.trace, self.fact_id)
        elif isinstance(fact, f.PacketDelivered):
            self._arrived.extend(self._streams.packet_delivered(self.trace, self.fact_id))
        elif isinstance(fact, f.MessageEnded):
            self._expect(fact)
        elif isinstance(fact, f.ConnectionClosed | f.ConnectionReset):
            self._streams.end_closed(self.trace, self.fact_id)
        line = _LINES[type(fact)](fact, self)
        if line is not None:
            yield line
        while self._arrived:
            message: f.MessageStarted = self.fact(self._arrived.popleft())
            yield f"{message.receiver}: {_ROLES[message.role]} {message.label} from {message.sender} has arrived whole"

    def fact(self, fact_id: int) -> Any:
        return self.trace[fact_id].fact

    def since_s(self, fact_id: int) -> str:
        return format_seconds(self.trace.time[self.fact_id] - self.trace.time[fact_id])

    def too_late(self) -> bool:
        """Whether the packet that arrives now finds the connection closed."""
        return self._streams.too_late(self.trace, self.fact_id)

    def in_datagram(self, packet: int) -> f.MessageStarted | None:
        """The message that PacketSent `packet` carries whole, if it is a datagram and somebody could read it."""
        trace, head = self.trace, packet + 1  # the dissector speaks as soon as the datagram has left
        if head >= len(trace) or trace.kind[head] != f.MessageStarted.code or trace.cause[head] != packet:
            return None
        return self.fact(head) if in_datagram(trace, head) else None

    def _expect(self, ended: f.MessageEnded) -> None:
        if ended.boundary == "cut short":
            return
        message = ended.message
        direction = self._streams[self.trace.a[message], self.trace.b[message]]
        direction.expect(ended.end + (ended.boundary == "connection closed"), message)
        self._arrived.extend(direction.reached())


def _plain(template: str) -> Line:
    """A line that needs the fact's fields alone; it is written {0.field}."""
    return lambda fact, reading: template.format(fact)


def _unseen(fact: Fact, reading: _Reading) -> None:
    """Not worth a line: another line says the same."""


def _packet_words(packet: f.PacketSent) -> str:
    size = f", {format_quantity(len(packet.payload), 'B')}" if packet.payload else ""
    return f"{_PACKETS[packet.kind]} on c{packet.flow}{size}"


def _packet_sent(packet: f.PacketSent, reading: _Reading) -> str | None:
    if packet.attempt > 1 and packet.kind is PacketKind.DATAGRAM:
        return f"network: a copy of the {_packet_words(packet)} from {packet.sender} to {packet.receiver} is on its way too"
    if packet.attempt > 1:
        again = f"sent again, attempt {packet.attempt}"
        return f"{packet.sender} to {packet.receiver}: {_packet_words(packet)} {again}"
    if packet.kind is PacketKind.DATA or reading.in_datagram(reading.fact_id):
        return None
    return f"{packet.sender} to {packet.receiver}: {_packet_words(packet)}"


def _packet_delivered(fact: f.PacketDelivered, reading: _Reading) -> str | None:
    packet: f.PacketSent = reading.fact(fact.packet)
    if message := reading.in_datagram(fact.packet):
        return f"{message.receiver}: {_ROLES[message.role]} {message.label} from {message.sender} has arrived"
    if packet.kind is PacketKind.DATA and reading.too_late():
        return f"{fact.receiver}: {_packet_words(packet)} from {packet.sender} comes too late, this end is closed"
    if packet.kind is PacketKind.DATA and packet.attempt == 1:
        return None
    return f"{fact.receiver}: {_packet_words(packet)} from {packet.sender} has arrived"


def _packet_fate(template: str) -> Line:
    """A line about what became of a packet; {1} is its sender, {2} its receiver, {3} the packet in words."""

    def say(fact: Any, reading: _Reading) -> str:
        packet: f.PacketSent = reading.fact(fact.packet)
        return template.format(fact, packet.sender, packet.receiver, _packet_words(packet))

    return say


def _started(fact: f.MessageStarted, reading: _Reading) -> str:
    stream = f" stream {fact.stream}" if fact.stream and not in_datagram(reading.trace, reading.fact_id) else ""
    return f"{fact.sender} to {fact.receiver}: {_ROLES[fact.role]} {fact.label} sent on c{fact.flow}{stream}"


def _ended(fact: f.MessageEnded, reading: _Reading) -> str | None:
    message: f.MessageStarted = reading.fact(fact.message)
    size = format_quantity(fact.end - message.offset, "B")
    if reading.trace.time[fact.message] == reading.trace.time[reading.fact_id] and fact.boundary != "cut short":
        return None
    return f"{message.sender}: {_ROLES[message.role]} {message.label} ends after {size} ({fact.boundary})"


def _work_finished(fact: f.WorkFinished, reading: _Reading) -> str:
    label = reading.fact(fact.work).label
    return f"{fact.host}: finished {label} after {reading.since_s(fact.work)}, {fact.outcome}"


def _wait_ended(fact: f.WaitEnded, reading: _Reading) -> str:
    label = reading.fact(fact.wait).label
    return f"{fact.host}: stopped waiting for {label} after {reading.since_s(fact.wait)}, {fact.outcome}"


def _host_started(fact: f.HostStarted, reading: _Reading) -> str:
    return f"{fact.host}: started" if fact.attempt == 1 else f"{fact.host}: started again, time {fact.attempt}"


_LINES: dict[type[Fact], Line] = {
    f.RunStarted: _plain("run: {0.scenario} begins, seed {0.seed}"),
    f.RunEnded: _plain("run: over, {0.reason}"),
    f.RunFailed: _plain("run: failed at {0.host}, {0.reason}"),
    f.CommandApplied: _plain("order: {0.command}"),
    f.KnobTurned: _plain("knob: {0.knob} is now {0.value}"),
    f.HostDeclared: _unseen,
    f.HostStarted: _host_started,
    f.HostCrashed: _plain("{0.host}: crashed"),
    f.HostFinished: _plain("{0.host}: finished"),
    f.StateChanged: _plain("{0.host}: {0.key} is now {0.value}"),
    f.WorkStarted: _plain("{0.host}: began work, {0.label}"),
    f.WorkFinished: _work_finished,
    f.WaitStarted: lambda fact, reading: f"{fact.host}: {_WAITS[fact.kind]}, {fact.label}",
    f.WaitEnded: _wait_ended,
    f.TimedOut: lambda fact, reading: f"{fact.host}: timed out, {fact.what}, after {format_seconds(fact.after_s)}",
    f.Measured: lambda fact, reading: f"{fact.host}: counted {fact.what}, {fact.amount:g}",
    f.Noted: _plain("{0.host}: {0.text}"),
    f.LinkChanged: lambda fact, reading: (
        f"link from {fact.sender} to {fact.receiver}: {_LINK_STATES.get(fact.state, fact.state)}"
    ),
    f.PacketSent: _packet_sent,
    f.PacketDelivered: _packet_delivered,
    f.PacketDropped: _packet_fate("{1} to {2}: {3} was lost on its way ({0.reason})"),
    f.PacketHeld: _packet_fate("{1} to {2}: {3} is held on its way ({0.reason})"),
    f.PacketReleased: _packet_fate("{1} to {2}: {3} goes on"),
    f.ConnectionOpening: _plain("{0.client} to {0.server}: opens connection c{0.flow} to port {0.port}"),
    f.ConnectionOpened: _plain("{0.host}: connection c{0.flow} is open"),
    f.ConnectionRefused: _plain("{0.host}: connection c{0.flow} was refused"),
    f.ConnectionClosed: _plain("{0.host}: closed connection c{0.flow}"),
    f.ConnectionReset: _plain("{0.host}: connection c{0.flow} is gone, {0.reason}"),
    f.MessageStarted: _started,
    f.MessageEnded: _ended,
    f.MessageResumed: _unseen,
    f.PoolCreated: _plain("{0.host}: has a pool for at most {0.size} requests at a time"),
    f.PoolResized: lambda fact, reading: (
        f"{fact.host}: {f'pool resized to {fact.size} requests at a time' if fact.size else 'closes its pool'}"
    ),
    f.PoolQueued: _plain("{0.host}: {0.label} asks the pool for a connection"),
    f.PoolAssigned: _plain("{0.host}: the pool gives ticket {0.ticket} connection {0.member}, {0.how}"),
    f.PoolLeft: _plain("{0.host}: ticket {0.ticket} leaves the pool, {0.outcome}"),
    f.PoolEvicted: _plain("{0.host}: connection {0.member} leaves the pool, {0.reason}"),
    f.PoolOpening: _plain("{0.host}: the pool opens connection {0.member} ahead of need"),
    f.PoolOpened: _plain("{0.host}: connection {0.member} of the pool is open"),
    f.EventBorn: _plain("{0.host}: event {0.event} happens"),
    f.EventHandled: _plain("{0.host}: hears of event {0.event}"),
    f.EventLost: _plain("{0.host}: gives event {0.event} up, {0.reason}"),
}


def _time(time_s: float) -> str:
    """Milliseconds are enough to read by; the trace file has every digit."""
    return f"{time_s:.3f} s"


def _one_line(text: str) -> str:
    """Programs may put anything into a label: nothing of it may break the line or steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)
