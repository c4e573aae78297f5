"""The layout of MQTT 5 control packets (section 2 and 3 of the OASIS standard): fields by their places. Reads what is there.

The codec that the peers use tells nothing of places; here each field is known by its bytes, in packets that are still coming
as well.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import mqtt5

from engines.wire.http1_grammar import readable

Value = int | str

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP = (
    range(1, 14)
)  # fmt: skip
DISCONNECT, AUTH = 14, 15
NAMES = (
    "", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE", "SUBACK", "UNSUBSCRIBE",
    "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH",
)  # fmt: skip
"""Table 2-1."""
_FLAGS = {PUBREL: 2, SUBSCRIBE: 2, UNSUBSCRIBE: 2}
"""Table 2-2: the lower four bits of the first octet, which are 0 for all others but PUBLISH."""
VERSION = 5

REASONS: dict[int, type[IntEnum]] = {
    CONNACK: mqtt5.ConnAckReasonCode,
    PUBACK: mqtt5.PubAckReasonCode,
    PUBREC: mqtt5.PubRecReasonCode,
    PUBREL: mqtt5.PubRelReasonCode,
    PUBCOMP: mqtt5.PubCompReasonCode,
    SUBACK: mqtt5.SubAckReasonCode,
    UNSUBACK: mqtt5.UnsubAckReasonCode,
    DISCONNECT: mqtt5.DisconnectReasonCode,
    AUTH: mqtt5.AuthReasonCode,
}

_PROPERTIES: dict[int, tuple[str, str]] = {
    0x01: ("payload format indicator", "1"),
    0x02: ("message expiry interval", "4"),
    0x03: ("content type", "text"),
    0x08: ("response topic", "text"),
    0x09: ("correlation data", "binary"),
    0x0B: ("subscription identifier", "varint"),
    0x11: ("session expiry interval", "4"),
    0x12: ("assigned client identifier", "text"),
    0x13: ("server keep alive", "2"),
    0x15: ("authentication method", "text"),
    0x16: ("authentication data", "binary"),
    0x17: ("request problem information", "1"),
    0x18: ("will delay interval", "4"),
    0x19: ("request response information", "1"),
    0x1A: ("response information", "text"),
    0x1C: ("server reference", "text"),
    0x1F: ("reason string", "text"),
    0x21: ("receive maximum", "2"),
    0x22: ("topic alias maximum", "2"),
    0x23: ("topic alias", "2"),
    0x24: ("maximum QoS", "1"),
    0x25: ("retain available", "1"),
    0x26: ("user property", "pair"),
    0x27: ("maximum packet size", "4"),
    0x28: ("wildcard subscription available", "1"),
    0x29: ("subscription identifier available", "1"),
    0x2A: ("shared subscription available", "1"),
}
"""Table 2-4, with the types of section 1.5."""


def words(name: str) -> str:
    """A name of the standard as one would say it: "SESSION_TAKEN_OVER" is "session taken over"."""
    return name.lower().replace("_", " ").replace("qos", "QoS")


class MalformedError(ValueError):
    """The bytes are no MQTT 5; the message says why, in words that follow "not MQTT 5:"."""


class IncompleteError(Exception):
    """What is there so far may become a packet."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field at bytes `start` to `end`. `boundary` is true for what tells where something ends."""

    start: int
    end: int
    name: str
    value: Value
    note: str = ""
    boundary: bool = False


@dataclass(frozen=True, slots=True)
class FixedHeader:
    """Section 2.1: the packet is the bytes from `start` to `end`, of which those before `body` are this header."""

    kind: int
    flags: int
    start: int
    body: int
    end: int

    @property
    def qos(self) -> int:
        """Of a PUBLISH."""
        return self.flags >> 1 & 3


