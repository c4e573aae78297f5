"""The AMQP dissector: random conversations encoded by pamqp, mixed over channels and cut anywhere, then the rules one by one."""

import struct
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import base, body, frame, header, heartbeat
from pamqp.commands import Basic, Channel, Connection, Queue

from engines.lab.dissection import Ended, Part, Side, Started
from engines.lab.facts import Role
from engines.wire.amqp import AmqpDissector
from engines.wire.amqp_grammar import LIMIT, METHODS
from engines.wire.dissectors import dissector_named
from tests.wire.conversations import Event, Sizes, assert_covers, read

SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=6).map(tuple) | st.sampled_from([(1,), (1 << 30,)])
HEADER = header.ProtocolHeader().marshal()
NAMES = st.text("abcdefgh.-:", max_size=20)
TAGS = st.integers(0, 2**62)


@dataclass(frozen=True)
class Said:
    """A message: its frames, and what is to be said of it."""

    channel: int
    role: Role
    label: str
    frames: tuple[bytes, ...]
    content: bytes | None = None


def whole(role: Role, label: str, method: base.Frame, channel: int) -> Said:
    return Said(channel, role, label, (frame.marshal(method, channel),))


def with_content(
    role: Role, label: str, method: base.Frame, message_id: str, pieces: list[bytes], channel: int
) -> Said:
    content = b"".join(pieces)
    properties = Basic.Properties(message_id=message_id, content_type="text/plain", headers={"n": 1, "s": "x"})
    head = header.ContentHeader(body_size=len(content), properties=properties)
    parts: tuple[frame.FrameTypes, ...] = (method, head, *map(body.ContentBody, pieces))
    name = label if not message_id else label.replace("KEY", message_id)
    return Said(channel, role, name.replace("KEY", "q"), tuple(frame.marshal(p, channel) for p in parts), content)


CHANNELS = st.integers(1, 3)
PIECES = st.lists(st.binary(min_size=1, max_size=50), max_size=3)
IDS = st.sampled_from(["", "event 7"])
SAYINGS = st.one_of(
    st.builds(lambda tag, c: whole(Role.ACK, f"basic.ack {tag}", Basic.Ack(tag), c), TAGS, CHANNELS),
    st.builds(lambda tag, c: whole(Role.ACK, f"basic.ack all up to {tag}", Basic.Ack(tag, True), c), TAGS, CHANNELS),
    st.builds(lambda tag, c: whole(Role.ACK, f"basic.nack {tag}", Basic.Nack(tag), c), TAGS, CHANNELS),
    st.builds(
        lambda name, c: whole(
            Role.CONTROL, f"queue.declare {name}".strip(), Queue.Declare(queue=name, arguments={"x-max-length": 3}), c
        ),
        NAMES,
        CHANNELS,
    ),
    st.builds(lambda c: whole(Role.CONTROL, "channel.open", Channel.Open(), c), CHANNELS),
    st.builds(lambda c: whole(Role.RESPONSE, "basic.get-empty", Basic.GetEmpty(), c), CHANNELS),
    st.just(Said(0, Role.HEARTBEAT, "heartbeat", (heartbeat.Heartbeat.marshal(),))),
    st.builds(
        lambda name, pieces, c: with_content(
            Role.PUSH, "basic.publish KEY", Basic.Publish(routing_key="q"), name, pieces, c
        ),
        IDS,
        PIECES,
        CHANNELS,
    ),
    st.builds(
        lambda name, pieces, c: with_content(
            Role.PUSH, "basic.deliver KEY, redelivered", Basic.Deliver("c", 1, True, "", "q"), name, pieces, c
        ),
        IDS,
        PIECES,
        CHANNELS,
    ),
    st.builds(
        lambda name, pieces, c: with_content(
            Role.RESPONSE, "basic.get-ok KEY", Basic.GetOk(1, False, "", "q", 0), name, pieces, c
        ),
        IDS,
        PIECES,
        CHANNELS,
    ),
)


def mixed(said: list[Said], choose: list[int]) -> list[tuple[Said, int]]:
    """All frames in one order: that of each channel is kept, the channels take turns as `choose` says."""
    left: dict[int, list[tuple[Said, int]]] = {}
    for one in said:
        left.setdefault(one.channel, []).extend((one, n) for n in range(len(one.frames)))
    order = list[tuple[Said, int]]()
    while left:
        channel = list(left)[choose[len(order) % len(choose)] % len(left)]
        order.append(left[channel].pop(0))
        if not left[channel]:
            del left[channel]
    return order


