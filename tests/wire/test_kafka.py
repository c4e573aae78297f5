"""Kafka's bytes: messages and records against known ones, the dissector on random conversations that are cut anywhere."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.lab.dissection import Ended, Side, Started
from engines.lab.facts import Role
from engines.wire import kafka_group_messages as g
from engines.wire import kafka_messages as m
from engines.wire.dissectors import dissector_named
from engines.wire.kafka import LIMIT, KafkaDissector
from engines.wire.kafka_apis import API_OF
from engines.wire.kafka_consumer import range_assignment
from engines.wire.kafka_log import PartitionLog
from engines.wire.kafka_protocol import EARLIEST, LATEST, Code, RequestHeader, ResponseHeader
from engines.wire.kafka_records import (
    Batch,
    Record,
    crc32c,
    decode_batches,
    encode_batch,
    murmur2,
    partition_of,
    read_varint,
    varint,
)
from engines.wire.kafka_types import MalformedError, decode, encode
from tests.wire.conversations import Event, Sizes, assert_covers, read

SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=6).map(tuple) | st.sampled_from([(1,), (1 << 30,)])

# --- bytes that another implementation wrote ----------------------------------------------------------------------------

BATCH = bytes.fromhex(
    "00000000000000000000004f0000000002718b774c00000000000100000000000003e800000000000003edffffffffffffffffffffffffffff"
    "0000000222000000046b310a68656c6c6f020268027616000a02010a776f726c6400"
)
"""Two records as the builder of kafka-python 3.0 writes them."""
RECORDS = (Record(b"hello", b"k1", 1000, 0, (("h", b"v"),)), Record(b"world", None, 1005, 1))


def test_a_batch_is_written_and_read_as_others_do() -> None:
    assert encode_batch(Batch(RECORDS)) == BATCH
    assert decode_batches(BATCH) == [Batch(RECORDS)]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (m.FetchRequest(-1, 500, 1, 1000, 0, (m.FetchTopic("t", (m.FetchPartition(0, 5, 99),)),)),
         "ffffffff 000001f4 00000001 000003e8 00 00000001 0001 74 00000001 00000000 0000000000000005 00000063"),
        (g.HeartbeatRequest("g", 1, "m"), "0001 67 00000001 0001 6d"),
        (m.MetadataRequest(None), "ffffffff"),
        (m.MetadataRequest(("a",)), "00000001 0001 61"),
        (g.SyncGroupResponse(Code.NONE, b"x"), "0000 00000001 78"),
        (m.FetchedPartition(0, 0, 5, 5, None, None),
         "00000000 0000 0000000000000005 0000000000000005 ffffffff ffffffff"),
    ],
)  # fmt: skip
def test_messages_are_laid_out_as_the_protocol_guide_says(message: object, expected: str) -> None:
    assert encode(message) == bytes.fromhex(expected)
    assert decode(type(message), encode(message)) == message


def test_checksum_hash_and_varints_against_known_values() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720's polynomial on the customary check
    assert murmur2(b"a little bit long string") == 2733024220  # as kafka-python's
    assert [murmur2(bytes(range(n))) for n in (0, 100)] == [275646681, 697119286]
    assert [varint(n).hex() for n in (0, -1, 1, -64, 64, 300)] == ["00", "01", "02", "7f", "8001", "d804"]


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_varint_is_read_as_it_was_written(number: int) -> None:
    data = varint(number)
    assert read_varint(data + b"\xff", 0, len(data) + 1) == (number, len(data))


@given(st.binary(min_size=1, max_size=40), st.integers(1, 50))
def test_a_key_is_always_in_the_same_partition(key: bytes, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions
    assert partition_of(key, partitions) == partition_of(bytes(key), partitions)


RECORDS_OF_ANY_KIND = st.lists(
    st.builds(
        Record,
        st.binary(max_size=30),
        st.none() | st.binary(max_size=10),
        st.integers(0, 10**13),
        headers=st.lists(st.tuples(st.text("abc", max_size=5), st.binary(max_size=5)), max_size=2).map(tuple),
    ),
    min_size=1,
    max_size=5,
)


@given(RECORDS_OF_ANY_KIND, st.integers(0, 2**40), st.integers(0, 200))
def test_records_survive_the_way_and_a_cut_one_is_left_out(records: list[Record], offset: int, cut: int) -> None:
    data = encode_batch(Batch(tuple(records), 7, 3), offset)
    [found] = decode_batches(data + data[: max(0, len(data) - 1 - cut)])
    assert (found.producer_id, found.base_sequence) == (7, 3)
    assert [record.offset for record in found.records] == list(range(offset, offset + len(records)))
    assert [(r.value, r.key, r.timestamp_ms, r.headers) for r in found.records] == [
        (r.value, r.key, r.timestamp_ms, r.headers) for r in records
    ]


def test_a_wrong_checksum_is_noticed() -> None:
    with pytest.raises(MalformedError, match="checksum"):
        decode_batches(BATCH[:-1] + b"\x01")


# --- random conversations -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A request and its response, with what is to be said of both."""

    request: Any
    response: Any
    labels: tuple[str, str]
    roles: tuple[Role, Role] = (Role.REQUEST, Role.RESPONSE)


