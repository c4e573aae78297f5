"""A proxy that buffers: the server sends each event at once, and the proxy waits until a buffer is full."""

import math

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engines.lab.facts import EventHandled, MessageStarted, Noted, StateChanged, TimedOut
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number, Toggle
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.sse.troubles import BREAK_STREAM
from engines.patterns.troubles import KILL_CLIENT, KILL_SERVER, UNPLUG_CLIENT
from engines.patterns.workload import EVENT_KNOBS, Event, let_events_happen
from engines.wire.http_client import http_client
from engines.wire.http_server import serve_http
from engines.wire.proxy import NGINX_BUFFER_BYTES, NGINX_READ_TIMEOUT_S, Buffering, reverse_proxy
from engines.wire.sse import HEARTBEAT_KNOB, EventSource, event_stream
from engines.wire.sse_dissector import SseDissector
from engines.wire.sse_grammar import format_event

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """A live feed with a history, which may or may not tell proxies to pass it on at once."""
    history: list[Event] = host.disk.setdefault("history", [])
    subscribers: list[trio.MemorySendChannel[Event]] = []

    async def tell(event: Event) -> None:
        history.append(event)
        for subscriber in list(subscribers):
            try:
                subscriber.send_nowait(event)
            except trio.BrokenResourceError:
                subscribers.remove(subscriber)

    async def feed(request: Request) -> Response:
        last_seen = int(request.headers.get("last-event-id", "0"))
        subscriber, events = trio.open_memory_channel[Event](math.inf)
        for event in history:
            if event.number > last_seen:
                subscriber.send_nowait(event)
        subscribers.append(subscriber)
        return event_stream(
            events,
            lambda event: format_event(event.to_json(), id=event.number),
            heartbeat_s=lambda: host.knobs.number("heartbeat"),
            buffered_by_proxies=not host.knobs.on("x-accel"),
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_events_happen, host, tell)
        await serve_http(host, Starlette(routes=[Route("/feed", feed)]))


# --- the proxy ----------------------------------------------------------------------------------------------------------


async def proxy(host: Host) -> None:
    """Passes on what the server says, a buffer at a time: good for pages and pictures, which it was made for."""
    await reverse_proxy(
        host,
        "server",
        silence_s=lambda: host.knobs.number("proxy-timeout"),
        buffering=Buffering(
            size_bytes=lambda: int(host.knobs.number("proxy-buffer")),
            flush_after_s=lambda: host.knobs.number("flush-after"),
        ),
    )


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Listens. When its source is closed for good, as by the proxy's 502, the page makes a new one after a while."""
    last_event_id = ""
    async with http_client(host, base_url="http://proxy") as http:
        while True:
            async with EventSource(
                host, http, "/feed", opened=lambda response: host.note("the stream is open")
            ) as source:
                source.last_event_id = last_event_id
                async for message in source:
                    host.event_handled(Event.from_json(message.data).number)
                last_event_id = source.last_event_id
            host.note(f"closed for good: {source.failure}; a new one in 5 s")
            await trio.sleep(5.0)


# --- the lesson ---------------------------------------------------------------------------------------------------------

KILL_PROXY = Fault(
    "kill-proxy", "kill proxy", "x", "kill proxy",
    "the proxy dies, and with it what its buffer held: to the client the stream broke", off="restart proxy",
)  # fmt: skip

LESSON = Lesson(
    name="buffering-proxy",
    title="A proxy that buffers",
    purpose="Every event leaves the server at once and sits in the proxy until 4 kB are there: live news, ten at a time.",
    hosts=(HostSpec("client", client), HostSpec("proxy", proxy), HostSpec("server", server)),
    protocols={80: SseDissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Toggle("x-accel", "X-Accel-Buffering", False, "whether the server tells the proxy not to buffer (nginx obeys it)",
               on="no", off="not said"),
        Number("proxy-buffer", "proxy's buffer", "B", NGINX_BUFFER_BYTES, 100, 1_000_000, 1000,
               "how much the proxy collects before it passes anything on (nginx, proxy_buffers: a memory page, 4 kB or 8 kB)",
               ratio=2.0, integer=True),
        Number("flush-after", "flushed after", "s", math.inf, 0.05, math.inf, 0.5,
               "how long the proxy keeps what has not filled a buffer (nginx: until it has, or the response ends)", ratio=2.0),
        Number("proxy-timeout", "proxy's patience", "s", NGINX_READ_TIMEOUT_S, 0.5, 3600.0, 5.0,
               "how much silence of the server the proxy bears (nginx, proxy_read_timeout: 60 s)", ratio=2.0),
        HEARTBEAT_KNOB,
        Choice("arrivals", "events come", "fixed", ("fixed", "poisson", "burst"), EVENT_KNOBS[0].help),
        Number("event-rate", "events", "1/s", 2.0, 0.01, 1000.0, 0.1, "how many happen a second, on average", ratio=2.0),
        EVENT_KNOBS[2],
        Number("event-size", "event size", "B", 400, 40, 100_000, 100, "bytes of one event", ratio=2.0, integer=True),
    ),
    faults=(BREAK_STREAM, UNPLUG_CLIENT, KILL_CLIENT, KILL_PROXY, KILL_SERVER),
    metrics=("events", "events-handled", "event-delay", "event-delay-max", "event-delay-mean", "events-waiting", "requests",
             "events-duplicated"),
    beats=(
        Beat(TimedOut, "The proxy has heard nothing for {after_s} s and takes the server for dead. A comment now and then would"
             " have told it otherwise.", {"host": "proxy"}),
        Beat(Noted, "{host}: {text}. The server opened it long ago: the proxy kept even the head back.",
             {"text": "the stream is open"}),
        Beat(Noted, "{host}: {text}. A status other than 200 ends an EventSource, and the page has to begin anew.",
             {"text": "closed"}),
        Beat(EventHandled, "The client hears of event {event}, together with all that sat in the same buffer."),
        Beat(StateChanged, "The proxy holds {value} and waits for more. The server believes that they have long arrived.",
             {"key": "buffered", "value": "[1-9]"}),
        Beat(MessageStarted, "“{label}” leaves {sender} at once. What happens behind the next hop, it cannot see.",
             {"role": "push", "sender": "server"}),
    ),
    try_next=(
        "Let the server say X-Accel-Buffering: no, and break the stream: from then on events pass through at once.",
        "Let the proxy flush after 0.5 s: a bearable compromise, if you may configure the proxy.",
        "Set the events to 0.2/s: the quieter the feed, the older its news. Now 4 kB take a minute to fill.",
        "Set heartbeats to 1 s and events to 0.05/s: comments fill the buffer, too, 15 bytes at a time.",
        "Set the proxy's patience to 5 s and events to 0.1/s: without heartbeats in time, the proxy cuts the stream.",
        "Kill the proxy: what its buffer held is lost, and Last-Event-ID brings it back.",
    ),
)  # fmt: skip
