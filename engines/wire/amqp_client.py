"""An AMQP 0-9-1 client: a connection, channels on it, messages published, consumed or fetched.

A connection that is lost says so wherever somebody uses it, with AmqpConnectionLost; whoever wants to go on connects again.
"""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

import trio
from pamqp import base
from pamqp.commands import Basic, Channel, Confirm, Connection, Queue

from engines.lab.host import Host
from engines.lab.recorder import because_of, present_cause
from engines.wire.amqp_frames import (
    HANDSHAKE_S,
    NO_CONTENT,
    PORT,
    AmqpConnectionLost,
    AmqpStream,
    Arrived,
    Content,
    Properties,
)
from engines.wire.amqp_queues import PERSISTENT

Reply = TypeVar("Reply", bound=base.Frame)


class AmqpRefused(Exception):
    """The broker closed a channel, because it was asked for something that cannot be."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code = code


@asynccontextmanager
async def amqp_connect(
    host: Host, broker: str, *, port: int = PORT, user: str = "guest", password: str = "guest"
) -> AsyncIterator["AmqpClient"]:
    """A connection, open while inside. Raises OSError or AmqpConnectionLost when there can be none.

    What the body raises comes out as it is, not in a group, although tasks of the connection run beside it.
    """
    failure: Exception | None = None
    try:
        with trio.fail_after(HANDSHAKE_S):
            stream = AmqpStream(await host.connect(broker, port))
            try:
                await _shake_hands(stream, user, password)
            except BaseException:
                stream.close()
                raise
    except trio.TooSlowError:
        host.timed_out("connect", HANDSHAKE_S)
        raise AmqpConnectionLost(f"no connection within {HANDSHAKE_S:g} s") from None
    client = AmqpClient(stream)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.read)
            nursery.start_soon(client.beat)
            try:
                yield client
                await client.say_goodbye()
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel()
    finally:
        stream.close()
    if failure is not None:
        raise failure


async def _shake_hands(stream: AmqpStream, user: str, password: str) -> None:
    """Section 2.2.4 of the specification: start, tune, open. The broker's proposals are accepted as they are."""
    await stream.send_protocol_header()
    await _expect(stream, Connection.Start)
    await stream.send(0, Connection.StartOk({"product": "commtui"}, "PLAIN", f"\0{user}\0{password}", "en_US"))
    tune = await _expect(stream, Connection.Tune)
    await stream.send(0, Connection.TuneOk(tune.channel_max, tune.frame_max, tune.heartbeat))
    stream.heartbeat_s, stream.frame_max = tune.heartbeat, tune.frame_max
    await stream.send(0, Connection.Open("/"))
    await _expect(stream, Connection.OpenOk)


async def _expect(stream: AmqpStream, kind: type[Reply]) -> Reply:
    method = (await stream.receive()).method
    if not isinstance(method, kind):
        raise AmqpConnectionLost(getattr(method, "reply_text", f"{method.name} came where {kind.name} belongs"))
    return method


class AmqpClient:
    """An open connection. Made by `amqp_connect`."""

    def __init__(self, stream: AmqpStream) -> None:
        self.stream = stream
        self.failure: AmqpConnectionLost | None = None
        self._channels: dict[int, AmqpChannel] = {}

    async def channel(self) -> "AmqpChannel":
        """Open a channel. Raises AmqpConnectionLost."""
        number = len(self._channels) + 1
        channel = self._channels[number] = AmqpChannel(self, number)
        await channel.call(Channel.Open(), Channel.OpenOk)
        return channel

    async def read(self) -> None:
        """Pass on what comes in, to the channel whose it is."""
        try:
            while True:
                arrived = await self.stream.receive()
                if isinstance(arrived.method, Connection.Close):
                    await self.stream.send(0, Connection.CloseOk())
                    raise AmqpConnectionLost(f"{arrived.method.reply_code} {arrived.method.reply_text}")
                if arrived.channel in self._channels:
                    await self._channels[arrived.channel].take(arrived)
                elif isinstance(arrived.method, Connection.CloseOk):
                    raise AmqpConnectionLost("closed")
        except AmqpConnectionLost as error:
            self.failure = error
            self.stream.close()
            for channel in self._channels.values():
                channel.fail(error)

    async def beat(self) -> None:
        """Heartbeats, as agreed."""
        with suppress(AmqpConnectionLost):  # whoever reads learns it too
            await self.stream.keep_alive()

    async def say_goodbye(self) -> None:
        """Close properly: the broker answers, and then nothing more is on its way."""
        if self.failure is None:
            await self.stream.send(0, Connection.Close(200, "bye", 0, 0))


