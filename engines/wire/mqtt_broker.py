"""An MQTT 5 broker: its connections, from CONNECT to the end, and what becomes of a session after it.

Who gets what is published is in `mqtt_sessions`; what QoS means on a hop, in `mqtt_delivery`. Sections are those of the OASIS
standard.
"""

from collections.abc import Callable
from dataclasses import dataclass

import trio
from mqtt5 import ConnAckPacket, ConnectPacket, DisconnectReasonCode

from engines.lab.host import Host
from engines.wire.mqtt_link import BrokerLink
from engines.wire.mqtt_packets import (
    HANDSHAKE_S,
    PORT,
    RECEIVE_MAXIMUM,
    Message,
    MqttConnectionLost,
    MqttMalformed,
    MqttStream,
    message_of,
)
from engines.wire.mqtt_sessions import Session, Sessions

MAX_QUEUED = 1000
"""Mosquitto 2.0's max_queued_messages: messages that wait for one client, above those in flight."""

Dropped = Callable[[str, Message, str], None]


@dataclass(frozen=True, slots=True)
class Policy:
    """What a person may turn while a broker runs; each is asked whenever it matters.

    `receive_maximum` is what the broker says of itself in CONNACK. `max_queued` limits the messages that wait for one client,
    `when_full` is "drop newest" (Mosquitto's way), "drop oldest" or "disconnect".
    """

    persistence: Callable[[], bool] = lambda: False
    max_queued: Callable[[], float] = lambda: MAX_QUEUED
    when_full: Callable[[], str] = lambda: "drop newest"
    receive_maximum: Callable[[], int] = lambda: RECEIVE_MAXIMUM


