"""Poison message: one record that makes its consumer fail, each time. In a log, nothing behind it can overtake it.

A consumer that tries again until it succeeds never gets past such a record, and neither does anything else in its partition.
Trying again is right when it is the world that fails (a database that is away), and wrong when it is the record. From here
one cannot tell which it is; so one tries a few times, and then puts the record aside, into a topic of its own where people
look at it. Kafka's broker counts no attempts and knows no such topic: that is the consumer's business (RabbitMQ's can do
both for it).
"""

from dataclasses import replace
from itertools import count

import trio

from engines.lab.facts import EventLost, Measured, MessageStarted, StateChanged, WaitKind
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.pub_sub.outbox import publish_what_happens
from engines.patterns.workload import EVENT_KNOBS, Event
from engines.wire.kafka import KafkaDissector
from engines.wire.kafka_broker import KafkaBroker
from engines.wire.kafka_client import KafkaConnectionLost, KafkaProducer, LogReader, OutOfRange, Pauses
from engines.wire.kafka_consumer import ConsumerSettings, group_consumer
from engines.wire.kafka_protocol import EARLIEST, PORT
from engines.wire.kafka_records import Record

TOPIC, DEAD_LETTERS, GROUP = "events", "events.dead", "workers"

# --- the producer and the broker ----------------------------------------------------------------------------------------


