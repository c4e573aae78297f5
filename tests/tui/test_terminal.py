"""On a real pty: whatever ends the app, the terminal is as it was. These are the only tests here that wait for real time."""

import io
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tui.terminal import Verdict, examine_terminal, failure_line, log_failure

ROOT = Path(__file__).parents[2]


class _Stream(io.StringIO):
    def __init__(self, tty: bool, encoding: str) -> None:
        super().__init__()
        self._tty, self._encoding = tty, encoding

    def isatty(self) -> bool:
        return self._tty

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding


def _verdict(term: str = "xterm-256color", tty: bool = True, encoding: str = "utf-8") -> Verdict:
    return examine_terminal({"TERM": term}, _Stream(tty, encoding), _Stream(tty, encoding))


def test_the_terminal_is_examined_first() -> None:
    assert _verdict() == Verdict()
    assert "TERM=dumb" in _verdict(term="dumb").refusal
    assert "--text" in _verdict(tty=False).refusal
    assert _verdict(encoding="ANSI_X3.4-1968").ascii
    assert _verdict(encoding="latin-1").ascii
    assert not _verdict(encoding="UTF8").ascii


def test_a_failure_is_one_line_and_a_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        path = log_failure(error)
        line = failure_line(error, path)
    assert "two lines (ValueError)" in line
    assert str(path) in line
    assert "Traceback" in path.read_text(encoding="utf-8")


class OnPty:
    """The app in a process of its own on a pty."""

    def __init__(self, tmp_path: Path, *arguments: str, **environment: str) -> None:
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.master, (36, 120))
        self.before = termios.tcgetattr(self.slave)
        self.output = b""
        env = {
            **os.environ,
            "TERM": "xterm-256color",
            "XDG_STATE_HOME": str(tmp_path),
            "LANG": "C.UTF-8",
            **environment,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.tui.pty_app", *arguments],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            cwd=ROOT,
            env=env,
            start_new_session=True,
        )

    def read_until(self, wanted: bytes, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while wanted not in self.output:
            assert time.monotonic() < deadline, self.output[-2000:]
            ready, _, _ = select.select([self.master], [], [], 0.2)
            if ready:
                self.output += os.read(self.master, 65536)

    def wait(self) -> int:
        while self.process.poll() is None:
            ready, _, _ = select.select([self.master], [], [], 0.1)
            if ready:
                self.output += os.read(self.master, 65536)
        while select.select([self.master], [], [], 0.05)[0]:
            self.output += os.read(self.master, 65536)
        return self.process.returncode

    def assert_restored(self) -> None:
        assert termios.tcgetattr(self.slave) == self.before
        for on, off in ((b"?1049h", b"?1049l"), (b"?25l", b"?25h"), (b"?1003h", b"?1003l"), (b"?2004h", b"?2004l")):
            assert self.output.rfind(b"\x1b[" + off) > self.output.rfind(b"\x1b[" + on), off


@contextmanager
def on_pty(tmp_path: Path, *arguments: str, **environment: str) -> Iterator[OnPty]:
    app = OnPty(tmp_path, *arguments, **environment)
    try:
        yield app
    finally:
        if app.process.poll() is None:
            app.process.kill()
            app.process.wait()
        os.close(app.master)
        os.close(app.slave)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_signals_restore_the_terminal(tmp_path: Path, number: signal.Signals) -> None:
    with on_pty(tmp_path) as app:
        app.read_until(b"LIVE")
        app.process.send_signal(number)
        assert app.wait() == 128 + number
        app.assert_restored()


def test_quitting_restores_the_terminal_and_ctrl_c_does_not_quit(tmp_path: Path) -> None:
    with on_pty(tmp_path) as app:
        app.read_until(b"LIVE")
        os.write(app.master, b"\x03")
        app.read_until(b"does not quit")
        os.write(app.master, b"q")
        assert app.wait() == 0
        app.assert_restored()


def test_an_error_of_our_own_is_a_line_and_a_log(tmp_path: Path) -> None:
    with on_pty(tmp_path, "break") as app:
        assert app.wait() == 1
        app.assert_restored()
        text = app.output.decode(errors="replace").replace("\r\n", "")
        assert "commtui stopped: the app broke on purpose (ZeroDivisionError)" in text
        assert "Traceback" not in text
        logs = list(tmp_path.rglob("commtui.log"))
        assert len(logs) == 1
        assert "ZeroDivisionError" in logs[0].read_text(encoding="utf-8")


def test_without_colour_there_are_no_colours(tmp_path: Path) -> None:
    with on_pty(tmp_path, NO_COLOR="1") as app:
        app.read_until(b"LIVE")
        os.write(app.master, b"q")
        app.wait()
        colours = {code for code in app.output.split(b"\x1b[") if code.startswith((b"38;2;", b"48;2;"))}
        for code in colours:
            red, green, blue = code.split(b"m")[0].split(b";")[2:5]
            assert red == green == blue, code
