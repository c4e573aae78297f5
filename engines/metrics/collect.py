"""What reads the trace once, fact by fact, and writes down the series behind the numbers."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from engines.lab.facts import FACTS, Fact
from engines.lab.trace import Trace
from engines.metrics.series import Area, Level, Samples

Handlers = dict[type[Fact], Callable[[int], object]]


class Collector(ABC):
    """One concern's share of the reading: it names the facts it needs and adds to its levels and samples."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.levels: dict[str, Level] = {}
        self.samples: dict[str, Samples] = {}
        self.areas: dict[str, Area] = {}

    @abstractmethod
    def handlers(self) -> Handlers:
        """What to call with a fact's id, by class of fact."""
        ...

    def level(self, name: str) -> Level:
        """The level called `name`; it begins to exist when it is first asked for."""
        return self.levels.setdefault(name, Level())

    def area(self, name: str) -> Area:
        """The area called `name`."""
        return self.areas.setdefault(name, Area())

    def series(self, name: str) -> Samples:
        """The samples called `name`."""
        return self.samples.setdefault(name, Samples())


class Journal:
    """All series of a trace, as far as it has been read. A fact that nobody counts costs one look-up in a table."""

    def __init__(self, trace: Trace, collectors: tuple[type[Collector], ...]) -> None:
        self.trace = trace
        self._read = 0
        self._collectors = [collector(trace) for collector in collectors]
        self._handlers: list[tuple[Callable[[int], object], ...]] = [
            tuple(handler for c in self._collectors for on, handler in c.handlers().items() if on is fact)
            for fact in FACTS
        ]

    def read(self, length: int) -> None:
        """Take in the first `length` facts; what was read stays read, as no series forgets."""
        kind, handlers = self.trace.kind, self._handlers
        for fact_id in range(self._read, length):
            for handler in handlers[kind[fact_id]]:
                handler(fact_id)
        self._read = max(self._read, length)

    def level(self, name: str) -> Level:
        """The level called `name`; one that nothing has changed yet is 0 throughout."""
        return next((c.levels[name] for c in self._collectors if name in c.levels), Level())

    def samples(self, name: str) -> Samples:
        """The samples called `name`; empty when nothing was measured."""
        return next((c.samples[name] for c in self._collectors if name in c.samples), Samples())

    def area(self, name: str) -> Area:
        """The area called `name`; empty when nothing ever rose."""
        return next((c.areas[name] for c in self._collectors if name in c.areas), Area())

    def level_names(self, prefix: str) -> list[str]:
        """The levels so far whose names begin with `prefix`, in order of appearance."""
        return [name for c in self._collectors for name in c.levels if name.startswith(prefix)]
