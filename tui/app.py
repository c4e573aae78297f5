"""The Textual application: it brings up the screen, loads the engines behind it, and sees to looks, failures and leaving.

Nothing of a pattern is known here. Network libraries are imported only after the first paint (see `tui.engine`).
"""

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING

from rich.text import Text
from textual.app import App
from textual.binding import Binding
from textual.message import Message
from textual.scrollbar import ScrollBar, ScrollBarRender

from tui.beginning import Beginning
from tui.bindings import EVERY_ACTION
from tui.config import Config, ConfigError, complain, config_path, load_config
from tui.screens.lab import LabScreen
from tui.screens.playing import FRAMES_A_SECOND, PlayingScreen
from tui.terminal import examine_terminal, failure_line, log_failure, restored
from tui.themes import DEFAULT_THEME, THEME_NAMES, other_theme, textual_themes, theme_for, variables

if TYPE_CHECKING:
    from engines.demos import Demo
    from tui.engine import Engine

GC_THRESHOLD = (20_000, 50, 50)
"""Collections are nearly all of a frame's slowest percent; what was made at the start is never garbage and is left alone."""

WRITER_BEHIND = 2
"""Frames that may wait for the terminal before further ones are skipped."""


class AsciiScrollBar(ScrollBarRender):
    """A scrollbar without eighth blocks."""

    VERTICAL_BARS = [" "] * 8
    HORIZONTAL_BARS = [" "] * 8


class EngineLoaded(Message):
    """The engines are here, or could not be brought in."""

    def __init__(self, outcome: "Engine | Exception") -> None:
        super().__init__()
        self.outcome = outcome


