"""The sequence diagram on the screen: a thin widget over `tui.view.sequence` that paints only the rows that changed.

It has no timer and no memory of what happened: the app tells it the moment (`tick`), the model says what that looks like.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from engines.lab.trace import Trace
from tui.themes import palette
from tui.view.glyphs import ASCII, UNICODE, Glyphs
from tui.view.lifelines import HEADER_HEIGHT
from tui.view.lines import Line
from tui.view.rows import Detail
from tui.view.sequence import COMPACT, Mode, SequenceModel, Window

Scale = Literal["compact", "scale"]
_KEEP_ROWS = 2_000
_SIDEWAYS_CELLS = 8


class SequenceDiagram(ScrollView, can_focus=True, inherit_bindings=False):
    """The diagram of one trace. It follows the playhead until somebody scrolls or moves the cursor up."""

    DEFAULT_CSS = """
    SequenceDiagram { overflow-y: scroll; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 1; }
    """  # the scrollbar is always there, so that lifelines do not jump when the first row goes out of sight

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "cursor(-1)", "row up", show=False, id="diagram.up"),
        Binding("down", "cursor(1)", "row down", show=False, id="diagram.down"),
        Binding("pageup", "cursor_page(-1)", "page up", show=False, id="diagram.page_up"),
        Binding("pagedown", "cursor_page(1)", "page down", show=False, id="diagram.page_down"),
        Binding("enter", "go", "to the moment of the row", show=False, id="diagram.go"),
        Binding("less_than_sign", "sideways(-1)", "lifelines further left", show=False, id="diagram.left"),
        Binding("greater_than_sign", "sideways(1)", "lifelines further right", show=False, id="diagram.right"),
        Binding("left_square_bracket", "zoom(-1)", "coarser", show=False, id="diagram.coarser"),
        Binding("right_square_bracket", "zoom(1)", "finer", show=False, id="diagram.finer"),
    ]

    class RowSelected(Message):
        """The cursor went to a row (by key or mouse). `fact_id`: the fact the row stands for."""

        def __init__(self, diagram: "SequenceDiagram", fact_id: int) -> None:
            super().__init__()
            self.diagram = diagram
            self.fact_id = fact_id

        @property
        def control(self) -> "SequenceDiagram":
            return self.diagram

    class MomentChosen(RowSelected):
        """Enter was pressed on a row, or it was clicked twice: the person wants to see that moment."""

    class FollowingChanged(Message):
        """The diagram began or ceased to follow the playhead."""

        def __init__(self, diagram: "SequenceDiagram", following: bool) -> None:
            super().__init__()
            self.diagram = diagram
            self.following = following

        @property
        def control(self) -> "SequenceDiagram":
            return self.diagram

    def __init__(
        self,
        source: SequenceModel | Trace,
        *,
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.model = source if isinstance(source, SequenceModel) else SequenceModel(source)
        self.playhead = 0.0
        self._mode = COMPACT
        self._scale: Mode | None = None  # chosen by a person; until then the model suggests one
        self._detail: Detail = "messages"
        self._cursor: int | None = None
        self._following = True
        self._steering = False  # the scrolling under way is ours, not a person's
        self._own_palette: Mapping[str, Style] | None = None
        self._own_glyphs: Glyphs | None = None
        self._styles: dict[tuple[str, bool], Style] = {}
        self._styles_of: object = None
        self._lines: dict[int, Line] = {}
        self._settled: set[int] = set()
        self._header: list[Line] = []
        self._painted_for: tuple[object, ...] = ()
        self._marked: frozenset[int] = frozenset()  # facts
        self._limit = -1  # how many facts the last frame showed

    # --- what it shows ----------------------------------------------------------------------------------------------

    def show_trace(self, source: SequenceModel | Trace) -> None:
        """Show another run from its beginning."""
        self.model = source if isinstance(source, SequenceModel) else SequenceModel(source)
        self.playhead = 0.0
        self._cursor = None
        self._forget()
        self.follow()

    def show_branch(self, model: SequenceModel) -> None:
        """Show a run that is the same as this one up to some moment: what is in both stays where it is."""
        self.model = model
        self._forget()

    def mark(self, facts: frozenset[int]) -> None:
        """Mark the rows of `facts`: they are not the same in another run."""
        if facts != self._marked:
            self._marked = facts
            self._forget()

    def consume(self, budget_facts: int) -> bool:
        """Read at most so many new facts; true if there were any."""
        return self.model.consume(budget_facts)

    @property
    def mode(self) -> Scale:
        """ "compact" (a row for each fact) or "scale" (a row for each step of time)."""
        return "scale" if self._mode.to_scale else "compact"

    @mode.setter
    def mode(self, value: Scale | Mode) -> None:
        if isinstance(value, Mode):
            self._change(value, self._detail)
        elif value != self.mode:
            to_scale = self._scale or self.model.suggested_scale()
            self._change(to_scale if value == "scale" else COMPACT, self._detail)

    @property
    def row_s(self) -> float:
        """Seconds a row to scale; 0 while compact."""
        return self._mode.row_s

    @property
    def detail(self) -> Detail:
        """ "messages" (a row for each message) or "packets" (a row for each packet)."""
        return self._detail

    @detail.setter
    def detail(self, value: Detail) -> None:
        self._change(self._mode, value)

    @property
    def cursor(self) -> int | None:
        """The row with the cursor."""
        return self._cursor

    @cursor.setter
    def cursor(self, row: int | None) -> None:
        self._move_cursor(row)

    @property
    def following(self) -> bool:
        """Whether it scrolls along with the playhead."""
        return self._following

    def set_palette(self, styles: Mapping[str, Style] | None) -> None:
        """Look styles up here instead of in the app's theme."""
        self._own_palette = styles
        self._styles.clear()
        self.refresh()

    def set_glyphs(self, glyphs: Glyphs | None) -> None:
        """Draw with these instead of those the app asks for."""
        self._own_glyphs = glyphs
        self._forget()

    @property
    def glyphs(self) -> Glyphs:
        return self._own_glyphs or (ASCII if getattr(self.app, "ascii", False) else UNICODE)

    def _change(self, mode: Mode, detail: Detail) -> None:
        if (mode, detail) == (self._mode, self._detail):
            return
        fact = None if self._cursor is None else self.model.fact_of_row(self._cursor, self._mode, self._detail)
        middle = self.model.fact_of_row(self._top + self._rows_shown // 2, self._mode, self._detail)
        self._mode, self._detail = mode, detail
        self._cursor = None if fact is None else self.model.row_of_fact(fact, mode, detail)
        self._forget()
        self._fit()
        if not self._following and middle is not None:
            self._steer(self.model.row_of_fact(middle, mode, detail) - self._rows_shown // 2)

    # --- a frame ----------------------------------------------------------------------------------------------------

    def tick(self, playhead: float) -> None:
        """Show the moment `playhead`: paint the rows that look different from the last frame, and no others."""
        back = playhead < self.playhead
        self.playhead = playhead
        if not self.is_mounted or not self.size:
            return
        self._check_looks()
        if back:
            self._lines.clear()
            self._settled.clear()
        self._fit()
        width = self._width
        limit = self.model.messages.limit_at(playhead)
        news = limit != self._limit or not self._header
        self._limit = limit
        changed = [Region(0, HEADER_HEIGHT + row - self._top, width, 1) for row in self._repaint(back, news)]
        if news and (header := self._paint_header()) != self._header:
            changed.append(Region(0, 0, width, HEADER_HEIGHT))
            self._header = header
        if changed:
            self.refresh(*changed)

    def _repaint(self, everything: bool, news: bool) -> list[int]:
        """Paint the visible rows that may have changed; those that did. Without `news` (a fact) only arrows and bars move."""
        top, shown = self._top, self._rows_shown
        if self._mode.to_scale or everything:
            new = self._paint(top, shown)
            changed = [top + i for i, line in enumerate(new) if self._lines.get(top + i) != line]
            self._lines.update(enumerate(new, top))
            return changed
        changed = []
        rows = self.model.row_count(self.playhead, self._mode, self._detail)
        for row in range(top, top + shown):
            if row in self._settled or (row >= rows and not news and row in self._lines):
                continue
            (line,) = self._paint(row, 1)
            if self._lines.get(row) != line:
                self._lines[row] = line
                changed.append(row)
            if not self.model.is_live(row, self.playhead, self._mode, self._detail):
                self._settled.add(row)
        if len(self._lines) > _KEEP_ROWS:
            self._lines.clear()
            self._settled.clear()
        return changed

    def _paint(self, top: int, height: int) -> list[Line]:
        window = Window(top, height, self.scroll_offset.x, self._width)
        marked = frozenset(self.model.row_to_mark(fact, self._mode, self._detail) for fact in self._marked)
        return self.model.paint(window, self.playhead, self._mode, self._cursor, self.glyphs, self._detail, marked)

    def _paint_header(self) -> list[Line]:
        return self.model.header(self._width, self.scroll_offset.x, self.playhead, self.glyphs)

    def _check_looks(self) -> None:
        """Start afresh when something other than time has changed what rows look like."""
        looks = (self._width, self.scroll_offset.x, len(self.model.hosts), self.glyphs.ascii_only)
        if looks != self._painted_for:
            self._painted_for = looks
            self._forget()

    def _forget(self) -> None:
        self._lines.clear()
        self._settled.clear()
        self._header = []
        self.refresh()

    # --- size and scrolling -----------------------------------------------------------------------------------------

    @property
    def _width(self) -> int:
        return self.scrollable_content_region.width

    @property
    def _rows_shown(self) -> int:
        return max(0, self.scrollable_content_region.height - HEADER_HEIGHT)

    @property
    def _row_count(self) -> int:
        return self.model.row_count(self.playhead, self._mode, self._detail)

    @property
    def _top(self) -> int:
        return self.scroll_offset.y

    def _fit(self) -> None:
        """Make the scrollbars and the place fit the number of rows there are now."""
        rows = self._row_count
        content = self.model.content_width(self._width)
        size = Size(content if content > self._width else 0, rows + HEADER_HEIGHT)
        if size != self.virtual_size:
            if size.width == self.virtual_size.width and self.show_vertical_scrollbar:
                # The general way would lay the whole screen out again for each new row.
                self.set_reactive(Widget.virtual_size, size)
                self.vertical_scrollbar.window_virtual_size = size.height
            else:
                self.virtual_size = size
        if self._following:
            self._steer(rows)
        elif self.scroll_y > self.max_scroll_y:
            self._steer(self.max_scroll_y)

    def _steer(self, top: float) -> None:
        """Scroll to row `top` without that being taken for a person's wish."""
        self._steering = True
        try:
            self.scroll_to(y=max(0, min(top, self.max_scroll_y)), animate=False, immediate=True, force=True)
        finally:
            self._steering = False

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if not self._steering and self.is_mounted and round(old_value) != round(new_value):
            self._set_following(round(new_value) >= self.max_scroll_y)

    def _set_following(self, following: bool) -> None:
        if following != self._following:
            self._following = following
            self.post_message(self.FollowingChanged(self, following))

    def follow(self) -> None:
        """Follow the playhead again."""
        self._set_following(True)
        if self.is_mounted:
            self._fit()

    def action_follow(self) -> None:
        """Let the cursor go and follow the playhead again."""
        self._move_cursor(None)
        self.follow()

    def on_resize(self) -> None:
        self.tick(self.playhead)

    # --- painting ---------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        if y < HEADER_HEIGHT:
            if not self._header:
                self._header = self._paint_header()
            return self._strip(self._header[y], False)
        row = self._top + y - HEADER_HEIGHT
        line = self._lines.get(row)
        if line is None:
            for missing, painted in enumerate(self._paint(row, max(1, self._rows_shown - (row - self._top))), row):
                self._lines.setdefault(missing, painted)
            line = self._lines[row]
        return self._strip(line, row == self._cursor)

    def _strip(self, line: Line, chosen: bool) -> Strip:
        looks = self._own_palette if self._own_palette is not None else palette(self.app.theme)
        if looks is not self._styles_of:
            self._styles_of = looks
            self._styles.clear()
        segments = [Segment(text, self._style(looks, style, chosen)) for text, style in line]
        return Strip(segments, sum(len(text) for text, _ in line))

    def _style(self, looks: Mapping[str, Style], name: str, chosen: bool) -> Style:
        """The style `name` on the ground of this widget, or of the cursor."""
        key = (name, chosen)
        found = self._styles.get(key)
        if found is None:
            found = looks.get(name, Style.null())
            if chosen and "cursor" in looks:
                found += Style(bgcolor=looks["cursor"].bgcolor, bold=True)
            elif found.bgcolor is None:
                found = self.rich_style + found
            self._styles[key] = found
        return found

    # --- cursor -----------------------------------------------------------------------------------------------------

    def _move_cursor(self, row: int | None) -> None:
        rows = self._row_count
        if row is not None:
            row = max(0, min(rows - 1, row)) if rows else None
        for changed in (self._cursor, row):
            if changed is not None:
                self._lines.pop(changed, None)
                self._settled.discard(changed)
                self.refresh(Region(0, HEADER_HEIGHT + changed - self._top, max(1, self._width), 1))
        self._cursor = row
        if row is None:
            return
        self._set_following(row == rows - 1)
        if row < self._top:
            self._steer(row)
        elif row >= self._top + self._rows_shown:
            self._steer(row - self._rows_shown + 1)
        self.action_select()

    def action_cursor(self, rows: int) -> None:
        """Move the cursor; the first time it appears on the last row that can be seen."""
        last = min(self._row_count, self._top + self._rows_shown) - 1
        self._move_cursor(last if self._cursor is None else self._cursor + rows)

    def action_cursor_page(self, pages: int) -> None:
        self.action_cursor(pages * max(1, self._rows_shown - 1))

    def action_select(self) -> None:
        """Tell which fact the cursor's row stands for."""
        if self._cursor is not None:
            fact = self.model.fact_of_row(self._cursor, self._mode, self._detail)
            if fact is not None:
                self.post_message(self.RowSelected(self, fact))

    def action_go(self) -> None:
        """Ask for the moment of the cursor's row."""
        fact = None if self._cursor is None else self.model.fact_of_row(self._cursor, self._mode, self._detail)
        if fact is not None:
            self.post_message(self.MomentChosen(self, fact))

    def show_fact(self, fact: int) -> None:
        """Put the cursor on the row in which `fact` is to be seen, now that the playhead has come to it, and follow on."""
        self.follow()
        self._move_cursor(self.model.row_of_fact(fact, self._mode, self._detail))
        if self._cursor is not None and self._cursor + self._rows_shown >= self._row_count:
            self._set_following(True)

    def action_sideways(self, steps: int) -> None:
        self.scroll_to(x=self.scroll_offset.x + steps * _SIDEWAYS_CELLS, animate=False, immediate=True)

    def watch_scroll_x(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_x(old_value, new_value)
        if round(old_value) != round(new_value):
            self._forget()

    def action_zoom(self, steps: int) -> None:
        """Finer or coarser steps of time (to scale)."""
        if self._mode.to_scale:
            self.mode = self._scale = self._mode.zoomed(steps)

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is not None and offset.y >= HEADER_HEIGHT:
            row = self._top + offset.y - HEADER_HEIGHT
            if row < self._row_count:
                self._move_cursor(row)
                if event.chain == 2:
                    self.action_go()
