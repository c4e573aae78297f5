"""The event stream format: the standard's own examples, its rules one by one, any cut, and httpx-sse where both agree."""

import pytest
from httpx_sse._decoders import SSEDecoder, SSELineDecoder
from hypothesis import example, given
from hypothesis import strategies as st

from engines.wire.sse_grammar import (
    BOM,
    EventStreamParser,
    LineReader,
    ServerSentEvent,
    format_comment,
    format_event,
    retry_s,
)

SHREDS = st.sampled_from(
    [b"data", b"data:", b"data: ", b"id: 7", b"id", b"id: a\0b", b"event: x", b"retry: 10", b"retry: 1x", b":", b": hi",
     b"\r", b"\n", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", BOM, b"  two", "é€😀".encode(), b"\xe2\x82", b"nobody: knows"]
)  # fmt: skip
STREAMS = st.lists(SHREDS | st.binary(max_size=3), max_size=25).map(b"".join)
CUTS = st.lists(st.integers(1, 5), min_size=1, max_size=5)


def read(
    stream: bytes, cuts: list[int] | None = None, parser: EventStreamParser | None = None
) -> list[ServerSentEvent]:
    parser = parser or EventStreamParser()
    events, position, turn = [], 0, 0
    while position < len(stream):
        size = cuts[turn % len(cuts)] if cuts else len(stream)
        events += parser.feed(stream[position : position + size])
        position, turn = position + size, turn + 1
    return events


# --- WHATWG HTML, section 9.2.6: the examples in it ---------------------------------------------------------------------


def test_three_lines_of_data_are_one_event() -> None:
    assert read(b"data: YHOO\ndata: +2\ndata: 10\n\n") == [ServerSentEvent("YHOO\n+2\n10")]


def test_four_blocks() -> None:
    stream = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n"
    assert read(stream + b"\n") == [
        ServerSentEvent("first event", last_event_id="1"),
        ServerSentEvent("second event"),  # an id without a value takes the id back
        ServerSentEvent(" third event"),  # only one space goes
    ]
    assert len(read(stream)) == 2, "without its blank line an event is none"


def test_empty_data_is_data() -> None:
    assert read(b"data\n\ndata\ndata\n\ndata:") == [ServerSentEvent(""), ServerSentEvent("\n")]


def test_the_space_after_the_colon_does_not_matter() -> None:
    assert read(b"data:test\n\ndata: test\n\n") == [ServerSentEvent("test")] * 2


# --- its rules ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_all_line_ends(end: bytes) -> None:
    stream = b"data: a" + end + b"data: b" + end + end + b"data: c" + end + end
    for size in range(1, len(stream) + 1):
        assert read(stream, [size]) == [ServerSentEvent("a\nb"), ServerSentEvent("c")]


def test_a_line_that_ends_in_cr_does_not_wait_for_more() -> None:
    parser = EventStreamParser()
    assert parser.feed(b"data: now\r\r") == [ServerSentEvent("now")]
    assert parser.feed(b"\ndata: then\n\n") == [ServerSentEvent("then")]


def test_one_byte_order_mark_is_passed_over() -> None:
    assert read(BOM + b"data: a\n\n", [1]) == [ServerSentEvent("a")]
    assert read(BOM + BOM + b"data: a\n\n") == []
    assert read(b"\n" + BOM + b"data: a\n\n") == []


def test_an_id_with_null_is_ignored() -> None:
    assert read(b"id: 1\nid: a\0b\ndata: x\n\n") == [ServerSentEvent("x", last_event_id="1")]


def test_an_id_without_data_is_kept() -> None:
    parser = EventStreamParser()
    assert parser.feed(b"id: 9\n\n") == []
    assert parser.last_event_id == "9"
    assert parser.feed(b"data: x\n\n") == [ServerSentEvent("x", last_event_id="9")]


def test_an_id_counts_only_from_its_blank_line() -> None:
    parser = EventStreamParser()
    parser.feed(b"id: 1\ndata: x\n\nid: 2\ndata: y\n")
    assert parser.last_event_id == "1"


def test_a_new_stream_keeps_its_place_as_in_chromium_and_by_the_letter_does_not() -> None:
    seeded, literal = EventStreamParser("5"), EventStreamParser()
    for parser in (seeded, literal):
        parser.feed(b": heartbeat\n\n")
    assert (seeded.last_event_id, literal.last_event_id) == ("5", "")


def test_a_type_is_for_one_event_and_is_forgotten_without_data() -> None:
    assert read(b"event: add\ndata: 1\n\ndata: 2\n\n") == [ServerSentEvent("1", "add"), ServerSentEvent("2")]
    assert read(b"event: add\n\ndata: 2\n\n") == [ServerSentEvent("2")]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"3000", 3.0), (b"0", 0.0), (b"007", 0.007), (b"", None), (b"-1", None), (b"1.5", None), (b" 1", None),
     (b"1e3", None), ("٣".encode(), None), (b"9" * 5000, 999_999_999.999)],
)  # fmt: skip
def test_retry_is_all_digits_or_nothing(value: bytes, seconds: float | None) -> None:
    assert retry_s(value) == seconds
    parser = EventStreamParser()
    parser.feed(b"retry: " + value + b"\n")
    assert parser.retry_s == (seconds if value != b" 1" else None)


