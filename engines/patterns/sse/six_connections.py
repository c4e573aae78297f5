"""Six connections: a browser opens no more to one origin on HTTP/1.1, and each open stream keeps one of them for itself."""

import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from engines.lab.facts import Noted, PoolLeft, PoolQueued, StateChanged
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.sse.troubles import BREAK_STREAM
from engines.patterns.troubles import KILL_SERVER
from engines.patterns.workload import EVENT_KNOBS, Event, let_events_happen
from engines.wire.h2_client import h2_client
from engines.wire.http2 import Http2Dissector
from engines.wire.http_client import http_client
from engines.wire.http_server import serve_http
from engines.wire.sse import EventSource, event_stream
from engines.wire.sse_dissector import SseDissector
from engines.wire.sse_grammar import format_event

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """A live feed and a button to like it, over HTTP/1.1 on port 80 and over HTTP/2 on port 8080."""
    subscribers: list[trio.MemorySendChannel[Event]] = []
    likes = 0

    async def tell(event: Event) -> None:
        for subscriber in list(subscribers):
            try:
                subscriber.send_nowait(event)
            except trio.BrokenResourceError:
                subscribers.remove(subscriber)
        if not subscribers:
            host.event_lost(event.number, "nobody is connected")

    async def feed(request: Request) -> Response:
        subscriber, events = trio.open_memory_channel[Event](math.inf)
        subscribers.append(subscriber)
        return event_stream(events, lambda event: format_event(event.to_json(), id=event.number))

    async def like(request: Request) -> Response:
        nonlocal likes
        likes += 1
        return PlainTextResponse(f"{likes} likes\n")

    app = Starlette(routes=[Route("/feed", feed), Route("/like", like, methods=["POST"])])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_events_happen, host, tell)
        nursery.start_soon(serve_http, host, app, 8080)
        await serve_http(host, app)


# --- the browser --------------------------------------------------------------------------------------------------------


async def browser(host: Host) -> None:
    """Opens a tab a second, each with its own stream, until there are as many as wanted. All tabs share its connections."""
    while True:
        version = str(host.knobs["http"])
        async with CLIENTS[version](host) as http, trio.open_nursery() as tabs:
            tabs.start_soon(click_now_and_then, host, http)
            await keep_tabs(host, http, version)
            tabs.cancel_scope.cancel()
        host.note("starts again, with another version of HTTP")


async def keep_tabs(host: Host, http: httpx.AsyncClient, version: str) -> None:
    """Open or close the last tab until there are as many as wanted; returns when another version of HTTP is."""
    open_tabs: list[trio.CancelScope] = []
    async with trio.open_nursery() as nursery:
        while host.knobs["http"] == version:
            wanted = int(host.knobs.number("tabs"))
            if len(open_tabs) < wanted:
                open_tabs.append(trio.CancelScope())
                nursery.start_soon(tab, host, http, len(open_tabs), open_tabs[-1])
                host.state("tabs", len(open_tabs))
            elif len(open_tabs) > wanted:
                open_tabs.pop().cancel()
                host.state("tabs", len(open_tabs))
            await trio.sleep(1.0)
        nursery.cancel_scope.cancel()


async def tab(host: Host, http: httpx.AsyncClient, number: int, life: trio.CancelScope) -> None:
    """A page with a live feed. Tab 1 tells what it hears; the others show the same."""
    with life:
        async with EventSource(
            host, http, "/feed", opened=lambda response: host.note(f"tab {number} is live")
        ) as source:
            async for message in source:
                if number == 1:
                    host.event_handled(Event.from_json(message.data).number)


async def click_now_and_then(host: Host, http: httpx.AsyncClient) -> None:
    """Somebody presses “like” in one of the tabs: a short request like any other, and as patient as browsers are."""
    async with trio.open_nursery() as clicks:
        while True:
            await trio.sleep(host.knobs.number("clicks"))
            clicks.start_soon(click, host, http)


async def click(host: Host, http: httpx.AsyncClient) -> None:
    host.measure("clicks")
    clicked_s = trio.current_time()
    try:
        await http.post("/like", timeout=httpx.Timeout(None, pool=math.inf))
    except httpx.TransportError as error:
        host.note(f"the click failed: {type(error).__name__}")
        return
    host.measure("likes")
    host.note(f"the click took {trio.current_time() - clicked_s:.2f} s")


CLIENTS: dict[str, Callable[[Host], AbstractAsyncContextManager[httpx.AsyncClient]]] = {
    "http/1.1": lambda host: http_client(host, base_url="http://server"),
    "http/2": lambda host: h2_client(host, base_url="http://server:8080"),
}


# --- the lesson ---------------------------------------------------------------------------------------------------------

KILL_BROWSER = Fault(
    "kill-browser", "kill browser", "c", "kill browser",
    "the browser dies with all its tabs, and its kernel closes their connections", off="restart browser",
)  # fmt: skip
UNPLUG_BROWSER = Fault(
    "unplug-browser", "unplug browser", "u", "unplug browser",
    "the browser's cable is out: both ends hear silence, and no error", off="plug browser",
)  # fmt: skip

LESSON = Lesson(
    name="six-connections",
    title="Six connections",
    purpose="Each tab's stream keeps a connection, and a browser has six to an origin: after the sixth tab nothing gets through.",
    hosts=(HostSpec("browser", browser), HostSpec("server", server)),
    protocols={80: SseDissector, 8080: Http2Dissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Number("tabs", "tabs", "", 7, 1, 8, 1, "how many tabs of the same site are open", integer=True),
        Choice("http", "version", "http/1.1", ("http/1.1", "http/2"), "how the browser talks to the server"),
        Number("pool-size", "connections", "", 6, 1, 100, 1, "to one origin over HTTP/1.1 (Chrome, Firefox, Safari: 6)",
               integer=True),
        Number("clicks", "a click every", "s", 2.0, 0.2, 60.0, 0.5, "how often somebody presses a button in one of the tabs"),
        *EVENT_KNOBS,
    ),
    faults=(BREAK_STREAM, UNPLUG_BROWSER, KILL_BROWSER, KILL_SERVER),
    metrics=("pool-queue", "open", "measured:clicks", "measured:likes", "requests", "event-delay",
             "connections"),
    beats=(
        Beat(StateChanged, "{value} tabs want a stream of their own, and each stream is a response that never ends.",
             {"key": "tabs", "value": "[2-9]"}),
        Beat(PoolQueued, "{label} asks for a connection. If streams keep all of them, it waits until one ends, which is never."),
        Beat(Noted, "{host}: {text}.", {"text": "the click took"}),
        Beat(PoolLeft, "A request leaves the pool: {outcome}."),
        Beat(Noted, "{host}: {text}."),
    ),
    try_next=(
        "Close two tabs (tabs 5): the stuck requests go through at once, one after the other.",
        "Set tabs to 5: one connection is left for everything else, and all is well.",
        "Speak HTTP/2: one connection carries all streams and the clicks as well.",
        "Break a stream: its connection goes to whoever has waited longest, and the tab that lost it queues at the end.",
        "Set connections to 2, which RFC 2616 asked browsers for in 1999: two tabs and the site is dead.",
        "Click every 0.2 s with seven tabs: the queue grows and nobody is told.",
    ),
)  # fmt: skip
