"""The benchmarks by name, at full size and at a size that only proves that they still run."""

from dataclasses import replace

from tests.benchmarks.clock_events import ClockEvents
from tests.benchmarks.fast_forward import FastForward
from tests.benchmarks.frames import Frames
from tests.benchmarks.going_back import GoingBack
from tests.benchmarks.measuring import Benchmark, Figure
from tests.benchmarks.memory import Memory
from tests.benchmarks.moving_arrow import MovingArrow
from tests.benchmarks.pacing import Pacing
from tests.benchmarks.requests import Requests
from tests.benchmarks.responsiveness import Responsiveness
from tests.benchmarks.start_up import StartUp

BENCHMARKS: dict[str, Benchmark] = {
    "requests": Requests(),
    "clock": ClockEvents(),
    "frames": Frames(),
    "arrow": MovingArrow(),
    "memory": Memory(),
    "start": StartUp(),
    "responsiveness": Responsiveness(),
    "fast-forward": FastForward(),
    "pacing": Pacing(),
    "going-back": GoingBack(),
}

TINY: dict[str, Benchmark] = {
    "requests": Requests(requests=2, rounds=1),
    "clock": ClockEvents(events=100, rounds=1),
    "frames": Frames(lengths=(1_000, 2_000), sizes=((120, 36),), frames=2),
    "arrow": MovingArrow(flights=1),
    "memory": Memory(facts=1_000, facts_traced=1_000),
    "start": StartUp(rounds=1),
    "responsiveness": Responsiveness(phases=1, phase_s=0.2),
    "fast-forward": FastForward(virtual_s=5.0, rounds=1),
    "pacing": Pacing(seconds=0.8),
    "going-back": GoingBack(runs_s=(2.0,), lengths=(1_000,), rounds=1, moments=2),
}


def measure(name: str, tiny: bool = False, seconds: float | None = None) -> list[Figure]:
    """Run the benchmark of that name; `seconds` is how long the pacing is watched."""
    chosen = (TINY if tiny else BENCHMARKS)[name]
    if seconds is not None and isinstance(chosen, Pacing):
        chosen = replace(chosen, seconds=seconds)
    return chosen.measure()
