"""Commands: every order a person can give to a run, as small values with a text form that is the same everywhere.

The text form is the language of `commtui run --at`, of the record of a session, and of the palette:

    set KNOB VALUE                 turn a knob:                 set latency 200ms
    kill HOST / restart HOST       end its program (memory is lost, the kernel closes its connections) / start it again
    unplug HOST / plug HOST        pull the cable of its machine (silence), both ways / put it back
    move HOST                      give it another address: its TCP connections are dead, and no packet to the old one arrives
    cut A>B / hold A>B             lose / stop what travels from A to B; `A-B` means both ways
    restore A>B                    make the link whole; what was held arrives
    reset cN                       break connection number N: both ends get RST
    drop next [N] [WHAT] [from HOST]      the network loses the packet; TCP sends it again after a delay
    lose next [N] [WHAT] [from HOST]      the message never arrives: its connection is reset instead
    hold next [N] [WHAT] [from HOST]      stop it on its way until `release`
    duplicate next [N] [WHAT] [from HOST] the network delivers a copy too: only of datagrams, since a stream has no use for one
    reset after AMOUNT of next [WHAT] [from HOST]   let that much of the body pass (70% or 40kB), then reset the connection
    cut after AMOUNT of next [WHAT] [from HOST]     let that much of the body pass, then cut the link, both ways
    drop #ID / hold #ID / duplicate #ID   the same for a chosen packet or message on its way now (ID is its fact's number)
    release / release #ID          let everything that `hold` stopped go on, or only that one
    WHAT is message, request, response, push, ack, error, heartbeat or packet; or the first word of a message's label, if
    that is in capitals: `lose next PUBACK from broker`

`parse_command` and `str(command)` are each other's inverse. Validity against a scenario (does the host exist?) is checked by
`check_command`, so that a wrong name is refused before a run begins.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import ClassVar

from engines.lab.knobs import KnobBoard
from engines.lab.links import LinkState
from engines.lab.units import parse_quantity


class CommandError(ValueError):
    """A command that cannot be understood or does not fit the scenario; the message is one line for people."""


@dataclass(frozen=True, slots=True)
class SetKnob:
    """Turn `knob` to the value that `text` means."""

    knob: str
    text: str

    def __str__(self) -> str:
        return f"set {self.knob} {self.text}"


@dataclass(frozen=True, slots=True)
class KillHost:
    """End the host's program at once: its memory is lost and its kernel closes its connections."""

    host: str

    def __str__(self) -> str:
        return f"kill {self.host}"


@dataclass(frozen=True, slots=True)
class RestartHost:
    """Start the host's program again (after ending it, if it runs)."""

    host: str

    def __str__(self) -> str:
        return f"restart {self.host}"


@dataclass(frozen=True, slots=True)
class MoveHost:
    """Give the host another address, as when a phone leaves the wifi. Its programs go on."""

    host: str

    def __str__(self) -> str:
        return f"move {self.host}"


@dataclass(frozen=True, slots=True)
class ChangeLink:
    """Bring a link into `state`: "up", "held" or "cut". `receiver` "" means every other host; `both` ways or one."""

    sender: str
    receiver: str
    state: LinkState
    both: bool

    WORDS: ClassVar[dict[str, str]] = {"up": "restore", "held": "hold", "cut": "cut"}

    def __str__(self) -> str:
        if not self.receiver:
            return f"{'plug' if self.state == 'up' else 'unplug'} {self.sender}"
        return f"{self.WORDS[self.state]} {self.sender}{'-' if self.both else '>'}{self.receiver}"


@dataclass(frozen=True, slots=True)
class ResetConnection:
    """Break connection number `flow`: both ends get RST."""

    flow: int

    def __str__(self) -> str:
        return f"reset c{self.flow}"


MESSAGE_KINDS = ("message", "request", "response", "push", "ack", "error", "heartbeat", "packet")


@dataclass(frozen=True, slots=True)
class FaultNext:
    """Do `action` ("drop", "lose", "hold", "duplicate", "reset" or "cut") to the next `count` messages of `kind` from `sender`.

    `kind` is one of MESSAGE_KINDS, or in capitals the first word of a message's label. `sender` "" means anybody. For "reset"
    and "cut", `after` is how much of the body may pass first: a fraction of it, or with `in_bytes` a number of bytes. A body
    whose length is not announced has no fraction: such a message passes.
    """

    action: str
    count: int
    kind: str
    sender: str = ""
    after: float | None = None
    in_bytes: bool = False

    def __str__(self) -> str:
        origin = f" from {self.sender}" if self.sender else ""
        if self.after is None:
            many = f"{self.count} {self.kind}s" if self.count > 1 else self.kind
            return f"{self.action} next {many}{origin}"
        amount = f"{self.after:.0f}B" if self.in_bytes else f"{self.after * 100:.12g}%"
        return f"{self.action} after {amount} of next {self.kind}{origin}"


@dataclass(frozen=True, slots=True)
class FaultThis:
    """Do `action` ("drop", "hold", "release" or "duplicate") to the packet or message with fact number `fact`, if it is still
    on its way."""

    action: str
    fact: int

    def __str__(self) -> str:
        return f"{self.action} #{self.fact}"


