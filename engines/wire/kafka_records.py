"""Records as they travel and lie in a log: batches of magic 2, since Kafka 0.11 (Kafka's documentation, "Record Batch").

What is in front of the checksum may be rewritten by a broker without it being wrong: the offset, above all. Lengths inside
a record are zigzag varints, as those of Protocol Buffers.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engines.wire.kafka_types import MalformedError

BATCH = struct.Struct(">qiibIhiqqqhii")
"""Base offset, length, leader epoch, magic, CRC, attributes, last offset delta, first and last timestamp, producer id, producer
epoch, base sequence, number of records."""
BATCH_FIELDS = (
    ("base offset", 8), ("batch length", 4), ("partition leader epoch", 4), ("magic", 1), ("CRC-32C", 4),
    ("attributes", 2), ("last offset delta", 4), ("base timestamp", 8), ("max timestamp", 8), ("producer id", 8),
    ("producer epoch", 2), ("base sequence", 4), ("number of records", 4),
)  # fmt: skip
MAGIC = 2
_LENGTH_COUNTS_FROM = 12  # the base offset and the length itself are not in it
_CRC_COUNTS_FROM = 21
NOBODY = -1
"""The producer id of records that nobody numbered."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record. `offset` is its place in the log, once it has one."""

    value: bytes
    key: bytes | None = None
    timestamp_ms: int = 0
    offset: int = -1
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Records that go together. `producer_id` and `base_sequence` are for the broker to know a batch that comes twice."""

    records: tuple[Record, ...]
    producer_id: int = NOBODY
    base_sequence: int = -1


@dataclass(frozen=True, slots=True)
class RecordPlace:
    """Where the parts of a record lie: its beginning, its key, its value, its headers, its end."""

    start: int
    key: int
    value: int
    headers: int
    end: int


def encode_batch(batch: Batch, base_offset: int = 0) -> bytes:
    """A batch as bytes; its records get offsets from `base_offset` on."""
    first_ms = batch.records[0].timestamp_ms
    body = b"".join(_record(record, n, first_ms) for n, record in enumerate(batch.records))
    last_ms = max(record.timestamp_ms for record in batch.records)
    count = len(batch.records)
    epoch = 0 if batch.producer_id != NOBODY else -1
    fields = (0, count - 1, first_ms, last_ms, batch.producer_id, epoch, batch.base_sequence, count)
    unchecked = BATCH.pack(base_offset, 0, 0, MAGIC, 0, *fields)
    checked = unchecked[_CRC_COUNTS_FROM:] + body
    length = BATCH.size + len(body) - _LENGTH_COUNTS_FROM
    return BATCH.pack(base_offset, length, 0, MAGIC, crc32c(checked), *fields) + body


def decode_batches(data: bytes, *, whole: bool = False) -> list[Batch]:
    """The batches that `data` consists of. One that is cut off at the end is left out, as a fetch may end in the middle of
    one, unless `data` must be `whole`. Raises MalformedError.
    """
    batches = []
    position = 0
    while len(data) - position >= BATCH.size:
        base_offset, length, _, magic, crc, _, _, first_ms, _, producer_id, _, sequence, count = BATCH.unpack_from(
            data, position
        )
        end = position + _LENGTH_COUNTS_FROM + length
        if magic != MAGIC or length < BATCH.size - _LENGTH_COUNTS_FROM:
            raise MalformedError(f"a batch of magic {magic} and length {length}")
        if end > len(data):
            break
        if crc32c(data[position + _CRC_COUNTS_FROM : end]) != crc:
            raise MalformedError("a batch whose checksum is wrong")
        records = tuple(
            _read_record(data, place, base_offset, first_ms)
            for place in places(data, position + BATCH.size, end, count)
        )
        batches.append(Batch(records, producer_id, sequence))
        position = end
    if whole and position < len(data):
        raise MalformedError("no whole batches of records")
    return batches


def places(data: bytes, start: int, end: int, count: int) -> Iterator[RecordPlace]:
    """Where each of `count` records lies, from `start` on. Raises MalformedError."""
    for _ in range(count):
        size, position = read_varint(data, start, end)
        after = position + size
        if size < 0 or after > end:
            raise MalformedError("a record that is longer than its batch")
        _, position = read_varint(data, position + 1, after)  # behind the attributes: the timestamp's delta
        _, key = read_varint(data, position, after)  # the offset's delta
        value = _skip_sized(data, key, after)
        headers = _skip_sized(data, value, after)
        yield RecordPlace(start, key, value, headers, after)
        start = after


def read_varint(data: bytes, start: int, end: int) -> tuple[int, int]:
    """A zigzag varint and where it ends. Raises MalformedError."""
    number = shift = 0
    for position in range(start, min(end, start + 10)):
        number |= (data[position] & 0x7F) << shift
        if data[position] < 0x80:
            return (number >> 1) ^ -(number & 1), position + 1
        shift += 7
    raise MalformedError("a varint without end")


def sized_at(data: bytes, start: int, end: int) -> bytes | None:
    """Bytes behind their length as a varint; a negative length is none. Raises MalformedError."""
    size, position = read_varint(data, start, end)
    return None if size < 0 else bytes(data[position : position + size])


def varint(number: int) -> bytes:
    """A number as a zigzag varint."""
    rest = (number << 1) if number >= 0 else (-number << 1) - 1
    found = bytearray()
    while rest >= 0x80:
        found.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*found, rest])


def _record(record: Record, offset_delta: int, first_ms: int) -> bytes:
    parts = [
        b"\0",
        varint(record.timestamp_ms - first_ms),
        varint(offset_delta),
        _sized(record.key),
        _sized(record.value),
    ]
    parts.append(varint(len(record.headers)))
    for name, value in record.headers:
        parts += _sized(name.encode()), _sized(value)
    body = b"".join(parts)
    return varint(len(body)) + body


def _read_record(data: bytes, place: RecordPlace, base_offset: int, first_ms: int) -> Record:
    _, position = read_varint(data, place.start, place.end)
    delta_ms, position = read_varint(data, position + 1, place.end)
    delta, _ = read_varint(data, position, place.end)
    count, position = read_varint(data, place.headers, place.end)
    headers = []
    for _ in range(count):
        name, after = sized_at(data, position, place.end), _skip_sized(data, position, place.end)
        headers.append(((name or b"").decode("utf-8", "replace"), sized_at(data, after, place.end) or b""))
        position = _skip_sized(data, after, place.end)
    return Record(
        sized_at(data, place.value, place.end) or b"",
        sized_at(data, place.key, place.end),
        first_ms + delta_ms,
        base_offset + delta,
        tuple(headers),
    )


def _sized(content: bytes | None) -> bytes:
    return varint(-1) if content is None else varint(len(content)) + content


def _skip_sized(data: bytes, start: int, end: int) -> int:
    size, position = read_varint(data, start, end)
    after = position + max(size, 0)
    if after > end:
        raise MalformedError("a key or value that is longer than its record")
    return after


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)  # the Castagnoli polynomial, reflected
        table.append(byte)
    return tuple(table)


_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """The checksum of RFC 3720, section 12.1: CRC-32 with Castagnoli's polynomial."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


# --- which partition, by the key ----------------------------------------------------------------------------------------


def partition_of(key: bytes, partitions: int) -> int:
    """Where Kafka's own producers put a record with this key: its murmur2 without the sign, modulo the partitions."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: Sequence[int]) -> int:
    """MurmurHash2 of 32 bits, with the seed that Kafka's clients use."""
    scramble, mask = 0x5BD1E995, 0xFFFFFFFF
    whole = len(data) - len(data) % 4
    found = 0x9747B28C ^ len(data)
    for i in range(0, whole, 4):
        word = int.from_bytes(bytes(data[i : i + 4]), "little") * scramble & mask
        word = (word ^ word >> 24) * scramble & mask
        found = (found * scramble & mask) ^ word
    if whole < len(data):
        found = (found ^ int.from_bytes(bytes(data[whole:]), "little")) * scramble & mask
    found = (found ^ found >> 13) * scramble & mask
    return found ^ found >> 15
