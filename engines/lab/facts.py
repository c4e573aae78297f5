"""What can happen in a run: small immutable facts, in the past tense, each of at most six integers, a float and some text.

A fact says *what* happened. Its number, its virtual time and its cause are stamped on by the trace when it is recorded
(see `trace.Recorded`). Times are virtual seconds since the run began; sizes and offsets are bytes.

A field's type decides where it is kept:

    int, bool, IntEnum   an integer column
    str                  an integer column, through the trace's table of names: for words that recur (hosts, knobs, reasons)
    Text                 the payload, as UTF-8: for text that is mostly unique (labels, notes)
    bytes                the payload
    float                the float column, one a fact
"""

from dataclasses import dataclass, fields
from typing import ClassVar, NewType

from engines.lab.kinds import PacketKind as PacketKind
from engines.lab.kinds import Role as Role
from engines.lab.kinds import WaitKind as WaitKind

Text = NewType("Text", str)

MAX_INTEGERS = 6


@dataclass(frozen=True, slots=True)
class Fact:
    """The base of all facts. `code` is the fact's number in the trace's `kind` column, fixed by its place in FACTS."""

    code: ClassVar[int] = -1


# --- the run ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunStarted(Fact):
    seed: int
    scenario: Text  # "pattern/scenario"


@dataclass(frozen=True, slots=True)
class RunEnded(Fact):
    """The scenario's own end: no program is left running."""

    reason: Text


@dataclass(frozen=True, slots=True)
class RunFailed(Fact):
    """An exception in a program ended the run."""

    host: str
    reason: Text


@dataclass(frozen=True, slots=True)
class CommandApplied(Fact):
    """A person's order took effect. `index` is its place in the run's record of commands."""

    index: int
    command: Text


@dataclass(frozen=True, slots=True)
class KnobTurned(Fact):
    knob: str
    value: Text  # formatted with its unit


# --- hosts --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HostDeclared(Fact):
    """A lifeline exists. Recorded for every host before anything else, from left to right."""

    host: str


@dataclass(frozen=True, slots=True)
class HostStarted(Fact):
    """The host's program began to run; `attempt` is 1 at first and grows by one at each restart."""

    host: str
    attempt: int


@dataclass(frozen=True, slots=True)
class HostCrashed(Fact):
    """The host's program was killed: its memory is gone, the kernel closes its connections."""

    host: str


@dataclass(frozen=True, slots=True)
class HostFinished(Fact):
    """The host's program returned by itself."""

    host: str


@dataclass(frozen=True, slots=True)
class StateChanged(Fact):
    """A value worth seeing on a host: `online = no`, `jobs = 3`."""

    host: str
    key: str
    value: Text


@dataclass(frozen=True, slots=True)
class WorkStarted(Fact):
    """The host began to work on something; a bar on its lifeline until the WorkFinished that names this fact's id."""

    host: str
    label: Text


@dataclass(frozen=True, slots=True)
class WorkFinished(Fact):
    work: int  # id of the WorkStarted
    host: str
    outcome: Text  # "done", "cancelled", "failed", or the program's own word


@dataclass(frozen=True, slots=True)
class WaitStarted(Fact):
    """The host began to wait; another kind of bar, until the WaitEnded that names this fact's id."""

    host: str
    kind: WaitKind
    label: Text


@dataclass(frozen=True, slots=True)
class WaitEnded(Fact):
    wait: int  # id of the WaitStarted
    host: str
    outcome: Text


@dataclass(frozen=True, slots=True)
class TimedOut(Fact):
    """A time limit ended something: `what` is "connect", "read", "write", "pool" or a program's own word."""

    host: str
    what: str
    after_s: float


@dataclass(frozen=True, slots=True)
class Measured(Fact):
    """A program counted something that only it can know: `wasted bytes` 40,000, `duplicate charges` 1."""

    host: str
    what: str
    amount: float


@dataclass(frozen=True, slots=True)
class Noted(Fact):
    """A remark of the program's, shown beside its lifeline."""

    host: str
    text: Text


