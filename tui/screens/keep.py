"""Keeping a run: as a demo file, and as a command line that can be pasted into a shell."""

from pathlib import Path

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from engines.demos import SUFFIX, Demo, command_line, demo_file
from tui.panels.lines import Line, Span, line, wrap
from tui.screens.dialog import Dialog
from tui.widgets.lines import LineView

HINT = "enter writes the file, esc goes back"


class CannotKeepError(ValueError):
    """The file cannot be written; the message is one line for people."""


def free_name(demo: Demo, folder: Path) -> str:
    """A name for the demo's file that no file in `folder` has yet."""
    stem = f"{demo.pattern.name}-{demo.lesson.name}"
    names = (f"{stem}{f'-{number}' if number > 1 else ''}{SUFFIX}" for number in range(1, 10_000))
    return next(name for name in names if not (folder / name).exists())


def keep(demo: Demo, name: str) -> Path:
    """Write the demo to file `name`, with its suffix if it lacks it. Never writes over anything. Raises CannotKeepError."""
    path = Path(name.strip()).expanduser()
    if not path.name:
        raise CannotKeepError("a file needs a name")
    if path.suffix != SUFFIX:
        path = path.with_name(path.name + SUFFIX)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(demo_file(demo))
    except FileExistsError:
        raise CannotKeepError(f"{path} is there already: choose another name") from None
    except OSError as error:
        raise CannotKeepError(f"cannot write {path}: {error.strerror}") from None
    return path


class KeepScreen(Dialog[Path]):
    """Asks for a file's name and shows the command line; returns the file that was written, or None."""

    def __init__(self, demo: Demo) -> None:
        super().__init__()
        self._demo = demo
        self._complaint = ""

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog panel keep") as dialog:
            dialog.border_title = "keep this run"
            dialog.border_subtitle = HINT
            yield Input(free_name(self._demo, Path.cwd()), select_on_focus=False)
            yield LineView()

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(Input).focus()
        self.query_one(LineView).can_focus = False
        self.app.copy_to_clipboard(command_line(self._demo))
        self.call_after_refresh(self._draw)

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        view = self.query_one(LineView)
        view.show(keep_lines(self._demo, self._complaint, view.room.width))

    def on_input_changed(self) -> None:
        self._complaint = ""
        self._draw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        try:
            self.finish(keep(self._demo, event.value))
        except CannotKeepError as error:
            self._complaint = str(error)
            self._draw()

    def on_key(self, event: events.Key) -> None:
        if event.key == "escape":
            event.stop()
            self.finish()


def keep_lines(demo: Demo, complaint: str, width: int) -> list[Line]:
    """What the dialog says below the name: what is wrong with it, what the file plays, and the command line."""
    orders = f"{len(demo.commands)} command{'' if len(demo.commands) == 1 else 's'}"
    start = f", watched from {demo.start_at_s:.3f} s on" if demo.start_at_s else ""
    about = f"{demo.pattern.title}: {demo.lesson.title}, seed {demo.seed}, {orders}{start}"
    return [
        *(wrap(complaint, width, "error") if complaint else [line()]),
        *wrap(about, width),
        line(),
        line(Span("The same as a command line (copied, if the terminal allows it):", "muted")),
        *wrap(f"$ {command_line(demo)}", width, "response", indent="    "),
    ]
