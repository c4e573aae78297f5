"""Reads the catalogue's numbers off a trace, at any moment, while the trace grows."""

import math

from engines.lab.trace import Trace
from engines.lab.units import format_quantity
from engines.metrics.catalogue import Metric, Moment, find_metric
from engines.metrics.collect import Journal
from engines.metrics.counts import MEASURED, Connections, OpenStreams, Packets, Pools, Programs, Protocols, Work
from engines.metrics.events import Events
from engines.metrics.exchanges import Exchanges

COLLECTORS = (Exchanges, Packets, Connections, OpenStreams, Protocols, Pools, Work, Programs, Events)


class Numbers:
    """All numbers of one trace, for one reader (not safe to share between threads).

    A moment is a virtual time; everything that happened at that very time is included, unless `length` says how many
    facts to take. Going back costs no more than going on.
    """

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._journal = Journal(trace, COLLECTORS)

    def value(self, name: str, time_s: float, length: int | None = None) -> float | None:
        """The metric's value in base units, or None while it has none. Raises UnknownMetric."""
        return find_metric(name).value(self._journal, self._moment(time_s, length))

    def text(self, name: str, time_s: float, length: int | None = None) -> str:
        """The value as people read it, "–" while there is none."""
        return format_value(find_metric(name), self.value(name, time_s, length))

    def series(
        self, name: str, time_s: float, buckets: int = 24, window_s: float | None = None, length: int | None = None
    ) -> list[float | None]:
        """At most `buckets` values for a sparkline, oldest first; the last stretch is the one that `time_s` is in.

        With `window_s` they cover about that much time before `time_s` (there are `buckets` of them, None before the
        run began). Without, they cover the whole run so far. Stretches lie on a fixed grid, so that a picture of them
        does not tremble as time goes on.
        """
        metric, now = find_metric(name), self._moment(time_s, length)
        width_s = _round_up(time_s / buckets) if window_s is None else window_s / buckets
        last = max(0, math.ceil(time_s / width_s) - 1)
        first = 0 if window_s is None else last - buckets + 1
        return [self._bucket(metric, k, width_s, now) if k >= 0 else None for k in range(first, last + 1)]

    def measured(self, time_s: float, length: int | None = None) -> list[str]:
        """The names (`measured:…`) of what programs had counted by then."""
        now = self._moment(time_s, length)
        trace_reaches = self._journal.level_names(MEASURED)
        return [name for name in trace_reaches if self._journal.level(name).began_by(now.length)]

    def _moment(self, time_s: float, length: int | None) -> Moment:
        reached = self._trace.length_at(time_s) if length is None else length
        self._journal.read(reached)
        return Moment(reached, time_s)

    def _bucket(self, metric: Metric, number: int, width_s: float, now: Moment) -> float | None:
        """Stretch `number` is the time after its start up to and with its end; the first has time 0 in it as well."""
        start_s, end_s = number * width_s, (number + 1) * width_s
        start = Moment(min(now.length, self._trace.length_at(start_s)) if number else 0, start_s)
        end = now if end_s >= now.time_s else Moment(min(now.length, self._trace.length_at(end_s)), end_s)
        return metric.bucket(self._journal, start, end)


def format_value(metric: Metric, value: float | None) -> str:
    """`value` of `metric` as people read it, "–" for None."""
    return "–" if value is None else format_quantity(value, metric.unit)


def _round_up(width_s: float) -> float:
    """The next of … 0.01, 0.02, 0.05, 0.1, 0.2 … seconds, so that a growing run keeps its stretches for long."""
    if width_s <= 0:
        return 0.01
    scale = 10.0 ** math.floor(math.log10(width_s))
    return next(step * scale for step in (1, 2, 5, 10) if step * scale >= width_s)
