"""Reads HTTP/1.1 messages out of a connection's bytes, as a passive observer: where each begins, and what ends it.

One `_Direction` a side keeps what little must be kept between two packets: the step it is in, and the bytes of a head
or a chunk size line that is not complete yet (never a body). A step takes bytes at a position and returns the
position after them, or WAIT. The two directions share only the methods of the requests not answered yet, because
responses come in the order of their requests (RFC 9112, section 9.3.2) and a response's length depends on its
request's method (section 6.3).

It refuses to judge: a breach of the rules that leaves the boundaries clear is not its business. Where boundaries are
lost it says "not HTTP/1.1" once and finds nothing more in that direction. What it says depends on the bytes alone,
never on how they were cut into packets.
"""

import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from engines.lab.dissection import Ended, Part, Side, Started
from engines.lab.facts import Role
from engines.wire.http1_grammar import (
    CHUNK_SIZE,
    EMPTY_LINE,
    FIELDS,
    HTTP2_PREFACE,
    LIMIT,
    REQUEST_LINE,
    STATUS_LINE,
    Boundary,
    MalformedError,
    body_rule,
    fields_in,
    framing_values,
    may_become_request,
    may_become_response,
    readable,
    status_text,
    values_of,
)
from engines.wire.http1_parts import message_parts

WAIT = -1

Buffer = bytes | bytearray
Event = Started | Ended
Step = Callable[[Buffer, int, list[Event]], int]


@dataclass(frozen=True, slots=True)
class Switched:
    """The connection left HTTP/1.1 for `protocol` ("websocket", "h2c"; "tunnel" after CONNECT).

    A dissector of that protocol takes over from byte `client_offset` of the client's direction and `server_offset` of
    the server's. RFC 9110, section 7.8: a client sends nothing of it before it has seen the response.
    """

    protocol: str
    client_offset: int
    server_offset: int


class Http1Dissector:
    """An HTTP/1.1 connection (HTTP/1.0 as well). See `engines.lab.dissection.Dissector`.

    `switched` is None until a 101 (RFC 9110, section 15.2.2) or a 2xx to CONNECT (section 9.3.6); from then on no
    messages are found here.
    """

    name = "http/1.1"

    def __init__(self) -> None:
        self.switched: Switched | None = None
        self._unanswered: deque[str] = deque()
        self._client = _Requests(self._unanswered)
        self._server = self._new_responses()
        self._directions: tuple[_Direction, _Direction] = (self._client, self._server)

    def feed(self, side: Side, data: bytes) -> Sequence[Event]:
        """Take the next bytes that `side` sent and return what they completed, in order."""
        return self._directions[side].feed(data)

    def finish(self, side: Side) -> Sequence[Ended]:
        """`side` will send nothing more; a head that is not complete was never a message and leaves none."""
        return self._directions[side].finish()

    def parts(self, side: Side, stream: bytes, start: int, end: int) -> list[Part]:
        """Name the parts of the message at bytes `start` to `end` of `stream`. Pure; see `http1_parts`."""
        return message_parts(side, stream, start, end)

    def _new_responses(self) -> "Responses":
        return Responses(self._unanswered, self._switch)

    def _switch(self, protocol: str, server_offset: int) -> None:
        self.switched = Switched(protocol, self._client.go_opaque(), server_offset)
        self._server.go_opaque()


