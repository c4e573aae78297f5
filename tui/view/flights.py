"""Which packets were on their way at any fact: what a slanted picture needs to begin in the middle of a run."""

from array import array
from bisect import bisect_left, bisect_right

from engines.lab.facts import PacketDelivered, PacketDropped, PacketSent
from engines.lab.trace import Trace
from engines.messages import MessageIndex

_EVERY_PACKETS = 64


class Flights:
    """Packets on their way, kept as a set now and as snapshots for the past. A snapshot is taken after as many packets as
    it holds, so that all of them together are no larger than the trace."""

    def __init__(self, trace: Trace, messages: MessageIndex) -> None:
        self.trace = trace
        self.messages = messages
        self._open: dict[int, None] = {}
        self._snapshots: list[array[int]] = []
        self._taken_at = array("i")
        self._since = 0

    def consume(self, first: int, stop: int) -> None:
        kinds, a, flying = self.trace.kind, self.trace.a, self._open
        sent, ended = PacketSent.code, (PacketDelivered.code, PacketDropped.code)
        for i in range(first, stop):
            kind = kinds[i]
            if kind == sent:
                flying[i] = None
                self._since += 1
                if self._since >= max(_EVERY_PACKETS, len(flying)):
                    self._since = 0
                    self._snapshots.append(array("i", flying))
                    self._taken_at.append(i)
            elif kind in ended:
                flying.pop(a[i], None)

    def open_before(self, limit: int) -> list[int]:
        """The packets (ids of PacketSent) that were on their way when the first `limit` facts had happened."""
        packets, fates = self.messages.packets, self.messages.fates
        block = bisect_left(self._taken_at, limit) - 1
        known = list(self._snapshots[block]) if block >= 0 else []
        first = bisect_right(packets, self._taken_at[block]) if block >= 0 else 0
        found = []
        for packet in known + list(packets[first : bisect_left(packets, limit)]):
            fate = fates[bisect_left(packets, packet)]
            if fate < 0 or fate >= limit:
                found.append(packet)
        return found
