"""The messages of Kafka's protocol that a log with consumer groups needs, each in one version that brokers of 2.1 to 4 speak.

A request begins with the key of its API, the version, a correlation id and the client's name; a response with the
correlation id alone. What a response means, only its request can tell (Kafka's protocol guide, "The Protocol").
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

from engines.wire.kafka_types import Bytes, Int8, Int16, Int32, Int64, NullableBytes, NullableString, String

PORT = 9092
EARLIEST, LATEST = -2, -1
"""Timestamps that ListOffsets takes for the two ends of a log."""
NO_GENERATION = -1
"""The generation of whoever commits without being a member of a group."""


class Code(IntEnum):
    """The error codes that are used here, by the names of the protocol guide."""

    NONE = 0
    OFFSET_OUT_OF_RANGE = 1
    CORRUPT_MESSAGE = 2
    UNKNOWN_TOPIC_OR_PARTITION = 3
    ILLEGAL_GENERATION = 22
    INCONSISTENT_GROUP_PROTOCOL = 23
    UNKNOWN_MEMBER_ID = 25
    REBALANCE_IN_PROGRESS = 27
    UNSUPPORTED_VERSION = 35


R = TypeVar("R")


class Request(Generic[R]):
    """A question to which the answer is an R."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class RequestHeader:
    """In front of every request."""

    api_key: Int16
    api_version: Int16
    correlation_id: Int32
    client_id: NullableString


@dataclass(frozen=True, slots=True)
class ResponseHeader:
    """In front of every response."""

    correlation_id: Int32


# --- Produce (0), version 3 ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProducePartition:
    partition: Int32
    records: NullableBytes


@dataclass(frozen=True, slots=True)
class ProduceTopic:
    topic: String
    partitions: tuple[ProducePartition, ...]


@dataclass(frozen=True, slots=True)
class ProducedPartition:
    partition: Int32
    error_code: Int16
    base_offset: Int64
    log_append_time_ms: Int64


@dataclass(frozen=True, slots=True)
class ProducedTopic:
    topic: String
    partitions: tuple[ProducedPartition, ...]


@dataclass(frozen=True, slots=True)
class ProduceResponse:
    topics: tuple[ProducedTopic, ...]
    throttle_time_ms: Int32


@dataclass(frozen=True, slots=True)
class ProduceRequest(Request[ProduceResponse]):
    """`acks`: 0, the broker does not even answer; 1, the leader has it; -1, all in-sync replicas have it."""

    transactional_id: NullableString
    acks: Int16
    timeout_ms: Int32
    topics: tuple[ProduceTopic, ...]


# --- Fetch (1), version 4 -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FetchPartition:
    partition: Int32
    fetch_offset: Int64
    partition_max_bytes: Int32


@dataclass(frozen=True, slots=True)
class FetchTopic:
    topic: String
    partitions: tuple[FetchPartition, ...]


@dataclass(frozen=True, slots=True)
class AbortedTransaction:
    producer_id: Int64
    first_offset: Int64


@dataclass(frozen=True, slots=True)
class FetchedPartition:
    """`high_watermark` is the offset that the next record will get: what lies between it and one's own place is the lag."""

    partition: Int32
    error_code: Int16
    high_watermark: Int64
    last_stable_offset: Int64
    aborted_transactions: tuple[AbortedTransaction, ...] | None
    records: NullableBytes


@dataclass(frozen=True, slots=True)
class FetchedTopic:
    topic: String
    partitions: tuple[FetchedPartition, ...]


@dataclass(frozen=True, slots=True)
class FetchResponse:
    throttle_time_ms: Int32
    topics: tuple[FetchedTopic, ...]


@dataclass(frozen=True, slots=True)
class FetchRequest(Request[FetchResponse]):
    """The broker answers once it has `min_bytes` to send, or after `max_wait_ms`."""

    replica_id: Int32
    max_wait_ms: Int32
    min_bytes: Int32
    max_bytes: Int32
    isolation_level: Int8
    topics: tuple[FetchTopic, ...]


# --- ListOffsets (2), version 1 -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ListPartition:
    partition: Int32
    timestamp_ms: Int64


@dataclass(frozen=True, slots=True)
class ListTopic:
    topic: String
    partitions: tuple[ListPartition, ...]


@dataclass(frozen=True, slots=True)
class ListedPartition:
    partition: Int32
    error_code: Int16
    timestamp_ms: Int64
    offset: Int64


@dataclass(frozen=True, slots=True)
class ListedTopic:
    topic: String
    partitions: tuple[ListedPartition, ...]


