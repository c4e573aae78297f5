"""All patterns, in the order of their tabs. An eleventh pattern is one module and one line here."""

from difflib import get_close_matches

from engines.patterns import (
    long_polling,
    multiplexing,
    pub_sub,
    push,
    request_response,
    short_polling,
    sidecar,
    sse,
    stateful_stateless,
    sync_async,
)
from engines.patterns.contract import Lesson, Pattern

PATTERNS: tuple[Pattern, ...] = (
    request_response.PATTERN,
    sync_async.PATTERN,
    push.PATTERN,
    short_polling.PATTERN,
    long_polling.PATTERN,
    sse.PATTERN,
    pub_sub.PATTERN,
    multiplexing.PATTERN,
    stateful_stateless.PATTERN,
    sidecar.PATTERN,
)


class UnknownName(ValueError):
    """A pattern or scenario that does not exist; the message names the nearest that does."""


def find_pattern(name: str) -> Pattern:
    """The pattern called `name`. Raises UnknownName."""
    for pattern in PATTERNS:
        if pattern.name == name:
            return pattern
    raise UnknownName(f"no pattern {name!r}; {_hint(name, [p.name for p in PATTERNS])}")


def find_lesson(pattern: Pattern, name: str | None) -> Lesson:
    """The scenario of `pattern` called `name`, or its first. Raises UnknownName."""
    if name is None:
        return pattern.lessons[0]
    for lesson in pattern.lessons:
        if lesson.name == name:
            return lesson
    raise UnknownName(f"no scenario {name!r} in {pattern.name}; {_hint(name, [x.name for x in pattern.lessons])}")


def _hint(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, 1, 0.4)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
