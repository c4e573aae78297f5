"""A broker's queues: who gets which message, and what becomes of it. Nothing here waits, and nothing here knows a connection.

A message is *ready* until it is handed to a consumer, *unacked* until the consumer settles it, then gone; or it is requeued,
at the place where it was (RabbitMQ: "to its original position in its queue, if possible").
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, field

from engines.wire.amqp_frames import Content

PERSISTENT = 2
"""The delivery-mode of a message that survives a restart, if its queue is durable."""


@dataclass(slots=True)
class Message:
    """A message in a queue. `attempts` counts how often it was handed out: from the second time on it is *redelivered*.

    The count is kept along with a persistent message, so that one which was out when the broker died comes back as redelivered.
    """

    exchange: str
    routing_key: str
    content: Content
    attempts: int = 0

    @property
    def redelivered(self) -> bool:
        return self.attempts > 1


@dataclass(slots=True, eq=False)
class Consumer:
    """Whom a queue may hand messages to, as long as there is credit.

    `prefetch` is how many unacked messages it may hold; 0 is no limit. `channel_has_room` answers for a limit that all
    consumers of a channel share. With `no_ack` a message is settled by being sent, and there is nothing that credit could
    limit: RabbitMQ ignores prefetch for such consumers.
    """

    tag: str
    no_ack: bool
    prefetch: int
    channel_has_room: Callable[[], bool]
    deliver: Callable[["Consumer", int, Message], None]
    unacked: int = 0

    @property
    def has_credit(self) -> bool:
        return self.no_ack or ((not self.prefetch or self.unacked < self.prefetch) and self.channel_has_room())


@dataclass(slots=True)
class StoredQueue:
    """What a disk holds of a durable queue: its persistent messages by number."""

    arguments: dict[str, object]
    messages: dict[int, Message] = field(default_factory=dict)


@dataclass(slots=True)
class Queue:
    """One queue. `max_length` is asked whenever it matters; `on_drop` is told of each message that was too many."""

    name: str
    durable: bool
    stored: StoredQueue
    max_length: Callable[[], float]
    on_drop: Callable[[Message], None]
    consumers: deque[Consumer] = field(default_factory=deque)
    _messages: dict[int, Message] = field(default_factory=dict)
    _ready: list[int] = field(default_factory=list)
    _newest: int = 0

    def __post_init__(self) -> None:
        """A durable queue comes back with what its disk holds; nobody has any of it in hand."""
        self._messages.update(self.stored.messages)
        self._ready = sorted(self._messages)
        self._newest = max(self._messages, default=0)

    @property
    def ready(self) -> int:
        return len(self._ready)

    @property
    def unacked(self) -> int:
        return len(self._messages) - len(self._ready)

    def publish(self, message: Message) -> None:
        """Take a message in."""
        self._newest += 1
        self._messages[self._newest] = message
        if self.durable and message.content.properties.delivery_mode == PERSISTENT:
            self.stored.messages[self._newest] = message
        heapq.heappush(self._ready, self._newest)
        self.dispatch()

    def take(self) -> tuple[int, Message] | None:
        """Hand out the oldest message that is ready, or None: it is unacked from here on."""
        if not self._ready:
            return None
        number = heapq.heappop(self._ready)
        message = self._messages[number]
        message.attempts += 1
        return number, message

    def settle(self, number: int) -> None:
        """The message has been dealt with: forget it."""
        del self._messages[number]
        self.stored.messages.pop(number, None)

    def requeue(self, number: int) -> None:
        """The message has not been dealt with: it is ready again, in front of all that came later. `dispatch` comes next."""
        heapq.heappush(self._ready, number)

    def dispatch(self) -> None:
        """Hand ready messages to the consumers that have credit, in turn, until one or the other has run out.

        What is then too much is dropped from the oldest on: RabbitMQ's "drop-head", its default. Only what is ready counts.
        """
        while self._ready and (consumer := next(self._round(), None)):
            taken = self.take()
            assert taken is not None
            number, message = taken
            consumer.unacked += not consumer.no_ack
            consumer.deliver(consumer, number, message)
            if consumer.no_ack:
                self.settle(number)
        while len(self._ready) > self.max_length():
            oldest = heapq.heappop(self._ready)
            message = self._messages[oldest]
            self.settle(oldest)
            self.on_drop(message)

    def _round(self) -> Iterator[Consumer]:
        """The consumers with credit, from the one whose turn it is; each that is asked goes to the end of the round."""
        for _ in range(len(self.consumers)):
            consumer = self.consumers[0]
            self.consumers.rotate(-1)
            if consumer.has_credit:
                yield consumer


class Queues:
    """All queues of a broker. `disk` keeps the durable ones; what is not there dies with the program."""

    def __init__(
        self,
        disk: MutableMapping[str, StoredQueue],
        policy: Callable[[], float],
        on_drop: Callable[[Message], None],
    ) -> None:
        self._disk = disk
        self._policy = policy
        self._on_drop = on_drop
        self._queues: dict[str, Queue] = {}
        for name, stored in disk.items():
            self._add(name, True, stored)

    def __iter__(self) -> Iterator[Queue]:
        return iter(self._queues.values())

    def find(self, name: str) -> Queue | None:
        """The queue called `name`; also where the default exchange routes that key (specification, section 3.1.3.1)."""
        return self._queues.get(name)

    def declare(self, name: str, durable: bool, arguments: dict[str, object]) -> Queue | None:
        """The queue called `name`, made if need be; None if there is one that differs from what is asked for."""
        queue = self._queues.get(name)
        if queue is None:
            stored = StoredQueue(arguments)
            if durable:
                self._disk[name] = stored
            return self._add(name, durable, stored)
        return queue if (queue.durable, queue.stored.arguments) == (durable, arguments) else None

    def _add(self, name: str, durable: bool, stored: StoredQueue) -> Queue:
        declared = stored.arguments.get("x-max-length")
        own_limit = float(declared) if isinstance(declared, int) else float("inf")

        def max_length() -> float:
            return min(own_limit, self._policy())  # RabbitMQ: of a policy and an argument, the smaller

        self._queues[name] = Queue(name, durable, stored, max_length, self._on_drop)
        return self._queues[name]
