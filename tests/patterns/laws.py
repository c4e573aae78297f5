"""The laws that every trace obeys, whatever was ordered: each is a function that returns its breaches in words."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import TypeGuard, TypeVar

from engines.lab.facts import (
    ConnectionOpening,
    Fact,
    HostCrashed,
    HostStarted,
    Measured,
    MessageEnded,
    MessageStarted,
    Noted,
    PacketDelivered,
    PacketDropped,
    PacketHeld,
    PacketKind,
    PacketReleased,
    PacketSent,
    PoolAssigned,
    PoolCreated,
    PoolEvicted,
    PoolLeft,
    PoolOpened,
    PoolOpening,
    PoolQueued,
    PoolResized,
    RunFailed,
    WaitEnded,
    WaitStarted,
    WorkFinished,
    WorkStarted,
)
from engines.lab.trace import Recorded, Trace

Breaches = Iterator[str]
F = TypeVar("F", bound=Fact)


def breaches(trace: Trace) -> list[str]:
    """Every breach of every law, the first twenty of each."""
    facts = list(trace)
    return [f"{law.__name__}: {breach}" for law in LAWS for breach, _ in zip(law(facts), range(20), strict=False)]


def no_failure(facts: list[Recorded]) -> Breaches:
    """No program raises, whatever befalls it."""
    for record in facts:
        if isinstance(record.fact, RunFailed):
            yield f"{record.fact}"


def causes_come_first(facts: list[Recorded]) -> Breaches:
    """Time never goes back, ids are dense, and a cause is an earlier fact."""
    for before, record in zip([None, *facts], facts, strict=False):
        if before is not None and (record.time_s < before.time_s or record.id != before.id + 1):
            yield f"#{record.id} at {record.time_s} follows #{before.id} at {before.time_s}"
        if record.cause is not None and not 0 <= record.cause < record.id:
            yield f"#{record.id} is caused by #{record.cause}"


def packets_end_once(facts: list[Recorded]) -> Breaches:
    """A packet is delivered, or dropped, or in flight at the end; it is delivered when it was to arrive."""
    flying: dict[int, float] = {}
    held: set[int] = set()
    for record in facts:
        match record.fact:
            case PacketSent() as sent:
                if sent.arrives_s < record.time_s:
                    yield f"#{record.id} arrives before it is sent"
                flying[record.id] = sent.arrives_s
            case PacketDelivered(packet):
                if packet not in flying or packet in held:
                    yield f"#{packet} is delivered, and is not on its way"
                elif flying.pop(packet) != record.time_s:
                    yield f"#{packet} arrives at another time than announced"
            case PacketDropped(packet):
                if flying.pop(packet, None) is None:
                    yield f"#{packet} is dropped, and is not on its way"
                held.discard(packet)
            case PacketHeld(packet):
                if packet not in flying or packet in held:
                    yield f"#{packet} is held, and is not on its way"
                held.add(packet)
            case PacketReleased(packet, _, arrives_s):
                if packet not in held:
                    yield f"#{packet} is released, and was not held"
                held.discard(packet)
                flying[packet] = arrives_s


def streams_are_whole(facts: list[Recorded]) -> Breaches:
    """A direction of a connection is one stream: new bytes follow the old, retransmissions repeat them."""
    streams: defaultdict[tuple[int, str], bytearray] = defaultdict(bytearray)
    for record in facts:
        sent = record.fact
        if not isinstance(sent, PacketSent) or sent.kind is not PacketKind.DATA:
            continue
        stream = streams[sent.flow, sent.sender]
        if sent.attempt == 1:
            if sent.offset != len(stream):
                yield f"#{record.id} has offset {sent.offset} after {len(stream)} bytes"
            stream += sent.payload
        elif stream[sent.offset : sent.offset + len(sent.payload)] != sent.payload:
            yield f"#{record.id} repeats other bytes than were sent at {sent.offset}"


def messages_end_once(facts: list[Recorded]) -> Breaches:
    """A message ends at most once, after its start, in its own flow; two of one stream never overlap."""
    open_messages: dict[int, MessageStarted] = {}
    last_end: defaultdict[tuple[int, str, int], int] = defaultdict(int)
    for record in facts:
        match record.fact:
            case MessageStarted(flow, sender, _, _, offset, stream) as started:
                if offset < last_end[flow, sender, stream]:
                    yield f"#{record.id} begins before the message in front of it has ended"
                open_messages[record.id] = started
            case MessageEnded(message, flow, end):
                begun = open_messages.pop(message, None)
                if begun is None or begun.flow != flow or end < begun.offset:
                    yield f"#{record.id} ends #{message}, which is {begun}"
                else:
                    last_end[flow, begun.sender, begun.stream] = end


def bars_end_once(facts: list[Recorded]) -> Breaches:
    """Work and waits end at most once, at the host where they began."""
    begun: dict[int, str] = {}
    for record in facts:
        match record.fact:
            case WorkStarted(host) | WaitStarted(host):
                begun[record.id] = host
            case WorkFinished(bar, host) | WaitEnded(bar, host):
                if begun.pop(bar, None) != host:
                    yield f"#{record.id} ends #{bar}, which {host} did not begin"


def the_dead_do_nothing(facts: list[Recorded]) -> Breaches:
    """After the moment of its death a program does nothing, until the host is started again."""
    died_at: dict[str, float] = {}
    for record in facts:
        match record.fact:
            case HostCrashed(host):
                died_at[host] = record.time_s
            case HostStarted(host):
                died_at.pop(host, None)
            case WorkStarted(host) | Noted(host) | Measured(host) | PoolQueued(_, host) | ConnectionOpening(_, host):
                if record.time_s > died_at.get(host, record.time_s):
                    yield f"{host} died at {died_at[host]}, and at {record.time_s}: {record.fact}"


def tickets_are_in_order(facts: list[Recorded]) -> Breaches:
    """A request queues at a pool, perhaps gets a connection, and leaves once; nobody stays in the pool of a dead program."""
    inside: dict[tuple[int, int], str] = {}
    newest: defaultdict[int, int] = defaultdict(int)
    for record in facts:
        match record.fact:
            case PoolQueued(pool, host, ticket):
                if ticket != newest[pool] + 1:
                    yield f"#{record.id}: ticket {ticket} follows {newest[pool]}"
                newest[pool] = ticket
                inside[pool, ticket] = host
            case PoolAssigned(pool, _, ticket):
                if (pool, ticket) not in inside:
                    yield f"#{record.id} assigns a connection to a request that does not wait"
            case PoolLeft(pool, _, ticket):
                if inside.pop((pool, ticket), None) is None:
                    yield f"#{record.id}: a request leaves that is not there"
    for (pool, ticket), host in inside.items():
        last = next(
            (r for r in reversed(facts) if isinstance(r.fact, HostCrashed | HostStarted) and r.fact.host == host), None
        )
        if last is not None and isinstance(last.fact, HostCrashed) and last.time_s < facts[-1].time_s:
            yield f"ticket {ticket} of pool {pool} has never left it, and {host} is dead"


def pools_lend_what_they_have(facts: list[Recorded]) -> Breaches:
    """Where a connection carries one request at a time, a pool lends no more than it may, and each to one at a time.

    A connection is opened once, is there only after that, and is never lent again once the pool has let it go.
    """
    sizes: dict[int, int] = {}
    lent: defaultdict[int, dict[int, int]] = defaultdict(dict)  # ticket -> member, for each pool
    states: dict[tuple[int, int], str] = {}
    one_each: dict[int, bool] = {}
    several = {record.fact.client for record in facts if _carries_several(record.fact)}
    for record in facts:
        match record.fact:
            case PoolCreated(pool, host, size) | PoolResized(pool, host, size):
                sizes[pool] = size
                one_each[pool] = host not in several
            case PoolOpening(pool, _, member):
                if (pool, member) in states:
                    yield f"#{record.id} opens connection {member} a second time"
                states[pool, member] = "opening"
            case PoolOpened(pool, _, member):
                if states.get((pool, member)) != "opening":
                    yield f"#{record.id}: connection {member} is there, and was {states.get((pool, member))}"
                states[pool, member] = "open"
            case PoolAssigned(pool, _, ticket, member, how):
                holders = [other for other, held in lent[pool].items() if held == member and other != ticket]
                if holders and one_each[pool]:
                    yield f"#{record.id} lends connection {member} to {ticket}, while {holders} hold it"
                lent[pool][ticket] = member
                known = states.get((pool, member))
                if (how == "opened") != (known is None) or known == "gone":
                    yield f"#{record.id}: connection {member} is {how}, and was {known}"
                states.setdefault((pool, member), "opening")
                alive = [held for held in lent[pool].values() if states[pool, held] != "gone"]
                if len(alive) > sizes[pool] and one_each[pool]:
                    yield f"#{record.id} lends {len(alive)} of {sizes[pool]}"
            case PoolLeft(pool, _, ticket):
                lent[pool].pop(ticket, None)
            case PoolEvicted(pool, _, member):
                if states.get((pool, member), "gone") == "gone":
                    yield f"#{record.id}: connection {member} leaves a pool that it is not in"
                states[pool, member] = "gone"


def _carries_several(fact: Fact) -> TypeGuard[ConnectionOpening]:
    """Whether this opens a connection that carries several requests at a time."""
    return isinstance(fact, ConnectionOpening) and fact.protocol.startswith(("h2", "tls", "quic"))


LAWS: tuple[Callable[[list[Recorded]], Breaches], ...] = (
    no_failure,
    causes_come_first,
    packets_end_once,
    streams_are_whole,
    messages_end_once,
    bars_end_once,
    the_dead_do_nothing,
    tickets_are_in_order,
    pools_lend_what_they_have,
)


def every(trace: Trace, kind: type[F]) -> list[tuple[Recorded, F]]:
    """All facts of a class, in order, with their stamps."""
    records = (trace[i] for i in range(len(trace)) if trace.kind[i] == kind.code)
    return [(record, record.fact) for record in records if isinstance(record.fact, kind)]
