"""The commonest frame: one arrow has moved by a few cells. From `tick` to the bytes for the terminal, through the real widget,
Textual's compositor and a driver that counts."""

import asyncio
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from textual.app import App, ComposeResult
from textual.drivers.headless_driver import HeadlessDriver

from engines.lab.facts import Role
from tests.benchmarks.measuring import Figure, at_most, percentile
from tests.view.traces import Play
from tui.themes import DEFAULT_THEME, textual_themes
from tui.widgets.sequence import SequenceDiagram

SIZE = (120, 36)
FLIGHT_S = 10.0
STEPS = 30
"""Frames a flight: the head moves two or three cells in each."""

BETWEEN_FLIGHTS_S = 0.1
STUCK_S = 30.0
Frames = list[tuple[float, int]]
"""Processor seconds and bytes of each frame."""


@dataclass(frozen=True, slots=True)
class MovingArrow:
    flights: int = 12

    def measure(self) -> list[Figure]:
        frames = FlightWatcher(self.flights).run(size=SIZE)
        assert frames
        milliseconds = [seconds * 1e3 for seconds, _ in frames]
        return [
            Figure("frame with one moving arrow", median(milliseconds), "ms", aim=at_most(1.5)),
            Figure("frame with one moving arrow, p95", percentile(milliseconds, 95), "ms"),
            Figure("frame with one moving arrow", median(size for _, size in frames) / 1e3, "kB", aim=at_most(1.5)),
        ]


def flights(count: int) -> tuple[Play, list[float]]:
    """A screen full of history, and then messages that take their time, one after another; when each of them leaves."""
    play = Play("client", "server")
    play.connect(1, "client", "server")
    for number in range(12):
        play.exchange(1, f"GET /item/{number}", "200 OK")
    play.latency_s = FLIGHT_S
    departures = []
    for number in range(count):
        departures.append(play.now)
        (packet,) = play.message(1, "client", Role.REQUEST, f"GET /slow/{number}")
        play.at(play.now + FLIGHT_S)
        play.deliver(packet)
        play.at(play.now + 1.0)
    return play, departures


class CountingDriver(HeadlessDriver):
    """A terminal that shows nothing and knows how much it was told."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.size_bytes = 0
        self.written = asyncio.Event()

    @property
    def is_headless(self) -> bool:
        return False

    def write(self, data: str) -> None:
        self.size_bytes += len(data.encode())
        self.written.set()


class FlightWatcher(App[Frames]):
    """Nothing but a diagram; it draws the flights frame by frame and returns what each frame cost."""

    CSS = "SequenceDiagram { height: 100%; background: $background; }"

    def __init__(self, count: int) -> None:
        super().__init__(driver_class=CountingDriver)
        for each in textual_themes():
            self.register_theme(each)
        self.theme = DEFAULT_THEME
        self._play, self._departures = flights(count)

    def compose(self) -> ComposeResult:
        yield SequenceDiagram(self._play.trace)

    def on_ready(self) -> None:
        self.run_worker(self._watch())

    async def _watch(self) -> None:
        assert isinstance(self._driver, CountingDriver)
        terminal, diagram = self._driver, self.query_one(SequenceDiagram)
        frames: Frames = []
        diagram.consume(len(self._play.trace))
        for departure in self._departures:
            diagram.tick(departure)
            await asyncio.sleep(BETWEEN_FLIGHTS_S)
            async with asyncio.timeout(STUCK_S):  # a frame that draws nothing would never end
                for step in range(1, STEPS):
                    terminal.written.clear()
                    size_before, began = terminal.size_bytes, time.thread_time()
                    diagram.tick(departure + FLIGHT_S * step / STEPS)
                    await terminal.written.wait()
                    frames.append((time.thread_time() - began, terminal.size_bytes - size_before))
        self.exit(frames)
