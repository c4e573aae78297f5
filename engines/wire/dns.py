"""DNS over UDP (RFC 1035): a stub resolver that has many questions under way at once, and a server that remembers nobody.

dnspython reads and writes the messages. Ids come from the host's own randomness, not from dnspython's.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import trio

from engines.lab.datagrams import Address, DatagramSocket
from engines.lab.host import Host
from engines.lab.knobs import Number
from engines.lab.recorder import because_of, present_cause

PORT = 53
MOST_BYTES = 512
"""What a message over UDP may weigh (section 4.2.1; EDNS, RFC 6891, lifts it and is not spoken here)."""

RESOLVER_KNOBS = (
    Number("dns-timeout", "dns timeout", "s", 5.0, 0.05, 60.0, 0.5,
           "how long the resolver waits before it asks again (glibc 2.40: 5 s)", ratio=2.0),
    Number("dns-attempts", "dns attempts", "", 2, 1, 10, 1, "how often it asks in all (glibc 2.40: 2)", integer=True),
)  # fmt: skip
"""The two limits of a stub resolver, with glibc's defaults (resolv.conf(5): timeout, attempts)."""


class DnsError(Exception):
    """A question that got no address: `rcode` says why ("NXDOMAIN", "SERVFAIL" …)."""

    def __init__(self, rcode: str, name: str) -> None:
        super().__init__(f"{rcode} for {name}")
        self.rcode = rcode


class DnsTimeout(DnsError):
    """Nobody answered, however often it was asked."""

    def __init__(self, name: str, attempts: int) -> None:
        super().__init__("no answer", name)
        self.attempts = attempts


Answer = dns.message.Message


@dataclass(eq=False)
class Query:
    """A question under way. `id` tells its answer from all others."""

    id: int
    name: str
    kind: str
    message: dns.message.Message
    attempts: int = 0
    answer: Answer | None = None
    cause: int = -1
    answered: trio.Event = field(default_factory=trio.Event)


Match = Callable[[Sequence[Query], Answer], Query | None]
"""Whose answer is it? Given the questions under way, oldest first."""


def by_id(queries: Sequence[Query], answer: Answer) -> Query | None:
    """The question with the answer's id (section 4.1.1), if it is the same question (RFC 5452, section 9.1)."""
    return next((q for q in queries if q.id == answer.id and q.message.question == answer.question), None)


class Resolver:
    """Asks one server, all questions from one socket. Limits are read from the knobs `dns-timeout` and `dns-attempts`, if any.

    `match` finds the question that an answer belongs to; `on_stray` gets the answers that belong to none.
    """

    def __init__(
        self,
        host: Host,
        server: str,
        socket: DatagramSocket,
        match: Match,
        on_stray: Callable[[Answer], None],
    ) -> None:
        self._host = host
        self._server: Address = (server, PORT)
        self._socket = socket
        self._match = match
        self._on_stray = on_stray
        self._under_way: dict[int, Query] = {}
        self._luck = host.randomness("dns ids")

    async def resolve(self, name: str, kind: str = "A") -> list[str]:
        """What the server says of `name`, as text: for A, addresses. Raises DnsError, and DnsTimeout when nobody answers."""
        answer = await self.ask(name, kind)
        if answer.rcode() != dns.rcode.NOERROR:
            raise DnsError(dns.rcode.to_text(answer.rcode()), name)
        return [record.to_text() for rrset in answer.answer for record in rrset]

    async def ask(self, name: str, kind: str = "A") -> Answer:
        """The whole answer. The question is sent again, with the same id, when none has come in time. Raises DnsTimeout."""
        query = self._new_query(name, kind)
        self._under_way[query.id] = query
        try:
            attempts = int(self._limit("dns-attempts", 2))
            for _ in range(attempts):
                query.attempts += 1
                await self._socket.send_to(query.message.to_wire(), *self._server)
                timeout_s = self._limit("dns-timeout", 5.0)
                with trio.move_on_after(timeout_s):
                    await query.answered.wait()
                    assert query.answer is not None
                    because_of(query.cause)
                    return query.answer
                self._host.timed_out("dns", timeout_s)
        finally:
            del self._under_way[query.id]
        raise DnsTimeout(name, attempts)

    def _new_query(self, name: str, kind: str) -> Query:
        """A question with an id that is hard to guess (RFC 5452, section 4.3) and that no other question has now."""
        while (number := self._luck.getrandbits(16)) in self._under_way:
            pass
        return Query(number, name, kind, dns.message.make_query(name, kind, use_edns=False, id=number))

    def _limit(self, knob: str, default: float) -> float:
        return self._host.knobs.number(knob) if knob in self._host.knobs else default

    async def listen(self) -> None:
        """Hand each answer to whoever waits for it. What does not come from the server is no answer (RFC 5452, section 9.1)."""
        while True:
            data, source = await self._socket.receive_from()
            if source != self._server:
                continue
            try:
                answer = dns.message.from_wire(data)
            except (dns.exception.DNSException, ValueError):
                continue
            if not answer.flags & dns.flags.QR:
                continue
            query = self._match([q for q in self._under_way.values() if not q.answered.is_set()], answer)
            if query is None:
                self._on_stray(answer)
                continue
            query.answer, query.cause = answer, present_cause()
            query.answered.set()


