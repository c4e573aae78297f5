"""Driving the app in a test: no real time, no engine; frames are drawn when the test says so."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from textual.pilot import Pilot

from tests.tui.fake_lab import FakeLab
from tui.app import CommtuiApp
from tui.beginning import Beginning
from tui.screens.lab import LabScreen
from tui.widgets.pattern_tab import PatternTab


class Drive:
    """The app, its fake laboratory, and the hands of a person."""

    def __init__(self, app: CommtuiApp, lab: FakeLab, pilot: Pilot[int]) -> None:
        self.app = app
        self.lab = lab
        self.pilot = pilot
        self.real_s = 0.0

    @property
    def screen(self) -> LabScreen:
        return self.app.lab_screen

    @property
    def tab(self) -> PatternTab:
        tab = self.screen.tab
        assert tab is not None
        return tab

    async def frame(self) -> None:
        self.app.playing_screens[-1].draw()
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.frame()

    async def type(self, text: str) -> None:
        await self.pilot.press(*text)

    async def advance(self, seconds: float) -> None:
        """Virtual time passes."""
        self.lab.session.advance(seconds)
        await self.frame()

    def text(self) -> str:
        """The whole screen as text."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)

    def row(self, y: int) -> str:
        return self.text().splitlines()[y]


@asynccontextmanager
async def driving(size: tuple[int, int] = (120, 36), **options: Any) -> AsyncIterator[Drive]:
    """The app on request/response, 5.65 s into the run."""
    lab = FakeLab()
    drive: Drive
    app = CommtuiApp(load=lab.load, beginning=Beginning(seed=7), frames_a_second=0, now=lambda: drive.real_s, **options)
    async with app.run_test(size=size) as pilot:
        drive = Drive(app, lab, pilot)
        while app.lab_screen.tab is None:
            await pilot.pause()
        await drive.advance(5.65)
        yield drive
