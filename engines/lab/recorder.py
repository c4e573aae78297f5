"""The recorder: the trace's one writer. It stamps facts with the virtual time and with their cause.

The cause travels with the work: a task that has received a packet does what it does next because of that packet, and so do
the tasks it starts. A context variable carries it, which trio copies from parent to child.
"""

from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar

from engines.lab.clock import PacedClock
from engines.lab.facts import Fact
from engines.lab.trace import NO_CAUSE, Trace

_because: ContextVar[int] = ContextVar("because", default=NO_CAUSE)


class Recorder:
    """Writes facts at the clock's present time, until it is sealed."""

    def __init__(
        self, trace: Trace, clock: PacedClock, limit: int = 2_000_000, on_full: Callable[[], None] = lambda: None
    ) -> None:
        """`on_full` is called when the trace has grown to `limit` facts, and at each fact after that."""
        self._trace = trace
        self._clock = clock
        self._limit = limit
        self._on_full = on_full
        self._numbers: Counter[str] = Counter()
        self.sealed = False

    def record(self, fact: Fact, cause: int | None = None) -> int:
        """Append `fact`; its cause is `cause`, or what the running task last acted upon. Returns its id (-1 once sealed)."""
        if self.sealed:
            return NO_CAUSE
        number = self._trace.record(fact, self._clock.now, _because.get() if cause is None else cause)
        if number >= self._limit:
            self._on_full()
        return number

    def next_number(self, what: str) -> int:
        """The next number for a thing that facts refer to by number ("flow", "pool"): 1, 2, 3 …"""
        self._numbers[what] += 1
        return self._numbers[what]


def because_of(fact_id: int) -> None:
    """From here on, the running task acts because of that fact."""
    _because.set(fact_id)


def present_cause() -> int:
    """The fact because of which the running task acts, or -1."""
    return _because.get()
