"""The append-only series behind every number: a level that steps, the area below it, and samples that pile up.

All are indexed by fact, not by time, so that their value after any number of facts is found by bisection: going back
over a million facts costs as little as following the last one.
"""

import math
from array import array
from bisect import bisect_left, insort
from collections.abc import Sequence

_MOVE_ONE_BY_ONE = 64
"""Up to this many samples are put into (or taken out of) the sorted list one at a time; beyond, it is sorted anew."""


class Level:
    """A number that some facts change: a count (it only rises) or a gauge (it falls as well). It begins at 0."""

    __slots__ = ("_facts", "_values")

    def __init__(self) -> None:
        self._facts = array("I")
        self._values = array("d")

    def add(self, fact_id: int, amount: float) -> None:
        """Fact `fact_id` changed the number by `amount`. Facts come in order; one fact may change it more than once."""
        value = (self._values[-1] if self._values else 0.0) + amount
        if self._facts and self._facts[-1] == fact_id:
            self._values[-1] = value
        else:
            self._facts.append(fact_id)
            self._values.append(value)

    def at(self, length: int) -> float:
        """The number after the first `length` facts."""
        place = bisect_left(self._facts, length)
        return self._values[place - 1] if place else 0.0

    def began_by(self, length: int) -> bool:
        """Whether anything among the first `length` facts changed it."""
        return bool(self._facts) and self._facts[0] < length

    def highest(self, start: int, end: int, time_s: Sequence[float]) -> float:
        """The highest it stood from after `start` facts until after `end` facts, for longer than no time at all.

        `time_s` is when each fact happened. A request that joins a queue and is served in the same instant made no queue.
        """
        first, last = bisect_left(self._facts, start), bisect_left(self._facts, end)
        facts = self._facts
        lasting = (
            self._values[i]
            for i in range(first, last)
            if i + 1 == len(facts) or time_s[facts[i + 1]] > time_s[facts[i]]
        )
        return max([self.at(start), *lasting])


class Area:
    """The seconds that a gauge has piled up: two requests in flight for three seconds are six."""

    __slots__ = ("_areas", "_facts", "_heights", "_times")

    def __init__(self) -> None:
        self._facts = array("I")
        self._times = array("d")
        self._heights = array("d")
        self._areas = array("d")

    def add(self, fact_id: int, time_s: float, amount: float) -> None:
        """Fact `fact_id`, at `time_s`, changed the gauge by `amount`. Facts come in order."""
        self._areas.append(self._at(len(self._facts), time_s))
        self._heights.append((self._heights[-1] if self._heights else 0.0) + amount)
        self._facts.append(fact_id)
        self._times.append(time_s)

    def at(self, length: int, time_s: float) -> float:
        """The seconds until `time_s`, of which the first `length` facts tell."""
        return self._at(bisect_left(self._facts, length), time_s)

    def _at(self, place: int, time_s: float) -> float:
        if not place:
            return 0.0
        return self._areas[place - 1] + self._heights[place - 1] * (time_s - self._times[place - 1])


class Samples:
    """Values measured one by one, such as the delay of each request."""

    __slots__ = ("_facts", "_sorted", "_values")

    def __init__(self) -> None:
        self._facts = array("I")
        self._values = array("d")
        self._sorted: list[float] = []  # the first so many values, in order of size

    def add(self, fact_id: int, value: float) -> None:
        """Fact `fact_id` completed a measurement. Facts come in order."""
        self._facts.append(fact_id)
        self._values.append(value)

    def quantile(self, fraction: float, length: int) -> float | None:
        """The quantile (see `nearest_rank`) of the samples among the first `length` facts; None for none."""
        self._sort_first(bisect_left(self._facts, length))
        return nearest_rank(self._sorted, fraction)

    def quantile_between(self, fraction: float, start: int, end: int) -> float | None:
        """The quantile of the samples that facts `start` to `end - 1` completed."""
        first, last = bisect_left(self._facts, start), bisect_left(self._facts, end)
        return nearest_rank(sorted(self._values[first:last]), fraction)

    def mean_between(self, start: int, end: int) -> float | None:
        """The mean of the samples that facts `start` to `end - 1` completed; None of none."""
        first, last = bisect_left(self._facts, start), bisect_left(self._facts, end)
        return math.fsum(self._values[first:last]) / (last - first) if last > first else None

    def _sort_first(self, count: int) -> None:
        ordered, values = self._sorted, self._values
        if abs(count - len(ordered)) > _MOVE_ONE_BY_ONE:
            self._sorted = sorted(values[:count])
            return
        while len(ordered) < count:
            insort(ordered, values[len(ordered)])
        while len(ordered) > count:
            del ordered[bisect_left(ordered, values[len(ordered) - 1])]


def nearest_rank(ordered: list[float], fraction: float) -> float | None:
    """The smallest of `ordered` such that at least `fraction` of them are no larger; None of none.

    This is the nearest-rank definition: of 20 delays, p95 is the 19th smallest, p50 the 10th, and `fraction` 1 gives the
    largest. It is always a value that really occurred.
    """
    if not ordered:
        return None
    # In floating point 0.07 * 100 is a little more than 7; the rank must not be one too high for that.
    return ordered[max(0, math.ceil(round(fraction * len(ordered), 9)) - 1)]
