"""How many bytes are content, neither head nor framing: of an HTTP/1.1 message (RFC 9112, sections 6, 7.1), and of a whole
direction of an HTTP/2 connection (RFC 9113, section 6.1)."""

import re
from typing import Protocol

_LENGTH = re.compile(rb"^content-length:[ \t]*(\d+)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_CHUNKED = re.compile(rb"^transfer-encoding:.*\bchunked[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)

END_OF_HEAD = b"\r\n\r\n"


class Body(Protocol):
    """Takes the bytes that follow a head, in order and in any pieces."""

    def take(self, data: bytes) -> int:
        """How many of `data` are content."""
        ...


class SizedBody:
    """A body of `size` bytes, as Content-Length says."""

    def __init__(self, size: int) -> None:
        self._left = size

    def take(self, data: bytes) -> int:
        taken = min(self._left, len(data))
        self._left -= taken
        return taken


class EndlessBody:
    """A body that lasts until the connection closes."""

    def take(self, data: bytes) -> int:
        return len(data)


class ChunkedBody:
    """A body in chunks: a size in hexadecimal, a line end, the data, a line end; the chunk of size 0 is the last."""

    def __init__(self) -> None:
        self._line = b""  # of the chunk size, as far as it has come
        self._left = 0  # bytes of data to come in this chunk
        self._skip = 0  # bytes of the line end behind the data
        self._over = False

    def take(self, data: bytes) -> int:
        content, at = 0, 0
        while at < len(data) and not self._over:
            if self._left or self._skip:
                taken = min(self._left, len(data) - at)
                content, at, self._left = content + taken, at + taken, self._left - taken
                skipped = min(self._skip, len(data) - at)
                at, self._skip = at + skipped, self._skip - skipped
            else:
                end = data.find(b"\n", at) + 1
                self._line += data[at : end or None]
                at = end or len(data)
                if end:
                    self._begin_chunk()
        return content

    def _begin_chunk(self) -> None:
        size = re.match(rb"[0-9a-fA-F]+", self._line)
        self._line = b""
        self._left = int(size[0], 16) if size else 0
        self._skip = 2
        self._over = not self._left


_PREFACE_SIZE = 24  # what an HTTP/2 client says before its first frame (RFC 9113, section 3.4)
_FRAME_HEADER_SIZE = 9
_DATA = 0
_PADDED = 0x8


class FramedBodies:
    """All bodies of one direction of an HTTP/2 connection: what is in its DATA frames, but for padding."""

    def __init__(self, preface: bool) -> None:
        self._skip = _PREFACE_SIZE if preface else 0
        self._header = b""  # of the frame, as far as it has come
        self._left = 0  # bytes of content to come in this frame
        self._padded = False  # whether the next byte is the length of the padding

    def take(self, data: bytes) -> int:
        content, at = 0, 0
        while at < len(data):
            if self._padded:
                padding = data[at]
                self._left, self._skip, self._padded = max(0, self._left - 1 - padding), padding, False
                at += 1
            elif self._left:
                taken = min(self._left, len(data) - at)
                content, at, self._left = content + taken, at + taken, self._left - taken
            elif self._skip:
                skipped = min(self._skip, len(data) - at)
                at, self._skip = at + skipped, self._skip - skipped
            else:
                missing = _FRAME_HEADER_SIZE - len(self._header)
                self._header += data[at : at + missing]
                at += missing
                if len(self._header) == _FRAME_HEADER_SIZE:
                    self._begin_frame(self._header)
                    self._header = b""
        return content

    def _begin_frame(self, header: bytes) -> None:
        size = int.from_bytes(header[:3], "big")
        if header[3] != _DATA:
            self._skip = size
        else:
            self._left, self._padded = size, bool(header[4] & _PADDED and size)


def body_after(head: bytes, is_request: bool) -> Body:
    """The body that `head` (up to and with its empty line) announces (RFC 9112, section 6.3)."""
    if _CHUNKED.search(head):
        return ChunkedBody()
    if length := _LENGTH.search(head):
        return SizedBody(int(length[1]))
    return SizedBody(0) if is_request else EndlessBody()
