"""The layout of PostgreSQL's protocol, version 3.0, on the wire: frames, their names and their fields. Reads, and never fails.

The source is PostgreSQL's documentation, chapter "Frontend/Backend Protocol", sections "Message Flow" and "Message Formats".
A message is a type byte, a length of four bytes that counts itself but not the type, and its content. Only the very first
message of a client has no type; the same letter means one thing to a server and another to a client.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from engines.lab.dissection import Side
from engines.wire.http1_grammar import readable

PROTOCOL_3_0 = 196_608
CANCEL_REQUEST = 80_877_102
SSL_REQUEST = 80_877_103
GSS_REQUEST = 80_877_104
UNTYPED = {
    PROTOCOL_3_0: "StartupMessage",
    CANCEL_REQUEST: "CancelRequest",
    SSL_REQUEST: "SSLRequest",
    GSS_REQUEST: "GSSENCRequest",
}
"""The messages without a type byte, by the number in their first four bytes of content."""

FRONTEND = {
    b"B": "Bind", b"C": "Close", b"d": "CopyData", b"c": "CopyDone", b"f": "CopyFail", b"D": "Describe", b"E": "Execute",
    b"H": "Flush", b"F": "FunctionCall", b"P": "Parse", b"p": "password", b"Q": "Query", b"S": "Sync", b"X": "Terminate",
}  # fmt: skip
BACKEND = {
    b"R": "Authentication", b"K": "BackendKeyData", b"2": "BindComplete", b"3": "CloseComplete", b"C": "CommandComplete",
    b"d": "CopyData", b"c": "CopyDone", b"G": "CopyInResponse", b"H": "CopyOutResponse", b"W": "CopyBothResponse",
    b"D": "DataRow", b"I": "EmptyQueryResponse", b"E": "ErrorResponse", b"V": "FunctionCallResponse",
    b"v": "NegotiateProtocolVersion", b"n": "NoData", b"N": "NoticeResponse", b"A": "NotificationResponse",
    b"t": "ParameterDescription", b"S": "ParameterStatus", b"1": "ParseComplete", b"s": "PortalSuspended",
    b"Z": "ReadyForQuery", b"T": "RowDescription",
}  # fmt: skip
NAMES = {Side.CLIENT: FRONTEND, Side.SERVER: BACKEND}

AUTHENTICATIONS = {
    0: "AuthenticationOk", 3: "AuthenticationCleartextPassword", 5: "AuthenticationMD5Password", 10: "AuthenticationSASL",
    11: "AuthenticationSASLContinue", 12: "AuthenticationSASLFinal",
}  # fmt: skip
STATUSES = {b"I": "idle", b"T": "in a transaction", b"E": "in a transaction that has failed"}
"""What ReadyForQuery says of the session."""
ERROR_FIELDS = {b"S": "severity", b"V": "severity", b"C": "SQLSTATE", b"M": "message", b"D": "detail", b"H": "hint"}
TYPES = {16: "bool", 17: "bytea", 20: "int8", 21: "int2", 23: "int4", 25: "text", 701: "float8", 1700: "numeric"}
"""Types of columns by their object id, those that one meets every day."""

LONGEST = 1 << 30
"""PostgreSQL itself refuses messages beyond a gigabyte."""


class MalformedError(ValueError):
    """The bytes are no PostgreSQL protocol; the message says why, in words that follow "not PostgreSQL:"."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A message at bytes `start` to `end`; `kind` is its type byte, empty where it has none. Its content begins at `content`."""

    kind: bytes
    start: int
    end: int

    @property
    def content(self) -> int:
        return self.start + len(self.kind) + 4


@dataclass(frozen=True, slots=True)
class Field:
    """Bytes `start` to `end` of a content, what they are called and what they say."""

    start: int
    end: int
    name: str
    text: str = ""


Data = bytes | bytearray
Reader = Callable[[Data, int, int], Iterator[Field]]
"""Reads the fields of a content at bytes `start` to `end`."""


def frame_at(data: bytes | bytearray, position: int, side: Side, *, untyped: bool = False) -> Frame | None:
    """The frame that begins at `position`, or None when it is not all there. Raises MalformedError."""
    kind = b"" if untyped else bytes(data[position : position + 1])
    if kind and kind not in NAMES[side]:
        raise MalformedError(f"no message of type {readable(kind)}")
    after_kind = position + len(kind)
    if (not untyped and not kind) or len(data) < after_kind + 4:
        return None
    (size,) = struct.unpack_from(">i", data, after_kind)
    if not (8 if untyped else 4) <= size <= (10_000 if untyped else LONGEST):
        raise MalformedError(f"a message of {size:,} bytes")
    end = after_kind + size
    return Frame(kind, position, end) if len(data) >= end else None


def name_of(data: bytes | bytearray, frame: Frame, side: Side) -> str:
    """What the documentation calls the message."""
    if not frame.kind:
        return UNTYPED.get(number_at(data, frame.content, frame.end), "a version that nobody knows")
    if side is Side.SERVER and frame.kind == b"R":
        return AUTHENTICATIONS.get(number_at(data, frame.content, frame.end), "Authentication")
    return NAMES[side][frame.kind]


def number_at(data: bytes | bytearray, start: int, end: int) -> int:
    """The four bytes at `start` as a number; -1 where they are not."""
    return int(struct.unpack_from(">i", data, start)[0]) if start + 4 <= end else -1


def strings_in(data: bytes | bytearray, start: int, end: int) -> Iterator[tuple[int, int, str]]:
    """Where the strings from `start` on begin and end, each with the zero byte that ends it."""
    while start < end and (stop := data.find(0, start, end)) >= 0:
        yield start, stop + 1, readable(bytes(data[start:stop]))
        start = stop + 1


