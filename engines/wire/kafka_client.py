"""Talking to a Kafka broker: a connection, a reader that goes where it likes, and a producer.

All of them find the broker by its host name; with one broker there is no other to be sent to.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import trio

from engines.lab.facts import WaitKind
from engines.lab.host import Host
from engines.wire import kafka_messages as m
from engines.wire.kafka_apis import API_OF
from engines.wire.kafka_protocol import EARLIEST, PORT, Code, Request
from engines.wire.kafka_records import NOBODY, Batch, Record, decode_batches, encode_batch, partition_of
from engines.wire.kafka_stream import KafkaConnectionLost, KafkaStream
from engines.wire.kafka_types import MalformedError, decode

R = TypeVar("R")

REQUEST_TIMEOUT_S = 30.0
"""How long a client waits for an answer: request.timeout.ms of Kafka 4's clients."""
METADATA_MAX_AGE_S = 300.0
"""After how long a client asks anew how many partitions there are: metadata.max.age.ms."""
MAX_BYTES = 1 << 20
"""How much a partition may send in one response: max.partition.fetch.bytes."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0

__all__ = ["EARLIEST", "KafkaConnection", "KafkaConnectionLost", "KafkaProducer", "LogReader", "OutOfRange", "Pauses"]


class KafkaConnection:
    """One connection to a broker. Requests are dealt with in their order, on both ends."""

    def __init__(self, host: Host, stream: KafkaStream) -> None:
        self._host = host
        self._stream = stream
        self._turn = trio.Lock()
        self._number = 0
        self.open = True

    @classmethod
    async def connect(cls, host: Host, server: str, port: int = PORT) -> "KafkaConnection":
        """Raises KafkaConnectionLost."""
        try:
            return cls(host, KafkaStream(await host.connect(server, port)))
        except OSError as error:
            raise KafkaConnectionLost(str(error)) from error

    async def ask(self, request: Request[R], timeout_s: float = REQUEST_TIMEOUT_S) -> R:
        """Send a request and return its answer. Raises KafkaConnectionLost, also when there is no answer in time.

        Whoever is cancelled while it waits leaves the answer to come, and the next one to ask passes over it.
        """
        async with self._turn:
            self._number += 1
            number = self._number
            try:
                with trio.fail_after(timeout_s):
                    await self._send(number, request)
                    return await self._answer(number, request)
            except trio.TooSlowError:
                self.close()
                self._host.timed_out("request", timeout_s)
                raise KafkaConnectionLost(f"no answer for {timeout_s:g} s") from None
            except (KafkaConnectionLost, MalformedError) as error:
                self.close()
                raise KafkaConnectionLost(str(error)) from error

    def close(self) -> None:
        """Close without waiting."""
        self.open = False
        self._stream.close()

    async def _send(self, number: int, request: Request[R]) -> None:
        try:
            await self._stream.send_request(number, self._host.name, request)
        except trio.Cancelled:
            self.close()  # perhaps half of it has left
            raise

    async def _answer(self, number: int, request: Request[R]) -> R:
        while True:
            header, message, body = await self._stream.receive_response()
            if header.correlation_id == number:
                answer: R = decode(API_OF[type(request)].response, message, body)  # type: ignore[assignment]  # by the table
                return answer


class Line:
    """A connection that is made when it is needed, and made anew when it has broken."""

    def __init__(self, host: Host, server: str) -> None:
        self._host = host
        self._server = server
        self._connection: KafkaConnection | None = None
        self._turn = trio.Lock()

    async def ask(self, request: Request[R], timeout_s: float = REQUEST_TIMEOUT_S) -> R:
        """Raises KafkaConnectionLost, once for every connection that breaks or cannot be made."""
        async with self._turn:
            if self._connection is None or not self._connection.open:
                with trio.move_on_after(timeout_s):
                    self._connection = await KafkaConnection.connect(self._host, self._server)
        if self._connection is None or not self._connection.open:
            raise KafkaConnectionLost(f"no connection within {timeout_s:g} s")
        return await self._connection.ask(request, timeout_s)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class Pauses:
    """After trouble: wait, each time twice as long, until something goes well again."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._pause_s = FIRST_PAUSE_S

    async def pause(self, why: object) -> None:
        """Say what went wrong, and wait."""
        self._host.note(f"no answer from the broker: {why}")
        with self._host.waiting(f"again in {self._pause_s:g} s", WaitKind.TIMER):
            await trio.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def reset(self) -> None:
        """Something went well."""
        self._pause_s = FIRST_PAUSE_S


async def count_partitions(line: Line, topic: str) -> int:
    """How many partitions a topic has; 0 when there is no such topic. Raises KafkaConnectionLost."""
    [found] = (await line.ask(m.MetadataRequest((topic,)))).topics
    return len(found.partitions)


# --- reading without a group --------------------------------------------------------------------------------------------


class OutOfRange(Exception):
    """There is no such offset (any more, or yet)."""


@dataclass(frozen=True, slots=True)
class Read:
    """What came of a fetch: records, and the offset that the next record of the partition will get."""

    records: list[Record]
    end: int