class AmqpChannel:
    """A channel: one conversation of several on a connection.

    `published` counts publications, since `confirm` if that was called; `on_confirm` is told which of them the broker confirms.
    `on_failure` is called when the channel is of no use any more.
    """

    def __init__(self, client: AmqpClient, number: int) -> None:
        self.failure: Exception | None = None
        self.published = 0
        self.on_confirm: Callable[[int], None] = lambda publication: None
        self.on_failure: Callable[[], object] = lambda: None
        self._client = client
        self._number = number
        self._confirmed = 0
        self._consumers: dict[str, Deliveries] = {}
        self._answer, self._answers = trio.open_memory_channel[Arrived](math.inf)
        self._turn = trio.Lock()

    # --- what a program asks for ----------------------------------------------------------------------------------------

    async def declare(self, queue: str, *, durable: bool = False, arguments: dict[str, int] | None = None) -> int:
        """Make a queue unless it is there; how many messages are ready in it. Raises AmqpRefused if it is there and differs."""
        declare = Queue.Declare(queue=queue, durable=durable, arguments=dict(arguments or {}))
        return (await self.call(declare, Queue.DeclareOk)).message_count or 0

    async def confirm(self) -> None:
        """From now on the broker confirms publications (RabbitMQ's extension)."""
        await self.call(Confirm.Select(), Confirm.SelectOk)
        self.published = 0

    async def publish(
        self, queue: str, body: bytes, *, message_id: str = "", persistent: bool = False, mandatory: bool = False
    ) -> None:
        """Publish to a queue by way of the default exchange. Nobody answers."""
        self.check()
        self.published += 1
        properties = Properties(message_id=message_id, delivery_mode=PERSISTENT if persistent else None)
        publish = Basic.Publish(routing_key=queue, mandatory=mandatory)
        await self._client.stream.send(self._number, publish, Content(body, properties))

    async def qos(self, prefetch: int, *, globally: bool = False) -> None:
        """How many unacked messages each consumer begun from now on may hold; `globally`, all of this channel together.

        0 is no limit.
        """
        await self.call(Basic.Qos(prefetch_count=prefetch, global_=globally), Basic.QosOk)

    async def consume(self, queue: str, *, no_ack: bool = False) -> "Deliveries":
        """Have messages pushed. Raises AmqpRefused when there is no such queue."""
        tag = f"c{self._number}.{len(self._consumers) + 1}"
        deliveries = self._consumers[tag] = Deliveries(self, tag, no_ack)
        await self.call(Basic.Consume(queue=queue, consumer_tag=tag, no_ack=no_ack), Basic.ConsumeOk)
        return deliveries

    async def get(self, queue: str, *, no_ack: bool = False) -> "Delivery | None":
        """Fetch one message; None when none is ready."""
        arrived = await self._ask(Basic.Get(queue=queue, no_ack=no_ack), (Basic.GetOk, Basic.GetEmpty))
        method = arrived.method
        if not isinstance(method, Basic.GetOk):
            return None
        return Delivery(self, method.delivery_tag or 0, method.redelivered, arrived.content)

    async def close(self) -> None:
        """Close the channel: what is unacked in it will be requeued."""
        await self.call(Channel.Close(200, "bye", 0, 0), Channel.CloseOk)
        self.fail(AmqpRefused(200, "closed here"))

    async def call(self, method: base.Frame, kind: type[Reply]) -> Reply:
        """Send a method and wait for the one that answers it. Raises AmqpConnectionLost or AmqpRefused."""
        answer = (await self._ask(method, (kind,))).method
        assert isinstance(answer, kind)
        return answer

    async def send(self, method: base.Frame) -> None:
        """Send a method that nobody answers. Raises AmqpConnectionLost or AmqpRefused."""
        self.check()
        await self._client.stream.send(self._number, method)

    async def _ask(self, method: base.Frame, kinds: tuple[type[base.Frame], ...]) -> Arrived:
        async with self._turn:
            await self.send(method)
            try:
                arrived = await self._answers.receive()
            except trio.EndOfChannel:
                self.check()
                raise
        because_of(arrived.cause)
        if not isinstance(arrived.method, kinds):
            raise AmqpConnectionLost(f"{arrived.method.name} came as the answer to {method.name}")
        return arrived

    def check(self) -> None:
        """Raise AmqpConnectionLost or AmqpRefused if the channel is of no use any more."""
        if self.failure is not None:
            raise self.failure

    # --- what comes in --------------------------------------------------------------------------------------------------

    async def take(self, arrived: Arrived) -> None:
        """The broker said something in this channel; what it says of one that has failed is of no interest any more."""
        if self.failure is not None:
            return
        match arrived.method:
            case Basic.Deliver() as deliver:
                tag = deliver.delivery_tag or 0
                self._consumers[deliver.consumer_tag or ""].put(
                    Delivery(self, tag, deliver.redelivered, arrived.content)
                )
            case Basic.Ack() as ack:
                first = self._confirmed + 1 if ack.multiple else ack.delivery_tag
                self._confirmed = ack.delivery_tag
                for publication in range(first, ack.delivery_tag + 1):
                    self.on_confirm(publication)
            case Basic.Return():
                pass  # unroutable; the lessons publish to queues that they have declared
            case Channel.Close() as close:
                await self._client.stream.send(self._number, Channel.CloseOk())
                self.fail(AmqpRefused(close.reply_code or 0, close.reply_text))
            case Basic.CancelOk() as cancelled:
                self._consumers[cancelled.consumer_tag or ""].end()
                self._answer.send_nowait(arrived)
            case _:
                self._answer.send_nowait(arrived)

    def fail(self, error: Exception) -> None:
        """The channel is of no use any more: whoever waits on it learns so."""
        if self.failure is None:
            self.failure = error
            self._answer.close()
            for deliveries in self._consumers.values():
                deliveries.end()
            self.on_failure()


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message in our hands. It must be settled, by ack, nack or reject, unless it was consumed without acks."""

    channel: AmqpChannel
    tag: int
    redelivered: bool
    content: Content = NO_CONTENT
    cause: int = field(default_factory=present_cause)

    async def ack(self, *, multiple: bool = False) -> None:
        """It has been dealt with; with `multiple`, so has all that came before it in this channel."""
        await self.channel.send(Basic.Ack(self.tag, multiple))

    async def nack(self, *, multiple: bool = False, requeue: bool = True) -> None:
        """It could not be dealt with (RabbitMQ's extension of reject to many)."""
        await self.channel.send(Basic.Nack(self.tag, multiple, requeue))

    async def reject(self, *, requeue: bool = True) -> None:
        """It could not be dealt with."""
        await self.channel.send(Basic.Reject(self.tag, requeue))


@dataclass(slots=True)
class Deliveries:
    """What is pushed to one consumer, in order; iterate to get it. What the program is too slow for waits here.

    Iteration ends after `cancel`, and raises AmqpConnectionLost or AmqpRefused when there will be no more. What waited then is
    left alone if it needs acknowledgement, because it is the broker's again; without acks it is still handed out.
    """

    channel: AmqpChannel
    tag: str
    no_ack: bool
    _put: trio.MemorySendChannel[Delivery] = field(init=False)
    _taken: trio.MemoryReceiveChannel[Delivery] = field(init=False)
    _cancelled: bool = False

    def __post_init__(self) -> None:
        self._put, self._taken = trio.open_memory_channel[Delivery](math.inf)

    @property
    def waiting(self) -> int:
        """How many have come and not been looked at."""
        return self._taken.statistics().current_buffer_used

    async def cancel(self) -> None:
        """Have no more pushed; what has come already can still be had."""
        if not self._cancelled:
            self._cancelled = True
            await self.channel.call(Basic.Cancel(self.tag), Basic.CancelOk)

    def put(self, delivery: Delivery) -> None:
        """One more has come."""
        self._put.send_nowait(delivery)

    def end(self) -> None:
        """No more will come."""
        self._put.close()

    def __aiter__(self) -> "Deliveries":
        return self

    async def __anext__(self) -> Delivery:
        if self.channel.failure is not None and not self.no_ack:
            raise self.channel.failure
        try:
            delivery = await self._taken.receive()
        except trio.EndOfChannel:
            if self.channel.failure is not None:
                raise self.channel.failure from None
            raise StopAsyncIteration from None
        because_of(delivery.cause)
        return delivery
