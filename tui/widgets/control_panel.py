"""Knobs and faults as rows to walk through and turn, with the keyboard, the wheel or a click.

It turns nothing itself: it says what the person asked for, and shows what has come of it.
"""

from collections.abc import Sequence

from textual import events
from textual.message import Message

from engines.lab.knobs import Number, Value
from tui.panels.controls import Cursor, FaultRow, KnobRow, Row, command_for, control_lines
from tui.widgets.lines import LineView


class ControlPanel(LineView):
    """Rows come from `show_rows`, once a frame; the cursor and what is being typed are the panel's own."""

    BORDER_TITLE = "knobs "

    class Ordered(Message):
        """A command that the person gave by turning a knob or working a fault."""

        def __init__(self, command: str) -> None:
            super().__init__()
            self.command = command

    class Refused(Message):
        """Something that cannot be done; `reason` is one line."""

        def __init__(self, reason: str) -> None:
            super().__init__()
            self.reason = reason

    class Left(Message):
        """The person is done here."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.rows: list[Row] = []
        self._owner: list[int | None] = []
        self._row = 0
        self._typed: str | None = None
        self._frozen = False
        self._asked: dict[str, tuple[Value, str]] = {}

    @property
    def typing(self) -> bool:
        return self._typed is not None

    def show_rows(self, rows: Sequence[Row], *, frozen: bool) -> None:
        """Show the values of `rows`; `frozen` when they are of the past and cannot be turned."""
        self.rows = list(rows)
        texts = {row.knob.name: row.text for row in rows if isinstance(row, KnobRow)}
        self._asked = {name: asked for name, asked in self._asked.items() if texts.get(name) == asked[1]}
        self._frozen = frozen
        self._row = min(self._row, max(0, len(self.rows) - 1))
        self._draw()

    def _draw(self) -> None:
        cursor = Cursor(self._row, self._typed) if self.has_focus else None
        width = self.scrollable_content_region.width
        lines, self._owner = control_lines(self.rows, cursor, width, self.glyphs, frozen=self._frozen)
        self.show(lines)

    # --- what a person does ---------------------------------------------------------------------------------------------

    def press_letter(self, letter: str) -> Row | None:
        """Work the row with that key from anywhere: a fault happens, a toggle flips; a number only gets the cursor.

        Returns the row, or None when no row has that key.
        """
        for index, row in enumerate(self.rows):
            if row.key == letter:
                self._move_to(index)
                if isinstance(row, FaultRow):
                    self._work(row)
                elif not isinstance(row.knob, Number):
                    self._turn(row, 1)
                return row
        return None

    @staticmethod
    def wants_cursor(row: Row) -> bool:
        """Whether `row` is a number: those are turned step by step, or typed."""
        return isinstance(row, KnobRow) and isinstance(row.knob, Number)

    def _turn(self, row: KnobRow, steps: int) -> None:
        if row.value is None:
            return
        # Keys may come faster than frames: count from what was last asked for until the shown value has moved.
        asked, shown = self._asked.get(row.knob.name, (row.value, row.text))
        value = row.knob.stepped(asked if shown == row.text else row.value, steps)
        if value != row.value:
            self._asked[row.knob.name] = (value, row.text)
            self.post_message(self.Ordered(command_for(row.knob, value)))

    def _work(self, row: FaultRow) -> None:
        fault = row.fault
        self.post_message(self.Ordered(fault.off if row.on and fault.off is not None else fault.on))

    def _move_to(self, row: int) -> None:
        self._row = max(0, min(len(self.rows) - 1, row))
        self._typed = None
        self._draw()
        self._show_cursor()

    def _show_cursor(self) -> None:
        """Scroll so that the cursor's row is in sight, once there is any height to be seen in."""
        height = self.room.height
        if height > 0 and self._row in self._owner:
            y, top = self._owner.index(self._row), self.scroll_offset.y
            if y < top or y >= top + height:
                self.scroll_to(y=max(0, y - height + 1) if y >= top + height else y, animate=False)

    def on_resize(self) -> None:
        if self.has_focus:
            self._show_cursor()

    def on_focus(self) -> None:
        self._draw()

    def on_blur(self) -> None:
        self._typed = None
        self._draw()

    def on_key(self, event: events.Key) -> None:
        if not self.rows:
            return
        row = self.rows[self._row]
        handled = self._typing_key(event, row) if self.typing else self._row_key(event, row)
        if handled:
            event.stop()
            event.prevent_default()
            self._draw()

    def _typing_key(self, event: events.Key, row: Row) -> bool:
        assert self._typed is not None
        assert isinstance(row, KnobRow)
        if event.key == "enter":
            self._set_typed(row, self._typed)
        elif event.key == "escape":
            self._typed = None
        elif event.key == "backspace":
            self._typed = self._typed[:-1]
        elif event.character and event.is_printable and len(self._typed) < 14:
            self._typed += event.character
        elif event.key in ("up", "down", "tab", "shift+tab"):
            self._typed = None
            return False
        return True

    def _set_typed(self, row: KnobRow, text: str) -> None:
        if not text.strip():
            self._typed = None
            return
        try:
            value = row.knob.parse(text)
        except ValueError as error:
            self.post_message(self.Refused(str(error)))
            return
        self._typed = None
        self.post_message(self.Ordered(command_for(row.knob, value)))

    def _row_key(self, event: events.Key, row: Row) -> bool:
        match event.key:
            case "up" | "down":
                self._move_to(self._row + (1 if event.key == "down" else -1))
            case "left" | "right" | "shift+left" | "shift+right":
                steps = (1 if event.key.endswith("right") else -1) * (5 if event.key.startswith("shift") else 1)
                if isinstance(row, KnobRow):
                    self._turn(row, steps if isinstance(row.knob, Number) else max(-1, min(1, steps)))
                else:
                    self._work(row)
            case "enter":
                if isinstance(row, FaultRow):
                    self._work(row)
                elif isinstance(row.knob, Number):
                    self._typed = ""
                else:
                    self._turn(row, 1)
            case "delete" | "backspace":
                if isinstance(row, KnobRow):
                    self.post_message(self.Ordered(command_for(row.knob, row.knob.default)))
            case "escape":
                self.post_message(self.Left())
            case _ if event.character and event.character.isdigit() and self.wants_cursor(row):
                self._typed = event.character
            case _:
                return False
        return True

    def _row_at(self, y: int) -> int | None:
        line = y + self.scroll_offset.y
        return self._owner[line] if 0 <= line < len(self._owner) else None

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        index = self._row_at(offset.y) if offset is not None else None
        if index is None:
            return
        self.focus()
        self._move_to(index)
        row = self.rows[index]
        if isinstance(row, FaultRow):
            self._work(row)
        elif not isinstance(row.knob, Number):
            self._turn(row, 1)

    def _wheel(self, event: events.MouseScrollUp | events.MouseScrollDown, steps: int) -> None:
        offset = event.get_content_offset(self)
        index = self._row_at(offset.y) if offset is not None else None
        row = self.rows[index] if index is not None else None
        if isinstance(row, KnobRow):
            event.stop()
            event.prevent_default()
            self._turn(row, steps)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, 1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, -1)
