"""Still pictures of the real app on real runs: which moment of which scenario, after which keys, at which size.

A shot is the same at every taking: the run stands at a virtual moment, no real time passes, frames are drawn on demand.
"""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from textual.pilot import Pilot

from engines.comparison import workloads
from engines.lab.commands import TimedCommand
from engines.lab.knobs import Value
from engines.lab.session import Session
from engines.patterns.contract import Lesson, Pattern
from engines.patterns.registry import PATTERNS
from tui.app import CommtuiApp
from tui.beginning import Beginning
from tui.loading import load_engine
from tui.screens.comparison import ComparisonScreen

TEACHER = (120, 36)
PROJECTOR = (80, 24)
PATIENCE_S = 60
MOST_FRAMES, CALM_FRAMES = 100, 3


@dataclass(frozen=True, slots=True)
class Shot:
    """`orders` are commands at virtual times, `keys` are pressed when the run stands at `at_s`.

    With `compare` (a workload) it is the comparison of all patterns that do it; then the pattern only waits behind.
    """

    name: str
    pattern: str
    scenario: str
    at_s: float
    size: tuple[int, int] = TEACHER
    theme: str = "classroom-dark"
    ascii: bool = False
    seed: int = 7
    orders: tuple[tuple[float, str], ...] = ()
    keys: tuple[str, ...] = ()
    compare: str = ""


class Standing(Protocol):
    """What a shot is taken of: one session, or several under one clock."""

    def run_until(self, time_s: float) -> None: ...
    def command(self, command: str) -> object: ...
    def wait_idle(self, timeout_s: float) -> bool: ...


@asynccontextmanager
async def taken(shot: Shot) -> AsyncIterator[tuple[CommtuiApp, Pilot[int]]]:
    """The app as the shot wants it, standing still."""
    sessions: list[Session] = []

    def open_session(
        pattern: Pattern,
        lesson: Lesson,
        seed: int,
        knobs: Mapping[str, Value],
        pace: float,
        *,
        paused: bool = True,
        commands: Sequence[TimedCommand] = (),
    ) -> Session:
        name = f"{pattern.name}/{lesson.name}"
        session = Session(lesson, name=name, seed=seed, knobs=knobs, commands=commands, pace=pace, paused=True)
        sessions.append(session)
        return session

    app = CommtuiApp(
        load=lambda: replace(load_engine(), open_session=open_session),
        pattern=shot.pattern,
        scenario=shot.scenario,
        beginning=Beginning(seed=shot.seed),
        theme=shot.theme,
        ascii=shot.ascii,
        now=lambda: 0.0,
        frames_a_second=0,
    )
    async with app.run_test(size=shot.size) as pilot:
        while not sessions or app.lab_screen.tab is None:
            await pilot.pause()
        if shot.compare:
            app.lab_screen.compare(workloads(PATTERNS)[shot.compare])
            while not isinstance(app.screen, ComparisonScreen):
                await pilot.pause()
        run: Standing = app.screen.ensemble if isinstance(app.screen, ComparisonScreen) else sessions[-1]
        for time_s, order in shot.orders:
            run.run_until(time_s)
            assert run.wait_idle(PATIENCE_S)  # an order takes effect at once, wherever the run is
            run.command(order)
        run.run_until(shot.at_s)
        assert run.wait_idle(PATIENCE_S)
        for key in ("", *shot.keys):
            if key:
                await pilot.press(key)
                run.wait_idle(PATIENCE_S)
            await settle(app, pilot)
        yield app, pilot


async def settle(app: CommtuiApp, pilot: Pilot[int]) -> None:
    """Draw until nothing changes any more: a scroll bar that comes or goes changes the room for what is beside it."""
    last, alike = "", 0
    for _ in range(MOST_FRAMES):
        app.playing_screens[-1].draw()
        await pilot.pause()
        text = screen_text(app)
        last, alike = text, alike + 1 if text == last else 0
        if alike == CALM_FRAMES:
            return
    raise AssertionError(f"the screen does not settle:\n{last}")


def screen_text(app: CommtuiApp) -> str:
    """The whole screen as text, a line each, without trailing blanks."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)


def screen_svg(app: CommtuiApp) -> str:
    """The whole screen as SVG that loads nothing from anywhere and is the same at every taking."""
    svg = app.export_screenshot(title="commtui")
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    return re.sub(r"terminal-\d+", "terminal", svg)


def _every_scenario() -> tuple[Shot, ...]:
    return tuple(
        Shot(f"{pattern.name}-{lesson.name}", pattern.name, lesson.name, min(12.0, lesson.until_s / 2))
        for pattern in PATTERNS
        for lesson in pattern.lessons
    )


SHOTS: tuple[Shot, ...] = (
    *_every_scenario(),
    Shot("projector", "request-response", "simple-get", 6.7, PROJECTOR),
    Shot("light", "request-response", "simple-get", 6.7, theme="classroom-light"),
    Shot("ascii", "request-response", "simple-get", 6.7, ascii=True),
    Shot("to-scale", "request-response", "simple-get", 6.7, keys=("m",)),
    Shot(
        "server-killed", "request-response", "simple-get", 7.0, orders=((3.2, "kill server"), (5.0, "restart server"))
    ),
    Shot("lost-packet", "request-response", "simple-get", 4.0, orders=((2.0, "drop next response"),)),
    Shot("help", "request-response", "simple-get", 3.0, keys=("question_mark",)),
    Shot("scenarios", "request-response", "simple-get", 3.0, keys=("s",)),
    Shot("review", "request-response", "simple-get", 6.7, keys=("left", "left", "comma")),
    Shot("comparison", "request-response", "simple-get", 12.0, compare="notifications"),
    Shot("wire", "request-response", "simple-get", 6.7, keys=("W", "up", "up")),
)
