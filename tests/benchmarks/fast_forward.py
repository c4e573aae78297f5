"""Fast-forward: how many virtual seconds pass in a second of processor time while one client polls once a second."""

import time
from dataclasses import dataclass
from statistics import median

from engines.lab.session import run_headless
from tests.benchmarks.measuring import Figure, at_least
from tests.benchmarks.polling import polling


@dataclass(frozen=True, slots=True)
class FastForward:
    virtual_s: float = 1_000.0
    rounds: int = 7

    def measure(self) -> list[Figure]:
        rates = [fast_forward(self.virtual_s) for _ in range(self.rounds)]
        return [Figure("fast-forward, one client polling at 1 Hz", median(rates), "x", aim=at_least(1_000))]


def fast_forward(virtual_s: float) -> float:
    began = time.process_time()
    session = run_headless(polling(lambda: None), until_s=virtual_s)
    spent = time.process_time() - began
    assert session.status.now_s >= virtual_s - 1, session.status
    return virtual_s / spent
