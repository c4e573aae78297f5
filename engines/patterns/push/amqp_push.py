"""RabbitMQ-style push: a broker between producer and consumers pushes messages ahead of their acknowledgements. How far ahead?"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import trio

from engines.lab.facts import HostCrashed, Measured, MessageStarted, Noted, WaitKind
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number, Toggle
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.troubles import DROP_PACKET
from engines.patterns.workload import EVENT_KNOBS, Event, let_events_happen
from engines.wire.amqp import AmqpDissector
from engines.wire.amqp_broker import AmqpBroker
from engines.wire.amqp_client import AmqpChannel, Delivery, amqp_connect
from engines.wire.amqp_frames import PORT, AmqpConnectionLost
from engines.wire.amqp_queues import Message

QUEUE = "events"

# --- the producer -------------------------------------------------------------------------------------------------------


async def producer(host: Host) -> None:
    """Tells the broker of everything that happens. Who will hear of it, and when, is not its business."""
    outbox: dict[int, Event] = host.disk.setdefault("outbox", {})
    something_happened = trio.lowlevel.ParkingLot()

    async def tell(event: Event) -> None:
        outbox[event.number] = event
        something_happened.unpark_all()

    async def publish(channel: AmqpChannel) -> None:
        youngest = 0  # of the events that went out on this connection
        unconfirmed: dict[int, int] = {}
        confirming = False
        channel.on_confirm = lambda publication: forget(unconfirmed.pop(publication, 0))
        channel.on_failure = something_happened.unpark_all
        while True:
            for event in [event for number, event in outbox.items() if number > youngest]:
                if host.knobs.on("confirms") and not confirming:
                    await channel.confirm()
                    confirming = True
                youngest = event.number
                if confirming:
                    unconfirmed[channel.published + 1] = event.number
                await channel.publish(
                    QUEUE, event.to_json().encode(), message_id=f"event {event.number}", persistent=True
                )
                if not confirming:
                    forget(event.number)  # it left: with luck it will arrive
            await something_happened.park()
            channel.check()

    def forget(event: int) -> None:
        outbox.pop(event, None)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_events_happen, host, tell)
        await stay_connected(host, publish)


# --- the broker ---------------------------------------------------------------------------------------------------------


async def broker(host: Host) -> None:
    """Keeps every event until a consumer has acknowledged it; on its disk, so that a restart loses none."""

    def too_many(message: Message) -> None:
        host.event_lost(Event.from_json(message.content.body).number, "the queue is full")

    await AmqpBroker(
        host,
        heartbeat_s=lambda: int(host.knobs.number("heartbeat")),
        max_length=lambda: host.knobs.number("queue-limit"),
        on_drop=too_many,
    ).serve()


# --- the consumers ------------------------------------------------------------------------------------------------------


async def quick_consumer(host: Host) -> None:
    """Deals with an event in the usual time."""
    await stay_connected(host, lambda channel: consume(host, channel, "work-time"))


async def slow_consumer(host: Host) -> None:
    """The same program on a weak machine."""
    await stay_connected(host, lambda channel: consume(host, channel, "slow-work-time"))


async def consume(host: Host, channel: AmqpChannel, pace: str) -> None:
    """Have messages pushed, or fetch them, as the knob says now."""
    while True:
        if host.knobs["delivery"] == "push":
            await have_them_pushed(host, channel, pace)
        else:
            await poll(host, channel, pace)


async def have_them_pushed(host: Host, channel: AmqpChannel, pace: str) -> None:
    """Ask once; from then on messages come by themselves, as far ahead of our acks as prefetch allows."""
    terms = agreed(host)
    await channel.qos(int(host.knobs.number("prefetch")))
    deliveries = await channel.consume(QUEUE, no_ack=not host.knobs.on("acks"))
    unacked = 0
    async for delivery in deliveries:
        host.state("waiting here", deliveries.waiting)
        await handle(host, delivery, pace)
        unacked += 1
        if not deliveries.no_ack and (unacked >= host.knobs.number("ack-every") or not deliveries.waiting):
            await delivery.ack(multiple=unacked > 1)
            unacked = 0
        if agreed(host) != terms:
            await (
                deliveries.cancel()
            )  # prefetch holds for consumers that begin after it; what has come is still dealt with


async def poll(host: Host, channel: AmqpChannel, pace: str) -> None:
    """Fetch messages until there are none, pause, ask again."""
    while host.knobs["delivery"] == "poll":
        by_hand = host.knobs.on("acks")
        delivery = await channel.get(QUEUE, no_ack=not by_hand)
        host.measure("gets")
        if delivery is not None:
            await handle(host, delivery, pace)
            if by_hand:
                await delivery.ack()
        else:
            host.measure("empty gets")
            with host.waiting("until the next poll", WaitKind.TIMER):
                await trio.sleep(host.knobs.number("poll-interval"))


async def handle(host: Host, delivery: Delivery, pace: str) -> None:
    """Deal with one event. That it is redelivered says that somebody *may* have dealt with it, no more."""
    event = Event.from_json(delivery.content.body)
    if delivery.redelivered:
        host.measure("redelivered")
    await host.work(f"event {event.number}", host.knobs.number(pace))
    host.event_handled(event.number)
    if host.recorder.next_number(f"event {event.number} handled") > 1:
        host.measure("handled twice")  # the laboratory can tell; a consumer could not


def agreed(host: Host) -> list[object]:
    """What a consumer agrees on with the broker when it begins."""
    return [host.knobs[name] for name in ("delivery", "prefetch", "acks")]


# --- what producer and consumers share ----------------------------------------------------------------------------------

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0


async def stay_connected(host: Host, use: Callable[[AmqpChannel], Awaitable[None]]) -> None:
    """`use` a channel of a connection to the broker; when the connection is gone, do it again, after a pause that grows."""
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            async with amqp_connect(host, "broker") as connection:
                channel = await connection.channel()
                await channel.declare(QUEUE, durable=True)
                pause_s = FIRST_PAUSE_S
                await use(channel)
        except (OSError, AmqpConnectionLost) as error:
            host.note(f"no connection: {error}")
        with host.waiting(f"reconnect in {pause_s:g} s", WaitKind.TIMER):
            await trio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


# --- the lesson ---------------------------------------------------------------------------------------------------------

KILL_CONSUMER = Fault(
    "kill-slow", "kill the slow consumer", "c", "kill slow",
    "the slow consumer's program dies with all that was pushed to it", off="restart slow",
)  # fmt: skip

UNPLUG_CONSUMER = Fault(
    "unplug-slow", "unplug the slow consumer", "u", "unplug slow",
    "the slow consumer's cable is out: the broker hears silence, and can only count heartbeats", off="plug slow",
)  # fmt: skip

CUT_ACKS = Fault(
    "cut-acks", "cut slow>broker", "x", "cut slow>broker",
    "the slow consumer gets messages, and its acks do not arrive", off="restore slow>broker",
)  # fmt: skip

LOSE_ACK = Fault(
    "lose-ack", "lose next ack", "e", "lose next ack",
    "the connection is reset before the next ack arrives: the work is done, and the broker does not know",
)  # fmt: skip

KILL_BROKER = Fault(
    "kill-broker", "kill broker", "k", "kill broker",
    "the broker's program dies: who held what is forgotten, the queue itself is on its disk", off="restart broker",
)  # fmt: skip

ARRIVALS, EVENT_RATE, BURST_SIZE, EVENT_SIZE = EVENT_KNOBS

LESSON = Lesson(
    name="amqp-push",
    title="RabbitMQ-style push",
    purpose="A broker pushes to two consumers, one of them slow: prefetch decides how far ahead of their acknowledgements.",
    hosts=(
        HostSpec("producer", producer), HostSpec("broker", broker),
        HostSpec("quick", quick_consumer, "quick consumer"), HostSpec("slow", slow_consumer, "slow consumer"),
    ),
    protocols={PORT: AmqpDissector},
    network={"latency": 0.15},
    until_s=30.0,
    knobs=(
        Number("prefetch", "prefetch", "", 0, 0, 1000, 1, "unacked messages a consumer may hold; 0 is no limit, as in RabbitMQ 4",
               integer=True),
        Choice("delivery", "delivery", "push", ("push", "poll"), "basic.consume: the broker pushes; basic.get: consumers ask"),
        Toggle("acks", "acks", True, "automatic: a message is settled by being sent; manual: once it is dealt with",
               on="manual", off="automatic"),
        Number("ack-every", "ack every", "", 1, 1, 100, 1, "one ack for this many messages, or for fewer when none waits",
               integer=True),
        Number("work-time", "work time", "s", 0.3, 0.0, 60.0, 0.1, "how long the quick consumer works on an event"),
        Number("slow-work-time", "slow work", "s", 2.5, 0.0, 60.0, 0.5, "how long the slow one works on an event"),
        replace(EVENT_RATE, default=1.5),
        ARRIVALS, BURST_SIZE, EVENT_SIZE,
        Number("poll-interval", "poll interval", "s", 1.0, 0.05, 60.0, 0.5, "a consumer that polls: pause after an empty get"),
        Number("heartbeat", "heartbeat", "s", 10, 0, 600, 5,
               "silence after which a peer is dead, 0 never; for new connections (RabbitMQ 4: 60 s)", integer=True),
        Number("queue-limit", "queue limit", "", 1000, 1, 100_000, 10,
               "ready messages; above it the oldest is dropped (RabbitMQ 4: no limit)", ratio=2.0, integer=True),
        Toggle("confirms", "confirms", False, "whether the producer keeps an event until the broker has confirmed it"),
    ),
    faults=(KILL_CONSUMER, LOSE_ACK, CUT_ACKS, UNPLUG_CONSUMER, KILL_BROKER, DROP_PACKET),
    metrics=("event-delay", "event-delay-p95", "events", "events-waiting", "measured:requeued", "measured:redelivered",
             "measured:handled twice", "measured:gets", "measured:empty gets", "events-lost", "events-unordered", "bytes"),
    beats=(
        Beat(MessageStarted, "{label}: the handshake, before the first event can travel. It costs several round trips, once.",
             {"label": "protocol header"}),
        Beat(MessageStarted, "The consumer says how many unacked messages it is willing to hold: {label}.",
             {"label": "basic.qos prefetch"}),
        Beat(Measured, "An event is dealt with a second time. “At least once” is what acknowledgements can promise, and no more.",
             {"what": "handled twice"}),
        Beat(Measured, "Redelivered: somebody else had this message before, and perhaps dealt with it. The flag cannot say.",
             {"what": "redelivered"}),
        Beat(HostCrashed, "{host} is dead. Its kernel closes the connections, and so the others learn of it at once.",
             {"host": "quick|slow|broker"}),
        Beat(Noted, "Nothing came for as long as two heartbeats take: the broker holds the consumer for dead. {text}",
             {"text": ".*heartbeats missed"}),
        Beat(Noted, "The broker {text}: they are ready again, each at its old place in the queue.", {"text": "requeues"}),
        Beat(Measured, "basic.get, and nothing there: a round trip to learn that. The broker could have said so by its silence.",
             {"what": "empty gets"}),
        Beat(MessageStarted, "{label}: pushed, because the consumer has credit. It had not asked for this one.",
             {"label": "basic.deliver"}),
        Beat(MessageStarted, "{label}: only now may the broker forget it.", {"label": "basic.ack", "sender": "quick|slow"}),
    ),
    try_next=(
        "Set prefetch to 1: the quick consumer gets what the slow one has no time for, and idles a round trip for each event.",
        "Set prefetch to 2: the next message is there before the last is acked, and still nobody hoards.",
        "Kill the slow consumer while it holds many: the quick one gets them all, marked as redelivered.",
        "Make acks automatic, then kill the slow consumer: nobody will ever hear of what had been pushed to it.",
        "Ack every 10 messages and kill the slow consumer: what was done and not yet acked is done twice.",
        "Unplug the slow consumer: its messages are stuck until two heartbeats are missed. Try RabbitMQ's 60 s.",
        "Poll, every 5 s, at 0.2 events a second: most gets are empty, and events are late all the same.",
        "Set prefetch to 1 and the queue limit to 2 at 4 events a second: the oldest are dropped, not the newest.",
        "Kill the broker and restart it: the queue was on disk. With confirms off, what was on its way to it is gone.",
    ),
)  # fmt: skip
