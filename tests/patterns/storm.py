"""Random fault schedules, as many as wanted: `python -m tests.patterns.storm 2000 [PATTERN/SCENARIO]`.

Each schedule is run twice. Both runs must be the same, obey every law, and leave nothing running.
"""

import sys
from collections.abc import Sequence

from hypothesis import HealthCheck, Phase, given, settings

from engines.lab.commands import TimedCommand
from engines.lab.session import SessionState
from engines.patterns.contract import Lesson
from tests.patterns.laws import breaches
from tests.patterns.orders import HORIZON_S, orders
from tests.patterns.runs import BY_NAME, fingerprint, run, sessions_alive


def weather(lesson: Lesson, commands: Sequence[TimedCommand]) -> None:
    """Run `lesson` under `commands`, twice, and check everything."""
    first, second = (run(lesson, commands, until_s=HORIZON_S + 5) for _ in range(2))
    assert first.status.state is SessionState.ENDED, first.status.message
    assert breaches(first.trace) == []
    assert fingerprint(first.trace) == fingerprint(second.trace)
    assert first.commands == tuple(commands)
    assert sessions_alive() == []


def storm(lesson: Lesson, examples: int, *, derandomize: bool) -> None:
    """`examples` random schedules over `lesson`; raises at the smallest that breaks something."""

    @settings(
        max_examples=examples,
        derandomize=derandomize,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(orders(lesson))
    def survives(commands: list[TimedCommand]) -> None:
        weather(lesson, commands)

    survives()


def main() -> None:
    examples = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    wanted = sys.argv[2] if len(sys.argv) > 2 else ""
    for name, lesson in BY_NAME.items():
        if wanted in name:
            storm(lesson, examples, derandomize=False)
            print(f"{name}: {examples} schedules survived", flush=True)


if __name__ == "__main__":
    main()