def test_names_are_exact_and_comments_are_nothing() -> None:
    assert read(b"Data: a\n data: b\ndata : c\n:data: d\ndatax\n\n") == []


def test_broken_utf8_is_replaced() -> None:
    assert read(b"data: \xe2\x82\ndata: \xff\n\n") == [ServerSentEvent("\ufffd\n\ufffd")]


# --- any cut, any stream ------------------------------------------------------------------------------------------------


@given(STREAMS, CUTS)
@example(b"data: a\r\n\r\ndata: b\r\n\r\n", [1])
def test_a_cut_changes_nothing(stream: bytes, cuts: list[int]) -> None:
    whole, cut = EventStreamParser(), EventStreamParser()
    assert read(stream, None, whole) == read(stream, cuts, cut)
    assert (whole.last_event_id, whole.retry_s) == (cut.last_event_id, cut.retry_s)


@given(STREAMS, CUTS)
def test_lines_are_those_of_universal_newlines(stream: bytes, cuts: list[int]) -> None:
    reader = LineReader()
    lines, position, turn = [], 0, 0
    while position < len(stream):
        size = cuts[turn % len(cuts)]
        lines += [line for line, _ in reader.feed(stream[position : position + size])]
        position, turn = position + size, turn + 1
    assert lines == stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[:-1]


@given(st.lists(SHREDS.filter(lambda shred: shred not in (BOM, b"\xe2\x82")), max_size=25).map(b"".join))
def test_httpx_sse_reads_the_same(stream: bytes) -> None:
    """Where it follows the standard: it also reports blocks without data, which are left out of the comparison."""
    stream += b"\n"  # it holds a last CR back
    decoder, lines = SSEDecoder(), SSELineDecoder()
    theirs, has_data = [], False
    for line in lines.decode(stream.decode()):
        found = decoder.decode(line)
        has_data = has_data or line.partition(":")[0] == "data"
        if found is not None and has_data:
            theirs.append(ServerSentEvent(found.data, found.event or "message", found.id))
        has_data = has_data and bool(line)
    assert read(stream) == theirs


# --- writing ------------------------------------------------------------------------------------------------------------


@given(st.text(), st.text().filter(lambda text: not set(text) & set("\r\n\0")), st.sampled_from(["", "add", "é"]))
def test_what_is_written_is_read(data: str, id: str, type: str) -> None:
    data = data.replace("\0", "").encode("utf-8", "replace").decode()
    id = id.encode("utf-8", "replace").decode()
    normal = data.replace("\r\n", "\n").replace("\r", "\n")
    assert read(format_event(data, id=id, type=type)) == [ServerSentEvent(normal, type or "message", id)]


def test_what_would_break_out_of_its_field_is_refused() -> None:
    for id in ("a\nb", "a\rb", "a\0b"):
        with pytest.raises(ValueError, match="neither"):
            format_event("x", id=id)
    with pytest.raises(ValueError, match="neither"):
        format_event("x", type="a\ndata: b")
    with pytest.raises(ValueError, match="one line"):
        format_comment("a\n\ndata: b")


def test_retry_alone() -> None:
    assert format_event(retry_s=1.5) == b"retry: 1500\n\n"
    assert format_event("a\nb", id=7, retry_s=3) == b"id: 7\nretry: 3000\ndata: a\ndata: b\n\n"
