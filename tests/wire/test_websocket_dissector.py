"""The WebSocket dissector: random conversations between wsproto's two peers, then RFC 6455, rule by rule."""

from dataclasses import dataclass
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Event, Ping, Pong, Request, TextMessage

from engines.lab.dissection import Ended, Side, Started
from engines.lab.facts import Role
from engines.wire.dissectors import dissector_named
from engines.wire.websocket_dissector import WebSocketDissector
from engines.wire.websocket_frames import OPCODES, unmask
from tests.wire.conversations import SIZES, WHOLE, Sizes, assert_covers, read

KEY = bytes.fromhex("37fa213d")
HELLO = bytes.fromhex("818537fa213d7f9f4d5158")
"""Section 5.7: a single-frame masked text message that contains "Hello"."""


@dataclass(frozen=True)
class Said:
    """One frame: what was said, and the label, role and payload that an observer should find."""

    event: Event
    label: str
    role: Role
    payload: bytes


def text(message: str, final: bool, first: bool) -> Said:
    return data(TextMessage(message, message_finished=final), "text", message.encode(), final, first)


def binary(message: bytes, final: bool, first: bool) -> Said:
    return data(BytesMessage(message, message_finished=final), "binary", message, final, first)


def data(event: Event, kind: str, payload: bytes, final: bool, first: bool) -> Said:
    place = "" if final and first else ", the last" if final else ", to be continued"
    return Said(event, f"{kind if first else 'continuation'} {len(payload):,} B{place}", Role.PUSH, payload)


def control(event: Ping | Pong) -> Said:
    word = type(event).__name__.lower()
    return Said(event, word, Role.HEARTBEAT, bytes(event.payload))


def close(code: int, reason: str) -> Said:
    event = CloseConnection(code, reason or None)
    return Said(event, f"close {code}", Role.CONTROL, code.to_bytes(2, "big") + reason.encode())


LENGTHS = st.sampled_from([0, 1, 2, 125, 126, 127, 65_535, 65_536]) | st.integers(0, 300)
CONTROLS = st.builds(control, st.builds(Ping, st.binary(max_size=125)) | st.builds(Pong, st.binary(max_size=20)))


@st.composite
def messages(draw: st.DrawFn) -> list[Said]:
    """A message in one frame or several, with control frames between them."""
    kind = draw(st.sampled_from(["text", "binary"]))
    count = draw(st.integers(1, 3))
    frames: list[Said] = []
    for i in range(count):
        size = draw(LENGTHS)
        final, first = i == count - 1, i == 0
        frames.append(text("x" * size, final, first) if kind == "text" else binary(bytes(size), final, first))
        frames += draw(st.lists(CONTROLS, max_size=1))
    return frames


SPEECHES = st.lists(messages(), max_size=4).map(lambda parts: [said for part in parts for said in part])
ENDS = st.none() | st.builds(close, st.sampled_from([1000, 1001, 1009, 1011, 4000]), st.sampled_from(["", "bye", "é"]))


def opened() -> tuple[WSConnection, WSConnection, bytes, bytes]:
    """Two peers after their handshake, and the bytes of it."""
    client, server = WSConnection(ConnectionType.CLIENT), WSConnection(ConnectionType.SERVER)
    asked = client.send(Request(host="server", target="/events"))
    server.receive_data(asked)
    list(server.events())
    answered = server.send(AcceptConnection())
    client.receive_data(answered)
    list(client.events())
    return client, server, asked, answered


def speech(peer: WSConnection, said: list[Said]) -> list[bytes]:
    return [bytes(peer.send(one.event)) for one in said]


