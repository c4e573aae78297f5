"""Kafka's messages in a few words each, for the arrows of a diagram."""

from collections.abc import Callable, Iterable
from typing import Any

from engines.wire import kafka_group_messages as g
from engines.wire import kafka_messages as m
from engines.wire.kafka_apis import Api
from engines.wire.kafka_protocol import EARLIEST, LATEST, Code
from engines.wire.kafka_records import decode_batches
from engines.wire.kafka_types import MalformedError, decode


def describe(api: Api, message: object) -> str:
    """A request ("Fetch events/0 from 12") or a response ("Fetch: 3 records")."""
    if isinstance(message, api.request):
        return f"{api.name} {_REQUESTS.get(type(message), _nothing)(message)}".strip()
    error = error_in(message)
    what = error_name(error) if error else _RESPONSES.get(type(message), _nothing)(message)
    return f"{api.name}: {what or 'ok'}"


def error_in(response: object) -> int:
    """The first error code in a response that is one; 0 for success."""
    code = getattr(response, "error_code", 0)
    if not code:
        for topic in getattr(response, "topics", ()):
            codes = [getattr(partition, "error_code", 0) for partition in getattr(topic, "partitions", ())]
            code = code or getattr(topic, "error_code", 0) or next((each for each in codes if each), 0)
    return int(code)


def error_name(code: int) -> str:
    """An error code by its name, where it is one of those used here."""
    return Code(code).name if code in Code.__members__.values() else f"error {code}"


def count(number: int, what: str) -> str:
    """ "1 record", "2 records"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def records_in(data: bytes | None) -> int:
    """How many whole records a field of records holds; 0 if it cannot be read."""
    try:
        return sum(len(batch.records) for batch in decode_batches(data or b""))
    except MalformedError:
        return 0


def _nothing(message: object) -> str:
    return ""


def _places(topics: Iterable[Any], name: str, one: str = " {}") -> str:
    """Offsets by partition: "events/0 from 12" if it is one, else "events 0:12 1:7"."""
    found = []
    for topic in topics:
        partitions = [(each.partition, getattr(each, name)) for each in topic.partitions]
        if len(partitions) == 1:
            [(partition, offset)] = partitions
            found.append(f"{topic.topic}/{partition}{one.format(offset)}")
        else:
            found.append(" ".join([topic.topic, *(f"{partition}:{offset}" for partition, offset in partitions)]))
    return ", ".join(found)


def _numbers(topic: str, partitions: Iterable[int]) -> str:
    return " ".join([topic, *map(str, partitions)])


def _produce(request: m.ProduceRequest) -> str:
    return ", ".join(
        f"{topic.topic}/{each.partition}: {count(records_in(each.records), 'record')}"
        for topic in request.topics
        for each in topic.partitions
    )


def _fetched(response: m.FetchResponse) -> str:
    found = sum(records_in(each.records) for topic in response.topics for each in topic.partitions)
    return count(found, "record") if found else "nothing"


def _list_offsets(request: m.ListOffsetsRequest) -> str:
    words = {EARLIEST: "earliest", LATEST: "latest"}
    return ", ".join(
        f"{_numbers(topic.topic, (each.partition for each in topic.partitions))} "
        + " ".join(
            dict.fromkeys(words.get(each.timestamp_ms, f"at {each.timestamp_ms} ms") for each in topic.partitions)
        )
        for topic in request.topics
    )


def _topics(response: m.MetadataResponse) -> str:
    return ", ".join(f"{topic.topic}, {count(len(topic.partitions), 'partition')}" for topic in response.topics)


def _joined(response: g.JoinGroupResponse) -> str:
    return f"generation {response.generation}" + (", leader" if response.leader == response.member else "")


def _assigned(response: g.SyncGroupResponse) -> str:
    try:
        assignment = decode(g.Assignment, response.assignment)
    except MalformedError:
        return "an assignment" if response.assignment else "no partitions"
    owned = [_numbers(topic.topic, topic.partitions) for topic in assignment.topics if topic.partitions]
    return ", ".join(owned) or "no partitions"


_REQUESTS: dict[type[object], Callable[[Any], str]] = {
    m.ProduceRequest: _produce,
    m.FetchRequest: lambda request: _places(request.topics, "fetch_offset", " from {}"),
    m.ListOffsetsRequest: _list_offsets,
    m.MetadataRequest: lambda request: ", ".join(request.topics or ()),
    g.OffsetCommitRequest: lambda request: _places(request.topics, "offset", ": {}"),
    g.OffsetFetchRequest: lambda request: ", ".join(_numbers(each.topic, each.partitions) for each in request.topics),
    g.FindCoordinatorRequest: lambda request: request.group,
    g.JoinGroupRequest: lambda request: request.group + (f" as {request.member}" if request.member else ""),
    g.SyncGroupRequest: lambda request: f"generation {request.generation}" + ", leader" * bool(request.assignments),
    g.LeaveGroupRequest: lambda request: request.member,
}

_RESPONSES: dict[type[object], Callable[[Any], str]] = {
    m.ProduceResponse: lambda response: _places(response.topics, "base_offset", " at {}"),
    m.FetchResponse: _fetched,
    m.ListOffsetsResponse: lambda response: _places(response.topics, "offset"),
    m.MetadataResponse: _topics,
    g.OffsetFetchResponse: lambda response: _places(response.topics, "offset"),
    g.JoinGroupResponse: _joined,
    g.SyncGroupResponse: _assigned,
}
