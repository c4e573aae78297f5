"""What lies inside a body: the envelopes that travel within HTTP, with their parts named.

JSON-RPC 2.0, GraphQL and SOAP 1.1 are bodies of HTTP/1.1 messages, gRPC's are DATA of HTTP/2. HTTP ends the message; these
dissectors leave that to it and only cut the body further. What does not look as expected stays one part.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from engines.lab.dissection import Part, Side
from engines.wire.http1 import Http1Dissector
from engines.wire.http2 import Http2Dissector

Cut = Callable[[bytes, int, int], list[Part]]
"""Names the parts of a body at bytes `start` to `end` of a stream; empty when it is not what was expected."""

GRPC_PREFIX_BYTES = 5


class JsonRpcDissector(Http1Dissector):
    """JSON-RPC 2.0 over HTTP/1.1."""

    name = "json-rpc"

    def parts(self, side: Side, stream: bytes, start: int, end: int) -> list[Part]:
        return _with_bodies(super().parts(side, stream, start, end), stream, partial(json_parts, meanings=_JSON_RPC))


class GraphQlDissector(Http1Dissector):
    """GraphQL over HTTP/1.1, as its draft "GraphQL over HTTP" has it: a POST with the query in JSON."""

    name = "graphql"

    def parts(self, side: Side, stream: bytes, start: int, end: int) -> list[Part]:
        return _with_bodies(super().parts(side, stream, start, end), stream, partial(json_parts, meanings=_GRAPHQL))


class SoapDissector(Http1Dissector):
    """SOAP 1.1 over HTTP/1.1 (W3C Note of 8 May 2000, sections 4 and 6)."""

    name = "soap"

    def parts(self, side: Side, stream: bytes, start: int, end: int) -> list[Part]:
        return _with_bodies(super().parts(side, stream, start, end), stream, xml_parts)


class GrpcDissector(Http2Dissector):
    """gRPC over HTTP/2 (gRPC's "PROTOCOL-HTTP2.md"): Length-Prefixed-Message, and in it Protocol Buffers."""

    name = "grpc"

    def parts(self, side: Side, stream: bytes, start: int, end: int) -> list[Part]:
        return _with_bodies(super().parts(side, stream, start, end), stream, grpc_parts)


def _with_bodies(parts: list[Part], stream: bytes, cut: Cut) -> list[Part]:
    found: list[Part] = []
    for part in parts:
        inside = cut(stream, part.start, part.end) if part.name == "body" else []
        found += inside or [part]
    return found


# --- JSON ---------------------------------------------------------------------------------------------------------------

_JSON_RPC = {
    "jsonrpc": "the version of the envelope",
    "method": "what to do",
    "params": "with what",
    "id": "tells which call the answer belongs to",
    "result": "the answer",
    "error": "why there is none",
}
_GRAPHQL = {
    "query": "the question: which fields of what, and no more",
    "variables": "what the question refers to",
    "data": "the answer, in the shape of the question",
    "errors": "what could not be answered",
}
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)


def json_parts(stream: bytes, start: int, end: int, meanings: dict[str, str]) -> list[Part]:
    """A JSON object, member by member (RFC 8259, section 4). It ends where the bracket closes that it began with."""
    if stream[start : start + 1] != b"{" or stream[end - 1 : end] != b"}":
        return []
    parts = [Part(start, start + 1, "object begins")]
    for first, last in _members(stream, start + 1, end - 1):
        name = _STRING.match(stream, first, last)
        if name is None:
            return []
        key = name[0][1:-1].decode("utf-8", "replace")
        parts.append(Part(first, last, "member", f"{key}: {meanings[key]}" if key in meanings else key))
    return [*parts, Part(end - 1, end, "object ends", "where the first bracket closes", boundary=True)]


