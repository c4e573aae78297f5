"""From what stands on the command line to the run that is meant: names and options, or a demo file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engines.lab.units import format_quantity, parse_quantity
from tui.saying import say

if TYPE_CHECKING:
    from engines.demos import Demo

_OPTIONS = {"scenario": "--scenario", "seed": "--seed", "knobs": "--set", "commands": "--at", "start-at": "--start-at"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for on the command line, unread. `what` is a pattern or a file; None was not said."""

    what: str
    scenario: str | None = None
    seed: int | None = None
    settings: Sequence[str] = ()
    orders: Sequence[tuple[str, str]] = ()
    start_at: str | None = None

    @property
    def says_more(self) -> str | None:
        """The first option that says what a demo file says itself."""
        said = (self.scenario is not None, self.seed is not None, bool(self.settings), bool(self.orders))
        return next((option for option, given in zip(_OPTIONS.values(), said, strict=False) if given), None)


def names_a_file(text: str) -> bool:
    """Whether this means a demo file: no pattern has a dot or a slash in its name."""
    return text.endswith(".toml") or "/" in text or "\\" in text


def find_demo(wanted: Wanted) -> "Demo":
    """The run that is meant. Raises click.UsageError in one line."""
    from engines.demos import DemoError, make_demo

    if names_a_file(wanted.what):
        return _from_file(wanted)
    start_at_s = 0.0 if wanted.start_at is None else read_seconds("--start-at", wanted.start_at)
    settings = [read_setting(text) for text in wanted.settings]
    orders = [(read_seconds("--at", time), text) for time, text in wanted.orders]
    try:
        return make_demo(
            wanted.what, wanted.scenario, seed=wanted.seed or 0, settings=settings, orders=orders, start_at_s=start_at_s
        )
    except DemoError as error:
        option = _OPTIONS[error.part] + ": " if error.part in ("knobs", "commands") else ""
        raise click.UsageError(f"{option}{error}") from None


def _from_file(wanted: Wanted) -> "Demo":
    from dataclasses import replace

    from engines.demos import DemoFileError, read_demo

    if wanted.says_more is not None:
        raise click.UsageError(
            f"{wanted.says_more} is what {wanted.what} says itself: edit the file, or name a pattern instead"
        )
    try:
        demo = read_demo(Path(wanted.what).read_text(encoding="utf-8"))
    except OSError as error:
        raise click.UsageError(f"cannot read {wanted.what}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"cannot read {wanted.what}: it is not text in UTF-8") from None
    except DemoFileError as error:
        raise click.UsageError(f"{wanted.what}, {error}") from None
    if wanted.start_at is None:
        return demo
    return replace(demo, start_at_s=read_seconds("--start-at", wanted.start_at))


def save(wanted: Wanted, path: str, *, force: bool) -> int:
    """Write the run that is meant to a demo file. Raises click.UsageError in one line."""
    from engines.demos import SUFFIX, demo_file

    demo = find_demo(wanted)
    target = Path(path)
    if target.suffix != SUFFIX:
        raise click.UsageError(f"a demo's file ends in {SUFFIX}: {target.name}{SUFFIX}, for example")
    if target.exists() and not force:
        raise click.UsageError(f"{path} is there already; --force writes over it")
    try:
        target.write_text(demo_file(demo), encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"cannot write {path}: {error.strerror}") from None
    say(f"commtui {path}")
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
    if seconds == float("inf"):
        raise click.UsageError(f"{option} {text!r}: a run must stop somewhere")
    return seconds


def warn_of_late_orders(demo: "Demo", until_s: float) -> None:
    """Say which commands come after the run has stopped."""
    for order in demo.commands:
        if order.time_s > until_s:
            stops = format_quantity(until_s, "s")
            say(
                f"commtui: warning: the run stops at {stops}, before {str(order.command)!r} at {order.time_s:g} s",
                err=True,
            )
