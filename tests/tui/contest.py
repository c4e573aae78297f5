"""Two tiny patterns that do the same work on a real engine: events happen on one host, and another hears of them later."""

from collections.abc import Mapping, Sequence
from typing import Any

import trio

from engines.comparison import Contender, shared_settings
from engines.lab.commands import TimedCommand
from engines.lab.host import Host
from engines.lab.knobs import Number, Value
from engines.lab.scenario import Fault, HostSpec
from engines.lab.session import Session
from engines.patterns.contract import Lesson, Pattern
from tui.ensemble import Member

RATE = Number("rate", "events", "1/s", 1.0, 0.1, 10.0, 0.1, "how many a second")
KILL = Fault("kill", "kill server", "k", "kill server", "its memory is lost", off="restart server")
WORKLOAD = "bells"


async def _listens(host: Host) -> None:
    await trio.sleep_forever()


def rings(name: str, key: str, delay_s: float, *, rate: Number = RATE, breaks_at_s: float | None = None) -> Contender:
    """A pattern that hears of each event after `delay_s`; it may break."""

    async def server(host: Host) -> None:
        while True:
            await trio.sleep(1 / host.knobs.number("rate"))
            if breaks_at_s is not None and trio.current_time() >= breaks_at_s:
                raise ZeroDivisionError("on purpose")
            number = host.event_born(100)
            await trio.sleep(delay_s)
            host.event_handled(number)

    own = Number(f"only-{name}", "own", "s", 1.0, 0.0, 9.0, 1.0, "nobody else has it")
    lesson = Lesson(
        name="bells",
        title=f"Bells of {name}",
        purpose="Every bell is heard.",
        hosts=(HostSpec("client", _listens), HostSpec("server", server)),
        knobs=(own, rate),
        faults=(KILL, Fault(f"own-{name}", "own fault", "x", f"drop next {len(name)} messages", "only here")),
        workload=WORKLOAD,
    )
    return Contender(Pattern(name, name.capitalize(), name.capitalize(), key, "Bells.", (lesson,)), lesson)


def open_paused(
    pattern: Pattern,
    lesson: Lesson,
    seed: int,
    knobs: Mapping[str, Value],
    pace: float,
    *,
    paused: bool = True,
    commands: Sequence[TimedCommand] = (),
) -> Session:
    """What the engine does when it is asked for a session; all of them stand still here."""
    name = f"{pattern.name}/{lesson.name}"
    return Session(lesson, name=name, seed=seed, knobs=knobs, pace=pace, paused=True, commands=commands)


def members(*group: Contender) -> list[Member]:
    """Their runs, with the settings they share, not started."""
    settings: list[dict[str, Any]] = shared_settings(group, {})
    return [
        Member(c.pattern.title, c.lesson, open_paused(c.pattern, c.lesson, 7, knobs, 1.0))
        for c, knobs in zip(group, settings, strict=True)
    ]
