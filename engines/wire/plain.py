"""The laboratory's own plain protocol, for parties that speak none on a wire: a program and its kernel, a kernel and its disk.

A message is one line and the bytes that it announces:

    ?0 0 read(3, 4096)\\n             a request with tag 0 and no body
    !0 4096 4096 bytes\\n<the bytes>   the answer to tag 0, with a body of 4096 bytes

The mark says what the message is: `?` request, `!` response, `-` error, `>` push, `+` acknowledgement. The tag ties an answer
to its request; a caller uses the smallest that no request of its is using, so that who asks one thing at a time always uses 0.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from engines.lab.dissection import Ended, Part, Side, Started
from engines.lab.facts import Role

MARKS = {"?": Role.REQUEST, "!": Role.RESPONSE, "-": Role.ERROR, ">": Role.PUSH, "+": Role.ACK}
_MARK_OF = {role: mark for mark, role in MARKS.items()}
MAX_LINE = 4096
"""Bytes of a line; what has none in so many bytes is not this protocol."""
MAX_BODY = 10_000_000
_LINE = re.compile(rb"([?!>+-])(\d{1,9}) (\d{1,9}) ([^\n]*)\n")


class MalformedPlain(ValueError):
    """These bytes are no message of the plain protocol."""


@dataclass(frozen=True, slots=True)
class Plain:
    """A message: what it is, its tag, its words and its bytes."""

    role: Role
    tag: int
    text: str
    body: bytes = b""

    def encode(self) -> bytes:
        """The message on the wire. Raises ValueError when the words do not fit in a line."""
        line = f"{_MARK_OF[self.role]}{self.tag} {len(self.body)} {self.text}\n".encode()
        if line.count(b"\n") > 1 or len(line) > MAX_LINE:
            raise ValueError(f"these words do not fit in a line: {self.text[:40]!r}")
        return line + self.body


@dataclass(frozen=True, slots=True)
class Line:
    """The first line of a message; `size` is its own with the line end, `body_size` what it announces."""

    role: Role
    tag: int
    text: str
    size: int
    body_size: int


def line_at(data: bytes | bytearray, start: int = 0) -> Line | None:
    """The line that begins at `start`, or None while it is incomplete. Raises MalformedPlain."""
    end = data.find(b"\n", start, start + MAX_LINE)
    if end < 0:
        if len(data) - start >= MAX_LINE or (len(data) > start and chr(data[start]) not in MARKS):
            raise MalformedPlain("no line of the plain protocol")
        return None
    match = _LINE.fullmatch(bytes(data[start : end + 1]))
    if match is None or int(match[3]) > MAX_BODY:
        raise MalformedPlain("no line of the plain protocol")
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in match[4].decode(errors="replace"))
    return Line(MARKS[match[1].decode()], int(match[2]), text, end + 1 - start, int(match[3]))


# --- the observer -------------------------------------------------------------------------------------------------------


class PlainDissector:
    """A connection that carries the plain protocol. See `engines.lab.dissection.Dissector`. A message's stream is its tag."""

    name = "plain"

    def __init__(self) -> None:
        self._directions = (_Direction(), _Direction())

    def feed(self, side: Side, data: bytes) -> Sequence[Started | Ended]:
        """Take the next bytes that `side` sent and return what they completed, in order."""
        return self._directions[side].feed(data)

    def finish(self, side: Side) -> Sequence[Ended]:
        """`side` will send nothing more: a message that lacks a part of its body is cut short."""
        return self._directions[side].finish()

    def parts(self, side: Side, stream: bytes, start: int, end: int) -> list[Part]:
        """Name the parts of the message at bytes `start` to `end` of `stream`. Pure."""
        return _parts(stream, start, min(end, len(stream)))


class _Direction:
    """The messages of one side."""

    def __init__(self) -> None:
        self._offset = 0  # of the first pending byte
        self._pending = bytearray()
        self._open: Line | None = None
        self._missing = 0  # bytes of the open message's body
        self._lost = False

    def feed(self, data: bytes) -> list[Started | Ended]:
        events: list[Started | Ended] = []
        self._pending += data
        while not self._lost and self._take(events):
            pass
        if self._lost:
            self._skip(len(self._pending))
        return events

    def finish(self) -> list[Ended]:
        self._skip(len(self._pending))
        if self._lost:
            self._lost = False
            return [Ended(self._offset, "connection closed")]
        if self._open is None:
            return []
        tag, self._open = self._open.tag, None
        return [Ended(self._offset, "cut short", tag)]

    def _take(self, events: list[Started | Ended]) -> bool:
        """Take what there is of the open message, or the next line; False when more bytes are needed."""
        if self._open is not None:
            size = min(self._missing, len(self._pending))
            self._skip(size)
            self._missing -= size
            if self._missing:
                return False
            events.append(Ended(self._offset, "announced size", self._open.tag))
            self._open = None
            return True
        try:
            line = line_at(self._pending)
        except MalformedPlain as error:
            self._lost = True
            events.append(Started(Role.ERROR, f"not plain: {error}", self._offset, self._offset, None))
            return False
        if line is None:
            return False
        body = self._offset + line.size
        events.append(Started(line.role, line.text, self._offset, body, line.body_size, line.tag))
        self._skip(line.size)
        self._open, self._missing = line, line.body_size
        return True

    def _skip(self, size: int) -> None:
        self._offset += size
        del self._pending[:size]


def _parts(stream: bytes, start: int, end: int) -> list[Part]:
    if start >= end:
        return []
    data = stream[start:end]
    try:
        line = line_at(data)
    except MalformedPlain as error:
        return [Part(start, end, "bytes", f"not plain: {error}")]
    if line is None:
        return [Part(start, end, "line", "incomplete")]
    tag_at, size_at, text_at, text_end = (
        1,
        data.index(b" ") + 1,
        data.index(b" ", data.index(b" ") + 1) + 1,
        line.size - 1,
    )
    named = [
        (0, tag_at, "mark", line.role.name.lower(), False),
        (tag_at, size_at, "tag", str(line.tag), False),
        (size_at, text_at, "size", f"{line.body_size:,} bytes follow the line", True),
        (text_at, text_end, "words", line.text, False),
        (text_end, line.size, "line end", "", True),
        (line.size, len(data), "body", f"{len(data) - line.size:,} bytes", False),
    ]
    return [Part(start + a, start + b, name, note, boundary) for a, b, name, note, boundary in named if a < b]