def _members(stream: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the members begin and end, with the commas behind them."""
    depth, position, first = 0, start, start
    while position < end:
        string = _STRING.match(stream, position, end)
        if string is not None:
            position = string.end()
            continue
        byte = stream[position]
        depth += (byte in b"[{") - (byte in b"]}")
        position += 1
        if byte == ord(",") and not depth:
            yield first, position
            first = position
    if first < end:
        yield first, end


# --- XML ----------------------------------------------------------------------------------------------------------------

_PIECE = re.compile(rb"<\?[^>]*\?>|<[^>]+>|[^<]+")
_ENVELOPE = {
    "Envelope": "the envelope",
    "Header": "for those on the way",
    "Body": "what it is all about",
    "Fault": "why there is no answer",
}


def xml_parts(stream: bytes, start: int, end: int) -> list[Part]:
    """An XML document, tag by tag. It ends where the element closes that it began with."""
    parts: list[Part] = []
    position = start
    while position < end:
        piece = _PIECE.match(stream, position, end)
        if piece is None:
            return []
        parts.append(_xml_part(piece[0], position, piece.end()))
        position = piece.end()
    if not parts or parts[-1].name != "element ends":
        return []
    return [*parts[:-1], replace(parts[-1], boundary=True)]


def _xml_part(piece: bytes, start: int, end: int) -> Part:
    if piece.startswith(b"<?"):
        return Part(start, end, "declaration", "version and encoding")
    if not piece.startswith(b"<"):
        return Part(start, end, "text" if piece.strip() else "white space")
    name = piece.strip(b"</>").split(maxsplit=1)[0].decode("utf-8", "replace").rpartition(":")[2]
    meaning = _ENVELOPE.get(name, "")
    if piece.startswith(b"</"):
        return Part(start, end, "element ends", name)
    return Part(start, end, "element", f"{name}: {meaning}" if meaning else name)


# --- gRPC ---------------------------------------------------------------------------------------------------------------

_WIRE_TYPES = {0: "varint", 1: "64 bits", 2: "length-delimited", 5: "32 bits"}


def grpc_parts(stream: bytes, start: int, end: int) -> list[Part]:
    """One message: whether it is compressed, how long it is, and then fields with numbers instead of names."""
    if end - start < GRPC_PREFIX_BYTES or stream[start] > 1:
        return []
    size = int.from_bytes(stream[start + 1 : start + GRPC_PREFIX_BYTES], "big")
    if size != end - start - GRPC_PREFIX_BYTES:
        return []
    parts = [
        Part(start, start + 1, "compressed", "yes" if stream[start] else "no"),
        Part(start + 1, start + GRPC_PREFIX_BYTES, "message length", f"{size} bytes", boundary=True),
    ]
    fields = list(protobuf_parts(stream, start + GRPC_PREFIX_BYTES, end))
    at = start + GRPC_PREFIX_BYTES
    return parts + (fields or ([Part(at, end, "message")] if at < end else []))


def protobuf_parts(stream: bytes, start: int, end: int) -> Iterator[Part]:
    """The fields of a Protocol Buffers message (protobuf.dev, "Encoding"): a tag, perhaps a length, a value.

    Stops where it cannot read on, and names the rest.
    """
    position = start
    while position < end:
        tag, after = varint(stream, position, end)
        kind = tag & 7
        if after == position or kind not in _WIRE_TYPES or not tag >> 3:
            yield Part(position, end, "bytes", "not a field")
            return
        yield Part(position, after, "field tag", f"field {tag >> 3}, {_WIRE_TYPES[kind]}; its name is in the schema")
        position = after
        if kind == 2:
            size, after = varint(stream, position, end)
            if after == position or after + size > end:
                if position < end:
                    yield Part(position, end, "bytes", "incomplete")
                return
            yield Part(position, after, "length", f"{size} bytes")
            position = after
        else:
            size = {1: 8, 5: 4}.get(kind) or varint(stream, position, end)[1] - position
            size = min(size, end - position)
        if size:
            yield Part(position, position + size, "value")
        position += size


def varint(stream: bytes, start: int, end: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where it ends; (0, start) when it is not all there."""
    value = 0
    for place, byte in enumerate(stream[start : min(end, start + 10)]):
        value |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            return value, start + place + 1
    return 0, start
