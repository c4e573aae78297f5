"""`commtui run`: one scenario, flat out, through the same Session that the app uses; results to stdout, complaints to
stderr.
"""

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from engines.lab import commands as language
from engines.lab.commands import CommandError, TimedCommand, check_command, parse_command
from engines.lab.knobs import KnobBoard
from engines.lab.units import format_quantity, parse_quantity
from tui.saying import say

EXAMPLES = """\
    commtui run request-response --text
    commtui run request-response --set latency=200ms --set loss=5% --json
    commtui run request-response --at 2 "kill server" --at 4 "restart server" --until 10
    commtui run request-response --at 500ms "drop next response" --seed 7 --trace run.jsonl
"""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for on the command line, unread. `form` is "json", "text" or "numbers"."""

    pattern: str
    scenario: str | None
    seed: int
    settings: Sequence[str]
    orders: Sequence[tuple[str, str]]
    until: str | None
    form: str
    trace_path: str | None


def command_language() -> str:
    """The commands as their own module describes them: the indented part of its first lines."""
    text = inspect.getdoc(language) or ""
    return "\n".join(line for line in text.splitlines() if line.startswith("    "))


def run(request: Request) -> int:
    """Run it and print what was asked for. Returns 1 when the pattern failed. Raises click.UsageError in one line."""
    # These import the protocol libraries, which `run --help` should not wait for.
    from engines.export.summary import Run, summary_json, summary_text
    from engines.export.transcript import transcript
    from engines.lab.session import SessionState, run_headless
    from engines.lab.trace_file import write_trace
    from engines.patterns.registry import UnknownName, find_lesson, find_pattern

    try:
        pattern = find_pattern(request.pattern)
        lesson = find_lesson(pattern, request.scenario)
    except UnknownName as error:
        raise click.UsageError(str(error)) from None
    board = KnobBoard(lesson.all_knobs())
    settings = [read_setting(text) for text in request.settings]
    try:
        knobs = {name: board.find(name).parse(text) for name, text in settings}
    except ValueError as error:
        raise click.UsageError(f"--set: {error}") from None
    until_s = lesson.until_s if request.until is None else read_seconds("--until", request.until)
    orders = sorted((_read_order(*order) for order in request.orders), key=lambda order: order.time_s)
    for order in orders:
        try:
            check_command(order.command, [host.name for host in lesson.hosts], board)
        except CommandError as error:
            raise click.UsageError(f"--at: {error}") from None
        if order.time_s > until_s:
            stops = format_quantity(until_s, "s")
            _say(f"warning: the run stops at {stops}, before {str(order.command)!r} at {order.time_s:g} s")
    if request.trace_path is not None:
        _check_writable(request.trace_path)

    session = run_headless(
        lesson, name=f"{pattern.name}/{lesson.name}", seed=request.seed, knobs=knobs, commands=orders, until_s=until_s
    )

    trace, status = session.trace, session.status
    if request.trace_path is not None:
        try:
            with open(request.trace_path, "wb") as file:
                write_trace(trace, file)
        except OSError as error:
            raise click.ClickException(f"cannot write {request.trace_path}: {error.strerror}") from None
    failed = status.state is SessionState.FAILED
    ended = bool(status.message) or failed
    result = Run(
        pattern=pattern.name,
        scenario=lesson.name,
        seed=request.seed,
        knobs={**board, **knobs},
        commands=session.commands,
        end_s=trace.time[len(trace) - 1] if ended and len(trace) else until_s,
        state="failed" if failed else "ended" if ended else "stopped",
        message=status.message,
    )
    if request.form == "text":
        for line in transcript(trace):
            say(line)
    elif request.form == "json":
        say(summary_json(result, trace, lesson.all_knobs(), lesson.metrics))
    else:
        say(summary_text(result, trace, lesson.metrics))
    if failed:
        _say(" ".join(status.message.split()))
        return 1
    return 0


def read_setting(text: str) -> tuple[str, str]:
    """The name and the value of KNOB=VALUE. Raises click.UsageError."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise click.UsageError(f"--set {text!r}: write KNOB=VALUE, such as latency=80ms")
    return name.strip(), value.strip()


def read_seconds(option: str, text: str) -> float:
    """A point in virtual time, from 0 on; a bare number is in seconds."""
    try:
        seconds = parse_quantity(text, "s")
    except ValueError:
        raise click.UsageError(f"{option} {text!r}: write seconds, such as 2 or 500ms") from None
    if seconds < 0:
        raise click.UsageError(f"{option} {text!r}: a run begins at 0 s")
    if math.isinf(seconds):
        raise click.UsageError(f"{option} {text!r}: a run must stop somewhere")
    return seconds


def _read_order(time: str, command: str) -> TimedCommand:
    seconds = read_seconds("--at", time)
    try:
        return TimedCommand(seconds, parse_command(command))
    except CommandError as error:
        raise click.UsageError(f"--at: {error}") from None


def _check_writable(path: str) -> None:
    """Better now than after a long run. Does not touch what is there."""
    existed = Path(path).exists()
    try:
        with open(path, "ab"):
            pass
    except OSError as error:
        raise click.UsageError(f"cannot write {path}: {error.strerror}") from None
    if not existed:
        Path(path).unlink()


def _say(message: str) -> None:
    say(f"commtui: {message}", err=True)
