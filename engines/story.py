"""The story of a run: what just happened and why, in plain words, and what to try next.

A lesson's own beats come first, since only they know what the lesson is about; any other fact has its general sentence
(`engines.sentences`). Everything here is a function of the trace up to a moment.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import IntEnum
from itertools import islice
from typing import TYPE_CHECKING, Any

from engines.lab.facts import FACTS, CommandApplied, Fact
from engines.lab.trace import NO_CAUSE, Trace
from engines.sentences import SENTENCES, Weight, sentence

if TYPE_CHECKING:
    from engines.patterns.contract import Beat, Lesson

_BEAT = max(Weight) + 1  # what a lesson says itself comes before anything general
_WEIGHTS = tuple(SENTENCES[fact][0] for fact in FACTS)
_LOOK_BACK = 20_000
"""How many facts back the story looks for something worth telling: seldom more than a few dozen are needed."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a fact is and why it came about. `cause_chain`: its cause, the cause of that, and so on to the first."""

    text: str
    cause_chain: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """The thing worth telling at a moment. `fact_id` is None before anything has happened."""

    fact_id: int | None
    time_s: float
    text: str
    try_next: str


def explain(trace: Trace, fact_id: int, lesson: "Lesson") -> Explanation:
    """What fact `fact_id` means in this lesson, in a sentence or two. Raises IndexError when there is no such fact."""
    return Explanation(meaning(trace, fact_id, lesson), cause_chain(trace, fact_id))


def meaning(trace: Trace, fact_id: int, lesson: "Lesson") -> str:
    """What fact `fact_id` means in this lesson, without why: in a long run the chain of causes may be as long as the run."""
    return _beat_text(trace[fact_id].fact, lesson) or sentence(trace, fact_id)


def causes(trace: Trace, fact_id: int) -> Iterator[int]:
    """The fact's cause, the cause of that, and so on; causes lie earlier, so that this always ends."""
    cause = trace.cause[fact_id]
    while cause != NO_CAUSE:
        yield cause
        cause = trace.cause[cause]


def cause_chain(trace: Trace, fact_id: int) -> tuple[int, ...]:
    """All of `causes`."""
    return tuple(causes(trace, fact_id))


def story_at(trace: Trace, length: int, lesson: "Lesson") -> Story:
    """The most recent thing worth telling among the first `length` facts; the lesson's purpose before there is one."""
    told = tell(trace, length, lesson, 1)
    if told:
        return told[0]
    return Story(None, 0.0, lesson.purpose, suggestion(trace, length, lesson))


def tell(trace: Trace, length: int, lesson: "Lesson", count: int) -> tuple[Story, ...]:
    """The last `count` things worth telling among the first `length` facts, newest first; of one instant only the
    best.
    """
    try_next = suggestion(trace, length, lesson)
    return tuple(
        Story(fact_id, trace.time[fact_id], meaning(trace, fact_id, lesson), try_next)
        for fact_id in islice(_worth_telling(trace, length, lesson), count)
    )


def suggestion(trace: Trace, length: int, lesson: "Lesson") -> str:
    """What to try next: the lesson's suggestions in turn, one further with every order that has been given."""
    if not lesson.try_next:
        return ""
    orders = trace.kind[:length].tobytes().count(CommandApplied.code)
    return lesson.try_next[orders % len(lesson.try_next)]


def beat_faults(lesson: "Lesson") -> list[str]:
    """What is wrong with the lesson's beats, for a test: names of fields that the fact has not, expressions that are
    none.
    """
    faults = []
    for beat in lesson.beats:
        names = {field.name for field in fields(beat.on)}
        wanted = set(beat.where) | set(re.findall(r"\{(\w*)", beat.say))
        faults += [f"{lesson.name}: {beat.on.__name__} has no field {name!r}" for name in sorted(wanted - names)]
        for pattern in beat.where.values():
            try:
                re.compile(pattern)
            except re.error as error:
                faults.append(f"{lesson.name}: {pattern!r}: {error}")
    return faults


def _worth_telling(trace: Trace, length: int, lesson: "Lesson") -> Iterator[int]:
    """Ids of facts worth telling, newest first, at most one of each instant: the weightiest, and of equals the latest."""
    told_by_beats = {beat.on.code for beat in lesson.beats}
    best, best_weight, instant = -1, int(Weight.ROUTINE), 0.0
    for i in range(length - 1, max(-1, length - 1 - _LOOK_BACK), -1):
        kind = trace.kind[i]
        weight = int(_WEIGHTS[kind])
        if kind in told_by_beats and _beat_text(trace[i].fact, lesson):
            weight = _BEAT
        if weight == Weight.ROUTINE:
            continue
        if trace.time[i] != instant and best >= 0:
            yield best
            best, best_weight = -1, int(Weight.ROUTINE)
        if weight > best_weight:
            best, best_weight, instant = i, weight, trace.time[i]
    if best >= 0:
        yield best


def _beat_text(fact: Fact, lesson: "Lesson") -> str | None:
    """What the first of the lesson's beats that fits says of `fact`."""
    for beat in lesson.beats:
        if type(fact) is beat.on and _fits(beat, fact):
            return beat.say.format(**{field.name: _worded(getattr(fact, field.name)) for field in fields(fact)})
    return None


def _fits(beat: "Beat", fact: Fact) -> bool:
    return all(re.match(pattern, _worded(getattr(fact, name))) for name, pattern in beat.where.items())


def _worded(value: Any) -> str:
    """A field's value as beats see it: enums by name, numbers short, bytes as the characters they look like."""
    if isinstance(value, IntEnum):
        return value.name.lower().replace("_", "-")
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return str(value)
