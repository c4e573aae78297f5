"""An MQTT 5 client: a session, and a connection that carries it; messages published, subscribed to, acknowledged.

A session outlives its connections if both peers agree that it does. What a program publishes goes into the session, and out
of it as soon as there is a connection; what is not settled when the connection breaks goes out again on the next one. A
connection that is lost says so wherever somebody uses it, with MqttConnectionLost.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import mqtt5
import trio
from mqtt5 import (
    ConnAckPacket,
    ConnAckReasonCode,
    ConnectPacket,
    DisconnectPacket,
    DisconnectReasonCode,
    PingReqPacket,
    PingRespPacket,
    PubAckPacket,
    PubCompPacket,
    PublishPacket,
    PubRecPacket,
    PubRelPacket,
    QoS,
    RetainHandling,
    SubAckPacket,
    SubscribePacket,
    TopicFilter,
    UnsubAckPacket,
    UnsubscribePacket,
)

from engines.lab.host import Host
from engines.lab.recorder import because_of, present_cause
from engines.wire.mqtt_delivery import LARGEST_ID, Receiver, Sender
from engines.wire.mqtt_grammar import words
from engines.wire.mqtt_outbox import Outbox
from engines.wire.mqtt_packets import (
    HANDSHAKE_S,
    PLAIN,
    PORT,
    RECEIVE_MAXIMUM,
    Message,
    MqttConnectionLost,
    MqttDisconnected,
    MqttMalformed,
    MqttStream,
    Properties,
)

KEEP_ALIVE_S = 60
"""What mosquitto_sub asks for unless told otherwise."""


class MqttRefused(MqttConnectionLost):
    """The broker answered CONNECT with a reason why not."""

    def __init__(self, code: ConnAckReasonCode) -> None:
        super().__init__(f"refused: {words(code.name)}")
        self.code = code


@dataclass(slots=True, eq=False)
class ClientSession:
    """A client's side of a session (4.1). Kept on a disk, it survives the program.

    `on_settled` is told of each message that the broker has taken over: with QoS 1 and 2 when it has said so.
    """

    sender: Sender = field(default_factory=Sender)
    receiver: Receiver = field(default_factory=Receiver)
    on_settled: Callable[[Message], None] = lambda message: None
    _outbox: Outbox | None = None

    @property
    def connected(self) -> bool:
        """Whether a connection carries the session now."""
        return self._outbox is not None

    @property
    def unsettled(self) -> int:
        """How many messages are not known to have arrived."""
        return len(self.sender.waiting) + len(self.sender.in_flight)

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False, properties: Properties = PLAIN
    ) -> bool:
        """Publish a message as soon as may be. With QoS 0 that is now or, without a connection, never: then False."""
        if not qos and self._outbox is None:
            return False
        self.sender.waiting.append(Message(topic, payload, qos, retain, properties))
        if self._outbox is not None:
            self._outbox.look()
        return True

    def carried_by(self, outbox: Outbox | None) -> None:
        """A connection begins to carry the session, or none does any more."""
        self._outbox = outbox
        if outbox is None:
            self.sender.end()

    def begin_anew(self) -> None:
        """The broker knows nothing of this session: what it has not taken over is published again, as new messages (3.2.2-5)."""
        self.receiver.discard()
        taken_over = [flight.message for flight in self.sender.in_flight.values() if flight.released]
        self.sender.waiting = deque(self.sender.discard())
        for message in taken_over:
            self.on_settled(message)


@asynccontextmanager
async def mqtt_connect(
    host: Host,
    broker: str,
    client_id: str = "",
    *,
    port: int = PORT,
    session: ClientSession | None = None,
    clean_start: bool = True,
    session_expiry_s: int = 0,
    keep_alive_s: int = KEEP_ALIVE_S,
    receive_maximum: int = RECEIVE_MAXIMUM,
    will: mqtt5.Will | None = None,
) -> AsyncIterator["MqttClient"]:
    """A connection, open while inside. Raises OSError or MqttConnectionLost when there can be none.

    What the body raises comes out as it is, not in a group, although tasks of the connection run beside it; and the broker
    then publishes the will, because only a body that ends by itself says goodbye.
    """
    hello = ConnectPacket(
        client_id,
        clean_start=clean_start,
        session_expiry_interval=session_expiry_s,
        keep_alive=keep_alive_s,
        receive_max=receive_maximum,
        will=will,
    )
    try:
        with trio.fail_after(HANDSHAKE_S):
            endpoint = await host.connect(broker, port)
    except trio.TooSlowError:
        host.timed_out("connect", HANDSHAKE_S)
        raise MqttConnectionLost(f"no connection within {HANDSHAKE_S:g} s") from None
    async with mqtt_over(endpoint, hello, session or ClientSession()) as client:
        yield client


@asynccontextmanager
async def mqtt_over(
    transport: trio.abc.Stream, hello: ConnectPacket, session: ClientSession
) -> AsyncIterator["MqttClient"]:
    """The same over a stream that is open already, whatever it runs on."""
    failure: Exception | None = None
    stream = MqttStream(transport)
    try:
        accepted = await _shake_hands(stream, hello)
        if not accepted.session_present:
            session.begin_anew()
        client = MqttClient(stream, session, accepted)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.outbox.write)
            nursery.start_soon(client.read)
            nursery.start_soon(client.ping, accepted.server_keep_alive or hello.keep_alive)
            session.carried_by(client.outbox)
            session.sender.begin(accepted.receive_max)
            client.outbox.look()
            try:
                yield client
                await client.outbox.finish()
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel()
    finally:
        session.carried_by(None)
        await stream.close()
    if failure is not None:
        raise failure


async def _shake_hands(stream: MqttStream, hello: ConnectPacket) -> ConnAckPacket:
    """CONNECT, and CONNACK with good news. Raises MqttConnectionLost."""
    try:
        with trio.fail_after(HANDSHAKE_S):
            await stream.send(hello)
            answer = await stream.receive()
    except trio.TooSlowError:
        raise MqttConnectionLost(f"no CONNACK within {HANDSHAKE_S:g} s") from None
    if isinstance(answer, DisconnectPacket):
        raise MqttDisconnected(answer.reason_code)
    if not isinstance(answer, ConnAckPacket):
        raise MqttMalformed(f"{type(answer).__name__} came where CONNACK belongs", DisconnectReasonCode.PROTOCOL_ERROR)
    if answer.reason_code is not ConnAckReasonCode.SUCCESS:
        raise MqttRefused(answer.reason_code)
    return answer


class MqttClient:
    """An open connection. Made by `mqtt_connect`. Iterate over it for the messages that come in, in their order.

    Iteration raises MqttConnectionLost when there will be no more. What waited then and needs acknowledgement is left alone: if
    the session goes on, it comes again. What came with QoS 0 is still handed out.
    """

    def __init__(self, stream: MqttStream, session: ClientSession, accepted: ConnAckPacket) -> None:
        self.session = session
        self.session_present = accepted.session_present
        self.client_id = accepted.assigned_client_id
        self.failure: MqttConnectionLost | None = None
        self.outbox = Outbox(stream, session.sender)
        self._stream = stream
        self._inbox: deque[Received] = deque()
        self._arrival = trio.lowlevel.ParkingLot()
        self._questions: dict[int, tuple[trio.Event, list[SubAckPacket | UnsubAckPacket]]] = {}
        self._newest = 0
        self._pong = trio.Event()

    # --- what a program asks for ----------------------------------------------------------------------------------------

    async def subscribe(
        self,
        topic_filter: str,
        qos: int = 0,
        *,
        no_local: bool = False,
        retain_handling: RetainHandling = RetainHandling.SEND_ALWAYS,
        identifier: int | None = None,
    ) -> int:
        """Subscribe; returns the reason code: the QoS that was granted, or 128 and more for no. Raises MqttConnectionLost."""
        number = self._next_id()
        asked = TopicFilter(
            topic_filter,
            max_qos=QoS(qos),
            no_local=no_local,
            retain_as_published=False,
            retain_handling=retain_handling,
        )
        answer = await self._ask(SubscribePacket(number, [asked], subscription_id=identifier), number)
        return int(answer.reason_codes[0])

    async def unsubscribe(self, topic_filter: str) -> int:
        """Unsubscribe; returns the reason code. Raises MqttConnectionLost."""
        number = self._next_id()
        return int((await self._ask(UnsubscribePacket(number, [topic_filter]), number)).reason_codes[0])

    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        """Publish through the session. Raises MqttConnectionLost if this connection does not carry it any more."""
        self.check()
        self.session.publish(topic, payload, qos=qos, retain=retain)

    @property
    def waiting(self) -> int:
        """How many messages have come and not been looked at."""
        return len(self._inbox)

    def check(self) -> None:
        """Raise MqttConnectionLost if the connection is of no use any more."""
        if self.failure is not None:
            raise self.failure

    async def wait_lost(self) -> None:
        """Wait until the connection is lost, for those who only publish. Raises MqttConnectionLost, sooner or later."""
        async for _ in self:
            pass

    def __aiter__(self) -> "MqttClient":
        return self

    async def __anext__(self) -> "Received":
        while not self._inbox:
            self.check()
            await self._arrival.park()
        received = self._inbox.popleft()
        because_of(received.cause)
        return received

    def _next_id(self) -> int:
        """For SUBSCRIBE and UNSUBSCRIBE; counted from above, so that they meet no PUBLISH's (2.2.1)."""
        self._newest = self._newest - 1 if self._newest > LARGEST_ID // 2 else LARGEST_ID
        return self._newest

    async def _ask(self, packet: SubscribePacket | UnsubscribePacket, number: int) -> SubAckPacket | UnsubAckPacket:
        self.check()
        answered = trio.Event()
        answers: list[SubAckPacket | UnsubAckPacket] = []
        self._questions[number] = (answered, answers)
        self.outbox.say(packet)
        await answered.wait()
        if not answers:
            self.check()
        return answers[0]

    # --- what comes in --------------------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Take what the broker says, until the connection is lost."""
        try:
            while True:
                self._take(await self._stream.receive())
        except MqttMalformed as error:
            self.outbox.leave(error.code)
            await self.outbox.finish()
            self._fail(error)
        except MqttConnectionLost as error:
            self._fail(error)

    def _take(self, packet: mqtt5.Packet) -> None:
        match packet:
            case PublishPacket():
                self._receive(packet)
            case PubAckPacket() | PubRecPacket() | PubCompPacket():
                answer, settled = self.session.sender.acknowledged(packet)
                if answer is not None:
                    self.outbox.say(answer)
                if settled is not None:
                    self.session.on_settled(settled)
                self.outbox.look()
            case PubRelPacket():
                self.outbox.say(self.session.receiver.release(packet.packet_id))
            case SubAckPacket() | UnsubAckPacket():
                if packet.packet_id in self._questions:
                    answered, answers = self._questions.pop(packet.packet_id)
                    answers.append(packet)
                    answered.set()
            case PingRespPacket():
                self._pong.set()
            case DisconnectPacket():
                raise MqttDisconnected(packet.reason_code)
            case _:
                raise MqttMalformed(f"no broker may send {type(packet).__name__}", DisconnectReasonCode.PROTOCOL_ERROR)

    def _receive(self, packet: PublishPacket) -> None:
        """A message; or a QoS 2 message that we have already, whose PUBREC has not arrived."""
        if packet.topic_alias is not None:
            raise MqttMalformed("a topic alias", DisconnectReasonCode.TOPIC_ALIAS_INVALID)
        number = packet.packet_id or 0
        if packet.qos == 2 and self.session.receiver.has(number):
            self.outbox.say(self.session.receiver.take_over(number))
            return
        self._inbox.append(Received(self, packet))
        self._arrival.unpark()

    async def ping(self, keep_alive_s: int) -> None:
        """PINGREQ whenever nothing else was sent for a Keep Alive (3.1.2.10); as long again for PINGRESP, and we give up."""
        while keep_alive_s and self.failure is None:
            due_s = self._stream.last_sent_s + keep_alive_s
            if trio.current_time() < due_s:
                await trio.sleep_until(due_s)
                continue
            self._pong = trio.Event()
            self.outbox.say(PingReqPacket())
            with trio.move_on_after(keep_alive_s):
                await self._pong.wait()
            if not self._pong.is_set():
                self._fail(MqttConnectionLost(f"no PINGRESP within {keep_alive_s:g} s"))

    def _fail(self, error: MqttConnectionLost) -> None:
        """The connection is of no use any more: whoever waits on it learns so."""
        if self.failure is None:
            self.failure = error
            self.outbox.close()
            self.session.carried_by(None)
            self._inbox = deque(received for received in self._inbox if not received.qos)
            for answered, _ in self._questions.values():
                answered.set()
            self._arrival.unpark_all()


@dataclass(frozen=True, slots=True)
class Received:
    """A message in our hands. With QoS 1 or 2, `ack` says that we have taken it over; until then it may come again."""

    client: MqttClient
    packet: PublishPacket
    cause: int = field(default_factory=present_cause)

    @property
    def topic(self) -> str:
        return self.packet.topic

    @property
    def payload(self) -> bytes:
        return self.packet.payload

    @property
    def qos(self) -> int:
        return int(self.packet.qos)

    @property
    def retained(self) -> bool:
        """Whether it is an old message that was kept for late-comers."""
        return self.packet.retain

    @property
    def repeated(self) -> bool:
        """DUP: it was sent before, and perhaps arrived then. That it is not set says nothing (3.3.1.1)."""
        return self.packet.duplicate

    def ack(self) -> None:
        """We have dealt with it. Raises MqttConnectionLost if nobody can be told any more; with QoS 2 we remember it
        nevertheless, and take no second copy."""
        number = self.packet.packet_id or 0
        if self.qos == 1:
            self.client.outbox.say(PubAckPacket(number))
        elif self.qos == 2:
            self.client.outbox.say(self.client.session.receiver.take_over(number))
        self.client.check()
