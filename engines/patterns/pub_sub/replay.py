"""Replay: a topic is a log, and reading takes nothing out of it. Whoever comes late can begin at the beginning, and begin again.

A queue forgets a message once it was dealt with; a log forgets a record once it is old. So any number of readers each have a
place of their own in it, an offset, and may put it wherever they like. This reader has no group: it is nobody's
business but its own where it is, and it keeps that on its own disk.
"""

from dataclasses import replace

import trio

from engines.lab.facts import EventHandled, Measured, MessageStarted, Noted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.pub_sub.outbox import publish_what_happens
from engines.patterns.pub_sub.turned import wait_turned
from engines.patterns.workload import EVENT_KNOBS, Event
from engines.wire.kafka import KafkaDissector
from engines.wire.kafka_broker import KafkaBroker
from engines.wire.kafka_client import KafkaConnectionLost, LogReader, OutOfRange, Pauses
from engines.wire.kafka_protocol import EARLIEST, LATEST, PORT

TOPIC = "events"
FETCH_WAIT_S = 2.0

# --- the producer and the broker ----------------------------------------------------------------------------------------


async def producer(host: Host) -> None:
    """Says what happens, to whoever may want to hear it, now or later."""
    await publish_what_happens(host, TOPIC)


async def broker(host: Host) -> None:
    """Keeps one partition. That a record was read changes nothing here."""
    await KafkaBroker(host, {TOPIC: lambda: 1}, retention_s=lambda: host.knobs.number("retention")).serve()


# --- the readers --------------------------------------------------------------------------------------------------------


async def early(host: Host) -> None:
    """Is there from the beginning."""
    await follow(host, host.disk.get("offset", EARLIEST))


async def late(host: Host) -> None:
    """Comes late, the first time; and goes elsewhere in the log whenever somebody turns its knobs."""
    if "offset" not in host.disk:
        await trio.sleep(host.knobs.number("joins-after"))
        host.note("joins")
    start = host.disk.get("offset", place_wanted(host))
    while True:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow, host, start)
            await wait_turned(host, "start", "offset")
            nursery.cancel_scope.cancel()
        start = place_wanted(host)


def place_wanted(host: Host) -> int:
    """What the knobs say: an end of the log, or an offset."""
    ends = {"earliest": EARLIEST, "latest": LATEST}
    return ends.get(str(host.knobs["start"]), int(host.knobs.number("offset")))


async def follow(host: Host, start: int) -> None:
    """Read from `start` on, for ever: an offset, EARLIEST or LATEST. Where one is, one must remember oneself."""
    reader, pauses = LogReader(host, TOPIC), Pauses(host)
    offset = start
    try:
        while True:
            try:
                if offset in (EARLIEST, LATEST):
                    offset = await reader.offset_at(offset)
                    host.note(f"begins at offset {offset}")
                found = await reader.fetch(offset, max_wait_s=FETCH_WAIT_S)
            except OutOfRange:
                host.note(f"offset {offset} is not there")
                offset = EARLIEST
                continue
            except KafkaConnectionLost as error:
                await pauses.pause(error)
                continue
            pauses.reset()
            for record in found.records:
                await read(host, Event.from_json(record.value))
                host.disk["offset"] = offset = record.offset + 1
                host.state("offset", f"{offset} of {found.end}")
    finally:
        reader.close()


async def read(host: Host, event: Event) -> None:
    """Deal with one event; whoever has rewound deals with some once more."""
    await host.work(f"event {event.number}", host.knobs.number("read-time"))
    host.event_handled(event.number)
    host.measure("records read")


# --- the lesson ---------------------------------------------------------------------------------------------------------

KILL_LATE = Fault(
    "kill-late", "kill late reader", "c", "kill late",
    "the late reader's program dies; the offset it had come to is on its disk", off="restart late",
)  # fmt: skip
UNPLUG_EARLY = Fault(
    "unplug-early", "unplug early reader", "u", "unplug early",
    "the early reader's cable is out: it misses nothing, because nobody waits for it", off="plug early",
)  # fmt: skip
KILL_BROKER = Fault(
    "kill-broker", "kill broker", "k", "kill broker", "the broker's program dies; the log is on its disk",
    off="restart broker",
)  # fmt: skip

ARRIVALS, RATE, _, SIZE = EVENT_KNOBS

LESSON = Lesson(
    name="replay",
    title="Replay, from a log",
    purpose="A topic is a log: a reader that comes late starts at the earliest record, at the latest, or where it likes.",
    hosts=(
        HostSpec("producer", producer), HostSpec("broker", broker),
        HostSpec("early", early, "early reader"), HostSpec("late", late, "late reader"),
    ),
    protocols={PORT: KafkaDissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Choice("start", "late starts at", "earliest", ("earliest", "latest", "offset"),
               "where the late reader starts, and goes at once when this is turned"),
        Number("offset", "offset", "", 5, 0, 1000, 1, "the place for a start at an offset; turn it to go there", integer=True),
        Number("joins-after", "joins after", "s", 8.0, 0.0, 600.0, 1.0, "when the late reader starts for the first time"),
        Number("read-time", "time to read", "s", 0.05, 0.0, 10.0, 0.05, "how long a reader works on a record"),
        Number("retention", "retention", "s", float("inf"), 1.0, float("inf"), 5.0,
               "age at which records are thrown away, read or not (Kafka 4: 7 days)", ratio=2.0),
        replace(RATE, default=1.0, maximum=50.0), replace(ARRIVALS, choices=("fixed", "poisson"), help="evenly, or at random"),
        SIZE,
    ),
    faults=(KILL_LATE, UNPLUG_EARLY, KILL_BROKER),
    metrics=("events", "events-handled", "events-duplicated", "measured:records read", "event-delay", "event-delay-max",
             "events-waiting", "bytes", "bytes-per-event-byte"),
    beats=(
        Beat(Noted, "The late reader {text} now. A message of a queue would have been gone by then.",
             {"host": "late", "text": "joins"}),
        Beat(Noted, "{host} {text}: that is all it takes to see history, and the broker does not even notice that it is.",
             {"text": "begins at offset 0$"}),
        Beat(Noted, "{host} {text}. What was before it stays in the log, and it could still go there.",
             {"text": "begins at offset"}),
        Beat(Noted, "{host} asks for what is no more, or not yet: {text}. It starts again with the oldest that is.",
             {"text": "offset .* is not there"}),
        Beat(EventHandled, "{host} reads record {event}. It stays where it was, for whoever comes next.", {"host": "late"}),
        Beat(Measured, "{host} reads a record, and moves its own offset by one.", {"what": "records read"}),
        Beat(MessageStarted, "{sender} asks for records from its offset on. It pulls; nobody pushes.", {"label": "Fetch events"}),
    ),
    try_next=(
        "Set start to latest before 8 s: the late reader hears only what happens from then on. Everything else it leaves aside.",
        "Turn start to offset: the late reader goes back to record 5 and reads everything from there a second time.",
        "Turn the offset knob again and again: each turn is a rewind, and the early reader does not notice.",
        "Set the offset to 1000: there is no such record yet. The reader is told so, and starts with the earliest.",
        "Set retention to 5 s: a late reader that starts at the earliest gets the last five seconds, and no more.",
        "Unplug the early reader for 8 s: it comes back to where it was, and gets all that it missed in one response.",
        "Kill the late reader and restart it: it goes on at the offset on its own disk. The broker kept nothing for it.",
    ),
)  # fmt: skip
