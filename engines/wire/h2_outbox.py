"""What is to be sent on an HTTP/2 connection: whoever has something to say puts it here, and one task hands it to the network.

So a peer that reads slowly never stops whoever reads from it.
"""

from collections import deque

import trio

from engines.lab.recorder import because_of, present_cause
from engines.lab.tcp import Endpoint
from engines.wire.tls import TlsStream


class Outbox:
    """Bytes in the order in which they were put, each with the fact because of which they are sent."""

    def __init__(self) -> None:
        self.closing = False  # nothing more is taken in
        self._pieces: deque[tuple[bytes, int]] = deque()
        self._work = trio.lowlevel.ParkingLot()
        self._sent = trio.lowlevel.ParkingLot()
        self._dead = False

    def put(self, data: bytes) -> None:
        """Send `data` after everything that was put before; once closed, nothing is sent."""
        if data and not self.closing:
            self._pieces.append((data, present_cause()))
            self._work.unpark_all()

    def close(self) -> None:
        """Take nothing more; `run` returns once all is sent."""
        self.closing = True
        self._work.unpark_all()

    def release(self) -> None:
        """Nobody shall wait any more for what is not sent yet: there is nobody to take it."""
        self._dead = True
        self._sent.unpark_all()

    async def emptied(self) -> None:
        """Wait until the network has taken what was put so far."""
        await trio.lowlevel.checkpoint()
        while self._pieces and not self._dead:
            await self._sent.park()

    async def run(self, endpoint: Endpoint | TlsStream) -> None:
        """Send until closed and empty, or until the connection breaks (its reader learns why)."""
        while True:
            while self._pieces:
                data, cause = self._pieces.popleft()
                because_of(cause)
                try:
                    await endpoint.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return
            self._sent.unpark_all()
            if self.closing:
                return
            await self._work.park()
