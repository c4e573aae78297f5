"""Twenty requests at once: one after the other on one connection, six at a time on six, or all together on one of HTTP/2."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from engines.lab.facts import MessageStarted, Noted, PoolAssigned, PoolCreated, PoolQueued, PoolResized, WaitStarted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number, Value
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.multiplexing.rounds import (
    HTTP_1,
    HTTP_2,
    PAUSE_KNOB,
    REQUESTS_KNOB,
    SERVICE_KNOB,
    ask_for_all,
)
from engines.patterns.troubles import DROP_PACKET, KILL_CLIENT, KILL_SERVER, UNPLUG_CLIENT
from engines.wire.h2_client import h2_client
from engines.wire.http1 import Http1Dissector
from engines.wire.http2 import Http2Dissector
from engines.wire.http_client import POOL_SIZE_KNOB, TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Answers GET /n after some work, over HTTP/1.1 on port 80 and over HTTP/2 on port 8080, with so many workers."""
    workers = trio.CapacityLimiter(int(host.knobs.number("workers")))

    async def item(request: Request) -> PlainTextResponse:
        if not workers.available_tokens:
            with host.waiting("a free worker"):
                await workers.acquire_on_behalf_of(request)
        else:
            await workers.acquire_on_behalf_of(request)
        try:
            await trio.sleep(host.knobs.number("service-time"))
        finally:
            workers.release_on_behalf_of(request)
        return PlainTextResponse("x" * int(host.knobs.number("body-size")))

    def employ(number: Value) -> None:
        workers.total_tokens = int(number)

    app = Starlette(routes=[Route("/{number:int}", item)])
    with host.knobs.watching("workers", employ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_http, host, app, 80)
            nursery.start_soon(serve_http, host, app, 8080)


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Asks for everything at once, over connections that are opened for it; pauses; does it again."""
    while True:
        async with CLIENTS[str(host.knobs["http"])](host) as http:
            count = int(host.knobs.number("requests"))
            await ask_for_all(host, http, [f"/{number}" for number in range(1, count + 1)])
        await trio.sleep(host.knobs.number("interval"))


CLIENTS: dict[str, Callable[[Host], AbstractAsyncContextManager[httpx.AsyncClient]]] = {
    HTTP_1: lambda host: http_client(host, base_url="http://server"),
    HTTP_2: lambda host: h2_client(host, base_url="http://server:8080"),
}


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS

LESSON = Lesson(
    name="twenty-requests",
    title="Twenty requests",
    purpose="Twenty questions at once: see them stand in line for a connection, share six, or all travel together on one.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: Http1Dissector, 8080: Http2Dissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Choice("http", "version", HTTP_1, (HTTP_1, HTTP_2), "with HTTP/2, all requests share one connection"),
        replace(POOL_SIZE_KNOB, default=1, help="connections over HTTP/1.1 (Chrome and Firefox: 6 to one origin)"),
        REQUESTS_KNOB,
        SERVICE_KNOB,
        Number("workers", "server workers", "", 100, 1, 100, 1, "how many requests the server works on at a time", integer=True),
        Number("body-size", "body", "B", 2000, 0, 60_000, 1000, "size of each answer", ratio=2.0, integer=True),
        PAUSE_KNOB,
        replace(READ_TIMEOUT, default=30.0),
        CONNECT_TIMEOUT,
    ),
    faults=(KILL_SERVER, KILL_CLIENT, UNPLUG_CLIENT, DROP_PACKET),
    metrics=("latest:makespan seconds", "pool-wait", "pool-wait-p95", "pool-use", "pool-busy", "pool-queue", "streams",
             "connections", "bytes", "overhead", "measured:failed"),
    beats=(
        Beat(Noted, "{text}: that is the makespan, and the number to compare.", {"text": "all "}),
        Beat(PoolResized, "The round is over, its connections are closed: the next begins from nothing.", {"size": "0"}),
        Beat(WaitStarted, "A request is here, and no worker is free. More connections, or streams, would not help this one.",
             {"label": "a free worker"}),
        Beat(PoolAssigned, "A connection is free again, and whoever stood first in line has it.", {"how": "reused"}),
        Beat(MessageStarted, "{label} leaves: with HTTP/2 it need not wait for the answers to the others.",
             {"role": "request", "stream": "[1-9]"}),
        Beat(MessageStarted, "{label} leaves. Until its answer is complete, this connection is taken.", {"role": "request"}),
        Beat(PoolCreated, "Everything is asked for at once. There is room for {size} at a time."),
        Beat(PoolQueued, "{label} wants to leave, and asks for a connection."),
    ),
    try_next=(
        "Set the pool size to 6, as browsers do: 4 rounds instead of 20, and 1.80 s instead of 8.20 s.",
        "Speak HTTP/2: one connection, no queue, and all are there after 0.60 s, as soon as one alone would be.",
        "Set the latency to 0 s: the pool of one still takes 4 s, the work itself. It was never only the network.",
        "Speak HTTP/2 and give the server 5 workers: 1.20 s. The queue has moved, from the client into the server.",
        "Set the pool size to 20: as fast as HTTP/2, at the price of 20 connections and 20 greetings.",
        "Compare the bytes of a round: HPACK sends fields that repeat as one byte each, HTTP/1.1 writes them out every time.",
        "Turn the pool size from 6 to 2 in mid-round: those in flight go on, and connections close as they come free.",
    ),
)  # fmt: skip
