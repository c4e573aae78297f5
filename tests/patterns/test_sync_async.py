"""What is said of waiting and of not waiting, held to the last digit; and after every crash, what is lost and what is not."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.lab.commands import TimedCommand
from engines.lab.facts import (
    Measured,
    MessageEnded,
    MessageStarted,
    Noted,
    PacketDelivered,
    PacketSent,
    WorkFinished,
    WorkStarted,
)
from engines.lab.knobs import Value
from engines.lab.trace import Trace
from engines.metrics import Numbers
from engines.patterns.contract import Lesson
from engines.patterns.sync_async import PATTERN
from tests.patterns.laws import every
from tests.patterns.runs import at, run

BLOCKING = PATTERN.lesson("blocking-read")
ASYNCHRONOUS = PATTERN.lesson("asynchronous-read")
CLIENT = PATTERN.lesson("client-side")
BACKEND = PATTERN.lesson("backend-side")
COMMIT = PATTERN.lesson("commit")
PAGE_CACHE = PATTERN.lesson("page-cache")
REPLICATION = PATTERN.lesson("replication")


def played(
    lesson: Lesson,
    commands: Sequence[TimedCommand] = (),
    *,
    until_s: float | None = None,
    seed: int = 0,
    **knobs: Value,
) -> Trace:
    """A run; `event_rate=2.0` sets the knob event-rate."""
    values = {name.replace("_", "-"): value for name, value in knobs.items()}
    return run(lesson, commands, knobs=values, until_s=until_s, seed=seed).trace


def exactly(expected: float | list[float]) -> object:
    """Equal but for the last bits of a sum of floats."""
    return pytest.approx(expected, abs=1e-9, rel=0.0)


def said(trace: Trace, pattern: str, sender: str = ".*") -> list[tuple[float, MessageStarted]]:
    """Messages whose label begins with `pattern`."""
    messages = every(trace, MessageStarted)
    return [(r.time_s, f) for r, f in messages if re.match(pattern, f.label) and re.fullmatch(sender, f.sender)]


def arrivals(trace: Trace, pattern: str) -> list[tuple[float, str]]:
    """When each message whose label begins with `pattern` was there to its last byte, and its label."""
    delivered_at = {fact.packet: record.time_s for record, fact in every(trace, PacketDelivered)}
    begun = {record.id: fact for record, fact in every(trace, MessageStarted) if re.match(pattern, fact.label)}
    ended = [(record.cause, fact.message) for record, fact in every(trace, MessageEnded) if fact.message in begun]
    return [(delivered_at[packet], begun[message].label) for packet, message in ended if packet in delivered_at]


def measured(trace: Trace, what: str) -> list[tuple[float, float]]:
    """When a program counted `what`, and how much."""
    return [(r.time_s, f.amount) for r, f in every(trace, Measured) if f.what == what]


def total(trace: Trace, what: str) -> float:
    return sum(amount for _, amount in measured(trace, what))


def row_numbers(words: str) -> list[int]:
    """What `rows_in_words` wrote: "rows 4-6, 9"."""
    runs = [list(map(int, found)) for found in re.findall(r"(\d+)-(\d+)", words)]
    singles = [int(one) for one in re.findall(r"(?<![\d-])(\d+)(?![\d-])", words)]
    return sorted([n for first, last in runs for n in range(first, last + 1)] + singles)


def lost_rows(trace: Trace) -> list[int]:
    """The rows that the client found missing although they had been acknowledged."""
    prefix = "acknowledged, and gone: "
    notes = [fact.text for _, fact in every(trace, Noted) if fact.text.startswith(prefix)]
    rows = [row for note in notes for row in row_numbers(note.removeprefix(prefix))]
    assert len(rows) == total(trace, "lost after acknowledgement")
    return rows


# --- a blocking read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hop_s", [0.0, 0.001, 0.05])
@pytest.mark.parametrize("disk_s", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("use_s", [0.0, 0.25])
def test_reads_that_block_add_up(hop_s: float, disk_s: float, use_s: float) -> None:
    trace = played(BLOCKING, latency=hop_s, disk_time=disk_s, use_time=use_s, reads=4, pause=60.0, until_s=20.0)
    calls = [time_s for time_s, _ in said(trace, r"read\(3\)")]
    assert len(calls) == 4
    assert [later - earlier for earlier, later in pairwise(calls)] == exactly([4 * hop_s + disk_s + use_s] * 3)
    assert [amount for _, amount in measured(trace, "blocked seconds")] == exactly([4 * hop_s + disk_s] * 4)
    assert [amount for _, amount in measured(trace, "other program seconds")] == exactly([2 * hop_s + disk_s] * 4)


def test_what_is_in_the_page_cache_costs_no_more_than_the_call() -> None:
    trace = played(BLOCKING, cache_hits=1.0, latency=0.02)
    assert {round(amount, 9) for _, amount in measured(trace, "blocked seconds")} == {0.04}
    assert total(trace, "found in memory") == total(trace, "blocks read") > 20
    assert said(trace, "read block", "kernel") == []


def test_a_disk_that_hangs_is_no_error_and_a_broken_one_is() -> None:
    hung = played(BLOCKING, [at(1.5, "unplug disk")])
    assert said(hung, "EIO") == []
    assert [time_s for time_s, _ in measured(hung, "blocks read") if time_s > 1.6] == []
    broken = played(BLOCKING, [at(1.5, "kill disk")])
    assert len(said(broken, "EIO")) > 5


# --- an asynchronous read -----------------------------------------------------------------------------------------------


def first_round_s(trace: Trace, number: int) -> float:
    """From the loop's first word in its second round until it had the last of its blocks."""
    took = [time_s for time_s, _ in measured(trace, "blocks read")]
    rounds = [time_s for time_s, _ in measured(trace, "rounds")]
    words = [time_s for time_s, fact in said(trace, ".*", "loop")]
    begins = next(time_s for time_s in words if time_s > rounds[0])
    assert len(took) > 2 * number
    return took[2 * number - 1] - begins


