"""Names the parts of one AMQP message, for people who want to see where each thing in it begins and ends.

Pure, and never at a loss: what is half there is "incomplete", what cannot be read says so.
"""

from engines.lab.dissection import Part
from engines.wire import amqp_grammar as grammar
from engines.wire.amqp_grammar import BODY, HEADER, HEARTBEAT, METHOD, Frame, MalformedError


def message_parts(stream: bytes, start: int, end: int) -> list[Part]:
    """The parts of the message at bytes `start` to `end`, without gaps or overlaps, frame by frame."""
    if start >= end:
        return []
    if start == 0 and stream[:1] == grammar.PROTOCOL[:1]:
        return _protocol_header_parts(min(end, grammar.PROTOCOL_HEADER_SIZE), end)
    parts: list[Part] = []
    channel = int.from_bytes(stream[start + 1 : start + 3], "big")
    position, stream = start, stream[:end]
    while position < end:
        try:
            frame = grammar.frame_at(stream, position)
        except MalformedError as error:
            return [*parts, Part(position, end, "bytes", f"not AMQP: {error}")]
        if frame is None:
            return [*parts, Part(position, end, "frame", "incomplete")]
        if frame.channel == channel:
            parts += _frame_parts(stream, frame)
        else:
            parts.append(Part(frame.start, frame.end, "frame", f"of channel {frame.channel}, in between"))
        position = frame.end
    return parts


def _protocol_header_parts(stop: int, end: int) -> list[Part]:
    named = [(0, 4, "protocol", '"AMQP"'), (4, 5, "zero", ""), (5, 8, "version", "major, minor, revision")]
    parts = [Part(a, min(b, stop), name, note, name == "version") for a, b, name, note in named if a < stop]
    return parts + ([Part(stop, end, "bytes", "after the protocol header")] if stop < end else [])


def _frame_parts(stream: bytes, frame: Frame) -> list[Part]:
    start, end = frame.payload
    at = frame.start
    return [
        Part(at, at + 1, "frame type", f"{frame.kind}: {grammar.FRAME_TYPES[frame.kind]}"),
        Part(at + 1, at + 3, "channel", str(frame.channel)),
        Part(at + 3, at + 7, "size", f"{end - start:,} bytes of payload", boundary=True),
        *_filled(_PAYLOADS[frame.kind](stream, start, end), start, end),
        Part(end, end + 1, "frame end", "0xce", boundary=True),
    ]


def _method_payload(stream: bytes, start: int, end: int) -> list[Part]:
    method = grammar.method_at(stream, start, end)
    if method is None:
        return []
    fields = grammar.arguments_at(stream, start + 4, end, method)
    numbers = ", ".join(map(str, method.numbers))
    return [Part(start, start + 4, "class and method", f"{method.name} ({numbers})"), *map(_field_part, fields)]


def _header_payload(stream: bytes, start: int, end: int) -> list[Part]:
    if end - start < grammar.CONTENT_HEADER_SIZE:
        return []
    number, weight = (int.from_bytes(stream[at : at + 2], "big") for at in (start, start + 2))
    size = grammar.body_size_at(stream, start, end)
    after = start + grammar.CONTENT_HEADER_SIZE
    return [
        Part(start, start + 2, "class", str(number)),
        Part(start + 2, start + 4, "weight", f"{weight}, unused"),
        Part(start + 4, start + 12, "body size", f"{size:,} bytes follow in body frames", boundary=True),
        Part(start + 12, after, "property flags", "a bit for each property that follows"),
        *map(_field_part, grammar.properties_at(stream, after, end)),
    ]


def _body_payload(stream: bytes, start: int, end: int) -> list[Part]:
    return [Part(start, end, "body", f"{end - start:,} bytes")] if start < end else []


_PAYLOADS = {METHOD: _method_payload, HEADER: _header_payload, BODY: _body_payload, HEARTBEAT: lambda *_: []}


def _field_part(field: grammar.Field) -> Part:
    """An argument; several bits that share an octet are one part."""
    names = ", ".join(name for name, _ in field.values)
    words = ", ".join(f"{name} {'yes' if value else 'no'}" for name, value in field.values)
    first = field.values[0][1]
    return Part(field.start, field.end, names, words if isinstance(first, bool) else str(first))


def _filled(parts: list[Part], start: int, end: int) -> list[Part]:
    """`parts` of a payload, with what could not be read behind them."""
    position = parts[-1].end if parts else start
    return parts + ([Part(position, end, "bytes", "not readable as AMQP")] if position < end else [])
