"""Names the parts of one PostgreSQL message, for people who want to see where each thing in it begins and ends.

Pure, and never at a loss: what is half there is "incomplete", what cannot be read says so.
"""

from engines.lab.dissection import Part, Side
from engines.wire import postgres_grammar as grammar
from engines.wire.postgres_grammar import Frame, MalformedError


def message_parts(side: Side, stream: bytes, start: int, end: int) -> list[Part]:
    """The parts of the message at bytes `start` to `end`, without gaps or overlaps, frame by frame."""
    if side is Side.SERVER and end - start == 1 and stream[start:end] in (b"S", b"N", b"G"):
        return [Part(start, end, "answer", "the only message of one byte", boundary=True)]
    parts: list[Part] = []
    untyped = side is Side.CLIENT and not stream[start : start + 1].strip(b"\0")  # the high byte of a small length
    position, stream = start, stream[:end]
    while position < end:
        try:
            frame = grammar.frame_at(stream, position, side, untyped=untyped)
        except MalformedError as error:
            return [*parts, Part(position, end, "bytes", f"not PostgreSQL: {error}")]
        if frame is None:
            return [*parts, Part(position, end, "message", "incomplete")]
        parts += _frame_parts(stream, frame, side)
        position, untyped = frame.end, False
    return parts


def _frame_parts(stream: bytes, frame: Frame, side: Side) -> list[Part]:
    name = grammar.name_of(stream, frame, side)
    after_kind = frame.start + len(frame.kind)
    parts = [Part(frame.start, after_kind, "type", name)] if frame.kind else []
    size = f"{frame.end - after_kind:,} bytes, these four among them"
    parts.append(Part(after_kind, frame.content, "length", size if frame.kind else f"{size}: a {name}", boundary=True))
    position = frame.content
    for field in grammar.fields_in(stream, frame, side):
        if field.start != position or not field.start < field.end <= frame.end:
            break
        last = name == "ReadyForQuery"
        parts.append(Part(field.start, field.end, field.name or "unnamed", field.text, boundary=last))
        position = field.end
    if position < frame.end:
        parts.append(Part(position, frame.end, "bytes", "not looked into"))
    return parts
