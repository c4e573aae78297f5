"""From the start of the process to the first contents on a terminal, against a bare Textual app; and to the first message that
moves. In real time, as a person waits for it."""

import re
from collections import defaultdict
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.measuring import Figure, compare, ratio_at_most
from tests.benchmarks.terminal import drawn, has_contents, on_terminal
from tui.view.glyphs import UNICODE

FLYING = re.compile(f"{UNICODE.plain}{UNICODE.head}|{UNICODE.head}{UNICODE.plain}")
"""The head of an arrow that has not arrived, with the shaft behind it."""


BARE, OURS = ("-m", "tests.benchmarks.bare_app"), ("-m", "tui")


@dataclass(frozen=True, slots=True)
class StartUp:
    rounds: int = 7

    def measure(self) -> list[Figure]:
        if self.rounds > 1:
            first_contents(OURS)  # what was never read before comes from the disk
        processor = ProcessorTimes()
        compared = compare(
            lambda: processor.note(OURS, first_contents(OURS)),
            lambda: processor.note(BARE, first_contents(BARE)),
            self.rounds,
        )
        spent, spent_bare = (median(processor.ms[program]) for program in (OURS, BARE))
        moving = median(first_motion() for _ in range(self.rounds))
        return [
            compared.figure("start to first contents", "ms", ratio_at_most(1.35), "bare app"),
            Figure("  processor time of it", spent, "ms", spent_bare, spent / spent_bare, None, "bare app"),
            Figure("start to first moving message", moving, "ms"),
        ]


class ProcessorTimes:
    """Processor time beside real time: on a busy machine the steadier of the two."""

    def __init__(self) -> None:
        self.ms: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)

    def note(self, program: tuple[str, ...], spent: tuple[float, float]) -> float:
        real_ms, processor_ms = spent
        self.ms[program].append(processor_ms)
        return real_ms


def first_contents(program: tuple[str, ...]) -> tuple[float, float]:
    """Real and processor milliseconds."""
    with on_terminal(*program) as terminal:
        seen = terminal.wait_for(has_contents)
        return (seen - terminal.began) * 1e3, terminal.processor_s()[0] * 1e3


def first_motion() -> float:
    """Until an arrow's head has been drawn for the second time: it has moved."""
    with on_terminal("-m", "tui") as terminal:
        seen = terminal.wait_for(lambda output: len(FLYING.findall(drawn(output))) >= 2)
        return (seen - terminal.began) * 1e3