class CommtuiApp(App[int]):
    """`load` imports the engines (slow; called in a thread) and `now` is real time in seconds: tests give others,
    and no frames a second, to draw when they please."""

    CSS_PATH = Path(__file__).parent / "styles" / "app.tcss"
    TITLE = "commtui"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS = [Binding("ctrl+c", "help_quit", show=False, system=True)]  # noqa: RUF012 (Textual declares it so)

    def __init__(
        self,
        *,
        load: "Callable[[], Engine]",
        pattern: str | None = None,
        scenario: str | None = None,
        beginning: Beginning | None = None,
        theme: str = DEFAULT_THEME,
        ascii: bool = False,
        motion: bool = True,
        keys: dict[str, str] | None = None,
        now: Callable[[], float] = monotonic,
        frames_a_second: int = FRAMES_A_SECOND,
    ) -> None:
        super().__init__()
        self._load = load
        self._wanted = (pattern, scenario)
        self.beginning = beginning or Beginning()
        self.motion = motion and self.animation_level != "none"
        if not self.motion:
            self.animation_level = "none"
        self._ascii = ascii
        for each in textual_themes():
            self.register_theme(each)
        self.theme = theme
        keymap = dict(keys or {})
        self.set_keymap(keymap)
        self.keys_shown = {action.id: keymap.get(action.id, action.shown) for action in EVERY_ACTION}
        self.lab_screen = LabScreen(now, frames_a_second)
        self.failure: Exception | None = None

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return variables(DEFAULT_THEME)

    # --- starting -------------------------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        self._apply_ascii()
        self.call_after_refresh(self._load_behind)

    def get_default_screen(self) -> LabScreen:
        return self.lab_screen

    def _load_behind(self) -> None:
        """Import in a thread of its own, so that the first screen can be seen and left while it goes on."""

        def work() -> None:
            try:
                self.post_message(EngineLoaded(self._load()))
            except Exception as error:
                self.post_message(EngineLoaded(error))

        Thread(target=work, name="loading the engines", daemon=True).start()

    async def on_engine_loaded(self, event: "EngineLoaded") -> None:
        """Open the tab that was asked for, or the first."""
        if isinstance(event.outcome, Exception):
            log = log_failure(event.outcome)
            self.lab_screen.show_failure(failure_line(event.outcome, log) + "; q quits")
            return
        engine = event.outcome
        wanted, scenario = self._wanted
        pattern = next((p for p in engine.patterns if p.name == wanted), engine.patterns[0])
        lesson = next((x for x in pattern.lessons if x.name == scenario), pattern.lessons[0])
        await self.lab_screen.show_engine(engine, pattern, lesson, self.beginning)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLD)

    # --- looks ----------------------------------------------------------------------------------------------------------

    @property
    def ascii(self) -> bool:
        """Whether everything is drawn in plain ASCII."""
        return self._ascii

    @ascii.setter
    def ascii(self, on: bool) -> None:
        self._ascii = on
        self._apply_ascii()
        self._look_changed()

    def _apply_ascii(self) -> None:
        ScrollBar.renderer = AsciiScrollBar if self._ascii else ScrollBarRender
        for screen in self.playing_screens:
            screen.set_class(self._ascii, "-ascii")

    def suit_terminal(self) -> None:
        """Take the theme that this terminal's colours can show. Tests do not ask for it: they have no terminal."""
        self.theme = theme_for(self.theme, sixteen_colours=self.console.color_system == "standard")

    def next_theme(self) -> None:
        """The other of our themes."""
        self.theme = other_theme(self.theme)
        self._look_changed()

    def _look_changed(self) -> None:
        self.refresh(layout=True)
        for screen in self.playing_screens:
            screen.look_changed()

    @property
    def playing_screens(self) -> list[PlayingScreen]:
        """The screens with runs on them, the foremost last; the laboratory itself even before it is shown."""
        others = [screen for screen in self.screen_stack if isinstance(screen, PlayingScreen)]
        return [self.lab_screen, *(screen for screen in others if screen is not self.lab_screen)]

    @property
    def writer_is_behind(self) -> bool:
        """Whether the terminal has not yet taken what was drawn before: then drawing more only delays it further."""
        writer = getattr(self._driver, "_writer_thread", None)
        return writer is not None and writer._queue.qsize() > WRITER_BEHIND

    # --- leaving --------------------------------------------------------------------------------------------------------

    def action_help_quit(self) -> None:
        """ctrl+c: a lesson does not end by surprise."""
        self.playing_screens[-1].notify_line(f"ctrl+c does not quit; press {self.keys_shown['quit']} to quit")

    def leave(self, signal_number: int) -> None:
        """A signal asks us to end; called between any two instructions, so it only asks the event loop."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(lambda: self.exit(return_code=128 + signal_number))

    def on_unmount(self) -> None:
        for tab in self.lab_screen.tabs.values():
            tab.close_session()

    def _handle_exception(self, error: Exception) -> None:
        """An error of our own: one readable line for the person, the traceback for the log file."""
        self.failure = error
        super()._handle_exception(error)
        self._exit_renderables[:] = [Text(failure_line(error, log_failure(error)))]


def run_app(
    *,
    demo: "Demo | None" = None,
    seed: int | None = None,
    pace: float | None = None,
    theme: str | None = None,
    ascii: bool | None = None,
    no_motion: bool = False,
) -> int:
    """Run the application until the person quits; returns the exit status. None means: as the config file says, or by default.

    Without a demo it opens on the first pattern, with `seed`.

    Refuses, in one line, a terminal that cannot show it and a config file with a mistake (status 2).
    """
    try:
        config = load_config(config_path(), themes=THEME_NAMES, actions=tuple(action.id for action in EVERY_ACTION))
    except ConfigError as error:
        return complain(error)
    verdict = examine_terminal(os.environ, sys.stdin, sys.stdout)
    if verdict.refusal:
        print(f"commtui: {verdict.refusal}", file=sys.stderr)
        return 2
    app = _configured(config, demo, seed, pace, theme, ascii or verdict.ascii or None, no_motion)
    return run_on_terminal(app)


def run_on_terminal(app: CommtuiApp) -> int:
    """Run `app`, leave the terminal as it was whatever ends it, and return the exit status."""
    app.suit_terminal()
    with restored(app.leave):
        app.run()
    return app.return_code or 0


def _configured(
    config: Config,
    demo: "Demo | None",
    seed: int | None,
    pace: float | None,
    theme: str | None,
    ascii: bool | None,
    no_motion: bool,
) -> CommtuiApp:
    """The command line comes first, then the config file, then the defaults."""
    beginning = Beginning(seed or 0, pace or config.pace or 1.0)
    if demo is not None:
        beginning = Beginning(demo.seed, beginning.pace, demo.knobs, demo.commands, demo.start_at_s)
    return CommtuiApp(
        load=_load_engine,
        pattern=demo.pattern.name if demo is not None else None,
        scenario=demo.lesson.name if demo is not None else None,
        beginning=beginning,
        theme=theme or config.theme or DEFAULT_THEME,
        ascii=bool(config.ascii if ascii is None else ascii),
        motion=not no_motion and config.motion is not False,
        keys=dict(config.keys),
    )


def _load_engine() -> "Engine":
    """Called in the loading thread: the module below imports everything that the first paint does without."""
    from tui.loading import load_engine

    return load_engine()
