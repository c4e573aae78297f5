"""What an MQTT broker knows of its clients, and who gets what is published: sessions, subscriptions, retained messages.

Nothing here waits, and nothing here knows a connection. Sections are those of the OASIS standard of MQTT 5.
"""

from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, field, replace

import trio
from mqtt5 import RetainHandling, SubAckReasonCode, TopicFilter, UnsubAckReasonCode

from engines.wire.mqtt_delivery import Receiver, Sender
from engines.wire.mqtt_packets import NEVER, Message
from engines.wire.mqtt_topics import is_filter, matches, split_share


@dataclass(frozen=True, slots=True)
class Subscription:
    """One filter that a client asked for, with its options (3.8.3.1)."""

    qos: int
    no_local: bool
    retain_as_published: bool
    identifier: int | None


@dataclass(slots=True, eq=False)
class Session:
    """What is kept for one client, connected or not (4.1). `gone_since_s` is None while it is connected.

    `expiry_s` is how long the session outlives its connection, NEVER for ever. The will waits here from CONNECT on.
    """

    client_id: str
    expiry_s: int = 0
    sender: Sender = field(default_factory=Sender)
    receiver: Receiver = field(default_factory=Receiver)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    will: Message | None = None
    will_delay_s: int = 0
    gone_since_s: float | None = None

    @property
    def ends_s(self) -> float:
        """When the session is over if its client does not come back."""
        assert self.gone_since_s is not None
        return self.gone_since_s + self.expiry_s if self.expiry_s != NEVER else float("inf")


class Sessions:
    """All sessions of a broker, and its retained messages. What is published goes to `deliver`, a copy for each receiver.

    `kept` and `retained` are where they live: in the memory of the program, or on a disk. `connected` says whether a session's
    client is there: a shared subscription prefers such (4.8.2 leaves the choice to the broker; this one takes turns).
    """

    def __init__(
        self,
        kept: MutableMapping[str, Session],
        retained: MutableMapping[str, Message],
        deliver: Callable[[Session, Message], None],
        connected: Callable[[Session], bool],
    ) -> None:
        self._kept = kept
        self._retained = retained
        self._deliver = deliver
        self._connected = connected
        self._turns: dict[str, str] = {}  # shared filter -> who had the last message

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._kept.values()))

    def find(self, client_id: str) -> Session | None:
        """The session of that client."""
        return self._kept.get(client_id)

    def begin(self, client_id: str) -> Session:
        """A session for a client that has none."""
        session = self._kept[client_id] = Session(client_id)
        return session

    def end(self, session: Session) -> list[Message]:
        """Forget a session; returns the messages that die with it.

        What it owed to a shared subscription is given to another member, if it is certain that this one did not get it with QoS
        2 (4.8.2).
        """
        if self._kept.get(session.client_id) is session:
            del self._kept[session.client_id]
        session.receiver.discard()
        session.subscriptions.clear()
        unsent = list(session.sender.waiting)
        left = session.sender.discard()
        lost = []
        for message in left:
            movable = message.share and (message.qos == 1 or any(message is one for one in unsent))
            if not (movable and self._share_out(message.share, message, "")):
                lost.append(message)
        return lost

    # --- subscribing ----------------------------------------------------------------------------------------------------

    def subscribe(self, session: Session, asked: TopicFilter, identifier: int | None) -> SubAckReasonCode:
        """Add or replace a subscription; retained messages that fit are delivered (3.3.1.3, 3.8.4)."""
        if not is_filter(asked.pattern):
            return SubAckReasonCode.TOPIC_FILTER_INVALID
        known = asked.pattern in session.subscriptions
        qos = int(asked.max_qos)
        session.subscriptions[asked.pattern] = Subscription(
            qos, asked.no_local, asked.retain_as_published, identifier or None
        )
        wanted = asked.retain_handling is RetainHandling.SEND_ALWAYS or (
            asked.retain_handling is RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS and not known
        )
        if wanted and not split_share(asked.pattern)[0]:
            self._recall(session, asked.pattern)
        return SubAckReasonCode(qos)

    def _recall(self, session: Session, text: str) -> None:
        """Deliver what is retained for a filter, marked as such (3.3.1-8)."""
        subscription = session.subscriptions[text]
        for topic, message in list(self._retained.items()):
            if message.expires_s <= trio.current_time():
                del self._retained[topic]
            elif matches(text, topic):
                copy = self._copy(message, subscription.qos, [subscription])
                self._deliver(session, replace(copy, retain=True))

    def unsubscribe(self, session: Session, text: str) -> UnsubAckReasonCode:
        """Drop a subscription."""
        found = session.subscriptions.pop(text, None)
        return UnsubAckReasonCode.SUCCESS if found else UnsubAckReasonCode.NO_SUBSCRIPTION_EXISTED

    # --- publishing -----------------------------------------------------------------------------------------------------

    def publish(self, message: Message, publisher: str = "") -> int:
        """Deliver `message` to everybody whose subscription fits, and keep it if it is to be retained; to how many?

        A client with several fitting subscriptions gets one copy, with the highest QoS of them (3.3.4).
        """
        if message.retain:
            self._retain(message)
        copies = 0
        groups: dict[str, None] = {}
        for session in self:
            fitting = []
            for text, subscription in session.subscriptions.items():
                group, inner = split_share(text)
                if not matches(inner, message.topic):
                    continue
                if group:
                    groups[text] = None
                elif not (subscription.no_local and session.client_id == publisher):
                    fitting.append(subscription)
            if fitting:
                copies += 1
                qos = max(subscription.qos for subscription in fitting)
                self._deliver(session, self._copy(message, qos, fitting))
        return copies + sum(self._share_out(text, message, publisher) for text in groups)

    def _retain(self, message: Message) -> None:
        """The last retained message of a topic replaces the one before; one without payload only takes it away (3.3.1.3)."""
        if message.payload:
            self._retained[message.topic] = message
        else:
            self._retained.pop(message.topic, None)

    def _share_out(self, text: str, message: Message, publisher: str) -> bool:
        """Deliver to one member of a group: the next in turn of those that are there, or else of all. False without any."""
        members = [session for session in self if text in session.subscriptions]
        present = [session for session in members if self._connected(session)] or members
        if not present:
            return False
        last = self._turns.get(text, "")
        names = [session.client_id for session in present]
        chosen = present[(names.index(last) + 1) % len(present) if last in names else 0]
        self._turns[text] = chosen.client_id
        subscription = chosen.subscriptions[text]
        copy = self._copy(replace(message, retain=False), subscription.qos, [subscription])
        self._deliver(chosen, replace(copy, share=text))
        return True

    @staticmethod
    def _copy(message: Message, qos: int, subscriptions: list[Subscription]) -> Message:
        """A copy for one receiver; QoS is the lower of what was published and what was granted (3.8.4)."""
        return replace(
            message,
            qos=min(message.qos, qos),
            retain=message.retain and any(subscription.retain_as_published for subscription in subscriptions),
            subscription_ids=tuple(s.identifier for s in subscriptions if s.identifier is not None),
            share="",
        )
