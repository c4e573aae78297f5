"""A pool of connections as programs keep one in front of a database: some are lent, some idle, and who comes too late queues.

It knows no protocol: how a connection is opened is told to it. A request that finds none idle opens one while there is room,
and pays for the greeting; the others wait in line. Whatever is decided is written down.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Generic, Protocol, TypeVar

import trio

from engines.lab.facts import (
    PoolAssigned,
    PoolCreated,
    PoolEvicted,
    PoolLeft,
    PoolOpened,
    PoolOpening,
    PoolQueued,
    PoolResized,
    Text,
)
from engines.lab.host import Host
from engines.lab.recorder import because_of, present_cause

RETRY_S = 1.0
"""How long the pool waits before it tries again to open a connection ahead of need."""


class Pooled(Protocol):
    """What a connection must be able to say and do."""

    @property
    def usable(self) -> bool:
        """Whether it can be lent once more; found by looking, without asking the other side."""
        ...

    async def aclose(self) -> None: ...


C = TypeVar("C", bound=Pooled)


class PoolTimeout(Exception):
    """No connection was to be had in time."""


@dataclass(frozen=True, slots=True)
class PoolTerms:
    """How a pool is kept: at most `size` connections, idle ones closed after `idle_s` but for `min_idle` that are always
    there (opened ahead of need), and none lent that is older than `lifetime_s`."""

    size: int
    min_idle: int = 0
    idle_s: float = inf
    lifetime_s: float = inf


@dataclass(eq=False)
class _Member(Generic[C]):
    """A connection of the pool; None while it is being opened."""

    number: int
    connection: C | None = None
    lent: bool = False
    opened_s: float = 0.0
    idle_since_s: float = 0.0


@dataclass(eq=False)
class _Ticket(Generic[C]):
    """One request's stay in the pool."""

    number: int
    member: _Member[C] | None = None
    outcome: str = "gave up"
    granted: trio.Event = field(default_factory=trio.Event)
    cause: int = -1


