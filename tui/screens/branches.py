"""The dialog with the branches of a run: show another one, put two side by side, take one away."""

from dataclasses import dataclass

from textual import events
from textual.app import ComposeResult

from tui.branches import Branch
from tui.panels.branches import BranchRow, branch_lines
from tui.panels.lines import Span, line
from tui.runs import Run
from tui.screens.dialog import Dialog
from tui.timelines import Timelines
from tui.widgets.lines import LineView

HINT = "enter shows it, v puts it beside the one shown, del removes it"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person wants of `branch`: to see it, or to see it beside `beside`."""

    branch: Branch[Run]
    beside: Branch[Run] | None = None


class BranchesScreen(Dialog[Wish]):
    """Takes branches away by itself; returns what else is wished for, or None."""

    def __init__(self, timelines: Timelines) -> None:
        super().__init__()
        self._timelines = timelines
        self._says = ""
        self._cursor = next(n for n, (_, b) in enumerate(timelines.tree.listed()) if b is timelines.tree.current)

    def compose(self) -> ComposeResult:
        yield LineView(classes="dialog panel branches")

    @property
    def _list(self) -> LineView:
        return self.query_one(LineView)

    def on_mount(self) -> None:
        self._list.border_title = "branches"
        self._list.focus()
        self.call_after_refresh(self._draw)

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        view, tree = self._list, self._timelines.tree
        rows = [
            BranchRow(b.number, b.name, depth, b.item.session.status.now_s, b is tree.current)
            for depth, b in tree.listed()
        ]
        says = line(Span(f" {self._says or HINT}", "notice" if self._says else "muted"))
        view.show([*branch_lines(rows, self._cursor, view.room.width, view.glyphs), (), says])
        top, height = view.scroll_offset.y, view.room.height
        if height and not top <= self._cursor < top + height:
            view.scroll_to(y=max(0, self._cursor if self._cursor < top else self._cursor - height + 1), animate=False)

    def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        self._says = ""
        branches = [branch for _, branch in self._timelines.tree.listed()]
        branch = branches[self._cursor]
        match event.key:
            case "up" | "down" | "home" | "end":
                moved = {"up": self._cursor - 1, "down": self._cursor + 1, "home": 0, "end": len(branches)}[event.key]
                self._cursor = max(0, min(len(branches) - 1, moved))
            case "enter":
                self.finish(Wish(branch))
            case "v" | "V":
                self._put_beside(branch)
            case "delete" | "backspace":
                self._take_away(branch)
            case "escape" | "B":
                self.finish()
                return
        self._draw()

    def _put_beside(self, branch: Branch[Run]) -> None:
        """Beside the one that is shown; that one itself, beside what it grew out of."""
        shown = self._timelines.tree.current
        beside = shown if branch is not shown else branch.parent
        if beside is None:
            self._says = "two are needed: choose a branch to put beside the run"
        else:
            self.finish(Wish(branch, beside))

    def _take_away(self, branch: Branch[Run]) -> None:
        try:
            self._timelines.remove(branch)
        except ValueError as refusal:
            self._says = str(refusal)
        else:
            self._says = f"branch {branch.number} is gone"
            self._cursor = min(self._cursor, len(self._timelines.tree) - 1)

    def on_click(self, event: events.Click) -> None:
        if event.widget is self:
            self.finish()
            return
        offset = event.get_content_offset(self._list)
        row = offset.y + self._list.scroll_offset.y if offset is not None else -1
        branches = [branch for _, branch in self._timelines.tree.listed()]
        if 0 <= row < len(branches):
            self.finish(Wish(branches[row]))
