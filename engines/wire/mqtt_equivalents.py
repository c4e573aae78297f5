"""The Mosquitto command that would send the same PUBLISH or SUBSCRIBE. Which packet id it takes is its own choice."""

import mqtt5

from engines.wire.mqtt_packets import MqttMalformed, decoded, packet_end


def mosquitto_arguments(data: bytes, body_file: str, most_inline: int) -> list[str] | None:
    """`mosquitto_pub` or `mosquitto_sub` with its arguments, but for host and port; None where neither says the same.

    The manual of Mosquitto 2.0 has the options. A payload that is long, or no text, is to be in the file `body_file`.
    """
    try:
        packet = decoded(data[: packet_end(data)])
    except MqttMalformed:
        return None
    if isinstance(packet, mqtt5.PublishPacket):
        return _published(packet, body_file, most_inline)
    if isinstance(packet, mqtt5.SubscribePacket):
        return _subscribed(packet)
    return None


def _published(packet: mqtt5.PublishPacket, body_file: str, most_inline: int) -> list[str] | None:
    """A repetition nobody can order, and properties would be options of their own."""
    plain = mqtt5.PublishPacket(
        packet.topic, packet.payload, qos=packet.qos, retain=packet.retain, packet_id=packet.packet_id
    )
    if plain.write() != packet.write() or not packet.topic.isprintable():
        return None
    payload = ["-m", text] if (text := _as_text(packet.payload, most_inline)) else ["-f", body_file]
    return [
        "mosquitto_pub", "-t", packet.topic, "-q", str(int(packet.qos)), *(["-r"] if packet.retain else []),
        *(payload if packet.payload else ["-n"]),
    ]  # fmt: skip


def _subscribed(packet: mqtt5.SubscribePacket) -> list[str] | None:
    """All filters of one command have one QoS, and no options besides."""
    qos = {int(asked.max_qos) for asked in packet.topic_filters}
    plain = [
        mqtt5.TopicFilter(asked.pattern, max_qos=asked.max_qos, retain_as_published=False)
        for asked in packet.topic_filters
    ]
    same = mqtt5.SubscribePacket(packet.packet_id, plain).write() == packet.write()
    if len(qos) != 1 or not same or not all(asked.pattern.isprintable() for asked in plain):
        return None
    filters = [word for asked in plain for word in ("-t", asked.pattern)]
    return ["mosquitto_sub", *filters, "-q", str(qos.pop())]


def _as_text(payload: bytes, most_inline: int) -> str:
    """The payload as text that survives a terminal's clipboard, or ""."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return ""
    return text if len(payload) <= most_inline and text.replace("\n", " ").isprintable() else ""