@pytest.mark.parametrize("hop_s", [0.001, 0.02])
@pytest.mark.parametrize("source_s", [0.2, 1.0])
def test_how_long_one_read_takes_each_way(hop_s: float, source_s: float) -> None:
    """In hops: io_uring in, out to the source and back; epoll one call more, for the data; helpers one thread more."""
    knobs: dict[str, Value] = {"latency": hop_s, "disk_time": source_s, "reads": 1, "other_work": 0.0}
    for way, source, hops in (
        ("io_uring", "socket", 4),
        ("io_uring", "file", 4),
        ("epoll", "socket", 6),
        ("epoll", "file", 6),  # a call for nothing but EPERM, then a read that blocks
        ("helpers", "file", 6),
        ("helpers", "socket", 6),  # the data come while its write() returns
    ):
        trace = played(ASYNCHRONOUS, way=way, source=source, **knobs)
        assert first_round_s(trace, 1) == exactly(hops * hop_s + source_s), (way, source)


def test_three_reads_overlap_unless_the_loop_has_to_block() -> None:
    knobs: dict[str, Value] = {"latency": 0.01, "disk_time": 1.0, "reads": 3, "other_work": 0.0}
    assert first_round_s(played(ASYNCHRONOUS, way="io_uring", **knobs), 3) == exactly(1.04)
    assert first_round_s(played(ASYNCHRONOUS, way="helpers", source="file", **knobs), 3) == exactly(1.06)
    assert first_round_s(played(ASYNCHRONOUS, way="epoll", source="file", **knobs), 3) == exactly(0.02 + 3 * 1.04)
    assert first_round_s(played(ASYNCHRONOUS, way="io_uring", disk_queue=1, **knobs), 3) == exactly(3.04)
    assert first_round_s(played(ASYNCHRONOUS, way="helpers", source="file", helpers=1, **knobs), 3) == exactly(
        0.02 + 3 * 1.04
    )


