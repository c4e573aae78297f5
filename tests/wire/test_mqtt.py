"""The MQTT dissector: packets that the library mqtt5 encodes, cut anywhere; then labels, parts, and bytes that are none."""

from dataclasses import dataclass

import mqtt5
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqtt5 import ConnAckReasonCode, DisconnectReasonCode, PubAckReasonCode, QoS, SubAckReasonCode, UnsubAckReasonCode

from engines.lab.dissection import Ended, Part, Side, Started
from engines.lab.facts import Role
from engines.wire.dissectors import dissector_named
from engines.wire.mqtt import MqttDissector
from tests.wire.conversations import Event, Sizes, assert_covers, read

SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=6).map(tuple) | st.sampled_from([(1,), (1 << 30,)])


@dataclass(frozen=True)
class Said:
    """A packet, and what is to be said of it."""

    role: Role
    label: str
    packet: mqtt5.Packet

    @property
    def data(self) -> bytes:
        return self.packet.write()

    @property
    def payload(self) -> bytes:
        return self.packet.payload if isinstance(self.packet, mqtt5.PublishPacket) else b""


IDS = st.integers(1, 65_535)
TOPICS = st.text("abc/", min_size=1, max_size=12)
USERS = st.lists(st.tuples(st.text("ab", max_size=3), st.text("ab", max_size=3)), max_size=2)
NUMBERS = st.none() | st.integers(0, 2**32 - 1)


def published(
    topic: str, payload: bytes, qos: int, number: int, duplicate: bool, retain: bool, lifetime: int | None,
    users: list[tuple[str, str]], subscriptions: list[int],
) -> Said:  # fmt: skip
    packet = mqtt5.PublishPacket(
        topic, payload, qos=QoS(qos), packet_id=number if qos else None, duplicate=duplicate and qos > 0, retain=retain,
        message_expiry_interval=lifetime, user_properties=users, subscription_ids=subscriptions, content_type="text/plain",
    )  # fmt: skip
    label = "PUBLISH" + (f" QoS {qos} id {number}" if qos else "") + " DUP" * packet.duplicate + " RETAIN" * retain
    label += f" {topic}"
    return Said(Role.PUSH, label, packet)


def connect(client_id: str, clean: bool, expiry: int, will: bool, user: str | None) -> Said:
    packet = mqtt5.ConnectPacket(
        client_id, clean_start=clean, session_expiry_interval=expiry, keep_alive=60, receive_max=7, username=user,
        will=mqtt5.Will("gone", payload=b"x", will_delay_interval=3) if will else None,
    )  # fmt: skip
    label = "CONNECT" + f" {client_id}" * bool(client_id) + " clean start" * clean + " will gone" * will
    return Said(Role.REQUEST, label, packet)


SAYINGS = st.one_of(
    st.builds(
        published, TOPICS, st.binary(max_size=300), st.integers(0, 2), IDS, st.booleans(), st.booleans(), NUMBERS, USERS,
        st.lists(st.integers(1, 2**28 - 1), max_size=2),
    ),
    st.builds(
        connect, st.text("abc", max_size=5), st.booleans(), st.integers(0, 9), st.booleans(), st.sampled_from([None, "me"])
    ),
    st.builds(lambda n: Said(Role.ACK, f"PUBACK {n}", mqtt5.PubAckPacket(n)), IDS),
    st.builds(lambda n: Said(Role.ACK, f"PUBREC {n}", mqtt5.PubRecPacket(n)), IDS),
    st.builds(lambda n: Said(Role.CONTROL, f"PUBREL {n}", mqtt5.PubRelPacket(n)), IDS),
    st.builds(lambda n: Said(Role.ACK, f"PUBCOMP {n}", mqtt5.PubCompPacket(n, reason_str="so")), IDS),
    st.builds(
        lambda n, text, qos: Said(
            Role.REQUEST, f"SUBSCRIBE {text}/# QoS {qos}",
            mqtt5.SubscribePacket(n, [mqtt5.TopicFilter(f"{text}/#", max_qos=QoS(qos))], subscription_id=9),
        ),
        IDS, TOPICS, st.integers(0, 2),
    ),
    st.builds(
        lambda n: Said(Role.RESPONSE, "SUBACK QoS 1", mqtt5.SubAckPacket(n, [SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE])),
        IDS,
    ),
    st.sampled_from([
        Said(Role.RESPONSE, "CONNACK", mqtt5.ConnAckPacket()),
        Said(Role.RESPONSE, "CONNACK session present", mqtt5.ConnAckPacket(session_present=True, receive_max=5)),
        Said(Role.REQUEST, "UNSUBSCRIBE a, b", mqtt5.UnsubscribePacket(3, ["a", "b"])),
        Said(Role.RESPONSE, "UNSUBACK 3", mqtt5.UnsubAckPacket(3, [UnsubAckReasonCode.SUCCESS])),
        Said(Role.HEARTBEAT, "PINGREQ", mqtt5.PingReqPacket()),
        Said(Role.HEARTBEAT, "PINGRESP", mqtt5.PingRespPacket()),
        Said(Role.CONTROL, "DISCONNECT", mqtt5.DisconnectPacket()),
    ]),
)  # fmt: skip


