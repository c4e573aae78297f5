"""The real app on a terminal while the engine runs flat out in the same process: frames a second against the same app with the
engine paused, and the time from a key to what it shows. In real time; phases of the two kinds take turns."""

import json
import random
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.benchmarks.measuring import Figure, at_most, percentile, ratio_at_least
from tests.benchmarks.terminal import Terminal, on_terminal
from tests.benchmarks.watched_app import FRAMES_A_SECOND

PLAY_OR_PAUSE, NO_QUIT, UNBOUND, QUIT = b" ", b"\x03", b"\x1c", b"q"
ANSWER = b"does not quit"
"""What ctrl+c shows in the footer, until the next key."""

KEY_PAUSE_S = (0.1, 0.3)
SETTLE_S = 0.5


@dataclass(slots=True)
class Phase:
    """A stretch of real time, and how long keys took in it."""

    playing: bool
    began: float
    ended: float = 0.0
    key_ms: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Responsiveness:
    phases: int = 4
    phase_s: float = 6.0

    def measure(self) -> list[Figure]:
        phases: list[Phase] = []
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "frames.json"
            with on_terminal("-m", "tests.benchmarks.watched_app", str(report)) as terminal:
                terminal.wait_for(lambda output: b"LIVE" in output)
                terminal.read_for(SETTLE_S)
                for number in range(2 * self.phases):
                    phases.append(self._phase(terminal, number % 2 == 0))
                    terminal.press(PLAY_OR_PAUSE)
                    terminal.read_for(SETTLE_S)
                terminal.press(QUIT)
                terminal.wait_for_end()
            frames: list[tuple[float, float]] = json.loads(report.read_text())
        return _figures(phases, frames)

    def _phase(self, terminal: Terminal, playing: bool) -> Phase:
        """Keys at random moments, until the time is over."""
        chance = random.Random(7)
        phase = Phase(playing, time.perf_counter())
        while not phase.key_ms or time.perf_counter() < phase.began + self.phase_s:
            terminal.read_for(chance.uniform(*KEY_PAUSE_S))
            terminal.forget()
            pressed = terminal.press(NO_QUIT)
            phase.key_ms.append(1e3 * (terminal.wait_for(lambda output: ANSWER in output) - pressed))
            terminal.read_for(chance.uniform(*KEY_PAUSE_S))
            terminal.press(UNBOUND)
        phase.ended = time.perf_counter()
        return phase


def _figures(phases: list[Phase], frames: list[tuple[float, float]]) -> list[Figure]:
    playing, paused = ([p for p in phases if p.playing is wanted] for wanted in (True, False))
    rates = [[_rate(phase, frames) for phase in kind] for kind in (playing, paused)]
    busy, still = (median(kind) for kind in rates)
    ratio = median(a / b for a, b in zip(*rates, strict=True))
    keys, keys_paused = ([ms for phase in kind for ms in phase.key_ms] for kind in (playing, paused))
    costs = [1e3 * cost for began, cost in frames if any(p.began <= began < p.ended for p in playing)]
    wished = ratio_at_least((FRAMES_A_SECOND - 1) / FRAMES_A_SECOND)
    slow, slow_paused = percentile(keys, 95), percentile(keys_paused, 95)
    return [
        Figure("frames while flat out", busy, "/s", still, ratio, wished, "paused"),
        Figure("one such frame, drawn", median(costs), "ms"),
        Figure("key to screen while flat out, median", median(keys), "ms"),
        Figure("key to screen while flat out, p95", slow, "ms", slow_paused, slow / slow_paused, at_most(45), "paused"),
    ]


def _rate(phase: Phase, frames: list[tuple[float, float]]) -> float:
    return sum(phase.began <= began < phase.ended for began, _ in frames) / (phase.ended - phase.began)