class MqttBroker:
    """A broker on `host`. `on_drop` is told of each message that a client will not get: client id, message, reason.
    The client id is "" when there is nobody at all who could have got it.

    With persistence, sessions and retained messages live on the host's disk, and survive the program.
    """

    def __init__(
        self,
        host: Host,
        policy: Policy | None = None,
        *,
        on_drop: Dropped = lambda client_id, message, reason: None,
    ) -> None:
        self.host = host
        self.policy = policy or Policy()
        on_disk = self.policy.persistence()
        kept: dict[str, Session] = host.disk.setdefault("sessions", {}) if on_disk else {}
        retained: dict[str, Message] = host.disk.setdefault("retained", {}) if on_disk else {}
        self.sessions = Sessions(kept, retained, self._deliver, lambda session: session.client_id in self._links)
        self._on_drop = on_drop
        self._links: dict[str, BrokerLink] = {}
        self._waiting: dict[str, trio.CancelScope] = {}  # for clients that are gone: until their session ends
        self._shown = 0
        self._anonymous = 0

    async def serve(self, port: int = PORT) -> None:
        """Serve until cancelled. Raises OSError when the port is in use."""
        async with self.host.listen(port) as listener, trio.open_nursery() as nursery:
            for session in self.sessions:
                self._leave(session)
                nursery.start_soon(self._outlive, session)
            self.show()
            while True:
                nursery.start_soon(self.attend, await listener.accept())

    async def attend(self, stream: trio.abc.Stream) -> None:
        """One connection, from its first packet to the end, whatever that is; and then its session, to its own end."""
        link = BrokerLink(self, MqttStream(stream))
        try:
            session = await self._welcome(link)
            if session is not None:
                await link.converse()
        finally:
            await link.stream.close()
        if session is not None and self._links.get(session.client_id) is link:
            del self._links[session.client_id]
            self._leave(session)
            self.show()
            await self._outlive(session)

    # --- a connection begins --------------------------------------------------------------------------------------------

    async def _welcome(self, link: BrokerLink) -> Session | None:
        """CONNECT and CONNACK (3.1.4). None when there will be no conversation."""
        try:
            with trio.fail_after(HANDSHAKE_S):
                connect = await link.stream.receive()
        except MqttMalformed as error:
            await link.stream.say_last(error.code)
            return None
        except (MqttConnectionLost, trio.TooSlowError):
            return None
        if not isinstance(connect, ConnectPacket):
            return None  # the first packet must be CONNECT (3.1-1)
        assigned = None if connect.client_id else self._invent_name()
        client_id = connect.client_id or assigned or ""
        session, present = self._open(client_id, connect)
        self._links[client_id] = link
        link.begin(session, connect)
        link.outbox.say(
            ConnAckPacket(
                session_present=present, assigned_client_id=assigned, receive_max=self.policy.receive_maximum()
            )
        )
        session.sender.begin(connect.receive_max)
        self.show()
        return session

    def _invent_name(self) -> str:
        self._anonymous += 1
        return f"auto-{self._anonymous}"

    def _open(self, client_id: str, connect: ConnectPacket) -> tuple[Session, bool]:
        """The session to go on with, and whether it is an old one (3.1.2.4). An older connection of it ends (3.1.4-3)."""
        older = self._links.pop(client_id, None)
        if older is not None:
            older.end(DisconnectReasonCode.SESSION_TAKEN_OVER)
            self._leave(older.session)
            if not older.session.will_delay_s:
                self._publish_will(older.session)
        waiting = self._waiting.pop(client_id, None)
        if waiting is not None:
            waiting.cancel()
        session = self.sessions.find(client_id)
        if session is not None and (connect.clean_start or session.expiry_s == 0):
            self._end(session, "its session is over")
            session = None
        present = session is not None
        session = session or self.sessions.begin(client_id)
        session.gone_since_s = None
        session.expiry_s = connect.session_expiry_interval
        session.will = message_of(connect.will) if connect.will else None
        session.will_delay_s = connect.will.will_delay_interval if connect.will else 0
        return session, present

    # --- a connection has ended -----------------------------------------------------------------------------------------

    def _leave(self, session: Session) -> None:
        """The client is gone; what waited for it with QoS 0 is not kept."""
        session.gone_since_s = trio.current_time()
        for message in session.sender.end():
            self._on_drop(session.client_id, message, "its connection is gone")

    async def _outlive(self, session: Session) -> None:
        """Publish the will when it is due, and end the session when it has expired, unless the client comes back before."""
        with trio.CancelScope() as scope:
            self._waiting[session.client_id] = scope
            assert session.gone_since_s is not None
            if session.will is not None:
                await trio.sleep_until(min(session.gone_since_s + session.will_delay_s, session.ends_s))
                self._publish_will(session)
            await trio.sleep_until(session.ends_s)
            del self._waiting[session.client_id]
            self._end(session, "its session has expired")

    def _publish_will(self, session: Session) -> None:
        """What the client asked to have said if it does not say goodbye itself (3.1.2.5)."""
        will, session.will = session.will, None
        if will is not None:
            self.publish(will, session.client_id)

    def _end(self, session: Session, reason: str) -> None:
        """The session ends, and what was kept for the client is kept no longer."""
        self._publish_will(session)
        for message in self.sessions.end(session):
            self._on_drop(session.client_id, message, reason)
        self.show()

    # --- messages -------------------------------------------------------------------------------------------------------

    def publish(self, message: Message, publisher: str = "") -> int:
        """Deliver `message` to everybody who has subscribed to such; to how many?"""
        copies = self.sessions.publish(message, publisher)
        if not copies and not message.retain:
            self._on_drop("", message, "nobody has subscribed")
        return copies

    def _deliver(self, session: Session, message: Message) -> None:
        """A copy for one client: into its queue, if there is room in it."""
        link = self._links.get(session.client_id)
        waiting = session.sender.waiting
        if link is None and not message.qos:
            self._on_drop(session.client_id, message, "it is not connected")
        elif len(waiting) < self.policy.max_queued():
            waiting.append(message)
        elif self.policy.when_full() == "drop oldest":
            waiting.append(message)
            self._on_drop(session.client_id, waiting.popleft(), "oldest in a full queue")
        else:
            self._on_drop(session.client_id, message, "newest at a full queue")
            if link is not None and self.policy.when_full() == "disconnect":
                link.end(DisconnectReasonCode.QUOTA_EXCEEDED)
        if link is not None:
            link.outbox.look()
        if link is None or link.stream.sending:
            self.show()  # else it is gone before anybody could see it wait

    def show(self) -> None:
        """Let the diagram see how many messages wait for their receivers; those in flight can be seen in it anyhow."""
        waiting = sum(len(session.sender.waiting) for session in self.sessions)
        if self._shown != waiting:
            self._shown = waiting
            self.host.state("waiting", waiting)
