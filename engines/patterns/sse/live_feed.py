"""A live feed: one request, a response that never ends, and everything that happens as an event inside it."""

import math

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engines.lab.facts import EventHandled, EventLost, MessageStarted, Noted
from engines.lab.host import Host
from engines.lab.knobs import Number
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.sse.troubles import BREAK_STREAM
from engines.patterns.troubles import CUT_ANSWERS, DROP_PACKET, KILL_CLIENT, KILL_SERVER, LOSE_RESPONSE, UNPLUG_CLIENT
from engines.patterns.workload import EVENT_KNOBS, NOTIFICATIONS, Event, let_events_happen
from engines.wire.http_client import TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http
from engines.wire.sse import HEARTBEAT_KNOB, RECONNECTION_S, EventSource, event_stream
from engines.wire.sse_dissector import SseDissector
from engines.wire.sse_grammar import format_event

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Keeps what has happened, and tells whoever asks: first what they have missed, then the rest as it happens."""
    history: list[Event] = host.disk.setdefault("history", [])
    subscribers: list[trio.MemorySendChannel[Event]] = []

    async def tell(event: Event) -> None:
        history.append(event)
        for subscriber in list(subscribers):
            try:
                subscriber.send_nowait(event)
            except trio.BrokenResourceError:  # that client has left
                subscribers.remove(subscriber)

    async def feed(request: Request) -> Response:
        last_seen = int(request.headers.get("last-event-id", "0"))
        subscriber, events = trio.open_memory_channel[Event](math.inf)
        for event in history:
            if event.number > last_seen:
                subscriber.send_nowait(event)
        subscribers.append(subscriber)
        return event_stream(events, as_sent, heartbeat_s=lambda: host.knobs.number("heartbeat"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_events_happen, host, tell)
        await serve_http(host, Starlette(routes=[Route("/feed", feed)]))


def as_sent(event: Event) -> bytes:
    """The event with its number as id, so that a client can say later how far it has come."""
    return format_event(event.to_json(), id=event.number)


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Asks once. All it does from then on is listen; that it connects again after a break, its EventSource sees to."""

    def dropped(reason: str) -> None:
        host.note(f"lost the stream: {reason}")
        source.reconnection_s = host.knobs.number("reconnection")

    async with (
        http_client(host, base_url="http://server") as http,
        EventSource(host, http, "/feed", dropped=dropped) as source,
    ):
        async for message in source:
            host.event_handled(Event.from_json(message.data).number)


# --- the lesson ---------------------------------------------------------------------------------------------------------

RECONNECTION_KNOB = Number(
    "reconnection", "reconnects after", "s", RECONNECTION_S, 0.1, 60.0, 0.5,
    "how long the client waits before it connects again (Chrome: 3 s)",
)  # fmt: skip

LESSON = Lesson(
    name="live-feed",
    title="A live feed",
    purpose="One request, and a response that never ends: each event leaves the moment it happens, with no request of its own.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: SseDissector},
    network={"latency": 0.1},
    until_s=30.0,
    workload=NOTIFICATIONS,
    knobs=(*EVENT_KNOBS, HEARTBEAT_KNOB, RECONNECTION_KNOB, TIMEOUT_KNOBS[0]),
    faults=(BREAK_STREAM, UNPLUG_CLIENT, KILL_CLIENT, KILL_SERVER, CUT_ANSWERS, DROP_PACKET, LOSE_RESPONSE),
    metrics=("events", "events-handled", "event-delay", "event-delay-max", "requests", "bytes-per-event-byte", "open",
             "events-waiting", "events-duplicated"),
    beats=(
        Beat(MessageStarted, "The client asks once, and says what it wants: text/event-stream. It will not ask again.",
             {"role": "request"}),
        Beat(MessageStarted, "200 OK, and no word of how long the body will be. This response is not going to end.",
             {"label": "200"}),
        Beat(MessageStarted, "“{label}”: nobody is told of a comment. It crosses the network only so that no proxy in between"
             " takes the silence for death.", {"role": "heartbeat"}),
        Beat(Noted, "{host} {text}. It waits a moment, connects again, and says the id of the last event it has seen.",
             {"text": "lost the stream"}),
        Beat(EventHandled, "Heard of event {event}: it took one trip over the network and not a moment of waiting to be asked."),
        Beat(EventLost, "Event {event} is lost: {reason}."),
    ),
    try_next=(
        "Set latency to 1 s: every event is 1 s late, not 3, because it waits for no question.",
        "Break the stream: events that happen meanwhile come after the reconnection, each exactly once.",
        "Set the rate to 0.01/s: what crosses the silence now is a comment every 15 s.",
        "Unplug the client for ten seconds: neither end notices, and TCP delivers all of it later.",
        "Kill the client and restart it: it has forgotten what it saw, and is told of everything again.",
        "Let events come in bursts: many leave at the same moment, and no request multiplies.",
    ),
)  # fmt: skip
