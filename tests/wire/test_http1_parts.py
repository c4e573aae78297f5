"""The named parts of HTTP/1.1 messages: they cover whatever they are given, and say what is what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.lab.dissection import Side
from engines.wire.http1 import Http1Dissector
from tests.wire.conversations import GARBAGE, assert_covers


@given(st.sampled_from(Side), GARBAGE, st.data())
def test_parts_cover_anything_without_gap_or_overlap(side: Side, stream: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(stream)))
    end = data.draw(st.integers(start, len(stream)))
    assert_covers(Http1Dissector().parts(side, stream, start, end), start, end)


def named(side: Side, data: bytes, start: int = 0) -> list[str]:
    """The parts of the message at `start`, as text; a star marks a boundary."""
    parts = Http1Dissector().parts(side, data, start, len(data))
    return [f"{data[p.start : p.end]!r} {'*' if p.boundary else ''}{p.name}: {p.note}" for p in parts]


def test_parts_of_a_request_with_a_body() -> None:
    data = b"PUT /x?y=1 HTTP/1.1\r\nHost: a\r\nX-Id: 7\r\nContent-Length: 5\r\n\r\nhello"
    assert named(Side.CLIENT, b"...." + data, 4) == named(Side.CLIENT, data) == [
        r"b'PUT /x?y=1 HTTP/1.1\r\n' request line: method PUT, target /x?y=1, version 1.1",
        r"b'Host: a\r\n' header: Host: which of the sites at this address is meant",
        r"b'X-Id: 7\r\n' header: X-Id",
        r"b'Content-Length: 5\r\n' *header: Content-Length: the body is 5 bytes long",
        r"b'\r\n' *empty line: the boundary between header and body",
        r"b'hello' body: 5 bytes, as Content-Length says",
    ]  # fmt: skip
    assert named(Side.CLIENT, data[:-2])[-1] == "b'hel' body: incomplete: 3 of 5 bytes, as Content-Length says"
    assert named(Side.CLIENT, data[:-8])[-1] == r"b'Content-Length: 5\r' header: incomplete"


def test_parts_of_a_chunked_response() -> None:
    data = b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\na;q\r\n0123456789\r\n0\r\nSum: 1\r\n\r\n"
    assert named(Side.SERVER, data) == [
        r"b'HTTP/1.1 200 \r\n' status line: status 200 OK (success), version 1.1",
        r"b'Transfer-Encoding: chunked\r\n' *header: Transfer-Encoding: the body comes in chunks, each with its size before it",
        r"b'Content-Length: 1\r\n' header: Content-Length: overruled by Transfer-Encoding",
        r"b'\r\n' *empty line: the boundary between header and body",
        r"b'a;q\r\n' chunk size: a hexadecimal: 10 bytes of data; extension q",
        r"b'0123456789' chunk data: 10 bytes",
        r"b'\r\n' chunk end: ",
        r"b'0\r\n' *last chunk: size 0: no more data",
        r"b'Sum: 1\r\n' trailer: Sum",
        r"b'\r\n' *empty line: the end of the message",
    ]


def test_parts_of_what_may_be_an_answer_to_head() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    assert named(Side.SERVER, head)[1].endswith("the body is 5 bytes long, unless this answers HEAD")
    assert named(Side.SERVER, head + b"h")[1].endswith("the body is 5 bytes long")


ODD = [
    (Side.CLIENT, b"GET / HT", "b'GET / HT' request line: incomplete"),
    (Side.CLIENT, b"\x16\x03", r"b'\x16\x03' bytes: not HTTP/1.1: no request line here"),
    (
        Side.CLIENT,
        b"GET / HTTP/1.1\r\n\r\n",
        r"b'\r\n' *empty line: the boundary after the header: there is no body, the message ends here",
    ),
    (
        Side.SERVER,
        b"HTTP/1.1 200 OK\r\n\r\nab",
        "b'ab' body: until the connection closes: nothing in these bytes says where it ends",
    ),
    (
        Side.SERVER,
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nab",
        "b'ab' bytes: not HTTP/1.1: a Content-Length that is not one number",
    ),
    (
        Side.SERVER,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        "b'ab' chunk data: incomplete: 2 of 5 bytes",
    ),
]


@pytest.mark.parametrize(("side", "data", "last"), ODD)
def test_parts_of_what_is_incomplete_or_odd(side: Side, data: bytes, last: str) -> None:
    assert named(side, data)[-1] == last
