"""The HTTP/1.1 dissector: random conversations between h11's two peers, then the RFCs, rule by rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.lab.dissection import Ended, Side, Started
from engines.lab.facts import Role
from engines.wire.dissectors import DISSECTORS, dissector_named
from engines.wire.http1 import Http1Dissector, Switched
from engines.wire.http1_grammar import LIMIT
from tests.wire.conversations import (
    EXCHANGES,
    GARBAGE,
    SIZES,
    Conversation,
    Event,
    Exchange,
    Sizes,
    assert_covers,
    read,
)


def dialogue(*turns: tuple[Side, bytes], closed: bool = False) -> list[list[str]]:
    """What is read of `turns`, client's side and server's side, one line an event."""
    dissector = Http1Dissector()
    lines: list[list[str]] = [[], []]
    for side, data in turns:
        lines[side] += map(as_line, dissector.feed(side, data))
    for side in Side:
        lines[side] += map(as_line, dissector.finish(side) if closed else [])
    return lines


def as_line(event: Event) -> str:
    if isinstance(event, Ended):
        return f"{event.end} {event.boundary}"
    return f"{event.offset} {event.role.name}: {event.label}; body {event.body_offset} +{event.body_size}"


def asked(method: str = "GET") -> tuple[Side, bytes]:
    return Side.CLIENT, f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def answer(data: bytes, method: str = "GET", closed: bool = False) -> list[str]:
    """What is read of a server's bytes that answer `method`."""
    return dialogue(asked(method), (Side.SERVER, data), closed=closed)[Side.SERVER]


@given(st.lists(EXCHANGES, min_size=1, max_size=4), st.booleans(), st.booleans(), SIZES, SIZES)
def test_finds_exactly_the_messages_that_h11_sent(
    exchanges: list[Exchange], until_close: bool, pipelined: bool, asked: Sizes, answered: Sizes
) -> None:
    requests, responses = Conversation(exchanges, until_close).said
    dissector = Http1Dissector()
    found: list[list[Event]] = [[], []]
    if pipelined:
        found[Side.CLIENT] += read(dissector, Side.CLIENT, b"".join(r.data for r in requests), asked)
        found[Side.SERVER] += read(dissector, Side.SERVER, b"".join(r.data for r in responses), answered)
    else:
        for request, response in zip(requests, responses, strict=True):
            found[Side.CLIENT] += read(dissector, Side.CLIENT, request.data, asked)
            found[Side.SERVER] += read(dissector, Side.SERVER, response.data, answered)
    for side, said in ((Side.CLIENT, requests), (Side.SERVER, responses)):
        found[side] += dissector.finish(side)
        assert found[side] == [event for one in said for event in one.events]
        stream = b"".join(one.data for one in said)
        contents = [content for one in said for content in one.contents]
        for started, ended, content in zip(found[side][::2], found[side][1::2], contents, strict=True):
            assert isinstance(started, Started)
            assert isinstance(ended, Ended)
            parts = dissector.parts(side, stream, started.offset, ended.end)
            assert_covers(parts, started.offset, ended.end)
            assert not any("incomplete" in part.note or part.name == "bytes" for part in parts)
            assert b"".join(stream[p.start : p.end] for p in parts if p.name in ("body", "chunk data")) == content


# --- RFC 9112, section 6.3: the length of a body, rule by rule ----------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", "200 OK"), ("HEAD", "404 Not Found"), ("GET", "204 No Content"), ("GET", "304 Old")]
)
@pytest.mark.parametrize("field", ["Content-Length: 5", "Transfer-Encoding: chunked", "X: y"])
def test_rule_1_no_body_whatever_the_fields_say(method: str, status: str, field: str) -> None:
    head = f"HTTP/1.1 {status}\r\n{field}\r\n\r\n".encode()
    found = answer(head, method)
    assert found[0].endswith(f"body {len(head)} +0")
    assert found[1:] == [f"{len(head)} no body"]


