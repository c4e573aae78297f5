"""Names the parts of HTTP/2 messages: frame headers, settings, fields of header blocks, data, padding.

Pure: to know what HPACK's dynamic table held (RFC 7541, section 2.3.2), it reads the direction again from its first byte. The
frames of other streams that lie inside a message's range are one part each.
"""

from collections.abc import Callable

from engines.lab.dissection import Part, Side
from engines.wire.http2_fields import FieldReader, UnreadableError
from engines.wire.http2_frames import (
    ACK,
    END_HEADERS,
    HEADER_SIZE,
    PADDED,
    PREFACE,
    PRIORITY,
    FrameHeader,
    FrameType,
    error_name,
    frame_header,
)
from engines.wire.http2_payloads import data_size, fragment, number, setting_text, settings_in

INCOMPLETE = "incomplete"
_BLOCKS = (FrameType.HEADERS, FrameType.PUSH_PROMISE, FrameType.CONTINUATION)
_MASK = 0x7FFF_FFFF


def connection_parts(side: Side, stream: bytes, start: int, end: int) -> list[Part]:
    """The parts of the message at bytes `start` to `end` of `stream`, without gaps or overlaps."""
    end = min(end, len(stream))
    cursor = _Cursor(stream, start, end)
    position = 0
    if side is Side.CLIENT:
        if not PREFACE.startswith(stream[: len(PREFACE)]):
            cursor.take(end, "bytes", "not HTTP/2: no connection preface")
            return cursor.parts
        position = len(PREFACE)
        cursor.take(position, "connection preface", "" if len(stream) >= position else INCOMPLETE)
    fields = _Fields()
    owner: int | None = None
    while position < end:
        if position + HEADER_SIZE > len(stream):
            cursor.take(end, "frame header", f"{INCOMPLETE}: {len(stream) - position} of {HEADER_SIZE} bytes")
            break
        header = frame_header(stream, position)
        payload = stream[position + HEADER_SIZE : position + header.size]
        notes = fields.read(header, payload)
        if position + header.size > start:
            owner = header.stream if owner is None else owner
            if header.stream == owner:
                _frame(cursor, position, header, payload, notes)
            else:
                cursor.take(position + header.size, f"frame of stream {header.stream}", _summary(header))
        position += header.size
    cursor.take(end, "bytes", "not HTTP/2")
    return cursor.parts


class _Cursor:
    """Cuts the range into parts by their ends; what lies outside the range is cut off."""

    def __init__(self, stream: bytes, start: int, end: int) -> None:
        self.parts: list[Part] = []
        self._stream = stream
        self._position = start
        self._end = end

    def take(self, end: int, name: str, note: str = "", boundary: bool = False) -> None:
        """Everything before `end` that is not taken yet is one part."""
        if end > self._end and not note.startswith(INCOMPLETE):
            note = f"{INCOMPLETE}: {note}" if note else INCOMPLETE
        end = min(end, self._end)
        if end > self._position:
            self.parts.append(Part(self._position, end, name, note, boundary))
            self._position = end


class _Fields:
    """Reads the header blocks of a direction, one after the other."""

    def __init__(self) -> None:
        self._reader = FieldReader()
        self._block: list[bytes] = []

    def read(self, header: FrameHeader, payload: bytes) -> list[tuple[int, str, str]]:
        """The fields that begin in this frame: (size in this frame, name of the part, note), as far as they can be told.

        A field that a CONTINUATION goes on with is told where it ends.
        """
        if header.type not in _BLOCKS or len(payload) < header.length:
            return []
        piece = payload[fragment(header, payload)]
        if header.type != FrameType.CONTINUATION:
            self._block = []
        before = sum(map(len, self._block))
        self._block.append(piece)
        if not header.has(END_HEADERS):
            return [(len(piece), "field block fragment", "goes on in a CONTINUATION frame")]
        notes, position = [], 0
        try:
            for field in self._reader.read(b"".join(self._block)):
                position += field.size
                if position > before:
                    size = min(field.size, position - before)
                    notes.append((size, "field" if field.name else "table size", f"{field} ({field.how})"))
        except UnreadableError as error:
            notes.append((before + len(piece) - position, "field block", str(error)))
        return notes


