"""Reads PostgreSQL's protocol, version 3.0, out of a connection's bytes, as a passive observer: a query and its answer.

What a server says to a query takes several of the protocol's messages (RowDescription, DataRow …, CommandComplete), and it is
ReadyForQuery that ends it: "the frontend must be prepared to accept" any of them until then (documentation, "Message Flow",
section "Simple Query"). To people that is one answer, and so it is one message here; `parts` tells what it is made of. The
same holds for what follows a successful log-in.

What is said depends on the bytes alone, never on how they were cut into packets. Bytes that cannot be the protocol are said to
be "not PostgreSQL" once, and nothing more is found in that direction; behind a TLS handshake nothing is found at all.
"""

from collections.abc import Sequence

from engines.lab.dissection import Ended, Part, Side, Started
from engines.lab.facts import Role
from engines.wire import postgres_grammar as grammar
from engines.wire.http1_grammar import readable
from engines.wire.postgres_grammar import Frame, MalformedError
from engines.wire.postgres_parts import message_parts

Event = Started | Ended

READY = "ReadyForQuery"
LONGEST_LABEL = 80
_REQUESTS = {"Query", "Sync", "FunctionCall"}
"""What a server owes an answer that ends with ReadyForQuery."""
_IN_BETWEEN = {"NoticeResponse", "ParameterStatus", "NotificationResponse"}
"""What a server may say at any time, of its own accord ("Asynchronous Operations")."""
_NEGOTIATION = {b"S": "yes: TLS begins", b"N": "no: go on in the clear", b"G": "yes: GSSAPI encryption begins"}
"""The only messages of one byte: answers to SSLRequest and GSSENCRequest."""


class PostgresDissector:
    """A PostgreSQL connection. See `engines.lab.dissection.Dissector`."""

    name = "postgresql"

    def __init__(self) -> None:
        self._client = _Client()
        self._server = _Server()

    def feed(self, side: Side, data: bytes) -> Sequence[Event]:
        """Take the next bytes that `side` sent and return what they completed, in order."""
        if self._server.sealed:
            return []
        if side is Side.SERVER:
            return self._server.feed(data)
        events = self._client.feed(data)
        self._server.negotiations += self._client.take_negotiations()
        return events

    def finish(self, side: Side) -> Sequence[Ended]:
        """`side` will send nothing more: an answer that lacks its ReadyForQuery is cut short."""
        return (self._server if side is Side.SERVER else self._client).finish()

    def parts(self, side: Side, stream: bytes, start: int, end: int) -> list[Part]:
        """Name the parts of the message at bytes `start` to `end` of `stream`. Pure."""
        return message_parts(side, stream, start, min(end, len(stream)))


class _Direction:
    """The messages of one side."""

    side: Side

    def __init__(self) -> None:
        self._offset = 0  # of the first pending byte
        self._pending = bytearray()
        self._open = False
        self._lost = False

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        self._pending += data
        position = 0
        try:
            while not self._lost and (end := self._take(position, events)):
                position = end
        except MalformedError as error:
            self._lose(self._offset + position, str(error), events)
        if self._lost:
            position = len(self._pending)
        self._offset += position
        del self._pending[:position]
        return events

    def finish(self) -> list[Ended]:
        end = self._offset + len(self._pending)
        self._offset, self._pending = end, bytearray()
        boundary = "connection closed" if self._lost else "cut short"
        was_open, self._open, self._lost = self._open or self._lost, False, False
        return [Ended(end, boundary)] if was_open else []

    def _take(self, position: int, events: list[Event]) -> int:
        """Take what begins at `position`; where it ends, or 0 when it is not all there. Raises MalformedError."""
        raise NotImplementedError

    def _whole(self, frame: Frame, role: Role, label: str, events: list[Event]) -> None:
        """The frame is a message of its own."""
        start, end = self._offset + frame.start, self._offset + frame.end
        events += Started(role, label, start, end, 0), Ended(end, "length")

    def _lose(self, offset: int, reason: str, events: list[Event]) -> None:
        """From here on no frame can be found: what is open is cut short, the rest lasts until the close."""
        if self._open:
            events.append(Ended(offset, "cut short"))
        self._open, self._lost = False, True
        events.append(Started(Role.ERROR, f"not PostgreSQL: {reason}", offset, offset, None))


