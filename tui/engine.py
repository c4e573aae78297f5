"""What the UI takes from the engines, in one value. Importing this is cheap; `load_engine` imports the network libraries.

The app calls `load_engine` in a thread once its first screen stands, so that nobody waits for imports before seeing something.
Tests give an Engine of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from engines.lab.dissection import Part, Side
from engines.lab.trace import Trace
from tui.panels.story import Link, Told
from tui.playback import SessionLike

if TYPE_CHECKING:
    from engines.lab.commands import TimedCommand
    from engines.lab.knobs import Value
    from engines.patterns.contract import Lesson, Pattern


class NumbersLike(Protocol):
    """`engines.metrics.numbers.Numbers`, as far as the panel uses it."""

    def value(self, name: str, time_s: float, length: int | None = None) -> float | None: ...
    def text(self, name: str, time_s: float, length: int | None = None) -> str: ...
    def series(
        self, name: str, time_s: float, buckets: int = 24, window_s: float | None = None, length: int | None = None
    ) -> list[float | None]: ...


class OpenSession(Protocol):
    """Opens a session that has not been started, with knobs other than the defaults, and orders that it gives itself at their
    times; `paused`: it will start standing still."""

    def __call__(
        self,
        pattern: Pattern,
        lesson: Lesson,
        seed: int,
        knobs: Mapping[str, Value],
        pace: float,
        *,
        paused: bool = False,
        commands: Sequence[TimedCommand] = (),
    ) -> SessionLike: ...


@dataclass(frozen=True, slots=True)
class Engine:
    """`tell` gives the newest sentences of the story after so many facts (newest first, at most as many as asked for),
    `suggest` what to try next; `explain` says in a few lines what a fact is and what it followed from, and `why` gives the chain
    of that, the fact itself first, at most so many links; `parts` names the parts of a message of a protocol; `equivalent` is the
    command that would send the same message, if there is one."""

    patterns: tuple[Pattern, ...]
    open_session: OpenSession
    numbers: Callable[[Trace], NumbersLike]
    metric_title: Callable[[str], str]
    tell: Callable[[Trace, int, Lesson, int], tuple[Told, ...]]
    suggest: Callable[[Trace, int, Lesson], str]
    explain: Callable[[Trace, int, Lesson], tuple[str, ...]]
    why: Callable[[Trace, int, Lesson, int], tuple[Link, ...]]
    parts: Callable[[str, Side, bytes, int, int], list[Part]]
    equivalent: Callable[[str, bytes, str, int], str | None]
