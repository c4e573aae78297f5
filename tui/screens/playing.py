"""What the screens on which runs play have in common: frames, a line of notice, and the keys for time, looks and finding things.

What is not needed for the first paint is imported where it is used.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from textual.screen import Screen
from textual.timer import Timer

from tui.bindings import Action, footer_order
from tui.panels.header import Hint
from tui.terminal import SMALLEST

if TYPE_CHECKING:
    from tui.app import CommtuiApp
    from tui.playback import Playback
    from tui.screens.finding import Findable
    from tui.view.rows import Detail
    from tui.widgets.sequence import Scale, SequenceDiagram

FRAMES_A_SECOND = 18
FULL_FRAME_EVERY = 4
STILL_FRAMES = 4
"""Frames without change before the timer stops: an order given to the engine needs a moment to show."""

HORIZONTAL = [(0, "-narrow"), (100, "-wide")]
VERTICAL = [(0, "-short"), (30, "-tall")]


class PlayingScreen(Screen[None]):
    """Owns the frame timer. `now` is real time in seconds, for whatever plays by itself; a test asks for no frames a second."""

    HORIZONTAL_BREAKPOINTS = HORIZONTAL
    VERTICAL_BREAKPOINTS = VERTICAL

    review_keys: Mapping[str, str] = MappingProxyType({"find-back": "jump"})
    """Actions that the footer tells of while the past is shown, each with its word there."""

    def __init__(self, now: Callable[[], float], frames_a_second: int = FRAMES_A_SECOND) -> None:
        super().__init__()
        self._now = now
        self._frames_a_second = frames_a_second
        self._timer: Timer | None = None
        self._still = 0
        self._frame = 0
        self._notice = ""

    @property
    def lab(self) -> "CommtuiApp":
        return cast("CommtuiApp", self.app)

    # --- what a screen must provide -------------------------------------------------------------------------------------

    @property
    def playback(self) -> "Playback | None":
        """What the keys for time steer, once there is something."""
        raise NotImplementedError

    @property
    def diagrams(self) -> "Sequence[SequenceDiagram]":
        """The diagrams that show it; what is chosen for the first holds for all."""
        raise NotImplementedError

    def draw(self, *, full: bool = True) -> bool:
        """One frame; true while more will come by itself. What need not be read in every frame is only in `full` ones."""
        raise NotImplementedError

    def look_changed(self) -> None:
        """Another theme or another set of glyphs: everything is drawn anew."""
        raise NotImplementedError

    # --- frames ---------------------------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        if self._frames_a_second:
            self._timer = self.set_interval(1 / self._frames_a_second, self._tick, pause=True)
        self.call_after_refresh(self.draw)

    def wake(self) -> None:
        """Something may have changed: draw, and go on drawing while it moves."""
        self._still = 0
        if self._timer is not None:
            self._timer.resume()
        self.draw()

    def _tick(self) -> None:
        if self.lab.writer_is_behind:
            return
        self._frame += 1
        moving = self.draw(full=self._frame % FULL_FRAME_EVERY == 0)
        self._still = 0 if moving else self._still + 1
        if self._still >= STILL_FRAMES and self._timer is not None:
            self._timer.pause()

    def notify_line(self, text: str) -> None:
        """Say something in the footer until the next key."""
        self._notice = text
        self.draw()

    def hints(self, actions: Iterable[Action], *, turning: bool) -> list[Hint]:
        """The footer's keys: those of `actions`, or what matters while knobs are being turned or the past is shown."""
        keys = self.lab.keys_shown
        first = Hint(keys["help"], "help", "screen.help")
        if turning:
            words = [("↑↓", "choose"), ("←→", "turn"), ("enter", "type a value"), ("del", "default"), ("esc", "done")]
        elif self.playback is not None and self.playback.in_review:
            words = [
                (keys["end"], "back to LIVE"),
                (keys["play"], "play on from here"),
                (", .", "step"),
                ("←→", "scrub"),
                *((keys[action_id], word) for action_id, word in self.review_keys.items()),
            ]
        else:
            return [Hint(keys[a.id], a.word, f"screen.{a.action}") for a in footer_order(actions)]
        return [first, *(Hint(key, word) for key, word in words)]

    def too_small(self, width: int, height: int) -> str:
        """What to say when nothing fits any more; "" when all is well. Marks the screen accordingly."""
        small = width < SMALLEST[0] or height < SMALLEST[1]
        self.set_class(small, "-too-small")
        text = f"Enlarge the window: commtui needs {SMALLEST[0]}x{SMALLEST[1]} cells, this is {width}x{height}."
        return text if small else ""

    def order(self, command: str) -> None:
        """Give a command, or say why not."""
        if self.playback is None:
            return
        try:
            self.give(command)
        except ValueError as refusal:
            self.notify_line(str(refusal))
        self.wake()

    def give(self, command: str) -> None:
        """Pass an order on to what plays here. Raises ValueError, in one line, when it does not fit."""
        assert self.playback is not None
        self.playback.command(command)

    # --- finding things -------------------------------------------------------------------------------------------------

    def findable(self) -> "Findable":
        """What help and palette tell of this screen."""
        raise NotImplementedError

    def action_help(self) -> None:
        from tui.screens.finding import help_screen

        self.app.push_screen(help_screen(self.findable()))

    def action_palette(self) -> None:
        from tui.screens.finding import ACTION, COMMAND, palette_screen

        async def chosen(value: str | None) -> None:
            if value is None:
                return
            if value.startswith(COMMAND):
                self.order(value.removeprefix(COMMAND))
            else:
                await self.run_action(value.removeprefix(ACTION))

        self.app.push_screen(palette_screen(self.findable()), chosen)

    # --- looks ----------------------------------------------------------------------------------------------------------

    def action_scale(self) -> None:
        if not self.diagrams:
            return
        mode: Scale = "scale" if self.diagrams[0].mode == "compact" else "compact"
        for diagram in self.diagrams:
            diagram.mode = mode
        self.notify_line("to scale: equal steps of time" if mode == "scale" else "compact: a row for each fact")
        self.wake()

    def action_detail(self) -> None:
        if not self.diagrams:
            return
        detail: Detail = "packets" if self.diagrams[0].detail == "messages" else "messages"
        for diagram in self.diagrams:
            diagram.detail = detail
        self.notify_line(f"the diagram shows {detail}")
        self.wake()

    def action_theme(self) -> None:
        self.lab.next_theme()

    def action_ascii(self) -> None:
        self.lab.ascii = not self.lab.ascii

    def action_quit(self) -> None:
        self.lab.exit()
