"""How well virtual time keeps its pace: events of a polling client against real time, at several paces at once."""

import time
from dataclasses import dataclass
from threading import Event

import trio

from engines.lab.session import Session
from tests.benchmarks.measuring import Figure, at_most, percentile
from tests.benchmarks.polling import polling

NAP_S = 0.02


@dataclass(frozen=True, slots=True)
class Pacing:
    seconds: float = 60.0
    paces: tuple[float, ...] = (0.1, 1.0, 10.0)

    def measure(self) -> list[Figure]:
        watched = [Watched(pace) for pace in self.paces]
        for each in watched:
            each.session.start()
        for each in watched:
            each.begun.wait()
        stall_s = longest_stall_s(self.seconds)
        for each in watched:
            each.session.close()
        stall = Figure("  longest stall of an idle thread meanwhile", stall_s * 1e3, "ms")
        return [*(figure for each in watched for figure in each.figures()), stall]


def longest_stall_s(seconds: float) -> float:
    """Sleep for so long, in naps, and say by how much the worst nap was too long. A clock that is far behind gives up
    catching up, so where this is more than a quarter of a second the pacing error is not the clock's alone."""
    end, worst = time.perf_counter() + seconds, 0.0
    while (began := time.perf_counter()) < end:
        time.sleep(NAP_S)
        worst = max(worst, time.perf_counter() - began - NAP_S)
    return worst


class Watched:
    """A session at one pace, and when its answers came: in virtual and in real seconds."""

    def __init__(self, pace: float) -> None:
        self.pace = pace
        self.marks: list[tuple[float, float]] = []
        self.begun = Event()
        # The same number of polls a real second at every pace.
        scenario = polling(self.mark, interval_s=0.2 * pace, latency_s=0.01 * pace)
        self.session = Session(scenario, pace=pace, courteous=True)

    def mark(self) -> None:
        self.marks.append((trio.current_time(), time.perf_counter()))
        self.begun.set()

    def figures(self) -> list[Figure]:
        (virtual_0, real_0), *later = self.marks
        lags_ms = [1e3 * ((real - real_0) - (virtual - virtual_0) / self.pace) for virtual, real in later]
        virtual, real = later[-1]
        error = abs((virtual - virtual_0) / self.pace / (real - real_0) - 1)
        name = f"pacing at {self.pace:g}x over {real - real_0:.3g} s"
        return [
            Figure(f"{name}, error", error * 100, "%", aim=at_most(1)),
            Figure(f"{name}, p95 of lag", percentile(lags_ms, 95), "ms"),
        ]
