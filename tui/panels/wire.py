"""The bytes of one message, part by part: as text with every part named, or as a hex dump. The part that ends it is marked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engines.lab.dissection import Part
from tui.panels.glyphs import Glyphs
from tui.panels.lines import Line, Span, fit, line, wrap

MAX_ROWS = 400
"""More rows than anybody reads; the rest of a big body is counted instead of shown."""


@dataclass(frozen=True, slots=True)
class WireFacts:
    """What the wire pane shows: a title ("GET /hello, c1, client to server"), bytes with the absolute offset of the first,
    their parts (absolute offsets), the command that would send the same, and what the dissector said ended it."""

    title: str
    data: bytes
    start: int
    parts: tuple[Part, ...]
    boundary: str = ""
    equivalent: str = ""


def byte_text(data: bytes, glyphs: Glyphs) -> str:
    """`data` as printable characters; line ends and tabs by their own signs, so that nothing is invisible."""
    special = {0x0D: glyphs.cr, 0x0A: glyphs.lf, 0x09: glyphs.tab}
    return "".join(special.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else glyphs.unprintable) for byte in data)


def part_style(part: Part, first: bool) -> str:
    """Boundaries stand out without a hue; the start line has the first, a body the second."""
    if part.boundary:
        return "wire-boundary"
    if first:
        return "wire-start"
    return "wire-body" if "body" in part.name or "data" in part.name else "text"


def wire_lines(facts: WireFacts, width: int, glyphs: Glyphs, *, as_hex: bool) -> list[Line]:
    """The pane's lines: title and command first, then the bytes."""
    lines: list[Line] = [line(Span(f" {facts.title}", "strong"), Span(f"   {len(facts.data)} bytes", "muted"))]
    if facts.boundary:
        lines[0] += (Span(f"   ends by: {facts.boundary}", "muted"),)
    if facts.equivalent:
        lines += wrap(f"{'$'} {facts.equivalent}", width - 2, "response", indent="    ")
        lines = [lines[0], *((Span(" "), *spans) for spans in lines[1:])]
    rows = (_hex_rows if as_hex else _text_rows)(facts, width, glyphs)
    for count, (used, row) in enumerate(rows):
        if count >= MAX_ROWS:
            left = len(facts.data) - used
            lines.append(line(Span(f" {glyphs.ellipsis} {left} more bytes", "muted")))
            break
        lines.append(row)
    return lines


def _slices(facts: WireFacts) -> Iterator[tuple[int, Part, bytes]]:
    """Each part with its place among the parts and its bytes; bytes that no part names are a part of their own."""
    parts: Sequence[Part] = facts.parts or (Part(facts.start, facts.start + len(facts.data), "payload"),)
    for index, part in enumerate(parts):
        yield index, part, facts.data[part.start - facts.start : part.end - facts.start]


def _label(part: Part, glyphs: Glyphs) -> tuple[Span, ...]:
    boundary = " = the boundary" if part.boundary and "boundary" not in part.name + part.note else ""
    return (
        Span(f" {glyphs.here} ", "muted"),
        Span(f"{part.name}{boundary}", "strong" if part.boundary else "text"),
        Span(f": {part.note}" if part.note else "", "muted"),
    )


def _text_rows(facts: WireFacts, width: int, glyphs: Glyphs) -> Iterator[tuple[int, Line]]:
    """One row a part (more when it is long), its name beside it, and at the right the first bytes in hex if there is room."""
    longest = max((len(byte_text(data[:64], glyphs)) for _, _, data in _slices(facts)), default=0)
    text_width = max(16, min(longest + 1, 46, width - 34))
    hex_bytes = max(0, min(16, (width - text_width - 48) // 3))
    used = 0
    for index, part, data in _slices(facts):
        style = part_style(part, index == 0)
        pieces = list(_pieces(data, text_width, glyphs)) or [b""]
        for number, piece in enumerate(pieces):
            text = byte_text(piece, glyphs)
            spans = [Span(" "), Span(text, style), Span(" " * (text_width - len(text)))]
            label = _label(part, glyphs) if number == 0 else ()
            spans += label
            if hex_bytes >= 4:
                space = width - text_width - 1 - sum(len(span.text) for span in label) - hex_bytes * 3 - 1
                dump = piece[:hex_bytes].hex(" ") + (f" {glyphs.ellipsis}" if len(piece) > hex_bytes else "")
                if space >= 0:
                    spans += [Span(" " * space), Span(dump, "muted")]
            used += len(piece)
            yield used, line(*spans)


def _pieces(data: bytes, width: int, glyphs: Glyphs) -> Iterator[bytes]:
    """`data` cut so that each piece's text fits in `width` (in ASCII a line end takes more than one character)."""
    start = 0
    while start < len(data):
        end = min(len(data), start + width)
        while end > start + 1 and len(byte_text(data[start:end], glyphs)) > width:
            end -= 1
        yield data[start:end]
        start = end


def _hex_rows(facts: WireFacts, width: int, glyphs: Glyphs) -> Iterator[tuple[int, Line]]:
    """Offset, hex, text and name. Every part begins a row of its own, so that a row never mixes two of them."""
    per_row = 16 if width >= 104 else 8
    used = 0
    for index, part, data in _slices(facts):
        style = part_style(part, index == 0)
        for row in range(0, max(1, len(data)), per_row):
            piece = data[row : row + per_row]
            text = "".join(chr(byte) if 0x20 <= byte < 0x7F else glyphs.unprintable for byte in piece)
            used += len(piece)
            yield (
                used,
                line(
                    Span(f" {part.start + row - facts.start:05x}  ", "muted"),
                    Span(fit(piece.hex(" "), per_row * 3 + 1), style),
                    Span(fit(text, per_row), style),
                    *(_label(part, glyphs) if row == 0 else ()),
                ),
            )
