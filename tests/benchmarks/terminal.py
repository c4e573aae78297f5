"""A program on a pseudo terminal: what it has written, when, and keys for it."""

import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
SIZE = (36, 120)
_ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[P_^X][^\x1b]*\x1b\\|[ -/]*[0-~])")
SCREEN = b"\x1b[?1049h"
"""From here on a program draws on the alternate screen."""


class Terminal:
    """The master's side of a pty with a Python program on it."""

    def __init__(self, master: int, process: subprocess.Popen[bytes], began: float) -> None:
        self.began = began
        self._master = master
        self._process = process
        self._output = b""

    def press(self, key: bytes) -> float:
        """Type; returns the real time just before."""
        now = time.perf_counter()
        os.write(self._master, key)
        return now

    def read_for(self, seconds: float) -> None:
        """Take what the program writes, so that it is never held up."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            self._read(left)

    def forget(self) -> None:
        """What was written so far does not count."""
        self._output = b""

    def wait_for(self, seen: Callable[[bytes], bool], timeout_s: float = 60.0) -> float:
        """Read until `seen` is true of the bytes written since `forget`; returns the real time when it became so."""
        end = time.perf_counter() + timeout_s
        while not seen(self._output):
            if time.perf_counter() > end:
                raise TimeoutError(f"nothing of the kind within {timeout_s:g} s: {self._output[-500:]!r}")
            self._read(0.5)
        return time.perf_counter()

    def processor_s(self) -> tuple[float, float]:
        """Seconds that the program's threads have run, and that they were ready to run and got no core (Linux: schedstat)."""
        tasks = Path(f"/proc/{self._process.pid}/task").glob("*/schedstat")
        ran, waited, _ = zip(*(map(int, task.read_text().split()) for task in tasks), strict=True)
        return sum(ran) / 1e9, sum(waited) / 1e9

    def wait_for_end(self) -> None:
        """Read until the program is gone."""
        while self._process.poll() is None:
            self._read(0.1)

    def _read(self, timeout_s: float) -> None:
        if select.select([self._master], [], [], timeout_s)[0]:
            with suppress(OSError):  # EIO: nobody is on the other side any more
                self._output += os.read(self._master, 65_536)


@contextmanager
def on_terminal(*arguments: str) -> Iterator[Terminal]:
    """`python *arguments` on a pty of its own, with nobody's configuration; killed in the end if it is still there."""
    with tempfile.TemporaryDirectory() as home:
        master, slave = pty.openpty()
        termios.tcsetwinsize(slave, SIZE)
        environment = {
            **os.environ,
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "LANG": "C.UTF-8",
            "XDG_CONFIG_HOME": home,
            "XDG_STATE_HOME": home,
        }
        environment.pop("NO_COLOR", None)
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        try:
            yield Terminal(master, process, began)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            os.close(master)


def drawn(output: bytes) -> str:
    """The characters on the alternate screen in the order of their writing, without escape sequences."""
    _, _, screen = output.partition(SCREEN)
    return _ESCAPES.sub(b"", screen).decode(errors="ignore")


def has_contents(output: bytes) -> bool:
    """Whether anything but blanks has been drawn on the alternate screen."""
    return not drawn(output).isspace() and drawn(output) != ""
