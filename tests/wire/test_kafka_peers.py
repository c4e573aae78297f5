"""Kafka's peers on the lab's network: a broker, producers, readers and members of groups, and what becomes of them in trouble.

L is the latency of one way. Every time here adds up exactly.
"""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import pytest
import trio

from engines.lab.commands import TimedCommand, parse_command
from engines.lab.facts import MessageStarted, Noted
from engines.lab.host import Host
from engines.lab.scenario import HostSpec, Scenario
from engines.lab.session import SessionState, run_headless
from engines.lab.trace import Trace
from engines.wire import kafka_group_messages as g
from engines.wire import kafka_messages as m
from engines.wire.kafka import KafkaDissector
from engines.wire.kafka_broker import KafkaBroker
from engines.wire.kafka_client import KafkaConnection, KafkaConnectionLost, KafkaProducer, Line, LogReader, OutOfRange
from engines.wire.kafka_consumer import ConsumerSettings, Polled, group_consumer
from engines.wire.kafka_log import Expired
from engines.wire.kafka_protocol import EARLIEST, LATEST, PORT, Code, Request
from engines.wire.kafka_records import Batch, Record, encode_batch, partition_of
from tests.patterns.laws import breaches, every

Program = Callable[[Host], Awaitable[None]]
L = 0.1
SETTINGS = ConsumerSettings(session_timeout_s=4.0, heartbeat_s=1.0, max_wait_s=2.0, reset=EARLIEST)


def talk(
    programs: Mapping[str, Program],
    *orders: str,
    partitions: int = 1,
    until_s: float = 30.0,
    delay_s: float = 0.5,
    retention_s: float = math.inf,
    on_expired: Callable[[Expired], None] = lambda expired: None,
) -> Trace:
    """A run of these programs beside a broker with the topic "t"."""

    async def broker(host: Host) -> None:
        await KafkaBroker(
            host,
            {"t": lambda: partitions},
            watched=[("g", "t")],
            initial_delay_s=lambda: delay_s,
            retention_s=lambda: retention_s,
            on_expired=on_expired,
        ).serve()

    hosts = (HostSpec("broker", broker), *(HostSpec(name, program) for name, program in programs.items()))
    scenario = Scenario("kafka", "k", "", hosts, protocols={PORT: KafkaDissector}, network={"latency": L})
    commands = [TimedCommand(float(at), parse_command(text)) for at, text in (o.split(" ", 1) for o in orders)]
    session = run_headless(scenario, commands=commands, until_s=until_s)
    assert session.status.state is SessionState.ENDED, session.status.message
    assert breaches(session.trace) == []
    return session.trace


def notes(trace: Trace, host: str = "broker") -> list[tuple[float, str]]:
    return [(round(r.time_s, 6), str(noted.text)) for r, noted in every(trace, Noted) if noted.host == host]


def generations(trace: Trace) -> list[tuple[float, str]]:
    """When each division of the partitions was known to the broker, and what it was."""
    found = notes(trace)
    return [(time_s, text.partition(": ")[2]) for time_s, text in found if text.startswith("generation")]


def labels(trace: Trace, sender: str) -> list[str]:
    return [str(started.label) for _, started in every(trace, MessageStarted) if started.sender == sender]


def sends(*values: str, key: str = "", every_s: float = 0.0) -> Program:
    """A producer of these values."""

    async def program(host: Host) -> None:
        producer = KafkaProducer(host)
        for value in values:
            await producer.send("t", Record(value.encode(), key.encode() or None))
            await trio.sleep(every_s)

    return program


def member(
    work_s: float = 0.0, joins_s: float = 0.0, leaves_s: float = math.inf, settings: ConsumerSettings = SETTINGS
) -> Program:
    """A member of group "g" that notes what it has dealt with, and commits after each poll."""

    async def program(host: Host) -> None:
        await trio.sleep(joins_s)
        async with group_consumer(host, "g", "t", lambda: settings) as consumer:
            with trio.move_on_at(leaves_s):
                while True:
                    polled = await consumer.poll()
                    for each in polled:
                        await trio.sleep(work_s)
                        host.note(f"{each.partition}@{each.record.offset} {each.record.value.decode()}")
                    await consumer.commit(polled)
            await consumer.leave()

    return program


# --- records and offsets ------------------------------------------------------------------------------------------------


