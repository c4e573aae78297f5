"""What a pattern must declare, so that tabs, keys, knobs, command line, tests and pictures come by themselves.

A pattern is one module with one `PATTERN`. The registry lists it; nothing else in the project knows its name.
"""

from dataclasses import dataclass, field

from engines.lab.facts import Fact
from engines.lab.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Beat:
    """A sentence for the story pane, said when a fact of class `on` happens whose fields match.

    `where` maps field names to regular expressions that must match the field's text from its start. `say` may use the
    fact's fields in braces: "{host} gave up after {after_s} s."
    """

    on: type[Fact]
    say: str
    where: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lesson(Scenario):
    """A scenario with what a class needs around it: the numbers to watch, the story, what to try next.

    `metrics` are names from `engines.metrics.CATALOGUE`, most telling first. `try_next` are suggestions, each one line, that
    begin with what to do ("Kill the server while …"). Lessons of several patterns that name the same `workload` (see
    `workload`) do the same job in different ways, and can be compared.
    """

    metrics: tuple[str, ...] = ("requests", "responses", "bytes", "delay")
    beats: tuple[Beat, ...] = ()
    try_next: tuple[str, ...] = ()
    workload: str = ""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One tab. `name` is for the command line, `title` in full, `tab` short for the tab bar, `key` the digit that opens it."""

    name: str
    title: str
    tab: str
    key: str
    summary: str
    lessons: tuple[Lesson, ...]

    def lesson(self, name: str | None = None) -> Lesson:
        """The lesson called `name`, or the first. Raises KeyError."""
        if name is None:
            return self.lessons[0]
        return next(lesson for lesson in self.lessons if lesson.name == name)