class Cursor:
    """A place in `data` that moves on as fields are read, up to `end`, of which some may not have come yet."""

    def __init__(self, data: bytes | bytearray, position: int, end: int | None = None) -> None:
        self.data = data
        self.position = position
        self.end = end

    @property
    def left(self) -> int:
        """How many bytes the packet has from here on."""
        assert self.end is not None
        return self.end - self.position

    def take(self, size: int) -> bytes:
        """The next `size` bytes. Raises MalformedError beyond the packet's end, IncompleteError beyond what has come."""
        stop = self.position + size
        if self.end is not None and stop > self.end:
            raise MalformedError("a field that is longer than its packet")
        if stop > len(self.data):
            raise IncompleteError
        found = bytes(self.data[self.position : stop])
        self.position = stop
        return found

    def varint(self) -> int:
        """A variable byte integer (1.5.5)."""
        value = 0
        for i in range(4):
            octet = self.take(1)[0]
            value |= (octet & 0x7F) << 7 * i
            if octet < 0x80:
                return value
        raise MalformedError("a length of more than four octets")

    def number(self, name: str, size: int, note: str = "") -> Field:
        """An integer of `size` octets, the highest first."""
        start = self.position
        value = int.from_bytes(self.take(size), "big")
        return Field(start, self.position, name, value, note or str(value))

    def text(self, name: str) -> Iterator[Field]:
        """A string or binary data: two octets of length, and then as many as they say (1.5.4, 1.5.6)."""
        length = self.number(f"{name} length", 2)
        yield Field(length.start, length.end, length.name, length.value, length.note, True)
        start = self.position
        value = readable(self.take(int(length.value)))
        if self.position > start:
            yield Field(start, self.position, name, value, value)
        else:
            yield Field(start, start, name, "")

    def rest(self, name: str) -> Field:
        """All that is left, or as much of it as has come."""
        start = self.position
        self.position = min(self.end or start, len(self.data))
        return Field(start, self.position, name, "", f"{self.position - start:,} bytes")


def fixed_header(data: bytes | bytearray, start: int) -> FixedHeader:
    """The fixed header at `start`. Raises MalformedError or IncompleteError."""
    cursor = Cursor(data, start)
    first = cursor.take(1)[0]
    kind, flags = first >> 4, first & 0x0F
    if not kind:
        raise MalformedError("no packet has type 0")
    if kind == PUBLISH:
        if flags >> 1 & 3 == 3:
            raise MalformedError("a PUBLISH with QoS 3")
    elif flags != _FLAGS.get(kind, 0):
        raise MalformedError(f"{NAMES[kind]} with flags {flags}")
    length = cursor.varint()
    return FixedHeader(kind, flags, start, cursor.position, cursor.position + length)


def fields_of(data: bytes | bytearray, header: FixedHeader) -> Iterator[Field]:
    """All fields of a packet, its fixed header first. Raises MalformedError, or IncompleteError where too little has come."""
    kind = header.kind
    name = NAMES[kind]
    flags = f", {_publish_flags(header)}" if kind == PUBLISH else ""
    yield Field(header.start, header.start + 1, "packet type and flags", kind, f"{kind}: {name}{flags}")
    length = header.end - header.body
    yield Field(header.start + 1, header.body, "remaining length", length, f"{length:,} bytes follow", True)
    cursor = Cursor(data, header.body, header.end)
    yield from _LAYOUTS[kind](cursor, header)
    if cursor.left:
        raise MalformedError(f"{name} with {cursor.left} bytes too many")


def _publish_flags(header: FixedHeader) -> str:
    dup, retain = header.flags & 8, header.flags & 1
    return f"QoS {header.qos}{', DUP' if dup else ''}{', RETAIN' if retain else ''}"


# --- the layouts of sections 3.1 to 3.15 --------------------------------------------------------------------------------


def _connect(cursor: Cursor, header: FixedHeader) -> Iterator[Field]:
    yield from cursor.text("protocol name")
    version = cursor.number("protocol version", 1)
    yield version
    if version.value != VERSION:
        raise MalformedError(f"protocol version {version.value}")
    flags = cursor.number("connect flags", 1)
    bits = int(flags.value)
    names = {0x80: "user name", 0x40: "password", 0x20: "will retain", 0x04: "will", 0x02: "clean start"}
    said = [text for bit, text in names.items() if bits & bit]
    yield Field(flags.start, flags.end, flags.name, bits, ", ".join(said) or "none")
    yield cursor.number("keep alive", 2)
    yield from _properties(cursor)
    yield from cursor.text("client id")
    if bits & 0x04:
        yield from _properties(cursor, "will ")
        yield from cursor.text("will topic")
        yield from cursor.text("will payload")
    for bit, name in ((0x80, "user name"), (0x40, "password")):
        if bits & bit:
            yield from cursor.text(name)


