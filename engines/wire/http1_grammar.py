"""What an HTTP/1.1 message looks like, and how long its body is: patterns, tables and one pure function.

Shared by the dissector, by the naming of parts and by the equivalent command. It keeps nothing. It is as lenient as
recipients are (a bare LF ends a line, RFC 9112, section 2.2; folded lines are read, section 5.2), because a passive
observer must see the messages that the peers see.
"""

import re
from collections.abc import Sequence
from enum import StrEnum

LIMIT = 64 * 1024
"""Longest head, chunk size line or trailer section, in bytes: beyond it, one stops hoping for its end. RFC 9112,
section 3, asks for 8,000 at least in a request line; Hypercorn's default for a head is 16 KiB."""

_TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"  # RFC 9110, section 5.6.2
_REST = rb"[^\n]*+\n(?:[ \t][^\n]*+\n)*+"  # of a field line, with the lines folded onto it

REQUEST_LINE = re.compile(rb"(" + _TCHAR + rb"++) ([^\x00-\x20\x7f]++) HTTP/(1\.[0-9])\r?\n")
"""RFC 9112, section 3: method SP request-target SP HTTP-version."""

STATUS_LINE = re.compile(rb"HTTP/(1\.[0-9]) ([1-9][0-9]{2})(?: ([^\r\n]*+))?\r?\n")
"""RFC 9112, section 4: HTTP-version SP status-code SP [reason-phrase]. Some servers forget the second space."""

FIELDS = re.compile(
    rb"(?:(?i:content-length):(" + _REST + rb")"
    rb"|(?i:transfer-encoding):(" + _REST + rb")"
    rb"|" + _TCHAR + rb"++:" + _REST + rb")*+\r?\n"
)  # fmt: skip
"""Header or trailer fields up to and with the empty line (RFC 9112, sections 2.1 and 5). Its groups are the last
Content-Length and the last Transfer-Encoding, if any. Possessive, hence linear: one look at each byte."""

_FRAMING_FIELDS = re.compile(
    rb"\n(?:(?i:content-length)(:[^\n]*+(?:\n[ \t][^\n]*+)*+)|(?i:transfer-encoding)(:[^\n]*+(?:\n[ \t][^\n]*+)*+))"
)
"""Every one of these two, from the line end before it, values with their colon, for when FIELDS has met one."""

FIELD = re.compile(rb"(?<=\n)(" + _TCHAR + rb"++):(" + _REST + rb")")
_TOKEN_START = re.compile(_TCHAR)
EMPTY_LINE = re.compile(rb"\n\r?\n")
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(;[^\r\n]*)?\r\n")
"""RFC 9112, section 7.1: chunk-size [ chunk-ext ] CRLF. A bare LF does not do here: only start line and fields have
that licence (section 2.2). h11 tolerates blanks before the line end, and so do we."""

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n"
"""RFC 9113, section 3.4: made to look like a request line, so that a server of HTTP/1.1 stops here."""


class Boundary(StrEnum):
    """What ends a message: the words of the `MessageEnded` fact."""

    NO_BODY = "no body"
    LENGTH = "content-length"
    CHUNKS = "last chunk"
    CLOSE = "connection closed"
    CUT = "cut short"


class MalformedError(ValueError):
    """These bytes are not HTTP/1.1; the message is a short clause that depends on the bytes alone."""


def may_become_request(data: bytes | bytearray, position: int) -> bool:
    """Whether a request line may begin with the bytes at `position`, as far as they have come."""
    return _TOKEN_START.match(data, position) is not None


def may_become_response(data: bytes | bytearray, position: int) -> bool:
    """Whether a status line may begin with the bytes at `position`, as far as they have come."""
    return b"HTTP/1.".startswith(data[position : position + 7])


