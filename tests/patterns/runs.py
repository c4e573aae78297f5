"""Running lessons for tests: every lesson as a pytest parameter, runs with a ceiling, and ways to compare two of them."""

import threading
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

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
PATIENCE_S = 100.0
"""Real seconds that a test waits for a run to come to rest: more than it takes on the busiest machine."""


def run(
    lesson: Lesson,
    commands: Sequence[TimedCommand] = (),
    *,
    knobs: Mapping[str, Value] | None = None,
    seed: int = 0,
    until_s: float | None = None,
    most_facts: int = MOST_FACTS,
) -> Session:
    """The closed session of a run flat out to `until_s` (default: the lesson's own)."""
    with running(lesson, commands, knobs=knobs, seed=seed, most_facts=most_facts) as session:
        run_on(session, lesson.until_s if until_s is None else until_s)
    return session


@contextmanager
def running(
    lesson: Lesson,
    commands: Sequence[TimedCommand] = (),
    *,
    knobs: Mapping[str, Value] | None = None,
    seed: int = 0,
    most_facts: int = MOST_FACTS,
) -> Iterator[Session]:
    """A session that stands at its beginning, to be run on with `run_on`; it is closed at the end."""
    session = Session(lesson, seed=seed, knobs=knobs, commands=commands, paused=True, limit_facts=most_facts)
    session.start()
    try:
        yield session
    finally:
        session.close()


def run_on(session: Session, time_s: float) -> Trace:
    """Run flat out to `time_s`; returns the trace so far."""
    session.run_until(time_s)
    assert session.wait_idle(PATIENCE_S), "the run did not come to rest"
    return session.trace


def at(time_s: float, text: str) -> TimedCommand:
    """A command in its text form."""
    return TimedCommand(time_s, parse_command(text))


def sessions_alive() -> list[str]:
    """The threads of sessions that still run."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("session")]


def columns(trace: Trace) -> tuple["array[Any]", ...]:
    """All columns but the payload's."""
    return (trace.kind, trace.time, trace.cause, trace.a, trace.b, trace.c, trace.d, trace.e, trace.f, trace.x)


def fingerprint(trace: Trace) -> str:
    """Equal for equal traces, and faster than the digest of the file."""
    comparable = Comparable(trace)
    digest = sha256()
    for column in columns(trace):
        digest.update(column.tobytes())
    digest.update(b"".join(comparable.payload(i) for i in range(len(trace))))
    digest.update("\n".join(trace.names).encode())
    return digest.hexdigest()


def is_beginning(ours: Trace, whole: Trace, time_s: float) -> bool:
    """Whether `ours`, of a run that stands at `time_s`, is what `whole` was then. Cheaper than two fingerprints."""
    length = len(ours)
    if length != whole.length_at(time_s) or ours.names != whole.names[: len(ours.names)]:
        return False
    if any(mine != theirs[:length] for mine, theirs in zip(columns(ours), columns(whole), strict=True)):
        return False
    mine, theirs = Comparable(ours), Comparable(whole)
    return all(mine.payload(i) == theirs.payload(i) for i in range(length))


BEHAVIOUR = {fact.code for fact in (PacketSent, PacketDelivered, PacketDropped, Measured, MessageStarted, WorkFinished)}


def behaviour(trace: Trace, until_s: float = float("inf")) -> list[tuple[float, int, bytes]]:
    """What the programs and the network did up to a time, without the orders that were given."""
    comparable = Comparable(trace)
    payloads = [comparable.payload(i) for i in range(trace.length_at(until_s))]
    return [(trace.time[i], trace.kind[i], data) for i, data in enumerate(payloads) if trace.kind[i] in BEHAVIOUR]


def text_of(knob: Knob, value: Value) -> str:
    """`value` in words that `knob` reads as exactly that value."""
    if not isinstance(knob, Number):
        return knob.format(value)
    if value == float("inf"):
        return "unlimited"
    return f"{float(value) * 100!r}%" if knob.unit == "%" else f"{float(value)!r}"


def other_values(knob: Knob) -> list[Value]:
    """Values of `knob` other than its default: all there are, or for a number some near and far."""
    match knob:
        case Toggle():
            return [not knob.default]
        case Choice():
            return [choice for choice in knob.choices if choice != knob.default]
        case Number():
            found = [knob.stepped(knob.default, 4), knob.stepped(knob.default, -1), knob.minimum, knob.maximum]
            return [value for value in dict.fromkeys(found) if value != knob.default]
