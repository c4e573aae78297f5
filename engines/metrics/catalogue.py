"""The numbers a pattern is judged by: what each is called, what it means exactly, and how it is read at a moment.

Percentiles follow the nearest-rank definition (`series.nearest_rank`): the smallest value such that at least p percent
of the values are no larger. It is exact, and always a value that really occurred.
"""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from engines.metrics.collect import Journal
from engines.metrics.counts import MEASURED

_RECENT_S = 1.0


@dataclass(frozen=True, slots=True)
class Moment:
    """A place in a run: its first `length` facts, at virtual time `time_s`."""

    length: int
    time_s: float


Value = Callable[[Journal, Moment], float | None]
Bucket = Callable[[Journal, Moment, Moment], float | None]


@dataclass(frozen=True, slots=True)
class Metric:
    """One number. `value` reads it at a moment, `bucket` between two (for a sparkline); None means there is none yet.

    `unit` is one of `units`: "s", "B", "B/s", "%" (a fraction) or "" (a count).
    """

    name: str
    title: str
    unit: str
    help: str
    value: Value
    bucket: Bucket


class UnknownMetric(ValueError):
    """No such number; the message names the nearest that exists."""


def _count(name: str, title: str, unit: str, help_line: str, level: str = "") -> Metric:
    """Something that only adds up: its sparkline shows how much came in each stretch."""
    key = level or name

    def value(journal: Journal, at: Moment) -> float:
        return journal.level(key).at(at.length)

    def bucket(journal: Journal, start: Moment, end: Moment) -> float:
        return journal.level(key).at(end.length) - journal.level(key).at(start.length)

    return Metric(name, title, unit, help_line, value, bucket)


def _gauge(name: str, title: str, help_line: str) -> Metric:
    """Something that rises and falls: its sparkline shows the highest of each stretch, so that no peak is missed."""

    def value(journal: Journal, at: Moment) -> float:
        return journal.level(name).at(at.length)

    def bucket(journal: Journal, start: Moment, end: Moment) -> float:
        return journal.level(name).highest(start.length, end.length, journal.trace.time)

    return Metric(name, title, "", help_line, value, bucket)


def _quantile(name: str, title: str, help_line: str, samples: str, fraction: float) -> Metric:
    """A percentile of all samples so far; its sparkline shows that of each stretch's own samples."""

    def value(journal: Journal, at: Moment) -> float | None:
        return journal.samples(samples).quantile(fraction, at.length)

    def bucket(journal: Journal, start: Moment, end: Moment) -> float | None:
        return journal.samples(samples).quantile_between(fraction, start.length, end.length)

    return Metric(name, title, "s", help_line, value, bucket)


def _overhead(journal: Journal, at: Moment) -> float | None:
    total = journal.level("bytes").at(at.length)
    return (total - journal.level("payload").at(at.length)) / total if total else None


def _overhead_until(journal: Journal, start: Moment, end: Moment) -> float | None:
    return _overhead(journal, end)


def _mean_delay(journal: Journal, at: Moment) -> float | None:
    return journal.samples("event-delay").mean_between(0, at.length)


def _mean_delay_between(journal: Journal, start: Moment, end: Moment) -> float | None:
    return journal.samples("event-delay").mean_between(start.length, end.length)


def _cost(journal: Journal, at: Moment) -> float | None:
    useful = journal.level("event-bytes-heard").at(at.length)
    return journal.level("bytes").at(at.length) / useful if useful else None


def _cost_until(journal: Journal, start: Moment, end: Moment) -> float | None:
    return _cost(journal, end)


def _mean_rate(journal: Journal, at: Moment) -> float | None:
    return journal.level("delivered").at(at.length) / at.time_s if at.time_s > 0 else None


def _recent_rate(journal: Journal, at: Moment) -> float | None:
    if at.time_s <= 0:
        return None
    since_s = at.time_s - _RECENT_S
    before = 0 if since_s <= 0 else min(at.length, journal.trace.length_at(since_s))
    level = journal.level("delivered")
    return (level.at(at.length) - level.at(before)) / min(_RECENT_S, at.time_s)


