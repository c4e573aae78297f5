"""Held requests fill the client's pool: each of them occupies a connection, and an ordinary request finds none.

HTTP/1.1 carries one request at a time on a connection. Browsers allow six to a server; RFC 6202, section 5.1, warns of just
this, and advises to have one long poll at a time.
"""

from dataclasses import replace

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from engines.lab.facts import EventHandled, Measured, MessageStarted, PoolAssigned, PoolQueued
from engines.lab.host import Host
from engines.lab.knobs import Number
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.long_polling.held import HOLD_KNOB, HOLD_SPREAD_KNOB
from engines.patterns.long_polling.notifications import Feed, news_after
from engines.patterns.long_polling.retry import Retry
from engines.patterns.troubles import KILL_CLIENT, KILL_SERVER, LOSE_RESPONSE, UNPLUG_CLIENT
from engines.patterns.workload import EVENT_KNOBS, Event, let_events_happen
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import POOL_SIZE_KNOB, TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http

MOST_FEEDS = 12
BREATH_S = 0.01
"""A feed's pause after each answer. httpcore 1.0 lets who asks in the moment in which a connection comes free overtake all that
wait for one: feeds that asked again without a breath would never let anybody else through."""

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Has several feeds that one can follow, and profiles that one can look up, which takes no time at all."""
    feeds = [Feed(host, f"feed {number}") for number in range(MOST_FEEDS)]

    async def publish(event: Event) -> None:
        await feeds[event.number % int(host.knobs.number("feeds"))].add(event)

    async def tell(request: Request) -> Response:
        number = request.path_params["number"]
        return await feeds[number].tell(request) if number < MOST_FEEDS else Response(status_code=404)

    async def profile(request: Request) -> Response:
        return PlainTextResponse("name: Ada\n")

    routes = [Route("/feeds/{number:int}", tell), Route("/profile", profile)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_events_happen, host, publish)
        await serve_http(host, Starlette(routes=routes))


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Follows all feeds by long polls and looks something up now and then, all over one pool."""
    async with http_client(host, base_url="http://server") as http, trio.open_nursery() as nursery:
        for number in range(MOST_FEEDS):
            nursery.start_soon(follow_feed, host, http, number)
        while True:
            await trio.sleep(host.knobs.number("interval"))
            nursery.start_soon(look_up, host, http)


async def follow_feed(host: Host, http: httpx.AsyncClient, number: int) -> None:
    """Follow one feed, as long as it is among those that are wanted."""
    retry, cursor = Retry(host), f"cursor of feed {number}"
    while True:
        if number >= host.knobs.number("feeds"):
            await trio.sleep(0.5)
            continue
        for event in await news_after(host, http, host.disk.get(cursor, 0), retry, f"/feeds/{number}"):
            host.event_handled(event.number)
            host.disk[cursor] = event.number
        await trio.sleep(BREATH_S)


async def look_up(host: Host, http: httpx.AsyncClient) -> None:
    """An ordinary request, which has to stand in line with the others."""
    host.measure("wanted")
    try:
        await http.get("/profile")
    except httpx.PoolTimeout:
        host.measure("starved")
        host.note("no connection was free: nothing could even be asked")
    except httpx.TransportError as error:
        host.note(f"no profile: {type(error).__name__}")
    else:
        host.measure("looked up")


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, POOL_TIMEOUT = TIMEOUT_KNOBS
ARRIVALS, RATE, BURST, SIZE = EVENT_KNOBS

LESSON = Lesson(
    name="pool",
    title="A pool full of waiting",
    purpose="Six feeds are held on six connections: see a request that takes no time at all wait for somebody else's news.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: Http1Dissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        POOL_SIZE_KNOB,
        Number("feeds", "feeds", "", 6, 1, MOST_FEEDS, 1, "how many the client follows, each by a long poll", integer=True),
        ARRIVALS,
        replace(RATE, default=0.1),
        BURST,
        SIZE,
        Number("interval", "looks up every", "s", 1.0, 0.1, 60.0, 0.5, "how often the client makes an ordinary request"),
        replace(HOLD_KNOB, default=8.0),
        HOLD_SPREAD_KNOB,
        POOL_TIMEOUT,
        replace(READ_TIMEOUT, default=20.0),
        CONNECT_TIMEOUT,
    ),
    faults=(KILL_SERVER, KILL_CLIENT, UNPLUG_CLIENT, LOSE_RESPONSE),
    metrics=("measured:wanted", "measured:looked up", "measured:starved", "pool-queue", "pool-wait", "timeouts", "empty",
             "event-delay-max", "open"),
    beats=(
        Beat(Measured, "A request has waited in vain for a connection. The server was idle, the network empty.",
             {"what": "starved"}),
        Beat(PoolQueued, "The client wants to look something up, and asks its pool for a connection. Those that are held"
             " are busy, though nothing moves on them.", {"label": "GET /profile"}),
        Beat(EventHandled, "News on a feed: its connection is free for a moment, and whoever stands first in line takes it."),
        Beat(PoolAssigned, "A connection is found.", {"how": "reused"}),
        Beat(MessageStarted, "At last a profile is asked for. This takes one round trip, and took much longer.",
             {"label": "GET /profile"}),
        Beat(MessageStarted, "A hold is over. Its connection comes free for the first in line, and the feed must queue up behind"
             " the others.", {"label": "204"}),
        Beat(MessageStarted, "A feed is followed: one more connection is taken for as long as nothing happens.",
             {"label": "GET /feeds"}),
    ),
    try_next=(
        "Set the pool size to 7: one connection more than is held, and every profile comes in one round trip.",
        "Set the pool size to 3: half of the feeds stand in line as well, and their news is late.",
        "Follow 5 feeds: one connection is left for all ordinary requests, and that is enough.",
        "Hold for 1 s: connections come free soon, and most answers are empty.",
        "Let each hold be the same: all end together, and for the next 8 s again no connection is free.",
        "Let 5 events happen a second: busy feeds let go of their connections all the time. The quiet ones block.",
        "Set the pool timeout to 60 s: nobody starves, everybody waits.",
    ),
)  # fmt: skip
