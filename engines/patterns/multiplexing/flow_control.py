"""Flow control: each stream has a window and all of them share another. Who does not read stops its own stream, or everybody.

RFC 9113, section 6.9: windows begin at 65,535 bytes, only DATA counts, WINDOW_UPDATE opens them again. A receiver says when:
once data has arrived and is kept for the stream, or once the program has read it.
"""

import math
from collections.abc import AsyncIterator

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from engines.lab.facts import MessageStarted, Noted, StateChanged, TimedOut
from engines.lab.host import Host
from engines.lab.knobs import Number, Toggle
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.troubles import DROP_PACKET, KILL_CLIENT, KILL_SERVER, UNPLUG_CLIENT
from engines.wire.h2_client import WINDOW_KNOBS, h2_client
from engines.wire.h2_server import H2Server
from engines.wire.http2 import Http2Dissector
from engines.wire.http_client import TIMEOUT_KNOBS
from engines.wire.streaming import streaming

FRAME_BYTES = 8000
GLANCE_S = 0.25

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """A film that never ends, a page, and a button: GET /film, GET /page, POST /like."""

    async def film(request: Request) -> Response:
        return StreamingResponse(Film(), media_type="video/mp4")

    async def page(request: Request) -> Response:
        return PlainTextResponse("x" * int(host.knobs.number("page-size")))

    async def like(request: Request) -> Response:
        return Response(status_code=204)

    routes = [Route("/film", film), Route("/page", page), Route("/like", like, methods=["POST"])]
    await H2Server(host, Starlette(routes=routes)).serve()


class Film(AsyncIterator[bytes]):
    """Pieces without end, as quickly as they are taken."""

    async def __anext__(self) -> bytes:
        return bytes(FRAME_BYTES)


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Watches the film, looks at pages, and likes them, all over one connection."""
    async with h2_client(host, base_url="http://server") as http, trio.open_nursery() as nursery:
        nursery.start_soon(watch, host, http)
        await trio.sleep(0.5)
        while True:
            nursery.start_soon(fetch, host, http, "GET", "/page")
            nursery.start_soon(fetch, host, http, "POST", "/like")
            await trio.sleep(host.knobs.number("interval"))


async def watch(host: Host, http: httpx.AsyncClient) -> None:
    """Read the film at the pace at which it is watched, or not at all while it is paused."""
    while True:
        try:
            async with streaming(http, "GET", "/film", timeout=httpx.Timeout(None, read=math.inf)) as (_, pieces):
                credit, playing = 0.0, None
                async for piece in pieces:
                    host.measure("film bytes", len(piece))
                    credit -= len(piece)
                    while credit < 0:
                        if playing != host.knobs.on("film"):
                            playing = host.knobs.on("film")
                            host.state("film", "playing" if playing else "paused")
                        await trio.sleep(GLANCE_S)
                        credit += host.knobs.number("film-rate") * GLANCE_S if host.knobs.on("film") else 0.0
        except httpx.TransportError as error:
            host.note(f"the film broke off: {type(error).__name__}")
        await trio.sleep(1.0)


async def fetch(host: Host, http: httpx.AsyncClient, method: str, path: str) -> None:
    """A short exchange, and how long it took."""
    began_s = trio.current_time()
    try:
        await http.request(method, path)
    except httpx.TransportError as error:
        host.measure("failed")
        host.note(f"{path} failed: {type(error).__name__}")
        return
    took_s = trio.current_time() - began_s
    host.measure(f"{path.strip('/')} seconds", took_s)
    if took_s > 2.5 * 2 * host.knobs.number("latency"):
        host.note(f"{path} took {took_s:.2f} s")


# --- the lesson ---------------------------------------------------------------------------------------------------------

STREAM_WINDOW, CONNECTION_WINDOW, WINDOW_OPENS = WINDOW_KNOBS
CONNECT_TIMEOUT, READ_TIMEOUT, _, POOL_TIMEOUT = TIMEOUT_KNOBS

LESSON = Lesson(
    name="flow-control",
    title="Flow control",
    purpose="A film that is not read stops when its window is used up. See whether it stops only itself, or everything else too.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: Http2Dissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Toggle("film", "the film", True, "whether the program reads what comes of the film", on="plays", off="is paused"),
        STREAM_WINDOW,
        CONNECTION_WINDOW,
        WINDOW_OPENS,
        Number("film-rate", "film is read at", "B/s", 60_000, 1000, 1e6, 10_000, "how fast the program reads while it plays",
               ratio=2.0),
        Number("page-size", "page", "B", 20_000, 0, 60_000, 5000, "size of the pages that are asked for meanwhile", integer=True),
        Number("interval", "a page every", "s", 2.0, 0.5, 60.0, 0.5, "how often a page is asked for, and liked"),
        READ_TIMEOUT,
        CONNECT_TIMEOUT,
    ),
    faults=(
        Fault("pause-film", "pause the film", "w", "set film is paused",
              "the program stops reading: nothing is wrong with the network, yet the server must stop", off="set film plays"),
        KILL_SERVER, KILL_CLIENT, UNPLUG_CLIENT, DROP_PACKET,
    ),
    metrics=("latest:page seconds", "latest:like seconds", "measured:film bytes", "throughput-now", "streams", "measured:failed",
             "timeouts", "bytes"),
    beats=(
        Beat(StateChanged, "The film is paused: the client reads no more, and opens no window for it. The server may send what is"
             " left of it, then it must stop.", {"key": "film", "value": "paused"}),
        Beat(Noted, "{text}. Its head came in time, but its body is DATA, and there was no room for DATA on this connection.",
             {"text": "/page took"}),
        Beat(TimedOut, "A page was given up: the server has it ready, and may not send it.", {"what": "read"}),
        Beat(MessageStarted, "{label}: the client has room again, and says how much more may be sent in all.",
             {"label": "WINDOW_UPDATE connection"}),
        Beat(MessageStarted, "{label}: so much more of this stream may be sent.", {"label": "WINDOW_UPDATE stream"}),
        Beat(MessageStarted, "204, a response without DATA: no window can stop it.", {"label": "204"}),
        Beat(MessageStarted, "{label} tells the server how much of each stream it may send unasked.", {"label": "SETTINGS INIT"}),
    ),
    try_next=(
        "Pause the film: after 65,535 bytes its stream stands still. Pages come as before, in one round trip.",
        "Let the connection's window open as data is read, and pause the film: pages stall until they time out, likes do not.",
        "Then set the stream window to 30 kB: the film can only take its share, and pages get through again.",
        "Or raise the connection's window to 1 MB: a paused film takes 65,535 bytes of it, and the rest is for the others.",
        "Set the stream window to 4 kB: 4 kB a round trip is all that the film, and a page, can get. See the page's time.",
        "Play the film again: one WINDOW_UPDATE, and what was stalled goes on.",
    ),
)  # fmt: skip
