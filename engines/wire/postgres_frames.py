"""PostgreSQL's protocol over a byte stream, the same for both peers: messages in, messages out.

References are to PostgreSQL's documentation, chapter "Frontend/Backend Protocol", section "Message Formats".
"""

import struct
from collections.abc import Iterable, Mapping, Sequence

import trio

from engines.wire import postgres_grammar as grammar

PORT = 5432

Value = str | int | float | bytes | None
"""What SQLite has in a cell."""

_TYPES: dict[type, tuple[int, int]] = {int: (20, 8), float: (701, 8), str: (25, -1), bytes: (17, -1)}
"""The object id of a type and its size in bytes, -1 for any: int8, float8, text, bytea (catalogue pg_type)."""


class PgConnectionLost(Exception):
    """The connection is gone, or what comes over it is no PostgreSQL."""


def message(kind: bytes, content: bytes = b"") -> bytes:
    """A message: its type (empty for a startup message), its length, its content."""
    return kind + struct.pack(">i", len(content) + 4) + content


def string(text: str) -> bytes:
    """A string as the protocol has it: it ends with a zero byte, and so cannot hold one."""
    return text.replace("\0", "").encode() + b"\0"


def startup(user: str, database: str) -> bytes:
    """The first message of a client."""
    parameters = b"".join(map(string, ("user", user, "database", database)))
    return message(b"", struct.pack(">i", grammar.PROTOCOL_3_0) + parameters + b"\0")


def row_description(names: Sequence[str], rows: Iterable[Sequence[Value]]) -> bytes:
    """What the columns of `rows` are called, and their types: those of the first values that are there."""
    content = struct.pack(">h", len(names))
    kinds: list[type] = [str] * len(names)
    for row in reversed(list(rows)):
        kinds = [kind if value is None else type(value) for kind, value in zip(kinds, row, strict=True)]
    for name, kind in zip(names, kinds, strict=True):
        content += string(name) + struct.pack(">ihihih", 0, 0, *_TYPES[kind], -1, 0)
    return message(b"T", content)


def data_row(row: Sequence[Value]) -> bytes:
    """One row, in the text format."""
    content = struct.pack(">h", len(row))
    for value in row:
        if value is None:
            content += struct.pack(">i", -1)
        else:
            text = rb"\x" + value.hex().encode() if isinstance(value, bytes) else str(value).encode()
            content += struct.pack(">i", len(text)) + text
    return message(b"D", content)


def error(code: str, text: str, severity: str = "ERROR") -> bytes:
    """An ErrorResponse; `code` is the SQLSTATE."""
    fields = {"S": severity, "V": severity, "C": code, "M": text}
    return message(b"E", b"".join(string(letter + words) for letter, words in fields.items()) + b"\0")


def error_fields(content: bytes) -> Mapping[bytes, str]:
    """The fields of an ErrorResponse's content, by their letters."""
    pieces = content.split(b"\0")
    return {piece[:1]: piece[1:].decode(errors="replace") for piece in pieces if piece}


def values_in(content: bytes) -> list[str | None]:
    """The cells of a DataRow's content. Raises PgConnectionLost when it is none."""
    values: list[str | None] = []
    position = 2
    try:
        (count,) = struct.unpack_from(">h", content)
        for _ in range(count):
            (size,) = struct.unpack_from(">i", content, position)
            position += 4
            if size > len(content) - position:
                raise PgConnectionLost("a row that lacks a part")
            values.append(None if size < 0 else content[position : position + size].decode(errors="replace"))
            position += max(0, size)
    except struct.error:
        raise PgConnectionLost("a row that lacks a part") from None
    return values


class PgStream:
    """One connection, over any byte stream; every failure of it is a PgConnectionLost."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._received = bytearray()

    async def send(self, *messages: bytes) -> None:
        """Send some messages in one go."""
        try:
            await self._stream.send_all(b"".join(messages))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise PgConnectionLost(str(error)) from error

    async def receive_startup(self) -> tuple[int, bytes]:
        """The next message without a type: its code, and what follows that."""
        content = await self._receive(0, most=10_000)
        if len(content) < 4:
            raise PgConnectionLost("a first message without a code")
        return struct.unpack_from(">i", content)[0], content[4:]

    async def receive(self) -> tuple[bytes, bytes]:
        """The next message: its type and its content."""
        await self._read_up_to(1)
        kind = bytes(self._received[:1])
        return kind, await self._receive(1, most=grammar.LONGEST)

    async def _receive(self, after: int, most: int) -> bytes:
        await self._read_up_to(after + 4)
        (size,) = struct.unpack_from(">i", self._received, after)
        if not 4 <= size <= most:
            raise PgConnectionLost(f"a message of {size:,} bytes: the peer does not speak PostgreSQL")
        await self._read_up_to(after + size)
        content = bytes(self._received[after + 4 : after + size])
        del self._received[: after + size]
        return content

    async def _read_up_to(self, size: int) -> None:
        while len(self._received) < size:
            try:
                data = await self._stream.receive_some()
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise PgConnectionLost(str(error)) from error
            if not data:
                raise PgConnectionLost("closed by the peer")
            self._received += data
