"""The help screen: every key and what it does, made from the table of actions and the declarations of the open pattern."""

from collections.abc import Mapping, Sequence

from textual import events
from textual.app import ComposeResult

from tui.panels.help import HelpRow, help_lines
from tui.screens.dialog import Dialog
from tui.widgets.lines import LineView


class HelpScreen(Dialog[None]):
    """Any key that does not scroll closes it."""

    SCROLLING = ("up", "down", "pageup", "pagedown", "home", "end")

    def __init__(self, groups: Mapping[str, Sequence[HelpRow]], about: Sequence[str]) -> None:
        super().__init__()
        self._groups = groups
        self._about = about

    def compose(self) -> ComposeResult:
        yield LineView(classes="dialog panel help")

    def on_mount(self) -> None:
        super().on_mount()
        view = self.query_one(LineView)
        view.border_title = "help"
        view.border_subtitle = "any key closes"
        view.focus()
        self.call_after_refresh(self._draw)

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        view = self.query_one(LineView)
        view.show(help_lines(self._groups, self._about, view.room.width))

    def on_key(self, event: events.Key) -> None:
        if event.key not in self.SCROLLING:
            event.stop()
            self.finish()

    def on_click(self) -> None:
        self.finish()
