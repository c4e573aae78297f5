"""Shared subscription: several subscribers are one to the broker; a message goes to one of them (MQTT 5, section 4.8.2)."""

from dataclasses import replace
from functools import partial

import trio

from engines.lab.facts import EventLost, KnobTurned, MessageStarted, Noted, WorkStarted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.pub_sub.clients import QOS_KNOB, Outbox, Terms, own_up, stay_connected, until_turned
from engines.patterns.pub_sub.troubles import KILL_BROKER
from engines.patterns.workload import EVENT_KNOBS, Event, let_events_happen
from engines.wire.mqtt import MqttDissector
from engines.wire.mqtt_broker import MqttBroker
from engines.wire.mqtt_client import MqttClient
from engines.wire.mqtt_packets import PORT

TOPIC = "orders"
MOST = 4

# --- the publisher and the broker ---------------------------------------------------------------------------------------


async def publisher(host: Host) -> None:
    """Publishes orders, and does not care who deals with them."""
    outbox = Outbox(host, TOPIC)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_events_happen, host, outbox.tell)
        await stay_connected(host, MqttClient.wait_lost, session=outbox.session)


async def broker(host: Host) -> None:
    """Gives each order to the next worker in turn; the standard leaves it to the broker whom it chooses."""
    await MqttBroker(host, on_drop=own_up(host)).serve()


# --- the workers --------------------------------------------------------------------------------------------------------


async def worker(host: Host, number: int) -> None:
    """One of several; how many are at work, the knob says. The first may be slower than the others."""

    def takes_part() -> bool:
        return number <= host.knobs.number("workers")

    def stands_aside() -> bool:
        return not takes_part()

    while True:
        if takes_part():
            work = partial(
                stay_connected,
                host,
                partial(deal_with, host, number),
                terms=partial(terms, host),
                renew=("sharing", "receive-maximum"),
            )
            await until_turned(host, ["workers"], work, when=stands_aside)
        else:
            await until_turned(host, ["workers"], trio.sleep_forever, when=takes_part)


def terms(host: Host) -> Terms:
    return Terms(receive_maximum=int(host.knobs.number("receive-maximum")), keep_alive_s=6)


async def deal_with(host: Host, number: int, client: MqttClient) -> None:
    await client.subscribe(f"$share/workers/{TOPIC}" if host.knobs["sharing"] == "shared" else TOPIC, 2)
    async for received in client:
        host.state("waiting here", client.waiting)
        event = Event.from_json(received.payload).number
        times = host.knobs.number("slow-one") if number == 1 else 1.0
        await host.work(f"order {event}", host.knobs.number("work-time") * times)
        host.event_handled(event)
        if host.recorder.next_number(f"order {event} done") > 1:
            host.measure("done twice")
        received.ack()


# --- the lesson ---------------------------------------------------------------------------------------------------------

ARRIVALS, RATE, BURST, SIZE = EVENT_KNOBS

LESSON = Lesson(
    name="shared-subscription",
    title="Shared subscription",
    purpose="Several workers share one subscription: each order goes to one of them, in turn, whether or not it is busy.",
    hosts=(
        HostSpec("publisher", publisher), HostSpec("broker", broker),
        *(HostSpec(f"worker{n}", partial(worker, number=n)) for n in range(1, MOST + 1)),
    ),
    protocols={PORT: MqttDissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Number("workers", "workers", "", 2, 1, MOST, 1, "how many are at work", integer=True),
        Choice("sharing", "subscription", "shared", ("shared", "ordinary"),
               "$share/workers/orders: one of them gets an order; orders: all of them get it"),
        Number("work-time", "work time", "s", 0.6, 0.0, 60.0, 0.1, "how long a worker takes for an order"),
        Number("slow-one", "worker1 is slower", "", 1.0, 1.0, 20.0, 1.0, "so many times as slow as the others"),
        Number("receive-maximum", "receive maximum", "", 65_535, 1, 65_535, 1,
               "orders a worker may hold unacknowledged; agreed on when it connects", ratio=2.0, integer=True),
        QOS_KNOB,
        replace(ARRIVALS, default="fixed"), replace(RATE, default=2.0), BURST, SIZE,
    ),
    faults=(
        Fault("kill-worker", "kill worker1", "c", "kill worker1",
              "a worker dies with what it holds; its session ends, and the broker gives that to another", off="restart worker1"),
        Fault("unplug-worker", "unplug worker1", "u", "unplug worker1",
              "a worker falls silent; for one and a half keep alives the broker goes on giving it orders", off="plug worker1"),
        Fault("lose-ack", "lose worker1's ack", "e", "lose next ack from worker1",
              "an order is done, the broker does not know, and its connection is gone: another does it again"),
        KILL_BROKER,
    ),
    metrics=("events", "events-handled", "events-waiting", "event-delay", "event-delay-p95", "event-delay-max",
             "measured:done twice", "events-lost", "bytes"),
    beats=(
        Beat(EventLost, "Order {event} is lost: {reason}."),
        Beat(MessageStarted, "{label} for {receiver}, because it is its turn. The broker does not ask how busy it is.",
             {"label": "PUBLISH", "sender": "broker"}),
        Beat(MessageStarted, "{label}: {sender} shares this subscription with all who name the same group.",
             {"label": r"SUBSCRIBE \$share"}),
        Beat(MessageStarted, "{label}: this subscription is its own, and so is every copy.", {"label": "SUBSCRIBE"}),
        Beat(KnobTurned, "{value} at work from now on. The publisher is not told.", {"knob": "workers"}),
        Beat(WorkStarted, "{host} begins with {label}."),
        Beat(Noted, "{host}: {text}."),
    ),
    try_next=(
        "Set workers to 1: 2 orders a second, and it can do 1.7. Each waits longer than the one before.",
        "Make the subscription ordinary: both workers do every order, and neither can keep up.",
        "Make worker1 four times as slow: it gets every second order all the same. Half of them are late, the others not.",
        "Make worker1 four times as slow with receive maximum 2: what it cannot take waits at the broker, but still for it.",
        "Kill worker1: what it held goes to worker2, which now has to do everything.",
        "Lose worker1's ack: the order is done twice. Sharing the work is no protection from doing it again.",
        "Unplug worker1: for 9 s, every second order goes into the dark, and is given to another only then.",
    ),
)  # fmt: skip
