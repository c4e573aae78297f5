"""The contract of a pattern, over every registered pattern and scenario. A new pattern gets all of this for nothing."""

import ast
import importlib
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from string import ascii_lowercase

import pytest

from engines.lab.commands import TimedCommand, check_command, parse_command
from engines.lab.datagrams import Address, DatagramSocket
from engines.lab.facts import PacketDelivered, PacketKind, PacketSent
from engines.lab.knobs import KnobBoard, Number, Value
from engines.lab.session import Session, SessionState
from engines.lab.tcp import Endpoint
from engines.lab.trace_file import trace_digest
from engines.metrics import find_metric
from engines.patterns.contract import Lesson, Pattern
from engines.patterns.registry import PATTERNS
from engines.story import beat_faults
from tests.patterns.laws import breaches, every
from tests.patterns.runs import LESSONS, at, behaviour, fingerprint, other_values, run, sessions_alive, text_of

every_lesson = pytest.mark.parametrize("lesson", LESSONS)
every_pattern = pytest.mark.parametrize("pattern", [pytest.param(pattern, id=pattern.name) for pattern in PATTERNS])

# --- what is declared ---------------------------------------------------------------------------------------------------

KEYS_OF_THE_APP = set("rqsmvznpyt")
"""Letters that mean the same in every tab."""
ALLOWED_OF_THE_LAB = {"facts", "knobs", "scenario", "host", "units"}
FORBIDDEN = {
    "asyncio",
    "time",
    "random",
    "threading",
    "secrets",
    "uuid",
    "datetime",
    "socket",
    "rich",
    "textual",
    "tui",
}
"""What would let a pattern see real time, real randomness, a real network, or the screen."""


def test_patterns_have_names_and_keys_of_their_own() -> None:
    for field in ("name", "key", "tab", "title"):
        values = [getattr(pattern, field) for pattern in PATTERNS]
        assert len(set(values)) == len(values), field
    assert all(len(pattern.key) == 1 and pattern.key.isdigit() for pattern in PATTERNS)


@every_pattern
def test_lessons_have_names_of_their_own(pattern: Pattern) -> None:
    assert pattern.lessons
    for field in ("name", "title"):
        values = [getattr(lesson, field) for lesson in pattern.lessons]
        assert len(set(values)) == len(values), field
    assert pattern.lesson() is pattern.lessons[0]


@every_lesson
def test_names_and_keys_are_unique(lesson: Lesson) -> None:
    for names in (
        [spec.name for spec in lesson.hosts],
        [knob.name for knob in lesson.all_knobs()],
        [knob.title for knob in lesson.all_knobs()],
        [fault.name for fault in lesson.faults],
        [fault.title for fault in lesson.faults],
        [fault.key for fault in lesson.faults],
        [fault.on for fault in lesson.faults],
    ):
        assert len(set(names)) == len(names), names
    for spec in lesson.hosts:
        assert spec.name.isalnum(), f"{spec.name}: `cut A-B` could be read in two ways"
    keys = {fault.key for fault in lesson.faults}
    assert keys <= set(ascii_lowercase) - KEYS_OF_THE_APP


@every_lesson
def test_texts_are_one_line_each(lesson: Lesson) -> None:
    texts = [lesson.title, lesson.purpose, *lesson.try_next]
    texts += [knob.help for knob in lesson.all_knobs()] + [fault.help for fault in lesson.faults]
    for text in texts:
        assert text, "an empty text"
        assert "\n" not in text
        assert text == text.strip()
        assert len(text) <= 130, text
    assert lesson.try_next
    assert lesson.beats


@every_lesson
def test_titles_of_knobs_fit_the_panel(lesson: Lesson) -> None:
    """18 cells are what `tui.panels.controls` gives to a title at most: beside it there must be room for value and slider."""
    assert [knob.title for knob in lesson.all_knobs() if len(knob.title) > 18] == []


@every_lesson
def test_metrics_exist(lesson: Lesson) -> None:
    for name in lesson.metrics:
        find_metric(name)


@every_lesson
def test_beats_fit_their_facts(lesson: Lesson) -> None:
    assert beat_faults(lesson) == []


@every_lesson
def test_fault_commands_fit_the_scenario(lesson: Lesson) -> None:
    hosts = [spec.name for spec in lesson.hosts]
    for fault in lesson.faults:
        for text in (fault.on, fault.off):
            if text is not None:
                command = parse_command(text)
                check_command(command, hosts, KnobBoard(lesson.all_knobs()))
                assert parse_command(str(command)) == command


