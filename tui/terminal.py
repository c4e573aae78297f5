"""The terminal before and after the app: can it show us, and is it left as it was found, whatever ends us?"""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Timer
from types import FrameType
from typing import TextIO

from platformdirs import user_log_dir

SMALLEST = (60, 18)
"""Columns and rows below which nothing sensible fits."""

RESTORE = "\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?2004l\x1b[?1004l\x1b[<u\x1b[?7h\x1b[?1049l\x1b[?25h\x1b[0m"
"""Mouse, paste and focus reports off, kitty keys off, line wrap on, main screen, cursor shown, plain text."""

LAST_RESORT_S = 3.0
"""How long an orderly exit may take after a signal before the terminal is restored the hard way."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`refusal` is why the app cannot run here ("" if it can); `ascii` is true where only plain ASCII can be shown."""

    refusal: str = ""
    ascii: bool = False


def examine_terminal(environ: Mapping[str, str], stdin: TextIO, stdout: TextIO) -> Verdict:
    """Whether the app can run on these streams."""
    if environ.get("TERM", "") in ("dumb", "unknown"):
        return Verdict(
            "this terminal (TERM=dumb) cannot place text; use `commtui run … --text`, or set TERM=xterm-256color"
        )
    if not (stdin.isatty() and stdout.isatty()):
        return Verdict("the app needs a terminal for input and output; use `commtui run … --text` in a pipe")
    encoding = (getattr(stdout, "encoding", "") or "").lower().replace("-", "").replace("_", "")
    return Verdict(ascii=not encoding.startswith("utf"))


def log_failure(error: BaseException) -> Path:
    """Append the traceback of `error` to the log file and return the file's path."""
    path = Path(user_log_dir("commtui", appauthor=False)) / "commtui.log"
    text = "".join(traceback.format_exception(error))
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as log:
            log.write(f"--- {datetime.now().isoformat(timespec='seconds')}\n{text}\n")
    return path


def failure_line(error: BaseException, path: Path) -> str:
    """One readable line about an error of our own."""
    what = " ".join(str(error).split()) or type(error).__name__
    return f"commtui stopped: {what[:200]} ({type(error).__name__}). The details are in {path}"


Handler = Callable[[int, FrameType | None], object] | int | None


def _ending_signals() -> list[signal.Signals]:
    names = ("SIGTERM", "SIGHUP", "SIGQUIT")
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


@contextmanager
def restored(leave: Callable[[int], None]) -> Iterator[None]:
    """While the app runs: call `leave(signal number)` on SIGTERM, SIGHUP and SIGQUIT, and see that the terminal is restored.

    `leave` must end the app in order. A second signal, or LAST_RESORT_S without an end, restores the terminal at once and
    exits with 128 + the signal's number, as the shell would report it.
    """
    attributes = _terminal_attributes()
    timers: list[Timer] = []

    def hard_exit(number: int) -> None:
        restore_terminal(attributes)
        os._exit(128 + number)

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if timers:
            hard_exit(number)
        timer = Timer(LAST_RESORT_S, hard_exit, (number,))
        timer.daemon = True
        timers.append(timer)
        timer.start()
        leave(number)

    before: dict[signal.Signals, Handler] = {}
    for each in _ending_signals():
        with suppress(ValueError):  # not in the main thread: whoever runs us there looks after signals
            before[each] = signal.signal(each, on_signal)
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
        for each, handler in before.items():
            signal.signal(each, handler)


def _terminal_attributes() -> list[object] | None:
    try:
        import termios

        return list(termios.tcgetattr(sys.__stdin__.fileno())) if sys.__stdin__ else None
    except (ImportError, OSError, ValueError):
        return None
    except Exception as error:  # termios.error is no OSError
        if type(error).__name__ == "error":
            return None
        raise


def restore_terminal(attributes: list[object] | None) -> None:
    """Put the terminal back by hand, past whatever is stuck. Safe to call at any time, twice as well."""
    with suppress(Exception):
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, RESTORE.encode())
    if attributes is not None and sys.__stdin__ is not None:
        with suppress(Exception):
            import termios

            termios.tcsetattr(sys.__stdin__.fileno(), termios.TCSANOW, attributes)  # type: ignore[arg-type]
