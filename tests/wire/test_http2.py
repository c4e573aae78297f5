"""The HTTP/2 dissector: random conversations between h2's two peers, frames cut anywhere, and the RFC's corners by hand."""

from dataclasses import dataclass, field

import h2.connection
import hyperframe.frame as frames
from h2.config import H2Configuration
from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st

from engines.lab.dissection import Ended, Event, Part, Resumed, Side, Started
from engines.lab.facts import Role
from engines.lab.host import Host
from engines.messages import ArrowKind, MessageIndex
from engines.wire.dissectors import dissector_named
from engines.wire.h2_client import h2_client
from engines.wire.http2 import Http2Dissector
from engines.wire.http2_frames import PREFACE, frame_header
from tests.wire.conversations import SIZES, Sizes, assert_covers
from tests.wire.h2_world import URL, gather, hypercorn, run


def read(dissector: Http2Dissector, side: Side, data: bytes, sizes: Sizes) -> list[Event]:
    """Feed `data` in pieces of `sizes`, over and over, and return all that came of it."""
    events: list[Event] = []
    position, turn = 0, 0
    while position < len(data):
        size = sizes[turn % len(sizes)]
        events += dissector.feed(side, data[position : position + size])
        position, turn = position + size, turn + 1
    return events


@dataclass
class Conversation:
    """Two peers of h2. `turns` are the bytes in the order in which they were sent; `said` what is to be found in them."""

    turns: list[tuple[Side, bytes]] = field(default_factory=list)
    said: tuple[list[Event], list[Event]] = field(default_factory=lambda: ([], []))
    contents: dict[tuple[Side, int], bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sizes = [0, 0]
        self.peers = [
            h2.connection.H2Connection(H2Configuration(client_side=client, header_encoding="utf-8"))
            for client in (True, False)
        ]
        for side in Side:
            self.peers[side].initiate_connection()
        for _ in range(2):
            for side in Side:
                self.flush(side)

    def flush(self, side: Side) -> int:
        """Carry what a peer has to say to the other one; returns where it began."""
        data = self.peers[side].data_to_send()
        start = self.sizes[side]
        if data:
            self.turns.append((side, data))
            self.sizes[side] += len(data)
            self.peers[side.other].receive_data(data)
        return start

    def head(self, side: Side, stream: int, fields: list[tuple[str, str]], role: Role, label: str, end: bool) -> None:
        self.peers[side].send_headers(stream, fields, end_stream=end)
        start = self.flush(side)
        self.said[side].append(Started(role, label, start, self.sizes[side], 0 if end else None, stream))
        self.contents[side, stream] = b""
        if end:
            self.said[side].append(Ended(self.sizes[side], "END_STREAM", stream))

    def data(self, side: Side, stream: int, content: bytes, padding: int | None, end: bool) -> None:
        room = self.peers[side].local_flow_control_window(stream)
        if len(content) + (padding or 0) + 1 > room:
            return
        self.peers[side].send_data(stream, content, end_stream=end, pad_length=padding)
        self.flush(side)
        self.contents[side, stream] += content
        if end:
            self.said[side].append(Ended(self.sizes[side], "END_STREAM", stream))


@dataclass(frozen=True)
class Step:
    """Something a peer does; what is not possible just then is left out."""

    side: Side
    deed: str
    pick: int
    content: bytes
    padding: int | None
    end: bool


STEPS = st.builds(
    Step,
    side=st.sampled_from(Side),
    deed=st.sampled_from(["open", "answer", "data", "data", "data", "ping", "window"]),
    pick=st.integers(0, 5),
    content=st.binary(max_size=60),
    padding=st.none() | st.integers(0, 20),
    end=st.booleans(),
)


def converse(steps: list[Step]) -> Conversation:
    talk = Conversation()
    speaking: dict[Side, list[int]] = {Side.CLIENT: [], Side.SERVER: []}
    unanswered: list[int] = []
    for step in steps:
        peer = talk.peers[step.side]
        if step.deed == "open":
            stream = talk.peers[Side.CLIENT].get_next_available_stream_id()
            fields = [(":method", "GET"), (":authority", "a"), (":scheme", "http"), (":path", f"/{stream}")]
            talk.head(Side.CLIENT, stream, fields, Role.REQUEST, f"GET /{stream}", step.end)
            unanswered.append(stream)
            if not step.end:
                speaking[Side.CLIENT].append(stream)
        elif step.deed == "answer" and unanswered:
            stream = unanswered.pop(step.pick % len(unanswered))
            status, role, label = [("200", Role.RESPONSE, "200 OK"), ("404", Role.ERROR, "404 Not Found")][
                step.pick % 2
            ]
            fields = [(":status", status), ("x-same", "again and again"), (f"x-{stream}", "new")]
            talk.head(Side.SERVER, stream, fields, role, label, step.end)
            if not step.end:
                speaking[Side.SERVER].append(stream)
        elif step.deed == "data" and speaking[step.side]:
            stream = speaking[step.side][step.pick % len(speaking[step.side])]
            before = len(talk.said[step.side])
            talk.data(step.side, stream, step.content, step.padding, step.end)
            if len(talk.said[step.side]) > before:
                speaking[step.side].remove(stream)
        elif step.deed == "ping":
            peer.ping(b"12345678")
            talk.flush(step.side)
            talk.flush(step.side.other)
        elif step.deed == "window":
            peer.increment_flow_control_window(1 + step.pick)
            talk.flush(step.side)
    return talk


def exchanged(events: list[Event]) -> list[Event]:
    """What belongs to requests and responses."""
    shorts = {id(e) for e in events if isinstance(e, Started) and e.role in (Role.CONTROL, Role.HEARTBEAT, Role.ACK)}
    kept: list[Event] = []
    for before, event in zip([None, *events], events, strict=False):
        if id(event) not in shorts and id(before) not in shorts and not isinstance(event, Resumed):
            kept.append(event)
    return kept


@given(st.lists(STEPS, max_size=25), SIZES)
def test_finds_exactly_the_messages_that_h2_sent(steps: list[Step], sizes: Sizes) -> None:
    talk = converse(steps)
    dissector = Http2Dissector()
    found: tuple[list[Event], list[Event]] = ([], [])
    for side, data in talk.turns:
        found[side].extend(read(dissector, side, data, sizes))
    for side in Side:
        stream_bytes = b"".join(data for said, data in talk.turns if said is side)
        assert exchanged(found[side]) == talk.said[side]
        begun = {event.stream: event for event in found[side] if isinstance(event, Started) and event.stream}
        ends = {event.stream: event.end for event in talk.said[side] if isinstance(event, Ended)}
        for stream, started in begun.items():
            end = ends.get(stream, len(stream_bytes))
            parts = dissector.parts(side, stream_bytes, started.offset, end)
            assert_covers(parts, started.offset, end)
            body = b"".join(stream_bytes[p.start : p.end] for p in parts if p.name == "body")
            assert body == talk.contents[side, stream]
            assert not any("incomplete" in part.note for part in parts)
        left_open = {event.stream for event in talk.said[side] if isinstance(event, Started)} - set(ends)
        assert {(event.stream, event.boundary) for event in dissector.finish(side)} == {
            (stream, "cut short") for stream in left_open
        }


@given(st.lists(STEPS, max_size=25))
def test_resumed_tells_whose_bytes_are_whose(steps: list[Step]) -> None:
    """By the events alone, each frame belongs to a message of the stream that its header names."""
    talk = converse(steps)
    dissector = Http2Dissector()
    found: tuple[list[Event], list[Event]] = ([], [])
    for side, data in talk.turns:
        found[side].extend(dissector.feed(side, data))
    for side in Side:
        stream_bytes = b"".join(data for said, data in talk.turns if said is side)
        position = len(PREFACE) if side is Side.CLIENT else 0
        turns = sorted({e.offset: e.stream for e in found[side] if isinstance(e, Started | Resumed)}.items())
        while position < len(stream_bytes):
            header = frame_header(stream_bytes, position)
            whose = [stream for offset, stream in turns if offset <= position][-1]
            assert whose == header.stream
            position += header.size


@given(st.binary(max_size=200), SIZES, st.booleans())
def test_garbage_is_never_an_error_and_says_the_same_however_it_is_cut(data: bytes, sizes: Sizes, framed: bool) -> None:
    opening = PREFACE + frames.SettingsFrame(0).serialize() if framed else b""
    whole, cut = Http2Dissector(), Http2Dissector()
    assert read(cut, Side.CLIENT, opening + data, sizes) == list(whole.feed(Side.CLIENT, opening + data))
    assert cut.finish(Side.CLIENT) == whole.finish(Side.CLIENT)
    for end in (len(opening) + len(data), len(opening) + len(data) // 2):
        if end:
            assert_covers(whole.parts(Side.CLIENT, opening + data, 0, end), 0, end)


# --- by hand ------------------------------------------------------------------------------------------------------------

HELLO = frames.SettingsFrame(0).serialize()


def lines(side: Side, *more: bytes, hello: bytes = HELLO, dissector: Http2Dissector | None = None) -> list[str]:
    """What is read after the greeting, one line an event."""
    dissector = dissector or Http2Dissector()
    dissector.feed(side, (PREFACE if side is Side.CLIENT else b"") + hello)
    return [as_line(event) for event in dissector.feed(side, b"".join(more))]


def as_line(event: Event) -> str:
    inside = "nested " if getattr(event, "nested", False) else ""
    match event:
        case Ended():
            return f"{inside}end of {event.stream}: {event.boundary}"
        case Resumed():
            return f"{event.stream} goes on"
        case _:
            return f"{inside}{event.role.name} {event.stream}: {event.label}"


def headers(stream: int, *fields: tuple[str, str], flags: tuple[str, ...] = ("END_HEADERS",)) -> bytes:
    return frames.HeadersFrame(stream, Encoder().encode(list(fields)), flags=flags).serialize()


def data(stream: int, content: bytes, *flags: str) -> bytes:
    return frames.DataFrame(stream, content, flags=flags).serialize()


ASK = headers(1, (":method", "GET"), (":path", "/"), flags=("END_HEADERS", "END_STREAM"))
ANSWER = headers(1, (":status", "200"), ("content-length", "4"))


def test_it_is_registered_by_its_name() -> None:
    assert isinstance(dissector_named("h2"), Http2Dissector)


def test_the_preface_and_settings_are_one_message() -> None:
    settings = frames.SettingsFrame(0, {3: 5, 4: 65_535, 0x99: 7}).serialize()
    greeting = PREFACE + settings
    found = Http2Dissector().feed(Side.CLIENT, greeting)
    label = "SETTINGS MAX_CONCURRENT_STREAMS 5, setting 0x99 7"
    assert found[0] == Started(Role.CONTROL, label, 0, 33, 18)
    assert found[1] == Ended(len(greeting), "frame length")
    parts = Http2Dissector().parts(Side.CLIENT, greeting, 0, len(greeting))
    assert [part.name for part in parts] == [
        "connection preface", "frame length", "frame type", "flags", "stream", "setting", "setting", "setting",
    ]  # fmt: skip


def test_control_frames() -> None:
    found = lines(
        Side.SERVER,
        frames.SettingsFrame(0, flags=["ACK"]).serialize(),
        frames.PingFrame(0, b"12345678").serialize(),
        frames.PingFrame(0, b"12345678", flags=["ACK"]).serialize(),
        frames.WindowUpdateFrame(0, 9).serialize(),
        frames.WindowUpdateFrame(7, 9).serialize(),
        frames.RstStreamFrame(5, 8).serialize(),
        frames.GoAwayFrame(0, 3, 1, b"why").serialize(),
        bytes((0, 0, 1, 0x77, 0, 0, 0, 0, 0, 1)),
    )
    assert [line for line in found if not line.startswith(("end", "nested end"))] == [
        "ACK 0: SETTINGS ACK",
        "HEARTBEAT 0: PING",
        "HEARTBEAT 0: PING ACK",
        "CONTROL 0: WINDOW_UPDATE connection +9",
        "nested CONTROL 7: WINDOW_UPDATE stream 7 +9",
        "nested ERROR 5: RST_STREAM CANCEL",
        "CONTROL 0: GOAWAY PROTOCOL_ERROR, last stream 3",
        "CONTROL 0: frame of unknown type 0x77",
    ]


def test_interleaved_responses_go_on_where_they_were_interrupted() -> None:
    other = headers(3, (":status", "404"))
    found = lines(
        Side.SERVER,
        ANSWER,
        data(1, b"ab"),
        other,
        data(1, b"cd"),
        data(3, b"x", "END_STREAM"),
        data(1, b"", "END_STREAM"),
    )
    assert found == [
        "RESPONSE 1: 200 OK", "ERROR 3: 404 Not Found", "1 goes on", "3 goes on", "end of 3: END_STREAM",
        "1 goes on", "end of 1: END_STREAM",
    ]  # fmt: skip


def test_a_window_update_of_the_stream_that_speaks_does_not_interrupt_it() -> None:
    update, ping = frames.WindowUpdateFrame(1, 5).serialize(), frames.PingFrame(0, bytes(8)).serialize()
    assert lines(Side.SERVER, ANSWER, update, data(1, b"ab"), ping, data(1, b"cd", "END_STREAM")) == [
        "RESPONSE 1: 200 OK", "nested CONTROL 1: WINDOW_UPDATE stream 1 +5", "nested end of 1: frame length",
        "HEARTBEAT 0: PING", "end of 0: frame length", "1 goes on", "end of 1: END_STREAM",
    ]  # fmt: skip


def test_a_head_in_several_frames_an_interim_response_and_trailers() -> None:
    block = Encoder().encode([(":status", "200"), ("x", "y" * 20)])
    first = frames.HeadersFrame(1, block[:5]).serialize()
    last = frames.ContinuationFrame(1, block[5:], flags=["END_HEADERS"]).serialize()
    interim = headers(1, (":status", "103"))
    trailers = headers(1, ("sum", "1"), flags=("END_HEADERS", "END_STREAM"))
    assert lines(Side.SERVER, interim, first, last, data(1, b"x"), trailers) == [
        "RESPONSE 1: 103 Early Hints", "end of 1: END_HEADERS", "RESPONSE 1: 200 OK", "end of 1: END_STREAM",
    ]  # fmt: skip
    stream = HELLO + first + last
    parts = Http2Dissector().parts(Side.SERVER, stream, len(HELLO), len(stream))
    assert_covers(parts, len(HELLO), len(stream))
    assert [part.note for part in parts if part.name == "field"] == [
        "x: yyyyyyyyyyyyyyyyyyyy (literal, remembered in the dynamic table)"
    ]


def test_a_reset_ends_the_stream_both_ways_and_what_still_comes_is_unwanted() -> None:
    dissector = Http2Dissector()
    lines(Side.CLIENT, ASK, dissector=dissector)
    assert lines(Side.SERVER, ANSWER, data(1, b"ab"), dissector=dissector) == ["RESPONSE 1: 200 OK"]
    reset = [as_line(e) for e in dissector.feed(Side.CLIENT, frames.RstStreamFrame(1, 8).serialize())]
    assert reset == ["nested ERROR 1: RST_STREAM CANCEL", "nested end of 1: frame length"]
    late = [as_line(e) for e in dissector.feed(Side.SERVER, data(1, b"cd", "END_STREAM"))]
    assert late == ["end of 1: cut short", "nested CONTROL 1: DATA 2 B, unwanted", "nested end of 1: frame length"]


def test_an_event_stream_has_a_message_for_each_event() -> None:
    answer = headers(1, (":status", "200"), ("content-type", "text/event-stream; charset=utf-8"))
    found = lines(Side.SERVER, answer, data(1, b"id: 7\ndata: a\n\n"), data(1, b": still here\n\n"))
    assert found == [
        "RESPONSE 1: 200 OK", "nested PUSH 1: event 7", "nested end of 1: frame length",
        "nested HEARTBEAT 1: : still here", "nested end of 1: frame length",
    ]  # fmt: skip


def test_what_is_not_http2() -> None:
    no_preface = Http2Dissector().feed(Side.CLIENT, b"GET / HTTP/1.1\r\n")
    assert [as_line(e) for e in no_preface] == ["ERROR 0: not HTTP/2: no connection preface"]
    for reply, reason in (
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the first frame is not SETTINGS"),
        (HELLO + frames.ContinuationFrame(1, b"").serialize(), "a header block is not continued"),
        (HELLO + frames.HeadersFrame(1, b"").serialize() + HELLO, "a header block is not continued"),
    ):
        assert as_line(Http2Dissector().feed(Side.SERVER, reply)[-1]) == f"ERROR 0: not HTTP/2: {reason}"


def test_a_broken_header_block_loses_those_behind_it_and_not_the_frames() -> None:
    broken = frames.HeadersFrame(1, b"\xff\xff", flags=["END_HEADERS"]).serialize()
    found = lines(Side.SERVER, broken, ANSWER.replace(b"\x00\x00\x00\x01", b"\x00\x00\x00\x03", 1), HELLO)
    assert [line.partition(":")[0] for line in found if "end of" not in line] == [
        "nested ERROR 1", "nested ERROR 3", "CONTROL 0",
    ]  # fmt: skip


def test_the_parts_of_a_request() -> None:
    stream = PREFACE + HELLO + ASK
    start = len(stream) - len(ASK)
    assert [text(stream, part) for part in Http2Dissector().parts(Side.CLIENT, stream, start, len(stream))] == [
        "frame length 00 00 02 | 2 bytes of payload !",
        "frame type 01 | HEADERS",
        "flags 05 | END_STREAM, END_HEADERS !",
        "stream 00 00 00 01 | stream 1",
        "field 82 | :method: GET (from the static table)",
        "field 84 | :path: / (from the static table)",
    ]


def text(stream: bytes, part: Part) -> str:
    return f"{part.name} {stream[part.start : part.end].hex(' ')} | {part.note}" + " !" * part.boundary


# --- in the lab ---------------------------------------------------------------------------------------------------------


def test_an_arrow_counts_its_own_bytes_however_streams_interleave() -> None:
    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL) as http:
            await gather(http, ["/bytes/50000", "/bytes/60001", "/bytes/1", "/bytes/30000", "/"])

    trace = run(client, hypercorn(), commands={0.0: "set loss 3%"})
    index = MessageIndex(trace)
    index.consume()
    sent = index.stream_bytes(1, "server")
    own: dict[int, int] = {}
    position = 0
    while position < len(sent):
        header = frame_header(sent, position)
        own[header.stream] = own.get(header.stream, 0) + header.size
        position += header.size
    arrows = [
        arrow
        for arrow in range(len(index))
        if index.kind[arrow] == ArrowKind.BYTES and index.role(arrow) is Role.RESPONSE
    ]
    assert len(arrows) == 5
    for arrow in arrows:
        assert index.total_bytes(arrow, len(trace)) == own[index.stream(arrow)]
        assert index.delivered_bytes(arrow, len(trace)) == own[index.stream(arrow)]
    previous = dict.fromkeys(arrows, 0)
    for limit in range(0, len(trace), 7):
        for arrow in arrows:
            assert previous[arrow] <= index.delivered_bytes(arrow, limit) <= index.sent_bytes(arrow, limit)
            previous[arrow] = index.delivered_bytes(arrow, limit)
