"""Reads a WebSocket connection as a passive observer: HTTP/1.1 up to the 101, frames from there on (RFC 6455, section 5.2).

Every frame is a message of its own, because between the frames of a message may be control frames (section 5.4).
It keeps the bytes of a header that is not complete, and of a payload nothing but a Close's code. Like the dissector of
HTTP/1.1 it says once that bytes are strange, and then finds nothing more in that direction; what it says depends on the
bytes alone, never on how they were cut into packets.
"""

from collections.abc import Sequence

from engines.lab.dissection import Ended, Part, Side, Started
from engines.lab.facts import Role
from engines.wire.http1 import Http1Dissector
from engines.wire.http1_grammar import REQUEST_LINE, STATUS_LINE, Boundary
from engines.wire.websocket_frames import (
    CLOSE,
    OPCODES,
    PING,
    PONG,
    Header,
    MalformedError,
    close_label,
    frame_parts,
    parse_header,
    unmask,
)

FRAME_LENGTH = "frame length"
"""What ends a frame: the word of the `MessageEnded` fact."""

_ROLES = {PING: Role.HEARTBEAT, PONG: Role.HEARTBEAT, CLOSE: Role.CONTROL}

Event = Started | Ended


class WebSocketDissector:
    """A connection that begins with HTTP/1.1 and may go on as a WebSocket. See `engines.lab.dissection.Dissector`."""

    name = "websocket"

    def __init__(self) -> None:
        self._http = Http1Dissector()
        self._fed = [0, 0]
        self._in_http = [False, False]  # whether a message of HTTP is open
        self._frames: list[_Frames | None] = [None, None]

    def feed(self, side: Side, data: bytes) -> Sequence[Event]:
        """Take the next bytes that `side` sent and return what they completed, in order."""
        frames = self._frames[side]
        if frames is not None:
            return frames.feed(data)
        before = self._http.switched
        events = list(self._http.feed(side, data))
        self._fed[side] += len(data)
        for event in events:
            self._in_http[side] = isinstance(event, Started)
        switched = self._http.switched
        if before is None and switched is not None and switched.protocol == "websocket":
            # Only a response can switch. A client that had said more than its request by then (RFC 6455, section 4.1,
            # forbids it) was read as HTTP, and its direction stays what that made of it.
            if switched.client_offset == self._fed[Side.CLIENT] and not self._in_http[Side.CLIENT]:
                self._frames[Side.CLIENT] = _Frames(switched.client_offset)
            frames = self._frames[side] = _Frames(switched.server_offset)
            behind = self._fed[side] - switched.server_offset
            events += frames.feed(data[len(data) - behind :])
        return events

    def finish(self, side: Side) -> Sequence[Ended]:
        """`side` will send nothing more: a frame that is not complete is cut short."""
        frames = self._frames[side]
        return self._http.finish(side) if frames is None else frames.finish()

    def parts(self, side: Side, stream: bytes, start: int, end: int) -> list[Part]:
        """Name the parts of the message at bytes `start` to `end` of `stream`. Pure."""
        if _is_frame(side, stream, start, end):
            return frame_parts(stream, start, end)
        return self._http.parts(side, stream, start, end)


def _is_frame(side: Side, stream: bytes, start: int, end: int) -> bool:
    """Whether a message is a frame: never the first of a connection, never one with a start line.

    The first byte of most frames (FIN, no reserved bit) is no character that a start line can begin with.
    """
    line = REQUEST_LINE if side is Side.CLIENT else STATUS_LINE
    if not 0 < start < min(end, len(stream)) or line.match(stream, start):
        return False
    return not stream[start] & 0x30 and stream[start] & 0x0F in OPCODES


class _Frames:
    """The frames of one side."""

    def __init__(self, offset: int) -> None:
        self._offset = offset  # of the first byte that has not been taken
        self._pending = bytearray()  # the bytes of an incomplete header, or of a Close before its code
        self._left = 0  # bytes of payload still to come
        self._open = False
        self._lost = False

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        buffer: bytes | bytearray = self._pending + data if self._pending else data
        position, size = 0, len(buffer)
        while position < size:
            if self._lost:
                position = size
            elif self._left:
                taken = min(self._left, size - position)
                position += taken
                self._left -= taken
                if not self._left:
                    self._end(self._offset + position, events)
            else:
                header = self._header(buffer, position, size, events)
                if header is None:
                    if self._lost:
                        continue
                    break
                position += header.size
                self._left = header.length
                if not self._left:
                    self._end(self._offset + position, events)
        self._offset += position
        self._pending = bytearray(buffer[position:])
        return events

    def finish(self) -> list[Ended]:
        if not self._open:
            return []
        self._open = False
        boundary = Boundary.CLOSE if self._lost else Boundary.CUT
        self._lost = True
        return [Ended(self._offset, boundary.value)]

    def _header(self, buffer: bytes | bytearray, position: int, size: int, events: list[Event]) -> Header | None:
        """Open the frame at `position`; None if too little of it is there, or if it is none."""
        offset = self._offset + position
        try:
            header = parse_header(buffer, position, size)
        except MalformedError as error:
            events.append(Started(Role.ERROR, f"not WebSocket: {error}", offset, offset, None))
            self._open = self._lost = True
            return None
        if header is None:
            return None
        label = header.label
        if header.opcode == CLOSE:
            body = position + header.size
            if size - body < min(2, header.length):
                return None  # its code is what a Close is about
            label = close_label(unmask(buffer[body : body + min(2, header.length)], header.key))
        role = _ROLES.get(header.opcode, Role.PUSH)
        events.append(Started(role, label, offset, offset + header.size, header.length))
        self._open = True
        return header

    def _end(self, end: int, events: list[Event]) -> None:
        self._open = False
        events.append(Ended(end, FRAME_LENGTH))
