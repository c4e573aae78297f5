"""Scrubbed to a moment is played to that moment: the whole screen, for every lesson of every pattern."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from textual.pilot import Pilot

from engines.lab.commands import TimedCommand
from engines.lab.knobs import Value
from engines.lab.session import Session
from engines.patterns.contract import Lesson, Pattern
from engines.patterns.registry import PATTERNS
from tests.shots import screen_text
from tui.app import CommtuiApp
from tui.beginning import Beginning
from tui.loading import load_engine

pytestmark = pytest.mark.anyio
PATIENCE_S = 60.0
SHARES = (0.23, 0.61, 0.98)
"""The moments, as shares of some seconds of each lesson: early and late, with things on their way."""

LONGEST_S = 12.0
PANES = ("story", "wire")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Laboratory:
    """Opens sessions that stand still, and keeps the newest."""

    session: Session

    def open(
        self,
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
        self.session = Session(lesson, name=name, seed=seed, knobs=knobs, pace=pace, paused=True, commands=commands)
        return self.session

    def go_to(self, time_s: float) -> None:
        self.session.run_until(time_s)
        assert self.session.wait_idle(PATIENCE_S)

    def order(self, text: str) -> None:
        self.session.command(text)
        assert self.session.wait_idle(PATIENCE_S)


async def body(app: CommtuiApp, pilot: Pilot[int]) -> list[str]:
    """The screen, but for the line that says where we are in time and how long the run is, the keys that fit it, and the words
    over the knobs that say what turning one means there."""
    for _ in range(2):
        app.lab_screen.draw()
        await pilot.pause()
    title = "knobs: what if … "
    return [row.replace(title, "knobs ".ljust(len(title), "─")) for row in screen_text(app).splitlines()[1:-1]]


@pytest.mark.parametrize("pattern", [pytest.param(pattern, id=pattern.name) for pattern in PATTERNS])
async def test_scrubbed_there_is_played_there(pattern: Pattern) -> None:
    laboratory = Laboratory()
    app = CommtuiApp(
        load=lambda: replace(load_engine(), open_session=laboratory.open),
        pattern=pattern.name,
        beginning=Beginning(seed=11),
        now=lambda: 0.0,
        frames_a_second=0,
    )
    async with app.run_test(size=(120, 40)) as pilot:
        while (tab := app.lab_screen.tab) is None:
            await pilot.pause()
        for number, lesson in enumerate(pattern.lessons):
            if number:
                tab.restart(lesson=lesson)
            fault = lesson.faults[number % len(lesson.faults)]
            until_s = min(LONGEST_S, lesson.until_s)
            moments = [round(share * until_s, 3) for share in SHARES]
            # A change of the pane is not free: each moment is looked at in one, and each pane is seen.
            panes = [PANES[place % len(PANES)] for place in range(len(moments))]
            tab.diagram.mode = "scale" if number % 3 == 2 else "compact"
            tab.diagram.detail = "packets" if number % 2 else "messages"
            played: list[list[str]] = []
            for place, (moment, pane) in enumerate(zip(moments, panes, strict=True)):
                laboratory.go_to(moment)
                if place == 1:
                    laboratory.order(fault.on)
                    laboratory.order("set latency 0.3 s")
                    moments[place] = moment = laboratory.session.status.now_s
                tab.pane.turn_to(pane)
                played.append(await body(app, pilot))
            for place in (1, 0, 2):
                tab.pane.turn_to(panes[place])
                app.lab_screen.seek(moments[place])
                assert tab.playback.playhead_s == moments[place]
                scrubbed = await body(app, pilot)
                for row, (there, then) in enumerate(zip(scrubbed, played[place], strict=True)):
                    assert there == then, f"{lesson.name} at {moments[place]} s, row {row + 1}"
