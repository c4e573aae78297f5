"""The lab's own events: what is to happen at a virtual time, in an order that depends on nothing but time and insertion.

One task runs them all. It is the first task of a run, so at any moment the lab's events come before what programs do then.
Commands come before all other events of the same time.
"""

import math
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

import trio

from engines.lab.clock import PacedClock

_COMMAND, _EVENT = 0, 1


class Timer:
    """An event to come; `cancel` makes it never happen."""

    __slots__ = ("action",)

    def __init__(self, action: Callable[[], None]) -> None:
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Forget the event. Harmless when it has happened."""
        self.action = None


class Scheduler:
    """A heap of (time, rank, number) and the task that empties it."""

    def __init__(self, clock: PacedClock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, int, Timer]] = []
        self._numbers = count()
        self._scope = trio.CancelScope()

    @property
    def now(self) -> float:
        """The present virtual time, in seconds."""
        return self._clock.now

    def call_at(self, time_s: float, action: Callable[[], None], *, rank: int = _EVENT) -> Timer:
        """Call `action` at virtual time `time_s` (or at the present time if that is past)."""
        timer = Timer(action)
        heappush(self._heap, (time_s, rank, next(self._numbers), timer))
        if time_s < self._scope.deadline:
            self._scope.deadline = time_s
        return timer

    def call_command_at(self, time_s: float, action: Callable[[], None]) -> None:
        """Call `action` at `time_s`, ahead of everything else that happens then."""
        self.call_at(time_s, action, rank=_COMMAND)

    async def run(self) -> None:
        """Run events as their times come, for ever."""
        heap = self._heap
        while True:
            with trio.CancelScope() as self._scope:
                self._scope.deadline = heap[0][0] if heap else math.inf
                await trio.sleep_forever()
            now = self._clock.now
            while heap and heap[0][0] <= now:
                action = heappop(heap)[3].action
                if action is not None:
                    action()
