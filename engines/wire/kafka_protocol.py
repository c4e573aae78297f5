"""What all of Kafka's messages have in common: headers, error codes, and a few numbers with a meaning of their own.

A request begins with the key of its API, the version, a correlation id and the client's name; a response with the
correlation id alone. What a response means, only its request can tell (Kafka's protocol guide, "The Protocol").
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

from engines.wire.kafka_types import Int16, Int32, NullableString

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


R_co = TypeVar("R_co", covariant=True)


class Request(Generic[R_co]):
    """A question to which the answer is an R_co."""

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