def body_rule(
    status: int, method: str, lengths: Sequence[bytes], codings: Sequence[bytes]
) -> tuple[Boundary, int | None]:
    """What ends the message whose head this is, and its body's size in bytes (None: only the end will tell).

    `status` is 0 for a request; `method` is the request's own, or that of the request which a response answers (""
    when nobody knows). `lengths` and `codings` are the values of all its Content-Length and Transfer-Encoding fields.
    The rules are those of RFC 9112, section 6.3, in its order. Raises MalformedError where a recipient cannot know
    the length.
    """
    if status and (status < 200 or status in (204, 304) or method == "HEAD"):  # rule 1, whatever the fields say
        return Boundary.NO_BODY, 0
    if status and method == "CONNECT" and status < 300:  # rule 2: what follows is a tunnel, not a body
        return Boundary.NO_BODY, 0
    if codings:  # rule 3: Transfer-Encoding overrides Content-Length
        if b",".join(codings).rpartition(b",")[2].strip().lower() == b"chunked":  # rule 4
            return Boundary.CHUNKS, None
        if status:
            return Boundary.CLOSE, None
        raise MalformedError("a request whose Transfer-Encoding does not end in chunked")
    if lengths:
        length, *others = [value.strip() for value in b",".join(lengths).split(b",")]
        if not length.isdigit() or len(length) > 18 or others.count(length) < len(others):
            raise MalformedError("a Content-Length that is not one number")  # rule 5: it may be repeated, no more
        return Boundary.LENGTH, int(length)  # rule 6
    return (Boundary.CLOSE, None) if status else (Boundary.NO_BODY, 0)  # rules 8 and 7


def framing_values(line: re.Match[bytes], fields: re.Match[bytes]) -> tuple[list[bytes], list[bytes]]:
    """The values of all Content-Length and of all Transfer-Encoding fields, given the matches of a start line and
    FIELDS."""
    if not (fields[1] or fields[2]):
        return [], []
    pairs = _FRAMING_FIELDS.findall(fields.string, line.end() - 1, fields.end())
    return [length[1:] for length, _ in pairs if length], [coding[1:] for _, coding in pairs if coding]


def fields_in(data: bytes | bytearray, start: int, end: int) -> list[tuple[str, bytes]]:
    """The header or trailer fields in bytes `start` to `end`: name as written, value without the space around it."""
    return [(name.decode(), bytes(value).strip()) for name, value in FIELD.findall(data, start, end)]


def values_of(fields: Sequence[tuple[str, bytes]], name: str) -> list[bytes]:
    """The values of all fields called `name` (lower case), in order."""
    return [value for field, value in fields if field.lower() == name]


def readable(data: bytes | bytearray) -> str:
    """Bytes from the wire as harmless ASCII: no control character reaches a terminal by this way."""
    text = data.decode("ascii", "backslashreplace")
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def status_text(code: int, reason: bytes | bytearray) -> str:
    """`404 Not Found`; the registered phrase where the server sent none, as RFC 9112, section 4, allows and Hypercorn
    does."""
    phrase = readable(reason) if reason else REASONS.get(code, "")
    return f"{code} {phrase}" if phrase else str(code)


REASONS: dict[int, str] = {
    100: "Continue", 101: "Switching Protocols", 102: "Processing", 103: "Early Hints",
    104: "Upload Resumption Supported",
    200: "OK", 201: "Created", 202: "Accepted", 203: "Non-Authoritative Information", 204: "No Content",
    205: "Reset Content", 206: "Partial Content", 207: "Multi-Status", 208: "Already Reported", 226: "IM Used",
    300: "Multiple Choices", 301: "Moved Permanently", 302: "Found", 303: "See Other", 304: "Not Modified",
    305: "Use Proxy", 307: "Temporary Redirect", 308: "Permanent Redirect",
    400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 406: "Not Acceptable", 407: "Proxy Authentication Required", 408: "Request Timeout",
    409: "Conflict", 410: "Gone", 411: "Length Required", 412: "Precondition Failed", 413: "Content Too Large",
    414: "URI Too Long", 415: "Unsupported Media Type", 416: "Range Not Satisfiable", 417: "Expectation Failed",
    421: "Misdirected Request", 422: "Unprocessable Content", 423: "Locked", 424: "Failed Dependency", 425: "Too Early",
    426: "Upgrade Required", 428: "Precondition Required", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 451: "Unavailable For Legal Reasons",
    500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Gateway Timeout", 505: "HTTP Version Not Supported", 506: "Variant Also Negotiates",
    507: "Insufficient Storage", 508: "Loop Detected", 511: "Network Authentication Required",
}  # fmt: skip
"""The IANA registry of status codes. Not `http.HTTPStatus`: its words differ between versions of Python, and these
end up in traces, which must not."""