class _Direction(ABC):
    """The messages of one side."""

    def __init__(self) -> None:
        self._offset = 0  # of the first byte that no step has taken yet
        self._pending = bytearray()  # the bytes from there on that have come, too few for the step
        self._scanned = 0  # how many of them are known to hold no empty line
        self._remaining = 0  # bytes of the body or chunk still to come
        self._at_close: Boundary | None = None  # what to say of the open message if nothing more comes
        self._step: Step = self._head

    def feed(self, data: Buffer) -> list[Event]:
        pending = self._pending
        if pending:
            pending += data
            data = pending
        events: list[Event] = []
        position, size = 0, len(data)
        while position < size:
            taken = self._step(data, position, events)
            if taken == WAIT:
                break
            position = taken
        self._offset += position
        if data is pending:
            del pending[:position]
        elif position < size:
            pending += data[position:]
        return events

    def finish(self) -> list[Ended]:
        boundary, self._at_close = self._at_close, None
        end = self.go_opaque() + len(self._pending)
        return [] if boundary is None else [Ended(end, boundary.value)]

    def go_opaque(self) -> int:
        """Find no more messages. Returns the offset of the first byte that no message has taken."""
        self._step = self._to_close
        return self._offset

    # --- what the two sides do differently ---

    start_line: ClassVar[re.Pattern[bytes]]
    start_line_name: ClassVar[str]
    may_begin: Callable[[Buffer, int], bool]

    @abstractmethod
    def _open(
        self, line: re.Match[bytes], fields: re.Match[bytes], position: int, end: int, events: list[Event]
    ) -> None:
        """A head is complete, at bytes `position` to `end`. Raises MalformedError if its body has no known length."""

    # --- steps, one for each thing that may come next ---

    def _head(self, data: Buffer, position: int, events: list[Event]) -> int:
        """RFC 9112, section 2.1: start line, fields, empty line. Looked at only once it is all there."""
        if not self._scanned or self._empty_line_end(data, position):
            line = self.start_line.match(data, position)
            fields = FIELDS.match(data, line.end()) if line else None
            if line and fields and (end := fields.end()) - position <= LIMIT:
                self._scanned = 0
                try:
                    self._open(line, fields, position, end, events)
                except MalformedError as error:
                    return self._lose(position, events, str(error))
                return end
        if not self.may_begin(data, position):
            return self._lose(position, events, f"no {self.start_line_name} here")
        newline = data.find(b"\n", position)
        if 0 <= newline <= position + LIMIT and not self.start_line.match(data, position):
            if data.startswith(HTTP2_PREFACE, position):
                return self._lose(position, events, "the connection preface of HTTP/2")
            return self._lose(position, events, f"no {self.start_line_name} here")
        return self._wait_for_empty_line(data, position, events, "head")

    def _body(self, data: Buffer, position: int, events: list[Event]) -> int:
        """RFC 9112, section 6.2: as many bytes as Content-Length said."""
        taken = min(self._remaining, len(data) - position)
        self._remaining -= taken
        position += taken
        if not self._remaining:
            self._end(position, Boundary.LENGTH, events)
        return position

    def _chunk_size(self, data: Buffer, position: int, events: list[Event]) -> int:
        """RFC 9112, section 7.1: size in hexadecimal, extensions, CRLF; size 0 is the last chunk."""
        line = CHUNK_SIZE.match(data, position)
        newline = line.end() - 1 if line else data.find(b"\n", position)
        if (len(data) if newline < 0 else newline) - position > LIMIT:
            return self._lose(position, events, "a chunk size line without end")
        if line is None:
            return WAIT if newline < 0 else self._lose(position, events, "no chunk size where one belongs")
        self._remaining = int(line[1], 16)
        self._step = self._chunk_data if self._remaining else self._trailers
        return newline + 1

    def _chunk_data(self, data: Buffer, position: int, events: list[Event]) -> int:
        taken = min(self._remaining, len(data) - position)
        self._remaining -= taken
        if not self._remaining:
            self._step = self._chunk_end
        return position + taken

    def _chunk_end(self, data: Buffer, position: int, events: list[Event]) -> int:
        crlf = data[position : position + 2]
        if crlf == b"\r\n":
            self._step = self._chunk_size
            return position + 2
        return WAIT if crlf == b"\r" else self._lose(position, events, "no CRLF at the end of a chunk")

    def _trailers(self, data: Buffer, position: int, events: list[Event]) -> int:
        """RFC 9112, section 7.1.2: fields as in a head, as a rule none, then the empty line."""
        if not self._scanned or self._empty_line_end(data, position):
            fields = FIELDS.match(data, position)
            if fields and fields.end() - position <= LIMIT:
                self._scanned = 0
                self._end(fields.end(), Boundary.CHUNKS, events)
                return fields.end()
        if data[position:] == b"\r":
            return WAIT
        return self._wait_for_empty_line(data, position, events, "trailer section")

    def _to_close(self, data: Buffer, position: int, events: list[Event]) -> int:
        return len(data)

    # --- what the steps share ---

    def _empty_line_end(self, data: Buffer, position: int) -> int:
        """Where the first empty line ends, or 0; it looks only where nobody has looked before."""
        found = EMPTY_LINE.search(data, max(position, position + self._scanned - 2))
        if found:
            return found.end()
        self._scanned = len(data) - position
        return 0

    def _wait_for_empty_line(self, data: Buffer, position: int, events: list[Event], what: str) -> int:
        end = self._empty_line_end(data, position)
        if (end or len(data)) - position > LIMIT:
            return self._lose(position, events, f"a {what} without end")
        return self._lose(position, events, f"a line in the {what} that is not a field") if end else WAIT

    def _begin(self, started: Started, boundary: Boundary, events: list[Event]) -> None:
        """Choose the step that reads the body of the message whose head has just ended."""
        events.append(started)
        if boundary is Boundary.CHUNKS:
            self._step, self._at_close = self._chunk_size, Boundary.CUT
        elif boundary is Boundary.CLOSE:
            self._step, self._at_close = self._to_close, Boundary.CLOSE
        elif started.body_size:
            self._remaining = started.body_size
            self._step, self._at_close = self._body, Boundary.CUT
        else:
            events.append(Ended(started.body_offset, boundary.value))

    def _end(self, position: int, boundary: Boundary, events: list[Event]) -> None:
        events.append(Ended(self._offset + position, boundary.value))
        self._step, self._at_close = self._head, None

    def _lose(self, position: int, events: list[Event], reason: str) -> int:
        """From here on no boundary can be found: what is open is cut short, the rest lasts until the close."""
        offset = self._offset + position
        if self._at_close is not None:
            events.append(Ended(offset, Boundary.CUT.value))
        events.append(Started(Role.ERROR, f"not HTTP/1.1: {reason}", offset, offset, None))
        self._step, self._at_close = self._to_close, Boundary.CLOSE
        return position


