"""What a program sees of the machine it runs on: its network, its knobs, its disk, and a pencil to write remarks with.

A program uses a Host as it would use a socket module, a disk and a logger; it cannot tell which network it is on.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import trio

from engines.lab.datagrams import DatagramSocket
from engines.lab.facts import (
    EventBorn,
    EventHandled,
    EventLost,
    Measured,
    Noted,
    StateChanged,
    Text,
    TimedOut,
    WaitEnded,
    WaitKind,
    WaitStarted,
    WorkFinished,
    WorkStarted,
)
from engines.lab.kernel import Kernel, Listener
from engines.lab.knobs import KnobBoard
from engines.lab.recorder import Recorder
from engines.lab.tcp import Endpoint


class Outcome:
    """How a piece of work or a wait ended; a program may put its own word here."""

    def __init__(self) -> None:
        self.word = "done"


class Host:
    """One machine. `rng` is its own seeded randomness; `disk` survives a restart of the program, local variables do not."""

    def __init__(
        self,
        name: str,
        kernel: Kernel,
        knobs: KnobBoard,
        recorder: Recorder,
        randomness: Callable[[str], random.Random],
    ) -> None:
        self.name = name
        self.knobs = knobs
        self.randomness = randomness  # a seeded generator for one purpose: drawing from it shifts no other
        self.rng = randomness("")
        self.recorder = recorder
        self.disk: dict[str, Any] = {}
        self._kernel = kernel

    # --- the network ----------------------------------------------------------------------------------------------------

    async def connect(self, server: str, port: int) -> Endpoint:
        """Open a connection. Raises ConnectionRefusedError, TimeoutError (after 127 s of silence) or OSError."""
        return await self._kernel.connect(server, port)

    def listen(self, port: int) -> Listener:
        """Listen on `port`. Raises OSError when it is in use."""
        return self._kernel.listen(port)

    def datagram_socket(self, port: int = 0) -> DatagramSocket:
        """A socket for datagrams, on `port` or any free one. Raises OSError when it is in use."""
        return self._kernel.bind(port)

    async def wait_moved(self) -> None:
        """Wait until the network gives this host another address, of which an operating system tells those who ask."""
        await self._kernel.wait_moved()

    # --- remarks for the diagram ----------------------------------------------------------------------------------------

    @contextmanager
    def working(self, label: str) -> Iterator[Outcome]:
        """While inside, the host is at work on `label`: a bar on its lifeline."""
        work = self.recorder.record(WorkStarted(self.name, Text(label)))
        outcome = Outcome()
        try:
            yield outcome
        except trio.Cancelled:
            outcome.word = "cancelled"
            raise
        except BaseException:
            outcome.word = "failed"
            raise
        finally:
            self.recorder.record(WorkFinished(work, self.name, Text(outcome.word)))

    @contextmanager
    def waiting(self, label: str, kind: WaitKind = WaitKind.BLOCKED) -> Iterator[Outcome]:
        """While inside, the host stands still because of `label`: another kind of bar."""
        wait = self.recorder.record(WaitStarted(self.name, kind, Text(label)))
        outcome = Outcome()
        try:
            yield outcome
        except trio.Cancelled:
            outcome.word = "cancelled"
            raise
        except BaseException:
            outcome.word = "failed"
            raise
        finally:
            self.recorder.record(WaitEnded(wait, self.name, Text(outcome.word)))

    async def work(self, label: str, seconds: float) -> None:
        """Be at work on `label` for `seconds`."""
        with self.working(label):
            await trio.sleep(seconds)

    def note(self, text: str) -> None:
        """Write a remark beside the lifeline."""
        self.recorder.record(Noted(self.name, Text(text)))

    def state(self, key: str, value: object) -> None:
        """Show a value on the lifeline: `jobs = 3`."""
        self.recorder.record(StateChanged(self.name, key, Text(str(value))))

    def measure(self, what: str, amount: float = 1.0) -> None:
        """Count something that only the program knows: it becomes the number `measured:<what>`."""
        self.recorder.record(Measured(self.name, what, amount))

    def event_born(self, size: int = 0) -> int:
        """Something happened that others want to hear of; returns its number, for `event_handled` elsewhere."""
        event = self.recorder.next_number("event")
        self.recorder.record(EventBorn(self.name, event, size))
        return event

    def event_handled(self, event: int) -> None:
        """This host has learned of an event and dealt with it."""
        self.recorder.record(EventHandled(self.name, event))

    def event_lost(self, event: int, reason: str) -> None:
        """This host gives an event up, and knows it."""
        self.recorder.record(EventLost(self.name, event, reason))

    def timed_out(self, what: str, after_s: float) -> None:
        """Say that a time limit of `after_s` seconds ended something."""
        self.recorder.record(TimedOut(self.name, what, after_s))
