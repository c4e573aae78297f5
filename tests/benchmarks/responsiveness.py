"""The real app on a terminal while the engine runs flat out in the same process: frames a second against the same app with the
engine paused, and the time from a key to what it shows. In real time; phases of the two kinds take turns, and those count in
which others left the app the most of the machine."""

import json
import random
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.benchmarks.measuring import PATIENCE, Figure, at_most, percentile, ratio_at_least
from tests.benchmarks.terminal import Terminal, on_terminal
from tests.benchmarks.watched_app import FRAMES_A_SECOND

PLAY_OR_PAUSE, NO_QUIT, UNBOUND, QUIT = b" ", b"\x03", b"\x1c", b"q"
ANSWER = b"does not quit"
"""What ctrl+c shows in the footer, until the next key."""

KEY_PAUSE_S = (0.1, 0.3)
SETTLE_S = 0.5
CALM = 0.1
"""As much of the time the app's threads may wait for a core in a phase that counts as calm."""


@dataclass(slots=True)
class Phase:
    """A stretch of real time, and how long keys took in it."""

    began: float
    ended: float = 0.0
    key_ms: list[float] = field(default_factory=list)
    waiting: float = 0.0  # for a core, as a share of the time: what others took


@dataclass(frozen=True, slots=True)
class Responsiveness:
    phases: int = 3
    phase_s: float = 4.0

    def measure(self) -> list[Figure]:
        pairs: list[tuple[Phase, Phase]] = []
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "frames.json"
            with on_terminal("-m", "tests.benchmarks.watched_app", str(report)) as terminal:
                terminal.wait_for(lambda output: b"LIVE" in output)
                terminal.read_for(SETTLE_S)
                while _calm(pairs) < self.phases and len(pairs) < PATIENCE * self.phases:
                    pairs.append((self._phase(terminal), self._phase(terminal)))
                terminal.press(QUIT)
                terminal.wait_for_end()
            frames: list[tuple[float, float]] = json.loads(report.read_text())
        chosen = sorted(pairs, key=lambda pair: pair[0].waiting)[: self.phases]
        return _figures([playing for playing, _ in chosen], [paused for _, paused in chosen], frames)

    def _phase(self, terminal: Terminal) -> Phase:
        """Keys at random moments, until the time is over; then play or pause."""
        chance = random.Random(7)
        phase = Phase(time.perf_counter())
        _, waited = terminal.processor_s()
        while not phase.key_ms or time.perf_counter() < phase.began + self.phase_s:
            terminal.read_for(chance.uniform(*KEY_PAUSE_S))
            terminal.forget()
            pressed = terminal.press(NO_QUIT)
            phase.key_ms.append(1e3 * (terminal.wait_for(lambda output: ANSWER in output) - pressed))
            terminal.read_for(chance.uniform(*KEY_PAUSE_S))
            terminal.press(UNBOUND)
        phase.ended = time.perf_counter()
        phase.waiting = (terminal.processor_s()[1] - waited) / (phase.ended - phase.began)
        terminal.press(PLAY_OR_PAUSE)
        terminal.read_for(SETTLE_S)
        return phase


def _calm(pairs: list[tuple[Phase, Phase]]) -> int:
    return sum(playing.waiting <= CALM for playing, _ in pairs)


def _figures(playing: list[Phase], paused: list[Phase], frames: list[tuple[float, float]]) -> list[Figure]:
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
        Figure("  waiting for a core meanwhile", 100 * median(phase.waiting for phase in playing), "%"),
    ]


def _rate(phase: Phase, frames: list[tuple[float, float]]) -> float:
    return sum(phase.began <= began < phase.ended for began, _ in frames) / (phase.ended - phase.began)
