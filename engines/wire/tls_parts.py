"""Names the parts of one TLS record, for people who want to see what an observer can read of it, and what not.

Pure, and never at a loss: what is half there is "incomplete", what cannot be read says so.
"""

from engines.lab.dissection import Part
from engines.wire import tls_grammar as grammar
from engines.wire.tls_grammar import HEADER_SIZE, MalformedError

_LEVELS = {1: "warning", 2: "fatal"}


def record_parts(stream: bytes, start: int, end: int) -> list[Part]:
    """The parts of the record at bytes `start` to `end`, without gaps or overlaps."""
    if start >= end:
        return []
    try:
        record = grammar.record_at(stream[:end], start)
    except MalformedError as error:
        return [Part(start, end, "bytes", f"not TLS: {error}")]
    if record is None:
        return [Part(start, end, "record header", "incomplete")]
    body = start + HEADER_SIZE
    size = record.end - body
    parts = [
        Part(start, start + 1, "content type", f"{record.kind}: {grammar.CONTENT_TYPES[record.kind]}"),
        Part(
            start + 1,
            start + 3,
            "legacy version",
            f"{grammar.version_name(stream[start + 1 : start + 3])}, means nothing",
        ),
        Part(start + 3, body, "length", f"{size:,} bytes follow", boundary=True),
    ]
    stop = min(record.end, end)
    if body < stop:
        parts += _fragment_parts(record.kind, stream[body:stop], body, whole=stop == record.end)
    if stop < end:
        parts.append(Part(stop, end, "bytes", "after the record"))
    return parts


def _fragment_parts(kind: int, fragment: bytes, at: int, *, whole: bool) -> list[Part]:
    if kind == grammar.APPLICATION_DATA:
        return [Part(at, at + len(fragment), "sealed", "only its length can be seen")]
    if not whole:
        return [Part(at, at + len(fragment), grammar.CONTENT_TYPES[kind], "incomplete")]
    if kind == grammar.ALERT and len(fragment) == 2:
        level, what = fragment
        return [
            Part(at, at + 1, "alert level", _LEVELS.get(level, str(level))),
            Part(at + 1, at + 2, "alert", grammar.ALERTS.get(what, str(what))),
        ]
    if kind == grammar.CHANGE_CIPHER_SPEC:
        note = "for middleboxes; TLS 1.3 pays no heed to it"
        return [Part(at, at + len(fragment), "change_cipher_spec", note)]
    what_is_it = grammar.handshake_type(fragment) if kind == grammar.HANDSHAKE else None
    if what_is_it in (grammar.CLIENT_HELLO, grammar.SERVER_HELLO):
        return _hello_parts(fragment, at)
    if what_is_it is not None:
        return [
            Part(at, at + 1, "handshake type", grammar.HANDSHAKE_TYPES[what_is_it]),
            Part(at + 1, at + 4, "length", f"{len(fragment) - 4:,} bytes"),
            *([Part(at + 4, at + len(fragment), "message")] if len(fragment) > 4 else []),
        ]
    return [Part(at, at + len(fragment), "sealed", "or a part of a longer message")]


def _hello_parts(hello: bytes, at: int) -> list[Part]:
    fields = [field for field in grammar.hello_fields(hello) if field.end > field.start]
    parts = [Part(at + field.start, at + field.end, field.name, field.note) for field in fields]
    read = fields[-1].end if fields else 0
    return parts + ([Part(at + read, at + len(hello), "bytes", "not readable")] if read < len(hello) else [])
