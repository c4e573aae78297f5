"""Timer events a second of processor time: PacedClock flat out against the autojump of trio's own MockClock."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import trio
from trio.testing import MockClock

from engines.lab.clock import PacedClock
from tests.benchmarks.measuring import Figure, compare, ratio_at_least


@dataclass(frozen=True, slots=True)
class ClockEvents:
    events: int = 10_000
    rounds: int = 9

    def measure(self) -> list[Figure]:
        return [self._against_autojump(sleepers) for sleepers in (1, 100)]

    def _against_autojump(self, sleepers: int) -> Figure:
        compared = compare(
            lambda: event_rate(lambda: PacedClock(pace=math.inf), self.events, sleepers),
            lambda: event_rate(lambda: MockClock(autojump_threshold=0), self.events, sleepers),
            self.rounds,
        )
        name = f"timer events, {sleepers} sleeper{'s' if sleepers > 1 else ''}"
        return compared.figure(name, "/s", ratio_at_least(0.9), "MockClock")


def event_rate(clock: Callable[[], trio.abc.Clock], events: int, sleepers: int) -> float:
    """`sleepers` tasks sleep in turn, each alone at its own moments."""

    async def sleeper(number: int) -> None:
        await trio.sleep(number / sleepers)
        for _ in range(events // sleepers):
            await trio.sleep(1.0)

    async def main() -> float:
        began = time.thread_time()
        async with trio.open_nursery() as nursery:
            for number in range(sleepers):
                nursery.start_soon(sleeper, number)
        return time.thread_time() - began

    return events / trio.run(main, clock=clock())