def _ignore(answer: Answer) -> None:
    """An answer that nobody waits for: late, or the second to a question that was asked twice."""


@asynccontextmanager
async def dns_resolver(
    host: Host, server: str, *, match: Match = by_id, on_stray: Callable[[Answer], None] = _ignore
) -> AsyncIterator[Resolver]:
    """A resolver on `host` that asks `server`, as long as the block lasts."""
    with host.datagram_socket() as socket:
        async with trio.open_nursery() as nursery:
            resolver = Resolver(host, server, socket, match, on_stray)
            nursery.start_soon(resolver.listen)
            yield resolver
            nursery.cancel_scope.cancel()


# --- the server ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a name, lower case and without its last dot, and a type of record."""

    name: str
    kind: str


Answerer = Callable[[Question], Awaitable[Sequence[str] | None]]
"""The records for a question as text ("192.0.2.7"), or None when there is no such name."""


async def serve_dns(host: Host, answer: Answerer, *, port: int = PORT, ttl_s: int = 300) -> None:
    """Answer questions on `port` until cancelled, each in a task of its own: a slow answer holds up no other.

    Nothing is kept of a client: all that an answer needs is in its question. Raises OSError when the port is in use.
    """
    with host.datagram_socket(port) as socket:
        async with trio.open_nursery() as nursery:
            while True:
                data, client = await socket.receive_from()
                nursery.start_soon(_answer_one, socket, answer, data, client, ttl_s)


async def _answer_one(socket: DatagramSocket, answer: Answerer, data: bytes, client: Address, ttl_s: int) -> None:
    try:
        query = dns.message.from_wire(data)
    except (dns.exception.DNSException, ValueError):
        return  # not even an id to answer to
    if query.flags & dns.flags.QR or len(query.question) != 1:
        return
    asked = query.question[0]
    question = Question(asked.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(asked.rdtype))
    records = await answer(question)
    response = dns.message.make_response(query)
    response.flags |= dns.flags.AA
    if records is None:
        response.set_rcode(dns.rcode.NXDOMAIN)
    elif records:
        response.answer.append(dns.rrset.from_text(asked.name, ttl_s, "IN", question.kind, *records))
    await socket.send_to(_at_most(response), *client)


def _at_most(response: dns.message.Message) -> bytes:
    """The message, without its records if it were too long, and then it says so: TC, ask again over TCP (section 4.2.1)."""
    wire = response.to_wire(want_shuffle=False)  # dnspython would shuffle records, with a luck of its own
    if len(wire) <= MOST_BYTES:
        return wire
    response.answer.clear()
    response.flags |= dns.flags.TC
    return response.to_wire()
