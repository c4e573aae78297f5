"""The contract of a pattern, over every registered pattern and scenario. A new pattern gets all of this for nothing."""

import ast
import importlib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase

import pytest

from engines.lab.commands import TimedCommand, check_command, parse_command
from engines.lab.datagrams import Address, DatagramSocket
from engines.lab.facts import PacketDelivered, PacketKind, PacketSent
from engines.lab.knobs import Knob, KnobBoard, Number, Value
from engines.lab.links import LOOPBACK_S
from engines.lab.session import Session, SessionState
from engines.lab.tcp import Endpoint
from engines.lab.trace import Trace
from engines.lab.trace_file import trace_digest
from engines.metrics import find_metric
from engines.patterns.contract import Lesson, Pattern
from engines.patterns.registry import PATTERNS
from engines.story import beat_faults
from tests.patterns.laws import breaches, every
from tests.patterns.runs import (
    LESSONS,
    PATIENCE_S,
    at,
    behaviour,
    fingerprint,
    is_beginning,
    other_values,
    run,
    run_on,
    running,
    sessions_alive,
    text_of,
)

every_lesson = pytest.mark.parametrize("lesson", LESSONS, scope="module")
"""All tests of one lesson come after each other, so that they can share its plain run."""
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


@pytest.fixture(scope="module")
def plain(lesson: Lesson) -> Session:
    """The lesson as it is, run to its end: for all tests that only look at it."""
    return run(lesson)


@every_lesson
def test_it_runs_and_obeys_every_law(plain: Session) -> None:
    assert plain.status.state is SessionState.ENDED, plain.status.message
    assert len(plain.trace) > 50, "nothing much happens by itself"
    assert breaches(plain.trace) == []
    assert sessions_alive() == []


@every_lesson
def test_something_is_on_the_way_within_the_first_seconds(lesson: Lesson, plain: Session) -> None:
    """A class should not have to touch anything to see something; no gap is longer than a third of the run."""
    sent = [record.time_s for record, _ in every(plain.trace, PacketSent)]
    gaps = [later - earlier for earlier, later in zip([0.0, *sent], [*sent, lesson.until_s], strict=True)]
    assert max(gaps) <= lesson.until_s / 3


@every_lesson
def test_same_seed_same_trace(lesson: Lesson, bumpy: "Overheard") -> None:
    """Where there is luck: on a network that loses and delays as it likes."""
    again = run(lesson, knobs=BUMPS, seed=7)
    assert trace_digest(bumpy.trace) == trace_digest(again.trace)
    with running(lesson, knobs=BUMPS, seed=8) as other:
        assert any(
            behaviour(run_on(other, time_s)) != behaviour(bumpy.trace, time_s)
            for time_s in (2.0, SEARCH_S, lesson.until_s)
        )


@every_lesson
def test_the_pace_changes_nothing(lesson: Lesson, plain: Session) -> None:
    """Steps, a run flat out, playing at three paces, pauses: the trace is that of an uninterrupted run."""
    session = Session(lesson, paused=True, limit_s=lesson.until_s)
    session.start()
    for _ in range(12):
        session.step()
        assert session.wait_idle(PATIENCE_S)
    session.run_until(lesson.until_s / 4)
    assert session.wait_idle(PATIENCE_S)
    for pace in (500.0, 5000.0, math.inf):
        session.set_pace(pace)
        session.play()
        session.pause()
        assert session.wait_idle(PATIENCE_S)
    session.play()
    assert session.wait_idle(PATIENCE_S)
    session.close()
    assert fingerprint(session.trace) == fingerprint(plain.trace)


@every_lesson
def test_a_run_that_was_steered_can_be_replayed(lesson: Lesson) -> None:
    """Orders given live, in pauses and between two events, are on record; the record gives the same run again."""
    session = Session(lesson, paused=True)
    session.start()
    for i, fault in enumerate(lesson.faults):
        session.run_until(0.7 + i)
        assert session.wait_idle(PATIENCE_S)
        session.command(fault.on)
        assert session.wait_idle(PATIENCE_S)
        if fault.off is not None:
            session.step()
            assert session.wait_idle(PATIENCE_S)
            session.command(fault.off)
            assert session.wait_idle(PATIENCE_S)
    session.command(f"set latency {text_of(lesson.all_knobs()[-4], 0.123)}")
    session.run_until(lesson.until_s)
    assert session.wait_idle(PATIENCE_S)
    session.close()
    replayed = run(lesson, session.commands)
    assert fingerprint(replayed.trace) == fingerprint(session.trace)
    assert breaches(replayed.trace) == []


