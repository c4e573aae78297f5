"""An AMQP 0-9-1 broker that pushes as RabbitMQ does: its connections, from the protocol header to the last frame.

What methods do in a channel is in `amqp_channel`, what becomes of messages in `amqp_queues`. References are to the
specification of AMQP 0-9-1 and to the documentation of RabbitMQ 4.
"""

import math
from collections.abc import Callable
from contextlib import suppress

import trio
from pamqp import base
from pamqp.commands import Channel, Connection

from engines.lab.host import Host
from engines.lab.recorder import because_of, present_cause
from engines.wire.amqp_channel import BrokerChannel, Refusal
from engines.wire.amqp_frames import (
    FRAME_MAX,
    HANDSHAKE_S,
    HEARTBEAT_S,
    PORT,
    AmqpConnectionLost,
    AmqpStream,
    Arrived,
    Content,
)
from engines.wire.amqp_queues import Message, Queues

CHANNEL_MAX = 2047
"""RabbitMQ 4's channel_max."""
USERS = {"guest": "guest"}
"""RabbitMQ's default user."""


class AmqpBroker:
    """A broker on `host`. Durable queues live on the host's disk, everything else in this program's memory.

    `heartbeat_s` is what it proposes to each new connection, in whole seconds. `max_length` is an operator's policy for the
    number of ready messages of every queue; `on_drop` is told of each message that it made room for.
    """

    def __init__(
        self,
        host: Host,
        *,
        heartbeat_s: Callable[[], int] = lambda: HEARTBEAT_S,
        max_length: Callable[[], float] = lambda: math.inf,
        on_drop: Callable[[Message], None] = lambda message: None,
    ) -> None:
        self.host = host
        self.heartbeat_s = heartbeat_s
        self.queues = Queues(host.disk.setdefault("queues", {}), max_length, on_drop)
        self._shown: dict[str, int] = {}

    async def serve(self, port: int = PORT) -> None:
        """Serve until cancelled. Raises OSError when the port is in use."""
        async with self.host.listen(port) as listener, trio.open_nursery() as nursery:
            self.show()
            while True:
                nursery.start_soon(
                    _Connection(self, AmqpStream(endpoint := await listener.accept()), endpoint.remote).run
                )

    def show(self) -> None:
        """Let the diagram see how many messages are ready and how many unacked."""
        for what in ("ready", "unacked"):
            count = sum(getattr(queue, what) for queue in self.queues)
            if self._shown.get(what) != count:
                self._shown[what] = count
                self.host.state(what, count)


class _Connection:
    """One client."""

    def __init__(self, broker: AmqpBroker, stream: AmqpStream, client: str) -> None:
        self._broker = broker
        self._stream = stream
        self._client = client
        self._channels: dict[int, BrokerChannel] = {}
        self._closing = False
        self._outbox, self._to_write = trio.open_memory_channel[tuple[int, base.Frame, Content | None, int]](math.inf)

    async def run(self) -> None:
        """From the protocol header to the end, whatever that is; then whatever the client has not acknowledged is requeued."""
        try:
            with trio.fail_after(HANDSHAKE_S):
                agreed = await self._shake_hands()
            if agreed:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._beat)
                    await self._converse()
                    nursery.cancel_scope.cancel()
        except (AmqpConnectionLost, trio.TooSlowError):
            pass  # it never became a connection
        self._stream.close()
        for channel in self._channels.values():
            channel.end()
        self._broker.show()

    async def _shake_hands(self) -> bool:
        """Section 2.2.4: start, tune, open. False when the client was sent away. Raises AmqpConnectionLost."""
        stream = self._stream
        if not await stream.receive_protocol_header():
            await stream.send_protocol_header()  # section 4.2.2: this is what we speak
            return False
        await stream.send(0, Connection.Start(0, 9, {"product": "commtui"}, "PLAIN", "en_US"))
        start_ok = (await stream.receive()).method
        if not isinstance(start_ok, Connection.StartOk) or not _known(start_ok):
            await stream.send(0, Connection.Close(403, "ACCESS_REFUSED", 10, 11))
            return False
        await stream.send(0, Connection.Tune(CHANNEL_MAX, FRAME_MAX, self._broker.heartbeat_s()))
        tune_ok = (await stream.receive()).method
        if not isinstance(tune_ok, Connection.TuneOk) or not isinstance(
            (await stream.receive()).method, Connection.Open
        ):
            await stream.send(0, Connection.Close(503, "COMMAND_INVALID", 0, 0))
            return False
        stream.heartbeat_s = tune_ok.heartbeat
        stream.frame_max = min(FRAME_MAX, tune_ok.frame_max or FRAME_MAX)
        await stream.send(0, Connection.OpenOk())
        return True

    # --- the three tasks of a connection --------------------------------------------------------------------------------

    async def _write(self) -> None:
        with suppress(AmqpConnectionLost):  # whoever reads learns it too
            async for channel, method, content, cause in self._to_write:
                because_of(cause)
                await self._stream.send(channel, method, content)

    async def _beat(self) -> None:
        with suppress(AmqpConnectionLost):
            await self._stream.keep_alive()

    async def _converse(self) -> None:
        try:
            while True:
                arrived = await self._stream.receive()
                if isinstance(arrived.method, Connection.Close):
                    await self._stream.send(0, Connection.CloseOk())
                    return
                if isinstance(arrived.method, Connection.CloseOk):
                    return
                if not self._closing:
                    self._obey_or_close(arrived)
                    self._broker.show()
        except AmqpConnectionLost as error:
            self._broker.host.note(f"{self._client} is gone: {error}")

    def _obey_or_close(self, arrived: Arrived) -> None:
        """A refusal that no channel can take ends the connection; until the client agrees, all it says is ignored."""
        try:
            self._obey(arrived)
        except Refusal as refusal:
            self._closing = True
            index = arrived.method.index
            self._say(0, Connection.Close(refusal.code, refusal.text, index >> 16, index & 0xFFFF))

    def _obey(self, arrived: Arrived) -> None:
        """Pass a method on to its channel; opening and closing one is the connection's business."""
        number, channel = arrived.channel, self._channels.get(arrived.channel)
        match arrived.method:
            case Channel.Open():
                self._channels[number] = BrokerChannel(
                    number,
                    self._broker.queues,
                    lambda method, content: self._say(number, method, content),
                    self._requeued,
                )
                self._say(number, Channel.OpenOk())
            case Channel.Close() | Channel.CloseOk() as method if channel is not None:
                channel.end()
                del self._channels[number]
                if isinstance(method, Channel.Close):
                    self._say(number, Channel.CloseOk())
            case method if channel is not None:
                channel.obey(method, arrived.content)

    def _say(self, channel: int, method: base.Frame, content: Content | None = None) -> None:
        self._outbox.send_nowait((channel, method, content, present_cause()))

    def _requeued(self, messages: int) -> None:
        self._broker.host.measure("requeued", messages)
        self._broker.host.note(f"requeues {messages} that {self._client} did not acknowledge")


def _known(start_ok: Connection.StartOk) -> bool:
    """SASL PLAIN (RFC 4616): an empty identity, the user and the password, each behind a NUL."""
    _, user, password = [*str(start_ok.response).split("\0"), "", "", ""][:3]
    return start_ok.mechanism == "PLAIN" and USERS.get(user) == password