def expected(order: list[tuple[Said, int]]) -> tuple[bytes, list[Event]]:
    """The bytes of the frames, and the events that an observer should find in them."""
    data, events, starts = b"", list[Event](), dict[int, int]()
    for said, n in order:
        start, data = len(data), data + said.frames[n]
        if n == 0:
            starts[said.channel] = start
        first = starts[said.channel]
        if said.content is None:
            events += (
                Started(said.role, said.label, start, len(data), 0, said.channel),
                Ended(len(data), "frame end", said.channel),
            )
            continue
        if n == 1:
            size = None if said.content else 0
            events.append(Started(said.role, said.label, first, len(data), size, said.channel))
        if n == len(said.frames) - 1:
            events.append(Ended(len(data), "body size", said.channel))
    return data, events


@given(st.lists(SAYINGS, max_size=8), st.lists(st.integers(0, 5), min_size=1, max_size=7), SIZES)
def test_finds_exactly_the_messages_that_pamqp_encoded(said: list[Said], choose: list[int], sizes: Sizes) -> None:
    data, events = expected(mixed(said, choose))
    dissector = AmqpDissector()
    assert read(dissector, Side.SERVER, data, sizes) == events
    assert not dissector.finish(Side.SERVER)


@given(st.lists(SAYINGS, min_size=1, max_size=4))
def test_the_parts_of_a_message_are_all_of_it(said: list[Said]) -> None:
    stream, _ = expected([(one, n) for one in said for n in range(len(one.frames))])
    start = 0
    for one in said:
        end = start + len(b"".join(one.frames))
        parts = AmqpDissector().parts(Side.SERVER, stream, start, end)
        assert_covers(parts, start, end)
        assert not any(part.name == "bytes" or "incomplete" in part.note for part in parts)
        assert b"".join(stream[p.start : p.end] for p in parts if p.name == "body") == (one.content or b"")
        assert [p.name for p in parts if p.boundary].count("frame end") == len(one.frames)
        for cut in range(start, end):
            if cut > start:
                assert_covers(AmqpDissector().parts(Side.SERVER, stream, start, cut), start, cut)
        start = end


def test_every_argument_is_named_in_its_place() -> None:
    data = frame.marshal(Basic.Deliver("tag", 7, True, "ex", "key"), 3)
    notes = {part.name: (part.note, data[part.start : part.end]) for part in parts_of(data)}
    assert notes == {
        "frame type": ("1: method", b"\x01"),
        "channel": ("3", b"\x00\x03"),
        "size": (f"{len(data) - 8} bytes of payload", struct.pack(">I", len(data) - 8)),
        "class and method": ("basic.deliver (60, 60)", b"\x00\x3c\x00\x3c"),
        "consumer-tag": ("tag", b"\x03tag"),
        "delivery-tag": ("7", struct.pack(">Q", 7)),
        "redelivered": ("redelivered yes", b"\x01"),
        "exchange": ("ex", b"\x02ex"),
        "routing-key": ("key", b"\x03key"),
        "frame end": ("0xce", b"\xce"),
    }


def test_bits_share_an_octet_and_a_table_is_read() -> None:
    data = frame.marshal(Queue.Declare(queue="q", durable=True, arguments={"x-max-length": 3}), 1)
    found = {part.name: part.note for part in parts_of(data)}
    bits = "passive, durable, exclusive, auto-delete, nowait"
    assert found[bits] == "passive no, durable yes, exclusive no, auto-delete no, nowait no"
    assert found["arguments"] == "x-max-length=3"


def parts_of(data: bytes) -> list[Part]:
    return AmqpDissector().parts(Side.SERVER, data, 0, len(data))


def test_a_connection_begins_with_a_protocol_header() -> None:
    tune = frame.marshal(Connection.TuneOk(0, 131072, 60), 0)
    assert read(AmqpDissector(), Side.CLIENT, HEADER + tune, (3,)) == [
        Started(Role.CONTROL, "protocol header 0-9-1", 0, 8, 0),
        Ended(8, "fixed size"),
        Started(Role.CONTROL, "connection.tune-ok heartbeat 60 s", 8, 8 + len(tune), 0),
        Ended(8 + len(tune), "frame end"),
    ]
    assert [(p.name, p.start, p.end) for p in parts_of(HEADER)] == [
        ("protocol", 0, 4),
        ("zero", 4, 5),
        ("version", 5, 8),
    ]


