"""The lesson on database connections, held to arithmetic: bursts, limits, the throughput of a database with enough to do."""

import pytest
import trio
from trio.testing import MockClock

from engines.lab.facts import MessageStarted, PoolAssigned, PoolEvicted, PoolLeft, PoolQueued, TimedOut, WorkFinished
from engines.lab.knobs import Value
from engines.lab.trace import Trace
from engines.metrics import Numbers
from engines.patterns.multiplexing.database_pool import BURST, LESSON
from engines.patterns.multiplexing.processors import Processors
from tests.patterns.laws import every
from tests.patterns.runs import at
from tests.patterns.runs import run as run_lesson

RTT_S = 0.1
QUERY_S = 0.3
CONNECT_S = 2 * RTT_S
CALM: dict[str, Value] = {"cores": 64.0}


def run(knobs: dict[str, Value], *commands: tuple[float, str], until_s: float = 50.0) -> Trace:
    return run_lesson(LESSON, [at(*command) for command in commands], knobs=knobs, until_s=until_s).trace


def number(trace: Trace, metric: str) -> float:
    value = Numbers(trace).value(metric, trace.time[len(trace) - 1])
    return 0.0 if value is None else value


@pytest.mark.parametrize("size", [1, 3, 4, 10, 50])
def test_a_burst_takes_so_many_rounds(size: int) -> None:
    """The k-th of a burst is done after two round trips to connect and ceil(k / size) times a round trip and the query."""
    trace = run({**CALM, "arrivals": "bursts", "rate": 1.0, "pool-size": float(size)})
    begun_s = every(trace, PoolQueued)[0][0].time_s
    left = [record.time_s - begun_s for record, fact in every(trace, PoolLeft) if fact.ticket <= BURST]
    assert left == pytest.approx([CONNECT_S + (1 + k // size) * (RTT_S + QUERY_S) for k in range(BURST)])


def test_nobody_waits_longer_than_thirty_seconds() -> None:
    """Reports hold every connection; each of the others is told so at its own time, to the float."""
    trace = run({"report-share": 1.0, "report-time": 600.0, "rate": 1.0})
    queued = {fact.ticket: record.time_s for record, fact in every(trace, PoolQueued)}
    starved = [(record.time_s, fact.ticket) for record, fact in every(trace, PoolLeft) if fact.outcome == "timed out"]
    assert starved == [
        (queued[ticket] + 30.0, ticket) for ticket in queued if ticket > 3 and queued[ticket] + 30.0 <= 50.0
    ]
    assert [fact.after_s for _, fact in every(trace, TimedOut)] == [30.0] * len(starved)
    assert number(trace, "measured:starved") == len(starved) > 10


@pytest.mark.parametrize(
    ("size", "a_second"),
    [
        (1, 1 / (RTT_S + QUERY_S)),  # one at a time, and the database idles while the network carries
        (20, 2 / QUERY_S / (1 + 0.05 * (20 - 2))),  # two cores, and eighteen queries too many for them
        (40, 2 / QUERY_S / (1 + 0.05 * (40 - 2))),
    ],
)
def test_a_database_with_enough_to_do(size: int, a_second: float) -> None:
    """From 30 s on there is always somebody in line. A query that is on its way burdens no core: that makes a pool of n work
    as if it had a little less, and the database a little faster than the formula: at 20 connections by 2 %."""
    trace = run({"rate": 8.0, "pool-size": float(size)}, until_s=130.0)
    done = [record.time_s for record, _ in every(trace, WorkFinished) if record.time_s > 30.0]
    assert len(done) / 100.0 == pytest.approx(a_second, rel=0.03)


def test_the_database_has_its_own_limit() -> None:
    trace = run({"pool-size": 5.0, "max-connections": 3.0})
    refusals = [fact.label for _, fact in every(trace, MessageStarted) if fact.label.startswith("FATAL")]
    assert set(refusals) == {"FATAL 53300 sorry, too many clients already"}
    assert number(trace, "measured:failed") == len(refusals) > 10
    assert number(trace, "open") == 3


def test_dead_connections_are_found_before_they_are_lent() -> None:
    """Only those who hold one when the database dies, or come before it is back, fail; after it nobody does."""
    trace = run(CALM, (10.0, "kill database"), (12.0, "restart database"))
    assert not [record for record, fact in every(trace, PoolLeft) if fact.outcome == "failed" and record.time_s > 12.2]
    assert {fact.reason for _, fact in every(trace, PoolEvicted)} <= {"closed by peer", "failed"}
    answered_later = [record for record, _ in every(trace, PoolAssigned) if record.time_s > 12.2]
    assert len(answered_later) > 100


def test_a_query_that_nobody_waits_for_is_done_all_the_same() -> None:
    """And its connection is thrown away: the answer would come for somebody else."""
    trace = run({**CALM, "query-time": 2.0, "query-timeout": 1.0, "rate": 0.5})
    assert {fact.reason for _, fact in every(trace, PoolEvicted)} == {"failed"}
    assert {fact.outcome for _, fact in every(trace, WorkFinished)} == {"done"}


# --- the cores ------------------------------------------------------------------------------------------------------------


def ends(cores: float, contention: float, *works: tuple[float, float]) -> list[float]:
    """When pieces of work end that begin at given times and take so long alone."""
    processors = Processors(lambda: cores, lambda: contention)
    ended: dict[int, float] = {}

    async def one(index: int, start_s: float, seconds: float) -> None:
        await trio.sleep(start_s)
        await processors.work(seconds)
        ended[index] = trio.current_time()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for index, (start_s, seconds) in enumerate(works):
                nursery.start_soon(one, index, start_s, seconds)

    trio.run(main, clock=MockClock(autojump_threshold=0.0))
    return [ended[index] for index in range(len(works))]


@pytest.mark.parametrize(
    ("cores", "contention", "works", "expected"),
    [
        (2, 0.5, [(0, 1), (0, 1)], [1, 1]),  # a core for each
        (2, 0.0, [(0, 1)] * 6, [3] * 6),  # evenly shared
        (1, 0.0, [(0, 2), (1, 2)], [3, 4]),  # alone, together, alone
        (2, 0.5, [(0, 1)] * 3, [1.5 * 1.5] * 3),  # one too many: two thirds of a core, and half as much again
        (1, 1.0, [(0, 3), (1, 0.5)], [4.5, 3]),  # a quarter of its speed for two seconds
    ],
)
def test_cores_are_shared(
    cores: float, contention: float, works: list[tuple[float, float]], expected: list[float]
) -> None:
    assert ends(cores, contention, *works) == pytest.approx(expected)