def expected(said: list[Said]) -> tuple[bytes, list[Event]]:
    data, events = b"", list[Event]()
    for one in said:
        start, data = len(data), data + one.data
        body = len(data) - len(one.payload)
        events += Started(one.role, one.label, start, body, len(one.payload)), Ended(len(data), "remaining length")
    return data, events


@given(st.lists(SAYINGS, max_size=6), SIZES)
def test_finds_exactly_the_packets_that_the_codec_encoded(said: list[Said], sizes: Sizes) -> None:
    data, events = expected(said)
    dissector = MqttDissector()
    assert read(dissector, Side.SERVER, data, sizes) == events
    assert not dissector.finish(Side.SERVER)


@given(st.lists(SAYINGS, min_size=1, max_size=3))
def test_the_parts_of_a_packet_are_all_of_it(said: list[Said]) -> None:
    stream, events = expected(said)
    for one, started, ended in zip(said, events[::2], events[1::2], strict=True):
        assert isinstance(started, Started)
        assert isinstance(ended, Ended)
        parts = MqttDissector().parts(Side.CLIENT, stream, started.offset, ended.end)
        assert_covers(parts, started.offset, ended.end)
        assert not any(part.name == "bytes" or part.note == "incomplete" for part in parts)
        assert b"".join(stream[p.start : p.end] for p in parts if p.name == "payload") == one.payload
        for cut in range(started.offset + 1, ended.end):
            assert_covers(MqttDissector().parts(Side.CLIENT, stream, started.offset, cut), started.offset, cut)


def parts_of(packet: mqtt5.Packet) -> list[Part]:
    data = packet.write()
    return MqttDissector().parts(Side.CLIENT, data, 0, len(data))


def test_every_field_of_a_publish_is_named_in_its_place() -> None:
    packet = mqtt5.PublishPacket(
        "news/1", b"hello", qos=QoS(2), packet_id=7, duplicate=True, retain=True, message_expiry_interval=60,
        user_properties=[("k", "v")],
    )  # fmt: skip
    data = packet.write()
    assert [(part.name, data[part.start : part.end], part.note, part.boundary) for part in parts_of(packet)] == [
        ("packet type and flags", b"\x3d", "3: PUBLISH, QoS 2, DUP, RETAIN", False),
        ("remaining length", b"\x1c", "28 bytes follow", True),
        ("topic length", b"\x00\x06", "6", True),
        ("topic", b"news/1", "news/1", False),
        ("packet id", b"\x00\x07", "7", False),
        ("properties length", b"\x0c", "12 bytes", True),
        ("message expiry interval", b"\x02\x00\x00\x00\x3c", "60", False),
        ("user property", b"\x26\x00\x01k\x00\x01v", "k = v", False),
        ("payload", b"hello", "5 bytes", False),
    ]


def test_a_long_packet_has_a_long_remaining_length() -> None:
    """Section 1.5.5: 128 bytes need two octets, 16,384 three, 2,097,152 four."""
    for size, octets in ((127, 1), (128, 2), (16_383, 2), (16_384, 3), (2_097_151, 3), (2_097_152, 4)):
        packet = mqtt5.PublishPacket("t", b"x" * (size - 4))
        length = next(part for part in parts_of(packet) if part.name == "remaining length")
        assert (length.end - length.start, length.note) == (octets, f"{size:,} bytes follow")


