"""Brings in the engines and the network libraries they need: slow, so the app calls it in a thread after its first paint."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import chain, islice

from engines.lab.commands import TimedCommand
from engines.lab.dissection import Part, Side
from engines.lab.knobs import Value
from engines.lab.trace import Trace
from tui.engine import Engine
from tui.panels.story import Link, Told

CAUSES_TOLD = 2
"""How far back an explanation goes: what a fact followed from, and what that followed from."""


def load_engine() -> Engine:
    """Import everything a run and its tab need."""
    import_module("tui.widgets.pattern_tab")
    import_module("tui.screens.finding")
    from engines.lab.session import Session
    from engines.metrics.catalogue import find_metric
    from engines.metrics.numbers import Numbers
    from engines.patterns.contract import Lesson, Pattern
    from engines.patterns.registry import PATTERNS
    from engines.story import causes, meaning, suggestion, tell
    from engines.wire.dissectors import dissector_named
    from engines.wire.equivalents import equivalent_command

    def open_session(
        pattern: Pattern,
        lesson: Lesson,
        seed: int,
        knobs: Mapping[str, Value],
        pace: float,
        *,
        paused: bool = False,
        commands: Sequence[TimedCommand] = (),
    ) -> Session:
        name = f"{pattern.name}/{lesson.name}"
        return Session(
            lesson, name=name, seed=seed, knobs=knobs, commands=commands, pace=pace, courteous=True, paused=paused
        )

    def parts(protocol: str, side: Side, stream: bytes, start: int, end: int) -> list[Part]:
        dissector = dissector_named(protocol)
        return dissector.parts(side, stream, start, end) if dissector is not None else []

    def told(trace: Trace, length: int, lesson: Lesson, count: int) -> tuple[Told, ...]:
        return tuple(Told(story.time_s, story.text) for story in tell(trace, length, lesson, count))

    def explained(trace: Trace, fact_id: int, lesson: Lesson) -> tuple[str, ...]:
        what, *because = why(trace, fact_id, lesson, 1 + CAUSES_TOLD)
        return (what.text, *(f"because, at {link.time_s:.3f} s: {link.text}" for link in because))

    def why(trace: Trace, fact_id: int, lesson: Lesson, most: int) -> tuple[Link, ...]:
        links = islice(chain([fact_id], causes(trace, fact_id)), most)
        return tuple(Link(link, trace.time[link], meaning(trace, link, lesson)) for link in links)

    return Engine(
        patterns=PATTERNS,
        open_session=open_session,
        numbers=Numbers,
        metric_title=lambda name: find_metric(name).title,
        tell=told,
        suggest=suggestion,
        explain=explained,
        why=why,
        parts=parts,
        equivalent=equivalent_command,
    )