def test_how_many_system_calls_a_round_takes() -> None:
    """io_uring: one to submit, one to sleep, however many reads. epoll: a write and a read each, and waits. Helpers: none."""

    def calls(way: str, reads: int) -> float:
        trace = played(ASYNCHRONOUS, way=way, reads=reads, other_work=0.0)
        loop = sum(f.amount for _, f in every(trace, Measured) if f.what == "system calls" and f.host == "loop")
        return loop / total(trace, "rounds")

    assert [round(calls("io_uring", reads)) for reads in (1, 3, 8)] == [2, 2, 2]
    for reads in (1, 3, 8):
        assert calls("epoll", reads) > 2 * reads
    assert calls("helpers", 3) == 0


def test_epoll_refuses_a_file_and_the_others_do_not_care() -> None:
    assert said(played(ASYNCHRONOUS, way="epoll", source="file"), "EPERM")
    for way in ("io_uring", "helpers"):
        trace = played(ASYNCHRONOUS, way=way, source="file")
        assert not said(trace, "EPERM")
        assert total(trace, "blocks read") > 20


@pytest.mark.parametrize("way", ["epoll", "io_uring", "helpers"])
def test_other_work_is_done_while_the_blocks_are_on_their_way(way: str) -> None:
    trace = played(ASYNCHRONOUS, way=way, other_work=0.8, disk_time=1.0, latency=0.001)
    rounds = measured(trace, "rounds")
    length = rounds[2][0] - rounds[1][0] - 0.5  # without the pause
    assert 1.0 < length < 1.1
    assert total(trace, "other work seconds") == pytest.approx(0.8 * len(rounds), abs=0.81)
    blocked = played(ASYNCHRONOUS, way="epoll", source="file", other_work=0.8, disk_time=1.0, latency=0.001)
    rounds = measured(blocked, "rounds")
    assert rounds[1][0] - rounds[0][0] - 0.5 > 3 * 1.0 + 0.8


# --- the client's choice ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("requests", [1, 5])
@pytest.mark.parametrize(("latency_s", "service_s"), [(0.1, 0.3), (0.0, 0.5), (0.4, 0.0)])
def test_a_page_one_after_another_and_all_at_once(requests: int, latency_s: float, service_s: float) -> None:
    knobs: dict[str, Value] = {"latency": latency_s, "service_time": service_s, "requests": requests, "pool_size": 20}
    round_trip_s = 2 * latency_s

    def page_s(asking: str, **more: Value) -> float:
        return measured(played(CLIENT, asking=asking, until_s=9.0, **knobs, **more), "page seconds")[0][1]

    assert page_s("one after another") == exactly(round_trip_s + requests * (round_trip_s + service_s))
    assert page_s("all at once") == exactly(round_trip_s + round_trip_s + service_s)
    assert page_s("two at a time") == exactly(round_trip_s + ceil(requests / 2) * (round_trip_s + service_s))
    # Three threads: waiting has moved into the server, and the work is done in thirds.
    assert page_s("all at once", server_threads=3) == exactly(2 * round_trip_s + ceil(requests / 3) * service_s)


@pytest.mark.parametrize("pool", [2, 3, 6])
def test_a_pool_makes_rounds_of_what_is_asked_at_once(pool: int) -> None:
    trace = played(CLIENT, asking="all at once", requests=12, pool_size=pool, latency=0.1, service_time=0.3)
    assert measured(trace, "page seconds")[0][1] == exactly(0.2 + ceil(12 / pool) * 0.5)


# --- the backend's choice -----------------------------------------------------------------------------------------------


