"""One direction of one connection, as its packets tell: what was sent by when, and what could be read at the other end by when.

TCP delivers packets in any order and programs bytes in one only (RFC 9293, section 3.4): what lies behind a hole waits. Only
ids of facts and offsets are kept; payloads stay in the trace.
"""

from array import array
from bisect import bisect_left, bisect_right

from engines.lab.facts import PacketKind, PacketSent
from engines.lab.trace import Trace


def in_datagram(trace: Trace, message: int) -> bool:
    """Whether the message of MessageStarted `message` came in a datagram: whole or not at all, and in no stream."""
    packet = trace.cause[message]
    return packet >= 0 and trace.kind[packet] == PacketSent.code and trace.d[packet] == PacketKind.DATAGRAM


class Direction:
    """The bytes that one host sent on one connection. `packets` are the first transmissions, in the order of their offsets."""

    __slots__ = ("_holes", "_readable_facts", "_readable_offsets", "packets", "readable", "trace")

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.packets = array("i")
        self.readable = 0
        self._readable_facts = array("i")  # deliveries after which more could be read …
        self._readable_offsets = array("q")  # … and up to where
        self._holes: dict[int, int] = {}  # arrived behind a hole: start -> end

    def arrived(self, start: int, end: int, fact: int) -> bool:
        """Bytes `start` to `end` arrived with `fact`; true if more can be read now."""
        holes, readable = self._holes, self.readable
        if start > readable:
            holes[start] = max(end, holes.get(start, 0))
            return False
        readable = max(readable, end)
        while holes and (lowest := min(holes)) <= readable:
            readable = max(readable, holes.pop(lowest))
        if readable == self.readable:
            return False
        self.readable = readable
        self._readable_facts.append(fact)
        self._readable_offsets.append(readable)
        return True

    def readable_at(self, limit: int) -> int:
        """Up to which offset the other end could read when the first `limit` facts had happened."""
        i = bisect_left(self._readable_facts, limit)
        return self._readable_offsets[i - 1] if i else 0

    def sent_at(self, limit: int) -> int:
        """Up to which offset bytes had been sent by then."""
        n = bisect_left(self.packets, limit)
        return self._end(self.packets[n - 1]) if n else 0

    def packet_at(self, offset: int) -> int:
        """The packet in which the byte at `offset` left (or the nearest before it); -1 if nothing was sent."""
        return self.packets[self._place(offset)] if len(self.packets) else -1

    def bytes_between(self, start: int, end: int) -> bytes:
        """The bytes `start` to `end`, as far as they were sent."""
        if not len(self.packets):
            return b""
        trace, pieces, first = self.trace, [], self._place(start)
        for n in range(first, len(self.packets)):
            if trace.e[self.packets[n]] >= end:
                break
            pieces.append(trace.payload(self.packets[n]))
        base = trace.e[self.packets[first]]
        return b"".join(pieces)[max(0, start - base) : max(0, end - base)]

    def _place(self, offset: int) -> int:
        return max(0, bisect_right(self.packets, offset, key=self.trace.e.__getitem__) - 1)

    def _end(self, packet: int) -> int:
        return self.trace.e[packet] + self.trace.payload_size[packet]
