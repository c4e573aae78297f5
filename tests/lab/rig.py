"""A small network inside a trio run, for tests that need streams and no scenario."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from engines.lab import determinism
from engines.lab.clock import PacedClock
from engines.lab.kernel import Kernel
from engines.lab.network import Network
from engines.lab.recorder import Recorder
from engines.lab.scheduler import Scheduler
from engines.lab.tcp import Endpoint
from engines.lab.trace import Trace


class Rig:
    """Two hosts, "a" and "b", with a link each way."""

    def __init__(self, clock: PacedClock, latency_s: float = 0.0, seed: int = 0) -> None:
        self.clock = clock
        self.trace = Trace()
        self.recorder = Recorder(self.trace, clock)
        self.scheduler = Scheduler(clock)
        self.network = Network(seed, self.scheduler, self.recorder)
        self.network.connect_hosts({"a": "a", "b": "b"})
        self.kernels = {name: Kernel(name, self.network, {}) for name in ("a", "b")}
        for kernel in self.kernels.values():
            kernel.neighbours = self.kernels
        for link in self.network.links.values():
            link.latency_s = latency_s

    async def connected(self, port: int = 80) -> tuple[Endpoint, Endpoint]:
        """Two ends of a new connection, client first."""
        async with self.kernels["b"].listen(port) as listener:
            ours = await self.kernels["a"].connect("b", port)
            return ours, await listener.accept()


@asynccontextmanager
async def rig(clock: PacedClock, **settings: float) -> AsyncIterator[Rig]:
    """A running rig."""
    made = Rig(clock, **settings)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.scheduler.run)
        yield made
        nursery.cancel_scope.cancel()


def run_in_rig(body: Callable[[Rig], Awaitable[None]], **settings: float) -> Rig:
    """Run `body` flat out on a rig of its own, and return the rig for a look at its trace."""
    determinism.install()
    clock = PacedClock(pace=float("inf"))
    kept: list[Rig] = []

    async def main() -> None:
        determinism.seed_run(0)
        async with rig(clock, **settings) as made:
            kept.append(made)
            await body(made)

    trio.run(main, clock=clock)
    return kept[0]