class _Client(_Direction):
    """Frames that are each a message."""

    side = Side.CLIENT

    def __init__(self) -> None:
        super().__init__()
        self._untyped = True
        self._negotiations = 0

    def take_negotiations(self) -> int:
        """How many times the server has been asked to encrypt since this was last called."""
        asked, self._negotiations = self._negotiations, 0
        return asked

    def _take(self, position: int, events: list[Event]) -> int:
        data = self._pending
        frame = grammar.frame_at(data, position, self.side, untyped=self._untyped)
        if frame is None:
            return 0
        name = grammar.name_of(data, frame, self.side)
        if name in ("SSLRequest", "GSSENCRequest"):
            self._negotiations += 1
        elif self._untyped and name not in grammar.UNTYPED.values():
            raise MalformedError(name)
        else:
            self._untyped = False
        self._whole(frame, Role.REQUEST if name in _REQUESTS else Role.CONTROL, self._label(name, frame), events)
        return frame.end

    def _label(self, name: str, frame: Frame) -> str:
        if name == "Query":
            sql = bytes(self._pending[frame.content : frame.end]).rstrip(b"\0")
            return _short(readable(b" ".join(sql.split())) or name)
        if name == "StartupMessage":
            said = {field.name: field.text for field in grammar.fields_in(self._pending, frame, self.side)}
            return _short(" ".join([name, *(f"{key}={said[key]}" for key in ("user", "database") if key in said)]))
        return name


class _Server(_Direction):
    """Frames of which some belong together, up to ReadyForQuery."""

    side = Side.SERVER

    def __init__(self) -> None:
        super().__init__()
        self.negotiations = 0  # answers of one byte that the client waits for
        self.sealed = False
        self._greeted = False
        self._failed = False

    def _take(self, position: int, events: list[Event]) -> int:
        data = self._pending
        if self.negotiations and position < len(data) and bytes(data[position : position + 1]) in _NEGOTIATION:
            return self._negotiated(position, events)
        frame = grammar.frame_at(data, position, self.side)
        if frame is None:
            return 0
        name = grammar.name_of(data, frame, self.side)
        self._failed = name == "ErrorResponse" or (self._failed and self._open)
        if self._open:
            if name == READY:
                self._open, self._greeted = False, True
                events.append(Ended(self._offset + frame.end, READY + (", after an error" if self._failed else "")))
        elif self._stands_alone(name, frame):
            self._whole(
                frame, Role.ERROR if name == "ErrorResponse" else Role.CONTROL, self._label(name, frame), events
            )
        else:
            role = Role.ERROR if name == "ErrorResponse" else Role.RESPONSE if self._greeted else Role.CONTROL
            start, end = self._offset + frame.start, self._offset + frame.end
            events.append(Started(role, self._label(name, frame), start, end, None))
            self._open = True
        return frame.end

    def _negotiated(self, position: int, events: list[Event]) -> int:
        answer = bytes(self._pending[position : position + 1])
        self.negotiations -= 1
        self._whole(Frame(b"", position, position + 1), Role.CONTROL, _NEGOTIATION[answer], events)
        self.sealed = answer != b"N"
        return position + 1

    def _stands_alone(self, name: str, frame: Frame) -> bool:
        """Whether nothing that belongs to it will follow."""
        if name == "ErrorResponse":
            return not self._greeted or grammar.error_in(self._pending, frame).get(b"S") in ("FATAL", "PANIC")
        return name in _IN_BETWEEN or name == READY or (not self._greeted and name != "AuthenticationOk")

    def _label(self, name: str, frame: Frame) -> str:
        data = self._pending
        if name == "RowDescription":
            return _short(f"rows of {', '.join(grammar.columns_in(data, frame))}")
        if name == "CommandComplete":
            return next((field.text for field in grammar.fields_in(data, frame, self.side)), name)
        if name == "ErrorResponse":
            said = grammar.error_in(data, frame)
            return _short(" ".join(said[letter] for letter in (b"S", b"C", b"M") if letter in said) or name)
        return name


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 3] + "..."