def test_a_close_that_complains_is_an_error() -> None:
    bye, no_queue = Connection.Close(200, "bye", 0, 0), Channel.Close(404, "NOT_FOUND", 60, 20)
    data = frame.marshal(bye, 0) + frame.marshal(no_queue, 1)
    found = [event for event in read(AmqpDissector(), Side.SERVER, data) if isinstance(event, Started)]
    assert [(event.role, event.label) for event in found] == [
        (Role.CONTROL, "connection.close 200 bye"),
        (Role.ERROR, "channel.close 404 NOT_FOUND"),
    ]


def test_a_content_that_does_not_come_whole_is_cut_short() -> None:
    parts: list[frame.FrameTypes] = [
        Basic.Publish(routing_key="q"),
        header.ContentHeader(body_size=9),
        body.ContentBody(b"four"),
    ]
    data = b"".join(frame.marshal(part, 1) for part in parts)
    dissector = AmqpDissector()
    assert len(dissector.feed(Side.CLIENT, data)) == 1
    assert dissector.feed(Side.CLIENT, frame.marshal(Basic.Ack(1), 1))[0] == Ended(len(data), "cut short", 1)
    assert len(dissector.feed(Side.SERVER, data)) == 1
    assert dissector.finish(Side.SERVER) == [Ended(len(data), "cut short", 1)]


def test_a_method_without_its_content_header_is_no_message() -> None:
    dissector = AmqpDissector()
    assert not dissector.feed(Side.SERVER, frame.marshal(Basic.Deliver("c", 1, False, "", "q"), 1))
    assert not dissector.finish(Side.SERVER)


@pytest.mark.parametrize("size", [1, 5, 1 << 30])
@pytest.mark.parametrize(
    ("data", "reason"),
    {
        b"GET / HTTP/1.1\r\n": "no frame has type 71",
        b"AMQ/1.1\r\n": "no protocol header here",
        b"\x01\x00\x01\x00\x00\x00\x04\x00\x3c\x00\x50\x00": "a frame that ends in 0x00 where 0xce belongs",
        b"\x01\x00\x01" + struct.pack(">I", LIMIT + 1): f"a frame of {LIMIT + 1:,} bytes",
        frame.marshal(body.ContentBody(b"x"), 1): "a content body without its header",
        frame.marshal(header.ContentHeader(body_size=1), 1): "a content header that no method announced",
    }.items(),
)
def test_strange_bytes_are_said_once(data: bytes, reason: str, size: int) -> None:
    dissector = AmqpDissector()
    found = read(dissector, Side.CLIENT, data + heartbeat.Heartbeat.marshal(), (size,))
    assert found == [Started(Role.ERROR, f"not AMQP: {reason}", 0, 0, None)]
    assert dissector.finish(Side.CLIENT) == [Ended(len(data) + 8, "connection closed")]
    assert not dissector.finish(Side.CLIENT)


FRAMES = st.builds(
    lambda kind, channel, payload, end: struct.pack(">BHI", kind, channel, len(payload)) + payload + end,
    st.sampled_from([1, 1, 1, 2, 3, 8]),
    st.integers(0, 2),
    st.builds(
        lambda numbers, rest: struct.pack(">HH", *numbers) + rest, st.sampled_from([*METHODS]), st.binary(max_size=30)
    )
    | st.binary(max_size=20),
    st.sampled_from([b"\xce"] * 9 + [b"\x00"]),
)
GARBAGE = st.one_of(
    st.binary(max_size=60),
    st.lists(FRAMES | SAYINGS.map(lambda said: b"".join(said.frames)), max_size=8).map(b"".join),
    st.just(HEADER),
)


@given(st.lists(st.tuples(st.sampled_from(Side), GARBAGE, SIZES), max_size=6))
def test_no_bytes_are_too_strange_and_packets_make_no_difference(turns: list[tuple[Side, bytes, Sizes]]) -> None:
    at_once, sliced = AmqpDissector(), AmqpDissector()
    sent = [b"", b""]
    for side, data, sizes in turns:
        events = at_once.feed(side, data)
        assert read(sliced, side, data, sizes) == list(events)
        sent[side] += data
        for event in events:
            if isinstance(event, Started):
                assert event.label.isprintable()
                assert event.offset <= event.body_offset <= len(sent[side])
                parts = at_once.parts(side, sent[side], event.offset, len(sent[side]))
                assert_covers(parts, event.offset, len(sent[side]))
    for side in Side:
        assert at_once.finish(side) == sliced.finish(side)


def test_the_registry() -> None:
    assert isinstance(dissector_named("amqp"), AmqpDissector)