def test_rule_1_interim_responses_leave_the_request_unanswered() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 \r\n\r\nHTTP/1.1 104 \r\nLocation: /u\r\n\r\n"
    assert answer(interim + b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HEAD") == [
        "0 RESPONSE: 100 Continue; body 25 +0",
        "25 no body",
        "25 RESPONSE: 103 Early Hints; body 42 +0",
        "42 no body",
        "42 RESPONSE: 104 Upload Resumption Supported; body 73 +0",
        "73 no body",
        "73 RESPONSE: 200 OK; body 111 +0",
        "111 no body",
    ]


def test_rule_2_a_tunnel_after_connect() -> None:
    dissector = Http1Dissector()
    dissector.feed(Side.CLIENT, b"CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n")
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"
    assert len(dissector.feed(Side.SERVER, head + b"HTTP/1.1 200 OK\r\n\r\n")) == 2
    assert dissector.switched == Switched("tunnel", 39, len(head))
    assert not dissector.feed(Side.CLIENT, b"GET / HTTP/1.1\r\n\r\n")
    assert not dissector.finish(Side.SERVER)


def test_a_refused_connect_is_an_ordinary_response() -> None:
    assert answer(b"HTTP/1.1 403 \r\nContent-Length: 2\r\n\r\nno", "CONNECT") == [
        "0 ERROR: 403 Forbidden; body 36 +2",
        "38 content-length",
    ]


def test_rule_3_transfer_encoding_overrides_content_length() -> None:
    data = b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
    assert dialogue((Side.CLIENT, data))[0] == ["0 REQUEST: POST /; body 66 +None", f"{len(data)} last chunk"]


@pytest.mark.parametrize(
    "fields",
    [
        "Transfer-Encoding: gzip, Chunked",
        "transfer-encoding:gzip\r\nTRANSFER-ENCODING: chunked",
        "Transfer-Encoding: gzip,\r\n chunked",
    ],
)
def test_rule_4_chunked_as_the_last_coding(fields: str) -> None:
    found = answer(f"HTTP/1.1 200 OK\r\n{fields}\r\n\r\n0\r\n\r\n".encode())
    assert found[1].endswith("last chunk")


def test_rule_4_chunked_is_not_the_last_coding() -> None:
    fields = b"Transfer-Encoding: chunked, gzip\r\nContent-Length: 1\r\n\r\n"
    found = answer(b"HTTP/1.1 200 OK\r\n" + fields + b"0\r\n\r\n", closed=True)
    assert found[1:] == ["77 connection closed"]
    assert dialogue((Side.CLIENT, b"POST / HTTP/1.1\r\n" + fields), closed=True)[0] == [
        "0 ERROR: not HTTP/1.1: a request whose Transfer-Encoding does not end in chunked; body 0 +None",
        "72 connection closed",
    ]


@pytest.mark.parametrize("value", ["-1", "+1", "1 2", "1, 2", "1\r\nContent-Length: 2", "abc", "", "0x1", "9" * 5000])
def test_rule_5_an_invalid_content_length(value: str) -> None:
    fields = f"Content-Length: {value}\r\n\r\n"
    for turn in ((Side.CLIENT, f"PUT / HTTP/1.1\r\n{fields}"), (Side.SERVER, f"HTTP/1.1 200 OK\r\n{fields}")):
        found = dialogue((turn[0], turn[1].encode()))[turn[0]]
        assert found == ["0 ERROR: not HTTP/1.1: a Content-Length that is not one number; body 0 +None"]


@pytest.mark.parametrize("value", ["2", "2, 2", "2\r\ncontent-length:2", "002"])
def test_rule_6_content_length(value: str) -> None:
    head = f"PUT /x HTTP/1.1\r\nContent-Length: {value}\r\n\r\n".encode()
    assert dialogue((Side.CLIENT, head + b"abGET"), closed=True)[0] == [
        f"0 REQUEST: PUT /x; body {len(head)} +2",
        f"{len(head) + 2} content-length",
    ]


