"""Reads server-sent events out of HTTP/1.1 responses that are still going on: each event is a message inside the response.

The response stays open, as it does in truth; events, heartbeats and bare fields are `nested` in it. A message reaches from
where the last one ended to its blank line, with the framing of the chunk that ends there. It begins to exist when its
blank line is there, because only then is it known what it is; comments that fill a chunk end with the chunk.

What it says depends on the bytes alone, never on how they were cut into packets. A line may end in CR, LF or CR LF (WHATWG
HTML, section 9.2.5): after a CR it takes one more byte to know where the message ends.
"""

import re
from collections import deque
from dataclasses import dataclass

from engines.lab.dissection import Ended, Part, Side, Started
from engines.lab.facts import Role
from engines.wire.http1 import Buffer, Event, Http1Dissector, Responses
from engines.wire.http1_grammar import Boundary, fields_in, readable, values_of
from engines.wire.sse_grammar import BOM, LineReader, field_of
from engines.wire.sse_parts import Place, event_parts

BLANK_LINE, CHUNK_END = "blank line", "end of chunk"
"""What ends an event: the words of its `MessageEnded`."""

_KEPT_OF_A_LINE = 200  # bytes, and of a message as many fields: enough for a label
_PREVIEW = 24


class SseDissector(Http1Dissector):
    """An HTTP/1.1 connection whose responses may be event streams."""

    name = "http/1.1+sse"

    def _new_responses(self) -> "EventResponses":
        return EventResponses(self._unanswered, self._switch)

    def parts(self, side: Side, stream: bytes, start: int, end: int) -> list[Part]:
        """Name the parts of the message at bytes `start` to `end`. To know where in a chunk an event begins, what is
        before it is read once more."""
        if side is Side.SERVER:
            before = EventResponses(deque(), lambda protocol, offset: None)
            before.feed(stream[:start])
            place = before.place()
            if place is not None:
                return event_parts(stream, start, end, place)
        return super().parts(side, stream, start, end)


class EventResponses(Responses):
    """The server's side: what is an event stream is read twice, as HTTP and as events."""

    _inside: "_EventsOfOneBody | None" = None

    def _open(
        self, line: re.Match[bytes], fields: re.Match[bytes], position: int, end: int, events: list[Event]
    ) -> None:
        super()._open(line, fields, position, end, events)
        self._inside = None
        if self._at_close is not None and _is_event_stream(fields_in(fields.string, line.end(), end)):
            self._inside = _EventsOfOneBody(self._offset + end)

    def _body(self, data: Buffer, position: int, events: list[Event]) -> int:
        taken = position + min(self._remaining, len(data) - position)
        if self._inside is not None:
            self._inside.take(bytes(data[position:taken]), self._offset + position, False, events)
        return super()._body(data, position, events)

    def _chunk_data(self, data: Buffer, position: int, events: list[Event]) -> int:
        taken = super()._chunk_data(data, position, events)
        if self._inside is not None:
            piece = bytes(data[position:taken])
            self._inside.take(piece, self._offset + position, not self._remaining, events)
        return taken

    def _chunk_end(self, data: Buffer, position: int, events: list[Event]) -> int:
        taken = super()._chunk_end(data, position, events)
        if self._inside is not None and self._step == self._chunk_size:
            self._inside.chunk_over(self._offset + taken, events)
        return taken

    def _to_close(self, data: Buffer, position: int, events: list[Event]) -> int:
        if self._inside is not None:
            self._inside.take(bytes(data[position:]), self._offset + position, False, events)
        return super()._to_close(data, position, events)

    def _end(self, position: int, boundary: Boundary, events: list[Event]) -> None:
        self._leave(events)
        super()._end(position, boundary, events)

    def _lose(self, position: int, events: list[Event], reason: str) -> int:
        self._leave(events)
        return super()._lose(position, events, reason)

    def finish(self) -> list[Ended]:
        last: list[Event] = []
        self._leave(last)
        return [event for event in last if isinstance(event, Ended)] + super().finish()

    def _leave(self, events: list[Event]) -> None:
        """The response is over. What of an event is there without its blank line was none."""
        if self._inside is not None:
            self._inside.settle(events)
            self._inside = None

    def place(self) -> Place | None:
        """How the next byte is framed if it is one of an event stream; else None."""
        if self._inside is None:
            return None
        chunked = self._step != self._to_close and self._step != self._body
        left = self._remaining if self._step == self._chunk_data else 0
        return Place(chunked, left, self._step == self._chunk_end, self._inside.untouched)


