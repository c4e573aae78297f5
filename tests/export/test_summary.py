"""The summary is one JSON object that a program can rely on, and a few lines for people."""

import json
import math

from engines.export.summary import Run, readings, summary_json, summary_text
from engines.lab.commands import SetKnob, TimedCommand
from engines.lab.facts import Measured
from engines.lab.knobs import NETWORK_KNOBS, Choice, Knob, Toggle, Value
from engines.metrics import CATALOGUE
from tests.synthetic import Script

KNOBS: tuple[Knob, ...] = (
    Toggle("keep-alive", "keep-alive", True, "whether a connection serves many requests", "kept", "closed"),
    Choice("sending", "sending", "normal", ("normal", "slow"), "how"),
    *NETWORK_KNOBS,
)
VALUES: dict[str, Value] = {"keep-alive": True, "sending": "slow", "latency": 0.08, "bandwidth": math.inf}
RUN = Run(
    "request-response", "simple-get", 7, VALUES, [TimedCommand(1.5, SetKnob("latency", "200ms"))], 10.0, "stopped"
)


def script() -> Script:
    made = Script().begin()
    made.connect(0.0)
    made.exchange(1.0)
    made.trace.record(Measured("server", "duplicate charges", 1.0), 2.0)
    return made


def test_the_object_says_what_was_run_and_what_came_of_it() -> None:
    told = json.loads(summary_json(RUN, script().trace, KNOBS, ("delay",)))
    numbers = told.pop("numbers")
    assert told == {
        "format": "commtui-run",
        "version": 1,
        "pattern": "request-response",
        "scenario": "simple-get",
        "seed": 7,
        "knobs": {
            "keep-alive": {"value": True, "unit": "", "text": "kept"},
            "sending": {"value": "slow", "unit": "", "text": "slow"},
            "latency": {"value": 0.08, "unit": "s", "text": "80 ms"},
            "bandwidth": {"value": "inf", "unit": "B/s", "text": "unlimited"},
        },
        "commands": [{"at_s": 1.5, "command": "set latency 200ms"}],
        "end_s": 10.0,
        "state": "stopped",
        "message": "",
        "facts": len(script().trace),
    }
    assert next(iter(numbers)) == "delay"
    assert set(numbers) == {*CATALOGUE, "measured:duplicate charges"}
    assert numbers["requests"] == {"value": 1, "unit": "", "text": "1", "title": "requests"}
    assert numbers["pool-wait"]["value"] is None
    assert all(set(number) == {"value", "unit", "text", "title"} for number in numbers.values())


def test_the_same_run_gives_the_same_text() -> None:
    assert summary_json(RUN, script().trace, KNOBS) == summary_json(RUN, script().trace, KNOBS)


def test_the_numbers_a_lesson_watches_come_first_and_each_once() -> None:
    names = [reading.name for reading in readings(script().trace, 10.0, ("delay", "measured:duplicate charges"))]
    assert names[:2] == ["delay", "measured:duplicate charges"]
    assert len(names) == len(set(names))


def test_people_get_the_numbers_of_the_lesson() -> None:
    assert summary_text(RUN, script().trace, ("requests", "delay")).splitlines() == [
        "request-response / simple-get, seed 7: stopped at 10 s",
        "  requests           1",
        "  delay p50          100 ms",
        "  duplicate charges  1",
    ]