@dataclass(frozen=True, slots=True)
class ListOffsetsResponse:
    topics: tuple[ListedTopic, ...]


@dataclass(frozen=True, slots=True)
class ListOffsetsRequest(Request[ListOffsetsResponse]):
    """Which offset has the first record that is no older than a time? Or: EARLIEST, LATEST."""

    replica_id: Int32
    topics: tuple[ListTopic, ...]


# --- Metadata (3), version 1 --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BrokerMetadata:
    node_id: Int32
    host: String
    port: Int32
    rack: NullableString


@dataclass(frozen=True, slots=True)
class PartitionMetadata:
    error_code: Int16
    partition: Int32
    leader: Int32
    replicas: tuple[Int32, ...]
    in_sync_replicas: tuple[Int32, ...]


@dataclass(frozen=True, slots=True)
class TopicMetadata:
    error_code: Int16
    topic: String
    is_internal: Int8
    partitions: tuple[PartitionMetadata, ...]


@dataclass(frozen=True, slots=True)
class MetadataResponse:
    brokers: tuple[BrokerMetadata, ...]
    controller_id: Int32
    topics: tuple[TopicMetadata, ...]


@dataclass(frozen=True, slots=True)
class MetadataRequest(Request[MetadataResponse]):
    """Which brokers are there, and who leads which partition? Of all topics, if none is named."""

    topics: tuple[String, ...] | None


# --- OffsetCommit (8), version 2, and OffsetFetch (9), version 1 --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CommitPartition:
    partition: Int32
    offset: Int64
    metadata: NullableString


@dataclass(frozen=True, slots=True)
class CommitTopic:
    topic: String
    partitions: tuple[CommitPartition, ...]


@dataclass(frozen=True, slots=True)
class CommittedPartition:
    partition: Int32
    error_code: Int16


@dataclass(frozen=True, slots=True)
class CommittedTopic:
    topic: String
    partitions: tuple[CommittedPartition, ...]


@dataclass(frozen=True, slots=True)
class OffsetCommitResponse:
    topics: tuple[CommittedTopic, ...]


@dataclass(frozen=True, slots=True)
class OffsetCommitRequest(Request[OffsetCommitResponse]):
    """ “Everything before these offsets is dealt with.” """

    group: String
    generation: Int32
    member: String
    retention_time_ms: Int64
    topics: tuple[CommitTopic, ...]


@dataclass(frozen=True, slots=True)
class OffsetFetchTopic:
    topic: String
    partitions: tuple[Int32, ...]


@dataclass(frozen=True, slots=True)
class OffsetFetchedPartition:
    """`offset` is -1 when nothing was ever committed."""

    partition: Int32
    offset: Int64
    metadata: NullableString
    error_code: Int16


@dataclass(frozen=True, slots=True)
class OffsetFetchedTopic:
    topic: String
    partitions: tuple[OffsetFetchedPartition, ...]


@dataclass(frozen=True, slots=True)
class OffsetFetchResponse:
    topics: tuple[OffsetFetchedTopic, ...]


@dataclass(frozen=True, slots=True)
class OffsetFetchRequest(Request[OffsetFetchResponse]):
    """How far has the group come?"""

    group: String
    topics: tuple[OffsetFetchTopic, ...]


# --- groups: FindCoordinator (10), JoinGroup (11), Heartbeat (12), LeaveGroup (13), SyncGroup (14) ----------------------


@dataclass(frozen=True, slots=True)
class FindCoordinatorResponse:
    error_code: Int16
    node_id: Int32
    host: String
    port: Int32


@dataclass(frozen=True, slots=True)
class FindCoordinatorRequest(Request[FindCoordinatorResponse]):
    """Version 0. Which broker looks after the group?"""

    group: String


@dataclass(frozen=True, slots=True)
class GroupProtocol:
    """A way to divide the partitions that the member knows ("range"), and what it subscribes to (a Subscription)."""

    name: String
    subscription: Bytes


@dataclass(frozen=True, slots=True)
class JoinedMember:
    member: String
    subscription: Bytes


@dataclass(frozen=True, slots=True)
class JoinGroupResponse:
    """Only the leader is told of the members: it is the leader who divides the partitions, not the broker."""

    throttle_time_ms: Int32
    error_code: Int16
    generation: Int32
    protocol: String
    leader: String
    member: String
    members: tuple[JoinedMember, ...]


