"""Who sent what to whom, and how far it has come: a trace folded into a table of arrows, one for each thing a picture draws.

An arrow is a dissected message (of one packet or of thousands), a packet that is no part of a message (SYN, FIN, a datagram,
bytes that nobody dissects), a retransmission, or a part of a message that was lost on its way while the rest went on.

Arrows hold ids of facts, never states: what an arrow looks like at a moment is found by comparing those ids with the number
of facts that had happened by then. So one table serves every playhead, and looking back equals having looked then.
It refuses to know any protocol and anything about pictures.
"""

from array import array
from bisect import bisect_left
from dataclasses import dataclass
from enum import IntEnum
from math import inf, isfinite

from engines.lab import facts as f
from engines.lab.facts import PacketKind, Role
from engines.lab.trace import Trace
from engines.talk import NONE, Talk

HEAD_LIMIT_BYTES = 16_384
"""How much of a head may still be incomplete before its packets are drawn one by one (h11 gives up at as much)."""

UNKNOWN_TRANSIT_S = 0.05
"""How long a doomed packet seems to travel when no packet has yet shown how long the way takes."""


class ArrowKind(IntEnum):
    """What an arrow stands for."""

    BYTES = 0  # bytes of a connection: a message once its head is known, plain data until then
    PACKET = 1  # one packet: a connection's control, or a datagram (which may turn out to be a message)
    RETRANSMISSION = 2  # or the copy of a datagram that the network delivers twice
    LOST_PART = 3  # a packet of a longer message that died while the rest went on


class Phase(IntEnum):
    """How far an arrow has come."""

    WAITING = 0  # not sent yet
    IN_FLIGHT = 1
    HELD = 2  # stopped on its way
    PARTIAL = 3  # some of it has arrived, or all of it behind a hole
    DELIVERED = 4
    LOST = 5


@dataclass(frozen=True, slots=True)
class ArrowState:
    """An arrow at a moment. `fraction` (0 to 1) is where its head is, or how much has arrived, or where it died.

    `delivered` counts the bytes the receiver can read; `total` is None until the last byte has left the sender. `blocked`:
    its bytes are there, but behind a hole in the stream (head-of-line blocking).
    """

    phase: Phase
    fraction: float = 0.0
    delivered: int = 0
    total: int | None = None
    reason: str = ""
    blocked: bool = False


