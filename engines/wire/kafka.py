"""Reads Kafka's messages out of a connection's bytes, as a passive observer: each has its size in front of it.

A response says no more of itself than the correlation id of its request, so an observer must have seen the request to know
what it means. What is said depends on the bytes alone, never on how they were cut into packets. Bytes that cannot be
messages are said to be "not Kafka" once, and nothing more is found in that direction.
"""

from collections.abc import Callable, Sequence

from engines.lab.dissection import Ended, Part, Side, Started
from engines.lab.facts import Role
from engines.wire.http1_grammar import readable
from engines.wire.kafka_apis import API_BY_KEY, Api
from engines.wire.kafka_labels import describe, error_in
from engines.wire.kafka_parts import message_parts
from engines.wire.kafka_protocol import RequestHeader, ResponseHeader
from engines.wire.kafka_types import MalformedError, decode, decode_prefix

Event = Started | Ended
Reader = Callable[[bytes], tuple[Role, str, int]]

SIZE_BYTES = 4
LIMIT = 100 << 20
"""Kafka's socket.request.max.bytes: 100 MB."""

_ROLES = {
    "Heartbeat": (Role.HEARTBEAT, Role.HEARTBEAT),
    "OffsetCommit": (Role.ACK, Role.ACK),
    "JoinGroup": (Role.CONTROL, Role.CONTROL),
    "SyncGroup": (Role.CONTROL, Role.CONTROL),
    "LeaveGroup": (Role.CONTROL, Role.CONTROL),
    "FindCoordinator": (Role.CONTROL, Role.CONTROL),
    "ApiVersions": (Role.CONTROL, Role.CONTROL),
    "InitProducerId": (Role.CONTROL, Role.CONTROL),
}
"""What a request and its response are to the two who exchange them, where it is not REQUEST and RESPONSE."""


class KafkaDissector:
    """A connection to a Kafka broker. See `engines.lab.dissection.Dissector`."""

    name = "kafka"

    def __init__(self) -> None:
        self._asked: dict[int, Api] = {}  # what the requests without a response are, by correlation id
        self._directions = (_Direction(self._request), _Direction(self._response))

    def feed(self, side: Side, data: bytes) -> Sequence[Event]:
        """Take the next bytes that `side` sent and return what they completed, in order."""
        return self._directions[side].feed(data)

    def finish(self, side: Side) -> Sequence[Ended]:
        """`side` will send nothing more."""
        return self._directions[side].finish()

    def parts(self, side: Side, stream: bytes, start: int, end: int) -> list[Part]:
        """Name the parts of the message at bytes `start` to `end` of `stream`. Pure."""
        return message_parts(side, stream, start, min(end, len(stream)))

    def _request(self, message: bytes) -> tuple[Role, str, int]:
        """What a request is, in a few words, and how long its header is. Raises MalformedError."""
        header, body = decode_prefix(RequestHeader, message, 0, len(message))
        api = API_BY_KEY.get(header.api_key)
        if api is None or header.api_version != api.version:
            return Role.REQUEST, f"a request with key {header.api_key}, version {header.api_version}", body
        self._asked[header.correlation_id] = api
        role, _ = _ROLES.get(api.name, (Role.REQUEST, Role.RESPONSE))
        try:
            return role, describe(api, decode(api.request, message, body)), body
        except MalformedError:
            return role, f"{api.name}, malformed", body

    def _response(self, message: bytes) -> tuple[Role, str, int]:
        """The same of a response. Raises MalformedError."""
        header, body = decode_prefix(ResponseHeader, message, 0, len(message))
        api = self._asked.pop(header.correlation_id, None)
        if api is None:
            return Role.RESPONSE, f"the response to request {header.correlation_id}", body
        try:
            response = decode(api.response, message, body)
        except MalformedError:
            return Role.RESPONSE, f"{api.name}, malformed", body
        _, role = _ROLES.get(api.name, (Role.REQUEST, Role.RESPONSE))
        return Role.ERROR if error_in(response) else role, describe(api, response), body


class _Direction:
    """The messages of one side. `read` says of a message without its size what it is and how long its header is."""

    def __init__(self, read: Reader) -> None:
        self._read = read
        self._offset = 0  # of the first pending byte
        self._pending = bytearray()
        self._lost = False

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        self._pending += data
        position = 0
        while not self._lost and len(self._pending) - position >= SIZE_BYTES:
            size = int.from_bytes(self._pending[position : position + SIZE_BYTES], "big")
            start, end = position + SIZE_BYTES, position + SIZE_BYTES + size
            try:
                if size > LIMIT:
                    raise MalformedError(f"a message of {size:,} bytes")
                if end > len(self._pending):
                    break
                role, label, header = self._read(bytes(self._pending[start:end]))
            except MalformedError as error:
                self._lost = True
                at = self._offset + position
                events.append(Started(Role.ERROR, f"not Kafka: {error}", at, at, None))
                break
            body = self._offset + start + header
            events.append(
                Started(role, readable(label.encode()), self._offset + position, body, self._offset + end - body)
            )
            events.append(Ended(self._offset + end, "size"))
            position = end
        if self._lost:
            position = len(self._pending)
        self._offset += position
        del self._pending[:position]
        return events

    def finish(self) -> list[Ended]:
        self._offset += len(self._pending)
        self._pending.clear()
        if not self._lost:
            return []
        self._lost = False
        return [Ended(self._offset, "connection closed")]
