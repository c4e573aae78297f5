"""Topics as logs: records with offsets, in partitions, on a disk; how far each group has come; what is thrown away, and when.

Nothing here waits, and nothing here knows a connection. A log forgets nothing because it was read, only because it is old.
(Kafka deletes whole segments of a log, by `retention.ms`, and looks every five minutes; here records go one by one.)
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field

from engines.wire.kafka_records import NOBODY, Batch, Record


@dataclass(slots=True)
class PartitionLog:
    """One partition. `start` is the offset of its oldest record, or where the next one goes when there is none."""

    start: int = 0
    records: list[Record] = field(default_factory=list)
    _sent: set[int] = field(default_factory=set)  # the offsets of records that somebody has fetched
    _newest: dict[int, tuple[int, int]] = field(
        default_factory=dict
    )  # producer -> its last sequence, and that one's offset

    @property
    def end(self) -> int:
        """The offset that the next record will get (Kafka's log end offset; with one replica its high watermark too)."""
        return self.start + len(self.records)

    def has(self, offset: int) -> bool:
        """Whether one can read from there on: from a record that is here, or from where the next will be."""
        return self.start <= offset <= self.end

    def append(self, batch: Batch) -> int:
        """Take records in and return the offset of the first; a batch that its producer sends again is not taken twice."""
        sequence, offset = self._newest.get(batch.producer_id, (-1, -1))
        if batch.producer_id != NOBODY and batch.base_sequence == sequence:
            return offset
        offset = self.end
        for n, record in enumerate(batch.records):
            self.records.append(Record(record.value, record.key, record.timestamp_ms, offset + n, record.headers))
        if batch.producer_id != NOBODY:
            self._newest[batch.producer_id] = (batch.base_sequence, offset)
        return offset

    def read(self, offset: int, max_bytes: int) -> list[Record]:
        """Records from `offset` on, not more than `max_bytes` of them, but at least one if there is one."""
        found: list[Record] = []
        size = 0
        for record in self.records[offset - self.start :]:
            size += len(record.value) + len(record.key or b"")
            if found and size > max_bytes:
                break
            found.append(record)
        return found

    def mark_sent(self, records: Iterable[Record]) -> None:
        """Somebody has fetched these. A real log takes no notice; in a laboratory it says what was never read."""
        self._sent.update(record.offset for record in records)

    def offset_at(self, timestamp_ms: int) -> Record | None:
        """The first record that is no older; None when there is none."""
        return next((record for record in self.records if record.timestamp_ms >= timestamp_ms), None)

    def forget_before(self, timestamp_ms: int) -> list[tuple[Record, bool]]:
        """Throw away what is older, and return it; with each record, whether anybody has ever fetched it."""
        keep = next((n for n, r in enumerate(self.records) if r.timestamp_ms >= timestamp_ms), len(self.records))
        forgotten = [(record, record.offset in self._sent) for record in self.records[:keep]]
        self._sent.difference_update(record.offset for record, _ in forgotten)
        del self.records[:keep]
        self.start += keep
        return forgotten


@dataclass(frozen=True, slots=True)
class Expired:
    """A record that was thrown away because of its age, and whether anybody had fetched it by then."""

    topic: str
    partition: int
    record: Record
    was_fetched: bool


class Topics:
    """All topics of a broker, and all committed offsets. `disk` keeps both.

    `wanted` says how many partitions a topic is to have; their number can grow, never shrink.
    """

    def __init__(self, disk: MutableMapping[str, object], wanted: Mapping[str, Callable[[], int]]) -> None:
        self._logs: dict[str, list[PartitionLog]] = disk.setdefault("topics", {})  # type: ignore[assignment]
        self._committed: dict[tuple[str, str, int], int] = disk.setdefault("offsets", {})  # type: ignore[assignment]
        self._wanted = wanted
        self.names = tuple(wanted)

    def partitions(self, topic: str) -> list[PartitionLog] | None:
        """The partitions of a topic; None when there is no such topic."""
        if topic not in self._wanted:
            return None
        logs = self._logs.setdefault(topic, [])
        while len(logs) < self._wanted[topic]():
            logs.append(PartitionLog())
        return logs

    def find(self, topic: str, partition: int) -> PartitionLog | None:
        """One partition; None when it does not exist."""
        logs = self.partitions(topic) or []
        return logs[partition] if 0 <= partition < len(logs) else None

    def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        """The group has dealt with everything before `offset`. Going back is allowed: that is a rewind."""
        self._committed[group, topic, partition] = offset

    def committed(self, group: str, topic: str, partition: int) -> int | None:
        """How far the group has come; None when it never said."""
        return self._committed.get((group, topic, partition))

    def lag(self, group: str, topic: str) -> int:
        """Records of a topic that the group has not dealt with and that are still there, over all partitions."""
        return sum(
            log.end - max(log.start, self.committed(group, topic, n) or 0)
            for n, log in enumerate(self.partitions(topic) or [])
        )

    def forget_before(self, timestamp_ms: int) -> Iterator[Expired]:
        """Throw away what is older, in all topics."""
        for topic, logs in self._logs.items():
            for partition, log in enumerate(logs):
                for record, was_fetched in log.forget_before(timestamp_ms):
                    yield Expired(topic, partition, record, was_fetched)