def _connack(cursor: Cursor, header: FixedHeader) -> Iterator[Field]:
    flags = cursor.number("acknowledge flags", 1)
    yield Field(flags.start, flags.end, flags.name, flags.value, "session present" if flags.value else "none")
    yield _reason(cursor, header)
    yield from _properties(cursor)


def _publish(cursor: Cursor, header: FixedHeader) -> Iterator[Field]:
    yield from cursor.text("topic")
    if header.qos:
        yield cursor.number("packet id", 2)
    yield from _properties(cursor)
    yield cursor.rest("payload")
    if cursor.left:
        raise IncompleteError


def _acknowledgement(cursor: Cursor, header: FixedHeader) -> Iterator[Field]:
    yield cursor.number("packet id", 2)
    yield from _reason_and_properties(cursor, header)


def _reason_and_properties(cursor: Cursor, header: FixedHeader) -> Iterator[Field]:
    """Both may be left out: then all is well (3.4.2.1)."""
    if cursor.left:
        yield _reason(cursor, header)
    if cursor.left:
        yield from _properties(cursor)


def _subscribe(cursor: Cursor, header: FixedHeader) -> Iterator[Field]:
    yield cursor.number("packet id", 2)
    yield from _properties(cursor)
    while cursor.left:
        yield from cursor.text("topic filter")
        if header.kind == SUBSCRIBE:
            options = cursor.number("options", 1)
            bits = int(options.value)
            note = f"QoS {bits & 3}{', no local' if bits & 4 else ''}{', retain as published' if bits & 8 else ''}"
            yield Field(options.start, options.end, options.name, bits, f"{note}, retain handling {bits >> 4 & 3}")


def _suback(cursor: Cursor, header: FixedHeader) -> Iterator[Field]:
    yield cursor.number("packet id", 2)
    yield from _properties(cursor)
    while cursor.left:
        yield _reason(cursor, header)


def _nothing(cursor: Cursor, header: FixedHeader) -> Iterator[Field]:
    yield from ()


def _reason(cursor: Cursor, header: FixedHeader) -> Field:
    start = cursor.position
    code = cursor.take(1)[0]
    return Field(start, cursor.position, "reason code", code, f"{code:#04x}: {reason_name(header.kind, code)}")


def reason_name(kind: int, code: int) -> str:
    """What a reason code means in a packet of that kind (2.4)."""
    try:
        return words(REASONS[kind](code).name)
    except ValueError:
        return "unknown"


def _properties(cursor: Cursor, of: str = "") -> Iterator[Field]:
    """Section 2.2.2: the length of all, then each with its identifier in front."""
    start = cursor.position
    length = cursor.varint()
    yield Field(start, cursor.position, f"{of}properties length", length, f"{length:,} bytes", True)
    stop = cursor.position + length
    if cursor.end is not None and stop > cursor.end:
        raise MalformedError("properties that are longer than their packet")
    inner = Cursor(cursor.data, cursor.position, stop)
    while inner.left:
        yield _property(inner)
    cursor.position = stop


def _property(cursor: Cursor) -> Field:
    start = cursor.position
    name, kind = _PROPERTIES.get(cursor.varint(), ("", ""))
    if not name:
        raise MalformedError(f"no property has the identifier {cursor.data[start]}")
    value: Value
    if kind.isdigit():
        value = int.from_bytes(cursor.take(int(kind)), "big")
    elif kind == "varint":
        value = cursor.varint()
    elif kind == "pair":
        value = f"{_string(cursor)} = {_string(cursor)}"
    else:
        value = _string(cursor)
    return Field(start, cursor.position, name, value, str(value))


def _string(cursor: Cursor) -> str:
    return readable(cursor.take(int.from_bytes(cursor.take(2), "big")))


_LAYOUTS: dict[int, Callable[[Cursor, FixedHeader], Iterator[Field]]] = {
    CONNECT: _connect,
    CONNACK: _connack,
    PUBLISH: _publish,
    PUBACK: _acknowledgement,
    PUBREC: _acknowledgement,
    PUBREL: _acknowledgement,
    PUBCOMP: _acknowledgement,
    SUBSCRIBE: _subscribe,
    SUBACK: _suback,
    UNSUBSCRIBE: _subscribe,
    UNSUBACK: _suback,
    PINGREQ: _nothing,
    PINGRESP: _nothing,
    DISCONNECT: _reason_and_properties,
    AUTH: _reason_and_properties,
}