def test_what_is_produced_is_read_from_wherever_one_likes() -> None:
    seen = dict[str, object]()

    async def reader(host: Host) -> None:
        await trio.sleep(5.0)
        log = LogReader(host, "t")
        seen["earliest"], seen["latest"] = await log.offset_at(EARLIEST), await log.offset_at(LATEST)
        seen["all"] = [record.value for record in (await log.fetch(0)).records]
        seen["second time"] = [record.value for record in (await log.fetch(1)).records]
        seen["at 2 s"] = await log.offset_at(2000)
        seen["nothing"] = (await log.fetch(3, max_wait_s=0.5)).records
        with pytest.raises(OutOfRange):
            await log.fetch(4)

    talk({"producer": sends("a", "b", "c", every_s=1.0), "reader": reader})
    assert seen == {
        "earliest": 0, "latest": 3, "all": [b"a", b"b", b"c"], "second time": [b"b", b"c"], "at 2 s": 2, "nothing": [],
    }  # fmt: skip


def test_a_fetch_is_held_until_there_is_something_and_no_longer_than_asked() -> None:
    """The producer's way: SYN and SYN-ACK, Metadata, InitProducerId, then the record: 7L."""
    times = list[tuple[float, int]]()

    async def reader(host: Host) -> None:
        log = LogReader(host, "t")
        for _ in range(2):
            found = await log.fetch(0 if not times else 1, max_wait_s=3.0)
            times.append((trio.current_time(), len(found.records)))

    talk({"producer": sends("a"), "reader": reader})
    assert times == [(pytest.approx(7 * L + L), 1), (pytest.approx(8 * L + L + 3.0 + L), 0)]


@pytest.mark.parametrize("wanted", [1, 2, 3])
def test_min_bytes_make_the_broker_wait_for_more(wanted: int) -> None:
    found = list[int]()
    min_bytes = len(encode_batch(Batch(tuple(Record(b"x", timestamp_ms=1000 * n) for n in range(wanted)))))

    async def reader(host: Host) -> None:
        read = await LogReader(host, "t").fetch(0, max_wait_s=9.0, min_bytes=min_bytes)
        found.append(len(read.records))

    talk({"producer": sends("a", "b", "c", every_s=1.0), "reader": reader})
    assert found == [wanted]


def test_records_with_a_key_stay_together_and_others_go_round() -> None:
    where = dict[str, list[int]]()

    async def reader(host: Host) -> None:
        await trio.sleep(5.0)
        for number in range(4):
            for record in (await LogReader(host, "t", number).fetch(0, max_wait_s=0.1)).records:
                where.setdefault(record.value.decode(), []).append(number)

    programs = {"one": sends(*"k" * 5, key="user 1"), "two": sends(*"abcdef"), "reader": reader}
    talk(programs, partitions=4)
    assert where.pop("k") == [partition_of(b"user 1", 4)] * 5
    assert where == {letter: [n % 4] for n, letter in enumerate("abcdef")}


def test_a_producer_that_gets_no_answer_sends_again_and_the_log_has_it_once() -> None:
    found = list[bytes]()

    async def reader(host: Host) -> None:
        await trio.sleep(15.0)
        found.extend(record.value for record in (await LogReader(host, "t").fetch(0)).records)

    trace = talk(
        {"producer": sends("a", "b", "c", every_s=1.0), "reader": reader},
        "1.6 lose next response from broker",
    )  # fmt: skip
    assert labels(trace, "producer").count("Produce t/0: 1 record") == 4
    assert found == [b"a", b"b", b"c"]


def test_the_log_survives_the_broker() -> None:
    found = list[bytes]()

    async def reader(host: Host) -> None:
        await trio.sleep(6.0)
        found.extend(record.value for record in (await LogReader(host, "t").fetch(0)).records)

    talk({"producer": sends("a", "b"), "reader": reader}, "2 kill broker", "4 restart broker")
    assert found == [b"a", b"b"]


def test_old_records_are_thrown_away_whether_read_or_not() -> None:
    expired = list[tuple[bytes, bool]]()

    async def reader(host: Host) -> None:
        await trio.sleep(3.0)
        await LogReader(host, "t").fetch(0)

    def note(each: Expired) -> None:
        expired.append((each.record.value, each.was_fetched))

    talk(
        {"producer": sends("a", "b", "c", every_s=2.0), "reader": reader}, retention_s=5.0, on_expired=note, until_s=9.0
    )  # fmt: skip
    assert expired == [(b"a", True), (b"b", True)]