def fetched(count: int, offset: int) -> m.FetchResponse:
    records = encode_batch(Batch(tuple(Record(b"v") for _ in range(count))), offset) if count else b""
    return m.FetchResponse(0, (m.FetchedTopic("t", (m.FetchedPartition(0, 0, offset, offset, None, records),)),))


CONTROL = (Role.CONTROL, Role.CONTROL)
OFFSETS = st.integers(0, 2**40)
FIXED = [
    Asked(g.HeartbeatRequest("g", 1, "m"), g.HeartbeatResponse(0), ("Heartbeat", "Heartbeat: ok"),
          (Role.HEARTBEAT, Role.HEARTBEAT)),
    Asked(g.HeartbeatRequest("g", 1, "m"), g.HeartbeatResponse(27), ("Heartbeat", "Heartbeat: REBALANCE_IN_PROGRESS"),
          (Role.HEARTBEAT, Role.ERROR)),
    Asked(g.JoinGroupRequest("g", 1, 2, "", "consumer",
                             (g.GroupProtocol("range", encode(g.Subscription(0, ("t",), None))),)),
          g.JoinGroupResponse(0, 0, 3, "range", "ann-1", "ann-1",
                              (g.JoinedMember("ann-1", encode(g.Subscription(0, ("t",), None))),)),
          ("JoinGroup g", "JoinGroup: generation 3, leader"), CONTROL),
    Asked(g.SyncGroupRequest("g", 3, "ann-1", ()),
          g.SyncGroupResponse(0, encode(g.Assignment(0, (g.AssignedTopic("t", (0, 2)),), None))),
          ("SyncGroup generation 3", "SyncGroup: t 0 2"), CONTROL),
    Asked(g.LeaveGroupRequest("g", "ann-1"), g.LeaveGroupResponse(25), ("LeaveGroup ann-1", "LeaveGroup: UNKNOWN_MEMBER_ID"),
          (Role.CONTROL, Role.ERROR)),
    Asked(m.ListOffsetsRequest(-1, (m.ListTopic("t", (m.ListPartition(0, EARLIEST),)),)),
          m.ListOffsetsResponse((m.ListedTopic("t", (m.ListedPartition(0, 0, -1, 4),)),)),
          ("ListOffsets t 0 earliest", "ListOffsets: t/0 4")),
    Asked(m.ListOffsetsRequest(-1, (m.ListTopic("t", (m.ListPartition(0, LATEST),)),)),
          m.ListOffsetsResponse((m.ListedTopic("t", (m.ListedPartition(0, 3, -1, -1),)),)),
          ("ListOffsets t 0 latest", "ListOffsets: UNKNOWN_TOPIC_OR_PARTITION"), (Role.REQUEST, Role.ERROR)),
    Asked(m.MetadataRequest(("t",)),
          m.MetadataResponse((m.BrokerMetadata(0, "broker", 9092, None),), 0,
                             (m.TopicMetadata(0, "t", 0, (m.PartitionMetadata(0, 0, 0, (0,), (0,)),)),)),
          ("Metadata t", "Metadata: t, 1 partition")),
    Asked(g.OffsetFetchRequest("g", (g.OffsetFetchTopic("t", (0, 1)),)),
          g.OffsetFetchResponse((g.OffsetFetchedTopic("t", (g.OffsetFetchedPartition(0, 5, "", 0),)),)),
          ("OffsetFetch t 0 1", "OffsetFetch: t/0 5")),
    Asked(g.FindCoordinatorRequest("g"), g.FindCoordinatorResponse(0, 0, "broker", 9092),
          ("FindCoordinator g", "FindCoordinator: ok"), CONTROL),
    Asked(m.ApiVersionsRequest(), m.ApiVersionsResponse(0, (m.SupportedApi(0, 3, 3),)),
          ("ApiVersions", "ApiVersions: ok"), CONTROL),
    Asked(m.InitProducerIdRequest(None, 1), m.InitProducerIdResponse(0, 0, 1, 0),
          ("InitProducerId", "InitProducerId: ok"), CONTROL),
]  # fmt: skip
EXCHANGES = st.one_of(
    st.builds(
        lambda offset, count: Asked(
            m.FetchRequest(-1, 500, 1, 1000, 0, (m.FetchTopic("t", (m.FetchPartition(0, offset, 99),)),)),
            fetched(count, offset),
            (f"Fetch t/0 from {offset}", f"Fetch: {['nothing', '1 record', '2 records'][count]}"),
        ),
        OFFSETS,
        st.integers(0, 2),
    ),
    st.builds(
        lambda offset: Asked(
            m.ProduceRequest(None, -1, 1, (m.ProduceTopic("t", (m.ProducePartition(3, BATCH),)),)),
            m.ProduceResponse((m.ProducedTopic("t", (m.ProducedPartition(3, 0, offset, -1),)),), 0),
            ("Produce t/3: 2 records", f"Produce: t/3 at {offset}"),
        ),
        OFFSETS,
    ),
    st.builds(
        lambda offset: Asked(
            g.OffsetCommitRequest(
                "g",
                2,
                "ann-1",
                -1,
                (g.CommitTopic("t", (g.CommitPartition(0, offset, ""), g.CommitPartition(1, 5, None))),),
            ),
            g.OffsetCommitResponse((g.CommittedTopic("t", (g.CommittedPartition(0, 0), g.CommittedPartition(1, 0))),)),
            (f"OffsetCommit t 0:{offset} 1:5", "OffsetCommit: ok"),
            (Role.ACK, Role.ACK),
        ),
        OFFSETS,
    ),
    st.sampled_from(FIXED),
)


