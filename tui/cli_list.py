"""What `commtui list` prints: every pattern with its scenarios, knobs and faults, as text or as JSON."""

import json
import math

from engines.lab.knobs import Choice, Knob, Number, Toggle
from engines.lab.scenario import Fault
from engines.patterns.contract import Lesson, Pattern
from engines.patterns.registry import PATTERNS

JsonValue = str | float | bool | None | list["JsonValue"] | dict[str, "JsonValue"]


def listing_text() -> str:
    """All of it, indented; a line for each scenario, knob and fault."""
    return "\n\n".join("\n".join(_pattern_lines(pattern)) for pattern in PATTERNS)


def _pattern_lines(pattern: Pattern) -> list[str]:
    lines = [f"{pattern.name}: {pattern.title}", f"  {pattern.summary}"]
    for lesson in pattern.lessons:
        lines += ["", f"  {lesson.name}: {lesson.title}", f"    {lesson.purpose}"]
        knobs = lesson.all_knobs()
        width = max(len(knob.name) for knob in knobs)
        for knob in knobs:
            default = knob.format(knob.default)
            lines.append(f"    set {knob.name:<{width}}  {default} ({knob_range(knob)}): {knob.help}")
        for fault in lesson.faults:
            ends = f", then {fault.off}" if fault.off else ""
            lines.append(f"    fault {fault.name}: {fault.on}{ends}: {fault.help}")
    return lines


def knob_range(knob: Knob) -> str:
    """What values a knob takes, in words."""
    if isinstance(knob, Number):
        return f"{knob.format(knob.minimum)} to {knob.format(knob.maximum)}"
    if isinstance(knob, Toggle):
        return f"{knob.on} or {knob.off}"
    return ", ".join(knob.choices)


def listing_json() -> str:
    """All of it as one object."""
    return json.dumps(
        {"format": "commtui-list", "version": 1, "patterns": [_pattern(pattern) for pattern in PATTERNS]},
        ensure_ascii=False,
        allow_nan=False,
        indent=2,
    )


def _pattern(pattern: Pattern) -> JsonValue:
    return {
        "name": pattern.name,
        "title": pattern.title,
        "summary": pattern.summary,
        "scenarios": [_lesson(lesson) for lesson in pattern.lessons],
    }


def _lesson(lesson: Lesson) -> JsonValue:
    return {
        "name": lesson.name,
        "title": lesson.title,
        "purpose": lesson.purpose,
        "until_s": lesson.until_s,
        "hosts": [spec.name for spec in lesson.hosts],
        "metrics": list(lesson.metrics),
        "knobs": [_knob(knob) for knob in lesson.all_knobs()],
        "faults": [_fault(fault) for fault in lesson.faults],
    }


def _knob(knob: Knob) -> JsonValue:
    common: dict[str, JsonValue] = {"name": knob.name, "title": knob.title, "help": knob.help}
    if isinstance(knob, Number):
        quantities = {"default": knob.default, "minimum": knob.minimum, "maximum": knob.maximum}
        numbers: dict[str, JsonValue] = {name: _finite(value) for name, value in quantities.items()}
        return common | {"kind": "number", "unit": knob.unit} | numbers | {"whole": knob.integer}
    if isinstance(knob, Toggle):
        return common | {"kind": "toggle", "default": knob.default, "on": knob.on, "off": knob.off}
    assert isinstance(knob, Choice)
    return common | {"kind": "choice", "default": knob.default, "choices": list(knob.choices)}


def _fault(fault: Fault) -> JsonValue:
    return {"name": fault.name, "title": fault.title, "help": fault.help, "on": fault.on, "off": fault.off}


def _finite(value: float) -> float | str:
    """JSON has no infinity; it is written as in the trace file."""
    return value if math.isfinite(value) else str(value)
