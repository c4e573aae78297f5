"""MQTT 5 over a byte stream, the same for both peers: control packets out and in, and the messages that they carry.

The library mqtt5 encodes and decodes packets. Where one ends, its fixed header says (section 2.1), and that is read here:
what lacks a byte is waited for, and what lies about its length is malformed. Sections are those of the OASIS standard.
"""

import math
from contextlib import suppress
from dataclasses import dataclass, field, replace

import mqtt5
import trio
from mqtt5 import DisconnectPacket, DisconnectReasonCode, Packet, PublishPacket, QoS

from engines.lab.recorder import present_cause
from engines.wire.mqtt_grammar import IncompleteError, MalformedError, fixed_header, words

PORT = 1883
RECEIVE_MAXIMUM = 65_535
"""What holds where CONNECT or CONNACK say nothing of a Receive Maximum (3.1.2.11.3, 3.2.2.3.3)."""
NEVER = 0xFFFFFFFF
"""A Session Expiry Interval that is no limit (3.1.2.11.2)."""
HANDSHAKE_S = 10.0
"""How long either peer waits for the first packet of the other; the standard says only "a reasonable amount of time"."""

FAREWELL_S = 1.0
"""How long DISCONNECT is tried with a peer that may not be listening."""


class MqttConnectionLost(Exception):
    """The connection is gone: closed, reset, or silent for too long."""


class MqttMalformed(MqttConnectionLost):
    """The peer sent what no packet may look like, or what the standard forbids it to send now. `code` says it on the wire."""

    def __init__(self, text: str, code: DisconnectReasonCode = DisconnectReasonCode.MALFORMED_PACKET) -> None:
        super().__init__(text)
        self.code = code


class MqttDisconnected(MqttConnectionLost):
    """The peer said DISCONNECT, with the reason `code`."""

    def __init__(self, code: DisconnectReasonCode) -> None:
        super().__init__(f"disconnected by the peer: {words(code.name)}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Properties:
    """What a message says of itself besides its payload; a broker passes it on unaltered (3.3.2.3)."""

    payload_format_indicator: int = 0
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    user_properties: tuple[tuple[str, str], ...] = ()


PLAIN = Properties()


@dataclass(frozen=True, slots=True)
class Message:
    """An application message on its way over one hop, from client to broker or from broker to client.

    `expires_s` is the virtual time at which it is worth nothing any more. `share` names the shared subscription through which
    a broker chose this receiver. `cause` is the fact because of which it is sent.
    """

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = PLAIN
    expires_s: float = math.inf
    subscription_ids: tuple[int, ...] = ()
    share: str = ""
    cause: int = field(default_factory=present_cause, compare=False)

    def as_packet(self, packet_id: int | None, *, duplicate: bool = False) -> PublishPacket:
        """The message as PUBLISH; of its lifetime, what is left of it is said (3.3.2.3.3)."""
        left_s = self.expires_s - trio.current_time() if self.expires_s < math.inf else None
        of = self.properties
        return PublishPacket(
            self.topic,
            self.payload,
            qos=QoS(self.qos),
            retain=self.retain,
            packet_id=packet_id,
            duplicate=duplicate,
            message_expiry_interval=None if left_s is None else max(0, math.ceil(left_s)),
            subscription_ids=list(self.subscription_ids),
            payload_format_indicator=of.payload_format_indicator,
            content_type=of.content_type,
            response_topic=of.response_topic,
            correlation_data=of.correlation_data,
            user_properties=list(of.user_properties),
        )


def message_of(packet: PublishPacket | mqtt5.Will) -> Message:
    """The message that a packet, or a CONNECT's will, carries."""
    lifetime_s = packet.message_expiry_interval
    properties = Properties(
        packet.payload_format_indicator,
        packet.content_type,
        packet.response_topic,
        packet.correlation_data,
        tuple(packet.user_properties),
    )
    message = Message(packet.topic, packet.payload or b"", int(packet.qos), packet.retain, properties)
    return message if lifetime_s is None else replace(message, expires_s=trio.current_time() + lifetime_s)


class MqttStream:
    """One connection. `silence_s` is how long the peer may say nothing before it is held for dead (3.1.2.10)."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.silence_s = math.inf
        self.last_sent_s = trio.current_time()
        self.sending = False
        self._stream = stream
        self._received = bytearray()
        self._turn = trio.Lock()

    async def send(self, packet: Packet) -> None:
        """Send one packet. Raises MqttConnectionLost."""
        data = packet.write()
        async with self._turn:
            self.sending = True
            try:
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise MqttConnectionLost(str(error)) from error
            finally:
                self.sending = False
        self.last_sent_s = trio.current_time()

    async def receive(self) -> Packet:
        """The next packet. Raises MqttConnectionLost, or MqttMalformed when it is none.

        It always lets others run, so that a peer that says much at once does not keep them from answering.
        """
        try:
            with trio.fail_after(self.silence_s):
                while not (end := packet_end(self._received)):
                    await self._receive_more()
        except trio.TooSlowError:
            raise MqttMalformed(f"silence for {self.silence_s:g} s", DisconnectReasonCode.KEEP_ALIVE_TIMEOUT) from None
        data = bytes(self._received[:end])
        del self._received[:end]
        await trio.lowlevel.checkpoint()
        return decoded(data)

    async def _receive_more(self) -> None:
        try:
            data = await self._stream.receive_some()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise MqttConnectionLost(str(error)) from error
        if not data:
            raise MqttConnectionLost("closed by the peer")
        self._received += data

    async def say_last(self, reason: DisconnectReasonCode) -> None:
        """DISCONNECT, if the peer hears it."""
        with trio.move_on_after(FAREWELL_S), suppress(MqttConnectionLost):
            await self.send(DisconnectPacket(reason_code=reason))

    async def close(self) -> None:
        """Close the connection under the protocol, without waiting."""
        await trio.aclose_forcefully(self._stream)


def packet_end(data: bytes | bytearray) -> int:
    """Where the packet at the start of `data` ends, or 0 when too little of it has come. Raises MqttMalformed."""
    try:
        end = fixed_header(data, 0).end
    except IncompleteError:
        return 0
    except MalformedError as error:
        raise MqttMalformed(f"no packet of MQTT 5: {error}") from error
    return end if end <= len(data) else 0


def decoded(data: bytes) -> Packet:
    """The packet that is all of `data`. Raises MqttMalformed: the codec has several ways to say so."""
    try:
        packet, size = mqtt5.read(memoryview(data))
    except (ValueError, IndexError, OverflowError) as error:
        raise MqttMalformed(f"no packet of MQTT 5: {error}") from error
    if size != len(data):
        raise MqttMalformed("a packet that is shorter than it says")
    return packet
