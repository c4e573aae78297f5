"""httpcore's connection pool, with every decision recorded and a size that can be changed while it works.

The decisions are httpcore's own, but for one: httpcore 1.0.9 promises an HTTP/1.1 connection that has become free to every
request in the queue at once. All but one of them find it taken, queue again, and begin to count their pool timeout anew, while
whoever asks in that instant overtakes them. Here a connection is promised to one request at a time, in the order of the queue.
"""

import math
import ssl
from collections.abc import Callable, Iterable
from typing import Any

import httpcore
import trio
from httpcore._async.connection_pool import AsyncPoolRequest
from httpcore._async.interfaces import AsyncConnectionInterface

from engines.lab.facts import (
    PoolAssigned,
    PoolCreated,
    PoolEvicted,
    PoolLeft,
    PoolOpened,
    PoolQueued,
    PoolResized,
    Text,
)
from engines.lab.host import Host
from engines.wire.backend import HostBackend


class _Ticket:
    """One request's stay in the pool."""

    def __init__(self, number: int, gives_up_s: float) -> None:
        self.number = number
        self.gives_up_s = gives_up_s  # when its patience ends
        self.member: int | None = None


class RecordedPool(httpcore.AsyncConnectionPool):
    """At most `size` connections from `host`; requests beyond that wait their turn, first come, first served."""

    def __init__(self, host: Host, size: int, *, http1: bool = True, http2: bool = False) -> None:
        super().__init__(
            max_connections=size,
            max_keepalive_connections=size,
            keepalive_expiry=None,  # a dead connection is found by looking at it, not by a clock
            http1=http1,
            http2=http2,
            network_backend=HostBackend(host),
        )
        self._host = host
        self._record = host.recorder.record
        self.number = host.recorder.next_number("pool")
        self._tickets: dict[AsyncPoolRequest, _Ticket] = {}
        self._members: dict[AsyncConnectionInterface, int] = {}
        self._member_count = 0
        self._ticket_count = 0
        self._record(PoolCreated(self.number, host.name, size))

    async def resize(self, size: int) -> None:
        """Change the number of connections: growing serves waiting requests at once, shrinking waits until some are idle."""
        self._max_connections = self._max_keepalive_connections = size
        self._record(PoolResized(self.number, self._host.name, size))
        await self._close_connections(self._assign_requests_to_connections())

    async def aclose(self) -> None:
        """Close all connections; whoever still uses one learns of it."""
        self._record(PoolResized(self.number, self._host.name, 0))
        await super().aclose()

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """As httpcore's, and a pool timeout is recorded."""
        try:
            return await super().handle_async_request(request)
        except httpcore.PoolTimeout:
            self._host.timed_out("pool", request.extensions["timeout"]["pool"])
            raise httpcore.PoolTimeout("no connection became free in time") from None

    def create_connection(self, origin: httpcore.Origin) -> httpcore.AsyncConnectionInterface:
        """As httpcore's for an origin without a proxy, and the pool hears of it when the connection is there."""
        connection = httpcore.AsyncHTTPConnection(
            origin=origin,
            ssl_context=self._ssl_context,
            keepalive_expiry=self._keepalive_expiry,
            http1=self._http1,
            http2=self._http2,
            network_backend=_Announcing(
                self._network_backend, lambda: self._note_opened(connection), secure=origin.scheme == b"https"
            ),
        )
        return connection

    def _note_opened(self, connection: AsyncConnectionInterface) -> None:
        member = self._members.get(connection)
        if member is not None:
            self._record(PoolOpened(self.number, self._host.name, member))

    def _assign_requests_to_connections(self) -> list[AsyncConnectionInterface]:
        """httpcore's decision, taken down in writing."""
        reasons = {connection: _why_unfit(connection) for connection in self._connections}
        self._note_departures()
        self._note_newcomers()
        closing = self._let_unfit_go() + self._serve_queue()
        for connection, reason in reasons.items():
            if connection not in self._connections:
                member = self._members.pop(connection)
                self._record(PoolEvicted(self.number, self._host.name, member, reason or "surplus"))
        for request in self._requests:
            self._note_assignment(request)
        return closing

    def _let_unfit_go(self) -> list[AsyncConnectionInterface]:
        """Take out connections that are closed or expired, and idle ones beyond the size; returns those still to be closed."""
        closing = []
        for connection in list(self._connections):
            surplus = connection.is_idle() and len(self._connections) > self._max_keepalive_connections
            if connection.is_closed():
                self._connections.remove(connection)
            elif connection.has_expired() or (surplus and connection not in self._promised()):
                self._connections.remove(connection)
                closing.append(connection)
        return closing

    def _serve_queue(self) -> list[AsyncConnectionInterface]:
        """Give each queued request, oldest first, a free connection, or a new one while there is room.

        Room can be made by closing a connection that idles for another origin; returns those.
        """
        closing = []
        promised = self._promised()
        for request in [r for r in self._requests if r.is_queued()]:
            origin = request.request.url.origin
            idle = [c for c in self._connections if c.is_idle() and c not in promised]
            free = [
                c for c in self._connections if c.can_handle_request(origin) and c.is_available() and c not in promised
            ]
            if not free:
                if len(self._connections) >= self._max_connections:
                    if not idle:
                        continue
                    self._connections.remove(idle[0])
                    closing.append(idle[0])
                free = [self.create_connection(origin)]
                self._connections.append(free[0])
            request.assign_to_connection(free[0])
            promised.add(free[0])
        return closing

    def _promised(self) -> set[AsyncConnectionInterface]:
        """Connections that a request has been given and is not done with."""
        return {request.connection for request in self._requests if request.connection is not None}

    def _note_newcomers(self) -> None:
        for request in self._requests:
            if request not in self._tickets:
                limit = request.request.extensions.get("timeout", {}).get("pool")
                self._ticket_count += 1
                gives_up_s = math.inf if limit is None else trio.current_time() + limit
                self._tickets[request] = _Ticket(self._ticket_count, gives_up_s)
                label = f"{request.request.method.decode()} {request.request.url.target.decode()}"
                self._record(PoolQueued(self.number, self._host.name, self._ticket_count, Text(label)))

    def _note_assignment(self, request: AsyncPoolRequest) -> None:
        """Record the connection that a request has got, also when it had to be given another one."""
        ticket = self._tickets[request]
        if request.connection is None:
            ticket.member = None
            return
        if request.connection not in self._connections:
            return  # it died, and has left the pool before the request that held it
        how = "reused"
        if request.connection not in self._members:
            how = "opened"
            self._member_count += 1
            self._members[request.connection] = self._member_count
        member = self._members[request.connection]
        if ticket.member != member:
            ticket.member = member
            self._record(PoolAssigned(self.number, self._host.name, ticket.number, member, how))

    def _note_departures(self) -> None:
        for request in [r for r in self._tickets if r not in self._requests]:
            ticket = self._tickets.pop(request)
            late = trio.current_time() >= ticket.gives_up_s
            outcome = "returned" if ticket.member is not None else "timed out" if late else "gave up"
            self._record(PoolLeft(self.number, self._host.name, ticket.number, outcome))


class _Announcing(httpcore.AsyncNetworkBackend):
    """A backend that says when a connection can carry requests: one that is to be `secure` only after its TLS handshake."""

    def __init__(self, backend: httpcore.AsyncNetworkBackend, opened: Callable[[], None], *, secure: bool) -> None:
        self._backend = backend
        self._opened = opened
        self._secure = secure

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        stream = await self._backend.connect_tcp(host, port, timeout, local_address, socket_options)
        if self._secure:
            return _Insecure(stream, self._opened)
        self._opened()
        return stream

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


class _Insecure(httpcore.AsyncNetworkStream):
    """A connection before its TLS handshake."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, secured: Callable[[], None]) -> None:
        self._stream = stream
        self._secured = secured

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        self._secured()
        return stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _why_unfit(connection: AsyncConnectionInterface) -> str:
    """Why httpcore would remove this connection of its own accord, or an empty string."""
    if connection.is_closed():
        return "closed"
    if connection.has_expired():
        return "closed by peer"
    return ""
