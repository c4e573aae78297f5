"""What the lab asks of a dissector: to read messages out of the bytes of a connection, as a passive observer would.

The lab knows no protocol; it hands each connection's bytes, in the order in which they leave their sender, to the dissector
that the scenario named for the port, and records what comes back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from engines.lab.facts import Role


class Side(IntEnum):
    """Which end of a connection sent the bytes."""

    CLIENT = 0
    SERVER = 1

    @property
    def other(self) -> "Side":
        return Side(1 - self)


@dataclass(frozen=True, slots=True)
class Started:
    """The head of a message is complete. Offsets are in bytes from the start of that direction of the connection.

    `body_offset` is where its body begins; `body_size` how long it will be, or None when only the end will tell. `nested`:
    it is inside the message of its stream that is open and stays open, as an event is in an unending response.
    """

    role: Role
    label: str
    offset: int
    body_offset: int
    body_size: int | None
    stream: int = 0
    nested: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """The message of `stream` that was open in this direction, or the one `nested` in it, is complete: it is the bytes
    before `end`."""

    end: int
    boundary: str
    stream: int = 0
    nested: bool = False


@dataclass(frozen=True, slots=True)
class Resumed:
    """The message of `stream` that is open in this direction goes on at `offset`, after bytes of other streams."""

    offset: int
    stream: int


Event = Started | Ended | Resumed


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes `start` to `end` of a direction (absolute offsets) and what they are: "request line", "header", "chunk size" …

    `boundary` is true for the part that tells where the message, or a section of it, ends.
    """

    start: int
    end: int
    name: str
    note: str = ""
    boundary: bool = False


class Dissector(Protocol):
    """Reads one connection. Never raises on malformed bytes: it stops finding messages and says so in a label.

    One that reads an encrypted protocol has `sealed = True` as well (see `sealed`).
    """

    name: str

    def feed(self, side: Side, data: bytes) -> Sequence[Event]:
        """Take the next bytes that `side` sent and return what they completed, in order."""
        ...

    def finish(self, side: Side) -> Sequence[Ended]:
        """`side` will send nothing more (FIN or RST): a message that lasts until the connection closes ends here."""
        ...

    def parts(self, side: Side, stream: bytes, start: int, end: int) -> list[Part]:
        """Name the parts of the message at bytes `start` to `end` of `stream`, all that `side` has sent so far.

        Pure: it does not depend on what was fed. Works on an incomplete message too. The parts cover the message without
        gaps or overlaps.
        """
        ...


DissectorFactory = Callable[[], Dissector]