def framed(header: object, body: object) -> tuple[bytes, int]:
    """A message with its size, and where its body begins in it."""
    head = encode(header)
    message = head + encode(body)
    return len(message).to_bytes(4, "big") + message, 4 + len(head)


def conversation(asked: list[Asked]) -> tuple[tuple[bytes, bytes], tuple[list[Event], list[Event]]]:
    """The bytes of both sides, and the events that an observer should find in them."""
    data, events = [b"", b""], (list[Event](), list[Event]())
    for number, one in enumerate(asked):
        api = API_OF[type(one.request)]
        messages = (
            framed(RequestHeader(api.key, api.version, number, "ann"), one.request),
            framed(ResponseHeader(number), one.response),
        )
        for side, (message, body) in enumerate(messages):
            start, end = len(data[side]), len(data[side]) + len(message)
            data[side] += message
            started = Started(one.roles[side], one.labels[side], start, start + body, end - start - body)
            events[side].extend([started, Ended(end, "size")])
    return (data[0], data[1]), events


@given(st.lists(EXCHANGES, max_size=6), SIZES)
def test_finds_exactly_what_was_asked_and_answered(asked: list[Asked], sizes: Sizes) -> None:
    data, events = conversation(asked)
    dissector = KafkaDissector()
    for side in (Side.CLIENT, Side.SERVER):
        assert read(dissector, side, data[side], sizes) == events[side]
        assert not dissector.finish(side)


@given(st.lists(EXCHANGES, min_size=1, max_size=3), st.integers(0, 400))
def test_the_parts_of_a_message_are_all_of_it_cut_or_whole(asked: list[Asked], cut: int) -> None:
    data, events = conversation(asked)
    for side in (Side.CLIENT, Side.SERVER):
        start = 0
        for event in events[side]:
            if isinstance(event, Ended):
                whole = KafkaDissector().parts(side, data[side], start, event.end)
                assert_covers(whole, start, event.end)
                assert not {"not readable", "incomplete", "not readable as Kafka"} & {part.note for part in whole}
                stream = data[side][: max(start, event.end - cut)]
                assert_covers(KafkaDissector().parts(side, stream, start, len(stream)), start, len(stream))
                start = event.end


