"""What was sent and what can be read, for each direction of each connection.

A receiver can read only up to the first hole: data behind a lost packet has arrived, yet waits for the retransmission.
So a message counts as arrived when everything up to its last byte is there.
"""

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush

from engines.lab.facts import PacketKind
from engines.lab.trace import Trace


@dataclass(slots=True)
class Direction:
    """One direction of a connection. Positions are bytes from its start; the FIN counts as one byte after the last."""

    readable: int = 0
    packets: deque[tuple[int, int]] = field(default_factory=deque)  # (end, fact id) of first transmissions, in order
    _beyond_hole: list[tuple[int, int]] = field(default_factory=list)
    _goals: list[tuple[int, int]] = field(default_factory=list)

    def deliver(self, start: int, end: int) -> None:
        """Bytes `start` to `end` arrived."""
        heappush(self._beyond_hole, (start, end))
        while self._beyond_hole and self._beyond_hole[0][0] <= self.readable:
            self.readable = max(self.readable, heappop(self._beyond_hole)[1])

    def expect(self, position: int, goal: int) -> None:
        """Report `goal` by `reached` once everything before `position` can be read."""
        heappush(self._goals, (position, goal))

    def reached(self) -> list[int]:
        """The goals that have come true since the last call, in order."""
        done = []
        while self._goals and self._goals[0][0] <= self.readable:
            done.append(heappop(self._goals)[1])
        return done

    def first_packet(self, position: int, default: int) -> int:
        """The fact that first sent the byte at `position`."""
        return next((packet for end, packet in self.packets if end > position), default)

    def last_end(self, default: int) -> int:
        """Where everything sent so far ends."""
        return self.packets[-1][0] if self.packets else default

    def forget_before(self, position: int) -> None:
        """Nobody will ask for bytes before `position` again."""
        while self.packets and self.packets[0][0] <= position:
            self.packets.popleft()

    def bytes_from(self, trace: Trace, position: int) -> bytes:
        """Everything sent so far from `position` on."""
        parts = [trace.payload(packet) for _, packet in self.packets]
        start = trace.e[self.packets[0][1]] if self.packets else position
        return b"".join(parts)[position - start :]


_SPACE_OF_A_CONTROL_BIT = {PacketKind.FIN: 1}  # TCP's sequence numbers count it too (RFC 9293, section 3.4)


class Streams(dict[tuple[int, int], Direction]):
    """The directions of all connections, by flow and the sender's number in the trace's names.

    What reaches a host that has closed its end, or has learned of a reset, reaches nobody: its kernel answers with RST.
    """

    def __init__(self) -> None:
        super().__init__()
        self._deaf: set[tuple[int, int]] = set()  # flow and host

    def __missing__(self, key: tuple[int, int]) -> Direction:
        self[key] = direction = Direction()
        return direction

    def packet_sent(self, trace: Trace, fact_id: int) -> Direction | None:
        """Take note of a PacketSent; returns its direction if it carried data for the first time."""
        if trace.d[fact_id] != PacketKind.DATA or trace.f[fact_id] != 1:
            return None
        direction = self[trace.a[fact_id], trace.b[fact_id]]
        direction.packets.append((trace.e[fact_id] + trace.payload_size[fact_id], fact_id))
        return direction

    def packet_delivered(self, trace: Trace, fact_id: int) -> list[int]:
        """Take note of a PacketDelivered; returns the goals of its direction that this made true."""
        packet = trace.a[fact_id]
        kind = trace.d[packet]
        if kind not in (PacketKind.DATA, PacketKind.FIN) or self.too_late(trace, fact_id):
            return []
        direction = self[trace.a[packet], trace.b[packet]]
        start = trace.e[packet]
        direction.deliver(start, start + trace.payload_size[packet] + _SPACE_OF_A_CONTROL_BIT.get(PacketKind(kind), 0))
        return direction.reached()

    def end_closed(self, trace: Trace, fact_id: int) -> None:
        """Take note of a ConnectionClosed or ConnectionReset: that host reads no more."""
        self._deaf.add((trace.a[fact_id], trace.b[fact_id]))

    def too_late(self, trace: Trace, fact_id: int) -> bool:
        """Whether the packet of a PacketDelivered came to an end that had been closed by then."""
        return (trace.b[fact_id], trace.c[fact_id]) in self._deaf