@dataclass(frozen=True, slots=True)
class JoinGroupRequest(Request[JoinGroupResponse]):
    """Version 2. `member` is empty for a newcomer; the coordinator then gives it a name."""

    group: String
    session_timeout_ms: Int32
    rebalance_timeout_ms: Int32
    member: String
    protocol_type: String
    protocols: tuple[GroupProtocol, ...]


@dataclass(frozen=True, slots=True)
class HeartbeatResponse:
    error_code: Int16


@dataclass(frozen=True, slots=True)
class HeartbeatRequest(Request[HeartbeatResponse]):
    """Version 0."""

    group: String
    generation: Int32
    member: String


@dataclass(frozen=True, slots=True)
class LeaveGroupResponse:
    error_code: Int16


@dataclass(frozen=True, slots=True)
class LeaveGroupRequest(Request[LeaveGroupResponse]):
    """Version 0."""

    group: String
    member: String


@dataclass(frozen=True, slots=True)
class MemberAssignment:
    member: String
    assignment: Bytes


@dataclass(frozen=True, slots=True)
class SyncGroupResponse:
    error_code: Int16
    assignment: Bytes


@dataclass(frozen=True, slots=True)
class SyncGroupRequest(Request[SyncGroupResponse]):
    """Version 0. The leader says who gets what; the others only ask, and wait for the leader."""

    group: String
    generation: Int32
    member: String
    assignments: tuple[MemberAssignment, ...]


@dataclass(frozen=True, slots=True)
class Subscription:
    """What consumers put into `GroupProtocol.subscription`; the broker does not look into it."""

    version: Int16
    topics: tuple[String, ...]
    user_data: NullableBytes


@dataclass(frozen=True, slots=True)
class AssignedTopic:
    topic: String
    partitions: tuple[Int32, ...]


@dataclass(frozen=True, slots=True)
class Assignment:
    """What the leader puts into `MemberAssignment.assignment`."""

    version: Int16
    topics: tuple[AssignedTopic, ...]
    user_data: NullableBytes


# --- ApiVersions (18), version 0, and InitProducerId (22), version 0 ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class SupportedApi:
    api_key: Int16
    min_version: Int16
    max_version: Int16


@dataclass(frozen=True, slots=True)
class ApiVersionsResponse:
    error_code: Int16
    api_keys: tuple[SupportedApi, ...]


@dataclass(frozen=True, slots=True)
class ApiVersionsRequest(Request[ApiVersionsResponse]):
    """Which requests do you know?"""


@dataclass(frozen=True, slots=True)
class InitProducerIdResponse:
    throttle_time_ms: Int32
    error_code: Int16
    producer_id: Int64
    producer_epoch: Int16


@dataclass(frozen=True, slots=True)
class InitProducerIdRequest(Request[InitProducerIdResponse]):
    """A name for a producer that will number its records, so that the broker knows one that comes twice."""

    transactional_id: NullableString
    transaction_timeout_ms: Int32


@dataclass(frozen=True, slots=True)
class Api:
    """A kind of request. `key` and `version` are what stands in its header."""

    key: int
    version: int
    name: str
    request: type[Request[object]]
    response: type[object]


APIS: tuple[Api, ...] = (
    Api(0, 3, "Produce", ProduceRequest, ProduceResponse),
    Api(1, 4, "Fetch", FetchRequest, FetchResponse),
    Api(2, 1, "ListOffsets", ListOffsetsRequest, ListOffsetsResponse),
    Api(3, 1, "Metadata", MetadataRequest, MetadataResponse),
    Api(8, 2, "OffsetCommit", OffsetCommitRequest, OffsetCommitResponse),
    Api(9, 1, "OffsetFetch", OffsetFetchRequest, OffsetFetchResponse),
    Api(10, 0, "FindCoordinator", FindCoordinatorRequest, FindCoordinatorResponse),
    Api(11, 2, "JoinGroup", JoinGroupRequest, JoinGroupResponse),
    Api(12, 0, "Heartbeat", HeartbeatRequest, HeartbeatResponse),
    Api(13, 0, "LeaveGroup", LeaveGroupRequest, LeaveGroupResponse),
    Api(14, 0, "SyncGroup", SyncGroupRequest, SyncGroupResponse),
    Api(18, 0, "ApiVersions", ApiVersionsRequest, ApiVersionsResponse),
    Api(22, 0, "InitProducerId", InitProducerIdRequest, InitProducerIdResponse),
)
API_BY_KEY: dict[int, Api] = {api.key: api for api in APIS}
API_OF: dict[type[object], Api] = {api.request: api for api in APIS}
