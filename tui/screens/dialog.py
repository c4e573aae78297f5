"""What all dialogs have in common: they look like the screen below, and close once, however fast the keys come."""

from typing import TypeVar

from textual.screen import ModalScreen

T = TypeVar("T")


class Dialog(ModalScreen[T]):
    """`finish` may be called again while the dialog is already going."""

    _dismissed = False

    def on_mount(self) -> None:
        self.set_class(self.app.screen_stack[0].has_class("-ascii"), "-ascii")

    def finish(self, result: T | None = None) -> None:
        """Go away with `result`."""
        if not self._dismissed:
            self._dismissed = True
            self.dismiss(result)
