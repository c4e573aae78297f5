"""Brings in the engines and the network libraries they need: slow, so the app calls it in a thread after its first paint."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import islice

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
    from engines.story import explain, suggestion, tell
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
        what = explain(trace, fact_id, lesson)
        causes = what.cause_chain[:CAUSES_TOLD]
        return (
            what.text,
            *(f"because, at {trace.time[cause]:.3f} s: {explain(trace, cause, lesson).text}" for cause in causes),
        )

    def why(trace: Trace, fact_id: int, lesson: Lesson, most: int) -> tuple[Link, ...]:
        chain = islice((fact_id, *explain(trace, fact_id, lesson).cause_chain), most)
        return tuple(Link(link, trace.time[link], explain(trace, link, lesson).text) for link in chain)

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
