"""A WebSocket client on a host's streams (RFC 6455): wsproto does the protocol, this does the waiting.

Not httpx-ws 0.9: it never looks at Sec-WebSocket-Accept, closes the connection without waiting for the server's Close, and
draws its keys and pings from `secrets`, which would make every run another.
No extension is offered, so nothing is compressed: what is on the wire can be read.
"""

import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import ProtocolError

from engines.lab.host import Host
from engines.lab.knobs import Number

NORMAL, GOING_AWAY, ABNORMAL, INTERNAL_ERROR, TRY_AGAIN_LATER = 1000, 1001, 1006, 1011, 1013
"""Close codes: RFC 6455, section 7.4.1; 1013 is from IANA's registry. 1006 is never sent: it says that no Close came."""

OPEN_TIMEOUT_S = CLOSE_TIMEOUT_S = 10.0
"""How long to wait for the opening and for the closing handshake, as the websockets library (17.4) does."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A ping every `interval_s`; a peer from whom nothing comes for `timeout_s` after it is taken for dead."""

    interval_s: float
    timeout_s: float


HEARTBEAT_KNOBS = (
    Number("ping-interval", "ping every", "s", 20.0, 0.5, 600.0, 5.0, "pause between two pings (websockets 17.4: 20 s)"),
    Number("ping-timeout", "pong within", "s", 20.0, 0.5, 600.0, 5.0, "wait for a pong before giving up (websockets 17.4: 20 s)"),
)  # fmt: skip


def heartbeat_of(host: Host) -> Heartbeat:
    """What the knobs say now."""
    return Heartbeat(host.knobs.number("ping-interval"), host.knobs.number("ping-timeout"))


class WebSocketError(Exception):
    """There is no connection: it could not be opened, or it is over."""


class WebSocketClosedError(WebSocketError):
    """The connection is over. `code` is the peer's, or ABNORMAL where none came."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"closed with {code}" + (f", {reason}" if reason else ""))
        self.code = code
        self.reason = reason


class WebSocket:
    """An open connection. Made by `connect_websocket`; one task may receive, any may send.

    Pings are answered, and pongs noticed, while somebody receives: a program that does not read does not answer.
    """

    def __init__(self, host: Host, stream: trio.abc.Stream, connection: WSConnection) -> None:
        self._host = host
        self._stream = stream
        self._connection = connection
        self._send_lock = trio.Lock()
        self._messages: deque[str | bytes] = deque()
        self._fragments: list[str] | list[bytes] = []
        self._pings = 0
        self._pong = trio.Event()
        self._over: WebSocketClosedError | None = None

    async def send(self, text: str) -> None:
        """Send a text message; waits while the buffers are full. Raises WebSocketClosedError."""
        await self._send(TextMessage(data=text))

    async def receive(self) -> str | bytes:
        """The next message, whole, however many frames it came in. Raises WebSocketClosedError."""
        while not self._messages:
            await self._read()
        return self._messages.popleft()

    def __aiter__(self) -> AsyncIterator[str | bytes]:
        """All messages until the connection is over, which raises WebSocketClosedError."""
        return self

    async def __anext__(self) -> str | bytes:
        return await self.receive()

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Send Close, and wait until the server has answered it and closed the connection (section 7.1.1)."""
        if self._over is not None:
            return
        with trio.move_on_after(CLOSE_TIMEOUT_S) as waiting, suppress(WebSocketClosedError):
            await self._send(CloseConnection(code, reason))
            while True:
                await self._read()
        if waiting.cancelled_caught:
            self._host.timed_out("close", CLOSE_TIMEOUT_S)
        self._over = self._over or WebSocketClosedError(code, reason)

    async def keep_alive(self, heartbeat: Callable[[], Heartbeat | None]) -> None:
        """Ping now and then, and break the connection off when no pong comes. `heartbeat` is asked before each ping."""
        waited_s = 0.0  # for the last pong: it is part of the interval
        while self._over is None:
            now = heartbeat()
            if now is None:
                return
            await trio.sleep(max(0.0, now.interval_s - waited_s))
            pinged_s = trio.current_time()
            self._pings += 1
            self._pong = trio.Event()
            try:
                with trio.move_on_after(now.timeout_s):
                    await self._send(Ping(self._pings.to_bytes(4, "big")))
                    await self._pong.wait()
                    waited_s = trio.current_time() - pinged_s
                    continue
            except WebSocketClosedError:
                return
            self._host.timed_out("pong", now.timeout_s)
            await self._break_off("no pong came")

    # --- the protocol ---------------------------------------------------------------------------------------------------

    async def open(self, server: str, path: str) -> None:
        """The opening handshake (section 4.1). Raises WebSocketError."""
        await self._send(Request(host=server, target=path))
        while self._connection.state is ConnectionState.CONNECTING:
            await self._read()

    async def _send(self, event: Event) -> None:
        async with self._send_lock:
            if self._over is not None:
                raise self._over
            if self._connection.state is not ConnectionState.CONNECTING and isinstance(event, Pong | CloseConnection):
                if self._connection.state not in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
                    return
            elif self._connection.state not in (ConnectionState.CONNECTING, ConnectionState.OPEN):
                raise WebSocketClosedError(ABNORMAL, "it is closing")
            try:
                await self._stream.send_all(self._connection.send(event))
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise self._lost(str(error)) from None

    async def _read(self) -> None:
        """Take the next bytes that arrive, and do what they ask for."""
        if self._over is not None:
            raise self._over
        try:
            data = await self._stream.receive_some()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise self._lost(str(error)) from None
        if not data:
            raise self._lost("the connection ended without a Close")
        try:
            self._connection.receive_data(bytes(data))
            events = list(self._connection.events())
        except ProtocolError as error:
            raise self._lost(str(error)) from None
        for event in events:
            await self._handle(event)

    async def _handle(self, event: Event) -> None:
        match event:
            case TextMessage() | BytesMessage():
                self._fragments.append(event.data)  # type: ignore[arg-type]  # all of one message are of one kind
                if event.message_finished:
                    self._messages.append(type(event.data)().join(self._fragments))  # type: ignore[arg-type]
                    self._fragments = []
            case Ping():
                await self._send(event.response())
            case Pong():
                self._pong.set()
            case CloseConnection():
                await self._closing(event)
            case RejectConnection():
                raise WebSocketError(f"the server answered {event.status_code} instead of 101")
            case AcceptConnection():
                pass  # wsproto has compared Sec-WebSocket-Accept with our key

    async def _closing(self, event: CloseConnection) -> None:
        """A Close came: answer it, unless it is itself the answer, and let the server close the connection first."""
        await self._send(event.response())
        with trio.move_on_after(CLOSE_TIMEOUT_S), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while await self._stream.receive_some():
                pass
        self._over = WebSocketClosedError(event.code, event.reason or "")
        raise self._over

    async def _break_off(self, reason: str) -> None:
        """Say 1011 to a peer that probably does not hear it, as the websockets library does, and hang up."""
        with trio.move_on_after(1.0):
            with suppress(WebSocketClosedError):
                await self._send(CloseConnection(INTERNAL_ERROR, reason))
        self._lost(reason)
        await self._stream.aclose()

    def _lost(self, reason: str) -> WebSocketClosedError:
        self._over = self._over or WebSocketClosedError(ABNORMAL, reason)
        return self._over


