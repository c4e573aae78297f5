"""ASGI applications served by Hypercorn over a host's streams: HTTP/1.1, HTTP/2 by prior knowledge, WebSocket.

Hypercorn's own connection class does the protocols; we accept the connections and hand them over.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.protocol.h11 import H11WSConnection
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocketDisconnect

from engines.lab.host import Host
from engines.lab.tcp import Endpoint
from engines.wire.tls import Credentials, TlsError, TlsStream, accept_tls
from engines.wire.websocket import Heartbeat

KEEP_ALIVE_S = 5.0
"""How long Hypercorn 0.18 keeps an idle connection open unless told otherwise."""

MAX_STREAMS = 100
"""How many requests at a time Hypercorn 0.18 allows on one HTTP/2 connection (SETTINGS_MAX_CONCURRENT_STREAMS)."""

Application = Callable[[Any, Any, Any], Any]


@dataclass(frozen=True)
class Draining:
    """How a server is told to finish: set `begun`; when `port_free` is set, another may listen in its place."""

    begun: trio.Event = field(default_factory=trio.Event)
    port_free: trio.Event = field(default_factory=trio.Event)


async def serve_http(
    host: Host,
    app: Application,
    port: int = 80,
    *,
    keep_alive_s: Callable[[], float] = lambda: KEEP_ALIVE_S,
    heartbeat: Callable[[], Heartbeat | None] = lambda: None,
    max_streams: Callable[[], int] = lambda: MAX_STREAMS,
    tls: Callable[[], Credentials] | None = None,
    draining: Draining | None = None,
) -> None:
    """Serve an ASGI application on `port` until cancelled.

    Three things are asked at each new connection: `keep_alive_s`, how long it may idle; `heartbeat`, whether the server pings
    on a WebSocket and gives silent clients up; `max_streams`, how many requests at a time HTTP/2 may bring on it (a client
    that brings more is cut off). An exception in the application, which a web server would log and answer with 500, ends
    the program: in a laboratory a bug must not look like a lesson. A ClientDisconnect or WebSocketDisconnect that the
    application lets through is no bug, and ends only the request.
    With `tls`, asked at each new connection too, it speaks inside TLS, by the protocol that ALPN agrees on; a handshake that
    fails is noted and counted ("handshakes refused"). Once `draining` has begun it takes no new connections, closes those that
    idle, answers what has been asked, and returns.
    Raises OSError when the port is in use.
    """
    failures: list[Exception] = []
    context = WorkerContext(None)

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        try:
            await app(scope, receive, send)
        except (ClientDisconnect, WebSocketDisconnect):
            return  # the client left in the middle of its request: there is nobody to answer
        except Exception as error:
            failures.append(error)
            nursery.cancel_scope.cancel()

    async def drain(draining: Draining) -> None:
        await draining.begun.wait()
        listener.close()
        draining.port_free.set()
        await context.terminated.set()

    await trio.lowlevel.checkpoint_if_cancelled()  # a program that was killed before it got here must not take the port
    async with host.listen(port) as listener:
        async with trio.open_nursery() as nursery:
            if draining is not None:
                nursery.start_soon(drain, draining)
            while True:
                try:
                    endpoint = await listener.accept()
                except trio.ClosedResourceError:
                    if draining is None or not draining.begun.is_set():
                        raise
                    break
                config = _config(keep_alive_s(), heartbeat(), max_streams())
                if tls is None:
                    stream = _ServedStream(endpoint)
                    nursery.start_soon(_serve_connection, watched, context, config, endpoint, stream)
                else:
                    nursery.start_soon(_serve_securely, host, watched, context, config, endpoint, tls())
        if failures:
            raise failures[0]


async def _serve_securely(
    host: Host, app: Application, context: WorkerContext, config: Config, endpoint: Endpoint, credentials: Credentials
) -> None:
    """TLS first. The application finds the client's name, which was checked, in the scope (ASGI's TLS extension)."""
    try:
        secure = await accept_tls(endpoint, credentials)
    except TlsError as error:
        host.note(f"handshake refused: {error}")
        host.measure("handshakes refused")
        return

    async def introduced(scope: Any, receive: Any, send: Any) -> None:
        scope.setdefault("extensions", {})["tls"] = {"client_cert_name": f"CN={secure.peer}" if secure.peer else None}
        await app(scope, receive, send)

    await _serve_connection(introduced, context, config, endpoint, _SecureServedStream(endpoint, secure))


async def _serve_connection(
    app: Application,
    context: WorkerContext,
    config: Config,
    endpoint: Endpoint,
    served: "_ServedStream | _SecureServedStream",
) -> None:
    # Hypercorn's annotations want a SocketStream; it uses no more of it than these have.
    stream: Any = served
    try:
        await _PromptTCPServer(ASGIWrapper(app), config, context, {}, stream)
    finally:
        endpoint.close()  # Hypercorn's own closing can be cancelled half way


class _PromptTCPServer(TCPServer):
    """Hypercorn's connection, which after the client's FIN would sit out its keep-alive time before it closes, and after the
    end of a WebSocket the time until its next ping."""

    async def _read_data(self) -> None:
        await super()._read_data()
        await self.idle_task.stop()
        if isinstance(getattr(self.protocol.protocol, "connection", None), H11WSConnection):
            await self._close()  # whoever sends no more WebSocket frames reads none either


def _config(keep_alive_s: float, heartbeat: Heartbeat | None, max_streams: int) -> Config:
    config = Config()
    config.errorlog = config.accesslog = None
    config.include_date_header = False  # the wall clock must not be in the bytes
    config.include_server_header = False
    config.keep_alive_timeout = keep_alive_s
    config.h2_max_concurrent_streams = max_streams
    config.keep_alive_max_requests = 2**31  # by default Hypercorn hangs up after 1000
    if heartbeat is not None:
        # Hypercorn pings and looks for no pong, but it can limit silence: of a live client, a pong comes in every interval.
        config.websocket_ping_interval = heartbeat.interval_s
        config.read_timeout = heartbeat.interval_s + heartbeat.timeout_s  # type: ignore[assignment]  # trio takes a float
    return config


@dataclass(frozen=True, slots=True)
class _Socket:
    """As much of a socket as Hypercorn asks for: the addresses that go into the ASGI scope."""

    local: tuple[str, int]
    remote: tuple[str, int]
    family: int = 2  # AF_INET: addresses are (host, port)

    def getsockname(self) -> tuple[str, int]:
        return self.local

    def getpeername(self) -> tuple[str, int]:
        return self.remote


def _addresses(endpoint: Endpoint) -> _Socket:
    return _Socket((endpoint.local, endpoint.port), (endpoint.remote, 49_152 + endpoint.flow % 16_384))


class _ServedStream:
    """An endpoint as Hypercorn wants it: with a `socket`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.socket = _addresses(endpoint)
        self.send_all = endpoint.send_all
        self.receive_some = endpoint.receive_some
        self.send_eof = endpoint.send_eof
        self.aclose = endpoint.aclose


class _SecureServedStream:
    """A TLS stream as Hypercorn wants it: with a handshake, which is over, and the `socket` below."""

    def __init__(self, endpoint: Endpoint, secure: TlsStream) -> None:
        self.transport_stream = _ServedStream(endpoint)
        self.send_all = secure.send_all
        self.receive_some = secure.receive_some
        self.aclose = secure.aclose
        self._protocol = secure.protocol

    async def do_handshake(self) -> None:
        await trio.lowlevel.checkpoint()

    def selected_alpn_protocol(self) -> str | None:
        return self._protocol