def test_requests_of_other_versions_end_the_connection_and_wrong_records_do_not() -> None:
    async def odd(host: Host) -> None:
        line = Line(host, "broker")
        partitions = (m.ProducePartition(0, b"x" * 80), m.ProducePartition(0, b"x"), m.ProducePartition(7, b""))
        answer = await line.ask(m.ProduceRequest(None, 1, 0, (m.ProduceTopic("t", partitions),)))
        codes = [each.error_code for each in answer.topics[0].partitions]
        assert codes == [Code.CORRUPT_MESSAGE, Code.CORRUPT_MESSAGE, Code.UNKNOWN_TOPIC_OR_PARTITION]
        endpoint = await host.connect("broker", PORT)
        await endpoint.send_all(bytes.fromhex("0000000a 0001 000c 00000001 ffff"))
        assert await endpoint.receive_some() == b""
        endpoint = await host.connect("broker", PORT)
        await endpoint.send_all(bytes.fromhex("0000000a 0012 0004 00000007 ffff"))  # ApiVersions, too new for us
        assert (await endpoint.receive_some())[4:10] == bytes.fromhex("00000007 0023")  # KIP-511: version 0, error 35
        host.note("finished")

    assert "finished" in [text for _, text in notes(talk({"odd": odd}), "odd")]


def test_whoever_stops_waiting_leaves_the_answer_to_come() -> None:
    async def impatient(host: Host) -> None:
        log = LogReader(host, "t")
        await log.offset_at(LATEST)
        with trio.move_on_after(0.5):
            await log.fetch(0, max_wait_s=2.0)
        began_s = trio.current_time()
        assert await log.offset_at(LATEST) == 0  # the broker comes to it when it is done with the fetch
        assert trio.current_time() - began_s == pytest.approx(2.0 - 0.5 + 2 * L)
        connection = await KafkaConnection.connect(host, "broker")
        with pytest.raises(KafkaConnectionLost, match="no answer for 1 s"):
            await connection.ask(fetch_of_nothing(), 1.0)
        with pytest.raises(KafkaConnectionLost):
            await KafkaConnection.connect(host, "broker", 1)
        host.note("finished")

    assert "finished" in [text for _, text in notes(talk({"impatient": impatient}), "impatient")]


def fetch_of_nothing() -> Request[m.FetchResponse]:
    return m.FetchRequest(-1, 20_000, 1, 1, 0, (m.FetchTopic("t", (m.FetchPartition(0, 0, 1),)),))


def test_the_broker_says_who_it_is_and_what_it_knows() -> None:
    async def curious(host: Host) -> None:
        line = Line(host, "broker")
        versions = await line.ask(m.ApiVersionsRequest())
        assert (18, 0, 0) in [(each.api_key, each.min_version, each.max_version) for each in versions.api_keys]
        found = await line.ask(g.FindCoordinatorRequest("g"))
        assert (found.host, found.port) == ("broker", PORT)
        everything = await line.ask(m.MetadataRequest(None))
        assert [(topic.topic, len(topic.partitions)) for topic in everything.topics] == [("t", 3)]
        [nothing] = (await line.ask(m.MetadataRequest(("u",)))).topics
        assert nothing.error_code == Code.UNKNOWN_TOPIC_OR_PARTITION
        host.note("finished")

    assert "finished" in [text for _, text in notes(talk({"curious": curious}, partitions=3), "curious")]


# --- groups -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "partitions", "shares"),
    [
        (1, 4, "a-1 0 1 2 3"),
        (2, 4, "a-1 0 1; b-1 2 3"),
        (3, 4, "a-1 0 1; b-1 2; c-1 3"),
        (4, 2, "a-1 0; b-1 1; c-1 –; d-1 –"),
    ],
)
def test_the_first_generation(members: int, partitions: int, shares: str) -> None:
    """JoinGroup arrives after 3L and is answered 0.5 s later; the leader asks for the partitions, and says who gets what."""
    trace = talk({name: member() for name in "abcd"[:members]}, partitions=partitions)
    assert generations(trace) == [(pytest.approx(3 * L + 0.5 + L + 2 * L + L), shares)]