def posts(trace: Trace) -> list[tuple[float, str]]:
    """How long the first POST of each client took, and the answer, in the order of the questions."""
    asked = said(trace, "POST")
    answered = arrivals(trace, "20[02]")
    flows = {}
    for time_s, fact in asked:
        flows.setdefault(fact.flow, time_s)
    begun = {fact.flow: fact.label for _, fact in reversed(said(trace, "20[02]"))}
    first = {}
    for _, fact in said(trace, "20[02]"):
        first.setdefault(fact.flow, fact)
    times = {}
    delivered_at = {fact.packet: record.time_s for record, fact in every(trace, PacketDelivered)}
    starts = {record.id: fact.flow for record, fact in every(trace, MessageStarted) if fact in first.values()}
    for record, ended in every(trace, MessageEnded):
        if ended.message in starts and record.cause in delivered_at:
            times.setdefault(starts[ended.message], delivered_at[record.cause])
    assert answered
    return [(times[flow] - asked_s, begun[flow]) for flow, asked_s in flows.items() if flow in times]


@pytest.mark.parametrize("job_s", [0.4, 1.5, 30.0])
def test_behind_a_queue_every_post_is_answered_in_one_round_trip(job_s: float) -> None:
    found = posts(played(BACKEND, working="behind a queue", job_time=job_s, latency=0.1))
    assert len(found) == 3
    assert [time_s for time_s, _ in found] == exactly([0.2] * 3)
    assert {label for _, label in found} == {"202 Accepted"}


def test_inside_the_request_clients_wait_for_the_work_and_for_each_other() -> None:
    together = posts(played(BACKEND, job_time=2.0, workers=3, latency=0.1))
    assert [time_s for time_s, _ in together] == exactly([2.2] * 3)
    alone = sorted(time_s for time_s, _ in posts(played(BACKEND, job_time=1.0, workers=1, latency=0.1)))
    assert alone[0] == exactly(1.2)
    assert 1.2 < alone[1] < alone[2] < 3.2 + 1e-9


@pytest.mark.parametrize(("wait", "job_s", "answer", "after_s"), [
    (3, 1.5, "200 OK", 1.5), (3, 4.0, "202 Accepted", 3.0), (0, 0.5, "202 Accepted", 0.0), (1, 1.5, "202 Accepted", 1.0),
])  # fmt: skip
def test_the_server_waits_as_long_as_the_client_prefers(wait: int, job_s: float, answer: str, after_s: float) -> None:
    """RFC 7240, sections 4.1 and 4.3: respond-async, wait=N."""
    trace = played(
        BACKEND, working="as the client prefers", workers=3, wait=wait, job_time=job_s, latency=0.1, until_s=20.0
    )
    assert posts(trace) == [(exactly(0.2 + after_s), answer)] * 3
    sent = b"".join(fact.payload for _, fact in every(trace, PacketSent))
    assert f"Prefer: respond-async, wait={wait}\r\n".encode() in sent
    assert (b"preference-applied: respond-async" in sent.lower()) == (answer == "202 Accepted")


def test_whoever_gives_up_has_the_work_done_twice_and_a_queue_does_not() -> None:
    inside = played(BACKEND, job_time=2.0)
    assert total(inside, "given up") > 10
    assert total(inside, "conversions") > 4 * total(inside, "videos done")
    queued = played(BACKEND, job_time=2.0, working="behind a queue")
    assert total(queued, "given up") == 0
    assert 0 <= total(queued, "conversions") - total(queued, "videos done") <= 2


def test_a_queue_in_memory_is_lost_with_it() -> None:
    trace = played(BACKEND, [at(5.0, "kill server"), at(6.0, "restart server")], working="behind a queue")
    assert total(trace, "jobs lost") >= 1
    assert [f.label for _, f in said(trace, "404")]


# --- a commit -----------------------------------------------------------------------------------------------------------


def power_cut(crash_s: float, seed: int = 0, **knobs: Value) -> Trace:
    """A run with one power cut, long enough for the client to look up what is left."""
    commands = [at(crash_s, "kill server"), at(crash_s + 0.5, "restart server")]
    return played(COMMIT, commands, until_s=crash_s + 4.0, seed=seed, **knobs)


