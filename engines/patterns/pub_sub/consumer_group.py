"""Consumer group: the partitions of a topic are shared among the members of a group, and shared anew when one comes or goes.

This is Kafka's own protocol with the consumers' classic one (`group.protocol=classic`, the default of Kafka 4). A partition
has one reader of a group at a time, so its records are dealt with in order; how many can work at once is the number of
partitions. What was dealt with is a number, the committed offset, and a crash between the work and the commit, or the other
way round, decides whether a record is dealt with twice or never.
"""

from dataclasses import replace

import trio

from engines.lab.facts import Measured, MessageStarted, Noted, WaitStarted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import Fault, HostSpec, Program
from engines.patterns.contract import Beat, Lesson
from engines.patterns.pub_sub.outbox import publish_what_happens
from engines.patterns.pub_sub.turned import wait_turned
from engines.patterns.workload import EVENT_KNOBS, Event
from engines.wire.kafka import KafkaDissector
from engines.wire.kafka_broker import KafkaBroker
from engines.wire.kafka_consumer import EARLIEST, ConsumerSettings, GroupConsumer, Polled, group_consumer
from engines.wire.kafka_protocol import PORT
from engines.wire.kafka_records import Record

TOPIC, GROUP = "events", "workers"
FETCH_WAIT_S = 2.0
METADATA_AGE_S = 5.0

# --- the producer and the broker ----------------------------------------------------------------------------------------


async def producer(host: Host) -> None:
    """Every event is about one of a few users; what is about the same user stays in order, in one partition."""
    chance = host.randomness("users")

    def written(event: Event) -> Record:
        draw, users = chance.random(), int(host.knobs.number("keys"))
        user = f"user {int(draw * users) + 1}".encode() if users else None
        return Record(event.to_json().encode(), user)

    await publish_what_happens(host, TOPIC, written, metadata_max_age_s=METADATA_AGE_S)


async def broker(host: Host) -> None:
    """Keeps the records, and the one number for each partition that says how far the group has come."""
    await KafkaBroker(
        host,
        {TOPIC: lambda: int(host.knobs.number("partitions"))},
        watched=[(GROUP, TOPIC)],
        initial_delay_s=lambda: 1.0,
    ).serve()


# --- the consumers ------------------------------------------------------------------------------------------------------


def consumer(number: int) -> Program:
    """The consumer with that number: a member of the group while there are to be so many."""

    async def program(host: Host) -> None:
        while True:
            if number <= host.knobs.number("members"):
                await take_part(host, number)
            await wait_turned(host, "members")

    return program


async def take_part(host: Host, number: int) -> None:
    """Be a member until there are to be fewer; then finish what was begun, and say goodbye."""
    async with group_consumer(host, GROUP, TOPIC, lambda: settings(host)) as member:
        while number <= host.knobs.number("members"):
            with trio.CancelScope() as polling:

                def leave_if_too_many(members: object, polling: trio.CancelScope = polling) -> None:
                    if number > host.knobs.number("members"):
                        polling.cancel()

                with host.knobs.watching("members", leave_if_too_many):
                    polled = await member.poll()
            if not polling.cancelled_caught:
                await deal_with(host, member, polled)
        await member.leave()


async def deal_with(host: Host, member: GroupConsumer, polled: list[Polled]) -> None:
    """Work on what came. Before or after, and not both, one can say that it is done."""
    commit_first = host.knobs["commit"] == "before work"
    if commit_first and not await member.commit(polled):
        return  # it may be somebody else's by now
    for each in polled:
        event = Event.from_json(each.record.value)
        await host.work(f"event {event.number}", host.knobs.number("work-time"))
        host.event_handled(event.number)
        if host.recorder.next_number(f"event {event.number} handled") > 1:
            host.measure("handled twice")  # the laboratory can tell; a consumer could not
    if not commit_first:
        await member.commit(polled)


def settings(host: Host) -> ConsumerSettings:
    """A consumer's configuration, as the knobs stand now."""
    return ConsumerSettings(
        session_timeout_s=host.knobs.number("session-timeout"),
        heartbeat_s=host.knobs.number("heartbeat"),
        max_poll_interval_s=host.knobs.number("max-poll-interval"),
        max_poll_records=int(host.knobs.number("max-poll-records")),
        max_wait_s=FETCH_WAIT_S,
        metadata_max_age_s=METADATA_AGE_S,
        reset=EARLIEST,
    )


# --- the lesson ---------------------------------------------------------------------------------------------------------

KILL_ANN = Fault(
    "kill-ann", "kill ann", "a", "kill ann",
    "ann's program dies without a goodbye: the group misses her when her session times out", off="restart ann",
)  # fmt: skip
KILL_BEN = Fault(
    "kill-ben", "kill ben", "b", "kill ben", "ben's program dies without a goodbye", off="restart ben",
)  # fmt: skip
UNPLUG_ANN = Fault(
    "unplug-ann", "unplug ann", "u", "unplug ann",
    "ann's cable is out: she works on, and the group gives her partitions to others", off="plug ann",
)  # fmt: skip
KILL_BROKER = Fault(
    "kill-broker", "kill broker", "k", "kill broker",
    "the broker's program dies: log and offsets are on its disk, who is in the group is forgotten", off="restart broker",
)  # fmt: skip

