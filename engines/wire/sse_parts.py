"""Names the parts of one server-sent event on the wire: fields, their values, the blank line, and the chunks around them."""

import re
from dataclasses import dataclass

from engines.lab.dissection import Part
from engines.lab.units import format_seconds
from engines.wire.http1_grammar import CHUNK_SIZE, readable
from engines.wire.sse_grammar import BOM, field_of, retry_s

_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)?")


@dataclass(frozen=True, slots=True)
class Place:
    """How a byte of an event stream is framed: in chunks or not, with `left` bytes of its chunk from there on, or at the end
    of the chunk before it. `first`: nothing of the stream is before it."""

    chunked: bool
    left: int
    at_chunk_end: bool
    first: bool


def event_parts(stream: bytes, start: int, end: int, place: Place) -> list[Part]:
    """The parts of the message at bytes `start` to `end` of `stream`, which begins at `place`; no gaps, no overlaps."""
    return _Cutter(stream, start, min(end, len(stream)), place).cut()


class _Cutter:
    def __init__(self, stream: bytes, start: int, end: int, place: Place) -> None:
        self._stream = stream
        self._position = start
        self._end = end
        self._place = place
        self._parts: list[Part] = []
        self._begun = b""  # of a line that a chunk or the end of the message has cut
        self._fields = 0
        self._data = False

    def cut(self) -> list[Part]:
        if not self._place.chunked:
            self._lines(self._end)
            return self._parts
        left, at_end = self._place.left, self._place.at_chunk_end
        while self._position < self._end:
            if at_end:
                self._take(min(2, self._end - self._position), "chunk end")
                at_end = False
            elif left:
                until = min(self._end, self._position + left)
                left -= until - self._position
                self._lines(until)
                at_end = not left
            else:
                left = self._chunk_size()
        return self._parts

    def _take(self, size: int, name: str, note: str = "", boundary: bool = False) -> None:
        if size > 0:
            self._parts.append(Part(self._position, self._position + size, name, note, boundary))
            self._position += size

    def _chunk_size(self) -> int:
        line = CHUNK_SIZE.match(self._stream, self._position, self._end)
        if line is None:
            self._take(self._end - self._position, "chunk size", "incomplete")
            return 0
        size = int(line[1], 16)
        self._take(line.end() - line.start(), "chunk size", f"{readable(line[1])} hexadecimal: {size:,} bytes of data")
        return size

    def _lines(self, until: int) -> None:
        """Lines and pieces of lines up to `until`, where the data of a chunk, or what there is, ends."""
        while self._position < until:
            line = _LINE.match(self._stream, self._position, until)
            assert line is not None
            text = line[0].rstrip(b"\r\n")
            if self._begun:
                self._go_on(line[0], text)
            elif text:
                self._line(line[0], text)
            elif self._fields:
                what = "the event" if self._data else "nothing that would be dispatched: there is no data"
                self._take(len(line[0]), "blank line", f"the boundary: ends {what}", boundary=True)
            else:
                self._take(len(line[0]), "line end")

    def _line(self, whole: bytes, text: bytes) -> None:
        if self._place.first and not self._fields and text.startswith(BOM):
            self._take(len(BOM), "byte order mark", "passed over at the start of a stream")
            whole, text = whole[len(BOM) :], text[len(BOM) :]
            if not text:  # the stream begins with an empty line
                self._take(len(whole), "line end")
                return
        self._fields += 1
        self._begun = text if text == whole else b""
        if text.startswith(b":"):
            self._take(len(whole), "comment", "nobody is told; it keeps the connection from looking dead")
            return
        name, value = field_of(text)
        self._data |= name == b"data"
        self._take(len(text) - len(value), "field name", _note_on(name, value))
        self._take(len(value) + len(whole) - len(text), "value" if value else "line end")

    def _go_on(self, whole: bytes, text: bytes) -> None:
        """A line goes on that another chunk began."""
        known = b":" in self._begun
        self._begun = b"" if text != whole else self._begun + text
        name = "value" if known else "field name"
        self._take(len(whole), name, "goes on from the chunk before")


def _note_on(name: bytes, value: bytes) -> str:
    if name == b"id" and b"\0" in value:
        return "id: ignored, because it contains NULL"
    if name == b"retry":
        seconds = retry_s(value)
        return (
            "retry: ignored, not all digits" if seconds is None else f"retry: reconnect after {format_seconds(seconds)}"
        )
    return _NOTES.get(name, f"{readable(name)}: a field that nobody knows is ignored")


_NOTES = {
    b"data": "data: what the event says; several of them are its lines",
    b"event": "event: the type of the event",
    b"id": "id: comes back as Last-Event-ID after a reconnection",
}
