"""Both ends of the plain protocol: who calls, with many calls at once over one connection, and who serves."""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from engines.lab.facts import Role
from engines.lab.host import Host
from engines.lab.recorder import because_of, present_cause
from engines.lab.tcp import Endpoint
from engines.wire.plain import MalformedPlain, Plain, line_at


class PlainLost(Exception):
    """The connection is gone, or was never there. Whether what was asked has been done, nobody can say."""


class PlainStream:
    """Messages over one connection."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._received = bytearray()
        self._turn = trio.Lock()

    async def send(self, message: Plain) -> None:
        """Raises PlainLost."""
        try:
            async with self._turn:
                await self._endpoint.send_all(message.encode())
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise PlainLost(str(error)) from error

    async def push(self, text: str, body: bytes = b"") -> None:
        """Say something that nobody asked for. Raises PlainLost."""
        await self.send(Plain(Role.PUSH, 0, text, body))

    async def receive(self) -> Plain:
        """The next message. Raises PlainLost."""
        while (message := self._taken()) is None:
            try:
                data = await self._endpoint.receive_some()
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise PlainLost(str(error)) from error
            if not data:
                raise PlainLost("closed by the other side")
            self._received += data
        return message

    def _taken(self) -> Plain | None:
        """Take a message off the front of what has come, if it is all there."""
        try:
            line = line_at(self._received)
        except MalformedPlain as error:
            raise PlainLost(str(error)) from error
        if line is None or len(self._received) < line.size + line.body_size:
            return None
        body = bytes(self._received[line.size : line.size + line.body_size])
        del self._received[: line.size + line.body_size]
        return Plain(line.role, line.tag, line.text, body)

    def close(self) -> None:
        """Close the connection, without waiting."""
        self._endpoint.close()


# --- who calls ----------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Call:
    """A request that waits for its answer."""

    over: trio.Event = field(default_factory=trio.Event)
    answer: Plain | None = None
    cause: int = -1


class PlainCaller:
    """Calls one server, over one connection that is opened when it is needed, and opened anew after it was lost.

    `on_push` gets what the server says unasked, at the moment of its arrival; `on_lost` is called when a connection is gone.
    What runs in the background runs in `nursery`.
    """

    def __init__(
        self,
        host: Host,
        nursery: trio.Nursery,
        server: str,
        port: int,
        on_push: Callable[[Plain], None] = lambda message: None,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._host = host
        self._nursery = nursery
        self._address = (server, port)
        self._on_push = on_push
        self._on_lost = on_lost
        self._stream: PlainStream | None = None
        self._calls: dict[int, _Call] = {}
        self._connecting = trio.Lock()

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as we know."""
        return self._stream is not None

    async def open(self) -> bool:
        """Connect before there is anything to ask, so that the first call need not wait for it. False when that fails."""
        try:
            await self._connected()
        except PlainLost:
            return False
        return True

    async def call(self, text: str, body: bytes = b"", *, timeout_s: float = math.inf) -> Plain:
        """Ask, and wait for the answer (a response or an error).

        Raises PlainLost when the connection fails, or is given up because `timeout_s` of silence have passed.
        """
        try:
            with trio.fail_after(timeout_s):
                stream = await self._connected()
                tag = next(tag for tag in range(len(self._calls) + 1) if tag not in self._calls)
                call = self._calls[tag] = _Call()
                await stream.send(Plain(Role.REQUEST, tag, text, body))
                await call.over.wait()
        except trio.TooSlowError:
            self._host.timed_out("read", timeout_s)
            self.hang_up()
            raise PlainLost(f"no answer within {timeout_s:g} s") from None
        if call.answer is None:
            raise PlainLost("the connection was lost before the answer came")
        because_of(call.cause)
        return call.answer

    async def tell(self, text: str, body: bytes = b"", role: Role = Role.PUSH) -> None:
        """Say something that wants no answer. Raises PlainLost."""
        await (await self._connected()).send(Plain(role, 0, text, body))

    def hang_up(self) -> None:
        """Close the connection; whoever waits for an answer on it gets PlainLost."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
            self._on_lost()
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.over.set()

    async def _connected(self) -> PlainStream:
        async with self._connecting:
            if self._stream is None:
                try:
                    self._stream = PlainStream(await self._host.connect(*self._address))
                except OSError as error:
                    raise PlainLost(str(error)) from error
                self._nursery.start_soon(self._listen, self._stream)
            return self._stream

    async def _listen(self, stream: PlainStream) -> None:
        """Hand out what comes in, until the connection is lost."""
        try:
            while self._stream is stream:
                message = await stream.receive()
                if message.role is Role.PUSH:
                    self._on_push(message)
                elif call := self._calls.pop(message.tag, None):
                    call.answer, call.cause = message, present_cause()
                    call.over.set()
        except PlainLost:
            if self._stream is stream:
                self.hang_up()


# --- who serves ---------------------------------------------------------------------------------------------------------

Handler = Callable[[Plain, PlainStream], Awaitable[Plain | None]]


def answer(request: Plain, text: str, body: bytes = b"") -> Plain:
    """The response to `request`."""
    return Plain(Role.RESPONSE, request.tag, text, body)


def refusal(request: Plain, text: str) -> Plain:
    """The answer that it cannot be done, and why."""
    return Plain(Role.ERROR, request.tag, text)


async def serve_plain(host: Host, port: int, handle: Handler) -> None:
    """Serve on `port` until cancelled: `handle` gets each message with its connection, and returns the answer if there is one.

    Messages are handled concurrently; what was begun is finished even when whoever asked has gone. `handle` may let PlainLost
    through: then nobody gets an answer. Raises OSError when the port is in use.
    """

    async def converse(stream: PlainStream) -> None:
        try:
            while True:
                nursery.start_soon(reply, await stream.receive(), stream)
        except PlainLost:
            pass
        finally:
            stream.close()

    async def reply(message: Plain, stream: PlainStream) -> None:
        try:
            said = await handle(message, stream)
            if said is not None:
                await stream.send(said)
        except PlainLost:
            pass  # there is nobody to answer any more

    async with host.listen(port) as listener, trio.open_nursery() as nursery:
        while True:
            nursery.start_soon(converse, PlainStream(await listener.accept()))
