"""The stream limit: how many requests at a time a server bears on one connection, and what clients do with more.

RFC 9113, section 5.1.2: SETTINGS_MAX_CONCURRENT_STREAMS may be changed at any time; a server that lowers it below what is open
may let those streams complete. One stream too many is refused, with REFUSED_STREAM, which promises that nothing was done with it
(section 8.7): it is safe to send it again.
"""

from dataclasses import replace

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from engines.lab.facts import MessageStarted, PoolAssigned, PoolQueued, PoolResized, TimedOut
from engines.lab.host import Host
from engines.lab.knobs import Number
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.multiplexing.rounds import SERVICE_KNOB
from engines.patterns.troubles import DROP_PACKET, KILL_CLIENT, KILL_SERVER, UNPLUG_CLIENT
from engines.wire.h2_client import STREAM_POLICY_KNOB, h2_client
from engines.wire.h2_server import H2Server
from engines.wire.http2 import Http2Dissector
from engines.wire.http_client import TIMEOUT_KNOBS

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Answers GET /n after some work, and changes its mind about how many it bears on a connection."""

    async def item(request: Request) -> PlainTextResponse:
        await host.work(request.url.path, host.knobs.number("service-time"))
        return PlainTextResponse(f"item {request.path_params['number']}\n")

    app = Starlette(routes=[Route("/{number:int}", item)])
    http = H2Server(host, app, max_streams=int(host.knobs.number("stream-limit")))
    with host.knobs.watching("stream-limit", lambda value: http.limit_streams(int(value))):
        await http.serve()


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Begins with a burst, when it does not know the limit yet, and goes on with a steady flow of requests."""
    async with h2_client(host, base_url="http://server") as http, trio.open_nursery() as nursery:
        number = 0
        while True:
            for _ in range(int(host.knobs.number("burst")) if number == 0 else 1):
                number += 1
                nursery.start_soon(ask, host, http, f"/{number}")
            await trio.sleep(host.knobs.number("interval"))


async def ask(host: Host, http: httpx.AsyncClient, path: str) -> None:
    """An ordinary request; the transport queues it, and sends it again if it was refused."""
    host.measure("wanted")
    try:
        await http.get(path)
    except httpx.TransportError as error:
        host.measure("failed")
        host.note(f"{path} failed: {type(error).__name__}")
    else:
        host.measure("answered")


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, POOL_TIMEOUT = TIMEOUT_KNOBS

LESSON = Lesson(
    name="stream-limit",
    title="Stream limit",
    purpose="The server says how many streams it bears, and may change its mind. Lower it: where do requests wait now?",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: Http2Dissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Number("stream-limit", "stream limit", "", 6, 0, 100, 1,
               "MAX_CONCURRENT_STREAMS, live (RFC 9113 recommends at least 100; unlimited unless said)", integer=True),
        STREAM_POLICY_KNOB,
        Number("interval", "a request every", "s", 0.4, 0.05, 10.0, 0.05, "how often the client asks for something"),
        replace(SERVICE_KNOB, default=1.2),
        Number("burst", "first burst", "", 8, 1, 50, 1, "requests that leave before the server could say its limit",
               integer=True),
        POOL_TIMEOUT,
        READ_TIMEOUT,
        CONNECT_TIMEOUT,
    ),
    faults=(
        Fault("lower-limit", "lower the limit", "w", "set stream-limit 2",
              "the server bears only 2 streams on each connection from now on", off="set stream-limit 6"),
        KILL_SERVER, KILL_CLIENT, UNPLUG_CLIENT, DROP_PACKET,
    ),
    metrics=("streams", "pool-queue", "pool-wait", "pool-wait-p95", "open", "measured:refused", "delay-p95", "measured:answered",
             "measured:failed", "pool-use"),
    beats=(
        Beat(MessageStarted, "The server changes the limit of a connection that is in use. Streams that are open stay open:"
             " SETTINGS only speaks of what comes.", {"sender": "server", "label": "SETTINGS MAX_CONCURRENT"}),
        Beat(MessageStarted, "{label} on stream {stream}: one too many. The server has done nothing with it, and says so: the"
             " client sends it again.", {"label": "RST_STREAM REFUSED"}),
        Beat(TimedOut, "A request has waited for a stream in vain, for {after_s} s. The server was never asked.",
             {"what": "pool"}),
        Beat(PoolResized, "The client has read the new limit: {size} requests at a time from now on."),
        Beat(PoolAssigned, "The connection is full, so the client opens another. The limit is one of each connection, and this"
             " undoes it.", {"how": "opened", "member": "[2-9]"}),
        Beat(PoolQueued, "{label} wants a stream."),
    ),
    try_next=(
        "Lower the limit to 2: the six in flight are answered, then two at a time, and a queue grows until it times out.",
        "Open another connection at the limit, as Envoy does, and lower it to 2: no queue, but a second connection.",
        "Begin with a burst of 20: 14 are refused, as the client did not know the limit. Each is sent again, none done twice.",
        "Set the limit to 0: a polite way to say stop. Nothing is answered, nothing fails until the pool timeout.",
        "Set the limit to 100 and ask every 0.05 s: about 30 streams at a time on one connection, and nobody waits.",
    ),
)  # fmt: skip
