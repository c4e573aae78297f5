"""httpcore's connection pool, with every decision recorded and a size that can be changed while it works.

The decisions are httpcore's own; we look at the pool before and after each of them and write down the difference.
"""

import math

import httpcore
from httpcore._async.connection_pool import AsyncPoolRequest
from httpcore._async.interfaces import AsyncConnectionInterface

from engines.lab.facts import (
    PoolAssigned,
    PoolCreated,
    PoolEvicted,
    PoolLeft,
    PoolQueued,
    PoolResized,
    Text,
)
from engines.lab.host import Host
from engines.wire.backend import HostBackend


class _Ticket:
    """One request's stay in the pool."""

    def __init__(self, number: int, pool_limit_s: float) -> None:
        self.number = number
        self.pool_limit_s = pool_limit_s
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

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """As httpcore's, and a pool timeout is recorded."""
        try:
            return await super().handle_async_request(request)
        except httpcore.PoolTimeout:
            self._host.timed_out("pool", request.extensions["timeout"]["pool"])
            raise httpcore.PoolTimeout("no connection became free in time") from None

    def _assign_requests_to_connections(self) -> list[AsyncConnectionInterface]:
        """httpcore's decision, taken down in writing."""
        reasons = {connection: _why_unfit(connection) for connection in self._connections}
        self._note_newcomers()
        closing = super()._assign_requests_to_connections()
        for connection, reason in reasons.items():
            if connection not in self._connections:
                member = self._members.pop(connection)
                self._record(PoolEvicted(self.number, self._host.name, member, reason or "surplus"))
        for request in self._requests:
            self._note_assignment(request)
        self._note_departures()
        return closing

    def _note_newcomers(self) -> None:
        for request in self._requests:
            if request not in self._tickets:
                limit = request.request.extensions.get("timeout", {}).get("pool")
                self._ticket_count += 1
                self._tickets[request] = _Ticket(self._ticket_count, math.inf if limit is None else limit)
                label = f"{request.request.method.decode()} {request.request.url.target.decode()}"
                self._record(PoolQueued(self.number, self._host.name, self._ticket_count, Text(label)))

    def _note_assignment(self, request: AsyncPoolRequest) -> None:
        """Record the connection that a request has got, also when it had to be given another one."""
        ticket = self._tickets[request]
        if request.connection is None:
            ticket.member = None
            return
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
            outcome = "returned" if ticket.member is not None else "gave up"
            self._record(PoolLeft(self.number, self._host.name, ticket.number, outcome))


def _why_unfit(connection: AsyncConnectionInterface) -> str:
    """Why httpcore would remove this connection of its own accord, or an empty string."""
    if connection.is_closed():
        return "closed"
    if connection.has_expired():
        return "closed by peer"
    return ""
