"""Which request goes on which HTTP/2 connection, decided purely and written down.

A place in this pool is a stream, not a connection: the pool's size is the number of requests that may be in flight at once.
What happens when the server bears no more streams on a connection is the pool's policy: requests queue (httpx, browsers), or
another connection is opened (Envoy).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import trio

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
from engines.lab.recorder import because_of, present_cause
from engines.wire.h2_connection import Connection
from engines.wire.h2_stream import H2Options

Origin = tuple[str, int]

WAIT = -1
OPEN = -2


def place(loads: Sequence[tuple[int, int]], most_connections: int) -> int:
    """Where the next request goes, given (streams in flight, limit) of each usable connection to its server, oldest first.

    The index of a connection, OPEN for a new one, or WAIT. Only the first `most_connections` are used.
    """
    for index, (in_flight, limit) in enumerate(loads[:most_connections]):
        if in_flight < limit:
            return index
    return OPEN if len(loads) < most_connections else WAIT


@dataclass(eq=False)
class Member:
    """A connection of the pool and how many requests are on it."""

    number: int
    origin: Origin
    connection: Connection
    in_flight: int = 0
    opened: bool = False


@dataclass(eq=False)
class Lease:
    """One request's stay in the pool."""

    number: int
    origin: Origin
    member: Member | None = None
    over: bool = False
    granted: trio.Event = field(default_factory=trio.Event)
    cause: int = -1


class StreamPool:
    """The connections of `host`, run in `nursery`: at most `most_connections` to one server, and never more than are needed."""

    def __init__(self, host: Host, nursery: trio.Nursery, options: H2Options, most_connections: int) -> None:
        self._host = host
        self._nursery = nursery
        self._options = options
        self._most = most_connections
        self.scheme = "http" if options.tls is None else "https"
        self._record = host.recorder.record
        self.number = host.recorder.next_number("pool")
        self._members: list[Member] = []
        self._member_count = 0
        self._waiting: list[Lease] = []
        self._lease_count = 0
        self._told: dict[Origin, int] = {}  # what a server has last said of its limit holds for its next connection too
        self._size = self._most * options.assumed_streams
        self._record(PoolCreated(self.number, host.name, self._size))

    def allow(self, most_connections: int) -> None:
        """Change the policy: more connections are used at once, superfluous ones are closed when their last stream is over."""
        self._most = most_connections
        self._review()

    def retune(self, options: H2Options) -> None:
        """Other windows, on connections that are open too."""
        self._options = options
        for member in self._members:
            member.connection.retune(options)

    def enter(self, origin: Origin, label: str) -> Lease:
        """A request wants a stream to `origin`."""
        self._lease_count += 1
        lease = Lease(self._lease_count, origin)
        self._record(PoolQueued(self.number, self._host.name, lease.number, Text(label)))
        self._waiting.append(lease)
        self._assign()
        return lease

    async def granted(self, lease: Lease) -> Connection:
        """Wait until `lease` has a place on a connection, which may still be on its way."""
        if not lease.granted.is_set():
            await lease.granted.wait()
            because_of(lease.cause)
        assert lease.member is not None
        return lease.member.connection

    def leave(self, lease: Lease, outcome: str = "gave up") -> None:
        """The request is over, or does not want its place any more; `outcome` is for one that has got none."""
        if lease.over:
            return
        lease.over = True
        member = lease.member
        self._record(PoolLeft(self.number, self._host.name, lease.number, outcome if member is None else "returned"))
        if member is None:
            self._waiting.remove(lease)
        else:
            member.in_flight -= 1
            if not member.in_flight and member in self._members and not member.connection.is_open:
                self._evict(member, "gave up")  # nobody waits for this connection any more
                member.connection.close()
        self._review()

    def close(self) -> None:
        """Close all connections, without waiting."""
        self._most = 0
        if self._size:
            self._size = 0
            self._record(PoolResized(self.number, self._host.name, 0))
        members, self._members = self._members, []
        for member in members:
            member.connection.close()

    # --- decisions ------------------------------------------------------------------------------------------------------

    def _review(self) -> None:
        """Something has changed: take out what is of no use, and see who can be served now."""
        for member in list(self._members):
            if member.connection.limit_told:
                self._told[member.origin] = member.connection.limit
            if member.connection.is_open and not member.opened:
                member.opened = True
                self._record(PoolOpened(self.number, self._host.name, member.number))
            if not member.connection.usable:
                self._evict(member, _why_unfit(member.connection))
        for origin in dict.fromkeys(member.origin for member in self._members):
            for member in self._of(origin)[self._most :]:
                if not member.in_flight:
                    self._evict(member, "surplus")
                    member.connection.close()
        self._resize()
        self._assign()

    def _assign(self) -> None:
        for lease in list(self._waiting):
            members = self._of(lease.origin)
            index = place([(m.in_flight, m.connection.limit) for m in members], self._most)
            if index == WAIT:
                continue
            member = self._open(lease.origin) if index == OPEN else members[index]
            member.in_flight += 1
            lease.member, lease.cause = member, present_cause()
            self._waiting.remove(lease)
            how = "opened" if index == OPEN else "reused"
            self._record(PoolAssigned(self.number, self._host.name, lease.number, member.number, how))
            lease.granted.set()

    def _open(self, origin: Origin) -> Member:
        self._member_count += 1
        believed = self._told.get(origin, self._options.assumed_streams)
        connection = Connection(self._host, *origin, replace(self._options, assumed_streams=believed), self._review)
        member = Member(self._member_count, origin, connection)
        self._members.append(member)
        self._nursery.start_soon(connection.run)
        return member

    def _of(self, origin: Origin) -> list[Member]:
        return [member for member in self._members if member.origin == origin]

    def _evict(self, member: Member, reason: str) -> None:
        self._members.remove(member)
        self._record(PoolEvicted(self.number, self._host.name, member.number, reason))

    def _resize(self) -> None:
        """The size follows what servers allow; a pool without connections keeps what it believed last."""
        limits = [member.connection.limit for member in self._members]
        size = self._most * min(limits) if limits else self._size
        if size != self._size:
            self._size = size
            self._record(PoolResized(self.number, self._host.name, size))


def _why_unfit(connection: Connection) -> str:
    """Why a connection can take no more requests."""
    if connection.going_away:
        return "GOAWAY"
    return "closed by peer" if connection.is_open else "failed"
