"""Events of the application: how late they were heard of, and whether any was lost, doubled or out of order."""

from engines.lab.facts import EventBorn, EventHandled, EventLost
from engines.lab.trace import Trace
from engines.metrics.collect import Collector, Handlers


class Events(Collector):
    """Born, handled, lost. A delay is measured when a host hears of an event for the first time."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace)
        self.born = self.level("events")
        self.handled = self.level("events-handled")
        self.lost = self.level("events-lost")
        self.duplicates = self.level("events-duplicated")
        self.unordered = self.level("events-unordered")
        self.backlog = self.level("events-waiting")
        self.heard_bytes = self.level("event-bytes-heard")
        self.delay = self.series("event-delay")
        self._born: dict[int, tuple[float, int]] = {}  # when, and how large
        self._heard: dict[int, set[int]] = {}  # host -> the events it has handled
        self._latest: dict[int, int] = {}  # host -> the youngest of them
        self._pending: set[int] = set()

    def handlers(self) -> Handlers:
        return {EventBorn: self._begin, EventHandled: self._hear, EventLost: self._lose}

    def _begin(self, i: int) -> None:
        event = self.trace.b[i]
        self._born[event] = self.trace.time[i], self.trace.c[i]
        self._pending.add(event)
        self.born.add(i, 1)
        self.backlog.add(i, 1)

    def _hear(self, i: int) -> None:
        host, event = self.trace.a[i], self.trace.b[i]
        heard = self._heard.setdefault(host, set())
        if event in heard:
            self.duplicates.add(i, 1)
            return
        heard.add(event)
        self.handled.add(i, 1)
        if event < self._latest.get(host, 0):
            self.unordered.add(i, 1)
        self._latest[host] = max(event, self._latest.get(host, 0))
        if event in self._born:
            born_s, size = self._born[event]
            self.delay.add(i, self.trace.time[i] - born_s)
            self.heard_bytes.add(i, size)
        self._settle(i, event)

    def _lose(self, i: int) -> None:
        self.lost.add(i, 1)
        self._settle(i, self.trace.b[i])

    def _settle(self, i: int, event: int) -> None:
        """Somebody has heard of the event, or nobody ever will: it waits no longer."""
        if event in self._pending:
            self._pending.remove(event)
            self.backlog.add(i, -1)
