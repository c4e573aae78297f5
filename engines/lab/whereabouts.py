"""Where the programs of a run stand at this moment: which line of their source each of their tasks is waiting in.

A coroutine that waits knows what it waits for (`cr_await`), and that what it waits for in turn: walking along this chain gives
the frames of a task from its program's own code down to trio. It changes nothing in the run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import trio

from engines.lab.determinism import birth_number

_LINKS = (("cr_frame", "cr_await"), ("ag_frame", "ag_await"), ("gi_frame", "gi_yieldfrom"))
"""Where coroutines, asynchronous generators and generators keep their frame, and what they wait for."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A function that has been called and has not returned, at line `line` of `file`."""

    file: str
    line: int
    function: str


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """One task of `host`'s program: its frames, the outermost first."""

    host: str
    frames: tuple[Frame, ...]


def whereabouts(host: str, program: trio.lowlevel.Task) -> Iterator[Whereabouts]:
    """The tasks of a program, each before those that it has started, elder before younger."""
    yield Whereabouts(host, tuple(_frames(program.coro)))
    for nursery in program.child_nurseries:
        for task in sorted(nursery.child_tasks, key=birth_number):
            yield from whereabouts(host, task)


def _frames(waiting: Any) -> Iterator[Frame]:
    while waiting is not None:
        for frame_name, next_name in _LINKS:
            frame = getattr(waiting, frame_name, None)
            if frame is not None:
                code = frame.f_code
                yield Frame(code.co_filename, frame.f_lineno, getattr(code, "co_qualname", code.co_name))
                waiting = getattr(waiting, next_name)
                break
        else:
            return