class MessageIndex:
    """The table of arrows of `trace`, grown by `consume`. Columns are indexed by arrow; arrows are in the order of `fact`."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.consumed = 0
        self.kind = array("B")
        self.fact = array("i")  # the fact that gave the arrow its place
        self.packet = array("i")  # the PacketSent its first byte travels in
        self.message = array("i")  # the MessageStarted, or NONE
        self.ended = array("i")  # the MessageEnded, or NONE
        self.completed = array("i")  # the fact by which all its bytes could be read
        self.died = array("i")  # the PacketDropped that ended it
        self.parent = array("i")  # of a retransmission or lost part: the arrow whose bytes it carries
        self.start = array("q")
        self.end = array("q")
        self.count = array("i")  # packets so far
        self.packets = array("i")  # every PacketSent …
        self.fates = array("i")  # … how it ended (PacketDelivered, PacketDropped or NONE) …
        self.owners = array("i")  # … and the arrow it belongs to
        self._detours: dict[int, list[int]] = {}  # PacketSent -> its PacketHeld and PacketReleased
        self._doomed: dict[int, float] = {}  # PacketSent without an arrival -> how long it seems to travel
        self._transit: dict[tuple[int, int], float] = {}
        self._directions: dict[tuple[int, int], Talk] = {}
        self._protocols: dict[int, bool] = {}
        self._handlers = {
            f.ConnectionOpening.code: self._opening,
            f.PacketSent.code: self._sent,
            f.PacketDelivered.code: self._delivered,
            f.PacketDropped.code: self._dropped,
            f.PacketHeld.code: self._detour,
            f.PacketReleased.code: self._detour,
            f.MessageStarted.code: self._message_started,
            f.MessageEnded.code: self._message_ended,
            f.MessageResumed.code: self._message_resumed,
        }

    def __len__(self) -> int:
        return len(self.fact)

    # --- reading the trace ------------------------------------------------------------------------------------------

    def consume(self, upto: int | None = None, budget_facts: int = 1 << 60) -> bool:
        """Read new facts, those before `upto` and at most `budget_facts`; true if there were any."""
        first = self.consumed
        stop = min(len(self.trace) if upto is None else min(upto, len(self.trace)), first + budget_facts)
        handlers, kinds = self._handlers, self.trace.kind
        for i in range(first, stop):
            handler = handlers.get(kinds[i])
            if handler is not None:
                handler(i)
        self.consumed = max(first, stop)
        return stop > first

    def _opening(self, i: int) -> None:
        self._protocols[self.trace.a[i]] = bool(self.trace.names[self.trace.e[i]])

    def _direction(self, flow: int, sender: int) -> Talk:
        found = self._directions.get((flow, sender))
        if found is None:
            found = self._directions[flow, sender] = Talk(self.trace, self._protocols.get(flow, False))
        return found

    def _add(self, kind: ArrowKind, fact: int, packet: int, start: int, end: int, parent: int = NONE) -> int:
        self.kind.append(kind)
        self.fact.append(fact)
        self.packet.append(packet)
        for column in (self.message, self.ended, self.completed, self.died):
            column.append(NONE)
        self.parent.append(parent)
        self.start.append(start)
        self.end.append(end)
        self.count.append(1)
        return len(self.fact) - 1

    def _sent(self, i: int) -> None:
        trace = self.trace
        pair = (trace.b[i], trace.c[i])
        if isfinite(trace.x[i]):
            self._transit[pair] = trace.x[i] - trace.time[i]
        else:
            self._doomed[i] = self._transit.get(pair, UNKNOWN_TRANSIT_S)
        self.packets.append(i)
        self.fates.append(NONE)
        self.owners.append(self._owner_of_new_packet(i))

    def _owner_of_new_packet(self, i: int) -> int:
        trace = self.trace
        start = trace.e[i]
        end = start + trace.payload_size[i]
        if trace.f[i] > 1:
            parent = self._arrow_at(trace.a[i], trace.b[i], start) if trace.d[i] == PacketKind.DATA else NONE
            if trace.d[i] == PacketKind.DATAGRAM and (original := self._packet_number(trace.cause[i])) != NONE:
                parent = self.owners[original]
            return self._add(ArrowKind.RETRANSMISSION, i, i, start, end, parent)
        if trace.d[i] != PacketKind.DATA:
            return self._add(ArrowKind.PACKET, i, i, start, end)
        direction = self._direction(trace.a[i], trace.b[i])
        direction.packets.append(i)
        pending = direction.pending
        if direction.open:
            arrow = next(reversed(direction.open.values()))
            self.count[arrow] += 1
        elif pending != NONE and direction.dissected and end - self.start[pending] <= HEAD_LIMIT_BYTES:
            arrow = pending
            self.count[arrow] += 1
            self.end[arrow] = end
        else:
            arrow = direction.pending = self._add(ArrowKind.BYTES, i, i, start, end)
            direction.add(arrow, start)
        return arrow

    def _packet_number(self, packet: int) -> int:
        n = bisect_left(self.packets, packet)
        return n if n < len(self.packets) and self.packets[n] == packet else NONE

    def _settle(self, i: int) -> int:
        """Note that fact `i` ended its packet; the packet's number, or NONE if it is not one or had ended already."""
        n = self._packet_number(self.trace.a[i])
        if n != NONE and self.fates[n] == NONE:
            self.fates[n] = i
            return n
        return NONE

    def _delivered(self, i: int) -> None:
        n, trace = self._settle(i), self.trace
        if n == NONE:
            return
        packet = self.packets[n]
        if trace.d[packet] != PacketKind.DATA:
            self.completed[self.owners[n]] = i
            return
        direction = self._direction(trace.a[packet], trace.b[packet])
        start = trace.e[packet]
        if direction.arrived(start, start + trace.payload_size[packet], i):
            waiting = direction.awaiting
            while waiting and self.end[waiting[0]] <= direction.readable:
                self.completed[waiting.popleft()] = i
        if self.kind[self.owners[n]] == ArrowKind.RETRANSMISSION:
            self.completed[self.owners[n]] = i

    def _dropped(self, i: int) -> None:
        n = self._settle(i)
        if n == NONE:
            return
        packet, owner = self.packets[n], self.owners[n]
        if self.packet[owner] == packet and self.count[owner] == 1:
            self.died[owner] = i
        else:
            start = self.trace.e[packet]
            part = self._add(ArrowKind.LOST_PART, i, packet, start, start + self.trace.payload_size[packet], owner)
            self.died[part] = i

    def _detour(self, i: int) -> None:
        self._detours.setdefault(self.trace.a[i], []).append(i)

    def _message_started(self, i: int) -> None:
        trace = self.trace
        flow, sender, offset = trace.a[i], trace.b[i], trace.e[i]
        cause = self._packet_number(trace.cause[i])
        if cause != NONE and trace.d[self.packets[cause]] == PacketKind.DATAGRAM:
            self._claim(self.owners[cause], i)
            return
        direction = self._direction(flow, sender)
        pending = direction.pending
        if pending != NONE and self.start[pending] >= offset:
            arrow = pending
            self.end[arrow] = NONE  # it was that of the bytes so far; now there may be more
        else:
            packet = direction.packet_at(offset)
            if packet == NONE:
                return
            arrow = self._add(ArrowKind.BYTES, i, packet, offset, NONE)
            direction.add(arrow, offset)
            self._take_over(arrow, packet, offset)
        direction.pending = NONE
        direction.begin(i, arrow, offset, trace.f[i])
        self._claim(arrow, i)

    def _take_over(self, arrow: int, packet: int, offset: int) -> bool:
        """A packet that begins with a message while another is open (an event in an unending response) is the new one's."""
        n = self._packet_number(packet)
        if self.trace.e[packet] == offset and self.fates[n] == NONE and self.packet[self.owners[n]] != packet:
            self.count[self.owners[n]] -= 1
            self.owners[n] = arrow
            return True
        return False

    def _message_resumed(self, i: int) -> None:
        trace = self.trace
        message, offset = trace.a[i], trace.c[i]
        if 0 <= message < i:
            direction = self._direction(trace.a[message], trace.b[message])
            arrow = direction.resume(message, offset, trace.f[message])
            packet = direction.packet_at(offset)
            if arrow != NONE and packet != NONE and self.owners[self._packet_number(packet)] != arrow:
                self.count[arrow] += self._take_over(arrow, packet, offset)

    def _claim(self, arrow: int, message: int) -> None:
        if self.message[arrow] == NONE:
            self.message[arrow] = message

    def _message_ended(self, i: int) -> None:
        trace = self.trace
        message, end = trace.a[i], trace.c[i]
        if not 0 <= message < i:
            return
        direction = self._direction(trace.a[message], trace.b[message])
        arrow = direction.open.pop(message, NONE)
        if arrow == NONE:
            return
        self.ended[arrow] = i
        self.end[arrow] = max(end, self.start[arrow])
        if direction.readable >= self.end[arrow]:
            self.completed[arrow] = i
        else:
            direction.awaiting.append(arrow)

    def _arrow_at(self, flow: int, sender: int, offset: int) -> int:
        return self._direction(flow, sender).at(offset)

    # --- the state at a moment --------------------------------------------------------------------------------------

    def limit_at(self, t: float) -> int:
        """How many of the facts read so far had happened by virtual time `t`."""
        return min(self.consumed, self.trace.length_at(t))

    def state_at(self, arrow: int, t: float, limit: int | None = None) -> ArrowState:
        """What `arrow` looks like at `t`. `limit` is `limit_at(t)`, for callers who ask about many arrows at once."""
        if limit is None:
            limit = self.limit_at(t)
        first = self.packet_state_at(self.packet[arrow], t, limit)
        if self.kind[arrow] != ArrowKind.BYTES or 0 <= self.died[arrow] < limit:
            return first
        delivered, total = self.delivered_bytes(arrow, limit), self.total_bytes(arrow, limit)
        known = total is not None
        if 0 <= self.completed[arrow] < limit or (
            not known and not self.claimed(arrow, limit) and self._all_read(arrow, limit)
        ):
            return ArrowState(Phase.DELIVERED, 1.0, delivered, total if known else delivered)
        if first.phase in (Phase.WAITING, Phase.IN_FLIGHT, Phase.HELD, Phase.LOST) and not delivered:
            return ArrowState(first.phase, first.fraction, 0, total, first.reason)
        size = total if total is not None else self.sent_bytes(arrow, limit)
        blocked = not delivered and first.phase is Phase.DELIVERED
        return ArrowState(Phase.PARTIAL, delivered / size if size else 0.0, delivered, total, "", blocked)

    def packet_state_at(self, packet: int, t: float, limit: int) -> ArrowState:
        """What the single packet with that fact id looks like at `t`."""
        trace = self.trace
        if packet >= limit:
            return ArrowState(Phase.WAITING)
        size = trace.payload_size[packet]
        fate = self.fates[bisect_left(self.packets, packet)]
        if 0 <= fate < limit:
            if trace.kind[fate] == f.PacketDelivered.code:
                return ArrowState(Phase.DELIVERED, 1.0, size, size)
            progress = min(1.0, max(0.0, trace.x[fate]))
            return ArrowState(Phase.LOST, progress, 0, size, trace.names[trace.c[fate]])
        way, held = self.way(packet, limit)
        if held:
            return ArrowState(Phase.HELD, way[-1][1], 0, size, held)
        (since, fraction), (arrives, _) = way[-2:]
        return ArrowState(Phase.IN_FLIGHT, _along(fraction, since, arrives, t), 0, size)

    def way(self, packet: int, limit: int) -> tuple[list[tuple[float, float]], str]:
        """A packet's way as (time, fraction of the way) wherever its speed changes, from its sending to its end or, while
        it travels, to its expected arrival; and, while it is held, why (the way then ends where it was stopped)."""
        trace = self.trace
        way, held = [(trace.time[packet], 0.0)], ""
        arrives = trace.x[packet]
        if not isfinite(arrives):
            arrives = trace.time[packet] + self._doomed.get(packet, UNKNOWN_TRANSIT_S)
        for detour in self._detours.get(packet, ()):
            if detour >= limit:
                break
            since, fraction = way[-1]
            way.append((trace.time[detour], _along(fraction, since, arrives, trace.time[detour])))
            if trace.kind[detour] == f.PacketHeld.code:
                held, arrives = trace.names[trace.c[detour]] or "held", inf
            else:
                held, arrives = "", trace.x[detour]
        fate = self.fates[bisect_left(self.packets, packet)]
        if 0 <= fate < limit:
            lost = trace.kind[fate] == f.PacketDropped.code
            way.append((trace.time[fate], min(1.0, max(0.0, trace.x[fate])) if lost else 1.0))
            held = ""
        elif not held:
            way.append((arrives, 1.0))
        return way, held

    def claimed(self, arrow: int, limit: int) -> bool:
        """Whether the arrow was known to be a message by then."""
        return 0 <= self.message[arrow] < limit

    def total_bytes(self, arrow: int, limit: int) -> int | None:
        """The arrow's size, or None while its end is not known."""
        if self.kind[arrow] != ArrowKind.BYTES or 0 <= self.ended[arrow] < limit:
            return self._clip(arrow, self.end[arrow])
        return None

    def sent_bytes(self, arrow: int, limit: int) -> int:
        """How many of the arrow's bytes had left their sender."""
        return self._clip(arrow, self._of(arrow).sent_at(limit))

    def delivered_bytes(self, arrow: int, limit: int) -> int:
        """How many of the arrow's bytes the receiver could read."""
        return self._clip(arrow, self._of(arrow).readable_at(limit))

    def _of(self, arrow: int) -> Talk:
        packet = self.packet[arrow]
        return self._direction(self.trace.a[packet], self.trace.b[packet])

    def _clip(self, arrow: int, offset: int) -> int:
        if self.end[arrow] != NONE:
            offset = min(offset, self.end[arrow])
        return max(0, offset - self.start[arrow] - self._of(arrow).others_until(arrow, offset))

    def _all_read(self, arrow: int, limit: int) -> bool:
        return self.delivered_bytes(arrow, limit) >= self.sent_bytes(arrow, limit) > 0

    # --- facts about an arrow ---------------------------------------------------------------------------------------

    def flow(self, arrow: int) -> int:
        return self.trace.a[self.packet[arrow]]

    def stream(self, arrow: int) -> int:
        """The stream within the connection; 0 where it carries one message at a time."""
        message = self.message[self.source(arrow)]
        return self.trace.f[message] if message != NONE else 0

    def sender(self, arrow: int) -> str:
        return self.trace.names[self.trace.b[self.packet[arrow]]]

    def receiver(self, arrow: int) -> str:
        return self.trace.names[self.trace.c[self.packet[arrow]]]

    def packet_kind(self, arrow: int) -> PacketKind:
        return PacketKind(self.trace.d[self.packet[arrow]])

    def attempt(self, arrow: int) -> int:
        return self.trace.f[self.packet[arrow]]

    def source(self, arrow: int) -> int:
        """The arrow whose bytes these are: itself, or the message of which it repeats or lost a part."""
        parent = self.parent[arrow]
        return arrow if parent == NONE else self.source(parent)

    def role(self, arrow: int) -> Role | None:
        """What the message is to those who exchange it; None for what is not (yet) a message."""
        message = self.message[self.source(arrow)]
        return Role(self.trace.d[message]) if message != NONE else None

    def label(self, arrow: int) -> str:
        """The dissector's words for the message; "" for what is not a message."""
        message = self.message[self.source(arrow)]
        return self.trace.text(message) if message != NONE else ""

    def first_sent_s(self, arrow: int) -> float:
        return self.trace.time[self.packet[arrow]]

    def completed_s(self, arrow: int) -> float:
        """When the receiver could read all of it; infinity if it could not (yet)."""
        completed = self.completed[arrow]
        return self.trace.time[completed] if completed != NONE else inf

    # --- look-ups ---------------------------------------------------------------------------------------------------

    def usual_transit_s(self) -> float:
        """How long a packet lately took from one host to another, on the slowest way; UNKNOWN_TRANSIT_S before any did."""
        return max(self._transit.values(), default=0.0) or UNKNOWN_TRANSIT_S

    def arrow_of_fact(self, fact: int) -> int | None:
        """The arrow that a fact about a packet or a message belongs to; None for other facts."""
        if not 0 <= fact < self.consumed:
            return None
        place = bisect_left(self.fact, fact)
        if place < len(self.fact) and self.fact[place] == fact:
            return place
        trace = self.trace
        kind = trace.kind[fact]
        if kind == f.MessageStarted.code:
            return self._started_by(fact, trace.cause[fact])
        if kind == f.MessageEnded.code:
            message = trace.a[fact]
            started = 0 <= message < fact and trace.kind[message] == f.MessageStarted.code
            return self.arrow_of_fact(message) if started else None
        packet = fact if kind == f.PacketSent.code else trace.a[fact]
        if kind in self._handlers and (n := self._packet_number(packet)) != NONE:
            return self.owners[n]
        return None

    def _started_by(self, message: int, cause: int) -> int | None:
        arrow = self._arrow_at(self.trace.a[message], self.trace.b[message], self.trace.e[message])
        if arrow != NONE and self.message[arrow] == message:
            return arrow
        n = self._packet_number(cause)
        return self.owners[n] if n != NONE and self.message[self.owners[n]] == message else None

    def stream_bytes(self, flow: int, sender: str, upto_fact: int | None = None) -> bytes:
        """All that `sender` had sent on that connection before fact `upto_fact` (default: so far), each byte once."""
        direction = self._directions.get((flow, self.trace.name_id(sender)))
        if direction is None:
            return b""
        limit = self.consumed if upto_fact is None else upto_fact
        return direction.bytes_between(0, direction.sent_at(limit))

    def message_range(self, arrow: int, limit: int | None = None) -> tuple[int, int]:
        """Where its bytes begin and end in their direction of the connection, as far as they have been sent."""
        arrow = self.source(arrow)
        limit = self.consumed if limit is None else limit
        start = self.start[arrow]
        if self.kind[arrow] != ArrowKind.BYTES:
            return start, self.end[arrow]
        message = self.message[arrow]
        sent = self._of(arrow).sent_at(limit)
        sent = max(start, sent if self.end[arrow] == NONE else min(sent, self.end[arrow]))
        return min(sent, self.trace.e[message] if message != NONE else start), sent

    def message_bytes(self, arrow: int, limit: int | None = None) -> bytes:
        """The bytes of the arrow's message, as far as they had been sent."""
        arrow = self.source(arrow)
        if self.kind[arrow] != ArrowKind.BYTES:
            return self.trace.payload(self.packet[arrow])
        return self._of(arrow).bytes_between(*self.message_range(arrow, limit))


def _along(fraction: float, since: float, arrives: float, t: float) -> float:
    """Where something is at `t` that was at `fraction` of its way at `since` and arrives at `arrives`."""
    if arrives <= since:
        return 1.0
    if arrives == inf:
        return fraction
    return fraction + (1.0 - fraction) * min(1.0, max(0.0, (t - since) / (arrives - since)))
