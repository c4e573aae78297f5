"""A subscriber goes away and comes back: what the broker keeps for it meanwhile is its session, if it asked for one."""

from dataclasses import replace
from functools import partial

import trio

from engines.lab.facts import EventHandled, EventLost, HostCrashed, MessageStarted, Noted, WaitStarted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.pub_sub.clients import (
    PERSISTENCE_KNOB,
    QOS_KNOB,
    Outbox,
    Terms,
    own_up,
    stay_connected,
    subscribed,
)
from engines.patterns.pub_sub.troubles import KILL_BROKER, KILL_SUBSCRIBER, UNPLUG_SUBSCRIBER
from engines.patterns.workload import EVENT_KNOBS, Event, let_events_happen
from engines.wire.mqtt import MqttDissector
from engines.wire.mqtt_broker import MqttBroker, Policy
from engines.wire.mqtt_client import MqttClient
from engines.wire.mqtt_packets import PORT

TOPIC = "news"

# --- the publisher and the broker ---------------------------------------------------------------------------------------


async def publisher(host: Host) -> None:
    """Publishes, whether or not anybody is there to hear it."""
    outbox = Outbox(host, TOPIC)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_events_happen, host, outbox.tell)
        await stay_connected(host, MqttClient.wait_lost, session=outbox.session)


async def broker(host: Host) -> None:
    """Keeps what an absent subscriber is to get, as long as its session lives."""
    policy = Policy(persistence=lambda: host.knobs.on("persistence"))
    await MqttBroker(host, policy, on_drop=own_up(host)).serve()


# --- the subscriber -----------------------------------------------------------------------------------------------------


async def subscriber(host: Host) -> None:
    """Listens for a while, goes away for a while, and so on."""
    while True:
        leaves_s = trio.current_time() + host.knobs.number("stays")
        with trio.move_on_at(leaves_s + 1):  # if there was no connection to take leave on
            await stay_connected(host, partial(listen, host, leaves_s), terms=partial(terms, host))
        host.note("goes away")
        with host.waiting("away"):
            await trio.sleep(host.knobs.number("away"))


def terms(host: Host) -> Terms:
    """A persistent session is one that we do not start clean, and that outlives the connection."""
    keep_alive_s = int(host.knobs.number("keep-alive"))
    if host.knobs["session"] == "clean":
        return Terms(clean_start=True, session_expiry_s=0, keep_alive_s=keep_alive_s)
    return Terms(
        clean_start=False, session_expiry_s=int(host.knobs.number("session-expiry")), keep_alive_s=keep_alive_s
    )


async def listen(host: Host, leaves_s: float, client: MqttClient) -> None:
    host.measure("sessions resumed" if client.session_present else "sessions begun")
    with trio.move_on_at(leaves_s):
        await subscribed(client, TOPIC)
        async for received in client:
            host.event_handled(Event.from_json(received.payload).number)
            received.ack()


# --- the lesson ---------------------------------------------------------------------------------------------------------

ARRIVALS, RATE, BURST, SIZE = EVENT_KNOBS

LESSON = Lesson(
    name="away-and-back",
    title="Away and back",
    purpose="The subscriber comes and goes; publisher and subscriber need not be there at the same time. What is kept, how long?",
    hosts=(HostSpec("publisher", publisher), HostSpec("broker", broker), HostSpec("subscriber", subscriber)),
    protocols={PORT: MqttDissector},
    network={"latency": 0.1},
    until_s=40.0,
    knobs=(
        Choice("session", "session", "persistent", ("persistent", "clean"),
               "clean: it ends with the connection; persistent: Clean Start 0 and an expiry interval"),
        Number("session-expiry", "session expiry", "s", 20, 0, 3600, 5,
               "how long a persistent session outlives the connection; 0 is not at all", integer=True),
        QOS_KNOB,
        Number("stays", "stays", "s", 5.0, 1.0, 600.0, 1.0, "how long the subscriber listens"),
        Number("away", "away", "s", 6.0, 0.5, 600.0, 1.0, "and how long it is gone then"),
        replace(ARRIVALS, default="fixed"), replace(RATE, default=1.0), BURST, SIZE,
        Number("keep-alive", "keep alive", "s", 6, 0, 600, 5, "the client pings; 1.5 times as much silence, and it is gone",
               integer=True),
        PERSISTENCE_KNOB,
    ),
    faults=(UNPLUG_SUBSCRIBER, KILL_SUBSCRIBER, KILL_BROKER),
    metrics=("events", "events-handled", "events-lost", "events-waiting", "event-delay", "event-delay-max",
             "measured:sessions resumed", "measured:sessions begun", "events-duplicated"),
    beats=(
        Beat(EventLost, "Message {event} is lost: {reason}. The publisher is none the wiser."),
        Beat(WaitStarted, "The subscriber is away. The publisher does not notice, and publishes on; with a session, the broker"
             " collects.", {"label": "away"}),
        Beat(MessageStarted, "CONNACK, session present: the broker has kept the subscription, and what was published meanwhile"
             " comes at once.", {"label": "CONNACK session present"}),
        Beat(MessageStarted, "A new session: the broker knows nothing of this client, who has to subscribe again.",
             {"label": "CONNACK", "receiver": "subscriber"}),
        Beat(MessageStarted, "“{label}”: this client has been silent for one and a half keep alives, and is held to be gone.",
             {"label": "DISCONNECT keep alive"}),
        Beat(HostCrashed, "{host} is dead. What it had asked the broker to remember is remembered all the same, for a while.",
             {"host": "subscriber"}),
        Beat(Noted, "{host}: {text}."),
        Beat(EventHandled, "The subscriber hears of message {event}."),
    ),
    try_next=(
        "Make the session clean: all that happens while the subscriber is away is lost, and nobody is told.",
        "Set session expiry to 3 s: the broker gives up, 3 s after the subscriber left, what it had collected.",
        "Set QoS to 0: the session is kept, with the subscription, and the messages are not.",
        "Let the subscriber be away for 15 s: it hears everything, up to 15 s late, and in order.",
        "Kill the broker and restart it: its sessions were in memory. With the disk, it remembers.",
        "Unplug the subscriber: TCP keeps what was sent; what is published after 9 s of silence, the session keeps.",
    ),
)  # fmt: skip
