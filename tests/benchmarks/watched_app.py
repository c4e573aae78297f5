"""The application as it is, thirty frames a second, flat out; it remembers when it drew, and in the end writes that to a file."""

import json
import sys
import time
from pathlib import Path

from tui.app import CommtuiApp, run_on_terminal
from tui.beginning import Beginning
from tui.loading import load_engine
from tui.screens.lab import LabScreen

FRAMES_A_SECOND = 30


class WatchedScreen(LabScreen):
    """Draws at each tick, also when nothing moves, so that playing and paused can be compared."""

    def __init__(self) -> None:
        super().__init__(time.monotonic, FRAMES_A_SECOND)
        self.frames: list[tuple[float, float]] = []  # real time of the tick, processor seconds it took

    def draw(self, *, full: bool = True) -> bool:
        super().draw(full=full)
        return True

    def _tick(self) -> None:
        if self.lab.writer_is_behind:
            return
        began, spent = time.perf_counter(), time.thread_time()
        super()._tick()
        self.frames.append((began, time.thread_time() - spent))


class WatchedApp(CommtuiApp):
    def __init__(self) -> None:
        super().__init__(load=load_engine, beginning=Beginning(pace=float("inf")))
        self.lab_screen: WatchedScreen = WatchedScreen()


if __name__ == "__main__":
    app = WatchedApp()
    status = run_on_terminal(app)
    Path(sys.argv[1]).write_text(json.dumps(app.lab_screen.frames))
    sys.exit(status)