@pytest.mark.parametrize(
    ("packet", "role", "label"),
    [
        (mqtt5.ConnAckPacket(reason_code=ConnAckReasonCode.SERVER_BUSY), Role.ERROR, "CONNACK server busy"),
        (mqtt5.DisconnectPacket(reason_code=DisconnectReasonCode.KEEP_ALIVE_TIMEOUT), Role.ERROR,
         "DISCONNECT keep alive timeout"),
        (mqtt5.DisconnectPacket(reason_code=DisconnectReasonCode.DISCONNECT_WITH_WILL_MESSAGE), Role.CONTROL,
         "DISCONNECT disconnect with will message"),
        (mqtt5.PubAckPacket(3, reason_code=PubAckReasonCode.NO_MATCHING_SUBSCRIBERS), Role.ACK,
         "PUBACK 3 no matching subscribers"),
        (mqtt5.PubAckPacket(3, reason_code=PubAckReasonCode.NOT_AUTHORIZED), Role.ERROR, "PUBACK 3 not authorized"),
        (mqtt5.SubAckPacket(1, [SubAckReasonCode.TOPIC_FILTER_INVALID]), Role.ERROR, "SUBACK topic filter invalid"),
        (mqtt5.SubAckPacket(1, [SubAckReasonCode.TOPIC_FILTER_INVALID, SubAckReasonCode.GRANTED_QOS_EXACTLY_ONCE]),
         Role.RESPONSE, "SUBACK topic filter invalid, QoS 2"),
    ],
)  # fmt: skip
def test_bad_news_says_so(packet: mqtt5.Packet, role: Role, label: str) -> None:
    started = MqttDissector().feed(Side.SERVER, packet.write())[0]
    assert isinstance(started, Started)
    assert (started.role, started.label) == (role, label)


def test_a_payload_that_does_not_come_whole_is_cut_short() -> None:
    data = mqtt5.PublishPacket("t", b"hello").write()
    dissector = MqttDissector()
    assert len(dissector.feed(Side.CLIENT, data[:-2])) == 1
    assert dissector.finish(Side.CLIENT) == [Ended(len(data) - 2, "cut short")]


@pytest.mark.parametrize("size", [1, 3, 1 << 30])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x00\x00", "no packet has type 0"),
        (b"\x36\x05\x00\x01a\x00\x01", "a PUBLISH with QoS 3"),
        (b"\x60\x02\x00\x01", "PUBREL with flags 0"),
        (b"GET / HTTP/1.1\r\n", "PUBACK with flags 7"),
        (b"\x30\xff\xff\xff\xff\x01", "a length of more than four octets"),
        (b"\x30\x03\x00\x05a", "a field that is longer than its packet"),
        (b"\x30\x05\x00\x01a\x09\x01", "properties that are longer than their packet"),
        (b"\x30\x06\x00\x01a\x02\x07\x01", "no property has the identifier 7"),
        (b"\xc0\x01\x00", "PINGREQ with 1 bytes too many"),
        (b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00", "protocol version 4"),
    ],
)
def test_strange_bytes_are_said_once(data: bytes, reason: str, size: int) -> None:
    dissector = MqttDissector()
    found = read(dissector, Side.CLIENT, data + b"\xc0\x00", (size,))
    assert found == [Started(Role.ERROR, f"not MQTT 5: {reason}", 0, 0, None)]
    assert dissector.finish(Side.CLIENT) == [Ended(len(data) + 2, "connection closed")]
    assert not dissector.finish(Side.CLIENT)


GARBAGE = st.one_of(
    st.binary(max_size=60),
    st.lists(SAYINGS.map(lambda said: said.data) | st.binary(max_size=4), max_size=5).map(b"".join),
    st.builds(
        lambda kind, flags, body: bytes([kind << 4 | flags, len(body)]) + body,
        st.integers(0, 15), st.sampled_from([0, 0, 2, 1, 4, 8]), st.binary(max_size=30),
    ),
)  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(Side), GARBAGE, SIZES), max_size=5))
def test_no_bytes_are_too_strange_and_packets_make_no_difference(turns: list[tuple[Side, bytes, Sizes]]) -> None:
    at_once, sliced = MqttDissector(), MqttDissector()
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


@given(GARBAGE)
def test_what_the_codec_reads_the_dissector_reads_too(data: bytes) -> None:
    """Whoever watches must see at least what the peers see."""
    try:
        _, size = mqtt5.read(memoryview(data))
    except (ValueError, IndexError, OverflowError):
        return
    events = MqttDissector().feed(Side.CLIENT, data[:size])
    assert isinstance(events[0], Started)
    assert not events[0].label.startswith("not MQTT")


def test_the_registry() -> None:
    assert isinstance(dissector_named("mqtt"), MqttDissector)
