"""The layout of AMQP 0-9-1 on the wire: frames, methods and their arguments, content headers. Reads, and never fails on anything.

The specification: section 4.2.2 (protocol header), 4.2.3 (frames), 4.2.5 (fields), 4.2.6 (content). Names and types of
arguments come from pamqp's tables, which are made from the specification's XML; the bytes are read here, so that each value
is known by its place.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pamqp import base, commands, decode

from engines.wire.http1_grammar import readable

PROTOCOL = b"AMQP"
PROTOCOL_HEADER_SIZE = 8
FRAME_HEADER_SIZE = 7
FRAME_END = 0xCE
METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_TYPES = {METHOD: "method", HEADER: "content header", BODY: "content body", HEARTBEAT: "heartbeat"}
CONTENT_HEADER_SIZE = 14
LIMIT = 1 << 24
"""No peer announces frames of this size: RabbitMQ 4's frame_max is 131,072 bytes by default."""

Value = int | bool | str


class MalformedError(ValueError):
    """The bytes are no AMQP 0-9-1; the message says why, in words that follow "not AMQP:"."""


@dataclass(frozen=True, slots=True)
class Method:
    """A method: "basic.deliver", its numbers, and its arguments as (name, type) in the order of the wire."""

    name: str
    numbers: tuple[int, int]
    arguments: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One argument or property, or an octet of bits, at bytes `start` to `end`; `values` is what it says, by name."""

    start: int
    end: int
    values: tuple[tuple[str, Value], ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame at bytes `start` to `end`; its payload is the bytes between the seven octets before it and the one after it."""

    kind: int
    channel: int
    start: int
    end: int

    @property
    def payload(self) -> tuple[int, int]:
        return self.start + FRAME_HEADER_SIZE, self.end - 1


def _kebab(name: str) -> str:
    """pamqp's "Basic.GetOk" as the specification writes it: "basic.get-ok"."""
    text = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name.replace("_", "-"))
    return text.replace(".-", ".").strip("-")


def _described(index: int, frame: type[base.Frame]) -> Method:
    arguments = tuple((_kebab(name), frame.amqp_type(name)) for name in frame.attributes())
    return Method(_kebab(frame.name), divmod(index, 1 << 16), arguments)


METHODS = {divmod(index, 1 << 16): _described(index, frame) for index, frame in commands.INDEX_MAPPING.items()}
_PROPERTIES = tuple(
    (commands.Basic.Properties.flags[name], _kebab(name), commands.Basic.Properties.amqp_type(name))
    for name in commands.Basic.Properties.attributes()
)
CONTENT_METHODS = {"basic.publish", "basic.deliver", "basic.get-ok", "basic.return"}
"""Methods that a content follows (section 4.2.6): a content header frame, then body frames until its body size is reached."""


def frame_at(data: bytes | bytearray, position: int) -> Frame | None:
    """The frame that begins at `position`, or None when it is not all there. Raises MalformedError."""
    left = len(data) - position
    if left >= 1 and data[position] not in FRAME_TYPES:
        raise MalformedError(f"no frame has type {data[position]}")
    if left < FRAME_HEADER_SIZE:
        return None
    kind, channel, size = struct.unpack_from(">BHI", data, position)
    if size > LIMIT:
        raise MalformedError(f"a frame of {size:,} bytes")
    end = position + FRAME_HEADER_SIZE + size + 1
    if len(data) < end:
        return None
    if data[end - 1] != FRAME_END:
        raise MalformedError(f"a frame that ends in {data[end - 1]:#04x} where 0xce belongs")
    return Frame(kind, channel, position, end)


def method_at(data: bytes | bytearray, start: int, end: int) -> Method | None:
    """The method that a payload names, or None for one that the specification does not know."""
    if end - start < 4:
        return None
    return METHODS.get(struct.unpack_from(">HH", data, start))


def arguments_at(data: bytes | bytearray, start: int, end: int, method: Method) -> Iterator[Field]:
    """The arguments of a method, as far as they can be read."""
    return _fields(data, start, end, method.arguments)


def properties_at(data: bytes | bytearray, start: int, end: int) -> Iterator[Field]:
    """The properties of a content header whose flags are the two octets before `start`, as far as they can be read."""
    (flags,) = struct.unpack_from(">H", data, start - 2)
    return _fields(data, start, end, [(name, kind) for flag, name, kind in _PROPERTIES if flags & flag])


def body_size_at(data: bytes | bytearray, start: int, end: int) -> int:
    """The body size that a content header's payload announces. Raises MalformedError."""
    if end - start < CONTENT_HEADER_SIZE:
        raise MalformedError("a content header that is too short")
    size: int = struct.unpack_from(">Q", data, start + 4)[0]
    return size


def values_of(fields: Iterable[Field]) -> dict[str, Value]:
    """What some fields say, by name."""
    return {name: value for field in fields for name, value in field.values}


_NUMBERS = {"octet": ">B", "short": ">H", "long": ">I", "longlong": ">Q", "timestamp": ">Q"}


def _fields(data: bytes | bytearray, start: int, end: int, wanted: Iterable[tuple[str, str]]) -> Iterator[Field]:
    """Section 4.2.5. Bits that follow each other share octets, the first in the lowest bit."""
    position, bits = start, list[str]()
    for name, kind in [*wanted, ("", "")]:
        if bits and (kind != "bit" or len(bits) == 8):
            if position >= end:
                return
            octet = data[position]
            yield Field(position, position + 1, tuple((bit, bool(octet >> n & 1)) for n, bit in enumerate(bits)))
            position, bits = position + 1, []
        if kind == "bit":
            bits.append(name)
        elif kind:
            field = _field(data, position, end, name, kind)
            if field is None:
                return
            yield field
            position = field.end


def _field(data: bytes | bytearray, start: int, end: int, name: str, kind: str) -> Field | None:
    layout = _NUMBERS.get(kind)
    if layout is not None:
        stop = start + struct.calcsize(layout)
        return Field(start, stop, ((name, struct.unpack_from(layout, data, start)[0]),)) if stop <= end else None
    prefix = ">B" if kind == "shortstr" else ">I"
    begin = start + struct.calcsize(prefix)
    if begin > end:
        return None
    stop = begin + struct.unpack_from(prefix, data, start)[0]
    if stop > end:
        return None
    text = _table(bytes(data[start:stop])) if kind == "table" else readable(bytes(data[begin:stop]))
    return Field(start, stop, ((name, text),))


def _table(data: bytes) -> str:
    """A field table in words. pamqp reads it, and raises whatever it meets in a bad one."""
    try:
        _, table = decode.field_table(data)
    except Exception:
        return f"a table of {len(data) - 4} bytes that cannot be read"
    return readable(", ".join(f"{key}={value!s}" for key, value in table.items()).encode()) or "empty"