class _Requests(_Direction):
    start_line = REQUEST_LINE
    start_line_name = "request line"
    may_begin = staticmethod(may_become_request)

    def __init__(self, unanswered: deque[str]) -> None:
        super().__init__()
        self._unanswered = unanswered

    def _head(self, data: Buffer, position: int, events: list[Event]) -> int:
        """Empty lines before a request are passed over, as a server does (RFC 9112, section 2.2)."""
        if data[position] in b"\r\n":
            if data.startswith((b"\n", b"\r\n"), position):
                return data.index(b"\n", position) + 1
            if data[position:] == b"\r":
                return WAIT
        return super()._head(data, position, events)

    def _open(
        self, line: re.Match[bytes], fields: re.Match[bytes], position: int, end: int, events: list[Event]
    ) -> None:
        method = line[1].decode()
        boundary, size = body_rule(0, method, *framing_values(line, fields))
        label = f"{method} {readable(line[2])}"
        self._unanswered.append(method)
        self._begin(Started(Role.REQUEST, label, self._offset + position, self._offset + end, size), boundary, events)


class Responses(_Direction):
    """The server's side; what else can be read in its bodies, a subclass may find."""

    start_line = STATUS_LINE
    start_line_name = "status line"
    may_begin = staticmethod(may_become_response)

    def __init__(self, unanswered: deque[str], switch: Callable[[str, int], None]) -> None:
        super().__init__()
        self._unanswered = unanswered
        self._switch = switch

    def _open(
        self, line: re.Match[bytes], fields: re.Match[bytes], position: int, end: int, events: list[Event]
    ) -> None:
        status = int(line[2])
        final = status >= 200  # RFC 9110, section 15.2: after an interim response (1xx) the request still waits for one
        method = self._unanswered.popleft() if final and self._unanswered else ""
        boundary, size = body_rule(status, method, *framing_values(line, fields))
        role = Role.ERROR if status >= 400 else Role.RESPONSE
        label = status_text(status, line[3])
        self._begin(Started(role, label, self._offset + position, self._offset + end, size), boundary, events)
        if status == 101:
            upgrade = values_of(fields_in(fields.string, line.end(), end), "upgrade")
            self._switch(readable(b", ".join(upgrade)).lower(), self._offset + end)
        elif method == "CONNECT" and status < 300:
            self._switch("tunnel", self._offset + end)
