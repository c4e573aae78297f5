"""A lost segment: HTTP/2 shares one connection, TCP keeps it in order, and so one lost packet makes every stream wait.

TCP delivers bytes in order (RFC 9293, section 2.2): what arrives behind a hole waits for the retransmission. On six connections
the hole is in one of them. HTTP/2 cannot help it: it is blocked below, where nobody knows of streams.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from engines.lab.facts import Measured, MessageStarted, Noted, PacketDropped, PacketSent
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.multiplexing.rounds import PATIENT
from engines.patterns.troubles import KILL_CLIENT, KILL_SERVER, UNPLUG_CLIENT
from engines.wire.h2_client import h2_client
from engines.wire.http1 import Http1Dissector
from engines.wire.http2 import Http2Dissector
from engines.wire.http_client import TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http
from engines.wire.streaming import streaming

SHARED, ONE_EACH = "one of http/2", "one each"
MOST_DOWNLOADS = 8

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Sends a piece of each video now and then, over HTTP/1.1 on port 80 and over HTTP/2 on port 8080."""

    async def video(request: Request) -> StreamingResponse:
        return StreamingResponse(Video(host), media_type="video/mp4")

    app = Starlette(routes=[Route("/video/{number:int}", video)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, host, app, 80)
        nursery.start_soon(serve_http, host, app, 8080)


class Video(AsyncIterator[bytes]):
    """A piece now, and one more at every interval, without end."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._next_s = trio.current_time()

    async def __anext__(self) -> bytes:
        await trio.sleep_until(self._next_s)
        self._next_s = trio.current_time() + self._host.knobs.number("piece-every")
        return bytes(int(self._host.knobs.number("piece-size")))


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Watches some videos at once; all begin anew when they are to come over other connections."""
    while True:
        async with CLIENTS[str(host.knobs["over"])](host) as http, trio.open_nursery() as videos:
            for number in range(1, int(host.knobs.number("downloads")) + 1):
                videos.start_soon(watch, host, http, number)
            await turned(host, "over", "downloads")
            videos.cancel_scope.cancel()
        host.note("begins anew")


async def turned(host: Host, *names: str) -> None:
    """Wait until somebody turns one of these knobs."""
    news = trio.Event()
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(host.knobs.watching(name, lambda value: news.set()))
        await news.wait()


async def watch(host: Host, http: httpx.AsyncClient, number: int) -> None:
    """Watch a video, and note when it stands still; if it breaks off, begin again a second later."""
    while True:
        try:
            async with streaming(http, "GET", f"/video/{number}", timeout=PATIENT) as (_, pieces):
                last_s = trio.current_time()
                async for _ in pieces:
                    tell_stall(host, number, trio.current_time() - last_s)
                    last_s = trio.current_time()
        except httpx.TransportError as error:
            host.note(f"video {number} broke off: {type(error).__name__}")
        await trio.sleep(1.0)


def tell_stall(host: Host, number: int, gap_s: float) -> None:
    """A gap that is more than half a piece longer than it should be is a picture that stands still."""
    expected_s = host.knobs.number("piece-every")
    if gap_s > 1.5 * expected_s + 0.01:
        host.measure("stalls")
        host.measure("stalled seconds", gap_s - expected_s)
        host.note(f"video {number} stood still for {gap_s - expected_s:.2f} s")


CLIENTS: dict[str, Callable[[Host], AbstractAsyncContextManager[httpx.AsyncClient]]] = {
    SHARED: lambda host: h2_client(host, base_url="http://server:8080"),
    ONE_EACH: lambda host: http_client(host, base_url="http://server"),
}


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS

LESSON = Lesson(
    name="lost-segment",
    title="One lost segment",
    purpose="Six downloads on one HTTP/2 connection: lose one packet and see all six stand still. On six connections, one does.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: Http1Dissector, 8080: Http2Dissector},
    network={"latency": 0.1, "loss": 0.01},
    until_s=30.0,
    knobs=(
        Choice("over", "connections", SHARED, (SHARED, ONE_EACH), "one that all downloads share, or HTTP/1.1 with one for each"),
        Number("downloads", "downloads", "", 6, 1, MOST_DOWNLOADS, 1, "how many at once (six, as browsers have connections)",
               integer=True),
        Number("piece-every", "a piece every", "s", 0.2, 0.05, 2.0, 0.05, "how often the server sends a piece of each"),
        Number("piece-size", "piece", "B", 1000, 100, 10_000, 500, "how large each is; a segment has room for 1,460 B",
               ratio=2.0, integer=True),
        READ_TIMEOUT,
        CONNECT_TIMEOUT,
    ),
    faults=(
        Fault("drop-segment", "drop a segment", "d", "drop next packet from server",
              "the network loses the next packet from the server; TCP sends it again after a while"),
        KILL_SERVER, KILL_CLIENT, UNPLUG_CLIENT,
    ),
    metrics=("measured:stalls", "measured:stalled seconds", "lost", "retransmissions", "open", "streams", "bytes"),
    beats=(
        Beat(PacketDropped, "A packet is lost. What arrives behind it on that connection must wait: in order or not at all.",
             {"reason": "loss|fault"}),
        Beat(PacketSent, "The packet is sent again. When it arrives, everything that waited behind it is there at once.",
             {"attempt": "[2-9]"}),
        Beat(Measured, "A download has stood still. If all of them have, they share a connection with the packet that was lost.",
             {"what": "stalls"}),
        Beat(MessageStarted, "{label}: the client has taken in that much, and the server may send as much again.",
             {"label": "WINDOW_UPDATE"}),
        Beat(Noted, "{text}.", {"text": "begins anew|video"}),
    ),
    try_next=(
        "Set the loss to 0 % and drop one segment: 6 stalls from one packet, in which only one of them had something.",
        "Give each download a connection of its own, and drop a segment: 1 stall, the other five go on.",
        "Let the loss be 3 %: with HTTP/2 all six stand still together, a quarter of the time; with one each, one at a time.",
        "Set the latency to 0.5 s: a lost packet costs a round trip and more, so a long way makes it worse.",
        "Reset c1: the same difference again. With HTTP/2 all six break off and begin anew.",
    ),
)  # fmt: skip
