"""Slow subscriber: a broker pushes, and can be told by whoever it pushes to how far ahead it may be. The rest waits there.

Receive Maximum (MQTT 5, section 4.9) is how many messages may be on their way without an acknowledgement. With QoS 0 there is
none, and a client that reads on while it works takes in all that comes.
"""

from dataclasses import replace
from functools import partial

import trio

from engines.lab.facts import EventLost, MessageStarted, Noted, StateChanged, WorkStarted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.pub_sub.clients import QOS_KNOB, Outbox, Terms, own_up, stay_connected, subscribed
from engines.patterns.pub_sub.troubles import KILL_BROKER, KILL_SUBSCRIBER, UNPLUG_SUBSCRIBER
from engines.patterns.workload import EVENT_KNOBS, Event, let_events_happen
from engines.wire.mqtt import MqttDissector
from engines.wire.mqtt_broker import MqttBroker, Policy
from engines.wire.mqtt_client import MqttClient
from engines.wire.mqtt_packets import PORT

TOPIC = "news"

# --- the publisher and the broker ---------------------------------------------------------------------------------------


async def publisher(host: Host) -> None:
    """Publishes at its own pace: nobody tells it that somebody cannot keep up."""
    outbox = Outbox(host, TOPIC)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_events_happen, host, outbox.tell)
        await stay_connected(host, MqttClient.wait_lost, session=outbox.session)


async def broker(host: Host) -> None:
    """Has a queue for each subscriber, which is not to grow for ever."""
    policy = Policy(max_queued=lambda: host.knobs.number("queue-limit"), when_full=lambda: str(host.knobs["when-full"]))
    await MqttBroker(host, policy, on_drop=own_up(host)).serve()


# --- the subscriber -----------------------------------------------------------------------------------------------------


async def subscriber(host: Host) -> None:
    """Works on each message before it takes the next, and acknowledges it only then."""
    await stay_connected(host, partial(listen, host), terms=partial(terms, host), renew=("receive-maximum",))


def terms(host: Host) -> Terms:
    return Terms(
        clean_start=False,
        session_expiry_s=60,
        receive_maximum=int(host.knobs.number("receive-maximum")),
        keep_alive_s=6,
    )


async def listen(host: Host, client: MqttClient) -> None:
    await subscribed(client, TOPIC)
    async for received in client:
        host.state("waiting here", client.waiting)
        number = Event.from_json(received.payload).number
        await host.work(f"deal with event {number}", host.knobs.number("consumer-time"))
        host.event_handled(number)
        received.ack()


# --- the lesson ---------------------------------------------------------------------------------------------------------

ARRIVALS, RATE, BURST, SIZE = EVENT_KNOBS

LESSON = Lesson(
    name="slow-subscriber",
    title="Slow subscriber",
    purpose="More is published than the subscriber can deal with: Receive Maximum decides where it waits. What if that is full?",
    hosts=(HostSpec("publisher", publisher), HostSpec("broker", broker), HostSpec("subscriber", subscriber)),
    protocols={PORT: MqttDissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Number("consumer-time", "subscriber takes", "s", 0.6, 0.0, 60.0, 0.1, "how long the subscriber works on one message"),
        Number("receive-maximum", "receive maximum", "", 5, 1, 65_535, 1,
               "messages that may be unacknowledged; agreed on when the client connects (unless said: 65,535)", ratio=2.0,
               integer=True),
        Number("queue-limit", "queue limit", "", 20, 1, 100_000, 10,
               "messages that may wait for one client, besides those in flight (Mosquitto 2.0: 1,000)", ratio=2.0, integer=True),
        Choice("when-full", "when full", "drop newest", ("drop newest", "drop oldest", "disconnect"),
               "what the broker does with a message for which there is no room"),
        QOS_KNOB,
        replace(ARRIVALS, default="fixed"), replace(RATE, default=4.0), BURST, replace(SIZE, default=1000),
    ),
    faults=(UNPLUG_SUBSCRIBER, KILL_SUBSCRIBER, KILL_BROKER),
    metrics=("events", "events-handled", "events-waiting", "events-lost", "event-delay", "event-delay-max",
             "events-duplicated", "connections", "bytes"),
    beats=(
        Beat(EventLost, "Message {event} is thrown away ({reason}): the subscriber hears of the old, and not of the new.",
             {"reason": ".*newest"}),
        Beat(EventLost, "Message {event} is thrown away ({reason}): the subscriber is up to date, with holes.",
             {"reason": ".*oldest"}),
        Beat(EventLost, "Message {event} is lost: {reason}."),
        Beat(MessageStarted, "“{label}”: the broker parts with a client for whom too much waits. What waits is kept, for its"
             " session goes on.", {"label": "DISCONNECT quota"}),
        Beat(StateChanged, "{value} messages wait at the broker: the subscriber has as many unacknowledged as it allows.",
             {"key": "waiting", "value": r"[2-9]|1\d"}),
        Beat(MessageStarted, "{label}: done with it, and so one more may come.", {"label": "PUBACK", "sender": "subscriber"}),
        Beat(WorkStarted, "The subscriber works. What comes meanwhile it does not look at."),
        Beat(Noted, "{host}: {text}."),
    ),
    try_next=(
        "Let the subscriber take 0.2 s: it keeps up, nothing waits, and every message is 0.4 s late, the work included.",
        "Set receive maximum to 1: after each ack, a round trip of waiting. It does one message in 0.8 s, and not in 0.6 s.",
        "Set receive maximum to 65535: nothing waits at the broker, all of it at the subscriber, and nothing is dropped. Yet.",
        "Drop the oldest: as much is thrown away, but what is heard is 8 s old, and not 15 s.",
        "Disconnect the slow one: it comes back to the same queue, has some messages twice, and is slower than ever.",
        "Set QoS to 0: no acks, so no Receive Maximum. All that is too much piles up in the subscriber's memory, as with 65535.",
        "Set the queue limit to 1000: nothing is lost, and each message is later than the one before. Is late better than never?",
    ),
)  # fmt: skip
