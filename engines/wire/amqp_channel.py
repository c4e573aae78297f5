"""One channel of a broker's connection: what each method does to the queues, and who holds which message.

Methods never wait: what the channel has to say goes to the connection's outbox. It has the default exchange only (a routing key
is the name of a queue), no exclusive or auto-deleted queues, no priorities and no transactions; what it does not know it
refuses, 540 NOT_IMPLEMENTED. References are to the specification of AMQP 0-9-1 and to the documentation of RabbitMQ 4.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pamqp import base
from pamqp.commands import Basic, Channel, Confirm
from pamqp.commands import Queue as QueueClass

from engines.wire.amqp_frames import Content
from engines.wire.amqp_queues import Consumer, Message, Queue, Queues

Say = Callable[[base.Frame, Content | None], None]


class Refusal(Exception):
    """The client asked for something that cannot be: its channel is closed, or for a code from 500 on its connection."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    @property
    def ends_connection(self) -> bool:
        """The specification's "hard" errors."""
        return self.code >= 500


@dataclass(frozen=True, slots=True)
class Unacked:
    """A message in a client's hands; `consumer` is None when it was fetched by basic.get."""

    queue: Queue
    number: int
    consumer: Consumer | None


class BrokerChannel:
    """A channel's memory. Delivery tags belong to it, and count from 1. `on_requeue` is told how many messages came back."""

    def __init__(self, number: int, queues: Queues, say: Say, on_requeue: Callable[[int], None]) -> None:
        self._number = number
        self._queues = queues
        self._outbox = say
        self._on_requeue = on_requeue
        self._prefetch = 0  # for each new consumer
        self._limit = 0  # for all consumers together
        self._consumers: dict[str, tuple[Queue, Consumer]] = {}
        self._unacked: dict[int, Unacked] = {}
        self._newest_tag = 0
        self._confirmed: int | None = None  # how many publications were confirmed; None without confirms
        self._closing = False

    def obey(self, method: base.Frame, content: Content) -> None:
        """Do what a method says. A refusal closes the channel; until the client agrees, all else in it is ignored.

        Raises Refusal when it is one that ends the connection.
        """
        if self._closing:
            return
        try:
            obey = _METHODS.get(type(method))
            if obey is None:
                raise Refusal(540, f"NOT_IMPLEMENTED - {method.name}")
            obey(self, method, content)
        except Refusal as refusal:
            self.end()
            if refusal.ends_connection:
                raise
            self._say(Channel.Close(refusal.code, refusal.text, method.index >> 16, method.index & 0xFFFF))

    def end(self) -> None:
        """The channel ends: its consumers get nothing more, and what is unacked in it is ready again."""
        self._closing = True
        for queue, consumer in self._consumers.values():
            queue.consumers.remove(consumer)
        self._consumers.clear()
        self._requeue(self._take_back(0, multiple=True))

    # --- methods --------------------------------------------------------------------------------------------------------

    def _declare(self, method: QueueClass.Declare, content: Content) -> None:
        if method.passive:
            queue = self._queue(method.queue)
        else:
            found = self._queues.declare(method.queue, method.durable, dict(method.arguments or {}))
            if found is None:
                raise Refusal(406, f"PRECONDITION_FAILED - inequivalent arg for queue '{method.queue}'")
            queue = found
        if not method.nowait:
            self._say(QueueClass.DeclareOk(queue.name, queue.ready, len(queue.consumers)))

    def _publish(self, method: Basic.Publish, content: Content) -> None:
        """Section 3.1.3.1: the default exchange routes to the queue that is called like the routing key."""
        if method.exchange:
            raise Refusal(404, f"NOT_FOUND - no exchange '{method.exchange}'")
        queue = self._queues.find(method.routing_key)
        if queue is not None:
            queue.publish(Message(method.exchange, method.routing_key, content))
        elif method.mandatory:
            self._say(Basic.Return(312, "NO_ROUTE", method.exchange, method.routing_key), content)
        if self._confirmed is not None:
            self._confirmed += 1
            self._say(Basic.Ack(self._confirmed))

    def _confirm(self, method: Confirm.Select, content: Content) -> None:
        """Publisher confirms, RabbitMQ's extension: each publication is acked once its queue has it."""
        self._confirmed = self._confirmed or 0
        if not method.nowait:
            self._say(Confirm.SelectOk())

    def _qos(self, method: Basic.Qos, content: Content) -> None:
        """RabbitMQ reads `global` in its own way: without it the limit is for each new consumer of the channel, with it for
        all consumers of the channel together (in the specification: for the channel, and for the connection)."""
        if method.prefetch_size:
            raise Refusal(540, "NOT_IMPLEMENTED - prefetch_size!=0")
        if method.global_:
            self._limit = method.prefetch_count
        else:
            self._prefetch = method.prefetch_count
        self._say(Basic.QosOk())
        self._dispatch()

    def _consume(self, method: Basic.Consume, content: Content) -> None:
        queue = self._queue(method.queue)
        tag = method.consumer_tag or f"amq.ctag-{self._number}-{len(self._consumers) + 1}"
        if tag in self._consumers:
            raise Refusal(530, f"NOT_ALLOWED - attempt to reuse consumer tag '{tag}'")

        def deliver(consumer: Consumer, message_number: int, message: Message) -> None:
            held = None if consumer.no_ack else Unacked(queue, message_number, consumer)
            delivery = self._remember(held)
            self._say(
                Basic.Deliver(consumer.tag, delivery, message.redelivered, message.exchange, message.routing_key),
                message.content,
            )

        consumer = Consumer(tag, method.no_ack, self._prefetch, self._has_room, deliver)
        self._consumers[tag] = (queue, consumer)
        queue.consumers.append(consumer)
        if not method.nowait:
            self._say(Basic.ConsumeOk(tag))
        queue.dispatch()

    def _cancel(self, method: Basic.Cancel, content: Content) -> None:
        """What the consumer holds stays its own: it may still acknowledge it."""
        tag = method.consumer_tag or ""
        if tag in self._consumers:
            queue, consumer = self._consumers.pop(tag)
            queue.consumers.remove(consumer)
        if not method.nowait:
            self._say(Basic.CancelOk(tag))

    def _get(self, method: Basic.Get, content: Content) -> None:
        """Fetch one message. Prefetch has no say in it."""
        queue = self._queue(method.queue)
        taken = queue.take()
        if taken is None:
            self._say(Basic.GetEmpty())
            return
        message_number, message = taken
        tag = self._remember(None if method.no_ack else Unacked(queue, message_number, None))
        self._say(
            Basic.GetOk(tag, message.redelivered, message.exchange, message.routing_key, queue.ready),
            message.content,
        )
        if method.no_ack:
            queue.settle(message_number)

    def _ack(self, method: Basic.Ack, content: Content) -> None:
        self._settle(self._take_back(method.delivery_tag, method.multiple))

    def _nack(self, method: Basic.Nack, content: Content) -> None:
        """RabbitMQ's basic.reject for many."""
        messages = self._take_back(method.delivery_tag, method.multiple)
        self._turn_down(messages, method.requeue)

    def _reject(self, method: Basic.Reject, content: Content) -> None:
        self._turn_down(self._take_back(method.delivery_tag or 0, multiple=False), method.requeue)

    def _turn_down(self, messages: list[Unacked], requeue: bool) -> None:
        """Without requeue a message is dropped (RabbitMQ: or goes to a dead letter exchange, which is not modelled)."""
        if requeue:
            self._requeue(messages)
        else:
            self._settle(messages)

    def _queue(self, name: str) -> Queue:
        queue = self._queues.find(name)
        if queue is None:
            raise Refusal(404, f"NOT_FOUND - no queue '{name}'")
        return queue

    # --- who holds what -------------------------------------------------------------------------------------------------

    def _say(self, method: base.Frame, content: Content | None = None) -> None:
        self._outbox(method, content)

    def _has_room(self) -> bool:
        return not self._limit or sum(held.consumer is not None for held in self._unacked.values()) < self._limit

    def _remember(self, held: Unacked | None) -> int:
        """A tag for a message that leaves now; None is held for one that needs no acknowledgement."""
        self._newest_tag += 1
        if held is not None:
            self._unacked[self._newest_tag] = held
        return self._newest_tag

    def _take_back(self, tag: int, multiple: bool) -> list[Unacked]:
        """What is unacked under `tag`, or all up to it; 0 with `multiple` is all there is (basic.ack). Raises Refusal."""
        if tag not in self._unacked and (tag or not multiple):
            raise Refusal(406, f"PRECONDITION_FAILED - unknown delivery tag {tag}")
        tags = [known for known in self._unacked if known <= tag or not tag] if multiple else [tag]
        return [self._unacked.pop(known) for known in tags]

    def _release(self, messages: list[Unacked]) -> None:
        """They are not in the client's hands any more: its consumers have credit again."""
        for held in messages:
            if held.consumer is not None:
                held.consumer.unacked -= 1

    def _settle(self, messages: list[Unacked]) -> None:
        self._release(messages)
        for held in messages:
            held.queue.settle(held.number)
        self._dispatch(messages)

    def _requeue(self, messages: list[Unacked]) -> None:
        """All of them first, so that whoever has credit gets the oldest."""
        self._release(messages)
        for held in messages:
            held.queue.requeue(held.number)
        if messages:
            self._on_requeue(len(messages))
        self._dispatch(messages)

    def _dispatch(self, messages: Iterable[Unacked] = ()) -> None:
        """There may be credit that there was not before, for this channel's consumers or for these messages' queues."""
        queues = [queue for queue, _ in self._consumers.values()] + [held.queue for held in messages]
        for queue in queues:
            queue.dispatch()


_METHODS: dict[type[base.Frame], Callable[..., None]] = {
    QueueClass.Declare: BrokerChannel._declare,
    Basic.Publish: BrokerChannel._publish,
    Confirm.Select: BrokerChannel._confirm,
    Basic.Qos: BrokerChannel._qos,
    Basic.Consume: BrokerChannel._consume,
    Basic.Cancel: BrokerChannel._cancel,
    Basic.Get: BrokerChannel._get,
    Basic.Ack: BrokerChannel._ack,
    Basic.Nack: BrokerChannel._nack,
    Basic.Reject: BrokerChannel._reject,
}
"""What each method does; one that is not here is refused."""
