"""A broker that keeps topics as logs, with consumer groups, as Apache Kafka does: one node, which leads every partition.

It speaks Kafka's own protocol, as much of it as `kafka_messages` has. The log is on the host's disk, and so is how far each
group has come; who is in a group is in this program's memory (Kafka keeps that in a log of its own as well). As Kafka's, it
deals with the requests of one connection one after another: who waits for records cannot ask for anything else meanwhile,
on that connection.
"""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import trio

from engines.lab.facts import WaitKind
from engines.lab.host import Host
from engines.lab.recorder import because_of, present_cause
from engines.lab.tcp import Endpoint
from engines.wire import kafka_group_messages as g
from engines.wire import kafka_messages as m
from engines.wire.kafka_apis import API_BY_KEY, API_OF, APIS
from engines.wire.kafka_groups import INITIAL_DELAY_S, Group
from engines.wire.kafka_log import Expired, Topics
from engines.wire.kafka_protocol import EARLIEST, LATEST, PORT, Code
from engines.wire.kafka_records import Batch, decode_batches, encode_batch
from engines.wire.kafka_stream import KafkaConnectionLost, KafkaStream
from engines.wire.kafka_types import MalformedError, decode

RETENTION_CHECK_S = 1.0
"""How often a broker looks for records that are too old (Kafka's log.retention.check.interval.ms: 5 min)."""


