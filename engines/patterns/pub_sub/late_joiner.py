"""A late joiner has missed what was said before; a retained message is the last thing said, kept for whoever comes."""

from functools import partial

import trio
from mqtt5 import Will

from engines.lab.facts import Measured, MessageStarted, Noted, WaitStarted
from engines.lab.host import Host
from engines.lab.knobs import Number, Toggle
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.pub_sub.clients import PERSISTENCE_KNOB, Terms, stay_connected
from engines.patterns.pub_sub.troubles import KILL_BROKER
from engines.wire.mqtt import MqttDissector
from engines.wire.mqtt_broker import MqttBroker, Policy
from engines.wire.mqtt_client import MqttClient
from engines.wire.mqtt_packets import PORT

TOPIC = "home/temperature"

# --- the thermometer and the broker -------------------------------------------------------------------------------------


async def thermometer(host: Host) -> None:
    """Publishes every now and then how warm it is. If it cannot say goodbye, its will says so."""

    def terms() -> Terms:
        will = Will(TOPIC, payload=b"unknown: the thermometer is gone", retain=True)
        return Terms(will=will if host.knobs.on("will") else None, keep_alive_s=6)

    await stay_connected(host, partial(measure, host), terms=terms, renew=("will",))


async def measure(host: Host, client: MqttClient) -> None:
    while True:
        reading = f"{20 + host.rng.gauss(0, 1):.1f} °C at {trio.current_time():.0f} s"
        client.publish(TOPIC, reading.encode(), qos=1, retain=host.knobs.on("retain"))
        await trio.sleep(host.knobs.number("interval"))


async def broker(host: Host) -> None:
    """Keeps the last retained message of a topic. It cannot know whether that is still true."""
    await MqttBroker(host, Policy(persistence=lambda: host.knobs.on("persistence"))).serve()


# --- the subscribers ----------------------------------------------------------------------------------------------------


async def early(host: Host) -> None:
    """Is there from the beginning."""
    await stay_connected(host, partial(watch, host, trio.current_time()))


async def late(host: Host) -> None:
    """Comes late, looks for a while, and leaves; again and again."""
    while True:
        with host.waiting("elsewhere"):
            await trio.sleep(host.knobs.number("away"))
        comes_s = trio.current_time()
        leaves_s = comes_s + host.knobs.number("stays")

        async def look(client: MqttClient, comes_s: float = comes_s, leaves_s: float = leaves_s) -> None:
            with trio.move_on_at(leaves_s):
                await watch(host, comes_s, client)

        with trio.move_on_at(leaves_s + 1):  # if there was no connection to take leave on
            await stay_connected(host, look)


async def watch(host: Host, since_s: float, client: MqttClient) -> None:
    """Show what we know of the temperature; until the first message comes, that is nothing."""
    host.state("display", "–")
    await client.subscribe(TOPIC, 1)
    blind = True
    async for received in client:
        received.ack()
        host.state("display", received.payload.decode())
        if blind:
            blind = False
            host.measure("times joined")
            host.measure("blind seconds", trio.current_time() - since_s)
        if received.retained:
            host.measure("retained messages")


# --- the lesson ---------------------------------------------------------------------------------------------------------

LESSON = Lesson(
    name="late-joiner",
    title="Late joiner",
    purpose="Who subscribes hears what is published from then on. A retained message also tells the last that was said before.",
    hosts=(
        HostSpec("thermometer", thermometer), HostSpec("broker", broker),
        HostSpec("early", early), HostSpec("late", late),
    ),
    protocols={PORT: MqttDissector},
    network={"latency": 0.1},
    until_s=40.0,
    knobs=(
        Toggle("retain", "messages", True, "whether the broker keeps the last one for those who come later", on="retained",
               off="not retained"),
        Number("interval", "said every", "s", 5.0, 0.1, 600.0, 1.0, "how often the thermometer says how warm it is"),
        Number("away", "elsewhere", "s", 3.7, 0.1, 600.0, 1.0, "how long the late joiner is elsewhere"),
        Number("stays", "stays", "s", 4.0, 0.1, 600.0, 1.0, "how long it stays"),
        Toggle("will", "will", False, "a retained message that the broker publishes if the thermometer dies"),
        PERSISTENCE_KNOB,
    ),
    faults=(
        Fault("kill-thermometer", "kill thermometer", "b", "kill thermometer",
              "the thermometer's program dies without saying goodbye", off="restart thermometer"),
        Fault("unplug-thermometer", "unplug thermometer", "u", "unplug thermometer",
              "the thermometer falls silent; the broker gives it up after one and a half keep alives", off="plug thermometer"),
        Fault("kill-late", "kill late", "c", "kill late", "the late joiner's program dies", off="restart late"),
        KILL_BROKER,
    ),
    metrics=("measured:blind seconds", "measured:times joined", "measured:retained messages", "requests", "bytes"),
    beats=(
        Beat(MessageStarted, "{label}: not news, but the last that was said before {receiver} came. The flag says so.",
             {"label": r"PUBLISH .*RETAIN", "sender": "broker"}),
        Beat(MessageStarted, "{label}: RETAIN asks the broker to keep this one, in place of the one before.",
             {"label": r"PUBLISH .*RETAIN", "sender": "thermometer"}),
        Beat(MessageStarted, "{sender} subscribes. From here on it hears what is said; what was said before, only if it is"
             " retained.", {"label": "SUBSCRIBE"}),
        Beat(Measured, "{host} knew nothing for {amount} s after it began to connect.", {"what": "blind seconds"}),
        Beat(Noted, "{host}: {text}."),
        Beat(WaitStarted, "The late joiner is elsewhere, and hears nothing.", {"label": "elsewhere"}),
    ),
    try_next=(
        "Do not retain messages: the late joiner looks at an empty display, up to 5 s, or leaves before it has seen anything.",
        "Do not retain, and let the thermometer speak every 0.5 s: soon up to date, for seven times the bytes.",
        "Kill the thermometer: the broker goes on telling everybody its last word, as if it were true.",
        "Turn the will on, then kill the thermometer: the broker says to all, and to all who come later, that it is gone.",
        "Kill the broker and restart it: what was retained was in memory, and is said again within 5 s.",
        "Set the stay to 10 s and latency to 1 s: blind for six transits, two each for TCP, CONNECT and SUBSCRIBE.",
    ),
)  # fmt: skip
