"""Where two runs part: the first fact that differs, and the first thing that came of it.

Two traces that are the same but for one going on longer do not differ (yet): what happened in only one of them so far may still
happen in the other.
"""

from array import array
from collections.abc import Callable

from engines.lab.facts import FACTS, CommandApplied, KnobTurned, LinkChanged, PacketReleased, PacketSent
from engines.lab.trace import CODECS, Trace

SLICE = 4_096
"""Facts compared at once: columns of numbers are compared by the processor, not by Python."""

_ORDERS = frozenset((CommandApplied.code, KnobTurned.code, LinkChanged.code))
"""An order and what it says itself; what comes of it is more interesting."""

_EXPECTING = frozenset((PacketSent.code, PacketReleased.code))

_REFERENCES = frozenset(("packet", "message", "work", "wait", "index"))
"""Fields that number other facts: they shift when a fact is put in between, which is no difference of its own."""


def first_difference(one: Trace, other: Trace, start: int = 0, stop: int | None = None) -> int | None:
    """The id of the first fact, from `start` to before `stop`, that is not the same in both; None if there is none (yet).

    All of a fact counts: its time, its cause, every field and every byte.
    """
    stop = min(len(one), len(other)) if stop is None else min(stop, len(one), len(other))
    shared_names = _common_length(one.names, other.names)
    for first in range(start, stop, SLICE):
        last = min(first + SLICE, stop)
        place = _differs_in(one, other, first, last)
        if len(one.names) > shared_names and len(other.names) > shared_names:
            # The same number may mean another name from here on.
            strange = next(
                (i for i in range(first, last if place is None else place) if _names(one, i) != _names(other, i)), None
            )
            place = place if strange is None else strange
        if place is not None:
            return place
    return None


def _differs_in(one: Trace, other: Trace, first: int, last: int) -> int | None:
    """The first fact between two ids whose numbers or bytes differ."""

    def same(low: int, high: int) -> bool:
        columns = zip(_columns(one), _columns(other), strict=True)
        return all(a[low:high] == b[low:high] for a, b in columns) and one.payloads(low, high) == other.payloads(
            low, high
        )

    if same(first, last):
        return None
    while last - first > 1:
        middle = (first + last) // 2
        if same(first, middle):
            first = middle
        else:
            last = middle
    return first


def _columns(trace: Trace) -> "tuple[array[int] | array[float], ...]":
    return (
        trace.kind, trace.time, trace.cause, trace.a, trace.b, trace.c, trace.d, trace.e, trace.f, trace.x, trace.payload_size,
    )  # fmt: skip


def _common_length(one: list[str], other: list[str]) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _names(trace: Trace, fact_id: int) -> list[str]:
    """The names in a fact, in the order of its fields."""
    flags = CODECS[trace.kind[fact_id]].names
    columns = (trace.a, trace.b, trace.c, trace.d, trace.e, trace.f)
    return [trace.names[column[fact_id]] for column, flag in zip(columns, flags, strict=False) if flag]


class Parting:
    """Two traces as they grow: where they part (`fact`), and the first effect of that, a fact in each (`effect`).

    `effect` leaves out the order that made the difference and looks past the numbers that it has shifted.
    """

    def __init__(self, one: Trace, other: Trace) -> None:
        self.one, self.other = one, other
        self.fact: int | None = None
        self.effect: tuple[int, int] | None = None
        self._compared = 0
        self._places = [0, 0]

    def consume(self, budget: int) -> bool:
        """Compare at most so many more facts; true while there is more to compare."""
        if self.fact is None:
            stop = min(len(self.one), len(self.other), self._compared + budget)
            self.fact = first_difference(self.one, self.other, self._compared, stop)
            self._compared = stop
            if self.fact is None:
                return stop < min(len(self.one), len(self.other))
            self._places = [self.fact, self.fact]
        for _ in range(budget):
            if self.effect is not None:
                return False
            places = [self._beyond_orders(trace, place) for trace, place in self._pairs()]
            self._places = places
            if places[0] >= len(self.one) or places[1] >= len(self.other):
                return False
            if _content(self.one, places[0]) != _content(self.other, places[1]):
                self.effect = (places[0], places[1])
            self._places = [place + 1 for place in places]
        return self.effect is None

    def _pairs(self) -> list[tuple[Trace, int]]:
        return [(self.one, self._places[0]), (self.other, self._places[1])]

    @staticmethod
    def _beyond_orders(trace: Trace, place: int) -> int:
        while place < len(trace) and trace.kind[place] in _ORDERS:
            place += 1
        return place


def _kept(fact: type) -> list[Callable[[Trace, int], object]]:
    """How to read what counts of a fact of that class: all its fields but those that number other facts."""
    codec = CODECS[fact.code]  # type: ignore[attr-defined]
    readers: list[Callable[[Trace, int], object]] = []
    for column, name, is_name in zip("abcdef", codec.integers, codec.names, strict=False):
        if is_name:
            readers.append(lambda trace, i, column=column: trace.names[getattr(trace, column)[i]])  # type: ignore[misc]
        elif name not in _REFERENCES:
            readers.append(lambda trace, i, column=column: getattr(trace, column)[i])  # type: ignore[misc]
    return readers


_READERS = [_kept(fact) for fact in FACTS]


def _content(trace: Trace, fact_id: int) -> tuple[object, ...]:
    """When a packet will arrive does not count when it is sent: nobody sees that yet."""
    kind = trace.kind[fact_id]
    amount = 0.0 if kind in _EXPECTING else trace.x[fact_id]
    fields = tuple(read(trace, fact_id) for read in _READERS[kind])
    return (kind, trace.time[fact_id], amount, trace.payload(fact_id), *fields)