class LogReader:
    """Reads one partition, from wherever it likes. The broker keeps no account of it."""

    def __init__(self, host: Host, topic: str, partition: int = 0, server: str = "broker") -> None:
        self._line = Line(host, server)
        self._topic = topic
        self._partition = partition

    async def offset_at(self, time_ms: int) -> int:
        """The offset of the first record that is no older, or of an end (EARLIEST, LATEST). Raises KafkaConnectionLost."""
        place = m.ListPartition(self._partition, time_ms)
        answer = await self._line.ask(m.ListOffsetsRequest(-1, (m.ListTopic(self._topic, (place,)),)))
        return answer.topics[0].partitions[0].offset

    async def fetch(self, offset: int, *, max_wait_s: float = 0.5, min_bytes: int = 1) -> Read:
        """Records from `offset` on; none if none came within `max_wait_s`. Raises OutOfRange, KafkaConnectionLost."""
        request = fetch_request(self._topic, {self._partition: offset}, max_wait_s, min_bytes)
        [found] = (await self._line.ask(request, REQUEST_TIMEOUT_S + max_wait_s)).topics[0].partitions
        if found.error_code:
            raise OutOfRange(offset)
        return Read(records_in(found), found.high_watermark)

    def close(self) -> None:
        self._line.close()


def fetch_request(
    topic: str, places: dict[int, int], max_wait_s: float, min_bytes: int, max_bytes: int = MAX_BYTES
) -> m.FetchRequest:
    """Ask for records of a topic, from an offset on in each partition."""
    partitions = tuple(m.FetchPartition(partition, offset, max_bytes) for partition, offset in places.items())
    return m.FetchRequest(
        -1, round(max_wait_s * 1000), min_bytes, max_bytes * len(places), 0, (m.FetchTopic(topic, partitions),)
    )


def records_in(found: m.FetchedPartition) -> list[Record]:
    """The records that a partition sent. Raises KafkaConnectionLost on bytes that are none."""
    try:
        return [record for batch in decode_batches(found.records or b"") for record in batch.records]
    except MalformedError as error:
        raise KafkaConnectionLost(str(error)) from error


# --- producing ----------------------------------------------------------------------------------------------------------


class KafkaProducer:
    """Sends records, again and again until the broker has them.

    It numbers what it sends, so that the broker knows a batch that comes twice (`enable.idempotence`, on by default since
    Kafka 3). The numbers are in this program's memory: a producer that is started again is another one.
    """

    def __init__(self, host: Host, server: str = "broker", *, metadata_max_age_s: float = METADATA_MAX_AGE_S) -> None:
        self._host = host
        self._line = Line(host, server)
        self._max_age_s = metadata_max_age_s
        self._producer_id = NOBODY
        self._counts: dict[str, tuple[int, float]] = {}  # topic -> its partitions, and until when we believe that
        self._sequences: dict[tuple[str, int], int] = {}
        self._turn = 0

    async def send(self, topic: str, *records: Record) -> None:
        """Return when the broker has them all: those with a key in the key's partition, the others in turn."""
        pauses = Pauses(self._host)
        batches: dict[int, Batch] = {}
        while not batches:
            try:
                batches = await self._batches(topic, records)
            except KafkaConnectionLost as error:
                await pauses.pause(error)
        while batches:
            try:
                answer = await self._line.ask(_produce_request(topic, batches))
            except KafkaConnectionLost as error:
                await pauses.pause(error)
                continue
            pauses.reset()
            for found in answer.topics[0].partitions:
                if found.error_code == Code.NONE:
                    del batches[found.partition]
            if batches:
                await pauses.pause(Code(answer.topics[0].partitions[0].error_code).name)

    def close(self) -> None:
        self._line.close()

    async def _batches(self, topic: str, records: Sequence[Record]) -> dict[int, Batch]:
        """Who goes where. From here on each batch has its number and keeps it. Raises KafkaConnectionLost."""
        count = await self._count(topic)
        if self._producer_id == NOBODY:
            self._producer_id = (await self._line.ask(m.InitProducerIdRequest(None, 60_000))).producer_id
        now_ms = round(trio.current_time() * 1000)
        sorted_out: dict[int, list[Record]] = {}
        for record in records:
            if record.key is None:
                partition, self._turn = self._turn % count, self._turn + 1
            else:
                partition = partition_of(record.key, count)
            sorted_out.setdefault(partition, []).append(replace(record, timestamp_ms=now_ms))
        batches = {}
        for partition, found in sorted_out.items():
            sequence = self._sequences.get((topic, partition), 0)
            batches[partition] = Batch(tuple(found), self._producer_id, sequence)
            self._sequences[topic, partition] = sequence + len(found)
        return batches

    async def _count(self, topic: str) -> int:
        count, until_s = self._counts.get(topic, (0, 0.0))
        if not count or until_s <= trio.current_time():
            count = await count_partitions(self._line, topic)
            if not count:
                raise KafkaConnectionLost(f"there is no topic {topic}")
            self._counts[topic] = (count, trio.current_time() + self._max_age_s)
        return count


def _produce_request(topic: str, batches: dict[int, Batch]) -> m.ProduceRequest:
    partitions = tuple(m.ProducePartition(number, encode_batch(batch)) for number, batch in batches.items())
    return m.ProduceRequest(None, -1, 30_000, (m.ProduceTopic(topic, partitions),))
