"""What an event stream looks like (WHATWG HTML, sections 9.2.5 and 9.2.6): lines, fields, events; and how to write one.

The parser is ours. httpx-sse 0.4 has one for Python, and it differs from the standard where this laboratory wants to be
exact: it dispatches events that have no data, and it holds a line that ends in CR back until more comes, so that the last
event of a burst arrives late. Ours is incremental, works on bytes, and is held against the standard's own examples and,
on streams where the two agree about the rules, against httpx-sse.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

BOM = b"\xef\xbb\xbf"
"""One byte order mark at the start of a stream is passed over (the `bom` of the grammar in section 9.2.5)."""

_LINE_END = re.compile(rb"\r\n|\r|\n")
_DIGITS = re.compile(rb"[0-9]+")
_LONGEST_NUMBER = 12  # digits: three hundred centuries in milliseconds; Python refuses to read more than 4300


class LineReader:
    """Cuts bytes into lines that end in CR LF, LF or CR, wherever the stream was cut: between the CR and its LF, too.

    A line that ends in CR is complete at the CR; an LF that follows belongs to it. Of a line longer than `longest` bytes
    only so many are kept.
    """

    def __init__(self, longest: int = sys.maxsize) -> None:
        self.after_cr = False  # whether an LF that comes now still belongs to the last line
        self._begun = bytearray()
        self._longest = longest

    @property
    def inside(self) -> bool:
        """Whether a line has begun and not ended."""
        return bool(self._begun)

    def feed(self, data: bytes) -> Iterator[tuple[bytes, int]]:
        """The lines that `data` completes, without their ends, and the position in `data` after each. Run it to its end."""
        if not data:
            return
        start = 1 if self.after_cr and data.startswith(b"\n") else 0
        self.after_cr = False
        for end in _LINE_END.finditer(data, start):
            self._keep(data, start, end.start())
            line = bytes(self._begun)
            self._begun.clear()
            start = end.end()
            yield line, start
        self.after_cr = data.endswith(b"\r")
        self._keep(data, start, len(data))

    def _keep(self, data: bytes, start: int, end: int) -> None:
        self._begun += data[start : min(end, start + self._longest - len(self._begun))]


def field_of(line: bytes) -> tuple[bytes, bytes]:
    """Name and value of a field's line: the value begins after the first colon and at most one space (section 9.2.6).

    A line without a colon is a name; a comment has an empty name.
    """
    name, _, value = line.partition(b":")
    return name, value.removeprefix(b" ")


def retry_s(value: bytes) -> float | None:
    """The reconnection time that a `retry` field asks for, in seconds; None unless it is all ASCII digits."""
    if not _DIGITS.fullmatch(value):
        return None
    digits = value.lstrip(b"0") or b"0"
    return int(digits if len(digits) <= _LONGEST_NUMBER else b"9" * _LONGEST_NUMBER) / 1000


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """An event as a page gets it. `type` is "message" unless the stream said otherwise."""

    data: str
    type: str = "message"
    last_event_id: str = ""


class EventStreamParser:
    """Interprets one stream (section 9.2.6).

    `last_event_id` is the last event ID string: the id in force at the last blank line. `retry_s` is the reconnection time
    the stream asked for, if it did.

    In one thing we follow the browsers and not the letter. By the letter the last event ID buffer is empty when a stream
    begins; so, after a reconnection, the first blank line (that of a heartbeat, say) would make the source forget its
    place. Chromium (`EventSourceParser`) starts it with the id that the source has; pass it as `last_event_id`. Without it
    the parser does what the letter says.
    """

    def __init__(self, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        self.retry_s: float | None = None
        self._lines = LineReader()
        self._first_line = True
        self._id = last_event_id
        self._type = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Take the next bytes of the stream and return the events that they complete.

        What the stream's end finds incomplete is lost, by the standard: there is nothing to call then.
        """
        events = []
        for line, _ in self._lines.feed(data):
            if self._first_line:
                line, self._first_line = line.removeprefix(BOM), False
            if line:
                self._take_field(line)
            elif (event := self._dispatched()) is not None:
                events.append(event)
        return events

    def _take_field(self, line: bytes) -> None:
        name, value = field_of(line)
        match name:
            case b"data":
                self._data.append(value.decode("utf-8", "replace"))
            case b"event":
                self._type = value.decode("utf-8", "replace")
            case b"id" if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
            case b"retry" if (asked := retry_s(value)) is not None:
                self.retry_s = asked

    def _dispatched(self) -> ServerSentEvent | None:
        """A blank line: the id is in force whether or not there is an event; without data there is none."""
        self.last_event_id = self._id
        event = ServerSentEvent("\n".join(self._data), self._type or "message", self._id) if self._data else None
        self._data.clear()
        self._type = ""
        return event


def format_event(
    data: str | None = None, *, id: str | int | None = None, type: str = "", retry_s: float | None = None
) -> bytes:
    """An event on the wire. Every line of `data` becomes a field of its own; without `data` only the rest takes effect.

    Raises ValueError where an id or type has a line end in it, which would begin another field, or an id a NULL.
    """
    if _breaks_line(type) or _breaks_line(str(id)) or "\0" in str(id):
        raise ValueError(f"neither a line end nor NULL may be in {id!r} or {type!r}")
    lines = [] if id is None else [f"id: {id}"]
    lines += [f"event: {type}"] if type else []
    lines += [] if retry_s is None else [f"retry: {round(retry_s * 1000)}"]
    if data is not None:
        lines += [f"data: {line}" for line in re.split(r"\r\n|\r|\n", data)]
    return "".join(f"{line}\n" for line in [*lines, ""]).encode()


def format_comment(text: str) -> bytes:
    """A comment: nobody is told of it, and yet it crosses the network. Raises ValueError if there is a line end in it."""
    if _breaks_line(text):
        raise ValueError(f"a comment is one line, not {text!r}")
    return f": {text}\n\n".encode()


def _breaks_line(text: str) -> bool:
    return "\r" in text or "\n" in text
