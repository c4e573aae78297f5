"""The equivalent Mosquitto command, word by word; and none where it would say something else."""

import mqtt5
import pytest
from mqtt5 import QoS, RetainHandling, TopicFilter

from engines.wire.equivalents import MAX_INLINE_BYTES, equivalent_command


def command(packet: mqtt5.Packet, port: int = 1883) -> str | None:
    return equivalent_command("mqtt", packet.write(), "broker", port)


def asked(text: str, qos: int = 0, **options: object) -> TopicFilter:
    return TopicFilter(text, max_qos=QoS(qos), retain_as_published=False, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (mqtt5.PublishPacket("a/b", b"it's"), "mosquitto_pub -V 5 -h broker -t a/b -q 0 -m 'it'\"'\"'s'"),
        (mqtt5.PublishPacket("a", b"x", qos=QoS(2), packet_id=7, retain=True), "mosquitto_pub -V 5 -h broker -t a -q 2 -r -m x"),
        (mqtt5.PublishPacket("a", b"", retain=True), "mosquitto_pub -V 5 -h broker -t a -q 0 -r -n"),
        (mqtt5.PublishPacket("a", b"\xff"), "mosquitto_pub -V 5 -h broker -t a -q 0 -f body.bin"),
        (mqtt5.PublishPacket("a", b"x" * (MAX_INLINE_BYTES + 1)), "mosquitto_pub -V 5 -h broker -t a -q 0 -f body.bin"),
        (mqtt5.SubscribePacket(1, [asked("a/#", 1)]), "mosquitto_sub -V 5 -h broker -t 'a/#' -q 1"),
        (mqtt5.SubscribePacket(1, [asked("$share/g/a"), asked("b")]),
         "mosquitto_sub -V 5 -h broker -t '$share/g/a' -t b -q 0"),
    ],
)  # fmt: skip
def test_word_by_word(packet: mqtt5.Packet, expected: str) -> None:
    assert command(packet) == expected
    assert command(packet, 1884) == expected.replace("-h broker", "-h broker -p 1884")


@pytest.mark.parametrize(
    "packet",
    [
        mqtt5.PublishPacket("a", b"x", qos=QoS(1), packet_id=1, duplicate=True),
        mqtt5.PublishPacket("a", b"x", user_properties=[("k", "v")]),
        mqtt5.SubscribePacket(1, [asked("a", 1), asked("b", 2)]),
        mqtt5.SubscribePacket(1, [asked("a", no_local=True)]),
        mqtt5.SubscribePacket(1, [asked("a", retain_handling=RetainHandling.SEND_NEVER)]),
        mqtt5.SubscribePacket(1, [asked("a")], subscription_id=4),
        mqtt5.PingReqPacket(),
        mqtt5.PubAckPacket(1),
    ],
)
def test_no_command_where_none_would_be_right(packet: mqtt5.Packet) -> None:
    assert command(packet) is None


def test_half_a_packet_and_no_packet_have_no_command() -> None:
    data = mqtt5.PublishPacket("a", b"hello").write()
    assert equivalent_command("mqtt", data[:-1], "broker", 1883) is None
    assert equivalent_command("mqtt", b"", "broker", 1883) is None
    assert equivalent_command("mqtt", b"\x00\x00", "broker", 1883) is None
