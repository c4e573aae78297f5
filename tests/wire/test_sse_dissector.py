"""Events inside responses, as an observer sees them: framing of every kind, every cut, and the parts of each."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engines.lab.dissection import Side, Started
from engines.lab.facts import Role
from engines.wire.dissectors import dissector_named
from engines.wire.http1 import Http1Dissector
from engines.wire.sse_dissector import SseDissector
from engines.wire.sse_grammar import EventStreamParser
from tests.wire.conversations import GARBAGE, SIZES, Event, Sizes, assert_covers, read
from tests.wire.test_sse import STREAMS

REQUEST = b"GET /feed HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def events_in(answer: bytes, sizes: Sizes = (1 << 30,), closed: bool = False) -> list[Event]:
    dissector = SseDissector()
    dissector.feed(Side.CLIENT, REQUEST)
    found = read(dissector, Side.SERVER, answer, sizes)
    return found + list(dissector.finish(Side.SERVER) if closed else [])


def lines(answer: bytes, closed: bool = False) -> list[str]:
    """What is found, and the bytes of each message inside the response."""
    said, begun = [], {}
    for event in events_in(answer, closed=closed):
        if isinstance(event, Started):
            begun[event.nested] = event
            said.append(f"{'  ' * event.nested}{event.role.name} {event.label}")
        else:
            start = begun[event.nested].offset
            said.append(
                f"{'  ' * event.nested}{answer[start : event.end]!r} {event.boundary}"
                if event.nested
                else event.boundary
            )
    return said


def test_each_event_has_the_chunk_it_came_in() -> None:
    first, second = chunk(b"id: 1\ndata: a\n\n"), chunk(b": heartbeat\n\n")
    assert lines(CHUNKED + first + second + b"0\r\n\r\n") == [
        "RESPONSE 200 OK",
        "  PUSH event 1",
        f"  {first!r} blank line",
        "  HEARTBEAT : heartbeat",
        f"  {second!r} blank line",
        "last chunk",
    ]


def test_until_the_connection_closes() -> None:
    assert lines(UNTIL_CLOSE + b"event: price\ndata: 12\n\ndata: lost", closed=True) == [
        "RESPONSE 200 OK",
        "  PUSH price: 12",
        "  b'event: price\\ndata: 12\\n\\n' blank line",
        "connection closed",
    ]


def test_two_events_in_a_chunk_and_one_in_two() -> None:
    body = chunk(b"data: a\n\ndata: b\n\n") + chunk(b"data: he") + chunk(b"llo\n\n")
    assert lines(CHUNKED + body)[1:] == [
        "  PUSH event: a",
        "  b'12\\r\\ndata: a\\n\\n' blank line",
        "  PUSH event: b",
        "  b'data: b\\n\\n\\r\\n' blank line",
        "  PUSH event: hello",
        "  b'8\\r\\ndata: he\\r\\n5\\r\\nllo\\n\\n\\r\\n' blank line",
    ]


def test_a_comment_that_fills_a_chunk_is_a_heartbeat_without_a_blank_line() -> None:
    assert lines(CHUNKED + chunk(b":\n") + chunk(b"data: x\n\n"))[1:4] == [
        "  HEARTBEAT : ",
        "  b'2\\r\\n:\\n\\r\\n' end of chunk",
        "  PUSH event: x",
    ]


def test_fields_without_data_tell_the_client_how_to_go_on() -> None:
    assert "  CONTROL retry: 3000, id: 4" in lines(CHUNKED + chunk(b"retry: 3000\nid: 4\n\n"))


def test_carriage_returns() -> None:
    for body in (b"data: a\r\r", b"data: a\r\n\r\n"):
        assert lines(UNTIL_CLOSE + body, closed=True)[2] == f"  {body!r} blank line"
        assert lines(CHUNKED + chunk(body))[2] == f"  {chunk(body)!r} blank line"


def test_the_response_stays_open_and_is_cut_when_the_connection_is() -> None:
    event = chunk(b"data: a\n\n")
    assert lines(CHUNKED + event)[-1] == f"  {event!r} blank line"
    assert lines(CHUNKED + event + b"5\r\nda", closed=True)[-1] == "cut short"


@pytest.mark.parametrize(
    "field", ["content-type: text/plain", "content-type: text/event-stream\r\ncontent-encoding: gzip"]
)
def test_other_bodies_have_no_events(field: str) -> None:
    head = f"HTTP/1.1 200 OK\r\n{field}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    assert lines(head + chunk(b"data: a\n\n") + b"0\r\n\r\n") == ["RESPONSE 200 OK", "last chunk"]


def test_a_finite_stream_of_known_length() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9\r\n\r\n"
    assert lines(head + b"data: a\n\nHTTP/1.1 204 \r\n\r\n") == [
        "RESPONSE 200 OK", "  PUSH event: a", "  b'data: a\\n\\n' blank line", "content-length",
        "RESPONSE 204 No Content", "no body",
    ]  # fmt: skip


def framed(stream: bytes, chunks: list[int] | None) -> bytes:
    """`stream` in a response, in chunks of these sizes or until the close."""
    if chunks is None:
        return UNTIL_CLOSE + stream
    body, position, turn = b"", 0, 0
    while position < len(stream):
        size = chunks[turn % len(chunks)]
        body += chunk(stream[position : position + size])
        position, turn = position + size, turn + 1
    return CHUNKED + body + b"0\r\n\r\n"


CHUNKS = st.none() | st.lists(st.integers(1, 40), min_size=1, max_size=4)


@given(STREAMS, CHUNKS, SIZES)
def test_how_the_bytes_are_cut_changes_nothing(stream: bytes, chunks: list[int] | None, sizes: Sizes) -> None:
    answer = framed(stream, chunks)
    assert events_in(answer, sizes, closed=True) == events_in(answer, closed=True)


@given(STREAMS, CHUNKS)
def test_as_many_pushes_as_the_client_gets_events(stream: bytes, chunks: list[int] | None) -> None:
    found = events_in(framed(stream, chunks), closed=True)
    pushes = [event for event in found if isinstance(event, Started) and event.role is Role.PUSH]
    assert len(pushes) == len(EventStreamParser().feed(stream))


@given(STREAMS, CHUNKS)
@example(b"\xef\xbb\xbf\n\ndata\n\n", None)
def test_parts_cover_every_message(stream: bytes, chunks: list[int] | None) -> None:
    answer = framed(stream, chunks)
    found = events_in(answer, closed=True)
    begun: dict[bool, Started] = {}
    last_end = 0
    for event in found:
        if isinstance(event, Started):
            begun[event.nested] = event
            continue
        start = begun[event.nested].offset
        parts = SseDissector().parts(Side.SERVER, answer, start, event.end)
        assert_covers(parts, start, event.end)
        if event.nested:
            assert start >= last_end
            last_end = event.end
            assert sum(part.boundary for part in parts) == (event.boundary == "blank line")
            assert not any("incomplete" in part.note for part in parts)


@given(GARBAGE, SIZES)
def test_garbage_is_read_as_the_plain_dissector_reads_it(data: bytes, sizes: Sizes) -> None:
    plain, ours = Http1Dissector(), SseDissector()
    for side in Side:
        assert read(ours, side, data, sizes) == read(plain, side, data, sizes)


def test_parts_have_names() -> None:
    event = chunk(b": hi\nid: 7\nevent: x\nretry: 1500\nodd\ndata: a\ndata\n\n")
    answer = CHUNKED + event
    parts = SseDissector().parts(Side.SERVER, answer, len(CHUNKED), len(answer))
    assert [(answer[part.start : part.end], part.name, part.boundary) for part in parts] == [
        (b"32\r\n", "chunk size", False),
        (b": hi\n", "comment", False),
        (b"id: ", "field name", False), (b"7\n", "value", False),
        (b"event: ", "field name", False), (b"x\n", "value", False),
        (b"retry: ", "field name", False), (b"1500\n", "value", False),
        (b"odd", "field name", False), (b"\n", "line end", False),
        (b"data: ", "field name", False), (b"a\n", "value", False),
        (b"data", "field name", False), (b"\n", "line end", False),
        (b"\n", "blank line", True),
        (b"\r\n", "chunk end", False),
    ]  # fmt: skip
    assert "reconnect after 1.5" in next(part.note for part in parts if part.note.startswith("retry"))
    response = SseDissector().parts(Side.SERVER, answer, 0, len(answer))
    assert [part.name for part in response][-3:] == ["chunk size", "chunk data", "chunk end"]


def test_it_is_on_the_list() -> None:
    assert isinstance(dissector_named("http/1.1+sse"), SseDissector)
