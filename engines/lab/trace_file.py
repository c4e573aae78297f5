"""A trace as a file: JSON Lines, the same bytes for the same trace, read back exactly. The format is in docs/trace-
format.md.

The first line says what the file is; each line after it is one fact. Reading trusts nothing: a broken file is refused
with the line and the reason.
"""

import json
import math
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from difflib import get_close_matches
from enum import IntEnum
from hashlib import sha256
from typing import Any, BinaryIO

from engines.lab.facts import FACT_NAMES, FACTS, Fact, Text
from engines.lab.sealed import Comparable
from engines.lab.trace import NO_CAUSE, Recorded, Trace

FORMAT = "commtui-trace"
VERSION = 1

STAMP = ("id", "t", "cause", "fact")
"""The keys that every line has before the fact's own fields."""

_INT_MIN, _INT_MAX = -(2**31), 2**31 - 1  # what the trace's columns hold
_SPECIAL_FLOATS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}  # JSON has no word for them


def _refuse_constant(word: str) -> None:
    raise ValueError(word)


# Made once: json.dumps and json.loads would make one for each line.
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


class TraceFileError(ValueError):
    """The file cannot be read; the message is one line for people that names the line of the file."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


class _Unfit(ValueError):
    """A value that does not fit its field; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """How values of one type of field stand in the file. `schema` is the word for it in the documentation."""

    schema: str
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


def _read_int(value: Any) -> int:
    if type(value) is not int or not _INT_MIN <= value <= _INT_MAX:
        raise _Unfit("a whole number of 32 bits")
    return value


def _read_bool(value: Any) -> bool:
    if type(value) is not bool:
        raise _Unfit("true or false")
    return value


def _read_text(value: Any) -> str:
    if type(value) is not str:
        raise _Unfit("text")
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can say and UTF-8 cannot
        raise _Unfit("text in Unicode") from None
    return value


def _write_float(value: float) -> float | str:
    return float(value) if math.isfinite(value) else repr(float(value))


def _read_float(value: Any) -> float:
    if type(value) is float or (type(value) is int and abs(value) < 1 << 53):
        return float(value)
    if type(value) is str and value in _SPECIAL_FLOATS:
        return _SPECIAL_FLOATS[value]
    raise _Unfit('a number, "inf" or "-inf"')


def _read_bytes(value: Any) -> bytes:
    try:
        return b64decode(_read_text(value), validate=True)
    except (Base64Error, ValueError):
        raise _Unfit("bytes in base64") from None


def _word(member: IntEnum) -> str:
    return member.name.lower()


def _enum_kind(enum: type[IntEnum]) -> _Kind:
    members = {_word(member): member for member in enum}

    def read(value: Any) -> IntEnum:
        if type(value) is not str or value not in members:
            raise _Unfit(f"one of {', '.join(members)}")
        return members[value]

    return _Kind(f"one of {', '.join(members)}", _word, read)


_KINDS: dict[Any, _Kind] = {
    int: _Kind("integer", int, _read_int),
    bool: _Kind("boolean", bool, _read_bool),
    str: _Kind("text", str, _read_text),
    Text: _Kind("text", str, _read_text),
    float: _Kind("number", _write_float, _read_float),
    bytes: _Kind("base64", lambda value: b64encode(value).decode(), _read_bytes),
}


def _kind_of(type_: Any) -> _Kind:
    return _KINDS[type_] if type_ in _KINDS else _enum_kind(type_)


_FIELDS: dict[type[Fact], dict[str, _Kind]] = {
    fact: {field.name: _kind_of(field.type) for field in fields(fact)} for fact in FACTS
}


def schema() -> dict[str, dict[str, str]]:
    """What the file may contain: for each fact its fields, and for each field the word for its type."""
    return {fact.__name__: {name: kind.schema for name, kind in kinds.items()} for fact, kinds in _FIELDS.items()}


# --- writing ------------------------------------------------------------------------------------------------------------


def trace_lines(trace: Trace) -> Iterator[bytes]:
    """The file line by line. A trace that still grows is written as far as it is when the first is taken."""
    return _lines(trace)


def _lines(trace: Trace, comparable: Comparable | None = None) -> Iterator[bytes]:
    length = len(trace)
    yield _line({"format": FORMAT, "version": VERSION, "facts": length})
    for fact_id in range(length):
        record = _record(trace[fact_id])
        if comparable is not None and (payload := comparable.payload(fact_id)) != trace.payload(fact_id):
            record["payload"] = len(payload)
        yield _line(record)


def write_trace(trace: Trace, file: BinaryIO) -> None:
    """Write `trace` to a file opened for writing bytes."""
    file.writelines(trace_lines(trace))


