"""Which facts make rows: the growing index of a compact diagram. A row is a fact; once placed it never moves.

In the detail "messages" an arrow has one row, where it begins, however many packets it takes; in "packets" every packet has
its own, and both ends of a connection tell when they opened and closed.
"""

from array import array
from bisect import bisect_left
from typing import Literal

from engines.lab import facts as f
from engines.lab.trace import Trace
from engines.messages import MessageIndex

Detail = Literal["messages", "packets"]

_ALWAYS = frozenset(
    fact.code
    for fact in (
        f.RunEnded, f.RunFailed, f.CommandApplied, f.HostCrashed, f.HostFinished, f.StateChanged, f.WorkStarted,
        f.WorkFinished, f.WaitStarted, f.WaitEnded, f.TimedOut, f.Noted, f.ConnectionRefused, f.ConnectionReset,
        f.PoolResized, f.PoolEvicted, f.EventBorn, f.EventHandled, f.EventLost,
    )
)  # fmt: skip
_PACKETS = frozenset((f.PacketSent.code, f.ConnectionOpened.code, f.ConnectionClosed.code))
_POOL = frozenset(
    fact.code
    for fact in (
        f.PoolCreated, f.PoolResized, f.PoolQueued, f.PoolAssigned, f.PoolLeft, f.PoolEvicted, f.PoolOpening, f.PoolOpened,
    )
)  # fmt: skip
_UNLESS_ORDERED = frozenset((f.KnobTurned.code, f.LinkChanged.code))
"""Facts that a command has just announced in its own row; without one they get a row."""


class _Pools:
    """Which decisions of a pool are worth a row among messages: those that made somebody wait or go away with nothing."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._sizes: dict[int, int] = {}
        self._using: dict[int, set[int]] = {}
        self._queued: set[tuple[int, int]] = set()

    def noteworthy(self, i: int) -> bool:
        """Take a fact about a pool and say whether it is."""
        trace, kind = self.trace, self.trace.kind[i]
        pool, ticket = trace.a[i], trace.c[i]
        using = self._using.setdefault(pool, set())
        if kind in (f.PoolCreated.code, f.PoolResized.code):
            self._sizes[pool] = ticket  # the same column: the size
        elif kind == f.PoolQueued.code:
            if len(using) >= self._sizes.get(pool, 0):
                self._queued.add((pool, ticket))
                return True
        elif kind == f.PoolAssigned.code:
            using.add(ticket)
            if (pool, ticket) in self._queued:
                self._queued.discard((pool, ticket))
                return True
        elif kind == f.PoolLeft.code:
            using.discard(ticket)
            self._queued.discard((pool, ticket))
            return trace.names[trace.d[i]] != "returned"
        return False


class RowIndex:
    """The rows of both details, as ids of facts in ascending order."""

    def __init__(self, trace: Trace, messages: MessageIndex) -> None:
        self.trace = trace
        self.messages = messages
        self.facts: dict[Detail, array[int]] = {"messages": array("i"), "packets": array("i")}
        self._pools = _Pools(trace)
        self._arrow = 0

    def consume(self, first: int, stop: int) -> None:
        """Place rows for facts `first` to `stop` - 1, which the message index must have read already."""
        messages, packets = self.facts["messages"], self.facts["packets"]
        arrows, kinds, b, time = self.messages.fact, self.trace.kind, self.trace.b, self.trace.time
        for i in range(first, stop):
            kind = kinds[i]
            waited = kind in _POOL and self._pools.noteworthy(i)
            while self._arrow < len(arrows) and arrows[self._arrow] < i:
                self._arrow += 1
            if self._arrow < len(arrows) and arrows[self._arrow] == i:
                messages.append(i)
            elif (
                kind in _ALWAYS
                or (kind in _UNLESS_ORDERED and not self._ordered(i))
                or (kind == f.HostStarted.code and (b[i] > 1 or time[i] > 0))
            ):
                messages.append(i)
                packets.append(i)
            elif kind in _POOL:
                packets.append(i)
                if waited:
                    messages.append(i)
            if kind in _PACKETS:
                packets.append(i)

    def _ordered(self, i: int) -> bool:
        trace, cause = self.trace, self.trace.cause[i]
        return 0 <= cause < i and trace.kind[cause] == f.CommandApplied.code and trace.time[cause] == trace.time[i]

    def count(self, limit: int, detail: Detail) -> int:
        """How many rows the first `limit` facts have."""
        return bisect_left(self.facts[detail], limit)

    def row_of(self, fact: int, detail: Detail) -> int:
        """The row of `fact`: its arrow's if it belongs to one, else the last row not after it; -1 before the first."""
        own = self.own_row(fact, detail)
        return own if own is not None else bisect_left(self.facts[detail], fact) - 1

    def own_row(self, fact: int, detail: Detail) -> int | None:
        """The row that `fact` itself or its arrow has; None for what has none."""
        rows = self.facts[detail]
        place = bisect_left(rows, fact)
        if place < len(rows) and rows[place] == fact:
            return place
        arrow = self.messages.arrow_of_fact(fact)
        if arrow is not None:
            target = self.messages.fact[arrow] if detail == "messages" else self._packet_of(fact)
            found = bisect_left(rows, target)
            if found < len(rows) and rows[found] == target:
                return found
        return None

    def _packet_of(self, fact: int) -> int:
        trace, kind = self.trace, self.trace.kind[fact]
        return trace.cause[fact] if kind in (f.MessageStarted.code, f.MessageEnded.code) else trace.a[fact]
