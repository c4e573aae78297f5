"""Names the parts of one HTTP/1.1 message, for people who want to see where each thing in it begins and ends.

Pure, and never at a loss: what a message lacks is missing, what is half there is noted "incomplete", and bytes that
are no HTTP/1.1 are one part that says so. Which rule ends the body is decided by the same function that the dissector
uses. One thing cannot be told from a response alone: whether it answers HEAD (then Content-Length counts bytes that
never come).
"""

from dataclasses import dataclass

from engines.lab.dissection import Part, Side
from engines.wire.http1_grammar import (
    CHUNK_SIZE,
    EMPTY_LINE,
    FIELD,
    REQUEST_LINE,
    STATUS_LINE,
    Boundary,
    MalformedError,
    body_rule,
    fields_in,
    may_become_request,
    may_become_response,
    readable,
    status_text,
    values_of,
)
from engines.wire.token_parts import token_parts

INCOMPLETE = "incomplete"


def message_parts(side: Side, stream: bytes, start: int, end: int) -> list[Part]:
    """The parts of the message at bytes `start` to `end` of `stream`, without gaps or overlaps."""
    cursor = _Cursor(stream, start, min(end, len(stream)))
    status = _request_line(cursor) if side is Side.CLIENT else _status_line(cursor)
    if status is not None:
        body = _Body.announced(cursor, status)
        if _fields(cursor, "header", body, body.after_head):
            body.take(cursor)
    cursor.take(cursor.left, "bytes", "after the end of the message")
    return cursor.parts


class _Cursor:
    """Walks over the message once and cuts it into parts, so that there can be no gap and no overlap."""

    def __init__(self, stream: bytes, start: int, end: int) -> None:
        self.stream = stream
        self.position = start
        self.end = end
        self.parts: list[Part] = []

    @property
    def left(self) -> int:
        return self.end - self.position

    def take(self, size: int, name: str, note: str = "", boundary: bool = False) -> None:
        """The next `size` bytes are a part; no bytes are none."""
        if size > 0:
            self.parts.append(Part(self.position, self.position + size, name, note, boundary))
            self.position += size

    def take_up_to(self, size: int, name: str, note: str) -> None:
        """The next `size` bytes are a part, or as many of them as there are."""
        self.take(min(size, self.left), name, note if size <= self.left else f"{INCOMPLETE}: {self.left:,} of {note}")

    def take_strange(self, reason: str) -> None:
        self.take(self.left, "bytes", f"not HTTP/1.1: {reason}")

    def line_size(self) -> int:
        """The size of the next line with its line end, or 0 when that has not come."""
        newline = self.stream.find(b"\n", self.position, self.end)
        return newline + 1 - self.position if newline >= 0 else 0


def _request_line(cursor: _Cursor) -> int | None:
    """Take the request line. Returns 0 in the place of a status, or None if it is not there."""
    line = REQUEST_LINE.match(cursor.stream, cursor.position, cursor.end)
    if line is None:
        _no_start_line(cursor, "request line", may_become_request(cursor.stream, cursor.position))
        return None
    method, target, version = (readable(line[i]) for i in (1, 2, 3))
    cursor.take(line.end() - line.start(), "request line", f"method {method}, target {target}, version {version}")
    return 0


