"""The least that a Textual app can be: the reference for the time that ours takes to start."""

from textual.app import App, ComposeResult
from textual.widgets import Static


class BareApp(App[None]):
    def compose(self) -> ComposeResult:
        yield Static("here")


if __name__ == "__main__":
    BareApp().run()