def test_rule_7_a_request_without_a_declared_length_has_no_body() -> None:
    assert dialogue((Side.CLIENT, b"POST /jobs/7?wait=2 HTTP/1.1\r\n\r\n"))[0] == [
        "0 REQUEST: POST /jobs/7?wait=2; body 32 +0",
        "32 no body",
    ]


def test_rule_8_a_response_without_a_declared_length_lasts_until_the_close() -> None:
    assert answer(b"HTTP/1.1 200 OK\r\n\r\nabc\r\n\r\n", closed=True) == [
        "0 RESPONSE: 200 OK; body 19 +None",
        "26 connection closed",
    ]


@pytest.mark.parametrize("field", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_a_close_before_the_end_cuts_the_message_short(field: str) -> None:
    data = f"HTTP/1.1 200 OK\r\n{field}\r\n\r\n5\r\n".encode()
    assert answer(data, closed=True)[1:] == [f"{len(data)} cut short"]


# --- the rest of the grammar --------------------------------------------------------------------------------------------


def test_chunk_extensions_and_trailers() -> None:
    data = (
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA;x="y"\r\n0123456789\r\n00;z\r\nSum: 1\r\n and\r\n\r\n'
    )
    assert answer(data + b"HTTP/1.1 200 OK\r\n\r\n")[1:2] == [f"{len(data)} last chunk"]


def test_pipelined_responses_come_in_the_order_of_requests() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    turns = asked("HEAD"), asked("GET"), asked("HEAD"), (Side.SERVER, head + head + b"ab" + head)
    assert [line for line in dialogue(*turns)[1] if "body" not in line or "no" in line] == [
        "38 no body",
        "78 content-length",
        "116 no body",
    ]


def test_empty_lines_before_a_request_belong_to_no_message() -> None:
    assert dialogue((Side.CLIENT, b"\r"), (Side.CLIENT, b"\n\n\r\n"), asked())[0][0].startswith("5 REQUEST: GET /;")


def test_bare_line_feeds_will_do() -> None:
    assert dialogue((Side.CLIENT, b"GET / HTTP/1.1\nHost: a\n\nGET /2 HTTP/1.1\n\n"))[0][2].startswith(
        "24 REQUEST: GET /2"
    )


def test_after_101_both_directions_are_opaque() -> None:
    dissector = Http1Dissector()
    request = b"GET /chat HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    response = b"HTTP/1.1 101 \r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"
    dissector.feed(Side.CLIENT, request)
    events = dissector.feed(Side.SERVER, response + b"HTTP/1.1 200 OK\r\n\r\n")
    assert [as_line(e) for e in events] == ["0 RESPONSE: 101 Switching Protocols; body 58 +0", "58 no body"]
    assert dissector.switched == Switched("websocket", len(request), len(response))
    assert not dissector.feed(Side.CLIENT, request)
    assert not dissector.finish(Side.CLIENT)


def test_an_empty_content_length_is_not_a_number() -> None:
    assert answer(b"HTTP/1.1 200 OK\nContent-Length:\n\n")[0].startswith("0 ERROR: not HTTP/1.1: a Content-Length")


def test_a_response_nobody_asked_for() -> None:
    assert dialogue((Side.SERVER, b"HTTP/1.1 408 \r\nContent-Length: 0\r\n\r\n"))[1] == [
        "0 ERROR: 408 Request Timeout; body 36 +0",
        "36 content-length",
    ]


# --- what is not HTTP/1.1 -----------------------------------------------------------------------------------------------

STRANGE = {
    b"\x16\x03\x01": "no request line here",
    b"GET /\r\n": "no request line here",
    b"GET / HTTP/2.0\r\n": "no request line here",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": "the connection preface of HTTP/2",
    b"GET / HTTP/1.1\r\n Folded: first\r\n\r\n": "a line in the head that is not a field",
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n": "a line in the head that is not a field",
    b"GET /" + b"x" * LIMIT: "a head without end",
    b"GET / HTTP/1.1\r\nX: " + b"x" * LIMIT + b"\r\n\r\n": "a head without end",
}
CHUNKED = b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
STRANGE_CHUNKS = {
    b"x\r\n": (0, "no chunk size where one belongs"),
    b"1\n": (0, "no chunk size where one belongs"),
    b"1;" + b"x" * LIMIT: (0, "a chunk size line without end"),
    b"1\r\nab\r\n": (4, "no CRLF at the end of a chunk"),
    b"0\r\nx\r\n\r\n": (3, "a line in the trailer section that is not a field"),
    b"0\r\nX: " + b"x" * LIMIT + b"\r\n\r\n": (3, "a trailer section without end"),
}


@pytest.mark.parametrize("size", [1, 7, 1 << 30])
@pytest.mark.parametrize(("data", "reason"), STRANGE.items())
def test_strange_bytes_are_said_once(data: bytes, reason: str, size: int) -> None:
    dissector = Http1Dissector()
    step = size if len(data) < 1000 else size * 1000
    found = read(dissector, Side.CLIENT, data + b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", (step,))
    assert found == [Started(Role.ERROR, f"not HTTP/1.1: {reason}", 0, 0, None)]
    assert [end.boundary for end in dissector.finish(Side.CLIENT)] == ["connection closed"]
    assert not dissector.finish(Side.CLIENT)


@pytest.mark.parametrize("size", [1, 7, 1 << 30])
@pytest.mark.parametrize(("data", "expected"), STRANGE_CHUNKS.items())
def test_strange_chunks_cut_the_message_short(data: bytes, expected: tuple[int, str], size: int) -> None:
    offset, reason = len(CHUNKED) + expected[0], expected[1]
    step = size if len(data) < 1000 else size * 1000
    found = read(Http1Dissector(), Side.CLIENT, CHUNKED + data, (step,))
    assert found[1:] == [
        Ended(offset, "cut short"),
        Started(Role.ERROR, f"not HTTP/1.1: {reason}", offset, offset, None),
    ]


def test_a_head_that_never_ends_is_no_message() -> None:
    assert dialogue((Side.CLIENT, b"GET / HTTP/1.1\r\nHost: a\r\n"), closed=True) == [[], []]


def test_labels_carry_no_control_characters() -> None:
    assert answer(b"HTTP/1.1 200 \x1b[2J\xff\r\n\r\n")[0].startswith(r"0 RESPONSE: 200 \x1b[2J\xff;")


@given(st.lists(st.tuples(st.sampled_from(Side), GARBAGE, SIZES), max_size=6))
def test_no_bytes_are_too_strange_and_packets_make_no_difference(
    turns: list[tuple[Side, bytes, tuple[int, ...]]],
) -> None:
    whole, sliced = Http1Dissector(), Http1Dissector()
    sent = [b"", b""]
    found: list[list[Event]] = [[], []]
    for side, data, sizes in turns:
        events = whole.feed(side, data)
        assert read(sliced, side, data, sizes) == list(events)
        sent[side] += data
        found[side] += events
    for side in Side:
        found[side] += whole.finish(side)
        position = 0
        for event in found[side]:  # Started and Ended take turns, in order, and stay inside what was sent
            at = event.offset if isinstance(event, Started) else event.end
            assert position <= at <= len(sent[side])
            position = at
        assert [type(event) for event in found[side]] == [Started, Ended] * (len(found[side]) // 2)


def test_the_registry() -> None:
    assert all(DISSECTORS[name]().name == name for name in DISSECTORS)
    assert isinstance(dissector_named("http/1.1"), Http1Dissector)
    assert dissector_named("gopher") is None