def error_in(data: bytes | bytearray, frame: Frame) -> dict[bytes, str]:
    """The fields of an ErrorResponse or NoticeResponse, by their letters."""
    return {
        bytes(data[start : start + 1]): readable(bytes(data[start + 1 : stop - 1]))
        for start, stop, _ in strings_in(data, frame.content, frame.end)
        if stop - start > 1
    }


def columns_in(data: bytes | bytearray, frame: Frame) -> list[str]:
    """The names of the columns that a RowDescription announces, as far as they can be read."""
    return [field.name for field in _row_description(data, frame.content, frame.end)][1:]


def fields_in(data: bytes | bytearray, frame: Frame, side: Side) -> list[Field]:
    """The fields of a message's content, as far as they can be read; in order and without overlap, perhaps not to its end."""
    reader = _READERS.get(name_of(data, frame, side))
    return list(reader(data, frame.content, frame.end)) if reader else []


# --- the contents that this project meets -------------------------------------------------------------------------------


def _startup(data: Data, start: int, end: int) -> Iterator[Field]:
    yield Field(start, start + 4, "protocol version", "3.0")
    strings = list(strings_in(data, start + 4, end))
    for name, value in zip(strings[::2], strings[1::2], strict=False):
        yield Field(name[0], value[1], name[2], value[2])
    if len(strings) % 2 and not strings[-1][2]:
        yield Field(strings[-1][0], strings[-1][1], "end", "no more parameters")


def _code(words: str) -> Reader:
    def read(data: Data, start: int, end: int) -> Iterator[Field]:
        yield Field(start, start + 4, "code", words)

    return read


def _cancel(data: Data, start: int, end: int) -> Iterator[Field]:
    yield Field(start, start + 4, "code", "cancel what another connection does")
    yield from _key(data, start + 4, end)


def _key(data: Data, start: int, end: int) -> Iterator[Field]:
    if end - start == 8:
        yield Field(start, start + 4, "process", str(number_at(data, start, end)))
        yield Field(start + 4, end, "secret key", "whoever knows it may cancel what this connection does")


def _text(name: str) -> Reader:
    def read(data: Data, start: int, end: int) -> Iterator[Field]:
        for first, stop, text in strings_in(data, start, end):
            yield Field(first, stop, name, text)
            return

    return read


def _parameter(data: Data, start: int, end: int) -> Iterator[Field]:
    strings = list(strings_in(data, start, end))
    if len(strings) == 2:
        yield Field(start, strings[1][1], strings[0][2], strings[1][2])


def _authentication(data: Data, start: int, end: int) -> Iterator[Field]:
    if end - start >= 4:
        yield Field(start, start + 4, "kind", "let in" if number_at(data, start, end) == 0 else "prove who you are")


def _ready(data: Data, start: int, end: int) -> Iterator[Field]:
    if end > start:
        yield Field(start, start + 1, "status", STATUSES.get(bytes(data[start : start + 1]), "unknown"))


def _row_description(data: Data, start: int, end: int) -> Iterator[Field]:
    if end - start < 2:
        return
    (count,) = struct.unpack_from(">h", data, start)
    yield Field(start, start + 2, "columns", str(count))
    position = start + 2
    for _ in range(count):
        stop = data.find(0, position, end)
        if stop < 0 or stop + 19 > end:
            return
        kind = number_at(data, stop + 7, end)
        yield Field(position, stop + 19, readable(bytes(data[position:stop])), f"column of {TYPES.get(kind, kind)}")
        position = stop + 19


def _data_row(data: Data, start: int, end: int) -> Iterator[Field]:
    if end - start < 2:
        return
    (count,) = struct.unpack_from(">h", data, start)
    yield Field(start, start + 2, "columns", str(count))
    position = start + 2
    for number in range(1, count + 1):
        if position + 4 > end:
            return
        size = number_at(data, position, end)
        stop = position + 4 + max(0, size)
        if stop > end:
            return
        text = "NULL" if size < 0 else readable(bytes(data[position + 4 : stop]))
        yield Field(position, stop, f"value {number}", text)
        position = stop


def _errors(data: Data, start: int, end: int) -> Iterator[Field]:
    for first, stop, _ in strings_in(data, start, end):
        if stop - first == 1:
            yield Field(first, stop, "end", "no more fields")
            return
        letter = bytes(data[first : first + 1])
        yield Field(first, stop, ERROR_FIELDS.get(letter, "field"), readable(bytes(data[first + 1 : stop - 1])))


def _proof(name: str) -> Reader:
    def read(data: Data, start: int, end: int) -> Iterator[Field]:
        if start < end:
            yield Field(start, end, name, readable(bytes(data[start:end])))

    return read


def _challenge(data: Data, start: int, end: int) -> Iterator[Field]:
    yield from _authentication(data, start, end)
    yield from _proof("SASL")(data, start + 4, end)


_READERS: dict[str, Reader] = {
    "StartupMessage": _startup,
    "SSLRequest": _code("may we speak TLS?"),
    "GSSENCRequest": _code("may we encrypt by GSSAPI?"),
    "CancelRequest": _cancel,
    "BackendKeyData": _key,
    "Query": _text("SQL"),
    "CommandComplete": _text("command tag"),
    "ParameterStatus": _parameter,
    "ReadyForQuery": _ready,
    "RowDescription": _row_description,
    "DataRow": _data_row,
    "ErrorResponse": _errors,
    "NoticeResponse": _errors,
    **dict.fromkeys(AUTHENTICATIONS.values(), _authentication),
    **dict.fromkeys(("AuthenticationSASL", "AuthenticationSASLContinue", "AuthenticationSASLFinal"), _challenge),
    "password": _proof("proof"),
}
