"""Going back: from a question in the past to its answer on the screen, and what it costs to look at another moment.

The first is in real time, at the app's frame rate, with sessions as the app opens them: asked as soon as the playhead stands, and
asked after it has rested there for as long as a person needs to reach for a knob.
"""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from engines.lab.commands import Command, TimedCommand
from engines.lab.knobs import Value
from engines.lab.session import SessionState, Status
from engines.lab.trace import Trace
from engines.patterns.contract import Lesson, Pattern
from tests.benchmarks.long_traces import long_trace
from tests.benchmarks.measuring import Figure, at_most, percentile
from tui.app import CommtuiApp
from tui.beginning import Beginning
from tui.engine import Engine
from tui.loading import load_engine
from tui.playback import SessionLike
from tui.screens.playing import FRAMES_A_SECOND
from tui.timelines import RESTING_S, Timelines

QUESTION = "kill server"
REACHING_S = 3.0
"""How long a person looks at a moment before asking."""

BLINK_MS = 300


@dataclass(frozen=True, slots=True)
class GoingBack:
    pattern: str = "long-polling"
    runs_s: tuple[float, ...] = (30.0, 60.0, 300.0)
    lengths: tuple[int, ...] = (100_000, 1_000_000)
    rounds: int = 5
    moments: int = 60

    def measure(self) -> list[Figure]:
        engine = load_engine()
        figures: list[Figure] = []
        for run_s in self.runs_s:
            asked = [question_ms(engine, self.pattern, run_s, 0.0) for _ in range(self.rounds)]
            aim = at_most(BLINK_MS) if run_s <= 60 else None
            figures.append(Figure(f"what if, {run_s:g} s in, asked at once", median(asked), "ms", aim=aim))
        longest = max(self.runs_s)
        rested = [question_ms(engine, self.pattern, longest, REACHING_S) for _ in range(self.rounds)]
        name = f"what if, {longest:g} s in, after a look of {REACHING_S:g} s"
        figures.append(Figure(name, median(rested), "ms", aim=at_most(BLINK_MS)))
        for length in self.lengths:
            costs = asyncio.run(scrub_ms(engine, long_trace(length), self.moments))
            figures.append(
                Figure(f"another moment of {len(long_trace(length)):,} facts", median(costs), "ms", aim=at_most(50))
            )
            figures.append(Figure("  p95", percentile(costs, 95), "ms"))
        return figures


def question_ms(engine: Engine, name: str, run_s: float, look_s: float) -> float:
    """Real time from the question at the end of a run of `run_s` virtual seconds until the branch is what is shown."""
    pattern = next(p for p in engine.patterns if p.name == name)
    lines = Timelines(engine, pattern, pattern.lessons[0], Beginning(1), now=time.monotonic)
    first = lines.run
    first.session.run_until(run_s)
    first.session.wait_idle()
    while first.consume():
        pass
    first.playback.seek(run_s - 0.5)
    until = time.monotonic() + look_s
    while time.monotonic() < until:
        lines.tend()
        time.sleep(min(RESTING_S, 1 / FRAMES_A_SECOND))
    began = time.perf_counter()
    lines.order(QUESTION)
    while lines.run is first:
        if lines.tend():
            time.sleep(1 / FRAMES_A_SECOND)
    spent = time.perf_counter() - began
    for branch in lines.tree.branches:
        branch.item.session.close()
    return 1e3 * spent


class Finished:
    """A session of which only the trace is left."""

    commands: Sequence[TimedCommand] = ()

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    @property
    def status(self) -> Status:
        return Status(SessionState.ENDED, self.trace.time[len(self.trace) - 1], 1.0)

    def start(self) -> None: ...
    def play(self) -> None: ...
    def pause(self) -> None: ...
    def step(self) -> None: ...
    def set_pace(self, pace: float) -> None: ...
    def run_until(self, time_s: float) -> None: ...
    def close(self) -> None: ...

    def command(self, command: Command | str) -> object:
        return command

    def wait_idle(self, timeout_s: float | None = None) -> bool:
        return True

    def knob_values(self) -> Mapping[str, Value]:
        return {}


async def scrub_ms(engine: Engine, trace: Trace, moments: int) -> list[float]:
    """What the app computes to show a moment of a long trace, anywhere in it: everything but the terminal's own part."""

    def finished(
        pattern: Pattern,
        lesson: Lesson,
        seed: int,
        knobs: Mapping[str, Value],
        pace: float,
        *,
        paused: bool = False,
        commands: Sequence[TimedCommand] = (),
    ) -> SessionLike:
        return Finished(trace)

    app = CommtuiApp(load=lambda: replace(engine, open_session=finished), now=lambda: 0.0, frames_a_second=0)
    chance = random.Random(7)
    costs: list[float] = []
    async with app.run_test(size=(120, 36)) as pilot:
        while app.lab_screen.tab is None:
            await pilot.pause()
        while app.lab_screen.draw():
            pass
        for _ in range(moments):
            began = time.perf_counter()
            app.lab_screen.seek(chance.uniform(0, trace.time[len(trace) - 1]))
            costs.append(1e3 * (time.perf_counter() - began))
            await pilot.pause()
    return costs
