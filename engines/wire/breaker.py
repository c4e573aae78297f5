"""A circuit breaker, as a value and a table of transitions: after too many failures in a row, fail at once for a while.

The idea and the three states are Michael Nygard's ("Release It!"); libraries such as resilience4j and Polly have it. Envoy
means something else by the word: limits on connections and requests. It spares a sick service the requests that would fail
anyway, and its callers the waiting.
"""

from dataclasses import dataclass, replace
from enum import Enum


class Circuit(Enum):
    """Closed: the current flows. Open: it does not. Half-open: one request may try."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Event(Enum):
    """What a breaker hears of."""

    SUCCESS = "success"
    FAILURE = "failure"
    ABANDONED = "abandoned"  # the caller left before the request had an outcome


@dataclass(frozen=True, slots=True)
class Breaker:
    """`failures` in a row, `since_s` when the circuit opened. Opens after `limit` failures, tries again after `open_s`."""

    limit: int = 5
    open_s: float = 5.0
    circuit: Circuit = Circuit.CLOSED
    failures: int = 0
    since_s: float = 0.0

    def admit(self, now_s: float) -> "Breaker | None":
        """The breaker after it let a request through; None when it does not."""
        if self.circuit is Circuit.CLOSED:
            return self
        if self.circuit is Circuit.OPEN and now_s >= self.since_s + self.open_s - 1e-9:
            return replace(self, circuit=Circuit.HALF_OPEN)
        return None  # open, or half-open with its one try under way

    def after(self, event: Event, now_s: float) -> "Breaker":
        """The breaker after a request that it let through has come to its end."""
        if event is Event.SUCCESS:
            return self if self.circuit is Circuit.OPEN else replace(self, circuit=Circuit.CLOSED, failures=0)
        if self.circuit is Circuit.HALF_OPEN:
            # Who leaves in the middle of the try has proved nothing: the next may try at once.
            since_s = now_s if event is Event.FAILURE else self.since_s
            return replace(self, circuit=Circuit.OPEN, since_s=since_s)
        if self.circuit is Circuit.OPEN or event is Event.ABANDONED:
            return self
        failures = self.failures + 1
        if failures < self.limit:
            return replace(self, failures=failures)
        return replace(self, circuit=Circuit.OPEN, failures=failures, since_s=now_s)
