"""The messages of Kafka's protocol about records and brokers, each in one version that brokers of 2.1 to 4 speak.

Those about groups are in `kafka_group_messages`.
"""

from dataclasses import dataclass

from engines.wire.kafka_protocol import Request
from engines.wire.kafka_types import Int8, Int16, Int32, Int64, NullableBytes, NullableString, String

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
