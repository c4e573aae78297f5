"""A laboratory without an engine: a session whose time stands still until the test moves it, playing a script of facts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from engines.lab.commands import TimedCommand, check_command, parse_command
from engines.lab.dissection import Part, Side
from engines.lab.facts import (
    CommandApplied,
    ConnectionOpened,
    ConnectionOpening,
    HostDeclared,
    HostStarted,
    KnobTurned,
    MessageEnded,
    MessageStarted,
    PacketDelivered,
    PacketKind,
    PacketSent,
    Role,
    RunStarted,
    Text,
    WorkFinished,
    WorkStarted,
)
from engines.lab.knobs import Choice, KnobBoard, Number, Toggle, Value
from engines.lab.scenario import Fault, HostSpec
from engines.lab.trace import Trace
from engines.metrics.catalogue import find_metric
from engines.metrics.numbers import Numbers
from engines.patterns.contract import Lesson, Pattern
from engines.story import cause_chain
from engines.wire.dissectors import dissector_named
from engines.wire.equivalents import equivalent_command
from tui.engine import Engine
from tui.panels.story import Link, Told

REQUEST = b"GET /hello HTTP/1.1\r\nhost: server\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\nhello, class!\n"

TRIP_S = 0.4
ROUND_S = 2.0


async def _program(host: Any) -> None: ...


def lesson(name: str = "get", title: str = "Simple GET", workload: str = "") -> Lesson:
    return Lesson(
        workload=workload,
        name=name,
        title=title,
        purpose="One question, one answer: watch where each message ends.",
        hosts=(HostSpec("client", _program), HostSpec("server", _program)),
        knobs=(
            Number("service-time", "service time", "s", 0.2, 0.0, 5.0, 0.05, "how long the server works"),
            Toggle("keep-alive", "keep-alive", True, "one connection for all requests"),
            Choice("body", "body", "small", ("small", "large"), "how much comes back"),
        ),
        faults=(
            Fault("kill", "kill server", "k", "kill server", "its memory is lost", off="restart server"),
            Fault("drop", "drop next message", "x", "drop next message", "the network loses a packet"),
        ),
        metrics=("requests", "responses", "bytes", "delay"),
        try_next=("Kill the server while it works.", "Raise the latency and watch the delay."),
    )


PATTERNS = (
    Pattern(
        name="request-response",
        title="Request / response",
        tab="Req/Resp",
        key="1",
        summary="One question, one answer.",
        lessons=(lesson(workload="greetings"), lesson("slow", "A slow server")),
    ),
    Pattern(
        name="short-polling",
        title="Short polling",
        tab="Short poll",
        key="4",
        summary="Ask again and again.",
        lessons=(lesson("job", "A long job", "greetings"),),
    ),
)


def story(trace: Trace) -> Iterator[float]:
    """Records facts and yields the time at which it wants to go on: a connection, then an exchange every ROUND_S."""
    now = 0.0
    sizes = {"client": 0, "server": 0}

    def packet(sender: str, receiver: str, kind: PacketKind, data: bytes = b"") -> int:
        offset = sizes[sender]
        sizes[sender] += len(data)
        return trace.record(PacketSent(1, sender, receiver, kind, offset, 1, now + TRIP_S, data), now)

    def message(sender: str, receiver: str, data: bytes, role: Role, label: str, boundary: str) -> int:
        offset = sizes[sender]
        sent = packet(sender, receiver, PacketKind.DATA, data)
        started = trace.record(MessageStarted(1, sender, receiver, role, offset, 0, Text(label)), now, sent)
        trace.record(MessageEnded(started, 1, offset + len(data), boundary), now, sent)
        return sent

    for host in ("client", "server"):
        trace.record(HostDeclared(host), now)
    for host in ("client", "server"):
        trace.record(HostStarted(host, 1), now)
    trace.record(ConnectionOpening(1, "client", "server", 80, "http/1.1"), now)
    for sender, receiver, kind in (("client", "server", PacketKind.SYN), ("server", "client", PacketKind.SYN_ACK)):
        sent = packet(sender, receiver, kind)
        now = round(now + TRIP_S, 6)
        yield now
        trace.record(PacketDelivered(sent, 1, receiver), now, sent)
    trace.record(ConnectionOpened(1, "client"), now)
    while True:
        begun = now
        sent = message("client", "server", REQUEST, Role.REQUEST, "GET /hello", "no body")
        yield (now := round(now + TRIP_S, 6))
        arrived = trace.record(PacketDelivered(sent, 1, "server"), now, sent)
        work = trace.record(WorkStarted("server", Text("hello")), now, arrived)
        yield (now := round(now + 0.2, 6))
        trace.record(WorkFinished(work, "server", Text("done")), now, work)
        sent = message("server", "client", RESPONSE, Role.RESPONSE, "200 OK", "content-length")
        yield (now := round(now + TRIP_S, 6))
        trace.record(PacketDelivered(sent, 1, "client"), now, sent)
        yield (now := round(begun + ROUND_S, 6))


class FakeState(Enum):
    PLAYING = "playing"
    PAUSED = "paused"
    ENDED = "ended"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class FakeStatus:
    state: FakeState
    now_s: float
    pace: float
    message: str = ""


class FakeSession:
    """Its time moves only by `advance`."""

    def __init__(
        self,
        scenario: Lesson,
        name: str,
        seed: int,
        knobs: Mapping[str, Value],
        pace: float,
        *,
        paused: bool = False,
        commands: Sequence[TimedCommand] = (),
    ) -> None:
        self._paused = paused
        self._waiting = list(commands)
        self.commands: list[TimedCommand] = list(commands)
        self.scenario = scenario
        self.trace = Trace()
        self.seed = seed
        self.given: list[str] = []
        self.closed = False
        self._board = KnobBoard(scenario.all_knobs())
        for knob, value in knobs.items():
            self._board.set(knob, value)
        self._state = FakeState.PAUSED
        self._now = 0.0
        self._pace = pace
        self._message = ""
        self.trace.record(RunStarted(seed, Text(name)), 0.0)
        self._story = story(self.trace)
        self._next = next(self._story)

    @property
    def status(self) -> FakeStatus:
        return FakeStatus(self._state, self._now, self._pace, self._message)

    def start(self) -> None:
        self._state = FakeState.PAUSED if self._paused else FakeState.PLAYING
        self.advance(0.0)

    def play(self) -> None:
        self._state = FakeState.PLAYING

    def pause(self) -> None:
        self._state = FakeState.PAUSED

    def step(self) -> None:
        self.advance(max(0.0, self._next - self._now))

    def run_until(self, time_s: float) -> None:
        self._state = FakeState.PAUSED if self._state is FakeState.PLAYING else self._state
        self.advance(max(0.0, time_s - self._now))

    def wait_idle(self, timeout_s: float | None = None) -> bool:
        return True

    def set_pace(self, pace: float) -> None:
        self._pace = pace

    def command(self, command: Any) -> Any:
        parsed = parse_command(str(command))
        check_command(parsed, [host.name for host in self.scenario.hosts], self._board)
        self.commands.append(TimedCommand(self._now, parsed))
        self._apply(parsed)
        return parsed

    def _apply(self, parsed: Any) -> None:
        self.given.append(str(parsed))
        order = self.trace.record(CommandApplied(len(self.given) - 1, Text(str(parsed))), self._now)
        knob, text = getattr(parsed, "knob", None), getattr(parsed, "text", "")
        if knob is not None:
            found = self._board.find(knob)
            value = found.parse(text)
            self._board.set(knob, value)
            self.trace.record(KnobTurned(knob, Text(found.format(value))), self._now, order)

    def locate(self, take: Any) -> None:
        take(())

    def knob_values(self) -> dict[str, Value]:
        return dict(self._board)

    def close(self) -> None:
        self.closed = True

    # --- for the test ---------------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let virtual time pass."""
        until = round(self._now + seconds, 9)
        while self._next <= until or (self._waiting and self._waiting[0].time_s <= until):
            if self._waiting and self._waiting[0].time_s < self._next:
                timed = self._waiting.pop(0)
                self._now = timed.time_s
                self._apply(timed.command)
            else:
                self._next = next(self._story)
        self._now = until

    def fail(self, message: str) -> None:
        self._state, self._message = FakeState.FAILED, message


