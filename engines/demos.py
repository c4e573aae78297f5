"""A demo: everything that makes a run, checked against the scenario, with two text forms: a small file, and a command line.

    # commtui FILE plays this, commtui run FILE prints what it comes to
    commtui = 1
    pattern = "long-polling"
    scenario = "proxy"
    seed = 7
    start-at = 12.5

    [knobs]
    latency = "200 ms"

    [[commands]]
    at = 3.2
    do = "kill server"

`pattern` is all that must be there. Reading trusts nothing: whatever is wrong is said with its line and a reason.
"""

import json
import math
import re
import shlex
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

from engines.lab.commands import CommandError, TimedCommand, check_command, parse_command
from engines.lab.knobs import Knob, KnobBoard, Number, Value
from engines.patterns.contract import Lesson, Pattern
from engines.patterns.registry import UnknownName, find_lesson, find_pattern

FORMAT = 1
SUFFIX = ".toml"

_FIELDS = ("commtui", "pattern", "scenario", "seed", "start-at", "knobs", "commands")


class DemoError(ValueError):
    """This makes no run. The message is one line for people; `part` and `place` say which piece of it is wrong.

    `part` is "pattern", "scenario", "seed", "start-at", "knobs" or "commands"; `place` is a knob's name or a command's number.
    """

    def __init__(self, reason: str, part: str, place: str | int | None = None) -> None:
        super().__init__(reason)
        self.part = part
        self.place = place


class DemoFileError(ValueError):
    """The file cannot be used; the message is one line for people that names the line of the file."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Demo:
    """A run to be: `knobs` are its starting values other than the defaults, `commands` are given at their times. `start_at_s`
    is the virtual time from which it is worth watching."""

    pattern: Pattern
    lesson: Lesson
    seed: int = 0
    knobs: Mapping[str, Value] = field(default_factory=dict)
    commands: tuple[TimedCommand, ...] = ()
    start_at_s: float = 0.0

    @property
    def name(self) -> str:
        """The run's name, as in a trace: "pattern/scenario"."""
        return f"{self.pattern.name}/{self.lesson.name}"


def make_demo(
    pattern: str,
    scenario: str | None = None,
    *,
    seed: int = 0,
    settings: Iterable[tuple[str, str]] = (),
    orders: Iterable[tuple[float, str]] = (),
    start_at_s: float = 0.0,
) -> Demo:
    """The demo that names and texts describe; `settings` are knobs and values, `orders` virtual times and commands.

    Raises DemoError.
    """
    try:
        found = find_pattern(pattern)
    except UnknownName as error:
        raise DemoError(str(error), "pattern") from None
    try:
        lesson = find_lesson(found, scenario)
    except UnknownName as error:
        raise DemoError(str(error), "scenario") from None
    board = KnobBoard(lesson.all_knobs())
    knobs: dict[str, Value] = {}
    for name, text in settings:
        try:
            knobs[name] = board.find(name).parse(text)
        except ValueError as error:
            raise DemoError(str(error), "knobs", name) from None
    hosts = [host.name for host in lesson.hosts]
    commands = [_command(number, *order, hosts, board) for number, order in enumerate(orders)]
    commands.sort(key=lambda timed: timed.time_s)
    return Demo(found, lesson, seed, knobs, tuple(commands), start_at_s)


def _command(number: int, time_s: float, text: str, hosts: Sequence[str], board: KnobBoard) -> TimedCommand:
    if not 0 <= time_s < math.inf:
        raise DemoError(f"a command is given at some time from 0 s on, not at {time_s:g}", "commands", number)
    try:
        command = parse_command(text)
        check_command(command, hosts, board)
    except CommandError as error:
        raise DemoError(str(error), "commands", number) from None
    return TimedCommand(time_s, command)


# --- as a command line --------------------------------------------------------------------------------------------------


def command_line(demo: Demo) -> str:
    """What opens the app on this demo when it is pasted into a POSIX shell."""
    words = ["commtui", demo.pattern.name]
    if demo.lesson is not demo.pattern.lessons[0]:
        words += ["--scenario", demo.lesson.name]
    if demo.seed:
        words += ["--seed", str(demo.seed)]
    for name, text in _settings(demo):
        words += ["--set", f"{name}={text}"]
    for timed in demo.commands:
        words += ["--at", _seconds(timed.time_s), str(timed.command)]
    if demo.start_at_s:
        words += ["--start-at", _seconds(demo.start_at_s)]
    return shlex.join(words)


def _seconds(time_s: float) -> str:
    return repr(float(time_s)).removesuffix(".0")


def _settings(demo: Demo) -> list[tuple[str, str]]:
    knobs = {knob.name: knob for knob in demo.lesson.all_knobs()}
    return [(name, _exactly(knobs[name], value)) for name, value in demo.knobs.items()]


def _exactly(knob: Knob, value: Value) -> str:
    """`value` in words that `knob` reads as just that value: the usual ones if they will do."""
    text = knob.format(value)
    if not isinstance(knob, Number):
        return text
    with suppress(ValueError):  # some usual words are for people alone: 5 min 20 s
        if knob.parse(text) == value:
            return text
    digits = Decimal(repr(float(value)))
    return f"{digits * 100:f}%" if knob.unit == "%" else f"{digits:f}"


# --- as a file ----------------------------------------------------------------------------------------------------------


