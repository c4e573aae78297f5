"""What there is to communicate, the same for every pattern: events that happen, and jobs that take long.

A lesson that is about notifications takes its events from here, one about a long job its durations, so that patterns can be
held against each other on the very same events: they come from a randomness of their own, which nothing else draws from.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from engines.lab.host import Host
from engines.lab.knobs import Choice, Number

NOTIFICATIONS = "notifications"
LONG_JOB = "long-job"
"""Names of workloads: lessons of different patterns that carry the same name can be compared."""

EVENT_KNOBS = (
    Choice(
        "arrivals", "events come", "poisson", ("fixed", "poisson", "burst"), "evenly, at random, or in bursts at random"
    ),
    Number("event-rate", "events", "1/s", 0.5, 0.01, 1000.0, 0.1, "how many happen a second, on average", ratio=2.0),
    Number("burst-size", "burst", "", 5, 1, 100, 1, "how many happen together, when they come in bursts", integer=True),
    Number("event-size", "event size", "B", 100, 40, 100_000, 100, "bytes of one event", ratio=2.0, integer=True),
)

JOB_TIME_KNOB = Number("job-time", "job time", "s", 5.0, 0.1, 600.0, 1.0, "how long the server works on the job")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `number` is unique in the run."""

    number: int
    text: str

    def to_json(self) -> str:
        """The event on the wire."""
        return json.dumps({"event": self.number, "text": self.text}, separators=(",", ":"))

    @classmethod
    def from_json(cls, data: str | bytes) -> "Event":
        """The event that `to_json` wrote. Raises ValueError or KeyError on anything else."""
        fields = json.loads(data)
        return cls(fields["event"], fields["text"])


async def let_events_happen(host: Host, tell: Callable[[Event], Awaitable[None]]) -> None:
    """Let events happen on `host` for ever, as the knobs say, and `tell` each at the moment of its birth.

    `tell` should not wait: while it does, nothing else happens.
    """
    chance = host.randomness("arrivals")
    while True:
        rate = host.knobs.number("event-rate")
        pattern = host.knobs["arrivals"]
        count = int(host.knobs.number("burst-size")) if pattern == "burst" else 1
        # One draw an arrival, whatever it is used for: turning a knob leaves later draws as they were.
        draw = chance.expovariate(1.0)
        await trio.sleep(count / rate if pattern == "fixed" else draw * count / rate)
        for _ in range(count):
            await tell(new_event(host))


def new_event(host: Host) -> Event:
    """Something happens on `host` now; as many bytes on the wire as the knob asks for."""
    number = host.event_born(int(host.knobs.number("event-size")))
    padding = int(host.knobs.number("event-size")) - len(Event(number, "").to_json())
    return Event(number, ("something happened " * (padding // 19 + 1))[: max(0, padding)])
