"""What the MQTT lessons share: how a client stays connected, what it agrees on with the broker, and how a broker owns up."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import trio
from mqtt5 import Will

from engines.lab.facts import WaitKind
from engines.lab.host import Host
from engines.lab.knobs import Choice, Toggle, Value
from engines.patterns.workload import Event
from engines.wire.mqtt_broker import Dropped
from engines.wire.mqtt_client import ClientSession, MqttClient, mqtt_connect
from engines.wire.mqtt_packets import RECEIVE_MAXIMUM, Message, MqttConnectionLost

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0

QOS_KNOB = Choice(
    "qos",
    "QoS",
    "1",
    ("0", "1", "2"),
    "0: at most once, 1 packet a hop; 1: at least once, 2 packets; 2: exactly once, 4",
)
PERSISTENCE_KNOB = Toggle(
    "persistence", "broker keeps", False, "sessions and retained messages, when it starts again (Mosquitto 2.0: memory)",
    on="disk", off="memory",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Terms:
    """What a client says in CONNECT."""

    clean_start: bool = True
    session_expiry_s: int = 0
    keep_alive_s: int = 60
    receive_maximum: int = RECEIVE_MAXIMUM
    will: Will | None = None


async def stay_connected(
    host: Host,
    use: Callable[[MqttClient], Awaitable[None]],
    *,
    terms: Callable[[], Terms] = Terms,
    session: ClientSession | None = None,
    renew: Sequence[str] = (),
) -> None:
    """Connect to the broker and `use` the connection, again and again, until `use` returns; after a loss, after a pause.

    The terms of a connection hold as long as it does: when one of the knobs `renew` is turned, the client takes its leave and
    connects anew.
    """
    pause_s = FIRST_PAUSE_S
    while True:
        agreed = terms()
        try:
            async with mqtt_connect(
                host, "broker", host.name, session=session, clean_start=agreed.clean_start, will=agreed.will,
                session_expiry_s=agreed.session_expiry_s, keep_alive_s=agreed.keep_alive_s,
                receive_maximum=agreed.receive_maximum,
            ) as client:  # fmt: skip
                pause_s = FIRST_PAUSE_S
                if await until_turned(host, renew, lambda: use(client)):
                    return
            continue
        except (OSError, MqttConnectionLost) as error:
            host.note(f"no connection: {error}")
        with host.waiting(f"reconnect in {pause_s:g} s", WaitKind.TIMER):
            await trio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


async def until_turned(
    host: Host, knobs: Sequence[str], act: Callable[[], Awaitable[None]], when: Callable[[], bool] = lambda: True
) -> bool:
    """Let `act` run until one of the knobs is turned so that `when` holds. True when it came to its own end."""

    def turned(value: Value) -> None:
        if when():
            scope.cancel()

    with ExitStack() as watching, trio.CancelScope() as scope:
        for knob in knobs:
            watching.enter_context(host.knobs.watching(knob, turned))
        await act()
        return True
    return False


async def subscribed(client: MqttClient, topic_filter: str, qos: int = 2) -> None:
    """Subscribe, unless the broker remembers that we have."""
    if not client.session_present:
        await client.subscribe(topic_filter, qos)


def own_up(host: Host) -> Dropped:
    """For a broker: it says which events it gives up, and why."""

    def dropped(client_id: str, message: Message, reason: str) -> None:
        host.event_lost(Event.from_json(message.payload).number, f"{client_id}: {reason}" if client_id else reason)

    return dropped


def qos(host: Host) -> int:
    """The QoS that the knob asks for."""
    return int(str(host.knobs["qos"]))


class Outbox:
    """A publisher's events on their way to the broker: in its session, which is in its memory, or on its disk."""

    def __init__(self, host: Host, topic: str, *, on_disk: bool = False) -> None:
        self.session: ClientSession = host.disk.setdefault("session", ClientSession()) if on_disk else ClientSession()
        self._host = host
        self._topic = topic

    async def tell(self, event: Event) -> None:
        """Publish an event, now or as soon as there is a connection; with QoS 0, now or never."""
        if not self.session.publish(self._topic, event.to_json().encode(), qos=qos(self._host)):
            self._host.event_lost(event.number, "no connection, and QoS 0 does not wait for one")
