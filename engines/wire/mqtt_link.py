"""One client's connection, as the broker sees it: what each packet that comes in makes it do."""

import math
from typing import TYPE_CHECKING

import trio
from mqtt5 import (
    ConnectPacket,
    DisconnectPacket,
    DisconnectReasonCode,
    Packet,
    PingReqPacket,
    PingRespPacket,
    PubAckPacket,
    PubAckReasonCode,
    PubCompPacket,
    PublishPacket,
    PubRecPacket,
    PubRelPacket,
    SubAckPacket,
    SubscribePacket,
    UnsubAckPacket,
    UnsubscribePacket,
)

from engines.wire.mqtt_grammar import words
from engines.wire.mqtt_outbox import Outbox
from engines.wire.mqtt_packets import FAREWELL_S, MqttConnectionLost, MqttMalformed, MqttStream, message_of
from engines.wire.mqtt_sessions import Session
from engines.wire.mqtt_topics import split_share

if TYPE_CHECKING:
    from engines.wire.mqtt_broker import MqttBroker

GRACE = 1.5
"""Silence of this many Keep Alives, and the client is held to be gone (3.1.2-22)."""


class BrokerLink:
    """A connection that `begin` has given a session."""

    session: Session
    outbox: Outbox

    def __init__(self, broker: "MqttBroker", stream: MqttStream) -> None:
        self.stream = stream
        self._broker = broker
        self._scope = trio.CancelScope()

    def begin(self, session: Session, connect: ConnectPacket) -> None:
        """The client said CONNECT, and this is the session that it gets."""
        self.session = session
        self.outbox = Outbox(self.stream, session.sender, self._broker.show)
        self.stream.silence_s = GRACE * connect.keep_alive or math.inf

    def end(self, reason: DisconnectReasonCode, because: str = "") -> None:
        """Have the conversation ended, with DISCONNECT and that reason, as soon as the client has heard it or is too slow."""
        if not self.outbox.leaving:
            self._note(because or words(reason.name))
            self.outbox.leave(reason)
            self._scope.deadline = trio.current_time() + FAREWELL_S

    async def converse(self) -> None:
        """Until one of the two ends it. Unless the client says goodbye, its will stays in the session to be published."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                await self._listen()
                if self.outbox.leaving:
                    await trio.sleep_forever()  # until the last word is spoken
                nursery.cancel_scope.cancel()
        self.outbox.close()

    async def _write(self) -> None:
        await self.outbox.write()
        if self.outbox.leaving:
            self._scope.cancel()

    async def _listen(self) -> None:
        """Obey the client until it says goodbye, or says nothing more, or something that cannot be."""
        try:
            while not self._obey(await self.stream.receive()):
                pass
        except MqttMalformed as error:
            self.end(error.code, str(error))
        except MqttConnectionLost as error:
            if not self.outbox.leaving:
                self._note(str(error))

    def _note(self, text: str) -> None:
        self._broker.host.note(f"{self.session.client_id} is gone: {text}")

    # --- what the client says -------------------------------------------------------------------------------------------

    def _obey(self, packet: Packet) -> bool:
        """Do what a packet asks for; True when it was the last. Raises MqttMalformed for what may not be said."""
        if self.outbox.leaving:
            return False  # the session may be somebody else's by now
        match packet:
            case PublishPacket():
                self._publish(packet)
            case PubRelPacket():
                self.outbox.say(self.session.receiver.release(packet.packet_id))
            case PubAckPacket() | PubRecPacket() | PubCompPacket():
                answer, _ = self.session.sender.acknowledged(packet)
                if answer is not None:
                    self.outbox.say(answer)
                self.outbox.look()
            case SubscribePacket():
                self._subscribe(packet)
            case UnsubscribePacket():
                codes = [self._broker.sessions.unsubscribe(self.session, text) for text in packet.patterns]
                self.outbox.say(UnsubAckPacket(packet.packet_id, codes))
            case PingReqPacket():
                self.outbox.say(PingRespPacket())
            case DisconnectPacket():
                self._goodbye(packet)
                return True
            case _:
                raise MqttMalformed(f"no client may send {type(packet).__name__}", DisconnectReasonCode.PROTOCOL_ERROR)
        return False

    def _publish(self, packet: PublishPacket) -> None:
        """Take a message over: deliver it, then say so (4.3). A repeated QoS 2 message is only said so again."""
        if packet.topic_alias is not None:  # we have announced none (3.3.2-9)
            raise MqttMalformed("a topic alias", DisconnectReasonCode.TOPIC_ALIAS_INVALID)
        receiver, publish = self.session.receiver, self._broker.publish
        number = packet.packet_id or 0
        if packet.qos == 0:
            publish(message_of(packet), self.session.client_id)
        elif packet.qos == 1:
            copies = publish(message_of(packet), self.session.client_id)
            code = PubAckReasonCode.SUCCESS if copies else PubAckReasonCode.NO_MATCHING_SUBSCRIBERS
            self.outbox.say(PubAckPacket(number, reason_code=code))
        else:
            if not receiver.has(number):
                if len(receiver.held) >= self._broker.policy.receive_maximum():
                    raise MqttMalformed("more than we can take", DisconnectReasonCode.RECEIVE_MAX_EXCEEDED)
                publish(message_of(packet), self.session.client_id)
            self.outbox.say(receiver.take_over(number))

    def _subscribe(self, packet: SubscribePacket) -> None:
        """Subscribe to each filter; SUBACK says for each what it became, before any message comes of it."""
        if not packet.topic_filters or any(f.no_local and split_share(f.pattern)[0] for f in packet.topic_filters):
            raise MqttMalformed("a subscription that cannot be", DisconnectReasonCode.PROTOCOL_ERROR)
        sessions, session = self._broker.sessions, self.session
        codes = [sessions.subscribe(session, asked, packet.subscription_id) for asked in packet.topic_filters]
        self.outbox.say(SubAckPacket(packet.packet_id, codes))

    def _goodbye(self, packet: DisconnectPacket) -> None:
        """DISCONNECT may change how long the session lives (3.14.2.2.2), and takes the will with it unless it says otherwise."""
        session = self.session
        if packet.session_expiry_interval is not None:
            if not session.expiry_s and packet.session_expiry_interval:
                raise MqttMalformed("a session that was to end cannot be kept", DisconnectReasonCode.PROTOCOL_ERROR)
            session.expiry_s = packet.session_expiry_interval
        if packet.reason_code is not DisconnectReasonCode.DISCONNECT_WITH_WILL_MESSAGE:
            session.will = None
