"""The pools of a run at any moment: which connections are opening, busy or idle, whom they serve, and who stands in line.

A fold over the facts that pools record (`PoolFold`), and a history that answers for any moment in a bounded number of steps.
It reads those facts only, so that a million others cost it nothing but being passed over once.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from engines.lab.facts import (
    HostCrashed,
    HostFinished,
    PoolAssigned,
    PoolCreated,
    PoolEvicted,
    PoolLeft,
    PoolOpened,
    PoolOpening,
    PoolQueued,
    PoolResized,
)
from engines.lab.trace import Trace

CHECKPOINT_EVERY = 512
SLICE = 20_000
DEARER = 5
"""A fact about a pool takes so many times longer to read than one that is none."""
SEVERAL = 3
"""So many requests at once make a pool worth a look, even if nobody has to wait."""


class State(StrEnum):
    """What a connection of a pool does."""

    OPENING = "opening"
    BUSY = "busy"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Request:
    """Somebody in a pool: what it wants, and since when it stands where it stands, in line or at its connection."""

    ticket: int
    label: str
    since_s: float


@dataclass(slots=True)
class Member:
    """A connection of a pool and the requests it serves: at most one, but with HTTP/2. `since_s`: when its state began."""

    number: int
    since_s: float
    opened: bool = False
    requests: dict[int, Request] = field(default_factory=dict)

    @property
    def state(self) -> State:
        return State.OPENING if not self.opened else State.BUSY if self.requests else State.IDLE


@dataclass(slots=True)
class Pool:
    """One pool of `host`, which serves at most `size` requests at a time; 0: it is closed."""

    number: int
    host: str
    size: int
    members: dict[int, Member] = field(default_factory=dict)
    queue: dict[int, Request] = field(default_factory=dict)  # in the order of arrival
    holding: dict[int, int] = field(default_factory=dict)  # ticket -> member, which may have left the pool before it
    labels: dict[int, str] = field(default_factory=dict)  # of all that are in it

    @property
    def empty(self) -> bool:
        """Whether there is nothing and nobody in it."""
        return not (self.members or self.labels)


Pools = dict[int, Pool]


class PoolFold:
    """All pools of programs that are alive, by number. See `engines.folds.Fold`."""

    def __init__(self) -> None:
        self._steps: dict[int, Callable[[Pool, Trace, int], None]] = {
            PoolResized.code: _resized,
            PoolQueued.code: _queued,
            PoolAssigned.code: _assigned,
            PoolLeft.code: _left,
            PoolEvicted.code: _evicted,
            PoolOpening.code: _opening,
            PoolOpened.code: _opened,
        }
        self.kinds = frozenset((*self._steps, PoolCreated.code, HostCrashed.code, HostFinished.code))

    def initial(self) -> Pools:
        return {}

    def step(self, state: Pools, trace: Trace, fact_id: int) -> Pools:
        kind, first = trace.kind[fact_id], trace.a[fact_id]
        if kind == PoolCreated.code:
            state[first] = Pool(first, trace.names[trace.b[fact_id]], trace.c[fact_id])
        elif kind in (HostCrashed.code, HostFinished.code):
            for number in [number for number, pool in state.items() if pool.host == trace.names[first]]:
                del state[number]
        elif (step := self._steps.get(kind)) is not None and first in state:  # the last words of the dead are nobody's
            step(state[first], trace, fact_id)
        return state

    def copy(self, state: Pools) -> Pools:
        return {
            number: replace(
                pool,
                members={n: replace(member, requests=dict(member.requests)) for n, member in pool.members.items()},
                queue=dict(pool.queue),
                holding=dict(pool.holding),
                labels=dict(pool.labels),
            )
            for number, pool in state.items()
        }


def _resized(pool: Pool, trace: Trace, i: int) -> None:
    pool.size = trace.c[i]
    if not pool.size:
        pool.members.clear()


def _queued(pool: Pool, trace: Trace, i: int) -> None:
    ticket = trace.c[i]
    pool.labels[ticket] = trace.text(i)
    pool.queue[ticket] = Request(ticket, pool.labels[ticket], trace.time[i])


def _assigned(pool: Pool, trace: Trace, i: int) -> None:
    ticket, number, now_s = trace.c[i], trace.d[i], trace.time[i]
    if ticket not in pool.labels:
        return
    pool.queue.pop(ticket, None)
    _give_back(pool, ticket, now_s)  # the first was not fit to be used
    member = pool.members.setdefault(number, Member(number, now_s))
    if member.state is State.IDLE:
        member.since_s = now_s
    member.requests[ticket] = Request(ticket, pool.labels[ticket], now_s)
    pool.holding[ticket] = number


def _left(pool: Pool, trace: Trace, i: int) -> None:
    ticket = trace.c[i]
    pool.labels.pop(ticket, None)
    pool.queue.pop(ticket, None)
    _give_back(pool, ticket, trace.time[i])


def _give_back(pool: Pool, ticket: int, now_s: float) -> None:
    member = pool.members.get(pool.holding.pop(ticket, -1))
    if member is not None:
        member.requests.pop(ticket, None)
        if member.state is State.IDLE:
            member.since_s = now_s


def _evicted(pool: Pool, trace: Trace, i: int) -> None:
    pool.members.pop(trace.c[i], None)


def _opening(pool: Pool, trace: Trace, i: int) -> None:
    pool.members.setdefault(trace.c[i], Member(trace.c[i], trace.time[i]))


def _opened(pool: Pool, trace: Trace, i: int) -> None:
    member = pool.members.get(trace.c[i])
    if member is not None:
        member.opened, member.since_s = True, trace.time[i]


# --- any moment -----------------------------------------------------------------------------------------------------------


class PoolHistory:
    """The pools of a trace at any moment, for one reader. Grows with `consume`.

    It keeps the ids of the facts about pools, and a copy of the state every few hundred of them, or less often while the state
    is large, so that all copies together are no larger than the trace. `steps` counts the steps taken to answer questions.
    """

    def __init__(self, trace: Trace, every: int = CHECKPOINT_EVERY) -> None:
        self.trace = trace
        self.seen = 0
        self.steps = 0
        self._fold = PoolFold()
        self._every = every
        self._ids = array("I")
        self._newest = self._fold.initial()
        self._marks = [0]
        self._copies = [self._fold.initial()]
        self._place = 0
        self._state = self._fold.initial()
        self._mattered: dict[int, int] = {}  # pool -> the fact by which it did

    def mattered(self, length: int) -> bool:
        """Whether some pool has had a queue, or several requests at a time, among the first `length` facts."""
        return any(fact_id < length for fact_id in self._mattered.values())

    def consume(self, budget: int = SLICE) -> bool:
        """Read at most `budget` more facts, fewer where many are about pools; true while there are more to read."""
        length = len(self.trace)
        end = min(length, self.seen + budget)
        kind, kinds = self.trace.kind, self._fold.kinds
        enough = len(self._ids) + budget // DEARER
        for fact_id in range(self.seen, end):
            if kind[fact_id] in kinds:
                self._take(fact_id)
                if len(self._ids) >= enough:
                    end = fact_id + 1
                    break
        self.seen = end
        return end < length

    def _take(self, fact_id: int) -> None:
        trace = self.trace
        self._ids.append(fact_id)
        self._newest = self._fold.step(self._newest, trace, fact_id)
        pool = self._newest.get(trace.a[fact_id]) if trace.kind[fact_id] == PoolQueued.code else None
        if pool is not None and len(pool.labels) >= min(SEVERAL, pool.size + 1):
            self._mattered.setdefault(pool.number, fact_id)
        since = len(self._ids) - self._marks[-1]
        if since >= self._every and since >= sum(
            len(pool.members) + 2 * len(pool.labels) for pool in self._newest.values()
        ):
            self._marks.append(len(self._ids))
            self._copies.append(self._fold.copy(self._newest))

    def at(self, length: int) -> list[Pool]:
        """Pools that matter at some time of the run, as they are after the first `length` facts; those that are no more are
        left out. Read them, do not change them, and do not keep them beyond the next call."""
        pools = self._state_at(bisect_left(self._ids, length))
        shown = (pool for number, pool in pools.items() if self._mattered.get(number, length) < length)
        return [pool for pool in shown if pool.size or not pool.empty]

    def _state_at(self, place: int) -> Pools:
        if place == len(self._ids):
            return self._newest
        nearest = bisect_right(self._marks, place) - 1
        if place < self._place or self._marks[nearest] > self._place:
            self._place, self._state = self._marks[nearest], self._fold.copy(self._copies[nearest])
        for index in range(self._place, place):
            self._state = self._fold.step(self._state, self.trace, self._ids[index])
        self.steps += place - self._place
        self._place = place
        return self._state
