"""Names the parts of one Kafka message, for people who want to see where each thing in it begins and ends.

Pure, and never at a loss: what is half there is "incomplete", what cannot be read says so. A response is read by the first
layout that it fits exactly, since only its request could tell for certain; layouts that fit the same bytes say the same.
"""

from contextlib import suppress

from engines.lab.dissection import Part, Side
from engines.wire.http1_grammar import readable
from engines.wire.kafka_apis import API_BY_KEY, APIS, Api
from engines.wire.kafka_group_messages import Assignment, Subscription
from engines.wire.kafka_labels import error_name
from engines.wire.kafka_protocol import RequestHeader, ResponseHeader
from engines.wire.kafka_records import BATCH, BATCH_FIELDS, NOBODY, RecordPlace, decode_batches, places, sized_at
from engines.wire.kafka_types import MalformedError, decode, decode_prefix

SIZE_BYTES = 4
_INSIDE: dict[str, type[object]] = {"subscription": Subscription, "assignment": Assignment}
"""Fields whose bytes are a message of their own, which only the clients read."""

_LAYOUTS = sorted(APIS, key=lambda api: api.name == "FindCoordinator")
"""In which order they are tried; the last is one that some others fit by accident."""


def message_parts(side: Side, stream: bytes, start: int, end: int) -> list[Part]:
    """The parts of the message at bytes `start` to `end`, without gaps or overlaps."""
    if start >= end:
        return []
    size_end = min(start + SIZE_BYTES, end)
    if end - start < SIZE_BYTES:
        return [Part(start, end, "size", "incomplete")]
    size = int.from_bytes(stream[start:size_end], "big")
    parts = [Part(start, size_end, "size", f"{size:,} bytes follow", boundary=True)]
    body_end = min(end, size_end + size)
    parts += (_request if side is Side.CLIENT else _response)(stream, size_end, body_end)
    position = parts[-1].end
    if position < body_end:
        whole = body_end == size_end + size
        parts.append(Part(position, body_end, "bytes", "not readable as Kafka" if whole else "incomplete"))
    return parts + ([Part(body_end, end, "bytes", "after the message")] if body_end < end else [])


def _request(stream: bytes, start: int, end: int) -> list[Part]:
    parts: list[Part] = []
    found = _Collector(stream, parts)
    try:
        header, body = decode_prefix(RequestHeader, stream, start, end, found)
        api = API_BY_KEY.get(header.api_key)
        if api is not None and api.version == header.api_version:
            decode(api.request, stream, body, end, found)
    except MalformedError:
        pass  # what was read so far is named, the rest is not
    return parts


def _response(stream: bytes, start: int, end: int) -> list[Part]:
    parts: list[Part] = []
    try:
        _, body = decode_prefix(ResponseHeader, stream, start, end, _Collector(stream, parts))
    except MalformedError:
        return parts
    for api in _LAYOUTS:
        found = _parts_by(api, stream, body, end)
        if found is not None:
            return parts + found
    return parts


def _parts_by(api: Api, stream: bytes, start: int, end: int) -> list[Part] | None:
    parts: list[Part] = []
    try:
        decode(api.response, stream, start, end, _Collector(stream, parts))
    except MalformedError:
        return None
    return parts


class _Collector:
    """Turns each value that is read into a part, or into several if it is made of others."""

    def __init__(self, stream: bytes, parts: list[Part]) -> None:
        self._stream = stream
        self._parts = parts

    def __call__(self, name: str, start: int, end: int, value: object) -> None:
        if isinstance(value, bytes) and value and name in ("records", *_INSIDE):
            body = start + SIZE_BYTES
            self._parts.append(Part(start, body, f"length of {name}", f"{end - body:,} bytes", boundary=True))
            inside = _batches(self._stream, body, end) if name == "records" else self._message(_INSIDE[name], body, end)
            position = inside[-1].end if inside else body
            rest = [Part(position, end, name, "not readable")] if position < end else []
            self._parts += inside + rest
        else:
            self._parts.append(Part(start, end, name, _note(name, value)))

    def _message(self, kind: type[object], start: int, end: int) -> list[Part]:
        parts: list[Part] = []
        with suppress(MalformedError):  # the caller names the rest
            decode(kind, self._stream, start, end, _Collector(self._stream, parts))
        return parts


def _note(name: str, value: object) -> str:
    if value is None:
        return "null"
    if name == "error code" and isinstance(value, int):
        return f"{value}: {error_name(value)}"
    if name == "api key" and isinstance(value, int) and value in API_BY_KEY:
        return f"{value}: {API_BY_KEY[value].name}"
    return f"{len(value):,} bytes" if isinstance(value, bytes) else readable(str(value).encode())


def _batches(stream: bytes, start: int, end: int) -> list[Part]:
    """Batches of records, as long as they are whole and in order."""
    parts: list[Part] = []
    while end - start >= BATCH.size:
        after = start + 12 + int.from_bytes(stream[start + 8 : start + 12], "big", signed=True)
        if not start + BATCH.size <= after <= end:
            break
        try:
            [batch] = decode_batches(stream[start:after])
            found = list(places(stream, start + BATCH.size, after, len(batch.records)))
        except MalformedError:
            break
        values = BATCH.unpack_from(stream, start)
        position = start
        for (name, size), value in zip(BATCH_FIELDS, values, strict=True):
            note = f"{value:#010x}, right" if name == "CRC-32C" else "none" if value == NOBODY else str(value)
            parts.append(Part(position, position + size, name, note, boundary=name == "batch length"))
            position += size
        for place in found:
            parts += _record(stream, place)
        start = after
    return parts


def _record(stream: bytes, place: RecordPlace) -> list[Part]:
    key, value = sized_at(stream, place.key, place.end), sized_at(stream, place.value, place.end)
    return [
        Part(
            place.start, place.key, "record", "length, attributes, and what time and offset are more than the batch's"
        ),
        Part(place.key, place.value, "key", "none" if key is None else readable(key)),
        Part(place.value, place.headers, "value", "none" if value is None else f"{len(value):,} bytes"),
        Part(place.headers, place.end, "headers", "none" if place.end - place.headers == 1 else ""),
    ]
