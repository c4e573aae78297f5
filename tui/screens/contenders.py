"""The dialog in which a person chooses a workload and the patterns that take part in its comparison."""

from collections.abc import Sequence

from textual import events
from textual.app import ComposeResult

from engines.comparison import Contender, workloads
from engines.patterns.contract import Pattern
from tui.panels.choosing import Choosing, Offer, choosing_lines
from tui.panels.lines import Span, line
from tui.screens.dialog import Dialog
from tui.widgets.lines import LineView

FEWEST = 2
HINT = "space takes in or leaves out, enter compares, esc goes back"


def contender_picker(patterns: Sequence[Pattern], at: str) -> "ContenderPicker | None":
    """A picker over the workloads that several of `patterns` do, with the cursor on workload `at` if it is one of them;
    None when there is nothing to compare."""
    offers = [group for group in workloads(patterns).values() if len(group) >= FEWEST]
    return ContenderPicker(offers, at) if offers else None


class ContenderPicker(Dialog[tuple[Contender, ...]]):
    """Returns those who take part, in the order of their tabs, or None."""

    def __init__(self, offers: Sequence[tuple[Contender, ...]], at: str) -> None:
        super().__init__()
        self._offers = list(offers)
        self._says = ""
        self.choosing = Choosing(
            tuple(
                Offer(group[0].lesson.workload, tuple((c.pattern.title, c.lesson.title) for c in group))
                for group in offers
            )
        ).on_workload(at)

    def compose(self) -> ComposeResult:
        yield LineView(classes="dialog panel contenders")

    @property
    def _list(self) -> LineView:
        return self.query_one(LineView)

    def on_mount(self) -> None:
        super().on_mount()
        self._list.border_title = "compare"
        self._list.focus()
        self.call_after_refresh(self._draw)

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        view = self._list
        says = line(Span(f" {self._says or HINT}", "notice" if self._says else "muted"))
        view.show([*choosing_lines(self.choosing, view.room.width, view.glyphs), (), says])
        top, height, row = view.scroll_offset.y, view.room.height, self.choosing.row
        if height and not top <= row < top + height:
            view.scroll_to(y=row if row < top else row - height + 1, animate=False)

    def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        self._says = ""
        match event.key:
            case "up" | "down":
                self.choosing = self.choosing.moved(1 if event.key == "down" else -1)
            case "space":
                self.choosing = self.choosing.toggled()
            case "enter":
                self._compare()
            case "escape":
                self.finish()
                return
        self._draw()

    def _compare(self) -> None:
        group = self._offers[self.choosing.offer]
        chosen = tuple(group[place] for place in self.choosing.taking_part())
        if len(chosen) < FEWEST:
            self._says = "take in two at least"
        else:
            self.finish(chosen)

    def on_click(self, event: events.Click) -> None:
        if event.widget is self:
            self.finish()
            return
        offset = event.get_content_offset(self._list)
        row = offset.y + self._list.scroll_offset.y if offset is not None else -1
        if 0 <= row < len(self.choosing.rows):
            self.choosing = self.choosing.at(row).toggled()
            self._draw()