def _is_event_stream(fields: list[tuple[str, bytes]]) -> bool:
    """By its type (parameters do not matter), and readable: not compressed."""
    types = values_of(fields, "content-type")
    media_type = types[-1].partition(b";")[0].strip().lower() if types else b""
    return media_type == b"text/event-stream" and not values_of(fields, "content-encoding")


class _EventsOfOneBody:
    """Finds the messages in one response's body. Offsets are absolute."""

    def __init__(self, offset: int) -> None:
        self.untouched = True  # whether nothing of the body has come
        self._begun_at = offset  # where the message in the making begins
        self._lines = LineReader(_KEPT_OF_A_LINE)
        self._first_line = True
        self._fields: list[tuple[bytes, bytes]] = []
        self._ends_at: int | None = (
            None  # of the message that has its blank line, and may yet get an LF or the chunk's end
        )

    def take(self, data: bytes, offset: int, chunk_over: bool, events: list[Event]) -> None:
        """The next bytes of the body, at `offset`; with `chunk_over` the last of their chunk."""
        if not data:
            return
        self.untouched = False
        if self._ends_at is not None:
            self._ends_at += self._lines.after_cr and data.startswith(b"\n")
            if not (chunk_over and self._ends_at == offset + len(data)):
                self.settle(events)
        for line, after in self._lines.feed(data):
            if self._first_line:
                line, self._first_line = line.removeprefix(BOM), False
            if line:
                self._note(line)
            elif self._fields:
                # How long it is must not depend on whether the LF of a CR LF has come already.
                self._begin(offset + after, after >= 2 and data[after - 2 : after] == b"\r\n", events)
                if after < len(data):
                    self.settle(events)
        if not self._lines.after_cr and not chunk_over:
            self.settle(events)

    def chunk_over(self, offset: int, events: list[Event]) -> None:
        """The chunk has ended, with its CRLF: so does a message that ends with it, and so do comments that fill it."""
        if self._ends_at is not None:
            self._ends_at = offset
            self.settle(events)
        elif self._fields and not self._lines.inside and not any(name for name, _ in self._fields):
            self._begin(offset, False, events)
            self.settle(events, CHUNK_END)

    def settle(self, events: list[Event], boundary: str = BLANK_LINE) -> None:
        """Nothing more can belong to the message that has its blank line, if there is one."""
        if self._ends_at is not None:
            events.append(Ended(self._ends_at, boundary, nested=True))
            self._begun_at, self._ends_at = self._ends_at, None

    def _note(self, line: bytes) -> None:
        if len(self._fields) < _KEPT_OF_A_LINE:
            self._fields.append(field_of(line))

    def _begin(self, end: int, past_lf: bool, events: list[Event]) -> None:
        said = _Said.of(self._fields)
        self._fields.clear()
        begun, self._ends_at = self._begun_at, end
        events.append(Started(said.role, said.label, begun, begun, end - past_lf - begun, nested=True))


def said_of(fields: list[tuple[bytes, bytes]]) -> tuple[Role, str]:
    """What a message of these fields (at least one) is to people, on whatever it travels."""
    said = _Said.of(fields)
    return said.role, said.label


@dataclass(frozen=True, slots=True)
class _Said:
    """What a message is to people."""

    role: Role
    label: str

    @classmethod
    def of(cls, fields: list[tuple[bytes, bytes]]) -> "_Said":
        """Of the fields of one message; the last of a name counts, and an id with NULL in it does not."""
        if not any(name for name, _ in fields):
            return cls(Role.HEARTBEAT, f": {_preview(fields[0][1])}")
        last = {name: value for name, value in fields if name != b"id" or b"\0" not in value}
        if b"data" not in last:
            said = (f"{_preview(name)}: {_preview(value)}" for name, value in fields if name)
            return cls(Role.CONTROL, ", ".join(list(said)[:3]))
        kind = _preview(last.get(b"event", b"")) or "event"
        if last.get(b"id"):
            return cls(Role.PUSH, f"{kind} {_preview(last[b'id'])}")
        return cls(Role.PUSH, f"{kind}: {_preview(next(value for name, value in fields if name == b'data'))}")


def _preview(value: bytes) -> str:
    return readable(value if len(value) <= _PREVIEW else value[:_PREVIEW] + b"...")
