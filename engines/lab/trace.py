"""The trace: everything that happened in a run, append-only, in packed columns. It has one writer and any number of readers.

A reader in another thread sees facts 0 to `len(trace) - 1` and nothing half-written: the length grows last. Readers never
take a memoryview of a column (it would stop the writer's array from growing).
"""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

from engines.lab.facts import FACTS, MAX_INTEGERS, Fact, Text, integer_fields

NO_CAUSE = -1
BYTES_PER_FACT = 1 + 8 + 4 + 4 * MAX_INTEGERS + 8 + 8 + 4


@dataclass(frozen=True, slots=True)
class Recorded:
    """A fact with its stamp: `id` (dense, from 0), virtual `time_s`, and the id of the fact that caused it, or None."""

    id: int
    time_s: float
    cause: int | None
    fact: Fact


class _Codec:
    """How one class of fact is spread over the columns."""

    def __init__(self, fact: type[Fact]) -> None:
        self.fact = fact
        self.integers = integer_fields(fact)
        if len(self.integers) > MAX_INTEGERS:
            raise TypeError(
                f"{fact.__name__} has {len(self.integers)} integer fields; a trace has room for {MAX_INTEGERS}"
            )
        types = {f.name: f.type for f in fields(fact)}
        self.names = [types[name] is str for name in self.integers]
        self.enums: list[Callable[[int], Any] | None] = [
            t if isinstance(t, type) and issubclass(t, IntEnum) else None for t in (types[n] for n in self.integers)
        ]
        self.float_field = next((n for n, t in types.items() if t is float), None)
        self.payload_field = next((n for n, t in types.items() if t in (bytes, Text)), None)
        self.payload_is_text = self.payload_field is not None and types[self.payload_field] is Text
        self.column_of = {name: i for i, name in enumerate(self.integers)}


CODECS = tuple(_Codec(fact) for fact in FACTS)


class Trace:
    """Facts in columns. `record` is for the lab's recorder alone; everybody else reads.

    Columns are public for the folds that read millions of facts: `kind[i]`, `time[i]`, `cause[i]` (-1: none), `a[i]` …
    `f[i]` (the fact's integer fields in order of declaration; strings are indices into `names`), `x[i]` (its float).
    `trace[i]` gives the typed `Recorded`.
    """

    def __init__(self) -> None:
        self.kind = array("B")
        self.time = array("d")
        self.cause = array("i")
        self.a = array("i")
        self.b = array("i")
        self.c = array("i")
        self.d = array("i")
        self.e = array("i")
        self.f = array("i")
        self.x = array("d")
        self.payload_start = array("Q")
        self.payload_size = array("I")
        self.names: list[str] = []
        self._name_ids: dict[str, int] = {}
        self._payloads = bytearray()
        self._length = 0
        self._columns = (self.a, self.b, self.c, self.d, self.e, self.f)

    def __len__(self) -> int:
        return self._length

    def name_id(self, name: str) -> int:
        """The number of `name`, or -1 when the trace does not contain it."""
        return self._name_ids.get(name, -1)

    def record(self, fact: Fact, time_s: float, cause: int = NO_CAUSE) -> int:
        """Append `fact` and return its id. Only the recorder calls this."""
        codec = CODECS[fact.code]
        values = [0] * MAX_INTEGERS
        for i, field in enumerate(codec.integers):
            value = getattr(fact, field)
            values[i] = self._intern(value) if codec.names[i] else value
        payload: Any = getattr(fact, codec.payload_field) if codec.payload_field else b""
        if codec.payload_is_text:
            payload = payload.encode()
        x = getattr(fact, codec.float_field) if codec.float_field else 0.0
        return self.append_row(fact.code, time_s, cause, values, x, payload)

    def append_row(self, kind: int, time_s: float, cause: int, values: list[int], x: float, payload: bytes) -> int:
        """Append one row of raw columns; the length grows last, so that a reader never sees half a fact."""
        fact_id = self._length
        self.kind.append(kind)
        self.time.append(time_s)
        self.cause.append(cause)
        a, b, c, d, e, f = values
        self.a.append(a)
        self.b.append(b)
        self.c.append(c)
        self.d.append(d)
        self.e.append(e)
        self.f.append(f)
        self.x.append(x)
        self.payload_start.append(len(self._payloads))
        self.payload_size.append(len(payload))
        self._payloads += payload
        self._length = fact_id + 1
        return fact_id

    def _intern(self, name: str) -> int:
        found = self._name_ids.get(name)
        if found is None:
            found = len(self.names)
            self.names.append(name)
            self._name_ids[name] = found
        return found

    def payload(self, fact_id: int) -> bytes:
        """The bytes that fact carries (text as UTF-8)."""
        start = self.payload_start[fact_id]
        return bytes(self._payloads[start : start + self.payload_size[fact_id]])

    def payloads(self, first: int, stop: int) -> bytes:
        """What facts `first` to `stop` - 1 carry, one after another."""
        if first >= stop:
            return b""
        last = stop - 1
        return bytes(self._payloads[self.payload_start[first] : self.payload_start[last] + self.payload_size[last]])

    def text(self, fact_id: int) -> str:
        """The text that fact carries."""
        return self.payload(fact_id).decode()

    def __getitem__(self, fact_id: int) -> Recorded:
        if not 0 <= fact_id < self._length:
            raise IndexError(f"the trace has facts 0 to {self._length - 1}, not {fact_id}")
        codec = CODECS[self.kind[fact_id]]
        values: dict[str, Any] = {}
        for i, field in enumerate(codec.integers):
            raw = self._columns[i][fact_id]
            enum = codec.enums[i]
            values[field] = self.names[raw] if codec.names[i] else enum(raw) if enum else raw
        if codec.float_field:
            values[codec.float_field] = self.x[fact_id]
        if codec.payload_field:
            values[codec.payload_field] = self.text(fact_id) if codec.payload_is_text else self.payload(fact_id)
        cause = self.cause[fact_id]
        return Recorded(fact_id, self.time[fact_id], None if cause == NO_CAUSE else cause, codec.fact(**values))

    def __iter__(self) -> Iterator[Recorded]:
        for fact_id in range(self._length):
            yield self[fact_id]

    def length_at(self, time_s: float) -> int:
        """How many facts had happened by `time_s` (inclusive): facts 0 to the result - 1."""
        low, high = 0, self._length
        time = self.time
        while low < high:
            middle = (low + high) // 2
            if time[middle] <= time_s:
                low = middle + 1
            else:
                high = middle
        return low
