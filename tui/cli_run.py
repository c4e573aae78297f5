"""`commtui run`: one scenario, flat out, through the same Session that the app uses; results to stdout, complaints to
stderr.
"""

import inspect
from dataclasses import dataclass
from pathlib import Path

import click

from engines.lab import commands as language
from tui.cli_demo import Wanted, find_demo, names_a_file, read_seconds, warn_of_late_orders
from tui.saying import say

EXAMPLES = """\
    commtui run request-response --text
    commtui run request-response --set latency=200ms --set loss=5% --json
    commtui run request-response --at 2 "kill server" --at 4 "restart server" --until 10
    commtui run request-response --at 500ms "drop next response" --seed 7 --trace run.jsonl
"""


@dataclass(frozen=True, slots=True)
class Report:
    """What is to come of a run. `until` is unread; `form` is "json", "text" or "numbers"."""

    until: str | None
    form: str
    trace_path: str | None


def command_language() -> str:
    """The commands as their own module describes them: the indented part of its first lines."""
    text = inspect.getdoc(language) or ""
    return "\n".join(line for line in text.splitlines() if line.startswith("    "))


def run(wanted: Wanted, report: Report) -> int:
    """Run it and print what was asked for. Returns 1 when the pattern failed. Raises click.UsageError in one line."""
    # These import the protocol libraries, which `run --help` should not wait for.
    from engines.export.summary import Run, summary_json, summary_text
    from engines.export.transcript import transcript
    from engines.lab.session import SessionState, run_headless
    from engines.lab.trace_file import write_trace

    demo = find_demo(wanted)
    until_s = demo.lesson.until_s if report.until is None else read_seconds("--until", report.until)
    if report.until is None and names_a_file(wanted.what):  # a demo is played to where it was saved
        until_s = max(until_s, demo.start_at_s, *(order.time_s for order in demo.commands))
    warn_of_late_orders(demo, until_s)
    if report.trace_path is not None:
        _check_writable(report.trace_path)

    session = run_headless(
        demo.lesson, name=demo.name, seed=demo.seed, knobs=demo.knobs, commands=demo.commands, until_s=until_s
    )

    trace, status = session.trace, session.status
    if report.trace_path is not None:
        try:
            with open(report.trace_path, "wb") as file:
                write_trace(trace, file)
        except OSError as error:
            raise click.ClickException(f"cannot write {report.trace_path}: {error.strerror}") from None
    failed = status.state is SessionState.FAILED
    ended = bool(status.message) or failed
    result = Run(
        pattern=demo.pattern.name,
        scenario=demo.lesson.name,
        seed=demo.seed,
        knobs={**{knob.name: knob.default for knob in demo.lesson.all_knobs()}, **demo.knobs},
        commands=session.commands,
        end_s=trace.time[len(trace) - 1] if ended and len(trace) else until_s,
        state="failed" if failed else "ended" if ended else "stopped",
        message=status.message,
    )
    if report.form == "text":
        for line in transcript(trace):
            say(line)
    elif report.form == "json":
        say(summary_json(result, trace, demo.lesson.all_knobs(), demo.lesson.metrics))
    else:
        say(summary_text(result, trace, demo.lesson.metrics))
    if failed:
        _say(" ".join(status.message.split()))
        return 1
    return 0


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
