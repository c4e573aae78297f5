"""The messages of Kafka's protocol about consumer groups, each in one version that brokers of 2.1 to 4 speak."""

from dataclasses import dataclass

from engines.wire.kafka_protocol import Request
from engines.wire.kafka_types import Bytes, Int16, Int32, Int64, NullableBytes, NullableString, String

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
    """“Everything before these offsets is dealt with.”"""

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
