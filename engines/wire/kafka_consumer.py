"""A consumer that shares the partitions of a topic with the other members of its group.

Its program calls `poll`, deals with what it gets, and commits how far it has come; heartbeats go out by themselves. When a
member comes or goes, all of them join again, each at its next `poll`: whoever takes long to deal with its records keeps all
others waiting. The classic protocol; see `kafka_groups`.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import trio

from engines.lab.host import Host
from engines.wire import kafka_group_messages as g
from engines.wire import kafka_messages as m
from engines.wire.kafka_client import (
    MAX_BYTES,
    REQUEST_TIMEOUT_S,
    Line,
    Pauses,
    count_partitions,
    fetch_request,
    records_in,
)
from engines.wire.kafka_labels import error_name
from engines.wire.kafka_protocol import EARLIEST, LATEST, NO_GENERATION, Code
from engines.wire.kafka_records import Record
from engines.wire.kafka_stream import KafkaConnectionLost
from engines.wire.kafka_types import MalformedError, decode, encode

JOIN_GRACE_S = 5.0
"""How much longer than the rebalance timeout a member waits for the answer to its JoinGroup, as Kafka's Java client does."""
_RETRY_S = 0.1
"""retry.backoff.ms."""
_GOODBYE_S = 2.0


@dataclass(frozen=True, slots=True)
class ConsumerSettings:
    """A consumer's configuration, with the defaults of Kafka 4.

    `reset` is where to begin when the group has never committed, or only an offset that is gone: EARLIEST or LATEST.
    """

    session_timeout_s: float = 45.0
    heartbeat_s: float = 3.0
    max_poll_interval_s: float = 300.0
    max_poll_records: int = 500
    max_wait_s: float = 0.5
    min_bytes: int = 1
    max_bytes: int = MAX_BYTES  # of one partition in one response
    metadata_max_age_s: float = 300.0
    reset: int = LATEST


@dataclass(frozen=True, slots=True)
class Polled:
    """A record and the partition it is from."""

    partition: int
    record: Record


@asynccontextmanager
async def group_consumer(
    host: Host,
    group: str,
    topic: str,
    settings: Callable[[], ConsumerSettings],
    *,
    server: str = "broker",
) -> AsyncIterator["GroupConsumer"]:
    """A member of `group` that reads `topic`, as long as one is inside. Whoever leaves without `leave` is missed only when
    its session times out. `settings` are read anew whenever they matter.
    """
    consumer = GroupConsumer(host, group, topic, settings, server)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(consumer.beat)
            yield consumer
            nursery.cancel_scope.cancel()
    finally:
        consumer.close()


