"""A table of numbers that can be scrolled with the keyboard; what stands in it is made by `tui.panels.comparison`."""

from typing import ClassVar

from textual.binding import Binding, BindingType

from tui.widgets.lines import LineView


class TableView(LineView, can_focus=True, inherit_bindings=False):
    """Takes only the keys that scroll up and down: the others belong to the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "scroll_up", show=False),
        Binding("down", "scroll_down", show=False),
        Binding("pageup", "page_up", show=False),
        Binding("pagedown", "page_down", show=False),
    ]
