"""One lost packet under eight responses: with QUIC two of them wait at most, with HTTP/2 over TCP all that is behind the loss.

TCP promises one ordered stream of bytes, so what has arrived behind a hole may not be read, whatever response it belongs to. QUIC
promises an order only within each of its streams (RFC 9000, section 2), and a lost packet holds up only the streams whose bytes
were in it (section 13). How long they wait is another matter: QUIC learns of a loss from the acknowledgements of later packets,
the TCP of this laboratory only when its timer ends. Compare who waits rather than how long.

The protocol on QUIC is HTTP/0.9, one request a stream, as implementations test QUIC with each other ("hq-interop"). Unlike the
HTTP/2 here, it is encrypted: its datagrams show for which connection they are, and no more.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engines.lab.facts import Measured, MessageStarted, Noted, PacketDropped, PacketKind, PacketSent
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.troubles import KILL_SERVER, UNPLUG_CLIENT
from engines.wire.h2_client import h2_client
from engines.wire.http2 import Http2Dissector
from engines.wire.http_server import serve_http
from engines.wire.quic import PORT, QUIC, QuicError, quic_connect, serve_quic
from engines.wire.quic_dissector import QuicDissector

Get = Callable[[str], Awaitable[bytes]]
FAILURES = (QuicError, httpx.TransportError)
PATIENCE_S = 10.0
"""Silence after which the client takes its QUIC connection for dead."""

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Answers at once, the same over both transports: HTTP/2 over TCP, and one request a stream over QUIC."""

    def part() -> bytes:
        return b"." * int(host.knobs.number("part-size"))

    async def over_quic(path: str) -> bytes:
        return part()

    async def over_h2(request: Request) -> Response:
        return Response(part())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_quic, host, over_quic)
        await serve_http(host, Starlette(routes=[Route("/{part}", over_h2)]))


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Fetches a page of many parts now and then, all parts at once, over one connection."""
    while True:
        transport = str(host.knobs["transport"])
        try:
            async with CONNECT[transport](host) as get:
                while await fetch_page(host, get):
                    await trio.sleep(host.knobs.number("page-every"))
                    if host.knobs["transport"] != transport:
                        break
        except FAILURES as failure:
            host.note(f"no connection: {failure}")
            await trio.sleep(1.0)


async def fetch_page(host: Host, get: Get) -> bool:
    """All parts at once. Whether the connection will do for another page."""
    failures: list[str] = []

    async def fetch(number: int) -> None:
        asked_s = trio.current_time()
        try:
            await get(f"/{number}")
        except FAILURES as failure:
            failures.append(str(failure))
            return
        took_s = trio.current_time() - asked_s
        host.measure("parts")
        host.measure("wait seconds", took_s)
        if took_s > due_s(host):
            host.measure("parts late")
            host.note(f"part {number} took {took_s:.2f} s")

    async with trio.open_nursery() as nursery:
        for number in range(1, 1 + int(host.knobs.number("parts"))):
            nursery.start_soon(fetch, number)
    if failures:
        host.measure("failed", len(failures))
        host.note(f"{len(failures)} parts failed: {failures[0]}")
        await trio.sleep(1.0)
    return not failures


def due_s(host: Host) -> float:
    """What a part may take and not be late: one round trip, the worst of jitter, and half as much again for good measure; and the
    time that the page needs on the link."""
    round_trip_s = 2 * host.knobs.number("latency") + 2 * host.knobs.number("jitter")
    page = 1.1 * host.knobs.number("parts") * (host.knobs.number("part-size") + 100)
    return 1.5 * round_trip_s + page / host.knobs.number("bandwidth")


@asynccontextmanager
async def over_quic(host: Host) -> AsyncIterator[Get]:
    """Each part is a stream of its own; nothing ties it to the others."""
    async with quic_connect(host, "server", idle_timeout_s=PATIENCE_S) as connection:
        yield connection.get


@asynccontextmanager
async def over_tcp(host: Host) -> AsyncIterator[Get]:
    """Each part is a stream of HTTP/2, and all of them are one stream of TCP, which is opened beforehand, as with QUIC."""
    async with h2_client(host, base_url="http://server") as http:
        with suppress(httpx.TransportError):  # if there is no way to the server, the page will say so
            await http.get("/0")

        async def get(path: str) -> bytes:
            return (await http.get(path)).content

        yield get


CONNECT: dict[str, Callable[[Host], AbstractAsyncContextManager[Get]]] = {"quic": over_quic, "tcp+h2": over_tcp}


# --- the lesson ---------------------------------------------------------------------------------------------------------

LOSE_PACKET = Fault(
    "lose-packet", "lose server's packet", "d", "drop next packet from server",
    "the network loses one packet of the server's: see which parts of the page wait for it",
)  # fmt: skip
LOSE_ASKING = Fault(
    "lose-asking", "lose client's packet", "g", "drop next packet from client",
    "the network loses one packet of the client's: what was asked in it is asked late",
)  # fmt: skip

LESSON = Lesson(
    name="head-of-line-quic",
    title="One lost packet under QUIC",
    purpose="Eight parts on eight streams, now and then a packet lost: with QUIC its streams wait, with HTTP/2 over TCP all do.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={PORT: QuicDissector, 80: Http2Dissector},
    network={"latency": 0.1, "loss": 0.03},
    until_s=30.0,
    needs=(QUIC,),
    knobs=(
        Choice("transport", "transport", "quic", ("quic", "tcp+h2"), "what carries the page: QUIC, or HTTP/2 over TCP"),
        Number("parts", "parts", "", 8, 1, 24, 1, "of a page; all are asked for at once, each on a stream", integer=True),
        Number("part-size", "part size", "B", 1000, 100, 5000, 100,
               "bytes of one part; a packet holds 1,200 with QUIC, 1,460 with TCP", integer=True),
        Number("page-every", "pause", "s", 1.5, 0.1, 60.0, 0.5, "between one page and the next"),
    ),
    faults=(LOSE_PACKET, LOSE_ASKING, UNPLUG_CLIENT, KILL_SERVER),
    metrics=("measured:parts", "measured:parts late", "max:wait seconds", "mean:wait seconds", "measured:failed", "lost",
             "retransmissions", "bytes"),
    beats=(
        Beat(PacketDropped, "A packet is gone ({reason}). Whose bytes were in it? They wait, and with TCP so does all that is"
             " behind them."),
        Beat(PacketSent, "TCP sends the lost segment again. What has arrived behind it has waited in the kernel, whole and"
             " unreadable.", {"kind": str(int(PacketKind.DATA)), "attempt": "[2-9]"}),
        Beat(Noted, "{host}: {text}, one round trip would have done. It waited for a lost packet, its own or, with TCP,"
             " another's.", {"text": "part .* took"}),
        Beat(Measured, "A part of the page has failed with its connection.", {"what": "failed"}),
        Beat(MessageStarted, "{label}: the handshake of QUIC, which is that of TLS as well. One round trip for both.",
             {"label": "Initial"}),
        Beat(MessageStarted, "{label}: somebody speaks for this connection id. What, on which stream, is encrypted.",
             {"label": "1-RTT", "sender": "server"}),
    ),
    try_next=(
        "Lose the server's next packet, just as it answers: one or two parts are late, the other six are not.",
        "Do the same over tcp+h2: every part behind the loss is late by the same time. It had arrived, and could not be read.",
        "Set loss to 10 %: count the late parts of 30 s under either transport.",
        "Ask for 1 part: where there is one stream only, QUIC is no better than TCP.",
        "Make parts of 100 B: all eight fit into one packet, and wait for it together. Streams do not help against that.",
        "Kill the server and restart it: TCP says so at once. QUIC has to find out by silence, after 10 s of it.",
    ),
)  # fmt: skip
