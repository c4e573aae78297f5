"""The lab's own events: what is to happen at a virtual time, in an order that depends on nothing but time and insertion.

One task runs them all. It is the first task of a run, so at any moment the lab's events come before what programs do then.
Commands come before all other events of the same time.

The task is woken by the clock's alarm and not by a deadline of trio's: a cancel scope for each event was a tenth of a run.
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
        self._sleeper: trio.lowlevel.Task | None = None
        clock.on_alarm = self._wake

    @property
    def now(self) -> float:
        """The present virtual time, in seconds."""
        return self._clock.now

    def call_at(self, time_s: float, action: Callable[[], None], *, rank: int = _EVENT) -> Timer:
        """Call `action` at virtual time `time_s` (or at the present time if that is past)."""
        timer = Timer(action)
        heappush(self._heap, (time_s, rank, next(self._numbers), timer))
        if self._sleeper is not None and time_s < self._clock.alarm_s:
            if time_s <= self._clock.now:
                self._wake()
            else:
                self._clock.alarm_s = time_s
        return timer

    def call_command_at(self, time_s: float, action: Callable[[], None]) -> None:
        """Call `action` at `time_s`, ahead of everything else that happens then."""
        self.call_at(time_s, action, rank=_COMMAND)

    async def run(self) -> None:
        """Run events as their times come, for ever."""
        heap = self._heap
        while True:
            await self._sleep()
            now = self._clock.now
            while heap and heap[0][0] <= now:
                action = heappop(heap)[3].action
                if action is not None:
                    action()

    async def _sleep(self) -> None:
        """Wait for the time of the next event, which may become an earlier one meanwhile."""
        next_s = self._heap[0][0] if self._heap else math.inf
        if next_s <= self._clock.now:
            await trio.lowlevel.checkpoint()
            return
        self._clock.alarm_s = next_s
        self._sleeper = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._give_up)

    def _wake(self) -> None:
        sleeper, self._sleeper = self._sleeper, None
        if sleeper is not None:
            self._clock.alarm_s = math.inf
            trio.lowlevel.reschedule(sleeper)

    def _give_up(self, _: object) -> trio.lowlevel.Abort:
        self._sleeper = None
        self._clock.alarm_s = math.inf
        return trio.lowlevel.Abort.SUCCEEDED