def _summary(header: FrameHeader) -> str:
    flags = header.flag_names()
    return f"{header.name}, {header.length:,} bytes" + (f", {flags}" if flags else "")


def _frame(
    cursor: _Cursor, position: int, header: FrameHeader, payload: bytes, fields: list[tuple[int, str, str]]
) -> None:
    """Section 4.1: length, type, flags, stream; then what the type says."""
    cursor.take(position + 3, "frame length", f"{header.length:,} bytes of payload", boundary=True)
    cursor.take(position + 4, "frame type", header.name)
    ends = "END_STREAM" in header.flag_names()
    cursor.take(position + 5, "flags", header.flag_names() or "none", boundary=ends)
    cursor.take(position + 9, "stream", f"stream {header.stream}" if header.stream else "the connection itself")
    at = position + HEADER_SIZE
    whole = len(payload) == header.length
    if whole and header.type in (*_BLOCKS, FrameType.DATA):
        _padded(cursor, at, header, payload, fields)
    elif whole:
        name_parts = _PAYLOADS.get(header.type)
        if name_parts is not None:
            name_parts(cursor, at, header, payload)
    name = "body" if header.type == FrameType.DATA else "payload"
    cursor.take(at + header.length, name, "" if whole else f"{INCOMPLETE}: {len(payload):,} of {header.length:,} bytes")


def _padded(cursor: _Cursor, at: int, header: FrameHeader, payload: bytes, fields: list[tuple[int, str, str]]) -> None:
    inside = data_size(header, payload) if header.type != FrameType.CONTINUATION else slice(0, len(payload))
    if inside.start:
        cursor.take(at + 1, "pad length", f"{payload[0]} bytes")
    if header.type == FrameType.PUSH_PROMISE:
        cursor.take(at + inside.start + 4, "promised stream", f"{number(payload, inside.start) & _MASK}")
    elif header.type == FrameType.HEADERS and header.has(PRIORITY):
        cursor.take(at + inside.start + 5, "priority", "deprecated (RFC 9113, section 5.3.2)")
    if header.type == FrameType.DATA:
        size = inside.stop - inside.start
        cursor.take(at + inside.stop, "body", f"{size:,} bytes")
    position = at + fragment(header, payload).start
    for size, name, note in fields:
        position += size
        cursor.take(position, name, note)
    if header.has(PADDED) and header.type != FrameType.CONTINUATION:
        cursor.take(at + inside.stop, "field block")
        cursor.take(at + len(payload), "padding")


def _settings(cursor: _Cursor, at: int, header: FrameHeader, payload: bytes) -> None:
    for n, (identifier, value) in enumerate(settings_in(payload)):
        cursor.take(at + 6 * (n + 1), "setting", setting_text(identifier, value))


def _window_update(cursor: _Cursor, at: int, header: FrameHeader, payload: bytes) -> None:
    cursor.take(at + len(payload), "increment", f"{number(payload) & _MASK:,} more bytes of DATA may be sent")


def _rst_stream(cursor: _Cursor, at: int, header: FrameHeader, payload: bytes) -> None:
    cursor.take(at + len(payload), "error", error_name(number(payload)))


def _ping(cursor: _Cursor, at: int, header: FrameHeader, payload: bytes) -> None:
    what = "the same as in the PING that it answers" if header.has(ACK) else "to be sent back as they are"
    cursor.take(at + len(payload), "opaque data", what)


def _goaway(cursor: _Cursor, at: int, header: FrameHeader, payload: bytes) -> None:
    if len(payload) >= 8:
        last = number(payload) & _MASK
        meaning = (
            "requests on higher ones were not processed"
            if last != _MASK
            else "the highest there is; the real one follows"
        )
        cursor.take(at + 4, "last stream", f"{last}: {meaning}")
        cursor.take(at + 8, "error", error_name(number(payload, 4)))
        cursor.take(at + len(payload), "debug data")


_PAYLOADS: dict[int, Callable[[_Cursor, int, FrameHeader, bytes], None]] = {
    FrameType.SETTINGS: _settings,
    FrameType.WINDOW_UPDATE: _window_update,
    FrameType.RST_STREAM: _rst_stream,
    FrameType.PING: _ping,
    FrameType.GOAWAY: _goaway,
}