# --- links --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LinkChanged(Fact):
    """One direction of a link changed its state: "up", "held" or "cut"."""

    sender: str
    receiver: str
    state: str


# --- packets ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PacketSent(Fact):
    """A packet left `sender`. It ends as exactly one of delivered, dropped, or in flight at the end of the trace.

    `offset` is the place of its first byte in that direction of the connection (0 for the first byte of data; for
    SYN, SYN_ACK and RST it is 0, for FIN the length of the stream). `attempt` is 1 for the first transmission, more for a
    retransmission; nobody sends a datagram again, so there it numbers the copies that the network makes, each caused by the
    original. `arrives_s` is when it will arrive if nothing intervenes; infinity if its fate is already sealed.
    """

    flow: int
    sender: str
    receiver: str
    kind: PacketKind
    offset: int
    attempt: int
    arrives_s: float
    payload: bytes


@dataclass(frozen=True, slots=True)
class PacketDelivered(Fact):
    """A packet arrived at `receiver`'s kernel (for TCP perhaps out of order: data behind a hole waits there)."""

    packet: int  # id of the PacketSent
    flow: int
    receiver: str


@dataclass(frozen=True, slots=True)
class PacketDropped(Fact):
    """A packet died after `progress` (0 to 1) of its way.

    `reason`: "loss", "cut", "fault", "reset", "host down", "address gone".
    """

    packet: int
    flow: int
    reason: str
    progress: float


@dataclass(frozen=True, slots=True)
class PacketHeld(Fact):
    """A packet was stopped on its way; it goes on with a PacketReleased, or is still in flight at the end."""

    packet: int
    flow: int
    reason: str


@dataclass(frozen=True, slots=True)
class PacketReleased(Fact):
    packet: int
    flow: int
    arrives_s: float


# --- connections --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ConnectionOpening(Fact):
    """`client` asked for a connection (or, for datagrams, a flow between two sockets began). `flow` counts from 1: c1, c2.

    `sealed`: what it carries is encrypted, so that two runs agree in the lengths of its packets only (see `sealed`).
    """

    flow: int
    client: str
    server: str
    port: int
    protocol: str  # "http/1.1", "dns", ...: names a dissector; "" when nobody knows
    sealed: bool = False


@dataclass(frozen=True, slots=True)
class ConnectionOpened(Fact):
    """`host` considers the connection established (the client after SYN-ACK, the server at accept)."""

    flow: int
    host: str


@dataclass(frozen=True, slots=True)
class ConnectionRefused(Fact):
    """Nobody listens on that port; the client got RST instead of SYN-ACK."""

    flow: int
    host: str


@dataclass(frozen=True, slots=True)
class ConnectionClosed(Fact):
    """`host` closed its end, or the kernel did when the program died."""

    flow: int
    host: str


@dataclass(frozen=True, slots=True)
class ConnectionReset(Fact):
    """`host` learned that the connection is gone without a proper end. `reason`: "reset", "retransmission timeout"."""

    flow: int
    host: str
    reason: str


# --- messages, as a dissector reads them from the bytes -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MessageStarted(Fact):
    """The head of a message has left `sender`; its bytes begin at `offset` of that direction of `flow`.

    The cause is the packet that completed the head. `stream` is 0 where a connection carries one message at a time.
    """

    flow: int
    sender: str
    receiver: str
    role: Role
    offset: int
    stream: int
    label: Text  # "GET /hello", "200 OK"


@dataclass(frozen=True, slots=True)
class MessageEnded(Fact):
    """The last byte of a message has left its sender; the message is the bytes from its start to `end`.

    `boundary` says what ended it: "content-length", "last chunk", "no body", "connection closed", or "cut short".
    """

    message: int  # id of the MessageStarted
    flow: int
    end: int
    boundary: str


