"""Fan-out: the publisher says a thing once, and the broker says it to everybody. Its cable carries a copy for each of them."""

from dataclasses import replace
from functools import partial

import trio

from engines.lab.facts import EventBorn, EventLost, KnobTurned, MessageStarted, Noted
from engines.lab.host import Host
from engines.lab.knobs import Number
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.pub_sub.clients import QOS_KNOB, Outbox, own_up, stay_connected, until_turned
from engines.patterns.pub_sub.troubles import KILL_BROKER, KILL_PUBLISHER
from engines.patterns.troubles import DROP_PACKET
from engines.patterns.workload import EVENT_KNOBS, Event, let_events_happen
from engines.wire.mqtt import MqttDissector
from engines.wire.mqtt_broker import MqttBroker
from engines.wire.mqtt_client import MqttClient
from engines.wire.mqtt_packets import PORT

TOPIC = "news"
MOST = 20

# --- the publisher ------------------------------------------------------------------------------------------------------


async def publisher(host: Host) -> None:
    """Publishes every event once. How many listen, it neither knows nor has to pay for."""
    outbox = Outbox(host, TOPIC)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_events_happen, host, outbox.tell)
        await stay_connected(host, MqttClient.wait_lost, session=outbox.session)


# --- the broker ---------------------------------------------------------------------------------------------------------


async def broker(host: Host) -> None:
    """Sends a copy to everybody who has subscribed."""
    await MqttBroker(host, on_drop=own_up(host)).serve()


# --- the subscribers ----------------------------------------------------------------------------------------------------


async def subscriber(host: Host, number: int) -> None:
    """One of many; how many of them take part, the knob says."""

    async def listen(client: MqttClient) -> None:
        await client.subscribe(TOPIC, 2)
        async for received in client:
            host.event_handled(Event.from_json(received.payload).number)
            received.ack()

    def takes_part() -> bool:
        return number <= host.knobs.number("subscribers")

    def stands_aside() -> bool:
        return not takes_part()

    while True:
        if takes_part():
            await until_turned(host, ["subscribers"], partial(stay_connected, host, listen), when=stands_aside)
        else:
            await until_turned(host, ["subscribers"], trio.sleep_forever, when=takes_part)


# --- the lesson ---------------------------------------------------------------------------------------------------------

ARRIVALS, RATE, BURST, SIZE = EVENT_KNOBS
SUBSCRIBERS_KNOB = Number(
    "subscribers", "subscribers", "", 5, 1, MOST, 1, "how many have subscribed; the broker sends each a copy", integer=True
)  # fmt: skip
UPLINK_KNOB = Number(
    "broker-uplink", "broker's uplink", "B/s", 20_000, 1000, float("inf"), 10_000,
    "the broker's one cable: all that it sends goes through it, whoever it is for", ratio=2.0,
)  # fmt: skip

LESSON = Lesson(
    name="fan-out",
    title="Fan-out",
    purpose="A thing is said once and heard by many: the broker's cable carries a copy for each. See where that ends.",
    hosts=(
        HostSpec("publisher", publisher), HostSpec("broker", broker, uplink="broker-uplink"),
        *(HostSpec(f"sub{n}", partial(subscriber, number=n)) for n in range(1, MOST + 1)),
    ),
    protocols={PORT: MqttDissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        SUBSCRIBERS_KNOB, UPLINK_KNOB, replace(QOS_KNOB, default="0"),
        replace(ARRIVALS, default="fixed"), replace(RATE, default=2.0), BURST, replace(SIZE, default=1000),
    ),
    faults=(
        Fault("kill-sub", "kill sub1", "c", "kill sub1", "one of many dies: nobody else notices", off="restart sub1"),
        Fault("unplug-sub", "unplug sub1", "u", "unplug sub1", "one of many hears nothing, and the broker does not know",
              off="plug sub1"),
        KILL_PUBLISHER, KILL_BROKER, DROP_PACKET,
    ),
    metrics=("event-delay", "event-delay-max", "events", "events-handled", "throughput-now", "bytes-per-event-byte",
             "in-flight", "events-lost", "bytes"),
    beats=(
        Beat(EventBorn, "The publisher says it once. It does not know who listens, and one copy is all it pays for."),
        Beat(EventLost, "Message {event} is lost: {reason}."),
        Beat(Noted, "{host}: {text}."),
        Beat(MessageStarted, "A copy for {receiver}, of {label}. It queues behind the copies for all the others.",
             {"label": "PUBLISH", "sender": "broker"}),
        Beat(MessageStarted, "{sender} subscribes: from now on the broker has one copy more to send of everything.",
             {"label": "SUBSCRIBE"}),
        Beat(KnobTurned, "From now on {value} subscribers. The publisher is not told, and need not care.",
             {"knob": "subscribers"}),
    ),
    try_next=(
        "Set subscribers to 9: 2 messages a second of 1,050 bytes to each are 95 % of 20 kB/s, and all is heard within 0.7 s.",
        "Set subscribers to 10: 105 %, and each message is 25 ms later than the one before, without end.",
        "Set subscribers to 20: more than twice what the cable carries; after half a minute messages are 16 s old.",
        "Set the uplink to 1 MB/s with 20 subscribers: the twentieth copy leaves 20 ms after the first.",
        "Let the messages come in bursts of 10: at the same load, copies queue behind those of nine other messages.",
        "Set QoS to 2: a second packet to each subscriber for each message, 46 bytes more on the cable.",
        "Kill sub1: the others hear no less, and a little earlier.",
        "Kill the publisher: the subscribers are not told. Silence is all they hear; they know only the broker.",
    ),
)  # fmt: skip