def test_a_newcomer_makes_everybody_join_again() -> None:
    """The member hears of it with its next heartbeat, leaves its fetch to itself, and joins at once."""
    trace = talk({"a": member(), "b": member(joins_s=5.0)}, partitions=2)
    [_, (again_s, shares)] = generations(trace)
    assert shares == "a-1 0; b-1 1"
    # a's heartbeats leave at whole seconds after its birth, and each takes a round trip; the first after b's request
    # arrives at 5.3 s brings the news. Then: answer L, JoinGroup L, answer L, Metadata 2L, SyncGroup L.
    beats_s = [r.time_s for r, s in every(trace, MessageStarted) if s.sender == "a" and s.label == "Heartbeat"]
    told_s = next(time_s + L for time_s in beats_s if time_s + L > 5.0 + 3 * L)
    assert again_s == pytest.approx(told_s + L + L + L + 2 * L + L)


def test_who_says_goodbye_is_not_waited_for_and_who_dies_is() -> None:
    goodbye = talk({"a": member(), "b": member(leaves_s=10.0)}, partitions=2)
    death = talk({"a": member(), "b": member()}, "10 kill b", partitions=2)
    assert (10.0 + L, "b-1 leaves g") in notes(goodbye)
    beats_s = [r.time_s for r, s in every(death, MessageStarted) if s.sender == "b" and s.label == "Heartbeat"]
    assert (pytest.approx(beats_s[-1] + L + 4.0), "no heartbeat from b-1 for 4 s") in notes(death)
    for trace in (goodbye, death):
        assert generations(trace)[-1][1] == "a-1 0 1"


def test_a_restarted_member_is_a_new_one_and_all_wait_for_the_old_one_to_time_out() -> None:
    trace = talk({"a": member(), "b": member()}, "10 kill b", "10.5 restart b", partitions=2)
    gone_s = next(time_s for time_s, text in notes(trace) if text.startswith("no heartbeat from b-1"))
    assert [shares for _, shares in generations(trace)] == ["a-1 0; b-1 1", "a-1 0; b-2 1"]
    assert generations(trace)[-1][0] == pytest.approx(gone_s + L + 2 * L + L)


def test_a_rebalance_waits_for_whoever_is_at_work_but_not_longer_than_the_poll_interval() -> None:
    patient = replace(SETTINGS, max_poll_interval_s=60.0)
    hasty = replace(SETTINGS, max_poll_interval_s=3.0)
    for settings, waits in ((patient, True), (hasty, False)):
        trace = talk(
            {"producer": sends("x"), "a": member(work_s=9.0, settings=settings), "b": member(joins_s=4.0, settings=settings)},
            partitions=2,
        )  # fmt: skip
        began_s = next(r.time_s for r, s in every(trace, MessageStarted) if s.label == "Fetch: 1 record") + L
        generation_s = generations(trace)[1][0]
        assert (generation_s > began_s + 9.0) == waits
        if not waits:
            assert (
                pytest.approx(1.0, abs=1.0 + 2 * L) == generation_s - 4.0 - 3 * L
            ) or generation_s < 4.0 + 3.0 + 9 * L
        texts = [text for _, text in notes(trace, "a")]
        assert ("commit refused: UNKNOWN_MEMBER_ID" in texts) == (not waits)
        assert texts.count("0@0 x") == 1


def test_more_partitions_are_noticed_by_the_leader() -> None:
    count = [2]

    async def grow(host: Host) -> None:
        await trio.sleep(5.0)
        count[0] = 4

    async def broker_topics(host: Host) -> None:
        await KafkaBroker(host, {"t": lambda: count[0]}, initial_delay_s=lambda: 0.5).serve()

    settings = replace(SETTINGS, metadata_max_age_s=2.0)
    hosts = (
        HostSpec("broker", broker_topics), HostSpec("grow", grow), HostSpec("a", member(settings=settings)),
        HostSpec("b", member(settings=settings)),
    )  # fmt: skip
    scenario = Scenario("kafka", "k", "", hosts, protocols={PORT: KafkaDissector}, network={"latency": L})
    trace = run_headless(scenario, until_s=20.0).trace
    assert [shares for _, shares in generations(trace)] == ["a-1 0; b-1 1", "a-1 0 1; b-1 2 3"]


