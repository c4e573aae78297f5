"""The pools at any moment: what the fold says after each fact, and that going anywhere is cheap and gives the same."""

from random import Random

import pytest

from engines.folds import FoldReader
from engines.lab import facts as f
from engines.lab.facts import Fact, Text
from engines.lab.trace import Trace
from engines.patterns.multiplexing.database_pool import LESSON
from engines.pools import Pool, PoolFold, PoolHistory, State
from tests.patterns.runs import at, run

HOST = "app"


def created(size: int = 2) -> Fact:
    return f.PoolCreated(1, HOST, size)


def queued(ticket: int) -> Fact:
    return f.PoolQueued(1, HOST, ticket, Text(f"order {ticket}"))


def assigned(ticket: int, member: int, how: str = "reused") -> Fact:
    return f.PoolAssigned(1, HOST, ticket, member, how)


def left(ticket: int) -> Fact:
    return f.PoolLeft(1, HOST, ticket, "returned")


def opened(member: int) -> Fact:
    return f.PoolOpened(1, HOST, member)


def evicted(member: int) -> Fact:
    return f.PoolEvicted(1, HOST, member, "surplus")


def trace_of(*facts: Fact) -> Trace:
    """Each fact a second after the one before."""
    trace = Trace()
    for second, fact in enumerate(facts):
        trace.record(fact, float(second))
    return trace


def pool_after(*facts: Fact) -> Pool:
    trace = trace_of(*facts)
    return FoldReader(PoolFold(), trace).at(len(trace))[1]


def seen(pool: Pool) -> tuple[dict[int, tuple[str, float, list[int]]], list[int]]:
    members = {n: (str(m.state), m.since_s, list(m.requests)) for n, m in pool.members.items()}
    return members, list(pool.queue)


STORY = (
    created(2), queued(1), assigned(1, 1, "opened"), queued(2), assigned(2, 2, "opened"), queued(3), opened(1), left(1),
    assigned(3, 1), opened(2), left(2), left(3), evicted(2),
)  # fmt: skip


@pytest.mark.parametrize(
    ("length", "members", "queue"),
    [
        (2, {}, [1]),
        (3, {1: ("opening", 2.0, [1])}, []),
        (6, {1: ("opening", 2.0, [1]), 2: ("opening", 4.0, [2])}, [3]),
        (7, {1: ("busy", 6.0, [1]), 2: ("opening", 4.0, [2])}, [3]),
        (8, {1: ("idle", 7.0, []), 2: ("opening", 4.0, [2])}, [3]),
        (9, {1: ("busy", 8.0, [3]), 2: ("opening", 4.0, [2])}, []),
        (12, {1: ("idle", 11.0, []), 2: ("idle", 10.0, [])}, []),
        (13, {1: ("idle", 11.0, [])}, []),
    ],
)
def test_a_story_of_two_connections_and_three_requests(
    length: int, members: dict[int, tuple[str, float, list[int]]], queue: list[int]
) -> None:
    assert seen(pool_after(*STORY[:length])) == (members, queue)


def test_a_connection_that_is_opened_ahead_is_nobody_s() -> None:
    pool = pool_after(created(), f.PoolOpening(1, HOST, 1))
    assert seen(pool) == ({1: ("opening", 1.0, [])}, [])
    assert seen(pool_after(created(), f.PoolOpening(1, HOST, 1), opened(1))) == ({1: ("idle", 2.0, [])}, [])


def test_several_requests_on_one_connection() -> None:
    """HTTP/2: it is busy until the last of them is over."""
    pool = pool_after(
        created(100), *(x for n in (1, 2, 3) for x in (queued(n), assigned(n, 1))), opened(1), left(1), left(3)
    )
    assert seen(pool) == ({1: ("busy", 7.0, [2])}, [])


def test_a_request_may_be_given_another_connection() -> None:
    """The first may have died before, and have left the pool."""
    for loss in ((), (evicted(1),)):
        pool = pool_after(created(), queued(1), assigned(1, 1), opened(1), *loss, assigned(1, 2, "opened"))
        assert list(pool.members[2].requests) == [1]
        assert pool.members[2].requests[1].label == "order 1"
        assert pool.holding == {1: 2}