class KafkaBroker:
    """A broker on `host` with `topics`, each with a function that says how many partitions it is to have.

    `watched` are pairs of a group and a topic: their lag is shown on the broker's lifeline, and all of it together is the
    number `measured:lag`. Records older than `retention_s` are thrown away, and `on_expired` is told of each.
    """

    def __init__(
        self,
        host: Host,
        topics: Mapping[str, Callable[[], int]],
        *,
        watched: Sequence[tuple[str, str]] = (),
        retention_s: Callable[[], float] = lambda: math.inf,
        initial_delay_s: Callable[[], float] = lambda: INITIAL_DELAY_S,
        on_expired: Callable[[Expired], None] = lambda expired: None,
    ) -> None:
        self.host = host
        self.topics = Topics(host.disk, topics)
        self._watched = watched
        self._retention_s = retention_s
        self._initial_delay_s = initial_delay_s
        self._on_expired = on_expired
        self._groups: dict[str, Group] = {}
        self._grown, self._grown_because = trio.Event(), present_cause()
        self._groups_changed = trio.Event()
        self._lags: dict[str, int] = host.disk.setdefault("lags", {})

    async def serve(self, port: int = PORT) -> None:
        """Serve until cancelled. Raises OSError when the port is in use."""
        async with self.host.listen(port) as listener, trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_the_clock)
            nursery.start_soon(self._throw_old_records_away)
            self._show_lags()
            while True:
                nursery.start_soon(self._converse, await listener.accept())

    # --- one connection -------------------------------------------------------------------------------------------------

    async def _converse(self, endpoint: Endpoint) -> None:
        """Answer the requests of one client in their order, until it leaves or says something that is no request."""
        stream = KafkaStream(endpoint)
        try:
            while True:
                header, message, body = await stream.receive_request()
                api = API_BY_KEY.get(header.api_key)
                if api is None or api.version != header.api_version:
                    if api is not API_OF[m.ApiVersionsRequest]:
                        return  # as Kafka does with what it does not know
                    # Who asks in a version that is too new for us is told so in the oldest (KIP-511), and what we know.
                    answer = replace(_what_we_speak(), error_code=Code.UNSUPPORTED_VERSION)
                    await stream.send_response(header.correlation_id, answer)
                    continue
                request = decode(api.request, message, body)
                response = await _ANSWERS[type(request)](self, header.client_id or "somebody", request)
                if response is not None:
                    await stream.send_response(header.correlation_id, response)
        except (KafkaConnectionLost, MalformedError):
            pass
        finally:
            stream.close()

    # --- records --------------------------------------------------------------------------------------------------------

    async def _produce(self, client: str, request: m.ProduceRequest) -> m.ProduceResponse | None:
        topics = tuple(
            m.ProducedTopic(topic.topic, tuple(self._append(topic.topic, each) for each in topic.partitions))
            for topic in request.topics
        )
        self._grown_because = present_cause()
        self._grown.set()
        self._grown = trio.Event()
        self._show_lags()
        return m.ProduceResponse(topics, 0) if request.acks else None

    def _append(self, topic: str, produced: m.ProducePartition) -> m.ProducedPartition:
        log = self.topics.find(topic, produced.partition)
        if log is None:
            return m.ProducedPartition(produced.partition, Code.UNKNOWN_TOPIC_OR_PARTITION, -1, -1)
        try:
            batches = decode_batches(produced.records or b"", whole=True)
        except MalformedError:
            return m.ProducedPartition(produced.partition, Code.CORRUPT_MESSAGE, -1, -1)
        offsets = [log.append(batch) for batch in batches]
        return m.ProducedPartition(produced.partition, Code.NONE, offsets[0] if offsets else log.end, -1)

    async def _fetch(self, client: str, request: m.FetchRequest) -> m.FetchResponse:
        """Answer when there is enough to send, or when the client has waited as long as it wanted to."""
        response, size = self._records_for(request)
        if size < request.min_bytes:
            with self.host.waiting("held", WaitKind.HELD) as outcome:
                outcome.word = "nothing new"
                with trio.move_on_after(request.max_wait_ms / 1000):
                    while size < request.min_bytes:
                        await self._grown.wait()
                        response, size = self._records_for(request)
                    because_of(self._grown_because)
                    outcome.word = "records"
                response, _ = self._records_for(request)
        self._mark_as_sent(request)
        return response

    def _mark_as_sent(self, request: m.FetchRequest) -> None:
        for topic in request.topics:
            for each in topic.partitions:
                log = self.topics.find(topic.topic, each.partition)
                if log is not None and log.has(each.fetch_offset):
                    log.mark_sent(log.read(each.fetch_offset, each.partition_max_bytes))

    def _records_for(self, request: m.FetchRequest) -> tuple[m.FetchResponse, float]:
        """What there is to send, and how many bytes of it; an error is worth any number of bytes."""
        size = 0.0
        topics = []
        for topic in request.topics:
            found = [self._read(topic.topic, each) for each in topic.partitions]
            topics.append(m.FetchedTopic(topic.topic, tuple(found)))
            size += sum(math.inf if each.error_code else len(each.records or b"") for each in found)
        return m.FetchResponse(0, tuple(topics)), size

    def _read(self, topic: str, wanted: m.FetchPartition) -> m.FetchedPartition:
        log = self.topics.find(topic, wanted.partition)
        if log is None:
            return m.FetchedPartition(wanted.partition, Code.UNKNOWN_TOPIC_OR_PARTITION, -1, -1, None, None)
        if not log.has(wanted.fetch_offset):
            return m.FetchedPartition(wanted.partition, Code.OFFSET_OUT_OF_RANGE, -1, -1, None, None)
        records = tuple(log.read(wanted.fetch_offset, wanted.partition_max_bytes))
        data = encode_batch(Batch(records), wanted.fetch_offset) if records else b""
        return m.FetchedPartition(wanted.partition, Code.NONE, log.end, log.end, None, data)

    async def _list_offsets(self, client: str, request: m.ListOffsetsRequest) -> m.ListOffsetsResponse:
        return m.ListOffsetsResponse(
            tuple(
                m.ListedTopic(topic.topic, tuple(self._offset_at(topic.topic, each) for each in topic.partitions))
                for topic in request.topics
            )
        )

    def _offset_at(self, topic: str, wanted: m.ListPartition) -> m.ListedPartition:
        log = self.topics.find(topic, wanted.partition)
        if log is None:
            return m.ListedPartition(wanted.partition, Code.UNKNOWN_TOPIC_OR_PARTITION, -1, -1)
        if wanted.timestamp_ms in (EARLIEST, LATEST):
            offset = log.start if wanted.timestamp_ms == EARLIEST else log.end
            return m.ListedPartition(wanted.partition, Code.NONE, -1, offset)
        record = log.offset_at(wanted.timestamp_ms)
        if record is None:
            return m.ListedPartition(wanted.partition, Code.NONE, -1, -1)
        return m.ListedPartition(wanted.partition, Code.NONE, record.timestamp_ms, record.offset)

    # --- who is who -----------------------------------------------------------------------------------------------------

    async def _metadata(self, client: str, request: m.MetadataRequest) -> m.MetadataResponse:
        names = self.topics.names if request.topics is None else request.topics
        brokers = (m.BrokerMetadata(0, self.host.name, PORT, None),)
        return m.MetadataResponse(brokers, 0, tuple(map(self._topic_metadata, names)))

    def _topic_metadata(self, topic: str) -> m.TopicMetadata:
        logs = self.topics.partitions(topic)
        if logs is None:
            return m.TopicMetadata(Code.UNKNOWN_TOPIC_OR_PARTITION, topic, 0, ())
        partitions = tuple(m.PartitionMetadata(Code.NONE, number, 0, (0,), (0,)) for number in range(len(logs)))
        return m.TopicMetadata(Code.NONE, topic, 0, partitions)

    async def _api_versions(self, client: str, request: m.ApiVersionsRequest) -> m.ApiVersionsResponse:
        return _what_we_speak()

    async def _find_coordinator(self, client: str, request: g.FindCoordinatorRequest) -> g.FindCoordinatorResponse:
        return g.FindCoordinatorResponse(Code.NONE, 0, self.host.name, PORT)

    async def _init_producer_id(self, client: str, request: m.InitProducerIdRequest) -> m.InitProducerIdResponse:
        number = self.host.disk["producers"] = self.host.disk.get("producers", 0) + 1
        return m.InitProducerIdResponse(0, Code.NONE, number, 0)

    # --- groups ---------------------------------------------------------------------------------------------------------

    def _group(self, name: str) -> Group:
        if name not in self._groups:
            self._groups[name] = Group(
                name, self._initial_delay_s, self._note_change, self._wake_clock, on_stable=self._note_shares
            )
        return self._groups[name]

    async def _join_group(self, client: str, request: g.JoinGroupRequest) -> g.JoinGroupResponse:
        return await self._group(request.group).join(client, request)

    async def _sync_group(self, client: str, request: g.SyncGroupRequest) -> g.SyncGroupResponse:
        return await self._group(request.group).sync(request)

    async def _heartbeat(self, client: str, request: g.HeartbeatRequest) -> g.HeartbeatResponse:
        return g.HeartbeatResponse(self._group(request.group).heartbeat(request))

    async def _leave_group(self, client: str, request: g.LeaveGroupRequest) -> g.LeaveGroupResponse:
        return g.LeaveGroupResponse(self._group(request.group).leave(request.member))

    async def _offset_commit(self, client: str, request: g.OffsetCommitRequest) -> g.OffsetCommitResponse:
        code = self._group(request.group).may_commit(request.member, request.generation)
        topics = tuple(
            g.CommittedTopic(
                topic.topic,
                tuple(
                    g.CommittedPartition(each.partition, code or self._commit(request.group, topic.topic, each))
                    for each in topic.partitions
                ),
            )
            for topic in request.topics
        )
        if code:
            self.host.measure("commits refused")
            self.host.note(f"refuses a commit of {client}: {code.name}")
        self._show_lags()
        return g.OffsetCommitResponse(topics)

    def _commit(self, group: str, topic: str, committed: g.CommitPartition) -> Code:
        if self.topics.find(topic, committed.partition) is None:
            return Code.UNKNOWN_TOPIC_OR_PARTITION
        self.topics.commit(group, topic, committed.partition, committed.offset)
        return Code.NONE

    async def _offset_fetch(self, client: str, request: g.OffsetFetchRequest) -> g.OffsetFetchResponse:
        def committed(topic: str, partition: int) -> g.OffsetFetchedPartition:
            offset = self.topics.committed(request.group, topic, partition)
            return g.OffsetFetchedPartition(partition, -1 if offset is None else offset, "", Code.NONE)

        return g.OffsetFetchResponse(
            tuple(
                g.OffsetFetchedTopic(topic.topic, tuple(committed(topic.topic, each) for each in topic.partitions))
                for topic in request.topics
            )
        )

    # --- what time does, and what the diagram is to show ----------------------------------------------------------------

    async def _watch_the_clock(self) -> None:
        while True:
            with trio.move_on_at(min((each.next_deadline_s for each in self._groups.values()), default=math.inf)):
                await self._groups_changed.wait()
            self._groups_changed = trio.Event()
            for group in self._groups.values():
                group.look_at_the_clock()

    async def _throw_old_records_away(self) -> None:
        while True:
            await trio.sleep(RETENTION_CHECK_S)
            oldest_s = trio.current_time() - self._retention_s()
            if oldest_s > 0:
                for expired in self.topics.forget_before(round(oldest_s * 1000)):
                    self._on_expired(expired)
                self._show_lags()

    def _wake_clock(self) -> None:
        self._groups_changed.set()

    def _note_change(self, what: str) -> None:
        self.host.measure("joins and leaves")
        self.host.note(what)

    def _note_shares(self, group: Group) -> None:
        self.host.measure("rebalances")
        members = sorted(group.members.values(), key=lambda member: member.name)
        shares = "; ".join(f"{each.name} {_numbers_in(each.assignment)}" for each in members)
        self.host.note(f"generation {group.generation} of {group.name}: {shares}")

    def _show_lags(self) -> None:
        for group, topic in self._watched:
            lag = self.topics.lag(group, topic)
            key = "lag" if len(self._watched) == 1 else f"lag of {group}"
            if (change := lag - self._lags.get(key, 0)) != 0:
                self._lags[key] = lag
                self.host.state(key, lag)
                self.host.measure("lag", change)


