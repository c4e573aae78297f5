"""The two ends of a hop: what QoS 0, 1 and 2 make of a message between one sender and one receiver (section 4.3). Pure.

    QoS 0   PUBLISH →                                       at most once
    QoS 1   PUBLISH →   ← PUBACK                            at least once
    QoS 2   PUBLISH →   ← PUBREC   PUBREL →   ← PUBCOMP     exactly once

Both ends are part of a session, and outlive a connection if the session does. A packet can only be lost together with its
connection, because TCP repairs everything less; hence things are sent again when a connection begins, and at no other time
(4.4). A client has such a pair of ends with its broker, and a broker one with each client.
"""

from collections import deque
from dataclasses import dataclass, field

from mqtt5 import (
    PubAckPacket,
    PubCompPacket,
    PubCompReasonCode,
    PublishPacket,
    PubRecPacket,
    PubRelPacket,
    PubRelReasonCode,
)

from engines.lab.recorder import present_cause
from engines.wire.mqtt_packets import Message

LARGEST_ID = 65_535
_REFUSED = 0x80  # reason codes from here on say no (2.4)


@dataclass(slots=True)
class Flight:
    """A message that was sent with QoS 1 or 2 and that is not settled. `released`: its PUBREC came, PUBREL is what to say."""

    message: Message
    released: bool = False


@dataclass(slots=True)
class Sender:
    """The sending end. Messages wait, are in flight, are settled.

    `quota` is how many more PUBLISH packets with QoS 1 or 2 may go out: Receive Maximum at first, one less with each, one more
    with each that is settled (4.9). It is 0 while there is no connection.
    """

    waiting: deque[Message] = field(default_factory=deque)
    in_flight: dict[int, Flight] = field(default_factory=dict)
    quota: int = 0
    _allowed: int = 0
    _again: deque[int] = field(default_factory=deque)
    _newest: int = 0
    _begun_by: int = -1

    def begin(self, receive_maximum: int) -> None:
        """A connection begins: what was sent and not settled is to be sent again, in its old order (4.4, 4.6)."""
        self.quota = self._allowed = receive_maximum
        self._again = deque(self.in_flight)
        self._begun_by = present_cause()

    def end(self) -> list[Message]:
        """The connection is over; the QoS 0 messages that still waited go with it, and are returned."""
        self.quota = self._allowed = 0
        self._again.clear()
        gone = [message for message in self.waiting if not message.qos]
        self.waiting = deque(message for message in self.waiting if message.qos)
        return gone

    def next_packet(self, now_s: float) -> tuple[PublishPacket | PubRelPacket, int] | None:
        """What to say next, and the fact that is its cause; None when there is nothing, or nothing more for now.

        Messages go out in their order: one that has to wait for quota lets none pass.
        """
        while self._again:
            number = self._again[0]
            flight = self.in_flight.get(number)
            if flight is not None and not flight.released and not self.quota:
                return None
            self._again.popleft()
            if flight is not None:
                return self._repeat(number, flight), self._begun_by
        while self.waiting:
            message = self.waiting[0]
            if message.expires_s > now_s and message.qos and not self.quota:
                return None
            self.waiting.popleft()
            if message.expires_s > now_s:
                return self._first(message), message.cause
        return None

    def _repeat(self, number: int, flight: Flight) -> PublishPacket | PubRelPacket:
        if flight.released:
            return PubRelPacket(number)
        self.quota -= 1
        return flight.message.as_packet(number, duplicate=True)

    def _first(self, message: Message) -> PublishPacket:
        if not message.qos:
            return message.as_packet(None)
        self._newest = self._free_id()
        self.in_flight[self._newest] = Flight(message)
        self.quota -= 1
        return message.as_packet(self._newest)

    def _free_id(self) -> int:
        number = self._newest % LARGEST_ID + 1
        while number in self.in_flight:
            number = number % LARGEST_ID + 1
        return number

    def acknowledged(
        self, packet: PubAckPacket | PubRecPacket | PubCompPacket
    ) -> tuple[PubRelPacket | None, Message | None]:
        """The receiver has said something: what to answer, and the message that is settled by it.

        A PUBREC is answered even when nobody knows of the message any more: the receiver waits for PUBREL (4.3.3).
        """
        number = packet.packet_id
        flight = self.in_flight.get(number)
        if isinstance(packet, PubRecPacket) and int(packet.reason_code) < _REFUSED:
            if flight is None:
                return PubRelPacket(number, reason_code=PubRelReasonCode.PACKET_ID_NOT_FOUND), None
            flight.released = True
            return PubRelPacket(number), None
        if flight is None:
            return None, None
        del self.in_flight[number]
        self.quota = min(self._allowed, self.quota + 1)
        return None, flight.message

    def discard(self) -> list[Message]:
        """The session is over. Returns what the receiver had not taken over, in order; what had its PUBREC is the receiver's."""
        left = [flight.message for flight in self.in_flight.values() if not flight.released] + list(self.waiting)
        self.in_flight.clear()
        self.waiting.clear()
        self._again.clear()
        return left


@dataclass(slots=True)
class Receiver:
    """The receiving end: of messages with QoS 2 it remembers the packet id from taking them over until PUBREL (4.3.3)."""

    held: dict[int, None] = field(default_factory=dict)

    def has(self, packet_id: int) -> bool:
        """Whether it has taken over that QoS 2 message already: then this PUBLISH is a repetition, whatever its DUP says."""
        return packet_id in self.held

    def take_over(self, packet_id: int) -> PubRecPacket:
        """From here on the message is ours, and the sender may forget it."""
        self.held[packet_id] = None
        return PubRecPacket(packet_id)

    def release(self, packet_id: int) -> PubCompPacket:
        """The sender will not repeat it any more: so the id can be forgotten."""
        known = self.held.pop(packet_id, 0) is None
        code = PubCompReasonCode.SUCCESS if known else PubCompReasonCode.PACKET_ID_NOT_FOUND
        return PubCompPacket(packet_id, reason_code=code)

    def discard(self) -> None:
        """The session is over."""
        self.held.clear()