@pytest.mark.parametrize("one", FIXED, ids=lambda one: str(one.labels[1]))
def test_a_response_is_named_by_its_own_layout_though_it_does_not_say_which(one: Asked) -> None:
    data, _ = conversation([one])
    names = [part.name for part in KafkaDissector().parts(Side.SERVER, data[1], 0, len(data[1]))]
    expected = list[str]()
    decode(type(one.response), encode(one.response), found=lambda name, *_: expected.append(name))
    nested = ("subscription", "assignment")
    assert [name for name in expected if name not in nested] == [name for name in names[2:] if name in expected]
    assert {name for name in expected if name in nested} == {
        name.removeprefix("length of ") for name in names if name.startswith("length of ")
    }


@given(st.binary(max_size=80), st.sampled_from(list(Side)), SIZES)
def test_never_raises_and_says_the_same_however_it_is_cut(data: bytes, side: Side, sizes: Sizes) -> None:
    one, other = KafkaDissector(), KafkaDissector()
    assert read(one, side, data, sizes) == read(other, side, data)
    assert list(one.finish(side)) == list(other.finish(side))
    assert_covers(one.parts(side, data, 0, len(data)), 0, len(data))


def test_what_is_no_kafka_is_said_once() -> None:
    dissector = KafkaDissector()
    data = b"GET / HTTP/1.1\r\n\r\n"
    [started] = read(dissector, Side.CLIENT, data, (1,))
    assert isinstance(started, Started)
    assert int.from_bytes(data[:4], "big") > LIMIT
    assert started.label.startswith("not Kafka: a message of")
    assert list(dissector.finish(Side.CLIENT)) == [Ended(len(data), "connection closed")]


def test_a_response_to_something_unseen_and_a_request_of_another_version() -> None:
    dissector = KafkaDissector()
    request, _ = framed(RequestHeader(1, 12, 5, None), ResponseHeader(0))
    response, _ = framed(ResponseHeader(5), ResponseHeader(0))
    assert [e.label for e in dissector.feed(Side.CLIENT, request) if isinstance(e, Started)] == [
        "a request with key 1, version 12"
    ]
    assert [e.label for e in dissector.feed(Side.SERVER, response) if isinstance(e, Started)] == [
        "the response to request 5"
    ]


def test_it_is_registered() -> None:
    assert isinstance(dissector_named("kafka"), KafkaDissector)


# --- who gets which partition; what a log keeps -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "partitions", "expected"),
    [
        (1, 4, [[0, 1, 2, 3]]),
        (2, 4, [[0, 1], [2, 3]]),
        (3, 4, [[0, 1], [2], [3]]),
        (4, 4, [[0], [1], [2], [3]]),
        (4, 2, [[0], [1], [], []]),
        (3, 8, [[0, 1, 2], [3, 4, 5], [6, 7]]),
    ],
)
def test_the_range_assignor(members: int, partitions: int, expected: list[list[int]]) -> None:
    """Kafka's documentation of RangeAssignor: partitions divided by members, the first ones get one more."""
    names = [f"m{n}" for n in range(members)]
    shares = range_assignment(list(reversed(names)), partitions)
    assert [list(shares[name]) for name in names] == expected


@given(st.integers(1, 12), st.integers(0, 40))
def test_every_partition_has_one_owner_and_shares_differ_by_one_at_most(members: int, partitions: int) -> None:
    shares = range_assignment([f"m{n:02}" for n in range(members)], partitions)
    assert sorted(number for share in shares.values() for number in share) == list(range(partitions))
    sizes = [len(share) for share in shares.values()]
    assert max(sizes) - min(sizes) <= 1


def test_offsets_go_on_when_old_records_are_thrown_away() -> None:
    log = PartitionLog()
    for second in range(5):
        assert log.append(Batch((Record(b"v", None, second * 1000),))) == second
    log.mark_sent(log.read(0, 1))
    assert [(record.offset, fetched) for record, fetched in log.forget_before(2000)] == [(0, True), (1, False)]
    assert (log.start, log.end, log.has(1), log.has(2), log.has(5), log.has(6)) == (2, 5, False, True, True, False)
    assert [record.offset for record in log.read(3, 1)] == [3]
    assert log.append(Batch((Record(b"v"),))) == 5


def test_a_batch_that_comes_twice_is_taken_once() -> None:
    log = PartitionLog()
    batch = Batch((Record(b"a"), Record(b"b")), producer_id=7, base_sequence=0)
    assert [log.append(batch), log.append(batch)] == [0, 0]
    assert log.append(Batch((Record(b"c"),), producer_id=7, base_sequence=2)) == 2
    assert log.append(Batch((Record(b"c"),), producer_id=8, base_sequence=0)) == 3
    assert len(log.records) == 4