@every_lesson
def test_a_knob_reads_what_it_writes(lesson: Lesson) -> None:
    for knob in lesson.all_knobs():
        assert knob.parse(text_of(knob, knob.default)) == knob.default
        for value in other_values(knob):
            assert knob.parse(text_of(knob, value)) == value


@every_lesson
def test_the_network_s_defaults_name_its_knobs(lesson: Lesson) -> None:
    assert set(lesson.network) <= {"latency", "jitter", "bandwidth", "loss"}


@every_pattern
def test_the_code_keeps_to_its_side(pattern: Pattern) -> None:
    """A pattern sees hosts, facts and knobs, never how the lab works; no clock but trio's, no luck but its host's."""
    for path in sources(pattern):
        for module in imports(path):
            parts = module.split(".")
            assert parts[0] not in FORBIDDEN, f"{path.name} imports {module}"
            if parts[:2] == ["engines", "lab"]:
                assert parts[2] in ALLOWED_OF_THE_LAB, f"{path.name} imports {module}"
            if parts[:2] == ["engines", "patterns"]:
                others = {p.name.replace("-", "_").replace("/", "_") for p in PATTERNS if p is not pattern}
                assert parts[2] not in others, f"{path.name} imports {module}"


def sources(pattern: Pattern) -> set[Path]:
    """The files in which the programs of a pattern stand."""
    modules = {spec.program.__module__ for lesson in pattern.lessons for spec in lesson.hosts}
    files = {importlib.import_module(name).__file__ for name in modules}
    return {Path(name) for name in files if name is not None}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


# --- the same orders give the same run ----------------------------------------------------------------------------------


@every_lesson
def test_it_runs_and_obeys_every_law(lesson: Lesson) -> None:
    session = run(lesson)
    assert session.status.state is SessionState.ENDED, session.status.message
    assert len(session.trace) > 50, "nothing much happens by itself"
    assert breaches(session.trace) == []
    assert sessions_alive() == []


@every_lesson
def test_something_is_on_the_way_within_the_first_seconds(lesson: Lesson) -> None:
    """A class should not have to touch anything to see something; no gap is longer than a third of the run."""
    trace = run(lesson).trace
    sent = [record.time_s for record, _ in every(trace, PacketSent)]
    gaps = [later - earlier for earlier, later in zip([0.0, *sent], [*sent, lesson.until_s], strict=True)]
    assert max(gaps) <= lesson.until_s / 3


@every_lesson
def test_same_seed_same_trace(lesson: Lesson) -> None:
    first, second, other = run(lesson, seed=7), run(lesson, seed=7), run(lesson, seed=8)
    assert trace_digest(first.trace) == trace_digest(second.trace)
    assert trace_digest(first.trace) != trace_digest(other.trace)


@every_lesson
def test_the_pace_changes_nothing(lesson: Lesson) -> None:
    """Steps, a run flat out, playing at three paces, pauses: the trace is that of an uninterrupted run."""
    session = Session(lesson, paused=True, limit_s=lesson.until_s)
    session.start()
    for _ in range(12):
        session.step()
        assert session.wait_idle(20.0)
    session.run_until(lesson.until_s / 4)
    assert session.wait_idle(20.0)
    for pace in (500.0, 5000.0, math.inf):
        session.set_pace(pace)
        session.play()
        session.pause()
        assert session.wait_idle(20.0)
    session.play()
    assert session.wait_idle(20.0)
    session.close()
    assert fingerprint(session.trace) == fingerprint(run(lesson).trace)


@every_lesson
def test_a_run_that_was_steered_can_be_replayed(lesson: Lesson) -> None:
    """Orders given live, in pauses and between two events, are on record; the record gives the same run again."""
    session = Session(lesson, paused=True)
    session.start()
    for i, fault in enumerate(lesson.faults):
        session.run_until(0.7 + i)
        assert session.wait_idle(20.0)
        session.command(fault.on)
        assert session.wait_idle(20.0)
        if fault.off is not None:
            session.step()
            assert session.wait_idle(20.0)
            session.command(fault.off)
            assert session.wait_idle(20.0)
    session.command(f"set latency {text_of(lesson.all_knobs()[-4], 0.123)}")
    session.run_until(lesson.until_s)
    assert session.wait_idle(20.0)
    session.close()
    replayed = run(lesson, session.commands)
    assert fingerprint(replayed.trace) == fingerprint(session.trace)
    assert breaches(replayed.trace) == []


# --- the network is a network -------------------------------------------------------------------------------------------


@every_lesson
def test_nothing_arrives_before_it_can(lesson: Lesson) -> None:
    latency_s = next(float(knob.default) for knob in lesson.all_knobs() if knob.name == "latency")
    trace = run(lesson).trace
    sent_at = {record.id: record.time_s for record, _ in every(trace, PacketSent)}
    for record, delivered in every(trace, PacketDelivered):
        assert record.time_s >= sent_at[delivered.packet] + latency_s - 1e-9


