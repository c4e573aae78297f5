"""The code that a lesson's programs are made of, and the lines in which they stand: a run's whereabouts, made readable."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import engines.patterns
import engines.wire
from engines.lab.whereabouts import Frame, Whereabouts

_SHELVES = tuple(str(Path(package.__file__ or "").parent) for package in (engines.patterns, engines.wire))
"""What is shown, the most telling first: the pattern itself, else the protocol that it is built on."""


@dataclass(frozen=True, slots=True)
class Place:
    """`host` stands at line `line` (from 1) of `file`, in `function`."""

    host: str
    file: str
    line: int
    function: str


def places(whereabouts: Iterable[Whereabouts]) -> tuple[Place, ...]:
    """Where each task stands in the pattern's own code, or in that of the protocol if it is in none of the pattern's.

    Tasks that stand in the same line are one place. The youngest comes last, but for those that only serve the protocol: they
    come first.
    """
    found: dict[Place, None] = {}
    for stand in whereabouts:
        frame = _telling(stand.frames)
        if frame is not None:
            place = Place(stand.host, frame.file, frame.line, frame.function)
            found.pop(place, None)
            found[place] = None
    return tuple(sorted(found, key=lambda place: place.file.startswith(_SHELVES[0])))


def _telling(frames: Iterable[Frame]) -> Frame | None:
    """The innermost frame on the first shelf that has one."""
    inward = list(frames)[::-1]
    return next((frame for shelf in _SHELVES for frame in inward if frame.file.startswith(shelf)), None)


@cache
def source_lines(file: str) -> tuple[str, ...]:
    """The lines of a source file; none if it cannot be read."""
    try:
        return tuple(Path(file).read_text(encoding="utf-8").splitlines())
    except OSError:
        return ()