class GroupConsumer:
    """See `group_consumer`."""

    def __init__(
        self, host: Host, group: str, topic: str, settings: Callable[[], ConsumerSettings], server: str
    ) -> None:
        self.positions: dict[int, int] = {}  # of its partitions: the offset to fetch from next
        self._host = host
        self._group = group
        self._topic = topic
        self._settings = settings
        self._fetches = Line(host, server)  # a held fetch would keep heartbeats waiting
        self._coordinator = Line(host, server)
        self._fetched: deque[Polled] = deque()
        self._member = ""
        self._generation = NO_GENERATION
        self._must_join = True
        self._joins = False  # right now
        self._waits = trio.CancelScope()  # what `poll` waits in, unless it joins
        self._polled_s = trio.current_time()
        self._divided = 0  # the partitions there were when this leader divided them; 0 for all other members
        self._asked_s = trio.current_time()  # when it last asked how many there are

    # --- what the program calls -----------------------------------------------------------------------------------------

    async def poll(self) -> list[Polled]:
        """The next records, at least one, at most `max_poll_records`; waits for them, whatever happens in between."""
        pauses = Pauses(self._host)
        try:
            while True:
                self._polled_s = trio.current_time()
                try:
                    if self._must_join:
                        await self._join()
                    elif self._fetched:
                        most = min(self._settings().max_poll_records, len(self._fetched))
                        return [self._fetched.popleft() for _ in range(most)]
                    else:
                        with trio.CancelScope() as self._waits:
                            await self._wait_for_records()
                    pauses.reset()
                except KafkaConnectionLost as error:
                    await pauses.pause(error)
        finally:
            self._polled_s = trio.current_time()

    async def commit(self, polled: Iterable[Polled]) -> bool:
        """Say that these records need not be dealt with again. False when the broker would not have it, or did not answer."""
        offsets = {each.partition: each.record.offset + 1 for each in polled}
        places = tuple(g.CommitPartition(partition, offset, "") for partition, offset in offsets.items())
        request = g.OffsetCommitRequest(
            self._group, self._generation, self._member, -1, (g.CommitTopic(self._topic, places),)
        )
        try:
            answer = await self._coordinator.ask(request)
        except KafkaConnectionLost as error:
            self._host.note(f"perhaps not committed: {error}")
            return False
        code = next((each.error_code for each in answer.topics[0].partitions if each.error_code), 0)
        if code:
            self._host.note(f"commit refused: {error_name(code)}")
            self._call_to_join(code)
        return not code

    async def leave(self) -> None:
        """Say goodbye to the group, so that it need not wait for the session to end."""
        if self._member:
            with suppress(KafkaConnectionLost):  # then it will miss us
                await self._coordinator.ask(g.LeaveGroupRequest(self._group, self._member), _GOODBYE_S)
        self._call_to_join(Code.UNKNOWN_MEMBER_ID)

    def close(self) -> None:
        """Close the connections. The group does not care."""
        self._fetches.close()
        self._coordinator.close()

    # --- what goes on by itself -----------------------------------------------------------------------------------------

    async def beat(self) -> None:
        """Heartbeats, as long as the program polls; and for the leader, now and then a look at how many partitions there are."""
        while True:
            await trio.sleep(self._settings().heartbeat_s)
            if self._joins or not self._member:
                continue  # whoever joins is not asked for heartbeats
            try:
                if trio.current_time() - self._polled_s > self._settings().max_poll_interval_s:
                    self._host.note("has not polled for longer than max.poll.interval: leaves the group")
                    await self.leave()
                else:
                    await self._beat_once()
                    await self._count_again()
            except KafkaConnectionLost as error:
                self._host.note(f"no heartbeat: {error}")

    async def _beat_once(self) -> None:
        generation = self._generation
        answer = await self._coordinator.ask(g.HeartbeatRequest(self._group, generation, self._member))
        if answer.error_code and generation == self._generation and not self._joins:
            self._call_to_join(answer.error_code)

    async def _count_again(self) -> None:
        now_s = trio.current_time()
        if self._divided and now_s - self._asked_s >= self._settings().metadata_max_age_s:
            self._asked_s = now_s
            if await count_partitions(self._coordinator, self._topic) != self._divided:
                self._host.note("there are more partitions than before")
                self._call_to_join(Code.REBALANCE_IN_PROGRESS)

    def _call_to_join(self, code: int) -> None:
        """At its next `poll` the consumer joins again; under a new name, if the group does not know the old one any more."""
        if code == Code.UNKNOWN_MEMBER_ID:
            self._member = ""
        self._must_join = True
        self._waits.cancel()

    # --- joining --------------------------------------------------------------------------------------------------------

    async def _join(self) -> None:
        """Be a member of the next generation, learn what one's part is, and where to begin. Raises KafkaConnectionLost."""
        self._fetched.clear()
        self.positions = {}
        self._show()
        self._joins = True
        try:
            with self._host.waiting("joins the group"):
                while True:
                    if await self._join_once():
                        break
                    await trio.sleep(_RETRY_S)
        finally:
            self._joins = False

    async def _join_once(self) -> bool:
        settings = self._settings()
        self._divided = 0
        subscription = encode(g.Subscription(0, (self._topic,), None))
        joined = await self._coordinator.ask(
            g.JoinGroupRequest(
                self._group,
                round(settings.session_timeout_s * 1000),
                round(settings.max_poll_interval_s * 1000),
                self._member,
                "consumer",
                (g.GroupProtocol("range", subscription),),
            ),
            settings.max_poll_interval_s + JOIN_GRACE_S,
        )
        if joined.error_code:
            self._call_to_join(joined.error_code)
            return False
        self._member, self._generation = joined.member, joined.generation
        assignments = await self._divide(joined) if joined.leader == joined.member else ()
        synced = await self._coordinator.ask(
            g.SyncGroupRequest(self._group, self._generation, self._member, assignments),
            settings.max_poll_interval_s + JOIN_GRACE_S,
        )
        if synced.error_code:
            self._call_to_join(synced.error_code)
            return False
        self.positions = await self._begin_at(_partitions_in(synced.assignment))
        self._must_join = False
        self._show()
        return True

    async def _divide(self, joined: g.JoinGroupResponse) -> tuple[g.MemberAssignment, ...]:
        """The leader's part: everybody gets a range of partitions. Raises KafkaConnectionLost."""
        self._divided = await count_partitions(self._coordinator, self._topic)
        self._asked_s = trio.current_time()
        shares = range_assignment([each.member for each in joined.members], self._divided)
        return tuple(
            g.MemberAssignment(member, encode(g.Assignment(0, (g.AssignedTopic(self._topic, tuple(share)),), None)))
            for member, share in shares.items()
        )

    async def _begin_at(self, partitions: tuple[int, ...]) -> dict[int, int]:
        """Where the group has come to in each partition, or where to begin. Raises KafkaConnectionLost."""
        if not partitions:
            return {}
        asked = g.OffsetFetchRequest(self._group, (g.OffsetFetchTopic(self._topic, partitions),))
        answer = await self._coordinator.ask(asked)
        committed = {each.partition: each.offset for each in answer.topics[0].partitions}
        unknown = [partition for partition, offset in committed.items() if offset < 0]
        return committed | await self._ends(unknown)

    async def _ends(self, partitions: list[int]) -> dict[int, int]:
        """Where `reset` says to begin. Raises KafkaConnectionLost."""
        if not partitions:
            return {}
        places = tuple(m.ListPartition(partition, self._settings().reset) for partition in partitions)
        answer = await self._fetches.ask(m.ListOffsetsRequest(-1, (m.ListTopic(self._topic, places),)))
        return {each.partition: each.offset for each in answer.topics[0].partitions}

    # --- fetching -------------------------------------------------------------------------------------------------------

    async def _wait_for_records(self) -> None:
        """Until some are here, or there were none for a while, or the group calls. Raises KafkaConnectionLost."""
        if self.positions:
            await self._fetch()
        else:
            with self._host.waiting("idle: no partition"):
                await trio.sleep_forever()

    async def _fetch(self) -> None:
        """One fetch, of all partitions. Raises KafkaConnectionLost."""
        settings = self._settings()
        request = fetch_request(
            self._topic, self.positions, settings.max_wait_s, settings.min_bytes, settings.max_bytes
        )
        found = (await self._fetches.ask(request, REQUEST_TIMEOUT_S + settings.max_wait_s)).topics[0].partitions
        for each in found:
            for record in records_in(each):
                self._fetched.append(Polled(each.partition, record))
                self.positions[each.partition] = record.offset + 1
        gone = [each.partition for each in found if each.error_code == Code.OFFSET_OUT_OF_RANGE]
        if gone:
            ends = await self._ends(gone)
            for partition, offset in ends.items():
                self._host.measure("offset resets")
                self._host.note(
                    f"offset {self.positions.get(partition)} of partition {partition} is gone: goes on at {offset}"
                )
            self.positions |= ends

    def _show(self) -> None:
        self._host.state("partitions", " ".join(map(str, self.positions)) or "none")


def range_assignment(members: list[str], partitions: int) -> Mapping[str, range]:
    """Kafka's range assignor for one topic: members by name, each an equal stretch; the first ones get one more if need be."""
    each, more = divmod(partitions, len(members))
    shares = {}
    start = 0
    for n, member in enumerate(sorted(members)):
        end = start + each + (n < more)
        shares[member] = range(start, end)
        start = end
    return shares


def _partitions_in(assignment: bytes) -> tuple[int, ...]:
    """Nothing, for a member that the leader has not heard of."""
    try:
        topics = decode(g.Assignment, assignment).topics
    except MalformedError:
        return ()
    return tuple(number for topic in topics for number in topic.partitions)


__all__ = ["EARLIEST", "ConsumerSettings", "GroupConsumer", "Polled", "group_consumer", "range_assignment"]