@pytest.mark.parametrize("end", [f.HostCrashed(HOST), f.HostFinished(HOST)])
def test_the_pools_of_a_program_die_with_it(end: Fact) -> None:
    trace = trace_of(created(), queued(1), end, left(1), queued(2), f.PoolCreated(2, HOST, 5))
    assert list(FoldReader(PoolFold(), trace).at(len(trace))) == [2]


def test_a_closed_pool_has_no_connections() -> None:
    assert pool_after(created(), queued(1), assigned(1, 1), opened(1), left(1), f.PoolResized(1, HOST, 0)).empty


# --- which pools matter -----------------------------------------------------------------------------------------------------


def mattered(*facts: Fact) -> bool:
    history = PoolHistory(trace_of(*facts))
    history.consume()
    return history.mattered(history.seen)


def test_one_request_after_the_other_does_not_make_a_pool_worth_a_look() -> None:
    assert not mattered(created(6), *(x for n in range(1, 9) for x in (queued(n), assigned(n, 1), left(n))))
    assert not mattered(created(1), queued(1), assigned(1, 1), left(1), queued(2), assigned(2, 1))


def test_a_queue_does_and_so_do_three_at_a_time() -> None:
    assert mattered(created(1), queued(1), assigned(1, 1), queued(2))
    assert not mattered(created(6), queued(1), assigned(1, 1), queued(2), assigned(2, 2))
    assert mattered(created(6), queued(1), assigned(1, 1), queued(2), assigned(2, 2), queued(3))


def test_only_pools_that_matter_are_shown_and_only_while_they_are() -> None:
    trace = trace_of(f.PoolCreated(7, "other", 6), *STORY, f.PoolResized(1, HOST, 0))
    history = PoolHistory(trace)
    history.consume()
    assert [[pool.number for pool in history.at(n)] for n in (1, 2, 14, 15)] == [[], [], [1], []]


def played_to(trace: Trace, length: int) -> list[Pool]:
    """The pools as they are shown while a run is played, when it has come to `length` facts."""
    history = PoolHistory(trace)
    while history.seen < length:
        history.consume(length - history.seen)
    return history.at(length)


# --- any moment -------------------------------------------------------------------------------------------------------------


def test_every_moment_of_a_stormy_lesson_is_what_playing_to_it_gives() -> None:
    orders = (at(3.0, "set pool-size 9"), at(6.0, "kill database"), at(8.0, "restart database"), at(10.0, "kill app"),
              at(11.0, "restart app"), at(13.0, "set pool-size 2"))  # fmt: skip
    trace = run(LESSON, orders, until_s=16.0).trace
    reader, history = FoldReader(PoolFold(), trace), PoolHistory(trace, every=16)
    while history.consume(700):
        pass
    random = Random(1)
    for length in [*range(0, len(trace), 97), *(random.randrange(len(trace)) for _ in range(60))]:
        pools = reader.at(length)
        expected = [pools[pool.number] for pool in played_to(trace, length)]
        assert history.at(length) == expected
        for pool in expected:
            assert all(len(member.requests) <= 1 for member in pool.members.values())
            assert all(pool.members[n].state is not State.IDLE for n in pool.holding.values() if n in pool.members)


def test_following_and_going_anywhere_are_cheap() -> None:
    """20,000 facts, a queue that grows to a thousand and melts: no question takes more steps than the state is large."""
    random, trace = Random(3), Trace()
    trace.record(created(5), 0.0)
    waiting, busy, ticket = list[int](), dict[int, int](), 0
    for i in range(20_000):
        grows = random.random() < (0.6 if i < 10_000 else 0.4)
        if grows:
            ticket += 1
            trace.record(queued(ticket), float(i))
            waiting.append(ticket)
        elif busy:
            done = next(iter(busy))
            trace.record(left(done), float(i))
            free = busy.pop(done)
            if waiting:
                trace.record(assigned(waiting[0], free), float(i))
                busy[waiting.pop(0)] = free
        if waiting and len(busy) < 5:
            member = next(n for n in range(1, 6) if n not in busy.values())
            trace.record(assigned(waiting[0], member), float(i))
            busy[waiting.pop(0)] = member
    history = PoolHistory(trace)
    while history.consume(1_000):
        history.at(history.seen)
    assert history.steps == 0, "the newest is always at hand"
    worst = 0
    for _ in range(200):
        before = history.steps
        history.at(random.randrange(len(trace)))
        worst = max(worst, history.steps - before)
    assert 0 < worst <= 6_000