@every_lesson
def test_programs_read_what_was_sent(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a program reads from a connection is, byte for byte, the beginning of what the other has sent, loss or not.

    A datagram that it reads was sent so.
    """
    read: defaultdict[tuple[int, str], bytearray] = defaultdict(bytearray)
    datagrams_read: set[bytes] = set()
    receive_some, receive_from = Endpoint.receive_some, DatagramSocket.receive_from

    async def noted(self: Endpoint, max_bytes: int | None = None) -> bytes:
        data = await receive_some(self, max_bytes)
        read[self.flow, self.remote] += data
        return data

    async def noted_too(self: DatagramSocket) -> tuple[bytes, Address]:
        data, source = await receive_from(self)
        datagrams_read.add(data)
        return data, source

    monkeypatch.setattr(Endpoint, "receive_some", noted)
    monkeypatch.setattr(DatagramSocket, "receive_from", noted_too)
    trace = run(lesson, knobs={"loss": 0.1, "jitter": 0.05}).trace
    sent: defaultdict[tuple[int, str], bytearray] = defaultdict(bytearray)
    for _, packet in every(trace, PacketSent):
        if packet.kind is PacketKind.DATA and packet.attempt == 1:
            sent[packet.flow, packet.sender] += packet.payload
    datagrams_sent = {packet.payload for _, packet in every(trace, PacketSent) if packet.kind is PacketKind.DATAGRAM}
    assert read or datagrams_read
    assert datagrams_read <= datagrams_sent
    for stream, data in read.items():
        assert sent[stream].startswith(data), stream


# --- everything that can be turned does something -----------------------------------------------------------------------

FAULT_TIMES = ((1.0, 2.0), (5.0, 6.0))
"""When the search for an effect switches a fault on and off again."""


@every_lesson
def test_every_knob_changes_some_trace(lesson: Lesson) -> None:
    """A number for at least one other value; a toggle or a choice for each."""
    base: dict[int, str] = {}
    until_s = min(lesson.until_s, 15.0)
    circumstances = list(all_circumstances(lesson))

    def differs(number: int, knob: str, value: Value) -> bool:
        knobs, commands = circumstances[number]
        if knob in knobs:
            return False
        if number not in base:
            base[number] = fingerprint(run(lesson, commands, knobs=knobs, until_s=until_s).trace)
        return fingerprint(run(lesson, commands, knobs={**knobs, knob: value}, until_s=until_s).trace) != base[number]

    for knob in lesson.all_knobs():
        values = other_values(knob)
        groups = [values] if isinstance(knob, Number) else [[value] for value in values]
        for group in groups:
            alive = any(differs(n, knob.name, value) for n in range(len(circumstances)) for value in group)
            assert alive, f"{knob.name} = {group} changes nothing"


def all_circumstances(lesson: Lesson) -> Iterator[tuple[dict[str, Value], list[TimedCommand]]]:
    """Starting knobs and commands under which a knob may show what it does: the plain run first, then stranger ones."""
    knobs: list[dict[str, Value]] = [{knob.name: value} for knob in lesson.knobs for value in other_values(knob)]
    troubles = [
        [at(on_s, fault.on)] + ([at(off_s, fault.off)] if fault.off else [])
        for fault in lesson.faults
        for on_s, off_s in FAULT_TIMES
    ]
    yield {}, []
    yield from ((other, []) for other in knobs)
    yield from (({}, trouble) for trouble in troubles)
    yield from ((other, trouble) for other in knobs for trouble in troubles)


@every_lesson
def test_every_fault_changes_some_trace(lesson: Lesson) -> None:
    plain = behaviour(run(lesson).trace)
    for fault in lesson.faults:
        for on_s in (0.3, 1.0, 2.5, 5.0):
            commands = [at(on_s, fault.on)] + ([at(on_s + 2, fault.off)] if fault.off else [])
            if behaviour(run(lesson, commands).trace) != plain:
                break
        else:
            pytest.fail(f"{fault.name} changes nothing")


@every_lesson
def test_a_fault_that_can_be_taken_back_leaves_a_run_that_goes_on(lesson: Lesson) -> None:
    for fault in lesson.faults:
        if fault.off is not None:
            session = run(lesson, [at(1.0, fault.on), at(4.0, fault.off)], until_s=lesson.until_s + 20)
            assert session.status.state is SessionState.ENDED, session.status.message
            assert every(session.trace, PacketDelivered)[-1][0].time_s > lesson.until_s, f"no life after {fault.name}"
