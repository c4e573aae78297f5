"""The same run in many fresh processes: `python -m tests.repeatability [PROCESSES]` prints one digest, or says who differs.

Each process gets another PYTHONHASHSEED and another way of playing: at pace 1, 20 or flat out, in one go or with pauses, steps
and changes of pace at random real moments. Scenario, seed and commands are the same, so the trace file must be.
"""

import math
import os
import random
import subprocess
import sys
import time
from collections import Counter

SCENARIO = ("request-response", "simple-get")
SEED = 7
COMMANDS = ((0.9, "set burst 3"), (1.7, "drop next response"), (2.2, "set loss 10%"), (3.1, "restart server"))
UNTIL_S = 6.0
PACES = (1.0, 20.0, math.inf)


def play(pace: float, disturbed: bool, impatience: random.Random) -> str:
    """Run the scenario in this process and return the digest of its trace file."""
    from engines.lab.commands import TimedCommand, parse_command
    from engines.lab.session import Session
    from engines.lab.trace_file import trace_digest
    from engines.patterns.registry import find_lesson, find_pattern

    lesson = find_lesson(find_pattern(SCENARIO[0]), SCENARIO[1])
    commands = [TimedCommand(time_s, parse_command(text)) for time_s, text in COMMANDS]
    session = Session(lesson, name="/".join(SCENARIO), seed=SEED, commands=commands, pace=pace, limit_s=UNTIL_S)
    session.start()
    while disturbed and session.status.state.value == "playing":
        session.wait_idle(impatience.uniform(0, 0.2))
        session.pause()
        if impatience.random() < 0.5:
            session.step()
        session.set_pace(impatience.choice((*PACES[1:], 5.0)))
        session.play()
        if session.status.now_s >= UNTIL_S:
            break
    session.run_until(UNTIL_S)
    assert session.wait_idle(60), session.status
    session.close()
    return trace_digest(session.trace)


def in_fresh_process(number: int) -> str:
    """Play in a new process; returns the digest."""
    chance = random.Random(number)
    environment = {**os.environ, "PYTHONHASHSEED": str(chance.randrange(2**32))}
    arguments = [str(PACES[number % 3]), str(number % 2), str(number)]
    result = subprocess.run(
        [sys.executable, "-m", "tests.repeatability", "--play", *arguments],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if result.returncode:
        raise RuntimeError(result.stderr.strip().splitlines()[-1])
    return result.stdout.strip()


def main(arguments: list[str]) -> int:
    """The command line. Returns 0 when all processes agree."""
    if arguments[:1] == ["--play"]:
        pace, disturbed, number = arguments[1:]
        print(play(float(pace), disturbed == "1", random.Random(int(number))))
        return 0
    count = int(arguments[0]) if arguments else 50
    began = time.perf_counter()
    digests = Counter(in_fresh_process(number) for number in range(count))
    for digest, times in digests.most_common():
        print(f"{times:4d} × {digest}")
    print(f"{count} processes, {len(digests)} digest(s), {time.perf_counter() - began:.0f} s")
    return 0 if len(digests) == 1 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