def _rate_between(journal: Journal, start: Moment, end: Moment) -> float | None:
    span_s = end.time_s - start.time_s
    level = journal.level("delivered")
    return (level.at(end.length) - level.at(start.length)) / span_s if span_s > 0 else None


def _pool_use(journal: Journal, at: Moment) -> float | None:
    places = journal.area("pool-places").at(at.length, at.time_s)
    return journal.area("pool-use").at(at.length, at.time_s) / places if places else None


def _pool_use_between(journal: Journal, start: Moment, end: Moment) -> float | None:
    used, places = (
        area.at(end.length, end.time_s) - area.at(start.length, start.time_s)
        for area in (journal.area("pool-use"), journal.area("pool-places"))
    )
    return used / places if places else None


def _latest(name: str, what: str) -> Metric:
    """The value that a program measured last; a stretch of its sparkline shows the one that stood at its end."""

    def value(journal: Journal, at: Moment) -> float | None:
        level = journal.level(name)
        return level.at(at.length) if level.began_by(at.length) else None

    def bucket(journal: Journal, start: Moment, end: Moment) -> float | None:
        return value(journal, end)

    title, _, last = what.rpartition(" ")
    unit = _MEASURED_UNITS.get(last, "")
    return Metric(name, (title or what) if unit else what, unit, f"{what}, when last measured", value, bucket)


_EVENT_DELAY = "from the moment it happened until a host has heard of it"
_DELAY = "from the first byte of a request until the last byte of its response can be read by the client"
_POOL_WAIT = "how long requests waited for a connection of the pool"

_METRICS = (
    _count("requests", "requests", "", "requests whose head has left the client"),
    _count("responses", "responses", "", "final responses whose head has arrived at a client that was still listening"),
    _count("errors", "errors", "", "responses with a status of 400 or more, at the client"),
    _count("empty", "empty replies", "", "responses that bring nothing: 204 No Content and 304 Not Modified"),
    _count("bytes", "bytes", "B", "everything sent in packets, retransmissions too; without TCP and IP headers"),
    _count("payload", "payload", "B", "bytes sent in the bodies of HTTP/1.1 messages, each counted once"),
    Metric(
        "overhead", "overhead", "%", "share of all bytes sent that was not in a body", _overhead, _overhead_until
    ),
    _count("lost", "packets lost", "", "packets that died on their way, whatever the reason"),
    _count("retransmissions", "retransmissions", "", "packets sent again because the first may be lost"),
    _gauge("in-flight", "in flight", "packets on their way right now"),
    _count("connections", "connections opened", "", "connections that a client has established so far"),
    _gauge("open", "connections open", "connections that their client holds right now"),
    _count("resets", "resets", "", "connections that ended without a proper close"),
    _count("timeouts", "timeouts", "", "times that somebody gave up waiting"),
    _quantile("delay", "delay p50", f"half of the delays are no longer; {_DELAY}", "delay", 0.50),
    _quantile("delay-p95", "delay p95", f"95 of 100 delays are no longer; {_DELAY}", "delay", 0.95),
    _quantile("delay-max", "delay max", f"the longest delay; {_DELAY}", "delay", 1.0),
    Metric(
        "throughput", "throughput", "B/s", "bytes delivered a second, on average so far", _mean_rate, _rate_between
    ),
    Metric(
        "throughput-now", "throughput now", "B/s", "bytes delivered in the last second", _recent_rate, _rate_between
    ),
    _gauge("pool-queue", "pool queue", "requests that wait for a connection of the pool right now"),
    _quantile("pool-wait", "pool wait p50", f"half waited no longer; {_POOL_WAIT}", "pool-wait", 0.50),
    _quantile("pool-wait-p95", "pool wait p95", f"95 of 100 waited no longer; {_POOL_WAIT}", "pool-wait", 0.95),
    _gauge("pool-busy", "pool busy", "requests that hold a connection of the pool, or with HTTP/2 a stream of it, right now"),
    Metric(
        "pool-use", "pool use", "%", "share of the pool's places that was held, on average so far", _pool_use, _pool_use_between
    ),
    _gauge("streams", "streams open", "HTTP/2 requests that are sent and not answered, refused or reset yet, on all connections"),
    _count("work-started", "work started", "", "pieces of work that a host began"),
    _count("work-finished", "work finished", "", "pieces of work that came to an end of their own"),
    _count("work-cancelled", "work cancelled", "", "pieces of work that were called off"),
    _count("events", "events", "", "things that happened and that somebody wants to hear of"),
    _count("events-handled", "events heard", "", "times that a host heard of an event, the first time each"),
    _gauge("events-waiting", "events waiting", "events that nobody has heard of yet, and that are not given up"),
    _count("events-lost", "events lost", "", "events that a host gave up knowingly"),
    _count("events-duplicated", "duplicates", "", "times that a host handled an event it had handled before"),
    _count("events-unordered", "out of order", "", "events heard after a younger one, by the same host"),
    _quantile("event-delay", "event delay p50", f"half of the events were heard no later; {_EVENT_DELAY}", "event-delay", 0.50),
    _quantile("event-delay-p95", "event delay p95", f"95 of 100 were heard no later; {_EVENT_DELAY}", "event-delay", 0.95),
    _quantile("event-delay-max", "event delay max", f"the latest of all; {_EVENT_DELAY}", "event-delay", 1.0),
    Metric(
        "event-delay-mean", "event delay mean", "s", f"on average; {_EVENT_DELAY}", _mean_delay, _mean_delay_between
    ),
    Metric(
        "bytes-per-event-byte", "bytes per useful byte", "", "all bytes sent for each byte of an event that somebody heard of",
        _cost, _cost_until,
    ),
    _count("wasted", "wasted work", "s", "time spent on work that was cancelled, failed, or died with its host"),
)  # fmt: skip

