"""Slow consumer: who pulls cannot be flooded. What it has no time for waits in the log, until it is too old.

The lag, the number of records that a group has not dealt with yet, grows by (events a second − records a second that the
consumer can do), every second. Nobody has to slow down for that, and nothing overflows; but a log throws old records away,
and once the lag is as long as the retention, the consumer finds that the place where it was is gone.
"""

from dataclasses import replace

from engines.lab.facts import EventLost, Measured, MessageStarted, StateChanged
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.pub_sub.outbox import publish_what_happens
from engines.patterns.workload import EVENT_KNOBS, Event
from engines.wire.kafka import KafkaDissector
from engines.wire.kafka_broker import KafkaBroker
from engines.wire.kafka_consumer import ConsumerSettings, group_consumer
from engines.wire.kafka_log import Expired
from engines.wire.kafka_protocol import EARLIEST, LATEST, PORT

TOPIC, GROUP = "events", "workers"

# --- the producer and the broker ----------------------------------------------------------------------------------------


async def producer(host: Host) -> None:
    """Says what happens. Whether anybody keeps up is not its business, and it does not even learn of it."""
    await publish_what_happens(host, TOPIC)


async def broker(host: Host) -> None:
    """Keeps everything for a while, read or not."""

    def forget(expired: Expired) -> None:
        if not expired.was_fetched:
            host.event_lost(Event.from_json(expired.record.value).number, "too old, and nobody ever read it")

    await KafkaBroker(
        host,
        {TOPIC: lambda: 1},
        watched=[(GROUP, TOPIC)],
        retention_s=lambda: host.knobs.number("retention"),
        initial_delay_s=lambda: 0.0,
        on_expired=forget,
    ).serve()


# --- the consumer -------------------------------------------------------------------------------------------------------


async def consumer(host: Host) -> None:
    """Takes as many records at a time as the knob says, and the next when it is done with these."""

    def settings() -> ConsumerSettings:
        return ConsumerSettings(
            session_timeout_s=6.0,
            heartbeat_s=2.0,
            max_poll_records=int(host.knobs.number("max-poll-records")),
            max_wait_s=2.0,
            max_bytes=int(
                host.knobs.number("max-poll-records") * host.knobs.number("event-size")
            ),  # what one poll takes
            reset=EARLIEST if host.knobs["reset"] == "earliest" else LATEST,
        )

    async with group_consumer(host, GROUP, TOPIC, settings) as member:
        while True:
            polled = await member.poll()
            with host.working(f"{len(polled)} events"):
                for each in polled:
                    await work_on(host, Event.from_json(each.record.value))
            await member.commit(polled)


async def work_on(host: Host, event: Event) -> None:
    """What takes the time."""
    await host.work(f"event {event.number}", host.knobs.number("work-time"))
    host.event_handled(event.number)


# --- the lesson ---------------------------------------------------------------------------------------------------------

KILL_CONSUMER = Fault(
    "kill-consumer", "kill consumer", "c", "kill consumer",
    "the consumer's program dies: the log goes on growing, and is there when it is back", off="restart consumer",
)  # fmt: skip
UNPLUG_CONSUMER = Fault(
    "unplug-consumer", "unplug consumer", "u", "unplug consumer",
    "the consumer's cable is out: nobody fetches, nobody is troubled", off="plug consumer",
)  # fmt: skip
KILL_BROKER = Fault(
    "kill-broker", "kill broker", "k", "kill broker", "the broker's program dies; log and offsets are on its disk",
    off="restart broker",
)  # fmt: skip

ARRIVALS, RATE, BURST, SIZE = EVENT_KNOBS

LESSON = Lesson(
    name="slow-consumer",
    title="Slow consumer, with a log",
    purpose="Five events a second for a consumer that can do two: the lag grows, nothing is lost; not before retention bites.",
    hosts=(HostSpec("producer", producer), HostSpec("broker", broker), HostSpec("consumer", consumer)),
    protocols={PORT: KafkaDissector},
    network={"latency": 0.05},
    until_s=40.0,
    knobs=(
        Number("work-time", "consumer takes", "s", 0.5, 0.0, 60.0, 0.1, "how long the consumer works on an event"),
        replace(ARRIVALS, default="fixed"), BURST,
        replace(RATE, default=5.0, maximum=50.0),
        Number("retention", "retention", "s", 600.0, 1.0, 604_800.0, 5.0,
               "age at which records are thrown away, read or not (Kafka 4: 7 days)", ratio=2.0),
        Choice("reset", "auto.offset.reset", "earliest", ("earliest", "latest"),
               "where the consumer goes on when the place where it was is gone (Kafka 4: latest)"),
        Number("max-poll-records", "max.poll.records", "", 5, 1, 500, 1,
               "records of one poll, and so of one commit (Kafka 4: 500)", integer=True),
        SIZE,
    ),
    faults=(KILL_CONSUMER, UNPLUG_CONSUMER, KILL_BROKER),
    metrics=("measured:lag", "events", "events-handled", "event-delay", "event-delay-max", "events-lost", "events-waiting",
             "measured:offset resets", "bytes"),
    beats=(
        Beat(Measured, "The place where the consumer was is gone: everything there was too old. It goes on where it can.",
             {"what": "offset resets"}),
        Beat(EventLost, "Event {event} is thrown away, {reason}. Retention is the size of the buffer, in seconds."),
        Beat(StateChanged, "{value} records wait in the log. Nobody had to slow down, and the consumer does not even know.",
             {"key": "lag", "value": r"\d+0$"}),
        Beat(MessageStarted, "The consumer asks for more, because it is done with what it had. It sets the pace.",
             {"label": "Fetch events"}),
        Beat(MessageStarted, "{label}: the records before that are done, in one number.", {"label": "OffsetCommit events"}),
    ),
    try_next=(
        "Watch the lag: it grows by 3 records a second: 5 that come, less not quite 2 that are done, for commits take time.",
        "Let the consumer take 0.1 s: it works the lag off, and from then on each event is a few transits late.",
        "Set retention to 5 s: once the lag is longer than that, more records are lost than read, and these are 5 to 8 s late.",
        "Set retention to 5 s and auto.offset.reset to latest: more is lost at a time, and what is read is fresh.",
        "Kill the consumer for 10 s: the lag grows by 50, and no record is missing when it is back. A push would have lost them.",
        "Let events come in bursts: the log does not mind. A buffer that is the size of a disk evens everything out.",
        "Set max.poll.records to 1: a commit for each record costs a round trip, and the consumer does fewer for it.",
    ),
)  # fmt: skip