@given(SPEECHES, ENDS, SPEECHES, ENDS, SIZES, SIZES)
def test_finds_exactly_the_frames_that_wsproto_sent(
    asks: list[Said], ask_end: Said | None, tells: list[Said], tell_end: Said | None, asked: Sizes, told: Sizes
) -> None:
    client, server, request, response = opened()
    sides = {
        Side.CLIENT: (client, request, [*asks, *([ask_end] if ask_end else [])], asked),
        Side.SERVER: (server, response, [*tells, *([tell_end] if tell_end else [])], told),
    }
    dissector = WebSocketDissector()
    assert len(read(dissector, Side.CLIENT, request, asked)) == 2
    for side in (Side.SERVER, Side.CLIENT):
        peer, head, said, sizes = sides[side]
        frames = speech(peer, said)
        stream = head + b"".join(frames)
        fed = stream if side is Side.SERVER else stream[len(head) :]  # the 101 and the first frames in one packet
        found = read(dissector, side, fed, bigger(sizes, len(fed)))
        found = found[2:] if side is Side.SERVER else found
        assert [type(event) for event in found] == [Started, Ended] * len(said)
        position = len(head)
        for one, frame, started, ended in zip(said, frames, found[::2], found[1::2], strict=True):
            assert isinstance(started, Started)
            assert isinstance(ended, Ended)
            assert (started.role, started.label) == (one.role, one.label)
            assert (started.offset, ended.end, ended.boundary) == (position, position + len(frame), "frame length")
            assert started.body_size == len(one.payload)
            parts = dissector.parts(side, stream, started.offset, ended.end)
            assert_covers(parts, started.offset, ended.end)
            assert not any("incomplete" in part.note or part.name == "bytes" for part in parts)
            keys = [stream[p.start : p.end] for p in parts if p.name == "masking key"]
            assert len(keys) == (side is Side.CLIENT)
            payload = b"".join(stream[p.start : p.end] for p in parts if p.name in ("payload data", "close code"))
            payload += b"".join(stream[p.start : p.end] for p in parts if p.name == "close reason")
            assert unmask(payload, keys[0] if keys else b"") == one.payload
            position += len(frame)
        assert not dissector.finish(side)


