"""Choosing from a list by arrows, a click or a few letters: the scenarios, and the palette of all actions and commands."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from tui.panels.palette import Entry, entry_lines, matching
from tui.screens.dialog import Dialog
from tui.widgets.lines import LineView

V = TypeVar("V")


class PickerList(LineView):
    """The entries; a click chooses."""

    can_focus = False


class PickerScreen(Dialog[V]):
    """Returns the `value` of the entry that was chosen, or None.

    `free` turns what was typed into an entry of its own (a command, say), or returns None when it is nothing.
    """

    def __init__(
        self,
        title: str,
        entries: Sequence[Entry[V]],
        *,
        hint: str,
        tall: bool = False,
        start: int = 0,
        free: Callable[[str], Entry[V] | None] | None = None,
    ) -> None:
        super().__init__()
        self._title = title
        self._entries = list(entries)
        self._hint = hint
        self._tall = tall
        self._free = free
        self._cursor = start
        self._found = self._entries
        self._owner: list[int] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog panel") as dialog:
            dialog.border_title = self._title
            yield Input(placeholder=self._hint, select_on_focus=False)
            yield PickerList()

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(Input).focus()
        self.call_after_refresh(self._draw)

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    @property
    def _list(self) -> PickerList:
        return self.query_one(PickerList)

    def _draw(self) -> None:
        view = self._list
        lines, self._owner = entry_lines(self._found, self._cursor, view.room.width, view.glyphs, tall=self._tall)
        view.show(lines)
        rows = [y for y, owner in enumerate(self._owner) if owner == self._cursor]
        if rows:
            top, height = view.scroll_offset.y, view.room.height
            if rows[0] < top:
                view.scroll_to(y=rows[0], animate=False)
            elif rows[-1] >= top + height:
                view.scroll_to(y=rows[-1] - height + 1, animate=False)

    def on_input_changed(self, event: Input.Changed) -> None:
        self._found = matching(self._entries, event.value)
        own = self._free(event.value) if self._free is not None else None
        if own is not None:
            self._found = [own, *self._found]
        if event.value:
            self._cursor = 0
        self._draw()

    def on_input_submitted(self) -> None:
        self._choose(self._cursor)

    def _choose(self, index: int) -> None:
        if 0 <= index < len(self._found):
            self.finish(self._found[index].value)

    def on_key(self, event: events.Key) -> None:
        page = max(1, self._list.room.height - 1)
        moves = {"up": -1, "down": 1, "pageup": -page, "pagedown": page}
        if event.key == "escape":
            event.stop()
            self.finish()
        elif event.key in moves and self._found:
            event.stop()
            self._cursor = max(0, min(len(self._found) - 1, self._cursor + moves[event.key]))
            self._draw()

    def on_click(self, event: events.Click) -> None:
        if event.widget is not self._list:
            if event.widget is self:
                self.finish()
            return
        offset = event.get_content_offset(self._list)
        y = offset.y + self._list.scroll_offset.y if offset is not None else -1
        if 0 <= y < len(self._owner):
            self._choose(self._owner[y])
