"""The frames of HTTP/2 as numbers and names (RFC 9113): what the client and the dissector both must know of the wire.

It knows where a frame begins and ends, and what its fields are called. What a frame does to a connection is not its business.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client says first (RFC 9113, section 3.4): to a server of HTTP/1.1 a request that it must refuse."""

HEADER_SIZE = 9
DEFAULT_WINDOW = 65_535
"""Bytes of DATA a peer may send unasked, for each stream and for the connection as a whole (section 6.9.2)."""
DEFAULT_MAX_FRAME_SIZE = 16_384
"""The longest payload that everybody must accept (section 4.2)."""

_HEADER = struct.Struct(">HBBBL")


class FrameType(IntEnum):
    """RFC 9113, section 6; the last three are extensions that real peers send."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9
    ALTSVC = 10  # RFC 7838
    ORIGIN = 12  # RFC 8336
    PRIORITY_UPDATE = 16  # RFC 9218


END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY = 0x20

FLAGS: dict[int, dict[int, str]] = {
    FrameType.DATA: {END_STREAM: "END_STREAM", PADDED: "PADDED"},
    FrameType.HEADERS: {
        END_STREAM: "END_STREAM", END_HEADERS: "END_HEADERS", PADDED: "PADDED", PRIORITY: "PRIORITY",
    },
    FrameType.SETTINGS: {ACK: "ACK"},
    FrameType.PUSH_PROMISE: {END_HEADERS: "END_HEADERS", PADDED: "PADDED"},
    FrameType.PING: {ACK: "ACK"},
    FrameType.CONTINUATION: {END_HEADERS: "END_HEADERS"},
}  # fmt: skip
"""The names of the flags that mean something on each type of frame."""

SETTINGS = {
    1: "HEADER_TABLE_SIZE",
    2: "ENABLE_PUSH",
    3: "MAX_CONCURRENT_STREAMS",
    4: "INITIAL_WINDOW_SIZE",
    5: "MAX_FRAME_SIZE",
    6: "MAX_HEADER_LIST_SIZE",
    8: "ENABLE_CONNECT_PROTOCOL",  # RFC 8441
    9: "NO_RFC7540_PRIORITIES",  # RFC 9218
}
"""RFC 9113, section 6.5.2."""

ERRORS = (
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
    "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
)  # fmt: skip
"""RFC 9113, section 7: an error's number is its place."""


def error_name(code: int) -> str:
    """What error `code` is called; unknown ones by their number."""
    return ERRORS[code] if 0 <= code < len(ERRORS) else f"error {code:#x}"


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """The nine bytes at the start of every frame (section 4.1)."""

    length: int  # of the payload behind it
    type: int
    flags: int
    stream: int

    @property
    def name(self) -> str:
        try:
            return FrameType(self.type).name
        except ValueError:
            return f"frame of unknown type {self.type:#x}"

    @property
    def size(self) -> int:
        """Of the whole frame."""
        return HEADER_SIZE + self.length

    def has(self, flag: int) -> bool:
        return bool(self.flags & flag)

    def flag_names(self) -> str:
        """Its flags, as "END_HEADERS, END_STREAM"; those without a meaning here are left out."""
        known = FLAGS.get(self.type, {})
        return ", ".join(name for flag, name in known.items() if self.flags & flag)


def frame_header(data: bytes | bytearray | memoryview, position: int = 0) -> FrameHeader:
    """The frame header at `position`; the reserved bit before the stream's number is ignored, as it must be."""
    high, low, kind, flags, stream = _HEADER.unpack_from(data, position)
    return FrameHeader(high << 8 | low, kind, flags, stream & 0x7FFF_FFFF)


class FrameSplitter:
    """Cuts a stream of bytes, taken in any pieces, into whole frames.

    A frame longer than `max_size` is a breach of the protocol: what there is of it is handed out at once, for others to judge.
    """

    def __init__(self, max_size: int = DEFAULT_MAX_FRAME_SIZE) -> None:
        self._max_size = max_size
        self._pending = bytearray()

    def take(self, data: bytes) -> Iterator[tuple[FrameHeader, bytes]]:
        """The frames that `data` completes: their headers, and all their bytes."""
        pending = self._pending
        pending += data
        while len(pending) >= HEADER_SIZE:
            header = frame_header(pending)
            if len(pending) < header.size and header.length <= self._max_size:
                return
            whole = bytes(pending[: header.size])
            del pending[: header.size]
            yield header, whole