def bigger(sizes: Sizes, total: int) -> Sizes:
    """The same cuts, but so that long streams are not read byte by byte."""
    return tuple(size * (1 + total // 5000) for size in sizes)


# --- section 5.2: the header --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "header"), [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)], ids=lambda value: str(value)
)
def test_a_header_is_2_4_or_10_bytes_and_4_more_with_a_mask(length: int, header: int) -> None:
    client, server, _, _ = opened()
    for peer, extra in ((server, 0), (client, 4)):
        frame = peer.send(BytesMessage(bytes(length)))
        assert len(frame) == header + extra + length
        assert frames_of(bytes(frame), masked=bool(extra))[0].body_offset == header + extra


def frames_of(stream: bytes, masked: bool = False, sizes: Sizes = WHOLE, finish: bool = False) -> list[Started]:
    """What is read of `stream` right after the handshake, with offsets from the first frame on."""
    _, _, request, response = opened()
    dissector = WebSocketDissector()
    dissector.feed(Side.CLIENT, request)
    dissector.feed(Side.SERVER, response)
    side = Side.CLIENT if masked else Side.SERVER
    base = len(request if masked else response)
    found = read(dissector, side, stream, sizes) + (list(dissector.finish(side)) if finish else [])
    return [
        Started(e.role, e.label, e.offset - base, e.body_offset - base, e.body_size)
        for e in found
        if isinstance(e, Started)
    ]


def test_the_example_of_the_rfc_with_its_parts() -> None:
    _, _, request, _ = opened()
    stream = request + HELLO
    parts = WebSocketDissector().parts(Side.CLIENT, stream, len(request), len(stream))
    assert [(part.end - part.start, part.name, part.note) for part in parts] == [
        (1, "FIN and opcode", "the last frame of its message, opcode 1: text"),
        (1, "mask bit and length", "masked, as a client must; 5 bytes of payload"),
        (4, "masking key", "XORed with the payload, again and again"),
        (5, "payload data", "unmasked: Hello"),
    ]
    assert unmask(HELLO[6:], KEY) == b"Hello"
    assert frames_of(HELLO, masked=True) == [Started(Role.PUSH, "text 5 B", 0, 6, 5)]


def test_a_close_names_its_code() -> None:
    frame = bytes.fromhex("880503e9627965")
    assert [f.label for f in frames_of(frame)] == ["close 1001"]
    assert [f.label for f in frames_of(bytes.fromhex("8800"))] == ["close"]
    assert [f.label for f in frames_of(bytes.fromhex("880103"))] == ["close"]
    _, _, _, response = opened()
    parts = WebSocketDissector().parts(Side.SERVER, response + frame, len(response), len(response) + 7)
    assert [(p.name, p.note) for p in parts[2:]] == [
        ("close code", "1001, going away: a page left, a server stopped"),
        ("close reason", "bye"),
    ]


def test_a_compressed_message_says_so() -> None:
    """A browser offers permessage-deflate (RFC 7692), and Hypercorn takes it: RSV1 is set."""
    assert [f.label for f in frames_of(b"\xc1\x03abc")] == ["text compressed 3 B"]


@pytest.mark.parametrize("half", [1, 2, 3])
def test_half_a_frame_has_half_its_parts(half: int) -> None:
    _, _, _, response = opened()
    stream = response + b"\x81\x7e\x01\x00hello"
    parts = WebSocketDissector().parts(Side.SERVER, stream, len(response), len(response) + half)
    assert_covers(parts, len(response), len(response) + half)
    assert [part.note for part in parts] == ["incomplete"]
    later = WebSocketDissector().parts(Side.SERVER, stream, len(response), len(stream))
    assert later[-1].note == "incomplete: 5 of 256 bytes; hello"


def test_a_frame_that_the_end_of_the_connection_cuts() -> None:
    dissector = WebSocketDissector()
    _, _, request, response = opened()
    dissector.feed(Side.CLIENT, request)
    dissector.feed(Side.SERVER, response + b"\x81\x05Hel")
    assert dissector.finish(Side.SERVER) == [Ended(len(response) + 5, "cut short")]
    assert not dissector.finish(Side.SERVER)


# --- what is not WebSocket ----------------------------------------------------------------------------------------------

STRANGE = {
    b"\x83\x00": "opcode 3 is reserved",
    b"\xa1\x00": "a reserved bit is set",
    b"\x09\x00": "a control frame in pieces",
    b"\x89\x7e\x01\x00": "a control frame of more than 125 bytes",
    b"\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00": "a length with its highest bit set",
    b"HTTP/1.1 200 OK\r\n\r\n": "a control frame in pieces",
}


@pytest.mark.parametrize("size", [1, 3, 1 << 30])
@pytest.mark.parametrize(("data", "reason"), STRANGE.items())
def test_strange_bytes_are_said_once(data: bytes, reason: str, size: int) -> None:
    found = frames_of(b"\x81\x02hi" + data + b"\x81\x02hi", sizes=(size,))
    assert [frame.label for frame in found] == ["text 2 B", f"not WebSocket: {reason}"]


def test_a_client_that_does_not_wait_for_the_101_is_not_read() -> None:
    _, _, request, response = opened()
    dissector = WebSocketDissector()
    dissector.feed(Side.CLIENT, request + HELLO)
    dissector.feed(Side.SERVER, response + b"\x81\x02hi")
    assert not dissector.feed(Side.CLIENT, HELLO)


def test_an_upgrade_that_is_refused_stays_http() -> None:
    _, _, request, _ = opened()
    dissector = WebSocketDissector()
    dissector.feed(Side.CLIENT, request)
    found = dissector.feed(Side.SERVER, b"HTTP/1.1 403 \r\ncontent-length: 2\r\n\r\nno")
    assert isinstance(found[0], Started)
    assert found[0].role is Role.ERROR
    assert len(dissector.feed(Side.CLIENT, request)) == 2


@given(st.lists(st.binary(max_size=40) | st.sampled_from([HELLO, b"\x81\x7e", b"\x88", b"\x00"]), max_size=8), SIZES)
def test_no_bytes_are_too_strange_and_packets_make_no_difference(pieces: list[bytes], sizes: Sizes) -> None:
    stream = b"".join(pieces)
    _, _, request, response = opened()
    whole, sliced = WebSocketDissector(), WebSocketDissector()
    for dissector in (whole, sliced):
        dissector.feed(Side.CLIENT, request)
    events = list(whole.feed(Side.SERVER, response + stream))
    assert read(sliced, Side.SERVER, response + stream, sizes) == events
    events += whole.finish(Side.SERVER)
    for started, ended in zip(events[2::2], events[3::2], strict=True):
        assert isinstance(started, Started)
        assert isinstance(ended, Ended)
        assert started.offset <= started.body_offset
        assert started.offset <= ended.end <= len(response + stream)
        parts = whole.parts(Side.SERVER, response + stream, started.offset, ended.end)
        assert_covers(parts, started.offset, ended.end)


@given(st.binary(max_size=64), st.binary(min_size=4, max_size=4))
def test_unmasking_is_masking_again(payload: bytes, key: bytes) -> None:
    masked = unmask(payload, key)
    assert masked == bytes(byte ^ mask for byte, mask in zip(payload, cycle(key), strict=False))
    assert unmask(masked, key) == payload


def test_the_registry() -> None:
    assert isinstance(dissector_named("websocket"), WebSocketDissector)
    assert set(OPCODES) == {0, 1, 2, 8, 9, 10}
