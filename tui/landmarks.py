"""The facts worth jumping to, by kind: what went wrong, what was waited for in vain, what was lost, what somebody ordered."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from engines.lab import facts as f
from engines.lab.facts import Role
from engines.lab.trace import Trace


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of landmark: its name, what one of them and several are called, and what counts as one."""

    name: str
    one: str
    many: str
    about: str


ANYTHING = Kind("anything", "landmark", "landmarks", "errors, timeouts, losses and orders alike")
KINDS: tuple[Kind, ...] = (
    ANYTHING,
    Kind("error", "error", "errors", "an answer that is one, a refusal, a reset, a crash, a run that failed"),
    Kind("timeout", "timeout", "timeouts", "somebody had waited long enough"),
    Kind("loss", "loss", "losses", "a packet died on its way, or an event was given up"),
    Kind("order", "order", "orders", "a knob turned, a fault, any command"),
)


def _always(name: str) -> Callable[[Trace, int], str]:
    return lambda trace, fact_id: name


_KIND_OF: dict[int, Callable[[Trace, int], str]] = {
    f.MessageStarted.code: lambda trace, fact_id: "error" if trace.d[fact_id] == Role.ERROR else "",
    f.ConnectionRefused.code: _always("error"),
    f.ConnectionReset.code: _always("error"),
    f.HostCrashed.code: _always("error"),
    f.RunFailed.code: _always("error"),
    f.TimedOut.code: _always("timeout"),
    f.PacketDropped.code: _always("loss"),
    f.EventLost.code: _always("loss"),
    f.CommandApplied.code: _always("order"),
}

LANDMARK_CODES = frozenset(_KIND_OF)


class Landmarks:
    """Grown fact by fact with `take`. Of several of a kind at one instant, the first is the one to jump to."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._facts = {kind.name: array("i") for kind in KINDS}
        self._times = {kind.name: array("d") for kind in KINDS}

    def take(self, fact_id: int) -> None:
        """Look at a fact whose kind is among LANDMARK_CODES."""
        name = _KIND_OF[self._trace.kind[fact_id]](self._trace, fact_id)
        for each in (name, ANYTHING.name) if name else ():
            self._facts[each].append(fact_id)
            self._times[each].append(self._trace.time[fact_id])

    def count(self, kind: Kind) -> int:
        """How many there are by now."""
        return len(self._facts[kind.name])

    def after(self, kind: Kind, time_s: float) -> int | None:
        """The first of a kind later than `time_s`."""
        facts, times = self._facts[kind.name], self._times[kind.name]
        place = bisect_right(times, time_s)
        return facts[place] if place < len(facts) else None

    def before(self, kind: Kind, time_s: float) -> int | None:
        """The first of a kind in the last instant before `time_s` that has one."""
        facts, times = self._facts[kind.name], self._times[kind.name]
        place = bisect_left(times, time_s)
        return facts[bisect_left(times, times[place - 1])] if place else None

    def number(self, kind: Kind, fact_id: int) -> int:
        """The how-manieth of its kind that fact is, from 1."""
        return bisect_left(self._facts[kind.name], fact_id) + 1