ARRIVALS, RATE, _, SIZE = EVENT_KNOBS

LESSON = Lesson(
    name="consumer-group",
    title="Consumer group",
    purpose="Four partitions and two consumers of one group: turn the number of members, kill one, and see who gets what.",
    hosts=(
        HostSpec("producer", producer), HostSpec("broker", broker),
        *(HostSpec(name, consumer(number)) for number, name in enumerate(("ann", "ben", "cat", "dan"), 1)),
    ),
    protocols={PORT: KafkaDissector},
    network={"latency": 0.05},
    until_s=40.0,
    knobs=(
        Number("members", "members", "", 2, 0, 4, 1, "how many of ann, ben, cat and dan are in the group", integer=True),
        Number("partitions", "partitions", "", 4, 1, 12, 1, "of the topic; they can become more, never fewer", integer=True),
        Choice("commit", "commit", "after work", ("after work", "before work"),
               "when a consumer says that records are done: after (at least once) or before (at most once)"),
        Number("work-time", "work time", "s", 0.5, 0.0, 60.0, 0.1, "how long a consumer works on an event"),
        replace(RATE, default=2.5, maximum=50.0),
        Number("keys", "users", "", 8, 0, 100, 1, "each event is about one of so many; 0: events have no key", integer=True),
        Number("max-poll-records", "max.poll.records", "", 3, 1, 500, 1,
               "records of one poll, and so of one commit (Kafka 4: 500)", integer=True),
        Number("session-timeout", "session timeout", "s", 6.0, 0.5, 600.0, 1.0,
               "silence after which a member counts as dead (Kafka 4: 45 s)"),
        Number("heartbeat", "heartbeat", "s", 1.5, 0.1, 60.0, 0.5, "pause between two heartbeats (Kafka 4: 3 s)"),
        Number("max-poll-interval", "max poll interval", "s", 60.0, 1.0, 600.0, 5.0,
               "a member that does not poll for so long leaves, and a rebalance waits so long (Kafka 4: 5 min)"),
        replace(ARRIVALS, choices=("fixed", "poisson"), help="evenly, or at random"), SIZE,
    ),
    faults=(KILL_ANN, KILL_BEN, UNPLUG_ANN, KILL_BROKER),
    metrics=("measured:lag", "events", "events-handled", "measured:handled twice", "measured:rebalances", "event-delay",
             "event-delay-max", "measured:commits refused", "events-waiting", "bytes"),
    beats=(
        Beat(Measured, "A record is dealt with a second time: it was done, the commit had not come, and the group went on from"
             " the last one that had.", {"what": "handled twice"}),
        Beat(Noted, "{text}: its partitions were nobody's until now. A closed connection told the group nothing, silence did.",
             {"text": "no heartbeat from"}),
        Beat(Noted, "{text}. A partition has one member of the group, a member any number of partitions.",
             {"text": "generation"}),
        Beat(Noted, "{text}: somebody else has these partitions by now. Whatever was done for this commit will be done again.",
             {"text": "commit refused"}),
        Beat(Noted, "{text}: everybody has to join again, and nobody works on until all have.", {"text": ".* (joins|leaves) "}),
        Beat(WaitStarted, "{host} is a member and has nothing to do: there are more members than partitions.", {"label": "idle"}),
        Beat(MessageStarted, "“I am still here.” – “Everybody must join again”: that is how members learn of a rebalance.",
             {"label": "Heartbeat: REBALANCE"}),
        Beat(MessageStarted, "{label}: the leader, itself a consumer, has divided the partitions; the broker only passes it on.",
             {"label": "SyncGroup: "}),
        Beat(MessageStarted, "{sender} commits how far it has come. One number for each partition, whatever happened before it.",
             {"label": "OffsetCommit "}),
    ),
    try_next=(
        "Set members to 1: four partitions for ann alone, who can do not even 2 events a second of 2.5. The lag grows and grows.",
        "Set members to 4: a partition each, and more hands than there is work. Now and then one of them has nothing to do.",
        "Set partitions to 2 at the beginning and members to 4: two of them are idle. Partitions are the limit.",
        "Kill ann: for 6 s nobody has her partitions, and their records wait. Then ben has all four, and more than he can do.",
        "Let 4 events a second happen and kill ann at work: what she had done of a poll, and not committed, ben does again.",
        "Commit before the work, then kill ann at work: what she had in hand is never done, and still it does not count as lag.",
        "Kill ann and restart her at once: the old ann is still a member, and everybody waits until her session is over.",
        "Unplug ann at work, for 10 s: she goes on, but her commit comes too late and is refused. It is ben's work by now.",
        "Let all events be about 1 user: one partition has them all, and however many members there are, one works.",
        "Set the work time to 4 s and members to 3: a rebalance waits until each has finished what it is at.",
        "Kill the broker and restart it: nobody knows them any more, all join again, and the log goes on where it was.",
    ),
)  # fmt: skip