def _status_line(cursor: _Cursor) -> int | None:
    """Take the status line. Returns the status, or None if it is not there."""
    line = STATUS_LINE.match(cursor.stream, cursor.position, cursor.end)
    if line is None:
        _no_start_line(cursor, "status line", may_become_response(cursor.stream, cursor.position))
        return None
    status = int(line[2])
    meaning = _CLASSES.get(status // 100, "not a class that HTTP knows")
    note = f"status {status_text(status, line[3])} ({meaning}), version {readable(line[1])}"
    cursor.take(line.end() - line.start(), "status line", note)
    return status


def _no_start_line(cursor: _Cursor, name: str, hope: bool) -> None:
    if hope and not cursor.line_size():
        cursor.take(cursor.left, name, INCOMPLETE)
    else:
        cursor.take_strange(f"no {name} here")


_CLASSES = {
    1: "for the time being",
    2: "success",
    3: "look elsewhere",
    4: "the client's error",
    5: "the server's error",
}
"""RFC 9110, section 15: the first digit of a status is its class."""


@dataclass(frozen=True, slots=True)
class _Body:
    """What the head says about the body: the rule that ends it, its size if known, or why nobody can know."""

    rule: Boundary | None
    size: int | None = None
    problem: str = ""
    missing: bool = False  # a response of which nothing follows the head: its body is still to come, or it answers HEAD

    @classmethod
    def announced(cls, cursor: _Cursor, status: int) -> "_Body":
        """Read the head whose fields begin at the cursor."""
        empty_line = EMPTY_LINE.search(cursor.stream, cursor.position - 1, cursor.end)
        fields = fields_in(cursor.stream, cursor.position, empty_line.end() if empty_line else cursor.end)
        try:
            rule, size = body_rule(
                status, "", values_of(fields, "content-length"), values_of(fields, "transfer-encoding")
            )
        except MalformedError as error:
            return cls(None, problem=str(error))
        return cls(rule, size, missing=status > 0 and empty_line is not None and empty_line.end() == cursor.end)

    @property
    def after_head(self) -> str:
        """What to say of the empty line."""
        if self.rule is Boundary.NO_BODY:
            return "the boundary after the header: there is no body, the message ends here"
        return "the boundary between header and body"

    def field_note(self, name: str) -> tuple[str, bool]:
        """What the field called `name` says, and whether it tells where the message ends."""
        if name == "content-length":
            if self.rule is Boundary.LENGTH:
                unless = ", unless this answers HEAD" if self.missing and self.size else ""
                return f"the body is {_bytes(self.size or 0)} long{unless}", True
            return _OVERRULED.get(self.rule, self.problem), False
        if name == "transfer-encoding":
            if self.rule is Boundary.CHUNKS:
                return "the body comes in chunks, each with its size before it", True
            return self.problem or "not in chunks that say where they end", False
        return _NOTES.get(name, ""), False

    def take(self, cursor: _Cursor) -> None:
        """Take the body, as much of it as there is."""
        if self.rule is Boundary.LENGTH:
            if cursor.left:
                cursor.take_up_to(self.size or 0, "body", f"{_bytes(self.size or 0)}, as Content-Length says")
        elif self.rule is Boundary.CHUNKS:
            _chunks(cursor)
        elif self.rule is Boundary.CLOSE:
            cursor.take(cursor.left, "body", "until the connection closes: nothing in these bytes says where it ends")
        elif self.problem:
            cursor.take_strange(self.problem)


_OVERRULED: dict[Boundary | None, str] = {
    Boundary.CHUNKS: "overruled by Transfer-Encoding",
    Boundary.CLOSE: "overruled by Transfer-Encoding",
    Boundary.NO_BODY: "the size of a body that a response of this status never has",
}
"""Why Content-Length does not count (RFC 9112, section 6.3, rules 1 and 3)."""

_NOTES = {
    "authorization": "who asks, and how that can be checked",
    "accept": "what the client would like to get",
    "cache-control": "who may keep a copy, and for how long",
    "cookie": "what this server once asked the client to say each time",
    "content-range": "which bytes of the whole these are",
    "content-type": "what the body is",
    "etag": "names this version of the resource",
    "expect": "the body waits until the server says 100 Continue",
    "host": "which of the sites at this address is meant",
    "idempotency-key": "the same key again means the same request again: do the work once",
    "if-match": "only if the resource is still this version",
    "if-none-match": "only if the resource is no longer this version",
    "last-event-id": "the last event that the client has seen",
    "location": "where to look for the result",
    "range": "only these bytes, please",
    "set-cookie": "say this with every request from now on",
    "retry-after": "do not ask again before",
    "trailer": "fields that follow the last chunk",
    "tus-resumable": "the version of the resumable upload protocol tus",
    "upgrade": "a protocol to change to on this connection",
    "upload-complete": "whether this is the last part of the upload",
    "upload-length": "the size of the whole upload",
    "upload-offset": "how much of the upload the server has",
}


def _fields(cursor: _Cursor, name: str, body: _Body | None, empty_line: str) -> bool:
    """Take fields and the empty line that ends them. Returns whether that has come."""
    while size := cursor.line_size():
        if cursor.stream.startswith((b"\r\n", b"\n"), cursor.position):
            cursor.take(size, "empty line", empty_line, boundary=True)
            return True
        field = FIELD.match(cursor.stream, cursor.position, cursor.end)
        if field is None:
            cursor.take(size, name, "not a field: a name and a colon are missing")
            continue
        title = readable(field[1])
        note, boundary = body.field_note(title.lower()) if body else ("", False)
        for part in token_parts(cursor.stream, field.start(), field.end()):
            cursor.take(part.start - cursor.position, name, f"{title}: {note}" if note else title)
            cursor.take(part.end - part.start, part.name, part.note)
        cursor.take(field.end() - cursor.position, name, f"{title}: {note}" if note else title, boundary)
    cursor.take(cursor.left, name, INCOMPLETE)
    return False


def _chunks(cursor: _Cursor) -> None:
    """Take chunks up to the last, the trailers and the empty line (RFC 9112, section 7.1)."""
    while cursor.left:
        line = CHUNK_SIZE.match(cursor.stream, cursor.position, cursor.end)
        if line is None:
            if cursor.line_size():
                return cursor.take_strange("no chunk size where one belongs")
            return cursor.take(cursor.left, "chunk size", INCOMPLETE)
        size, width = int(line[1], 16), line.end() - line.start()
        extension = f"; extension {readable(line[2][1:])}" if line[2] else ""
        if not size:
            cursor.take(width, "last chunk", f"size 0: no more data{extension}", boundary=True)
            _fields(cursor, "trailer", None, "the end of the message")
            return None
        cursor.take(width, "chunk size", f"{readable(line[1])} hexadecimal: {_bytes(size)} of data{extension}")
        if cursor.left:
            cursor.take_up_to(size, "chunk data", _bytes(size))
        end = cursor.stream[cursor.position : min(cursor.position + 2, cursor.end)]
        if end not in (b"\r\n", b"\r", b""):
            return cursor.take_strange("no CRLF at the end of a chunk")
        cursor.take(len(end), "chunk end", "" if len(end) == 2 else INCOMPLETE)
    return None


def _bytes(size: int) -> str:
    return "1 byte" if size == 1 else f"{size:,} bytes"