class FakeLab:
    """Keeps the sessions it opened, newest last, so that a test can look at them and move their time."""

    def __init__(self) -> None:
        self.sessions: list[FakeSession] = []

    @property
    def session(self) -> FakeSession:
        return self.sessions[-1]

    def load(self) -> Engine:
        return Engine(
            patterns=PATTERNS,
            open_session=self._open,
            numbers=Numbers,
            metric_title=lambda name: find_metric(name).title,
            tell=lambda trace, length, lesson, count: (Told(trace.time[length - 1], f"{length} facts so far."),),
            suggest=lambda trace, length, lesson: lesson.try_next[0] if lesson.try_next else "",
            explain=lambda trace, fact_id, lesson: (f"This is a {type(trace[fact_id].fact).__name__}.",),
            why=_why,
            parts=_parts,
            equivalent=equivalent_command,
        )

    def _open(
        self,
        pattern: Pattern,
        lesson: Lesson,
        seed: int,
        knobs: Mapping[str, Value],
        pace: float,
        *,
        paused: bool = False,
        commands: Sequence[TimedCommand] = (),
    ) -> FakeSession:
        name = f"{pattern.name}/{lesson.name}"
        self.sessions.append(FakeSession(lesson, name, seed, knobs, pace, paused=paused, commands=commands))
        return self.sessions[-1]


def _why(trace: Trace, fact_id: int, lesson: Lesson, most: int) -> tuple[Link, ...]:
    chain = (fact_id, *cause_chain(trace, fact_id))[:most]
    return tuple(Link(link, trace.time[link], f"This is a {type(trace[link].fact).__name__}.") for link in chain)


def _parts(protocol: str, side: Side, stream: bytes, start: int, end: int) -> list[Part]:
    dissector = dissector_named(protocol)
    return dissector.parts(side, stream, start, end) if dissector is not None else []
