"""Faults that several MQTT lessons share, for hosts called "publisher", "broker" and "subscriber"."""

from engines.lab.scenario import Fault

KILL_BROKER = Fault(
    "kill-broker", "kill broker", "k", "kill broker",
    "the broker's program dies: what it had only in memory is gone, and its kernel closes its connections",
    off="restart broker",
)  # fmt: skip

KILL_PUBLISHER = Fault(
    "kill-publisher", "kill publisher", "b", "kill publisher",
    "the publisher's program dies without saying goodbye", off="restart publisher",
)  # fmt: skip

KILL_SUBSCRIBER = Fault(
    "kill-subscriber", "kill subscriber", "c", "kill subscriber",
    "the subscriber's program dies: its kernel closes the connection, and the broker learns it at once",
    off="restart subscriber",
)  # fmt: skip

UNPLUG_SUBSCRIBER = Fault(
    "unplug-subscriber", "unplug subscriber", "u", "unplug subscriber",
    "the subscriber's cable is out: the broker hears silence, and waits for one and a half keep alives",
    off="plug subscriber",
)  # fmt: skip