@dataclass(frozen=True, slots=True)
class MessageResumed(Fact):
    """After bytes of other streams, a message goes on at `offset` of its direction of `flow`."""

    message: int  # id of the MessageStarted
    flow: int
    offset: int


# --- pools --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PoolCreated(Fact):
    """`size` is how many requests it serves at a time: one for each connection, or with HTTP/2 for each stream."""

    pool: int
    host: str
    size: int


@dataclass(frozen=True, slots=True)
class PoolResized(Fact):
    """It serves another number of requests at a time. 0: the pool is closed, and its connections with it."""

    pool: int
    host: str
    size: int


@dataclass(frozen=True, slots=True)
class PoolQueued(Fact):
    """A request asked the pool for a connection. `ticket` is unique in the pool and counts from 1."""

    pool: int
    host: str
    ticket: int
    label: Text


@dataclass(frozen=True, slots=True)
class PoolAssigned(Fact):
    """The request got connection `member` of the pool. `how`: "opened" (a new one, still to be connected) or "reused"."""

    pool: int
    host: str
    ticket: int
    member: int
    how: str


@dataclass(frozen=True, slots=True)
class PoolLeft(Fact):
    """The request is done with the pool. `outcome`: "returned", "timed out", "gave up"."""

    pool: int
    host: str
    ticket: int
    outcome: str


@dataclass(frozen=True, slots=True)
class PoolEvicted(Fact):
    """A connection left the pool. `reason`: "closed by peer", "surplus", "idle for another origin", "failed", …"""

    pool: int
    host: str
    member: int
    reason: str


@dataclass(frozen=True, slots=True)
class PoolOpening(Fact):
    """The pool began to open connection `member` of its own accord; one that a request waits for has a PoolAssigned instead."""

    pool: int
    host: str
    member: int


@dataclass(frozen=True, slots=True)
class PoolOpened(Fact):
    """Connection `member` of the pool is there and can carry requests: connected, greeted and let in."""

    pool: int
    host: str
    member: int


# --- events that an application has to tell somebody of -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EventBorn(Fact):
    """Something happened on `host` that others want to hear of. `event` counts from 1; `size` is its payload in bytes."""

    host: str
    event: int
    size: int


@dataclass(frozen=True, slots=True)
class EventHandled(Fact):
    """`host` has learned of the event and dealt with it; a second time for the same host is a duplicate."""

    host: str
    event: int


@dataclass(frozen=True, slots=True)
class EventLost(Fact):
    """`host` gave the event up knowingly: nobody will hear of it from there. `reason` is a few words."""

    host: str
    event: int
    reason: str


FACTS: tuple[type[Fact], ...] = (
    RunStarted,
    RunEnded,
    RunFailed,
    CommandApplied,
    KnobTurned,
    HostDeclared,
    HostStarted,
    HostCrashed,
    HostFinished,
    StateChanged,
    WorkStarted,
    WorkFinished,
    WaitStarted,
    WaitEnded,
    TimedOut,
    Measured,
    Noted,
    LinkChanged,
    PacketSent,
    PacketDelivered,
    PacketDropped,
    PacketHeld,
    PacketReleased,
    ConnectionOpening,
    ConnectionOpened,
    ConnectionRefused,
    ConnectionClosed,
    ConnectionReset,
    MessageStarted,
    MessageEnded,
    PoolCreated,
    PoolResized,
    PoolQueued,
    PoolAssigned,
    PoolLeft,
    PoolEvicted,
    EventBorn,
    EventHandled,
    EventLost,
    MessageResumed,
    PoolOpening,
    PoolOpened,
)
"""All facts; a fact's place is its code in a trace, so new ones go to the end."""

for _code, _fact in enumerate(FACTS):
    _fact.code = _code

FACT_NAMES: dict[str, type[Fact]] = {fact.__name__: fact for fact in FACTS}


def integer_fields(fact: type[Fact]) -> list[str]:
    """The fields of `fact` that live in integer columns, in column order."""
    return [f.name for f in fields(fact) if f.type not in (float, bytes, Text)]
