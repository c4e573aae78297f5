"""From the start of the process to the first contents on a terminal, against a bare Textual app; and to the first message that
moves. In real time, as a person waits for it."""

import re
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.measuring import Figure, compare, ratio_at_most
from tests.benchmarks.terminal import drawn, has_contents, on_terminal
from tui.view.glyphs import UNICODE

FLYING = re.compile(f"{UNICODE.plain}{UNICODE.head}|{UNICODE.head}{UNICODE.plain}")
"""The head of an arrow that has not arrived, with the shaft behind it."""


@dataclass(frozen=True, slots=True)
class StartUp:
    rounds: int = 7

    def measure(self) -> list[Figure]:
        if self.rounds > 1:
            first_contents("-m", "tui")  # what was never read before comes from the disk
        compared = compare(
            lambda: first_contents("-m", "tui"), lambda: first_contents("-m", "tests.benchmarks.bare_app"), self.rounds
        )
        moving = median(first_motion() for _ in range(self.rounds))
        return [
            compared.figure("start to first contents", "ms", ratio_at_most(1.35), "bare app"),
            Figure("start to first moving message", moving, "ms"),
        ]


def first_contents(*program: str) -> float:
    with on_terminal(*program) as terminal:
        return (terminal.wait_for(has_contents) - terminal.began) * 1e3


def first_motion() -> float:
    """Until an arrow's head has been drawn for the second time: it has moved."""
    with on_terminal("-m", "tui") as terminal:
        seen = terminal.wait_for(lambda output: len(FLYING.findall(drawn(output))) >= 2)
        return (seen - terminal.began) * 1e3