def survivors(trace: Trace, crash_s: float) -> list[int]:
    """The rows that the restarted server found in its log, as it told the client."""
    for record, fact in every(trace, PacketSent):
        found = re.search(rb"!\d+ \d+ \d+ rows\n([\d ]*)", fact.payload)
        if record.time_s > crash_s and fact.sender == "server" and found:
            return list(map(int, found[1].split()))
    raise AssertionError("nobody asked")


def commits(trace: Trace, crash_s: float) -> dict[int, float]:
    """The rows that were committed before the crash, in the order in which the server took them, and when it said so.

    Rows that were never acknowledged have infinity.
    """
    taken = [int(label.split()[1]) for time_s, label in arrivals(trace, "COMMIT") if time_s < crash_s]
    told = {int(f.label.split()[1]): time_s for time_s, f in said(trace, "committed") if time_s < crash_s}
    return {row: told.get(row, float("inf")) for row in taken}


def check_cut(crash_s: float, seed: int, **knobs: Value) -> tuple[list[int], list[int]]:
    """Cut the power and hold everything against the trace; the rows that were lost after acknowledgement, and torn ends."""
    trace = power_cut(crash_s, seed, **knobs)
    order = commits(trace, crash_s)
    there = survivors(trace, crash_s)[: len(order)]
    first_gone = next((n for n, row in enumerate(order) if row not in there), len(order))
    assert there[:first_gone] == list(order)[:first_gone], "what survives is a beginning of the commit order"
    gone = list(order)[first_gone:]
    assert not set(gone) & set(there), "what is lost is an end of it"
    heard = {int(label.split()[1]) for _, label in arrivals(trace, "committed")}
    assert lost_rows(trace) == [row for row in gone if row in heard]
    delay_s = float(knobs.get("wal_writer_delay", 0.2))
    for row in gone:
        assert crash_s - order[row] <= 3 * delay_s, f"row {row} was acknowledged long before the crash"
    return lost_rows(trace), [int(amount) for _, amount in measured(trace, "torn ends")]


GRID = [2.0 + n * 0.0233 for n in range(12)]


def test_an_asynchronous_commit_loses_the_end_of_the_commit_order_and_nothing_old() -> None:
    """For every moment of a crash; fsync takes less than a third of wal_writer_delay, as the rule of three needs."""
    losses = [len(check_cut(crash_s, seed, synchronous_commit=False)[0]) for seed, crash_s in enumerate(GRID)]
    assert sum(losses) > 5, "it does lose"


@settings(max_examples=12, derandomize=True, deadline=None)
@given(
    st.floats(1.5, 4.0), st.integers(0, 1000), st.sampled_from([0.15, 0.2, 0.5]), st.sampled_from([0, 100, 3000]),
    st.sampled_from([0.0, 0.02, 0.05]),
)  # fmt: skip
def test_whatever_the_load(crash_s: float, seed: int, delay_s: float, size: int, fsync_s: float) -> None:
    """Large rows fill pages, which the WAL writer prefers: then a record may wait for a second round."""
    check_cut(crash_s, seed, synchronous_commit=False, wal_writer_delay=delay_s, row_size=size, fsync_time=fsync_s)


def test_a_synchronous_commit_loses_nothing_that_was_acknowledged() -> None:
    for seed, crash_s in enumerate(GRID):
        assert check_cut(crash_s, seed, synchronous_commit=True, group_commit=seed % 2 == 0)[0] == []


def test_torn_records_are_found_and_thrown_away() -> None:
    """Half a second of fsync in which the power may go: some cuts leave half a record, and none leaves a wrong one."""
    torn = [
        check_cut(crash_s, seed, synchronous_commit=True, fsync_time=0.5, row_size=3000, think_time=0.05)[1]
        for seed, crash_s in enumerate(GRID)
    ]
    assert sum(bool(ends) for ends in torn) > 3


