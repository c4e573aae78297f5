"""Delivery: QoS 0, 1 and 2, and what each makes of a packet that is lost. No number of acknowledgements makes both ends sure.

TCP repairs the loss of a packet, so that one can only be lost together with its connection. When the two connect again, the
sender has what was not acknowledged, and cannot tell whether it had arrived: sent again, it may be a duplicate; not sent
again, it may be missing. QoS 2 does not get around that either: it lets the receiver recognise the duplicate, as long as it
remembers; and whether to go on remembering is what its last two packets are about.
"""

from dataclasses import replace
from functools import partial

import trio

from engines.lab.facts import EventHandled, Measured, MessageStarted, Noted
from engines.lab.host import Host
from engines.lab.knobs import Choice
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.pub_sub.clients import Terms, own_up, stay_connected, subscribed
from engines.patterns.pub_sub.troubles import KILL_BROKER
from engines.patterns.workload import EVENT_KNOBS, Event, let_events_happen
from engines.wire.mqtt import MqttDissector
from engines.wire.mqtt_broker import MqttBroker, Policy
from engines.wire.mqtt_client import ClientSession, MqttClient
from engines.wire.mqtt_packets import PORT, MqttConnectionLost

TOPIC = "orders"

# --- the publisher and the broker ---------------------------------------------------------------------------------------


async def publisher(host: Host) -> None:
    """Publishes events with the QoS that the knob names, or with each of the three in turn."""
    session: ClientSession = host.disk.setdefault("session", ClientSession())

    async def tell(event: Event) -> None:
        wanted = str(host.knobs["qos"])
        qos = (event.number - 1) % 3 if wanted == "in turn" else int(wanted)
        if not session.publish(TOPIC, event.to_json().encode(), qos=qos):
            host.event_lost(event.number, "no connection, and QoS 0 does not wait for one")

    async def publish(client: MqttClient) -> None:
        try:
            await client.wait_lost()
        except MqttConnectionLost:
            if session.unsettled:
                host.measure("in doubt", session.unsettled)
            raise

    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_events_happen, host, tell)
        await stay_connected(host, publish, session=session, terms=partial(terms, host), renew=("sessions",))


async def broker(host: Host) -> None:
    """Takes messages over from one side, and gives them to the other: two hops, with a QoS each."""
    await MqttBroker(host, Policy(persistence=lambda: True), on_drop=own_up(host)).serve()


# --- the subscriber -----------------------------------------------------------------------------------------------------


async def subscriber(host: Host) -> None:
    """Deals with every message that comes, and acknowledges it when it has."""
    session: ClientSession = host.disk.setdefault("session", ClientSession())

    async def listen(client: MqttClient) -> None:
        await subscribed(client, TOPIC)
        async for received in client:
            host.event_handled(Event.from_json(received.payload).number)
            if received.repeated:
                host.measure("marked DUP")
            received.ack()

    await stay_connected(host, listen, session=session, terms=partial(terms, host), renew=("sessions",))


def terms(host: Host) -> Terms:
    """Sessions that are kept outlive any trouble here; without them, either end forgets what it was in the middle of."""
    return Terms(clean_start=False, session_expiry_s=3600) if host.knobs["sessions"] == "kept" else Terms()


# --- the lesson ---------------------------------------------------------------------------------------------------------


def lose(letter: str, kind: str, sender: str, then: str) -> Fault:
    """The next packet of that kind is lost, and the connection with it."""
    name = f"lose-{kind.lower()}" + "-to-publisher" * (sender == "broker" and kind in ("PUBACK", "PUBREC"))
    return Fault(name, f"lose {kind}, {sender}'s", letter, f"lose next {kind} from {sender}", then)


ARRIVALS, RATE, BURST, SIZE = EVENT_KNOBS