def _what_we_speak() -> m.ApiVersionsResponse:
    return m.ApiVersionsResponse(Code.NONE, tuple(m.SupportedApi(api.key, api.version, api.version) for api in APIS))


def _numbers_in(assignment: bytes) -> str:
    """The partitions of an assignment, for people."""
    try:
        topics = decode(g.Assignment, assignment).topics
    except MalformedError:
        return "–"
    return " ".join(str(number) for topic in topics for number in topic.partitions) or "–"


_ANSWERS: dict[type[object], Callable[[KafkaBroker, str, Any], Awaitable[object]]] = {
    m.ProduceRequest: KafkaBroker._produce,
    m.FetchRequest: KafkaBroker._fetch,
    m.ListOffsetsRequest: KafkaBroker._list_offsets,
    m.MetadataRequest: KafkaBroker._metadata,
    g.OffsetCommitRequest: KafkaBroker._offset_commit,
    g.OffsetFetchRequest: KafkaBroker._offset_fetch,
    g.FindCoordinatorRequest: KafkaBroker._find_coordinator,
    g.JoinGroupRequest: KafkaBroker._join_group,
    g.HeartbeatRequest: KafkaBroker._heartbeat,
    g.LeaveGroupRequest: KafkaBroker._leave_group,
    g.SyncGroupRequest: KafkaBroker._sync_group,
    m.ApiVersionsRequest: KafkaBroker._api_versions,
    m.InitProducerIdRequest: KafkaBroker._init_producer_id,
}
