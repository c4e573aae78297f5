"""A slow client: events come faster than it can take them. TCP holds some back, the server the rest; and then?"""

import math
from collections.abc import Callable

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engines.lab.facts import EventHandled, EventLost, MessageStarted, Noted, StateChanged
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.sse.troubles import BREAK_STREAM
from engines.patterns.troubles import CUT_ANSWERS, KILL_CLIENT, KILL_SERVER, UNPLUG_CLIENT
from engines.patterns.workload import EVENT_KNOBS, Event, let_events_happen
from engines.wire.http_client import http_client
from engines.wire.http_server import serve_http
from engines.wire.sse import EventSource, event_stream
from engines.wire.sse_dissector import SseDissector
from engines.wire.sse_grammar import format_event

# --- the server ---------------------------------------------------------------------------------------------------------


class Outbox:
    """What one client has not been sent yet. `send_all` of its response waits while TCP's buffers are full; this fills up."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.shown = 0
        self.send, self.events = trio.open_memory_channel[Event](math.inf)

    def __len__(self) -> int:
        return self.send.statistics().current_buffer_used

    def has_room(self, limit: float) -> bool:
        """Whether fewer than `limit` events wait; and one that the response is waiting for needs no room at all."""
        return len(self) < limit or self.send.statistics().tasks_waiting_receive > 0

    def put(self, event: Event) -> None:
        """Raises BrokenResourceError when the client has left."""
        self.send.send_nowait(event)

    def drop_oldest(self) -> None:
        self.host.event_lost(self.events.receive_nowait().number, "the buffer was full, and it was the oldest")

    def give_up(self) -> None:
        while len(self):
            self.host.event_lost(self.events.receive_nowait().number, "its client was too slow and was cut off")
        self.send.close()


async def server(host: Host) -> None:
    """Has a buffer for each client, and a policy for the day on which it is full."""
    outboxes: list[Outbox] = []

    async def tell(event: Event) -> None:
        if not outboxes:
            host.event_lost(event.number, "nobody is connected")
        for outbox in list(outboxes):
            try:
                if outbox.has_room(host.knobs.number("buffer")) or POLICIES[str(host.knobs["when-full"])](
                    outbox, event
                ):
                    outbox.put(event)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                outboxes.remove(outbox)
                host.event_lost(event.number, "its client has left")
            if len(outbox) != outbox.shown:
                outbox.shown = len(outbox)
                host.state("buffer", outbox.shown)

    async def feed(request: Request) -> Response:
        outbox = Outbox(host)
        outboxes.append(outbox)
        return event_stream(outbox.events, lambda event: format_event(event.to_json(), id=event.number))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_events_happen, host, tell)
        await serve_http(host, Starlette(routes=[Route("/feed", feed)]))


def drop_oldest(outbox: Outbox, event: Event) -> bool:
    if not len(outbox):
        return drop_newest(outbox, event)  # a buffer of no size: there is no older one
    outbox.drop_oldest()
    return True


def drop_newest(outbox: Outbox, event: Event) -> bool:
    outbox.host.event_lost(event.number, "the buffer was full, and it was the newest")
    return False


def disconnect(outbox: Outbox, event: Event) -> bool:
    outbox.give_up()
    return True  # it finds the channel closed, and is lost as well


POLICIES: dict[str, Callable[[Outbox, Event], bool]] = {
    "drop oldest": drop_oldest,
    "drop newest": drop_newest,
    "disconnect": disconnect,
    "grow": lambda outbox, event: True,
}
"""What to do with an event for which there is no room; true if it is to be put in after all."""


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Takes its time over each event. While it does, it reads nothing, and TCP's window closes."""
    async with http_client(host, base_url="http://server") as http, EventSource(host, http, "/feed") as source:
        async for message in source:
            event = Event.from_json(message.data)
            await host.work(f"event {event.number}", host.knobs.number("handling"))
            host.event_handled(event.number)


# --- the lesson ---------------------------------------------------------------------------------------------------------

LESSON = Lesson(
    name="slow-client",
    title="A slow client",
    purpose="Ten events a second, and a client that manages five: see where the rest waits, how old it gets, and who drops it.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: SseDissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Number("handling", "client needs", "s", 0.2, 0.0, 10.0, 0.05, "how long the client works on one event"),
        Number("buffer", "server's buffer", "", 10, 0, 10_000, 5, "how many events the server keeps for a slow client",
               integer=True),
        Choice("when-full", "when it is full", "drop oldest", tuple(POLICIES), "what the server does with one event too many"),
        Choice("arrivals", "events come", "fixed", ("fixed", "poisson", "burst"), EVENT_KNOBS[0].help),
        Number("event-rate", "events", "1/s", 10.0, 0.01, 1000.0, 0.1, "how many happen a second, on average", ratio=2.0),
        EVENT_KNOBS[2],
        Number("event-size", "event size", "B", 8000, 40, 100_000, 100, "bytes of one event", ratio=2.0, integer=True),
    ),
    faults=(BREAK_STREAM, UNPLUG_CLIENT, KILL_CLIENT, KILL_SERVER, CUT_ANSWERS),
    metrics=("events", "events-handled", "events-lost", "events-waiting", "event-delay", "event-delay-max", "throughput-now",
             "requests"),
    beats=(
        Beat(EventLost, "Event {event} is lost: {reason}. Somebody has to lose something when more comes in than goes out."),
        Beat(StateChanged, "The server's buffer holds {value} events. Before it fills, TCP's own buffers do: they hold more than"
             " one would think.", {"key": "buffer", "value": r"[2-9]|1\d"}),
        Beat(EventHandled, "The client has dealt with event {event}. The next one has been waiting for it."),
        Beat(Noted, "{host}: {text}."),
        Beat(MessageStarted, "“{label}” leaves: nobody asked for it, and nobody can say “slower”. Only TCP's window can.",
             {"role": "push"}),
    ),
    try_next=(
        "Drop the newest instead of the oldest: the client hears old news, and the latest never.",
        "Let the buffer grow: nothing is lost, and everything gets later and later.",
        "Disconnect slow clients: it comes back after 3 s, and has lost what was buffered for it.",
        "Let the client need 0.05 s: it keeps up, and no buffer fills.",
        "Set the event size to 100 B: the network alone can hide a thousand of them, and the server's buffer stays empty.",
        "Set the buffer to 0: the network still buffers. A small buffer keeps news young, and loses as many.",
    ),
)  # fmt: skip