LESSON = Lesson(
    name="delivery",
    title="Delivery: QoS 0, 1, 2",
    purpose="At most once, at least once, exactly once: one packet, two, four. Lose each in turn, and see what each is for.",
    hosts=(HostSpec("publisher", publisher), HostSpec("broker", broker), HostSpec("subscriber", subscriber)),
    protocols={PORT: MqttDissector},
    network={"latency": 0.15},
    until_s=30.0,
    knobs=(
        Choice("qos", "QoS", "in turn", ("in turn", "0", "1", "2"), "at most once, at least once, exactly once, or each in turn"),
        Choice("sessions", "sessions", "kept", ("kept", "forgotten"),
               "kept: Clean Start 0, and things are sent again; forgotten: Clean Start 1, and neither end knows anything"),
        replace(ARRIVALS, default="fixed"), replace(RATE, default=0.5), BURST, SIZE,
    ),
    faults=(
        lose("l", "PUBLISH", "broker", "the message does not arrive: with QoS 0 it is lost, with 1 and 2 it is sent again"),
        lose("a", "PUBACK", "subscriber", "QoS 1: the message has arrived, and the broker does not know"),
        lose("e", "PUBREC", "subscriber", "QoS 2: the message has arrived, and the broker does not know"),
        lose("o", "PUBREL", "broker", "QoS 2: the subscriber does not learn that no duplicate will come"),
        lose("x", "PUBCOMP", "subscriber", "QoS 2: the broker does not learn that the subscriber has forgotten the id"),
        lose("b", "PUBACK", "broker", "QoS 1 on the first hop: the publisher does not know, and the broker gets it twice"),
        lose("g", "PUBREC", "broker", "QoS 2 on the first hop: the publisher does not know; the broker recognises the duplicate"),
        KILL_BROKER,
    ),
    metrics=("events", "events-handled", "events-duplicated", "events-waiting", "measured:in doubt", "measured:marked DUP",
             "event-delay", "event-delay-max", "bytes-per-event-byte", "resets"),
    beats=(
        Beat(Measured, "The publisher has sent {amount} that it heard nothing more of. Has it arrived? It cannot know, and to ask"
             " would take a message, which may be lost too.", {"what": "in doubt"}),
        Beat(MessageStarted, "{label}: sent before, and not acknowledged. Perhaps it had arrived; only {receiver} can tell.",
             {"label": "PUBLISH .*DUP"}),
        Beat(EventHandled, "{host} hears of event {event}."),
        Beat(MessageStarted, "{label}: one packet and no answer. If it gets lost, nobody will ever know.",
             {"label": "PUBLISH (?!.*QoS)"}),
        Beat(MessageStarted, "{label}: until {receiver} says PUBACK, {sender} keeps it.", {"label": "PUBLISH .*QoS 1"}),
        Beat(MessageStarted, "{label}: the first of four packets. Not before the second will {sender} forget it.",
             {"label": "PUBLISH .*QoS 2"}),
        Beat(MessageStarted, "{label}: “I have it; should it come again, I will know it by its id.”", {"label": "PUBREC"}),
        Beat(MessageStarted, "{label}: “It will not come again; you may forget the id.”", {"label": "PUBREL"}),
        Beat(MessageStarted, "{label}: “I have forgotten it.” Whoever sends the last packet never learns whether it arrived.",
             {"label": "PUBCOMP"}),
        Beat(MessageStarted, "{label}: “I have it.” If this gets lost, the message will come again.", {"label": "PUBACK"}),
        Beat(Noted, "{host}: {text}."),
    ),
    try_next=(
        "Lose a PUBLISH at QoS 0: it is gone, and no number on this screen but “events waiting” knows of it.",
        "Lose a PUBACK: the broker sends the message again, marked DUP, and the subscriber deals with it twice.",
        "Lose a PUBREC: the message comes again, marked DUP; the subscriber knows its id, and deals with it once.",
        "Lose a PUBREL, or a PUBCOMP: PUBREL comes again, and the message does not.",
        "Lose the broker's PUBACK: the duplicate is born on the first hop, and its copy on the second bears no mark.",
        "Forget the sessions, set QoS 2 and lose the broker's PUBREC: published again as new, it is dealt with twice.",
        "Set the loss to 30 % while it runs: messages are late, and not one packet is marked DUP. TCP sees to that.",
        "Would an ack of the ack help? Whoever sends the last packet stays in doubt: see “Two generals”, the next scenario.",
    ),
)  # fmt: skip