# --- the network is a network -------------------------------------------------------------------------------------------


@every_lesson
def test_nothing_arrives_before_it_can(lesson: Lesson, plain: Session) -> None:
    latency_s = next(float(knob.default) for knob in lesson.all_knobs() if knob.name == "latency")
    machines = {spec.name: spec.machine or spec.name for spec in lesson.hosts}
    sent = {record.id: (record.time_s, packet) for record, packet in every(plain.trace, PacketSent)}
    for record, delivered in every(plain.trace, PacketDelivered):
        sent_s, packet = sent[delivered.packet]
        together = machines[packet.sender] == machines[packet.receiver]
        assert record.time_s >= sent_s + (LOOPBACK_S if together else latency_s) - 1e-9


BUMPS = {"loss": 0.1, "jitter": 0.05}


@dataclass(frozen=True)
class Overheard:
    """A run, and what its programs read: by flow and the host that had sent it, or as datagrams."""

    trace: Trace
    read: dict[tuple[int, str], bytearray]
    datagrams_read: set[bytes]


@pytest.fixture(scope="module")
def bumpy(lesson: Lesson) -> Overheard:
    """The lesson on a bad network."""
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

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Endpoint, "receive_some", noted)
        patch.setattr(DatagramSocket, "receive_from", noted_too)
        return Overheard(run(lesson, knobs=BUMPS, seed=7).trace, read, datagrams_read)


@every_lesson
def test_programs_read_what_was_sent(bumpy: Overheard) -> None:
    """What a program reads from a connection is, byte for byte, the beginning of what the other has sent, loss or not.

    A datagram that it reads was sent so.
    """
    sent: defaultdict[tuple[int, str], bytearray] = defaultdict(bytearray)
    packets = [packet for _, packet in every(bumpy.trace, PacketSent)]
    for packet in packets:
        if packet.kind is PacketKind.DATA and packet.attempt == 1:
            sent[packet.flow, packet.sender] += packet.payload
    assert bumpy.read or bumpy.datagrams_read
    assert bumpy.datagrams_read <= {packet.payload for packet in packets if packet.kind is PacketKind.DATAGRAM}
    for stream, data in bumpy.read.items():
        assert sent[stream].startswith(data), stream


# --- everything that can be turned does something -----------------------------------------------------------------------

SEARCH_S, SEARCH_FACTS = 15.0, 6_000
"""How far a run goes in which something is searched for."""
STRETCHES_S = (0.5, 2.0, 4.0, 7.0, 11.0, SEARCH_S)
"""Where it stands still for a look: most of what can be found shows early."""
FAULT_TIMES = ((1.0, 2.0), (5.0, 6.0))
"""When the search for an effect of a knob switches a fault on and off again."""

Circumstances = tuple[dict[str, Value], list[TimedCommand]]
"""Starting knobs and commands."""


class Effects:
    """Where turning a knob of `lesson` changes the run: in the plain run if it can be, else in stranger circumstances.

    A knob that nobody read cannot have changed anything, so `read`, the names that the running programs ask for, spares most
    of the search.
    """

    def __init__(self, lesson: Lesson, read: set[str]) -> None:
        self._lesson = lesson
        self._read = read
        self._circumstances = list(all_circumstances(lesson))
        self._bases: dict[int, tuple[Trace, set[str]]] = {}

    def find(self, knob: str, values: list[Value]) -> bool:
        """Whether any of `values` changes anything."""
        return any(
            self._differs(number, knob, value)
            for number, (knobs, _) in enumerate(self._circumstances)
            if knob not in knobs and knob in self._base(number)[1]
            for value in values
        )

    def _base(self, number: int) -> tuple[Trace, set[str]]:
        """The run in circumstances as they are, and which knobs somebody read in it."""
        if number not in self._bases:
            self._read.clear()
            knobs, commands = self._circumstances[number]
            trace = run(self._lesson, commands, knobs=knobs, until_s=SEARCH_S, most_facts=SEARCH_FACTS).trace
            self._bases[number] = trace, set(self._read)
        return self._bases[number]

    def _differs(self, number: int, knob: str, value: Value) -> bool:
        knobs, commands = self._circumstances[number]
        base, _ = self._base(number)
        with running(self._lesson, commands, knobs={**knobs, knob: value}, most_facts=SEARCH_FACTS) as session:
            return not all(is_beginning(run_on(session, time_s), base, time_s) for time_s in STRETCHES_S)