def test_how_long_a_commit_takes() -> None:
    def delays(**knobs: Value) -> Counter[float]:
        trace = played(COMMIT, latency=0.05, fsync_time=0.3, **knobs)
        asked = {int(f.label.split()[1]): time_s for time_s, f in said(trace, "COMMIT")}
        told = {int(label.split()[1]): time_s for time_s, label in arrivals(trace, "committed")}
        return Counter(round(told[row] - asked[row], 6) for row in told)

    assert set(delays(synchronous_commit=False)) == {0.1}
    assert set(delays(sessions=1)) == {0.4}
    assert max(delays(sessions=8, think_time=0.01)) <= 0.7 + 1e-9  # the end of one fsync, and the next
    assert max(delays(sessions=8, think_time=0.01, group_commit=False)) > 2.0


def test_group_commit_serves_many_with_one_fsync() -> None:
    def per_fsync(group: bool) -> float:
        trace = played(COMMIT, sessions=8, think_time=0.01, fsync_time=0.3, group_commit=group)
        begun = {record.id for record, fact in every(trace, WorkStarted) if fact.label == "fsync"}
        done = [fact for _, fact in every(trace, WorkFinished) if fact.work in begun]
        return total(trace, "acknowledged") / len(done)

    assert per_fsync(True) > 3.5
    assert per_fsync(False) <= 1.0


# --- the page cache -----------------------------------------------------------------------------------------------------

POLICIES = ("never", "every write", "every n writes")


def crash(host: str, at_s: float, until_s: float = 18.0, **knobs: Value) -> Trace:
    commands = [at(at_s, f"kill {host}"), at(at_s + 0.7, f"restart {host}")]
    return played(PAGE_CACHE, commands, until_s=until_s, **knobs)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_program_that_crashes_loses_nothing_that_was_written(policy: str) -> None:
    for n in range(5):
        trace = crash("app", 6.0 + n * 0.13, fsync=policy)
        assert lost_rows(trace) == []
        assert total(trace, "acknowledged") > 5
        assert any(re.match(r"all \d+ acknowledged", fact.text) for _, fact in every(trace, Noted))


def test_a_power_cut_loses_what_was_not_fsynced() -> None:
    for n in range(4):
        cut_s = 8.0 + n * 0.27
        assert lost_rows(crash("kernel", cut_s, fsync="every write")) == []
        some = crash("kernel", cut_s, fsync="every n writes", fsync_every=4)
        assert len(lost_rows(some)) <= 3
        trace = crash("kernel", cut_s, fsync="never")
        lost, told = lost_rows(trace), arrivals(trace, "order .* is saved")
        saved = {int(label.split()[1]): time_s for time_s, label in told if time_s < cut_s + 0.1}
        assert lost == list(saved)[-len(lost) :], "the youngest ones"
        assert len(lost) > 5
        # Written back after 5 s, by a flusher that looks every half second, a sector at a time.
        assert min(saved[order] for order in lost) > cut_s - 5.0 - 0.5 - 2.0


def test_torn_orders_are_found_by_their_checksum() -> None:
    traces = [crash("kernel", 6.0 + n * 0.17, fsync="every write", record_size=3000) for n in range(8)]
    assert sum(total(trace, "torn records") for trace in traces) >= 3
    assert [lost_rows(trace) for trace in traces] == [[]] * 8


def test_what_saving_costs() -> None:
    """Two round trips for the order and its write(); with fsync one more, and one for each sector, which takes its time."""
    quick = played(PAGE_CACHE, fsync="never", latency=0.03)
    assert {round(amount, 9) for _, amount in measured(quick, "saving seconds")[1:]} == {0.12}
    safe = played(PAGE_CACHE, fsync="every write", latency=0.03, sector_time=0.1, record_size=512 - 16)
    found = Counter(round(amount, 9) for _, amount in measured(safe, "saving seconds")[1:])
    assert set(found) == {round(0.18 + 1 * 0.16, 9)}  # a record and its head fill a sector exactly


