"""Random fault schedules, as many as wanted: `python -m tests.patterns.storm 2000 [PATTERN/SCENARIO]`.

Each schedule is run twice. Both runs must be the same, obey every law, and leave nothing running. Half as many sessions are
steered by hand, with orders in pauses and between events, and replayed from their record.
"""

import sys
from collections.abc import Sequence

from hypothesis import HealthCheck, Phase, given, seed, settings

from engines.lab.commands import TimedCommand
from engines.lab.session import Session, SessionState
from engines.patterns.contract import Lesson
from tests.patterns.laws import breaches
from tests.patterns.orders import HORIZON_S, Steering, orders, steering
from tests.patterns.runs import BY_NAME, MOST_FACTS, PATIENCE_S, fingerprint, run, sessions_alive


def weather(lesson: Lesson, commands: Sequence[TimedCommand]) -> None:
    """Run `lesson` under `commands`, twice, and check everything."""
    first, second = (run(lesson, commands, until_s=HORIZON_S + 5) for _ in range(2))
    assert first.status.state is SessionState.ENDED, first.status.message
    assert breaches(first.trace) == []
    assert fingerprint(first.trace) == fingerprint(second.trace)
    assert first.commands == tuple(commands)
    assert sessions_alive() == []


def hands(lesson: Lesson, moves: Steering) -> None:
    """Steer a session by hand as `moves` say; its record must give the same run again.

    How far a glimpse gets depends on real time, so that the record differs from one time to the next. That is the point.
    """
    session = Session(lesson, paused=True, limit_facts=MOST_FACTS)
    session.start()
    try:
        for move, what in moves:
            if move == "step":
                session.step()
            elif move == "run on":
                session.run_until(session.status.now_s + float(what))
            elif move == "order":
                session.command(str(what))
            else:
                session.set_pace(float(what))
                session.play()
                session.pause()
            assert session.wait_idle(PATIENCE_S)
        end_s = session.status.now_s + 5
        session.run_until(end_s)
        assert session.wait_idle(PATIENCE_S)
    finally:
        session.close()
    assert session.status.state is SessionState.ENDED, session.status.message
    assert breaches(session.trace) == []
    assert fingerprint(run(lesson, session.commands, until_s=end_s).trace) == fingerprint(session.trace)


def storm(lesson: Lesson, examples: int, luck: int | None = None) -> None:
    """`examples` random schedules over `lesson`, half as many hands at its controls; raises at the smallest that breaks.

    With the same `luck` they are the same schedules.
    """
    quiet = settings(
        derandomize=False,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )

    @settings(quiet, max_examples=examples)
    @given(orders(lesson))
    def survives(commands: list[TimedCommand]) -> None:
        weather(lesson, commands)

    @settings(quiet, max_examples=(examples + 1) // 2)
    @given(steering(lesson))
    def replays(moves: Steering) -> None:
        hands(lesson, moves)

    for check in (survives, replays):
        (check if luck is None else seed(luck)(check))()


def main() -> None:
    examples = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    wanted = sys.argv[2] if len(sys.argv) > 2 else ""
    for name, lesson in BY_NAME.items():
        if wanted in name and not lesson.lacks():
            storm(lesson, examples)
            print(f"{name}: {examples} schedules survived, half as many steered sessions replayed", flush=True)


if __name__ == "__main__":
    main()