CATALOGUE: dict[str, Metric] = {metric.name: metric for metric in _METRICS}
"""Every number that exists in every run; `find_metric` knows those that only a program can count as well."""

_MEASURED_UNITS = {"bytes": "B", "seconds": "s"}


def _unit_of(what: str) -> str:
    return _MEASURED_UNITS.get(what.split()[-1], "")


def _mean(name: str, what: str) -> Metric:
    def value(journal: Journal, at: Moment) -> float | None:
        return journal.samples(MEASURED + what).mean_between(0, at.length)

    def bucket(journal: Journal, start: Moment, end: Moment) -> float | None:
        return journal.samples(MEASURED + what).mean_between(start.length, end.length)

    title = f"{_without_unit(what)} mean"
    return Metric(name, title, _unit_of(what), f"{what}, on average, as the programs themselves count", value, bucket)


def _max(name: str, what: str) -> Metric:
    def value(journal: Journal, at: Moment) -> float | None:
        return journal.samples(MEASURED + what).quantile(1.0, at.length)

    def bucket(journal: Journal, start: Moment, end: Moment) -> float | None:
        return journal.samples(MEASURED + what).quantile_between(1.0, start.length, end.length)

    title = f"{_without_unit(what)} max"
    return Metric(name, title, _unit_of(what), f"{what}, the most, as the programs themselves count", value, bucket)


def _without_unit(what: str) -> str:
    head, _, last = what.rpartition(" ")
    return head if last in _MEASURED_UNITS and head else what


def _measured(name: str, what: str) -> Metric:
    return _count(name, what, _unit_of(what), f"{what}, as the programs themselves count")


def _bytes_of(name: str, protocol: str) -> Metric:
    return _count(
        name, protocol, "B", f"bytes sent in packets of connections that speak {protocol}, retransmissions too"
    )


_FAMILIES = {"measured": _measured, "latest": _latest, "mean": _mean, "max": _max, "bytes-of": _bytes_of}
"""Numbers whose names end in what the programs of a lesson call them: a prefix, a colon, a name."""


def find_metric(name: str) -> Metric:
    """The metric called `name`. `measured:WHAT` is the sum of all Measured facts of that name, `latest:WHAT` the last of them,
    `mean:WHAT` and `max:WHAT` what they were on average and at most; `bytes-of:PROTOCOL` is what its connections carried.

    A measure whose last word is "bytes" or "seconds" has that unit; any other is a count. Raises UnknownMetric.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    prefix, _, what = name.partition(":")
    if prefix in _FAMILIES and what:
        return _FAMILIES[prefix](name, what)
    near = get_close_matches(name, CATALOGUE, 1)
    raise UnknownMetric(f"no number {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
