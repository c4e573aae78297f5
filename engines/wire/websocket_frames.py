"""What a WebSocket frame looks like (RFC 6455, section 5.2): its header as a value, its parts by name. It keeps nothing.

byte 0       FIN, three reserved bits, four bits of opcode
byte 1       MASK, seven bits of length: 0 to 125, or 126, or 127
2 or 8 bytes the length, after 126 or 127
4 bytes      the masking key, if MASK is set: always from a client, never from a server (section 5.1)
the payload  XORed with the key, if there is one
"""

from dataclasses import dataclass

from engines.lab.dissection import Part

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

OPCODES = {
    CONTINUATION: "continuation", TEXT: "text", BINARY: "binary", CLOSE: "close", PING: "ping", PONG: "pong",
}  # fmt: skip
"""Section 5.2; the rest is reserved."""

CLOSE_CODES = {
    1000: "normal: the purpose is fulfilled",
    1001: "going away: a page left, a server stopped",
    1002: "a protocol error",
    1003: "data of a kind that cannot be accepted",
    1007: "data that is not of its kind, as text that is not UTF-8",
    1008: "a message against the rules of the house",
    1009: "a message too big to process",
    1010: "an extension is missing",
    1011: "an unexpected condition at the endpoint",
    1012: "the service restarts",
    1013: "try again later",
    1014: "a bad gateway",
}
"""Section 7.4.1; 1012 to 1014 are from IANA's registry. 1005, 1006 and 1015 stand for no code and are never sent."""

MOST_HEADER_BYTES = 14
_PREVIEW_BYTES = 60


class MalformedError(ValueError):
    """These bytes are no frame; the message is a short clause that depends on the bytes alone."""


@dataclass(frozen=True, slots=True)
class Header:
    """A frame's header. `size` counts its own bytes, `length` those of the payload; `key` is empty where nothing is masked."""

    final: bool
    compressed: bool
    opcode: int
    size: int
    length: int
    key: bytes

    @property
    def is_control(self) -> bool:
        return self.opcode >= CLOSE

    @property
    def label(self) -> str:
        """`text 42 B`, `ping`; of a message in several frames each says which it is. A close's code is in its payload."""
        name = OPCODES[self.opcode]
        if self.is_control:
            return name
        kind = " compressed" if self.compressed else ""
        place = (
            ", the last" if self.opcode == CONTINUATION and self.final else "" if self.final else ", to be continued"
        )
        return f"{name}{kind} {self.length:,} B{place}"


def parse_header(data: bytes | bytearray, position: int, end: int) -> Header | None:
    """The header at `position`; None while it is incomplete. Raises MalformedError."""
    left = end - position
    if left < 1:
        return None
    first = data[position]
    opcode = first & 0x0F
    if opcode not in OPCODES:
        raise MalformedError(f"opcode {opcode} is reserved")
    if first & 0x30:
        raise MalformedError("a reserved bit is set")
    compressed = bool(first & 0x40)
    if opcode >= CLOSE and (first & 0xC0) != 0x80:
        raise MalformedError("a control frame in pieces")
    if left < 2:
        return None
    short = data[position + 1] & 0x7F
    if opcode >= CLOSE and short > 125:
        raise MalformedError("a control frame of more than 125 bytes")
    extended = {126: 2, 127: 8}.get(short, 0)
    masked = bool(data[position + 1] & 0x80)
    size = 2 + extended + 4 * masked
    if left < size:
        return None
    length = int.from_bytes(data[position + 2 : position + 2 + extended], "big") if extended else short
    if length >> 63:
        raise MalformedError("a length with its highest bit set")
    key = bytes(data[position + size - 4 : position + size]) if masked else b""
    return Header(bool(first & 0x80), compressed, opcode, size, length, key)


def unmask(payload: bytes | bytearray, key: bytes) -> bytes:
    """Section 5.3: XOR with the key, over and over. Masking and unmasking are the same."""
    if not key or not payload:
        return bytes(payload)
    stream = (key * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(payload), "big")


def close_label(payload: bytes) -> str:
    """`close 1000`, of an unmasked payload; a Close may be without code, which counts as 1005."""
    return f"close {int.from_bytes(payload[:2], 'big')}" if len(payload) >= 2 else "close"


def frame_parts(stream: bytes, start: int, end: int) -> list[Part]:
    """The parts of the frame at bytes `start` to `end` of `stream`, without gaps or overlaps; of half a frame, half of them."""
    end = min(end, len(stream))
    try:
        header = parse_header(stream, start, end)
    except MalformedError as error:
        return [Part(start, end, "bytes", f"not WebSocket: {error}")] if end > start else []
    if header is None:
        return [Part(start, end, "frame header", "incomplete")] if end > start else []
    parts = [
        Part(start, start + 1, "FIN and opcode", _first_note(header)),
        Part(start + 1, start + 2, "mask bit and length", _second_note(header), boundary=header.length <= 125),
    ]
    key_start = start + header.size - len(header.key)
    if key_start > start + 2:
        parts.append(Part(start + 2, key_start, "extended length", _bytes(header.length), boundary=True))
    payload_start = start + header.size
    if header.key:
        parts.append(Part(key_start, payload_start, "masking key", "XORed with the payload, again and again"))
    return parts + _payload_parts(stream, payload_start, min(payload_start + header.length, end), end, header)


def _payload_parts(stream: bytes, start: int, stop: int, end: int, header: Header) -> list[Part]:
    payload = unmask(stream[start:stop], header.key)
    parts = []
    if header.opcode == CLOSE and len(payload) >= 2:
        code = int.from_bytes(payload[:2], "big")
        parts.append(Part(start, start + 2, "close code", f"{code}, {CLOSE_CODES.get(code, 'not a code of RFC 6455')}"))
        start, payload = start + 2, payload[2:]
    if payload:
        name = "close reason" if parts else "payload data"
        parts.append(
            Part(start, stop, name, _payload_note(payload, header, len(payload) == header.length - 2 * len(parts)))
        )
    if end > stop:
        parts.append(Part(stop, end, "bytes", "after the end of the frame"))
    return parts


def _first_note(header: Header) -> str:
    place = "the last frame of its message" if header.final else "more frames of this message follow"
    squeezed = ", compressed (RFC 7692)" if header.compressed else ""
    return f"{place}, opcode {header.opcode:X}: {OPCODES[header.opcode]}{squeezed}"


def _second_note(header: Header) -> str:
    mask = "masked, as a client must" if header.key else "not masked, as a server must"
    if header.length <= 125 and header.size - len(header.key) == 2:
        return f"{mask}; {_bytes(header.length)} of payload"
    width = header.size - len(header.key) - 2
    return f"{mask}; {126 if width == 2 else 127}: the length is in the next {width} bytes"


def _payload_note(payload: bytes, header: Header, whole: bool) -> str:
    """What the bytes say, without their mask; text as text, anything else as its size."""
    state = "" if whole else f"incomplete: {len(payload):,} of {_bytes(header.length)}; "
    if header.compressed or header.opcode not in (TEXT, CLOSE, PING, PONG):
        return f"{state}{_bytes(len(payload))}{' unmasked' if header.key else ''}"
    text = payload[:_PREVIEW_BYTES].decode("utf-8", "backslashreplace")
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    more = "…" if len(payload) > _PREVIEW_BYTES else ""
    return f"{state}{'unmasked: ' if header.key else ''}{shown}{more}"


def _bytes(size: int) -> str:
    return "1 byte" if size == 1 else f"{size:,} bytes"