def trace_digest(trace: Trace) -> str:
    """The SHA-256 of the trace's file, in hexadecimal: two traces are equal exactly when their digests are.

    What is encrypted counts by its length alone (see `sealed`).
    """
    digest = sha256()
    for line in _lines(trace, Comparable(trace)):
        digest.update(line)
    return digest.hexdigest()


def _record(recorded: Recorded) -> dict[str, Any]:
    fact = recorded.fact
    own = {name: kind.write(getattr(fact, name)) for name, kind in _FIELDS[type(fact)].items()}
    stamp = (recorded.id, recorded.time_s, recorded.cause, type(fact).__name__)
    return {**dict(zip(STAMP, stamp, strict=True)), **own}


def _line(value: dict[str, Any]) -> bytes:
    return _ENCODER.encode(value).encode() + b"\n"


# --- reading ------------------------------------------------------------------------------------------------------------


def read_trace(file: BinaryIO) -> Trace:
    """The trace in a file opened for reading bytes. Raises TraceFileError."""
    announced = _read_header(file.readline())
    trace = Trace()
    number = 1
    for number, line in enumerate(file, start=2):
        _read_fact(line, number, trace)
    if len(trace) != announced:
        raise TraceFileError(
            number, f"the file ends after {len(trace)} facts, but its first line announces {announced}"
        )
    return trace


def _parse(line: bytes) -> Any:
    """What the JSON in `line` says, or None if it is not JSON. `NaN` and the like are not (RFC 8259, section 6)."""
    try:
        return _DECODER.decode(line.decode())
    except (ValueError, RecursionError):
        return None


def _read_header(line: bytes) -> int:
    if not line:
        raise TraceFileError(1, "the file is empty")
    header = _parse(line)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise TraceFileError(1, f'this is no trace of commtui: it does not begin with {{"format":"{FORMAT}", …}}')
    version, announced = header.get("version"), header.get("facts")
    if type(version) is not int or version < 1:
        raise TraceFileError(1, "the version of the format is missing")
    if version > VERSION:
        raise TraceFileError(
            1,
            f"the file is in version {version} of the format, and this commtui reads up to {VERSION}: get a newer one",
        )
    if type(announced) is not int or announced < 0:
        raise TraceFileError(1, "the number of facts is missing")
    return announced


def _read_fact(line: bytes, number: int, trace: Trace) -> None:
    """Append the fact that `line` says to `trace`, in which all facts before it are."""
    if not line.endswith(b"\n"):
        raise TraceFileError(number, "the file breaks off in the middle of a line")
    record = _parse(line)
    if record is None:
        raise TraceFileError(number, "not JSON")
    if not isinstance(record, dict):
        raise TraceFileError(number, "a fact is a JSON object")
    missing = [key for key in STAMP if key not in record]
    if missing:
        raise TraceFileError(number, f"{missing[0]!r} is missing")
    if record["id"] != len(trace):
        raise TraceFileError(number, f"fact {len(trace)} should follow, not {record['id']!r}")
    cause = NO_CAUSE if record["cause"] is None else record["cause"]
    if type(cause) is not int or not NO_CAUSE <= cause < len(trace):
        raise TraceFileError(number, f"the cause is an earlier fact or null, not {record['cause']!r}")
    try:
        time_s = _read_float(record["t"])
    except _Unfit:
        time_s = math.inf
    if not math.isfinite(time_s):
        raise TraceFileError(number, f"'t' is a number of seconds, not {record['t']!r}")
    if trace and time_s < trace.time[-1]:
        raise TraceFileError(number, f"time goes back from {trace.time[-1]!r} to {time_s!r}")
    trace.record(_fact(record, number), time_s, cause)


def _fact(record: dict[str, Any], number: int) -> Fact:
    name = record["fact"]
    if not isinstance(name, str) or name not in FACT_NAMES:
        near = get_close_matches(str(name), FACT_NAMES, 1)
        raise TraceFileError(number, f"no fact is called {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    kinds = _FIELDS[FACT_NAMES[name]]
    strange = [key for key in record if key not in kinds and key not in STAMP]
    if strange:
        raise TraceFileError(number, f"{name} has no field {strange[0]!r}")
    values: dict[str, Any] = {}
    for field, kind in kinds.items():
        if field not in record:
            raise TraceFileError(number, f"{name} lacks {field!r}")
        try:
            values[field] = kind.read(record[field])
        except _Unfit as expected:
            raise TraceFileError(number, f"{field!r} of {name} is {expected}, not {record[field]!r}") from None
    return FACT_NAMES[name](**values)
