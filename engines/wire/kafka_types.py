"""The types of Kafka's protocol: a message is a dataclass whose annotations say how each of its fields looks on the wire.

All numbers are big-endian; a string has its length in front of it, an array the number of its items (Kafka's protocol
guide, "Protocol Primitive Types"). These are the types of the versions that came before "flexible" ones with varints and
tags. One reading of a layout serves the peers, which want values, and the dissector, which wants to know where each one lies.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, Protocol, TypeVar, get_args, get_origin, get_type_hints

M = TypeVar("M")
Found = Callable[[str, int, int, object], None]
"""Is told of each value that was read: its name, where it begins and ends, and the value; of an array, the number of items."""


class MalformedError(ValueError):
    """The bytes are not what the layout says; the message says why, in words that follow "not Kafka:"."""


class Wire(Protocol):
    """How values of one type are written and read."""

    def write(self, value: Any) -> bytes: ...

    def read(self, name: str, data: bytes, start: int, end: int, found: Found) -> tuple[Any, int]:
        """The value at `start`, and where the next one begins. Raises MalformedError."""
        ...


@dataclass(frozen=True, slots=True)
class _Number:
    layout: struct.Struct

    def write(self, value: int) -> bytes:
        return self.layout.pack(value)

    def read(self, name: str, data: bytes, start: int, end: int, found: Found) -> tuple[int, int]:
        after = _within(start + self.layout.size, end)
        value = int(self.layout.unpack_from(data, start)[0])
        found(name, start, after, value)
        return value, after


@dataclass(frozen=True, slots=True)
class _Sized:
    """Bytes behind their length, which is -1 for null; text in UTF-8."""

    length: struct.Struct
    text: bool
    nullable: bool = False

    def write(self, value: str | bytes | None) -> bytes:
        if value is None:
            return self.length.pack(-1)
        data = value.encode() if isinstance(value, str) else value
        return self.length.pack(len(data)) + data

    def read(self, name: str, data: bytes, start: int, end: int, found: Found) -> tuple[str | bytes | None, int]:
        body = _within(start + self.length.size, end)
        size = self.length.unpack_from(data, start)[0]
        if size < -1 or (size == -1 and not self.nullable):
            raise MalformedError(f"a length of {size}")
        after = _within(body + max(size, 0), end)
        content = bytes(data[body:after])
        value = None if size == -1 else content.decode("utf-8", "replace") if self.text else content
        found(name, start, after, value)
        return value, after


@dataclass(frozen=True, slots=True)
class _Array:
    item: Wire
    nullable: bool = False

    def write(self, value: tuple[Any, ...] | None) -> bytes:
        if value is None:
            return _COUNT.pack(-1)
        return _COUNT.pack(len(value)) + b"".join(map(self.item.write, value))

    def read(self, name: str, data: bytes, start: int, end: int, found: Found) -> tuple[tuple[Any, ...] | None, int]:
        position = _within(start + _COUNT.size, end)
        count = _COUNT.unpack_from(data, start)[0]
        if count < -1 or (count == -1 and not self.nullable) or count > end - position:
            raise MalformedError(f"an array of {count} items")
        found(f"number of {name}", start, position, count)
        items = []
        for _ in range(max(count, 0)):
            item, position = self.item.read(name, data, position, end, found)
            items.append(item)
        return (None if count == -1 else tuple(items)), position


@dataclass(frozen=True, slots=True)
class _Struct:
    kind: type[Any]
    layout: tuple[tuple[str, Wire], ...]

    def write(self, value: Any) -> bytes:
        return b"".join(wire.write(getattr(value, name)) for name, wire in self.layout)

    def read(self, name: str, data: bytes, start: int, end: int, found: Found) -> tuple[Any, int]:
        values = []
        for field, wire in self.layout:
            value, start = wire.read(field.replace("_", " "), data, start, end, found)
            values.append(value)
        return self.kind(*values), start


_COUNT = struct.Struct(">i")

Int8 = Annotated[int, _Number(struct.Struct(">b"))]
Int16 = Annotated[int, _Number(struct.Struct(">h"))]
Int32 = Annotated[int, _Number(struct.Struct(">i"))]
Int64 = Annotated[int, _Number(struct.Struct(">q"))]
String = Annotated[str, _Sized(struct.Struct(">h"), text=True)]
NullableString = Annotated[str | None, _Sized(struct.Struct(">h"), text=True, nullable=True)]
Bytes = Annotated[bytes, _Sized(struct.Struct(">i"), text=False)]
NullableBytes = Annotated[bytes | None, _Sized(struct.Struct(">i"), text=False, nullable=True)]
# An array of T is written tuple[T, ...]; one that may be null, `tuple[T, ...] | None`.


def encode(message: object) -> bytes:
    """A message as bytes."""
    return _layout_of(type(message)).write(message)


def decode(kind: type[M], data: bytes, start: int = 0, end: int | None = None, found: Found = lambda *_: None) -> M:
    """The message of class `kind` in bytes `start` to `end`, which must be all of it. Raises MalformedError."""
    end = len(data) if end is None else end
    message, after = decode_prefix(kind, data, start, end, found)
    if after != end:
        raise MalformedError(f"{end - after} bytes too many")
    return message


def decode_prefix(kind: type[M], data: bytes, start: int, end: int, found: Found = lambda *_: None) -> tuple[M, int]:
    """The message of class `kind` that begins at `start`, and where it ends. Raises MalformedError."""
    message, after = _layout_of(kind).read("", data, start, end, found)
    assert isinstance(message, kind)
    return message, after


_LAYOUTS: dict[type[Any], _Struct] = {}


def _layout_of(kind: type[Any]) -> _Struct:
    if kind not in _LAYOUTS:
        hints = get_type_hints(kind, include_extras=True)
        _LAYOUTS[kind] = _Struct(kind, tuple((field.name, _wire_of(hints[field.name])) for field in fields(kind)))
    return _LAYOUTS[kind]


def _wire_of(hint: Any) -> Wire:
    if get_origin(hint) is Annotated:
        wire: Wire = hint.__metadata__[0]
        return wire
    if get_origin(hint) is tuple:
        return _Array(_wire_of(get_args(hint)[0]))
    if is_dataclass(hint):
        return _layout_of(hint)  # type: ignore[arg-type]  # a class, not an instance: annotations hold nothing else
    array, none = get_args(hint)
    assert none is type(None)
    return _Array(_wire_of(get_args(array)[0]), nullable=True)


def _within(position: int, end: int) -> int:
    if position > end:
        raise MalformedError("too short for what it says it holds")
    return position
