"""A phone leaves the wifi: its address changes. TCP knows a connection by the addresses of both ends, QUIC by an id in packets.

So a TCP connection is dead, and HTTP has to make another. A QUIC connection goes on: the server finds it by its connection id,
sees that the packets come from elsewhere, sends a challenge there to make sure that nobody has forged the address (path
validation: RFC 9000, sections 8.2 and 9), and until it is answered no more than three times what it has received from there
(section 9.3). Only a client may move, and only after the handshake (section 9). One who knows that it has moved takes an id that
was never seen on the old path (section 9.5). Who merely listens must say something, or the server goes on sending to where nobody
is.

Over QUIC this speaks HTTP/0.9, one request a stream ("hq-interop"), over TCP HTTP/1.1 without encryption: the handshake of TLS,
which QUIC contains, would cost TCP another round trip.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engines.lab.facts import ConnectionReset, Measured, MessageStarted, Noted, PacketDropped, StateChanged, TimedOut
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number, Toggle
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.troubles import DROP_PACKET, KILL_SERVER, MOVE_CLIENT, UNPLUG_CLIENT
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import http_client
from engines.wire.http_server import serve_http
from engines.wire.quic import PORT, QUIC, QuicError, quic_connect, serve_quic
from engines.wire.quic_dissector import QuicDissector

FAILURES = (QuicError, httpx.TransportError)

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Has a film in pieces, over either transport."""

    def piece() -> bytes:
        return b"." * int(host.knobs.number("piece-size"))

    async def over_quic(path: str) -> bytes:
        return piece()

    async def over_http(request: Request) -> Response:
        return Response(piece())

    def note(news: str) -> None:
        if news.startswith("the peer is at"):
            host.note(f"the same connection, another path: {news}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: serve_quic(host, over_quic, on_news=note))
        await serve_http(host, Starlette(routes=[Route("/film/{piece}", over_http)]))


# --- the phone ----------------------------------------------------------------------------------------------------------


class Connection(Protocol):
    """What the player needs to know of its way to the server. `over` says why there is none any more."""

    @property
    def over(self) -> str: ...

    async def get(self, path: str) -> bytes: ...

    def moved(self) -> None: ...


async def phone(host: Host) -> None:
    """Plays a film, over one transport until it is to be the other; makes a connection whenever it has none."""
    while True:
        transport = str(host.knobs["transport"])
        try:
            async with CONNECT[transport](host) as connection, trio.open_nursery() as nursery:
                nursery.start_soon(heed_moves, host, connection)
                while not connection.over and host.knobs["transport"] == transport:
                    await play_piece(host, connection)
                nursery.cancel_scope.cancel()
        except FAILURES as failure:
            host.note(f"no connection: {failure}")
            await trio.sleep(0.5)


async def heed_moves(host: Host, connection: Connection) -> None:
    """The operating system knows when the address changes. Not every program asks."""
    while True:
        await host.wait_moved()
        if host.knobs.on("notices"):
            connection.moved()


async def play_piece(host: Host, connection: Connection) -> None:
    """Fetch the next piece and play it. If it takes longer than the last one lasts, the picture stands still."""
    number = host.disk.get("played", 0) + 1
    asked_s, patience_s = trio.current_time(), host.knobs.number("patience")
    came = False
    try:
        with trio.move_on_after(patience_s) as limit:
            await connection.get(f"/film/{number}")
            came = True
        if limit.cancelled_caught:
            host.timed_out("piece", patience_s)
    except FAILURES as failure:
        host.note(f"no piece {number}: {failure or type(failure).__name__}")
    took_s, lasts_s = trio.current_time() - asked_s, host.knobs.number("piece-time")
    host.measure("wait seconds", took_s)
    if came:
        host.measure("pieces")
        host.disk["played"] = number
        await trio.sleep(max(0.05, lasts_s - took_s))
    else:
        host.measure("asked in vain")
        await trio.sleep(0.05)


class OverTcp:
    """HTTP/1.1 on a kept-alive connection. When that is of no use any more, a new one has to be made."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.over = ""
        self._http = http
        self._asking = trio.CancelScope()

    async def get(self, path: str) -> bytes:
        with trio.CancelScope() as self._asking:
            return (await self._http.get(path)).content
        raise httpx.ReadError(self.over)

    def moved(self) -> None:
        """Nothing will come to the old address: give up what is under way, and the connection."""
        self.over = "the address has changed"
        self._asking.cancel()


@asynccontextmanager
async def over_tcp(host: Host) -> AsyncIterator[Connection]:
    async with http_client(host, base_url="http://server") as http:
        yield OverTcp(http)


@asynccontextmanager
async def over_quic(host: Host) -> AsyncIterator[Connection]:
    """A QUIC connection goes on as it is; told of a move, it says hello from the new address under a fresh id."""

    def note(news: str) -> None:
        if news == "handshake complete":
            host.measure("handshakes")
            host.note("a QUIC connection is made")

    async with quic_connect(host, "server", idle_timeout_s=IDLE_TIMEOUT_S, on_news=note) as connection:
        yield connection


IDLE_TIMEOUT_S = 10.0
"""Silence after which the phone takes its QUIC connection for dead."""
CONNECT: dict[str, Callable[[Host], AbstractAsyncContextManager[Connection]]] = {"quic": over_quic, "tcp": over_tcp}


# --- the lesson ---------------------------------------------------------------------------------------------------------

LESSON = Lesson(
    name="quic-migration",
    title="QUIC moves house",
    purpose="A film on a phone that leaves the wifi: press w, and see a TCP connection die and a QUIC connection move.",
    hosts=(HostSpec("client", phone, "phone"), HostSpec("server", server)),
    protocols={PORT: QuicDissector, 80: Http1Dissector},
    network={"latency": 0.1},
    until_s=20.0,
    needs=(QUIC,),
    knobs=(
        Choice("transport", "transport", "quic", ("quic", "tcp"), "how the phone fetches the film: QUIC, or HTTP/1.1 over TCP"),
        Toggle("notices", "notices moves", True, "whether the player is told by its system that the address has changed"),
        Number("piece-size", "piece size", "B", 8000, 100, 50_000, 1000, "bytes of a piece of the film", integer=True),
        Number("piece-time", "a piece lasts", "s", 1.0, 0.1, 60.0, 0.5, "how long a piece plays before the next is needed"),
        Number("patience", "patience", "s", 3.0, 0.2, 60.0, 0.5, "how long the phone waits for a piece before it asks anew"),
    ),
    faults=(MOVE_CLIENT, DROP_PACKET, UNPLUG_CLIENT, KILL_SERVER),
    metrics=("measured:pieces", "measured:handshakes", "connections", "resets", "max:wait seconds", "measured:asked in vain",
             "timeouts", "lost", "bytes"),
    beats=(
        Beat(StateChanged, "The phone is {value} now. What is on its way to its old address will reach nobody.",
             {"key": "address"}),
        Beat(Noted, "{host}: {text}. The id in the packet is known, and a challenge is sent to the new address.",
             {"host": "server"}),
        Beat(PacketDropped, "A packet to the old address, where nobody is. The server cannot know yet.",
             {"reason": "address gone"}),
        Beat(ConnectionReset, "{host}: {reason}. A connection is known by the addresses of both ends, and one has changed.",
             {"host": "client"}),
        Beat(TimedOut, "Nothing came for {after_s} s. The phone asks anew, and by that the server learns where it is.",
             {"what": "piece"}),
        Beat(Measured, "A handshake: of QUIC connections there has been none before, or the last one is dead.",
             {"what": "handshakes"}),
        Beat(MessageStarted, "{label}: the phone speaks for this connection. Where from, is not what it is known by.",
             {"label": "1-RTT", "sender": "client"}),
        Beat(MessageStarted, "{label}: the handshake of QUIC, and of TLS in the same packets. It names the connection ids.",
             {"label": "Initial"}),
        Beat(MessageStarted, "{label}: a request of HTTP, on the connection that there is.", {"label": "GET"}),
    ),
    try_next=(
        "Move the phone: its packets come from elsewhere under a new id, no handshake, and the film goes on.",
        "Over tcp, move the phone: the player is told, drops its connection, and one round trip makes another.",
        "Over tcp, let it not notice: the next request is answered with RST, and only the one after that gets through.",
        "With QUIC, let it not notice: its next request tells the server. Nobody needs to know, as behind a router that forgets.",
        "Not noticing, move it while a piece of 50 kB comes at 50 kB/s: who only listens hears nothing until it asks anew.",
        "Kill the server and restart it: an id survives a move, not the loss of what it stood for. QUIC is stateful too.",
    ),
)  # fmt: skip