@asynccontextmanager
async def connect_websocket(
    host: Host,
    server: str,
    path: str = "/",
    *,
    port: int = 80,
    heartbeat: Callable[[], Heartbeat | None] = lambda: None,
) -> AsyncIterator[WebSocket]:
    """Open a connection from `host`; leaving the block closes it with 1000, an exception with 1011.

    Raises WebSocketError. A block that is cancelled, as a program is that gets killed, says nothing: the peer sees 1006.
    """
    failure: Exception | None = None
    async with await _connected(host, server, port) as stream:
        ws = WebSocket(host, stream, WSConnection(ConnectionType.CLIENT))
        await _opened(ws, host, server, path)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.keep_alive, heartbeat)
            try:
                yield ws
            except Exception as error:
                failure = error  # kept, for the nursery would wrap it in a group
            nursery.cancel_scope.cancel()
        await ws.close(INTERNAL_ERROR if failure else NORMAL)
    if failure:
        raise failure


async def _connected(host: Host, server: str, port: int) -> trio.abc.Stream:
    limit_s = host.knobs.number("connect-timeout") if "connect-timeout" in host.knobs else OPEN_TIMEOUT_S
    with trio.move_on_after(limit_s) if limit_s < math.inf else trio.CancelScope():
        try:
            return await host.connect(server, port)
        except OSError as error:
            raise WebSocketError(str(error)) from None
    host.timed_out("connect", limit_s)
    raise WebSocketError(f"no connection to {server} within {limit_s:g} s")


async def _opened(ws: WebSocket, host: Host, server: str, path: str) -> None:
    with trio.move_on_after(OPEN_TIMEOUT_S) as waiting:
        await ws.open(server, path)
    if waiting.cancelled_caught:
        host.timed_out("handshake", OPEN_TIMEOUT_S)
        raise WebSocketError(f"no answer to the handshake within {OPEN_TIMEOUT_S:g} s")