async def producer(host: Host) -> None:
    """Has a bug: now and then it sends half of a record."""

    def written(event: Event) -> Record:
        text = event.to_json().encode()
        broken = event.number % int(host.knobs.number("poison-every")) == 0
        return Record(text[: len(text) // 2] if broken else text, headers=(("event", str(event.number).encode()),))

    await publish_what_happens(host, TOPIC, written)


async def broker(host: Host) -> None:
    """Keeps what it is given, whole or not: to a broker, a record is bytes."""
    topics = {TOPIC: lambda: 2, DEAD_LETTERS: lambda: 1}
    await KafkaBroker(host, topics, watched=[(GROUP, TOPIC)], initial_delay_s=lambda: 0.5).serve()


# --- the consumers ------------------------------------------------------------------------------------------------------


async def consumer(host: Host) -> None:
    """Has one of the two partitions, as long as both consumers are there."""
    settings = ConsumerSettings(
        session_timeout_s=6.0, heartbeat_s=2.0, max_poll_records=1, max_wait_s=2.0, reset=EARLIEST
    )
    dead_letters = KafkaProducer(host)
    async with group_consumer(host, GROUP, TOPIC, lambda: settings) as member:
        while True:
            [polled] = await member.poll()
            await deal_with(host, polled.record, dead_letters)
            await member.commit([polled])


class Unavailable(Exception):
    """Something that the work needs is away for the moment."""


async def deal_with(host: Host, record: Record, dead_letters: KafkaProducer) -> None:
    """Try, and try again as long as the policy says; then the record is out of the way, in one manner or another."""
    number = number_of(record)
    for attempt in count(1):
        try:
            await work_on(host, record, f"event {number}" + (f", attempt {attempt}" if attempt > 1 else ""))
            return
        except (ValueError, Unavailable) as error:
            host.measure("failures")
            why = "no valid JSON" if isinstance(error, ValueError) else str(error)
            policy = host.knobs["policy"]
            if policy != "retry forever" and attempt > host.knobs.number("retries"):
                if policy == "dead letter":
                    headers = (*record.headers, ("error", why.encode()))
                    await dead_letters.send(DEAD_LETTERS, replace(record, headers=headers))
                    host.measure("dead letters")
                else:
                    host.measure("skipped")
                host.event_lost(number, f"put aside: {why}" if policy == "dead letter" else f"skipped: {why}")
                return
            host.measure("retries")
            host.state("stuck at", f"event {number}, {why}")
            with host.waiting(f"attempt {attempt + 1}", WaitKind.TIMER):
                await trio.sleep(host.knobs.number("retry-pause"))


async def work_on(host: Host, record: Record, label: str) -> None:
    """Raises ValueError when the record makes no sense, Unavailable when the world does not."""
    with host.working(label):
        await trio.sleep(host.knobs.number("work-time"))
        luck = host.rng.random()
        event = Event.from_json(record.value)
        if luck < host.knobs.number("flaky"):
            raise Unavailable("the database is away")
        host.event_handled(event.number)


def number_of(record: Record) -> int:
    """Which event it is, also when the rest cannot be read: the producer says so in a header."""
    return next((int(value) for name, value in record.headers if name == "event"), 0)


async def support(host: Host) -> None:
    """People, who look at what programs could not deal with."""
    reader, pauses = LogReader(host, DEAD_LETTERS), Pauses(host)
    while True:
        offset = host.disk.get("offset", 0)
        try:
            found = await reader.fetch(offset, max_wait_s=4.0)
        except OutOfRange:
            host.disk["offset"] = 0
            continue
        except KafkaConnectionLost as error:
            await pauses.pause(error)
            continue
        pauses.reset()
        for record in found.records:
            why = next((value.decode() for name, value in record.headers if name == "error"), "")
            with host.working(f"event {number_of(record)}: {why}"):
                await trio.sleep(1.0)
            host.disk["offset"] = record.offset + 1


# --- the lesson ---------------------------------------------------------------------------------------------------------

KILL_BEN = Fault(
    "kill-ben", "kill ben", "b", "kill ben",
    "a restart does not help: the record is still where it was, and the offset in front of it", off="restart ben",
)  # fmt: skip
KILL_ANN = Fault(
    "kill-ann", "kill ann", "a", "kill ann",
    "ben is to have both partitions once ann's session is over; if he is stuck, he does not come", off="restart ann",
)  # fmt: skip
KILL_BROKER = Fault(
    "kill-broker", "kill broker", "k", "kill broker", "the broker's program dies; logs and offsets are on its disk",
    off="restart broker",
)  # fmt: skip

ARRIVALS, RATE, _, SIZE = EVENT_KNOBS

LESSON = Lesson(
    name="poison-message",
    title="Poison message",
    purpose="One record in ten makes its consumer fail, each time: see what stands behind it, and get it out of the way.",
    hosts=(
        HostSpec("producer", producer), HostSpec("broker", broker), HostSpec("ann", consumer), HostSpec("ben", consumer),
        HostSpec("support", support),
    ),
    protocols={PORT: KafkaDissector},
    network={"latency": 0.05},
    until_s=40.0,
    knobs=(
        Choice("policy", "on failure", "retry forever", ("retry forever", "dead letter", "skip"),
               "what a consumer does with a record that still fails after the retries"),
        Number("retries", "retries", "", 3, 0, 100, 1, "how often it tries again before that", integer=True),
        Number("retry-pause", "retry pause", "s", 1.0, 0.0, 60.0, 0.5, "the pause before it tries again"),
        Number("poison-every", "poison every", "", 10, 1, 10_000, 2, "one event out of so many is broken (10: 10, 20, 30 …)",
               integer=True),
        Number("flaky", "world fails", "%", 0.0, 0.0, 0.95, 0.1, "chance that a good record fails, because the world does"),
        Number("work-time", "work time", "s", 0.2, 0.0, 60.0, 0.1, "how long a consumer works on an event"),
        replace(RATE, default=2.0, maximum=50.0),
        replace(ARRIVALS, default="fixed", choices=("fixed", "poisson"), help="evenly, or at random"), SIZE,
    ),
    faults=(KILL_BEN, KILL_ANN, KILL_BROKER),
    metrics=("measured:lag", "events-handled", "measured:failures", "measured:retries", "measured:dead letters",
             "measured:skipped", "events-waiting", "event-delay", "event-delay-max", "events-lost"),
    beats=(
        Beat(Measured, "A dead letter: the record is in a topic of its own now, with the reason in a header, and the partition is"
             " free.", {"what": "dead letters"}),
        Beat(EventLost, "Event {event} is {reason}. The partition is free again.", {"reason": "skipped"}),
        Beat(StateChanged, "{host} is stuck at {value}. Whatever else is in this partition stands behind it and waits.",
             {"key": "stuck"}),
        Beat(StateChanged, "{value} records wait. In a log nothing overtakes: that order is kept is what makes one record block"
             " all.", {"key": "lag", "value": r"(5|\d+[05])$"}),
        Beat(MessageStarted, "{label}: past this record at last. Until this commit, a restart would have begun with it again.",
             {"label": "OffsetCommit events"}),
        Beat(MessageStarted, "Support asks for dead letters. Somebody must, or they are only a slower way to lose records.",
             {"label": "Fetch events.dead"}),
    ),
    try_next=(
        "Wait for event 10: ben tries it every 1.2 s, for ever. Ann and the other partition do not even notice.",
        "Set on failure to dead letter: after three retries the record goes to support, and what stood behind it goes on.",
        "Set on failure to skip: the same, but nobody will ever look at the record. It is lost knowingly.",
        "Set on failure to dead letter and retries to 0: nothing waits, and each failure is a dead letter at once.",
        "Let the world fail 30 % with dead letter: retries save nearly all good records. With retries 0 they die as letters.",
        "Kill ben, who is stuck: ann gets his partition after 6 s, and the poison with it. Now both partitions wait.",
        "Kill ann: her partition should be ben's, but he is stuck, and does not come to join. For 5 minutes nothing moves.",
        "Set poison every to 1 with dead letter: no good record left, and all work is retries.",
    ),
)  # fmt: skip
