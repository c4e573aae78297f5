"""What a database's machine does with many queries at once: it has so many cores, and everybody gets the same share of them."""

from collections.abc import Callable

import trio


class Processors:
    """Cores that are shared evenly by all work that is under way, as an operating system shares them by slices of time.

    With more work than cores each piece goes slower; `contention` is what it loses besides, for each piece too many: to
    locks, to caches that others have filled, to the switching itself.
    """

    def __init__(self, cores: Callable[[], float], contention: Callable[[], float]) -> None:
        self.busy = 0
        self._cores = cores
        self._contention = contention
        self._change = trio.Event()

    @property
    def speed(self) -> float:
        """How fast each piece of work goes, 1 being alone on a core of its own."""
        too_many = max(0.0, self.busy - self._cores())
        return min(1.0, self._cores() / max(1, self.busy)) / (1 + self._contention() * too_many)

    async def work(self, seconds: float) -> None:
        """Do what takes `seconds` on a core of its own."""
        self._turn(+1)
        try:
            while seconds > 1e-9:
                speed, began_s = self.speed, trio.current_time()
                with trio.move_on_after(seconds / speed) as done:
                    await self._change.wait()
                if done.cancelled_caught:
                    return
                seconds -= (trio.current_time() - began_s) * speed
        finally:
            self._turn(-1)

    def retune(self) -> None:
        """The cores are others, or their contention: everybody goes on at another speed."""
        self._turn(0)

    def _turn(self, more: int) -> None:
        self.busy += more
        self._change.set()
        self._change = trio.Event()