@dataclass(frozen=True, slots=True)
class Release:
    """Let everything that `hold` stopped go on."""

    def __str__(self) -> str:
        return "release"


Command = SetKnob | KillHost | RestartHost | MoveHost | ChangeLink | ResetConnection | FaultNext | FaultThis | Release


@dataclass(frozen=True, slots=True)
class TimedCommand:
    """A command and the virtual time (seconds) at which it is applied."""

    time_s: float
    command: Command


_VERBS = (
    "set", "kill", "restart", "move", "unplug", "plug", "cut", "hold", "restore", "reset", "drop", "lose", "duplicate", "release",
)  # fmt: skip
_OF_A_HOST: dict[str, type[KillHost | RestartHost | MoveHost]] = {
    "kill": KillHost,
    "restart": RestartHost,
    "move": MoveHost,
}
_LINK_STATES: dict[str, LinkState] = {"cut": "cut", "hold": "held", "restore": "up"}
_LINK = re.compile(r"(\S+?)(>|-)(\S+)")
_WHAT = r"([A-Z][A-Z_-]+|[a-z]+?)"
_FAULT_NEXT = re.compile(rf"next(?:\s+(\d+))?(?:\s+{_WHAT}s?)?(?:\s+from\s+(\S+))?")
_FAULT_AFTER = re.compile(rf"after\s+([\d.]+)\s*(%|[kM]?B)\s+of\s+next(?:\s+{_WHAT})?(?:\s+from\s+(\S+))?")


def parse_command(text: str) -> Command:
    """The command that `text` says. Raises CommandError in one line that says what was expected."""
    words = text.split(None, 1)
    if not words:
        raise CommandError("an empty command; write for example: set latency 200ms")
    verb, rest = words[0].lower(), words[1].strip() if len(words) > 1 else ""
    if verb not in _VERBS:
        near = get_close_matches(verb, _VERBS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"commands begin with {', '.join(_VERBS)}"
        raise CommandError(f"no command {verb!r}; {hint}")
    if verb == "release" and not rest:
        return Release()
    if not rest:
        raise CommandError(f"{verb!r} needs to know what; see `commtui run --help`")
    if verb == "set":
        name, _, value = rest.partition(" ")
        if not value.strip():
            raise CommandError(f"set {name} to what? write for example: set latency 200ms")
        return SetKnob(name, " ".join(value.split()))
    if verb in _OF_A_HOST:
        return _OF_A_HOST[verb](rest)
    if verb in ("unplug", "plug"):
        return ChangeLink(rest, "", "cut" if verb == "unplug" else "up", True)
    return _parse_fault(verb, rest, text)


def _parse_fault(verb: str, rest: str, text: str) -> Command:
    """The commands about links, connections and messages."""
    if verb == "reset" and (match := re.fullmatch(r"c?(\d+)", rest)):
        return ResetConnection(int(match[1]))
    if verb in ("cut", "reset") and (match := _FAULT_AFTER.fullmatch(rest)):
        number, unit, kind, sender = match.groups()
        if unit != "%":
            return FaultNext(verb, 1, _message_kind(kind), sender or "", parse_quantity(number + unit, "B"), True)
        if not 0 <= float(number) <= 100:
            raise CommandError(f"{number} % of a body? write 0 % to 100 %")
        return FaultNext(verb, 1, _message_kind(kind), sender or "", float(number) / 100)
    if verb in ("drop", "hold", "release", "duplicate") and (match := re.fullmatch(r"#(\d+)", rest)):
        return FaultThis(verb, int(match[1]))
    if verb in ("drop", "lose", "hold", "duplicate") and (match := _FAULT_NEXT.fullmatch(rest)):
        count = int(match[1] or 1)
        if count < 1:
            raise CommandError("next 0? write 1 or more")
        return FaultNext(verb, count, _message_kind(match[2]), match[3] or "")
    if verb in ("cut", "hold", "restore") and (match := _LINK.fullmatch(rest)):
        state = _LINK_STATES[verb]
        return ChangeLink(match[1], match[3], state, match[2] == "-")
    raise CommandError(f"cannot read {text.strip()!r}; see the commands in `commtui run --help`")


def _message_kind(word: str | None) -> str:
    if word is None:
        return "message"
    if word in MESSAGE_KINDS or word.isupper():
        return word
    near = get_close_matches(word, MESSAGE_KINDS, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"it is one of {', '.join(MESSAGE_KINDS)}"
    raise CommandError(f"no kind of message {word!r}; {hint}")


def check_command(command: Command, hosts: Iterable[str], knobs: KnobBoard) -> None:
    """Raise CommandError, with the nearest right name, when `command` names a host or a knob value that is not there."""
    known = list(hosts)
    match command:
        case SetKnob(name, text):
            try:
                knobs.find(name).parse(text)
            except ValueError as error:
                raise CommandError(str(error)) from None
        case KillHost(host) | RestartHost(host) | MoveHost(host):
            _check_host(host, known)
        case ChangeLink(sender, receiver):
            _check_host(sender, known)
            if receiver:
                _check_host(receiver, known)
        case FaultNext(sender=sender) if sender:
            _check_host(sender, known)


def _check_host(host: str, known: list[str]) -> None:
    if host not in known:
        near = get_close_matches(host, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
        raise CommandError(f"no host {host!r} here; {hint}")
