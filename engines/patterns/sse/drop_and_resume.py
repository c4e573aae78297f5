"""The stream drops, the client comes back: with ids it goes on where it was, without them it misses what happened meanwhile."""

import math
from collections import deque
from dataclasses import dataclass

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engines.lab.facts import EventLost, MessageEnded, MessageStarted, Noted, StateChanged, WaitStarted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.sse.troubles import BREAK_STREAM
from engines.patterns.troubles import CUT_ANSWERS, KILL_CLIENT, KILL_SERVER, LOSE_RESPONSE, UNPLUG_CLIENT
from engines.patterns.workload import EVENT_KNOBS, Event, let_events_happen
from engines.wire.http_client import http_client
from engines.wire.http_server import serve_http
from engines.wire.sse import RECONNECTION_S, EventSource, event_stream
from engines.wire.sse_dissector import SseDissector
from engines.wire.sse_grammar import format_event

# --- the server ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Kept:
    """An event in the server's history, and whether it was ever sent to anybody."""

    event: Event
    sent: bool


async def server(host: Host) -> None:
    """Sends events, with ids or without, and ends every response after a while, as servers and balancers do."""
    history: deque[Kept] = deque()
    subscribers: list[trio.MemorySendChannel[Event]] = []

    async def tell(event: Event) -> None:
        for subscriber in list(subscribers):
            try:
                subscriber.send_nowait(event)
            except trio.BrokenResourceError:
                subscribers.remove(subscriber)
        history.append(Kept(event, sent=bool(subscribers)))
        forget()

    def forget() -> None:
        """Keep as many events as the knob allows; without ids, none would be asked for."""
        keeps = int(host.knobs.number("history")) if host.knobs["resume"] == "ids" else 0
        while len(history) > keeps:
            oldest = history.popleft()
            if not oldest.sent:
                why = "it fell out of the history" if keeps else "nobody was connected, and nobody can ask for it"
                host.event_lost(oldest.event.number, why)

    async def feed(request: Request) -> Response:
        subscriber, events = trio.open_memory_channel[Event](math.inf)
        last_seen = int(request.headers.get("last-event-id", "0"))
        for kept in history:
            if kept.event.number > last_seen:
                subscriber.send_nowait(kept.event)
                kept.sent = True
        subscribers.append(subscriber)
        timers.start_soon(end_later, subscriber)
        return event_stream(events, as_sent, retry_s=host.knobs.number("retry"))

    def as_sent(event: Event) -> bytes:
        return format_event(event.to_json(), id=event.number if host.knobs["resume"] == "ids" else None)

    async def end_later(subscriber: trio.MemorySendChannel[Event]) -> None:
        await trio.sleep(host.knobs.number("lasts"))
        if subscriber in subscribers:
            subscribers.remove(subscriber)
        subscriber.close()

    async with trio.open_nursery() as timers:
        timers.start_soon(let_events_happen, host, tell)
        await serve_http(host, Starlette(routes=[Route("/feed", feed)]))


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Listens, as in the live feed: it has no code of its own for going on after a drop."""
    async with http_client(host, base_url="http://server") as http, EventSource(host, http, "/feed") as source:
        async for message in source:
            host.event_handled(Event.from_json(message.data).number)
            host.state("last event id", message.last_event_id or "none")


# --- the lesson ---------------------------------------------------------------------------------------------------------

LESSON = Lesson(
    name="drop-and-resume",
    title="Drop and resume",
    purpose="The stream ends every 6 s and the client reconnects by itself: see what ids and a history save, and what is lost.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: SseDissector},
    network={"latency": 0.15},
    until_s=30.0,
    knobs=(
        Choice("resume", "events carry", "ids", ("ids", "no ids"), "whether the client can say how far it has come"),
        Number("lasts", "a stream lasts", "s", 6.0, 0.5, math.inf, 1.0, "after this the server ends the response", ratio=2.0),
        Number("retry", "retry", "s", RECONNECTION_S, 0.0, 60.0, 0.5,
               "what the server's retry: field asks the client to wait before it connects again (else Chrome: 3 s)"),
        Number("history", "history", "", 100, 0, 10_000, 5, "how many events the server keeps for those who come back",
               integer=True),
        EVENT_KNOBS[0],
        Number("event-rate", "events", "1/s", 1.0, 0.01, 1000.0, 0.1, "how many happen a second, on average", ratio=2.0),
        *EVENT_KNOBS[2:],
    ),
    faults=(BREAK_STREAM, UNPLUG_CLIENT, KILL_CLIENT, KILL_SERVER, CUT_ANSWERS, LOSE_RESPONSE),
    metrics=("events", "events-handled", "events-lost", "events-duplicated", "events-waiting", "event-delay", "event-delay-max",
             "requests", "events-unordered"),
    beats=(
        Beat(EventLost, "Event {event} is lost: {reason}."),
        Beat(MessageStarted, "“{label}”: a field without data is no event. The server says how long to wait after a drop.",
             {"label": "retry"}),
        Beat(MessageEnded, "The response has ended, properly. To an EventSource that is a drop like any other: it comes back.",
             {"boundary": "last chunk"}),
        Beat(WaitStarted, "The client {label}. What happens now it can only hear of later, if the server keeps it.",
             {"label": "reconnects"}),
        Beat(MessageStarted, "The client connects again by itself. If it has seen an id, Last-Event-ID says where to go on.",
             {"role": "request"}),
        Beat(StateChanged, "The client has seen event {value}. If the stream ends, it can ask for what comes after that.",
             {"key": "last event id", "value": r"\d"}),
        Beat(Noted, "{host}: {text}."),
    ),
    try_next=(
        "Let events carry no ids: the client comes back just as well, and nobody can tell what it has missed.",
        "Set the history to 1: ids help only as far back as the server remembers.",
        "Set retry to 0 s: the gap shrinks to the way there and back. With many clients it would be a stampede.",
        "Break the stream in the middle: an event on its way is lost, and with ids it comes again.",
        "Kill the server for ten seconds: its history was in memory, and the ids point to nothing.",
        "Select the request after a drop and look for Last-Event-ID in the wire pane.",
    ),
)  # fmt: skip
