"""Kafka's messages over a byte stream, the same for both peers: each behind its size in four bytes."""

from typing import TypeVar

import trio

from engines.lab.tcp import Endpoint
from engines.wire.kafka import LIMIT, SIZE_BYTES
from engines.wire.kafka_apis import API_OF
from engines.wire.kafka_protocol import Request, RequestHeader, ResponseHeader
from engines.wire.kafka_types import decode_prefix, encode

H = TypeVar("H", RequestHeader, ResponseHeader)


class KafkaConnectionLost(Exception):
    """There is no connection, or not any more. Whether the last request was dealt with, nobody here knows."""


class KafkaStream:
    """One connection, either end of it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._received = bytearray()
        self._turn = trio.Lock()

    async def send_request(self, correlation_id: int, client_id: str, request: Request[object]) -> None:
        """Raises KafkaConnectionLost."""
        api = API_OF[type(request)]
        await self._send(encode(RequestHeader(api.key, api.version, correlation_id, client_id)) + encode(request))

    async def send_response(self, correlation_id: int, response: object) -> None:
        """Raises KafkaConnectionLost."""
        await self._send(encode(ResponseHeader(correlation_id)) + encode(response))

    async def receive_request(self) -> tuple[RequestHeader, bytes, int]:
        """The header of the next request, the whole of it, and where its body begins. Raises KafkaConnectionLost, and
        MalformedError.
        """
        return await self._receive(RequestHeader)

    async def receive_response(self) -> tuple[ResponseHeader, bytes, int]:
        """The same of the next response."""
        return await self._receive(ResponseHeader)

    def close(self) -> None:
        """Close the connection without waiting."""
        self._endpoint.close()

    async def _send(self, message: bytes) -> None:
        try:
            async with self._turn:
                await self._endpoint.send_all(len(message).to_bytes(SIZE_BYTES, "big") + message)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise KafkaConnectionLost(str(error)) from error

    async def _receive(self, kind: type[H]) -> tuple[H, bytes, int]:
        await self._receive_at_least(SIZE_BYTES)
        size = int.from_bytes(self._received[:SIZE_BYTES], "big")
        if size > LIMIT:
            raise KafkaConnectionLost(f"a message of {size:,} bytes")
        await self._receive_at_least(SIZE_BYTES + size)
        message = bytes(self._received[SIZE_BYTES : SIZE_BYTES + size])
        del self._received[: SIZE_BYTES + size]
        header, body = decode_prefix(kind, message, 0, len(message))
        return header, message, body

    async def _receive_at_least(self, size: int) -> None:
        while len(self._received) < size:
            try:
                data = await self._endpoint.receive_some()
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise KafkaConnectionLost(str(error)) from error
            if not data:
                raise KafkaConnectionLost("closed by the peer")
            self._received += data