def test_a_broker_that_was_away_knows_no_members_and_still_the_offsets() -> None:
    values = [str(n) for n in range(12)]
    trace = talk(
        {"producer": sends(*values, every_s=1.0), "a": member(), "b": member()},
        "5 kill broker", "7 restart broker", partitions=2,
    )  # fmt: skip
    assert [shares for _, shares in generations(trace)] == ["a-1 0; b-1 1", "a-1 0; b-1 1"]
    dealt = sorted(int(text.split()[-1]) for host in "ab" for _, text in notes(trace, host) if "@" in text)
    assert dealt == list(range(12))


# --- once, twice, never -------------------------------------------------------------------------------------------------


def crash(commit_first: bool, at: str) -> list[str]:
    """Whether each of three records was dealt with, by a consumer that dies at one point of the second, and its successor."""
    dealt = list[str]()

    async def fragile(host: Host) -> None:
        first_life = host.recorder.next_number("life") == 1
        settings = replace(SETTINGS, max_poll_records=1)

        async def maybe_die(place: str, polled: list[Polled]) -> None:
            if first_life and place == at and polled[0].record.value == b"1":
                host.note("dies here")
                await trio.sleep_forever()

        async with group_consumer(host, "g", "t", lambda: settings) as consumer:
            while True:
                polled = await consumer.poll()
                await maybe_die("before", polled)
                if commit_first:
                    await consumer.commit(polled)
                    await maybe_die("between", polled)
                dealt.append(polled[0].record.value.decode())
                if not commit_first:
                    await maybe_die("between", polled)
                    await consumer.commit(polled)
                await maybe_die("after", polled)

    talk({"producer": sends("0", "1", "2"), "fragile": fragile}, "8 kill fragile", "9 restart fragile")
    return dealt


@pytest.mark.parametrize(
    ("commit_first", "at", "expected"),
    [
        (False, "before", ["0", "1", "2"]),
        (False, "between", ["0", "1", "1", "2"]),
        (False, "after", ["0", "1", "2"]),
        (True, "before", ["0", "1", "2"]),
        (True, "between", ["0", "2"]),
        (True, "after", ["0", "1", "2"]),
    ],
)
def test_at_least_once_or_at_most_once(commit_first: bool, at: str, expected: list[str]) -> None:
    """What a crash costs depends on where it happens, and which of the two can happen on the order of work and commit."""
    assert crash(commit_first, at) == expected


@pytest.mark.parametrize("partitions", [1, 3, 5])
@pytest.mark.parametrize("members", [1, 2, 4])
def test_in_peace_every_record_is_dealt_with_once_and_in_order(members: int, partitions: int) -> None:
    values = [str(n) for n in range(20)]
    names = "abcd"[:members]
    trace = talk({"producer": sends(*values, every_s=0.2), **{n: member(0.05) for n in names}}, partitions=partitions)
    dealt = [text for name in names for _, text in notes(trace, name) if "@" in text]
    assert sorted(int(text.split()[-1]) for text in dealt) == list(range(20))
    for name in names:
        by_partition = dict[str, list[int]]()
        for text in (text for _, text in notes(trace, name) if "@" in text):
            partition, _, offset = text.split()[0].partition("@")
            by_partition.setdefault(partition, []).append(int(offset))
        assert all(offsets == sorted(offsets) for offsets in by_partition.values())


def test_a_commit_by_who_is_not_a_member_is_refused_as_long_as_there_are_some() -> None:
    async def stranger(host: Host) -> None:
        place = (g.CommitTopic("t", (g.CommitPartition(0, 1, ""),)),)
        line = Line(host, "broker")
        codes = []
        for at_s in (0.0, 5.0):
            await trio.sleep_until(at_s)
            answer = await line.ask(g.OffsetCommitRequest("g", -1, "", -1, place))
            codes.append(answer.topics[0].partitions[0].error_code)
        assert codes == [Code.NONE, Code.UNKNOWN_MEMBER_ID]
        fetched = await line.ask(g.OffsetFetchRequest("g", (g.OffsetFetchTopic("t", (0,)),)))
        assert fetched.topics[0].partitions[0].offset == 1
        host.note("finished")

    trace = talk({"stranger": stranger, "a": member(joins_s=2.0)})
    assert "finished" in [text for _, text in notes(trace, "stranger")]
