"""Reads HTTP/2 (RFC 9113) out of a connection's bytes, as a passive observer: which frames belong to which message.

A message is the frames of one stream in one direction, from its HEADERS to END_STREAM; its bytes reach from the first of them
to the last, and where frames of others lie between, `Resumed` says where it goes on. Frames that carry no message (SETTINGS,
WINDOW_UPDATE, PING ...) are short messages. In an event stream each DATA frame is a message inside the response.

It refuses to judge: it follows the frames and HPACK, whatever the state of the streams. Where framing is lost it says
"not HTTP/2" once and finds nothing more in that direction. What it says depends on the bytes alone, never on how they were cut.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from engines.lab.dissection import Ended, Event, Part, Resumed, Side, Started
from engines.lab.facts import Role
from engines.wire.http1_grammar import readable, status_text
from engines.wire.http2_fields import FieldReader, UnreadableError
from engines.wire.http2_frames import (
    END_HEADERS,
    END_STREAM,
    HEADER_SIZE,
    PREFACE,
    FrameHeader,
    FrameType,
    frame_header,
)
from engines.wire.http2_parts import connection_parts
from engines.wire.http2_payloads import control_message, data_size, fragment
from engines.wire.sse_dissector import said_of
from engines.wire.sse_grammar import LineReader, field_of

CUT_SHORT = "cut short"
NOBODY = -1
LONGEST_SMALL_FRAME = 1 << 20
"""Frames other than DATA are read whole; a longer one is taken for a sign that these are no frames."""


class Http2Dissector:
    """An HTTP/2 connection with prior knowledge (section 3.3). See `engines.lab.dissection.Dissector`."""

    name = "h2"

    def __init__(self) -> None:
        client, server = _Direction(Side.CLIENT), _Direction(Side.SERVER)
        client.other, server.other = server, client
        self._directions = (client, server)

    def feed(self, side: Side, data: bytes) -> Sequence[Event]:
        """Take the next bytes that `side` sent and return what they completed, in order."""
        return self._directions[side].feed(data)

    def finish(self, side: Side) -> Sequence[Ended]:
        """`side` will send nothing more: what is open is cut short."""
        return self._directions[side].finish()

    def parts(self, side: Side, stream: bytes, start: int, end: int) -> list[Part]:
        """Name the parts of the message at bytes `start` to `end` of `stream`. Pure; see `http2_parts`."""
        return connection_parts(side, stream, start, end)


@dataclass(slots=True)
class _Open:
    """A message whose END_STREAM is still to come."""

    event_stream: bool


@dataclass(slots=True)
class _Block:
    """A header block that has begun (section 4.3): in HEADERS or PUSH_PROMISE, perhaps with CONTINUATION behind it."""

    first: FrameHeader
    offset: int
    fragments: bytearray


class _Direction:
    """The frames of one side."""

    def __init__(self, side: Side) -> None:
        self.other: _Direction
        self.reset: list[int] = []  # streams that the other side has reset since we looked
        self.dead: set[int] = set()  # streams that one of the sides has reset
        self._side = side
        self._offset = 0  # of the first byte in `_pending`
        self._pending = bytearray()
        self._preface = PREFACE if side is Side.CLIENT else b""
        self._greeting: int | None = 0  # where the first message begins, until it has ended
        self._data: FrameHeader | None = None  # the DATA frame whose header was read …
        self._data_left = 0  # … and how much of it is still to come
        self._data_nested = False
        self._fields = FieldReader()
        self._block: _Block | None = None
        self._open: dict[int, _Open] = {}
        self._floor = NOBODY  # the stream of the open message that sent the last frame
        self._lost = False
        self._by_type: dict[int, Callable[[FrameHeader, bytes, list[Event]], None]] = {
            FrameType.HEADERS: self._begin_block,
            FrameType.PUSH_PROMISE: self._begin_block,
            FrameType.CONTINUATION: self._continue_block,
            FrameType.RST_STREAM: self._reset_stream,
        }

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        self._pending += data
        while self._pending and not self._lost and self._step(events):
            pass
        if self._lost:
            self._take(len(self._pending))
        return events

    def finish(self) -> list[Ended]:
        end = self._offset + len(self._pending)
        ended: list[Event] = []
        if self._data is not None and self._data_nested:
            ended.append(Ended(end, CUT_SHORT, self._data.stream, nested=True))
        ended += [Ended(end, CUT_SHORT, stream) for stream in self._open]
        if self._lost:
            ended.append(Ended(end, "connection closed"))
        self._open.clear()
        self._data, self._lost = None, False
        self._take(len(self._pending))
        return [event for event in ended if isinstance(event, Ended)]

    # --- frames ---------------------------------------------------------------------------------------------------------

    def _take(self, size: int) -> bytes:
        taken = bytes(self._pending[:size])
        del self._pending[:size]
        self._offset += len(taken)
        return taken

    def _step(self, events: list[Event]) -> bool:
        """Take the next thing there is; false if too little of it has come."""
        if self._data is not None:
            return self._more_data(self._data, events)
        for stream in self.reset:
            if self._open.pop(stream, None):
                events.append(Ended(self._offset, CUT_SHORT, stream))
        self.reset.clear()
        if self._preface:
            return self._take_preface(events)
        if len(self._pending) < HEADER_SIZE:
            return False
        header = frame_header(self._pending)
        reason = self._misfit(header)
        if reason:
            self._lose(events, reason)
        elif header.type == FrameType.DATA and not self._told_whole(header):
            self._begin_data(header, events)
        elif len(self._pending) < header.size:
            return False
        else:
            handle = self._by_type.get(header.type, self._control)
            if header.type == FrameType.DATA:
                handle = self._whole_data
            handle(header, bytes(self._pending[HEADER_SIZE : header.size]), events)
            self._take(header.size)
        return True

    def _take_preface(self, events: list[Event]) -> bool:
        if not PREFACE.startswith(self._pending[: len(PREFACE)]):
            self._lose(events, "no connection preface")
        elif len(self._pending) < len(PREFACE):
            return False
        else:
            self._take(len(PREFACE))
            self._preface = b""
        return True

    def _misfit(self, header: FrameHeader) -> str:
        """Why these can be no frames of HTTP/2, or an empty string."""
        if self._greeting is not None and header.type != FrameType.SETTINGS:
            return "the first frame is not SETTINGS"  # section 3.4
        block = self._block
        goes_on = header.type == FrameType.CONTINUATION and block is not None and header.stream == block.first.stream
        if (block is not None or header.type == FrameType.CONTINUATION) and not goes_on:
            return "a header block is not continued"  # section 6.10
        if header.length > LONGEST_SMALL_FRAME and header.type != FrameType.DATA:
            return f"a frame of {header.length:,} bytes"
        return ""

    def _lose(self, events: list[Event], reason: str) -> None:
        for stream in self._open:
            events.append(Ended(self._offset, CUT_SHORT, stream))
        self._open.clear()
        start = self._offset if self._greeting is None else self._greeting
        events.append(Started(Role.ERROR, f"not HTTP/2: {reason}", start, start, None))
        self._lost = True

    def _control(self, header: FrameHeader, payload: bytes, events: list[Event]) -> None:
        """A frame that is a message by itself. The first SETTINGS takes the preface before it along (section 3.4)."""
        start = self._offset
        if self._greeting is not None:
            start, self._greeting = self._greeting, None
        role, label = control_message(header, payload)
        self._whole(Started(role, label, start, self._offset + HEADER_SIZE, header.length), header, events)

    def _whole(
        self, started: Started, header: FrameHeader, events: list[Event], boundary: str = "frame length"
    ) -> None:
        """A message that is over with its frame; it must not end what is open on its stream."""
        nested = header.stream != 0
        events.append(replace(started, stream=header.stream, nested=nested))
        events.append(Ended(self._offset + header.size, boundary, header.stream, nested))
        self._pause(header.stream)

    def _pause(self, stream: int) -> None:
        """A short message has come; unless it is inside the message that was speaking, that one must resume."""
        if stream != self._floor or stream not in self._open:
            self._floor = NOBODY

    def _reset_stream(self, header: FrameHeader, payload: bytes, events: list[Event]) -> None:
        """It ends the stream in both directions (section 5.4.2); in the other, with the next bytes that come there."""
        if self._open.pop(header.stream, None):
            events.append(Ended(self._offset, CUT_SHORT, header.stream))
        for direction in (self, self.other):
            direction.dead.add(header.stream)
        self.other.reset.append(header.stream)
        self._control(header, payload, events)

    # --- messages -------------------------------------------------------------------------------------------------------

    def _go_on(self, stream: int, offset: int, events: list[Event]) -> None:
        """A further frame of an open message begins at `offset`."""
        if self._floor != stream:
            events.append(Resumed(offset, stream))
            self._floor = stream

    def _told_whole(self, header: FrameHeader) -> bool:
        """Whether a DATA frame is looked at only when it is all there: then its label can say what is in it."""
        message = self._open.get(header.stream)
        return message is not None and message.event_stream and 0 < header.length <= LONGEST_SMALL_FRAME

    def _begin_data(self, header: FrameHeader, events: list[Event]) -> None:
        self._data_nested = header.stream not in self._open
        if self._data_nested:
            label, start = f"DATA {header.length:,} B, unwanted", self._offset
            events.append(
                Started(Role.CONTROL, label, start, start + HEADER_SIZE, header.length, header.stream, nested=True)
            )
            self._floor = NOBODY
        else:
            self._go_on(header.stream, self._offset, events)
        self._take(HEADER_SIZE)
        self._data, self._data_left = header, header.length
        if not header.length:
            self._end_data(header, events)

    def _more_data(self, header: FrameHeader, events: list[Event]) -> bool:
        self._data_left -= len(self._take(self._data_left))
        if not self._data_left:
            self._end_data(header, events)
        return True

    def _end_data(self, header: FrameHeader, events: list[Event]) -> None:
        self._data = None
        if self._data_nested:
            events.append(Ended(self._offset, "frame length", header.stream, nested=True))
        self._end_if_last(header, self._offset, events)

    def _whole_data(self, header: FrameHeader, payload: bytes, events: list[Event]) -> None:
        """A piece of an event stream: as a rule one event, which the server wrote in one go."""
        self._go_on(header.stream, self._offset, events)
        lines = LineReader(200)
        fields = [field_of(line) for line, _ in lines.feed(payload[data_size(header, payload)]) if line]
        role, label = said_of(fields) if fields else (Role.PUSH, f"DATA {header.length:,} B")
        start = self._offset
        self._whole(Started(role, label, start, start + HEADER_SIZE, header.length), header, events)
        self._end_if_last(header, start + header.size, events)

    def _end_if_last(self, header: FrameHeader, end: int, events: list[Event]) -> None:
        if header.has(END_STREAM) and header.stream in self._open:
            del self._open[header.stream]
            events.append(Ended(end, "END_STREAM", header.stream))

    def _begin_block(self, header: FrameHeader, payload: bytes, events: list[Event]) -> None:
        self._block = _Block(header, self._offset, bytearray())
        self._continue_block(header, payload, events)

    def _continue_block(self, header: FrameHeader, payload: bytes, events: list[Event]) -> None:
        assert self._block is not None
        self._block.fragments += payload[fragment(header, payload)]
        if header.has(END_HEADERS):
            block, self._block = self._block, None
            self._end_block(block, self._offset + header.size, events)

    def _end_block(self, block: _Block, end: int, events: list[Event]) -> None:
        """A header block is complete: it begins a message, or ends one with trailers (section 8.1)."""
        first, stream = block.first, block.first.stream
        try:
            fields = {field.name: field.value for field in self._fields.read(bytes(block.fragments)) if field.name}
        except UnreadableError as error:
            fields = {b"": str(error).encode()}
        role, label = _said(first, fields)
        if first.type == FrameType.PUSH_PROMISE or stream in self.dead or b"" in fields:
            if stream in self.dead:
                role, label = Role.CONTROL, f"{label}, unwanted"
            events.append(Started(role, label, block.offset, end, 0, stream, nested=True))
            events.append(Ended(end, "END_HEADERS", stream, nested=True))
            self._pause(stream)
            return
        if stream in self._open:
            self._go_on(stream, block.offset, events)
        else:
            self._floor = stream
            over = first.has(END_STREAM)
            length = fields.get(b"content-length", b"")
            size = 0 if over else int(length) if length.isdigit() and len(length) < 16 else None
            events.append(Started(role, label, block.offset, end, size, stream))
            interim = role is Role.RESPONSE and fields.get(b":status", b"").startswith(b"1")
            if interim:  # the answer proper is still to come (RFC 9110, section 15.2)
                events.append(Ended(end, "END_HEADERS", stream))
                return
            media_type = fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
            self._open[stream] = _Open(media_type == b"text/event-stream")
        if first.has(END_STREAM):
            del self._open[stream]
            events.append(Ended(end, "END_STREAM", stream))


def _said(first: FrameHeader, fields: dict[bytes, bytes]) -> tuple[Role, str]:
    """What a header block says, by its pseudo-fields (sections 8.3.1 and 8.3.2)."""
    if b"" in fields:
        return Role.ERROR, f"{first.name}: {readable(fields[b''])}"
    if first.type == FrameType.PUSH_PROMISE:
        return Role.CONTROL, f"PUSH_PROMISE {readable(fields.get(b':path', b''))}".rstrip()
    status = fields.get(b":status", b"")
    if status.isdigit() and len(status) == 3:
        return Role.ERROR if status >= b"400" else Role.RESPONSE, status_text(int(status), b"")
    method = fields.get(b":method", b"")
    if method:
        return Role.REQUEST, f"{readable(method)} {readable(fields.get(b':path') or fields.get(b':authority', b''))}"
    return Role.CONTROL, "HEADERS without a method or status"