def demo_file(demo: Demo) -> str:
    """The file, so that `read_demo` gives the same demo."""
    lines = [
        "# commtui FILE plays this, commtui run FILE prints what it comes to",
        f"commtui = {FORMAT}",
        f"pattern = {_quoted(demo.pattern.name)}",
        f"scenario = {_quoted(demo.lesson.name)}",
        f"seed = {demo.seed}",
    ]
    if demo.start_at_s:
        lines.append(f"start-at = {float(demo.start_at_s)!r}")
    if demo.knobs:
        lines += ["", "[knobs]", *(f"{name} = {_quoted(text)}" for name, text in _settings(demo))]
    for timed in demo.commands:
        lines += ["", "[[commands]]", f"at = {float(timed.time_s)!r}", f"do = {_quoted(str(timed.command))}"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A basic string of TOML. JSON's escapes are among TOML's."""
    return json.dumps(text, ensure_ascii=False)


def read_demo(text: str) -> Demo:
    """The demo in a file. Raises DemoFileError."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"\(at line (\d+)", str(error))
        reason = str(error).partition(" (at ")[0]
        last = max(1, len(text.splitlines()))
        raise DemoFileError(int(where[1]) if where else last, f"not TOML: {reason.lower()}") from None
    lines = _Lines(text)
    _check_fields(table, _FIELDS, lines)
    version = table.get("commtui", FORMAT)
    if type(version) is not int or not 1 <= version <= FORMAT:
        raise lines.error("commtui", f"this commtui reads format {FORMAT}, not {version!r}")
    if "pattern" not in table:
        raise DemoFileError(1, 'no pattern is named: write pattern = "request-response", for example')
    for name, kind, what in (("pattern", str, "a name"), ("scenario", str, "a name"), ("seed", int, "a whole number")):
        if name in table and type(table[name]) is not kind:
            raise lines.error(name, f"{name} is {what}, not {table[name]!r}")
    try:
        return make_demo(
            table["pattern"],
            table.get("scenario"),
            seed=table.get("seed", 0),
            settings=_read_knobs(table.get("knobs", {}), lines),
            orders=_read_commands(table.get("commands", []), lines),
            start_at_s=_read_time(table.get("start-at", 0.0), "start-at", lines),
        )
    except DemoError as error:
        if error.part == "commands":
            raise DemoFileError(lines.of_command(int(error.place or 0), "do"), str(error)) from None
        raise lines.error(str(error.place or error.part), str(error)) from None


def _check_fields(table: Mapping[str, Any], known: Sequence[str], lines: "_Lines") -> None:
    for name in table:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise lines.error(name, f"nothing here is called {name!r}; {hint}")


def _read_knobs(value: Any, lines: "_Lines") -> list[tuple[str, str]]:
    if not isinstance(value, dict):
        raise lines.error("knobs", "knobs are a table: [knobs], and a line for each below it")
    for name, setting in value.items():
        if not isinstance(setting, str | int | float):
            raise lines.error(name, f"{name} is a text, a number, true or false")
    return [
        (name, str(setting).lower() if isinstance(setting, bool) else str(setting)) for name, setting in value.items()
    ]


def _read_commands(value: Any, lines: "_Lines") -> list[tuple[float, str]]:
    if not isinstance(value, list) or not all(isinstance(command, dict) for command in value):
        raise lines.error("commands", "commands are tables: [[commands]], and at and do below it")
    orders = []
    for number, command in enumerate(value):
        for name in ("at", "do"):
            if name not in command:
                raise DemoFileError(lines.of_command(number), f"this command lacks {name!r}")
        strange = [name for name in command if name not in ("at", "do")]
        if strange:
            raise DemoFileError(
                lines.of_command(number, strange[0]), f"a command has no {strange[0]!r}, only at and do"
            )
        at, do = command["at"], command["do"]
        if type(at) not in (int, float) or not 0 <= at < math.inf:
            raise DemoFileError(lines.of_command(number, "at"), f"'at' is a number of seconds from 0 on, not {at!r}")
        if not isinstance(do, str):
            raise DemoFileError(lines.of_command(number, "do"), f"'do' is a command in quotes, not {do!r}")
        orders.append((float(at), do))
    return orders


def _read_time(value: Any, name: str, lines: "_Lines") -> float:
    if type(value) not in (int, float) or not 0 <= value < math.inf:
        raise lines.error(name, f"{name} is a number of seconds from 0 on, not {value!r}")
    return float(value)


class _Lines:
    """Where in the file something stands; tomllib does not say."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()

    def error(self, key: str, reason: str) -> DemoFileError:
        return DemoFileError(self.of_key(key), reason)

    def of_key(self, key: str, start: int = 0) -> int:
        """The first line from `start` on (counted from 0) that sets `key` or opens its table; 1 when there is none."""
        sets = re.compile(rf"\s*(\[+\s*)?[\"']?{re.escape(key)}[\"']?\s*[\]=.]")
        return next((n for n, line in enumerate(self._lines, 1) if n > start and sets.match(line)), 1)

    def of_command(self, number: int, key: str | None = None) -> int:
        """The line of command `number`, or that of its `key`."""
        heads = [n for n, line in enumerate(self._lines, 1) if re.match(r"\s*\[\[\s*commands\s*\]\]", line)]
        if number >= len(heads):  # written in line, as an array
            return self.of_key("commands")
        found = self.of_key(key, heads[number]) if key is not None else heads[number]
        return found if found >= heads[number] else heads[number]
