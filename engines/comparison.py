"""The same workload under several patterns: which lessons can be compared, with which knobs, and what each came to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from engines.lab.knobs import KnobBoard, Value
from engines.lab.session import Session, SessionState, run_headless
from engines.metrics.numbers import Numbers
from engines.patterns.contract import Lesson, Pattern

EVENT_METRICS = (
    "events", "events-handled", "events-waiting", "events-lost", "events-duplicated", "events-unordered",
    "event-delay-mean", "event-delay", "event-delay-p95", "event-delay-max",
    "requests", "empty", "connections", "open", "bytes", "bytes-per-event-byte",
)  # fmt: skip
"""What patterns that carry events are judged by, the most telling question (did it arrive, and how late?) first."""


class CannotCompare(ValueError):
    """The patterns or knobs that were asked for do not fit together; the message is one line for people."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A pattern's way of doing the workload."""

    pattern: Pattern
    lesson: Lesson

    @property
    def name(self) -> str:
        """The run's name, as in a trace: "pattern/scenario"."""
        return f"{self.pattern.name}/{self.lesson.name}"


def workloads(patterns: Sequence[Pattern]) -> dict[str, tuple[Contender, ...]]:
    """Every workload that at least one lesson names, with the lessons that do it, one a pattern."""
    found: dict[str, list[Contender]] = {}
    for pattern in patterns:
        for lesson in pattern.lessons:
            if lesson.workload and all(known.pattern is not pattern for known in found.get(lesson.workload, ())):
                found.setdefault(lesson.workload, []).append(Contender(pattern, lesson))
    return {name: tuple(contenders) for name, contenders in found.items()}


def contenders(patterns: Sequence[Pattern], names: Sequence[str], workload: str) -> tuple[Contender, ...]:
    """The lessons of the named patterns (none named: of all) that do `workload`. Raises CannotCompare."""
    known = workloads(patterns)
    if workload not in known:
        raise CannotCompare(f"no workload {workload!r}; {_hint(workload, list(known))}")
    able = {contender.pattern.name: contender for contender in known[workload]}
    for name in names:
        if name not in able:
            raise CannotCompare(f"{name!r} does not do the workload {workload!r}; {_hint(name, list(able))}")
    return tuple(able[name] for name in (names or able))


def shared_settings(group: Sequence[Contender], settings: Mapping[str, str]) -> list[dict[str, Value]]:
    """Starting values for each contender such that they differ in nothing but their pattern.

    A knob that several have stands as `settings` say, or else as it stands by default in the first that has it. Raises
    CannotCompare for a setting that nobody has or that does not fit.
    """
    common: dict[str, Value] = {}
    boards = [KnobBoard(contender.lesson.all_knobs()) for contender in group]
    for board in boards:
        for name, value in board.items():
            common.setdefault(name, value)
    for name, text in settings.items():
        owners = [board for board in boards if name in board]
        if not owners:
            raise CannotCompare(f"no knob {name!r} in any of them; {_hint(name, list(common))}")
        try:
            common[name] = owners[0].find(name).parse(text)
        except ValueError as error:
            raise CannotCompare(str(error)) from None
    return [{name: common[name] for name in board} for board in boards]


@dataclass(frozen=True, slots=True)
class Result:
    """What one contender came to: a value a metric, None where there is none. `failure` is "" for a run that held."""

    contender: Contender
    values: dict[str, float | None]
    failure: str


def compare(
    group: Sequence[Contender], *, seed: int, settings: Mapping[str, str], until_s: float, metrics: Sequence[str]
) -> list[Result]:
    """Run each contender flat out on the same seed and settings, and read the same numbers off each."""
    results = []
    for contender, knobs in zip(group, shared_settings(group, settings), strict=True):
        session = run_headless(contender.lesson, name=contender.name, seed=seed, knobs=knobs, until_s=until_s)
        results.append(Result(contender, read_metrics(session, metrics, until_s), _failure(session)))
    return results


def read_metrics(session: Session, metrics: Sequence[str], time_s: float) -> dict[str, float | None]:
    """The metrics of a run at a virtual time."""
    numbers = Numbers(session.trace)
    return {name: numbers.value(name, time_s) for name in metrics}


def _failure(session: Session) -> str:
    return session.status.message if session.status.state is SessionState.FAILED else ""


def _hint(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, 1, 0.4)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known) or 'none'}"