@pytest.fixture
def knobs_read(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of the knobs that have been read; a test may clear it."""
    names: set[str] = set()
    values_of = KnobBoard.__init__

    class Noted(dict[str, Value]):
        def __getitem__(self, name: str) -> Value:
            names.add(name)
            return super().__getitem__(name)

    def noted(self: KnobBoard, knobs: Iterable[Knob]) -> None:
        values_of(self, knobs)
        self._values = Noted(self._values)

    monkeypatch.setattr(KnobBoard, "__init__", noted)
    return names


@every_lesson
def test_every_knob_changes_some_trace(lesson: Lesson, knobs_read: set[str]) -> None:
    """A number for at least one other value; a toggle or a choice for each."""
    effects = Effects(lesson, knobs_read)
    for knob in lesson.all_knobs():
        values = other_values(knob)
        groups = [values] if isinstance(knob, Number) else [[value] for value in values]
        for group in groups:
            assert effects.find(knob.name, group), f"{knob.name} = {group} changes nothing"


def all_circumstances(lesson: Lesson) -> Iterator[Circumstances]:
    """Under which a knob may show what it does: the plain run first, then other ways to do it, then stranger ones."""
    turned = [(knob, {knob.name: value}) for knob in lesson.knobs for value in other_values(knob)]
    ways = [other for knob, other in turned if not isinstance(knob, Number)]
    amounts = [other for knob, other in turned if isinstance(knob, Number)]
    troubles = [
        [at(on_s, fault.on)] + ([at(off_s, fault.off)] if fault.off else [])
        for fault in lesson.faults
        for on_s, off_s in FAULT_TIMES
    ]
    yield {}, []
    yield from ((other, []) for other in ways)
    yield from (({}, trouble) for trouble in troubles)
    yield from ((other, []) for other in amounts)
    yield from ((other, trouble) for other in ways + amounts for trouble in troubles)


@every_lesson
def test_every_fault_changes_some_trace(lesson: Lesson, plain: Session) -> None:
    for fault in lesson.faults:
        for on_s in (0.3, 1.0, 2.5, 5.0):
            commands = [at(on_s, fault.on)] + ([at(on_s + 2, fault.off)] if fault.off else [])
            with running(lesson, commands) as session:
                looks_s = [time_s for time_s in (on_s + 1, on_s + 3, on_s + 9) if time_s < lesson.until_s]
                if any(
                    behaviour(run_on(session, time_s)) != behaviour(plain.trace, time_s)
                    for time_s in (*looks_s, lesson.until_s)
                ):
                    break
        else:
            pytest.fail(f"{fault.name} changes nothing")


@every_lesson
def test_a_fault_that_can_be_taken_back_leaves_a_run_that_goes_on(lesson: Lesson) -> None:
    """After two thirds of the time, and if nothing stirs then, at least once the time is over."""
    for fault in lesson.faults:
        if fault.off is not None:
            with running(lesson, [at(1.0, fault.on), at(4.0, fault.off)]) as session:
                late_s = max(10.0, lesson.until_s * 2 / 3)
                looks_s = [late_s + wait_s for wait_s in (1, 3, 9)] + [lesson.until_s + 20]
                assert any(last_arrival_s(run_on(session, time_s)) > late_s for time_s in looks_s), (
                    f"no life after {fault.name}"
                )
            assert session.status.state is SessionState.ENDED, session.status.message


def last_arrival_s(trace: Trace) -> float:
    """When a packet last arrived anywhere."""
    return max((trace.time[i] for i in range(len(trace)) if trace.kind[i] == PacketDelivered.code), default=0.0)