class ConnectionPool(Generic[C]):
    """The connections of `host`, each made by `connect`; `run` keeps house and must run as long as the pool is used."""

    def __init__(self, host: Host, connect: Callable[[], Awaitable[C]], terms: PoolTerms) -> None:
        self.terms = terms
        self._host = host
        self._connect = connect
        self._record = host.recorder.record
        self.number = host.recorder.next_number("pool")
        self._members: list[_Member[C]] = []
        self._member_count = 0
        self._waiting: list[_Ticket[C]] = []
        self._ticket_count = 0
        self._closing: list[C] = []
        self._something_to_do = trio.Event()
        self._retry_at_s = -inf
        self._record(PoolCreated(self.number, host.name, terms.size))

    # --- for those who need a connection --------------------------------------------------------------------------------

    @asynccontextmanager
    async def connection(self, label: str, wait_s: float = inf) -> AsyncIterator[C]:
        """A connection for as long as one is inside, not later than after `wait_s`; `label` says what for.

        Raises PoolTimeout, or what `connect` raises.
        """
        ticket = self._queue(label)
        try:
            yield await self._granted(ticket, wait_s)
        finally:
            self._leave(ticket)

    def change(self, terms: PoolTerms) -> None:
        """Other terms, from now on. Growing serves those who wait at once; shrinking never takes a connection from anybody."""
        if terms.size != self.terms.size:
            self._record(PoolResized(self.number, self._host.name, terms.size))
        self.terms = terms
        self._review()

    async def run(self) -> None:
        """Keep house for ever: close what is idle too long or too old, open what is wanted ahead of need."""
        async with trio.open_nursery() as nursery:
            while True:
                self._something_to_do = trio.Event()
                due_s = self._keep_house(nursery)
                with trio.move_on_at(due_s):
                    await self._something_to_do.wait()

    async def _granted(self, ticket: _Ticket[C], wait_s: float) -> C:
        """What `ticket` has been given, once it is there: the time limit holds for the opening too."""
        with trio.move_on_after(wait_s):
            if not ticket.granted.is_set():
                await ticket.granted.wait()
                because_of(ticket.cause)
            if ticket.member is not None and ticket.member.connection is None:
                ticket.outcome = "failed"
                await self._open(ticket.member)
        if ticket.member is None or ticket.member.connection is None:
            ticket.outcome = "timed out"
            self._host.timed_out("pool", wait_s)
            raise PoolTimeout(f"no connection within {wait_s:g} s")
        ticket.outcome = "returned"
        return ticket.member.connection

    # --- decisions ------------------------------------------------------------------------------------------------------

    def _queue(self, label: str) -> _Ticket[C]:
        self._ticket_count += 1
        ticket = _Ticket[C](self._ticket_count)
        self._record(PoolQueued(self.number, self._host.name, ticket.number, Text(label)))
        self._waiting.append(ticket)
        self._serve()
        return ticket

    def _leave(self, ticket: _Ticket[C]) -> None:
        member = ticket.member
        self._record(PoolLeft(self.number, self._host.name, ticket.number, ticket.outcome))
        if member is None:
            self._waiting.remove(ticket)
            return
        member.lent, member.idle_since_s = False, trio.current_time()
        if member in self._members and (member.connection is None or not member.connection.usable):
            self._evict(member, "failed" if member.connection is not None else "gave up")
        self._review()

    def _review(self) -> None:
        """Something has changed: take out what is of no use, and see who can be served now."""
        for member in self._idle():
            if reason := self._why_unfit(member):
                self._evict(member, reason)
        self._serve()
        self._something_to_do.set()

    def _idle(self) -> list[_Member[C]]:
        return [member for member in self._members if not member.lent and member.connection is not None]

    def _why_unfit(self, member: _Member[C]) -> str:
        """Why a connection that nobody holds must not be lent again, or an empty string."""
        assert member.connection is not None
        if not member.connection.usable:
            return "closed by peer"
        if len(self._members) > self.terms.size:
            return "surplus"
        return "too old" if trio.current_time() >= member.opened_s + self.terms.lifetime_s else ""

    def _serve(self) -> None:
        """Give those who wait, oldest first, a connection that is idle, or a new one while there is room."""
        while self._waiting:
            # The one that was used last: the others may grow old in peace, and be closed if they are not needed.
            member = max(self._idle(), key=lambda m: (m.idle_since_s, m.number), default=None)
            if member is not None and (reason := self._why_unfit(member)):
                self._evict(member, reason)
                continue
            how = "reused"
            if member is None:
                if len(self._members) >= self.terms.size:
                    return
                member, how = self._new_member(), "opened"
            ticket = self._waiting.pop(0)
            member.lent = True
            ticket.member, ticket.cause = member, present_cause()
            self._record(PoolAssigned(self.number, self._host.name, ticket.number, member.number, how))
            ticket.granted.set()
            if self.terms.min_idle:
                self._something_to_do.set()

    def _new_member(self) -> _Member[C]:
        self._member_count += 1
        member = _Member[C](self._member_count)
        self._members.append(member)
        return member

    async def _open(self, member: _Member[C]) -> None:
        try:
            member.connection = await self._connect()
        except BaseException as error:
            self._evict(member, "failed" if isinstance(error, Exception) else "gave up")
            raise
        member.opened_s = member.idle_since_s = trio.current_time()
        self._record(PoolOpened(self.number, self._host.name, member.number))

    def _evict(self, member: _Member[C], reason: str) -> None:
        self._members.remove(member)
        self._record(PoolEvicted(self.number, self._host.name, member.number, reason))
        if member.connection is not None:
            self._closing.append(member.connection)
            self._something_to_do.set()

    # --- housekeeping ---------------------------------------------------------------------------------------------------

    def _keep_house(self, nursery: trio.Nursery) -> float:
        """Do what is due; returns when the next thing will be."""
        now_s, due_s, terms = trio.current_time(), inf, self.terms
        idle = sorted(self._idle(), key=lambda member: member.idle_since_s)
        to_spare = len(idle) - terms.min_idle
        for member in idle:
            idle_until_s = member.idle_since_s + terms.idle_s
            reason = self._why_unfit(member) or ("idle too long" if to_spare > 0 and now_s >= idle_until_s else "")
            if reason:
                to_spare -= 1
                self._evict(member, reason)
            else:
                due_s = min(due_s, member.opened_s + terms.lifetime_s, idle_until_s if to_spare > 0 else inf)
        ahead = sum(1 for member in self._members if not member.lent and member.connection is None)
        wanted = min(-to_spare - ahead, terms.size - len(self._members))
        if wanted > 0 and now_s < self._retry_at_s:
            due_s = min(due_s, self._retry_at_s)
        elif wanted > 0:
            for _ in range(wanted):
                nursery.start_soon(self._open_ahead, self._new_member())
        while self._closing:
            nursery.start_soon(self._closing.pop(0).aclose)
        return due_s

    async def _open_ahead(self, member: _Member[C]) -> None:
        """Open a connection that nobody has asked for. If that fails nobody need know: whoever asks will find out."""
        self._record(PoolOpening(self.number, self._host.name, member.number))
        try:
            await self._open(member)
        except Exception:
            self._retry_at_s = trio.current_time() + RETRY_S
        self._review()
