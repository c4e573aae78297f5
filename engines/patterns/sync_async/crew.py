"""A crew: so many at work at a time as a knob says just now, and a line in front of it, first come first served."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from engines.lab.facts import WaitKind
from engines.lab.host import Host


class Crew:
    """Workers of `host`. `size` is asked anew whenever somebody comes or goes: a crew made smaller shrinks as members finish."""

    def __init__(self, host: Host, size: Callable[[], float]) -> None:
        self._host = host
        self._size = size
        self._line = trio.lowlevel.ParkingLot()
        self.busy = 0

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return len(self._line)

    @asynccontextmanager
    async def member(self, label: str) -> AsyncIterator[None]:
        """Inside, one of the crew is at work for us; before that, perhaps, we stood in line, as `label` says."""
        if self.busy < self._size() and not self.waiting:
            self.busy += 1
        else:
            self._host.state("in line", self.waiting + 1)
            with self._host.waiting(label, WaitKind.HELD):
                await self._line.park()  # whoever wakes us has counted us in
            self._host.state("in line", self.waiting)
        try:
            yield
        finally:
            self.busy -= 1
            while self.waiting and self.busy < self._size():
                self.busy += 1
                self._line.unpark()