def test_a_disk_that_hangs_bothers_only_who_calls_fsync() -> None:
    commands = [at(3.0, "unplug disk")]
    assert total(played(PAGE_CACHE, commands, fsync="never"), "acknowledged") > 30
    assert total(played(PAGE_CACHE, commands, fsync="every write"), "acknowledged") < 5


# --- replication --------------------------------------------------------------------------------------------------------


def failover(kill_s: float, promote: str = "db2", after_s: float = 1.0, **knobs: Value) -> Trace:
    commands = [at(kill_s, "kill db1"), at(kill_s + after_s, f"set leader {promote}"), at(kill_s + 4, "restart db1")]
    return played(REPLICATION, commands, until_s=kill_s + 7, **knobs)


def shipped(trace: Trace, receiver: str, until_s: float) -> set[int]:
    """The rows that db1 had sent to a follower by then."""
    labels = [f.label for time_s, f in said(trace, "log: ", "db1") if f.receiver == receiver and time_s < until_s]
    return {row for label in labels for row in row_numbers(label.removeprefix("log: "))}


def test_the_new_leader_lacks_exactly_what_was_acknowledged_and_not_shipped() -> None:
    losses = 0
    for n in range(9):
        kill_s = 4.0 + n * 0.071
        for promote in ("db2", "db3"):
            trace = failover(kill_s, promote)
            heard = [int(label.split()[1]) for time_s, label in arrivals(trace, "committed") if time_s < kill_s + 0.3]
            expected = [row for row in heard if row not in shipped(trace, promote, kill_s)]
            assert lost_rows(trace) == expected
            assert total(trace, "rows dropped") >= len(expected), "when it comes back, it must drop them"
            losses += len(expected)
    assert losses > 10


@pytest.mark.parametrize(
    ("replication", "promote"), [("synchronous", "db2"), ("synchronous", "db3"), ("quorum", "db2")]
)
def test_what_waits_for_followers_loses_nothing(replication: str, promote: str) -> None:
    for n in range(6):
        trace = failover(4.0 + n * 0.091, promote, replication=replication)
        assert lost_rows(trace) == []
        assert total(trace, "acknowledged") > 5


def test_a_quorum_does_not_help_whoever_promotes_the_wrong_one() -> None:
    """db3 needs two seconds to write what db2 has long had."""
    losses = [
        len(lost_rows(failover(6.0 + n * 0.2, "db3", 0.1, replication="quorum", slow_disk=2.0))) for n in range(6)
    ]
    assert min(losses) > 1


@pytest.mark.parametrize(("disk_s", "slow_s"), [(0.05, 0.4), (0.2, 0.7)])
def test_how_long_a_write_takes(disk_s: float, slow_s: float) -> None:
    def delay_s(replication: str) -> float | None:
        trace = played(REPLICATION, replication=replication, latency=0.1, disk_time=disk_s, slow_disk=slow_s, pause=2.0)
        return Numbers(trace).value("delay-p95", 24.0)

    assert delay_s("asynchronous") == exactly(0.2 + disk_s)
    assert delay_s("quorum") == exactly(0.2 + disk_s + 0.2 + disk_s)
    assert delay_s("synchronous") == exactly(0.2 + disk_s + 0.2 + slow_s)


def test_a_synchronous_follower_that_is_cut_off_stops_all_writes() -> None:
    def while_cut(replication: str) -> int:
        trace = played(
            REPLICATION, [at(6.0, "unplug db3"), at(16.0, "plug db3")], until_s=30.0, replication=replication
        )
        times = [time_s for time_s, _ in arrivals(trace, "committed")]
        assert max(times) > 29.0, "it goes on afterwards"
        return sum(7.0 < time_s < 16.0 for time_s in times)

    assert while_cut("synchronous") == 0
    assert while_cut("quorum") > 15
    assert while_cut("asynchronous") > 30
