"""Fate: what becomes of a packet. Rules look at it and return a verdict; the network carries the verdict out and records it.

This module decides and does nothing else: no clock, no trace, no stream.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from engines.lab.dissection import Started
from engines.lab.facts import PacketKind, Role


class Action(Enum):
    """What happens to a packet."""

    DROP = "drop"  # the network loses it; TCP sends it again later
    HOLD = "hold"  # it stops on its way until released
    RESET = "reset"  # its connection is reset
    CUT = "cut"  # the link is cut, both ways
    DUPLICATE = "duplicate"  # it arrives, and so does a copy; datagrams only


@dataclass(frozen=True, slots=True)
class Verdict:
    """`action` befalls the packet after its first `passed` bytes (0: all of it). `reason` is a word for the trace."""

    action: Action
    reason: str
    passed: int = 0


@dataclass(frozen=True, slots=True)
class Carried:
    """A message of which a packet carries bytes. `begins` if its head became complete with this packet."""

    message: Started
    begins: bool


@dataclass(frozen=True, slots=True)
class Subject:
    """What a rule may know of a packet: who sends what to whom, and which messages its bytes belong to."""

    flow: int
    sender: str
    receiver: str
    kind: PacketKind
    offset: int
    size: int
    carried: Sequence[Carried] = ()


class Rule(Protocol):
    """Judges packets one by one, in the order in which they are sent."""

    @property
    def spent(self) -> bool:
        """Whether the rule has done all it was made for."""
        ...

    def judge(self, packet: Subject) -> Verdict | None:
        """What becomes of `packet`, or None when this rule has no opinion. May change `spent`."""
        ...


_ACTIONS = {
    "drop": Action.DROP, "hold": Action.HOLD, "lose": Action.RESET, "reset": Action.RESET, "cut": Action.CUT,
    "duplicate": Action.DUPLICATE,
}  # fmt: skip


class NextMessages:
    """The next `count` messages of a kind, or packets, from a sender (or anybody).

    A message counts when its head is complete; the packet that completes it meets the fate. Only datagrams are duplicated:
    TCP numbers its bytes (RFC 9293, section 3.4), so that a receiver throws a second copy away.
    """

    def __init__(self, action: str, count: int, kind: str, sender: str) -> None:
        self._action = _ACTIONS[action]
        self._left = count
        self._kind = kind
        self._sender = sender

    @property
    def spent(self) -> bool:
        return self._left == 0

    def judge(self, packet: Subject) -> Verdict | None:
        if self._sender and packet.sender != self._sender:
            return None
        if self._action is Action.DUPLICATE and packet.kind is not PacketKind.DATAGRAM:
            return None
        messages = sum(c.begins and _is_kind(c.message, self._kind) for c in packet.carried)
        matches = 1 if self._kind == "packet" else messages
        if not matches:
            return None
        self._left = max(0, self._left - matches)
        return Verdict(self._action, "fault")


class PartOfBody:
    """The next message of a kind whose body is long enough: let `after` of its body pass, then strike.

    `after` is a fraction of the body, or a number of bytes when `in_bytes`.
    """

    def __init__(self, action: str, kind: str, sender: str, after: float, in_bytes: bool) -> None:
        self._action = _ACTIONS[action]
        self._kind = kind
        self._sender = sender
        self._after = after
        self._in_bytes = in_bytes
        self._struck = False

    @property
    def spent(self) -> bool:
        return self._struck

    def judge(self, packet: Subject) -> Verdict | None:
        if self._sender and packet.sender != self._sender:
            return None
        for carried in packet.carried:
            message = carried.message
            if not _is_kind(message, self._kind):
                continue
            strike = self._strike_offset(message)
            if strike is not None and packet.offset <= strike < packet.offset + packet.size:
                self._struck = True
                return Verdict(self._action, "fault", strike - packet.offset)
        return None

    def _strike_offset(self, message: Started) -> int | None:
        """The first byte of the stream that does not pass, or None when the message has no such byte."""
        if self._in_bytes:
            if message.body_size is not None and self._after >= message.body_size:
                return None
            return message.body_offset + int(self._after)
        if not message.body_size:
            return None
        return message.body_offset + min(int(self._after * message.body_size), message.body_size - 1)


def _is_kind(message: Started, kind: str) -> bool:
    if kind in ("message", "packet"):
        return True
    if kind.isupper():
        return message.label.split(" ", 1)[0] == kind
    if kind == "response":
        return message.role in (Role.RESPONSE, Role.ERROR)
    return message.role is Role[kind.upper()]
