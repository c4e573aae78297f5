"""Notifications over a broker: the server tells a topic, the client has subscribed to it. Neither needs to know the other."""

from dataclasses import replace
from functools import partial

import trio

from engines.lab.facts import EventBorn, EventHandled, EventLost, MessageStarted, Noted
from engines.lab.host import Host
from engines.lab.knobs import Choice
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.pub_sub.clients import QOS_KNOB, Outbox, Terms, own_up, stay_connected, subscribed
from engines.patterns.pub_sub.troubles import KILL_BROKER
from engines.patterns.troubles import DROP_PACKET, KILL_CLIENT, KILL_SERVER, UNPLUG_CLIENT
from engines.patterns.workload import EVENT_KNOBS, NOTIFICATIONS, Event, let_events_happen
from engines.wire.mqtt import MqttDissector
from engines.wire.mqtt_broker import MqttBroker
from engines.wire.mqtt_client import MqttClient
from engines.wire.mqtt_packets import PORT

TOPIC = "notifications"

# --- the server, which is a client of the broker ------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Publishes what happens. To whom it goes, and whether they are there, is the broker's business."""
    outbox = Outbox(host, TOPIC)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_events_happen, host, outbox.tell)
        await stay_connected(host, MqttClient.wait_lost, session=outbox.session)


async def broker(host: Host) -> None:
    """Stands in between."""
    await MqttBroker(host, on_drop=own_up(host)).serve()


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Subscribes once. From then on it is told."""
    await stay_connected(host, partial(listen, host), terms=partial(terms, host), renew=("session",))


def terms(host: Host) -> Terms:
    return Terms(clean_start=False, session_expiry_s=3600) if host.knobs["session"] == "persistent" else Terms()


async def listen(host: Host, connected: MqttClient) -> None:
    await subscribed(connected, TOPIC)
    async for received in connected:
        host.event_handled(Event.from_json(received.payload).number)
        received.ack()


# --- the lesson ---------------------------------------------------------------------------------------------------------

CUT_COPIES = Fault(
    "cut-copies", "cut broker>client", "x", "cut broker>client",
    "what the broker sends is lost, what the client sends arrives", off="restore broker>client",
)  # fmt: skip

LESSON = Lesson(
    name="notifications",
    title="Notifications",
    purpose="The server tells a topic, and the broker tells the client: a hop more, and neither needs to be there for the other.",
    hosts=(HostSpec("client", client), HostSpec("broker", broker), HostSpec("server", server)),
    protocols={PORT: MqttDissector},
    network={"latency": 0.15},
    until_s=30.0,
    workload=NOTIFICATIONS,
    knobs=(
        *EVENT_KNOBS,
        QOS_KNOB,
        Choice("session", "session", "persistent", ("persistent", "clean"),
               "persistent: the broker keeps for the client what comes while it is away; clean: it does not"),
    ),
    faults=(UNPLUG_CLIENT, KILL_CLIENT, KILL_SERVER, replace(KILL_BROKER, key="b"), CUT_COPIES, DROP_PACKET),
    metrics=("events", "events-handled", "event-delay", "event-delay-max", "requests", "bytes-per-event-byte", "bytes",
             "events-waiting", "events-lost", "events-duplicated"),
    beats=(
        Beat(EventLost, "Event {event} is lost: {reason}."),
        Beat(EventBorn, "Event {event} happens, and the server publishes it at once. Whoever may hear of it."),
        Beat(MessageStarted, "{label}: the broker passes on what it was told. One transit more than a push without a broker.",
             {"label": "PUBLISH", "sender": "broker"}),
        Beat(MessageStarted, "{sender} subscribes, once: the one question of this pattern.", {"label": "SUBSCRIBE"}),
        Beat(EventHandled, "The client has heard of event {event}: it takes two transits, and not a moment more."),
        Beat(Noted, "{host}: {text}."),
    ),
    try_next=(
        "Set latency to 1 s: every event is 2 s late. A push without a broker takes one transit, and needs both to be there.",
        "Kill the client and restart it: its session was kept, and all that it has missed comes at once.",
        "Make the session clean, and kill the client: what happens until it is back, the broker knows nobody to give to.",
        "Kill the server and restart it: the client does not notice. Nobody is to blame but the silence.",
        "Kill the broker and restart it: its sessions were in memory; what the server had not been told of, it publishes again.",
        "Set QoS to 0: half the packets, and what is on its way when a connection breaks is lost.",
        "Unplug the client for 10 s: TCP keeps what the broker has sent, and brings it late.",
    ),
)  # fmt: skip
