"""After an answer a long poller asks again at once; after trouble it must not, or it becomes a storm."""

import trio

from engines.lab.facts import WaitKind
from engines.lab.host import Host

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0


class Retry:
    """The pauses of one client: each twice the one before, until something goes well again."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._pause_s = FIRST_PAUSE_S

    async def pause(self, why: str) -> None:
        """Say what went wrong, and wait."""
        self._host.note(f"no answer: {why}")
        with self._host.waiting(f"retry in {self._pause_s:g} s", WaitKind.TIMER):
            await trio.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def reset(self) -> None:
        """Something went well."""
        self._pause_s = FIRST_PAUSE_S
