"""A small program for the terminal tests: the app with the fake laboratory, on whatever terminal it is started on."""

import sys

from tests.tui.fake_lab import FakeLab
from tui.app import CommtuiApp, run_on_terminal


class Breaking(CommtuiApp):
    """Raises an error of its own shortly after the start."""

    def on_mount(self) -> None:
        super().on_mount()
        self.set_timer(0.1, self._break)

    def _break(self) -> None:
        raise ZeroDivisionError("the app broke on purpose")


if __name__ == "__main__":
    kind = Breaking if sys.argv[1:] == ["break"] else CommtuiApp
    sys.exit(run_on_terminal(kind(load=FakeLab().load)))
