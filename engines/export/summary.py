"""A run as one JSON object: what was run, with what settings and orders, until when, and the numbers it came to."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engines.lab.commands import TimedCommand
from engines.lab.knobs import Knob, Number, Value
from engines.lab.trace import Trace
from engines.lab.units import format_quantity
from engines.metrics import CATALOGUE, Numbers, find_metric, format_value


@dataclass(frozen=True, slots=True)
class Run:
    """What was run. `knobs` are the values at its start; `end_s` is the virtual time it came to.

    `state` is "ended" (every program returned), "stopped" (time was up) or "failed", and `message` says more.
    """

    pattern: str
    scenario: str
    seed: int
    knobs: Mapping[str, Value]
    commands: Sequence[TimedCommand]
    end_s: float
    state: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """One number at the end of a run. `value` is in the unit's base unit (a fraction for "%"), None while there is
    none.
    """

    name: str
    title: str
    unit: str
    value: float | None
    text: str


def readings(trace: Trace, end_s: float, first: Sequence[str] = ()) -> tuple[Reading, ...]:
    """All numbers of a run at its end: those named in `first`, then the rest of the catalogue, then what programs
    measured.
    """
    numbers = Numbers(trace)
    names = dict.fromkeys([*first, *CATALOGUE, *numbers.measured(end_s)])
    found = []
    for name in names:
        metric = find_metric(name)
        value = numbers.value(name, end_s)
        found.append(Reading(name, metric.title, metric.unit, value, format_value(metric, value)))
    return tuple(found)


def summary_json(run: Run, trace: Trace, knobs: Sequence[Knob], metrics: Sequence[str] = ()) -> str:
    """The object as text, the same for the same run. `knobs` say the units, `metrics` which numbers come first."""
    kinds = {knob.name: knob for knob in knobs}
    return json.dumps(
        {
            "format": "commtui-run",
            "version": 1,
            "pattern": run.pattern,
            "scenario": run.scenario,
            "seed": run.seed,
            "knobs": {name: _quantity(value, kinds[name]) for name, value in run.knobs.items()},
            "commands": [{"at_s": timed.time_s, "command": str(timed.command)} for timed in run.commands],
            "end_s": run.end_s,
            "state": run.state,
            "message": run.message,
            "facts": len(trace),
            "numbers": {
                r.name: {"value": _finite(r.value), "unit": r.unit, "text": r.text, "title": r.title}
                for r in readings(trace, run.end_s, metrics)
            },
        },
        ensure_ascii=False,
        allow_nan=False,
        indent=2,
    )


def _quantity(value: Value, knob: Knob) -> dict[str, Value | None]:
    unit = knob.unit if isinstance(knob, Number) else ""
    return {"value": _finite(value) if isinstance(value, float) else value, "unit": unit, "text": knob.format(value)}


def _finite(value: float | None) -> float | str | None:
    """JSON has no infinity; it is written as in the trace file."""
    return value if value is None or math.isfinite(value) else str(value)


def summary_text(run: Run, trace: Trace, metrics: Sequence[str]) -> str:
    """The run in a few lines for people: what it was, how it ended, and the numbers that its lesson watches."""
    ended = {"ended": "over", "stopped": "stopped", "failed": "failed"}[run.state]
    head = f"{run.pattern} / {run.scenario}, seed {run.seed}: {ended} at {format_quantity(run.end_s, 's')}"
    watched = [
        r for r in readings(trace, run.end_s, metrics) if r.name in metrics or (r.name not in CATALOGUE and r.value)
    ]
    width = max((len(r.title) for r in watched), default=0)
    return "\n".join([head, *(f"  {r.title:<{width}}  {r.text}" for r in watched)])
