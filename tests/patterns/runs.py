"""Running lessons for tests: every lesson as a pytest parameter, runs with a ceiling, and ways to compare two of them."""

import threading
from collections.abc import Mapping, Sequence
from hashlib import sha256

import pytest

from engines.lab.commands import TimedCommand, parse_command
from engines.lab.facts import Measured, MessageStarted, PacketDelivered, PacketDropped, PacketSent, WorkFinished
from engines.lab.knobs import Choice, Knob, Number, Toggle, Value
from engines.lab.sealed import Comparable
from engines.lab.session import Session
from engines.lab.trace import Trace
from engines.patterns.contract import Lesson
from engines.patterns.registry import PATTERNS

BY_NAME = {f"{pattern.name}/{lesson.name}": lesson for pattern in PATTERNS for lesson in pattern.lessons}
LESSONS = [
    pytest.param(lesson, id=name, marks=pytest.mark.skipif(bool(lesson.lacks()), reason=lesson.lacks()))
    for name, lesson in BY_NAME.items()
]
"""Those that need what is not installed are skipped, and say so."""
MOST_FACTS = 30_000
"""A run of a test stops there, so that a wild choice of knobs does not make it long."""


def run(
    lesson: Lesson,
    commands: Sequence[TimedCommand] = (),
    *,
    knobs: Mapping[str, Value] | None = None,
    seed: int = 0,
    until_s: float | None = None,
) -> Session:
    """The closed session of a run flat out to `until_s` (default: the lesson's own)."""
    session = Session(lesson, seed=seed, knobs=knobs, commands=commands, paused=True, limit_facts=MOST_FACTS)
    session.start()
    try:
        session.run_until(lesson.until_s if until_s is None else until_s)
        assert session.wait_idle(60.0), "the run did not come to rest"
    finally:
        session.close()
    return session


def at(time_s: float, text: str) -> TimedCommand:
    """A command in its text form."""
    return TimedCommand(time_s, parse_command(text))


def sessions_alive() -> list[str]:
    """The threads of sessions that still run."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("session")]


def fingerprint(trace: Trace) -> str:
    """Equal for equal traces, and faster than the digest of the file."""
    comparable = Comparable(trace)
    digest = sha256()
    columns = (trace.kind, trace.time, trace.cause, trace.a, trace.b, trace.c, trace.d, trace.e, trace.f, trace.x)
    for column in columns:
        digest.update(column.tobytes())
    digest.update(b"".join(comparable.payload(i) for i in range(len(trace))))
    digest.update("\n".join(trace.names).encode())
    return digest.hexdigest()


BEHAVIOUR = {fact.code for fact in (PacketSent, PacketDelivered, PacketDropped, Measured, MessageStarted, WorkFinished)}


def behaviour(trace: Trace) -> list[tuple[float, int, bytes]]:
    """What the programs and the network did, without the orders that were given."""
    comparable = Comparable(trace)
    payloads = [comparable.payload(i) for i in range(len(trace))]
    return [(trace.time[i], trace.kind[i], payloads[i]) for i in range(len(trace)) if trace.kind[i] in BEHAVIOUR]


def text_of(knob: Knob, value: Value) -> str:
    """`value` in words that `knob` reads as exactly that value."""
    if not isinstance(knob, Number):
        return knob.format(value)
    if value == float("inf"):
        return "unlimited"
    return f"{float(value) * 100!r}%" if knob.unit == "%" else f"{float(value)!r}"


def other_values(knob: Knob) -> list[Value]:
    """Values of `knob` other than its default: all there are, or for a number some far and near."""
    match knob:
        case Toggle():
            return [not knob.default]
        case Choice():
            return [choice for choice in knob.choices if choice != knob.default]
        case Number():
            found = [knob.minimum, knob.stepped(knob.default, 4), knob.stepped(knob.default, -1), knob.maximum]
            return [value for value in dict.fromkeys(found) if value != knob.default]
