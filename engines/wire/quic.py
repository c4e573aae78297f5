"""QUIC over a host's datagrams (RFC 9000): a client, a server, and the smallest protocol there is on top.

On top is HTTP/0.9 as implementations use it to test QUIC with each other ("hq-interop"): a stream carries `GET /path`, its end,
then the body of the response and its end. No framing, no fields, no HTTP/3: what can be seen is what QUIC does. aioquic is an
optional extra; this module can be imported without it, and `QUIC` says how to get it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from engines.lab import determinism
from engines.lab.datagrams import Address, DatagramSocket
from engines.lab.host import Host
from engines.lab.scenario import Need
from engines.wire.quic_packets import INITIAL, MalformedError, packets_of

if TYPE_CHECKING:
    from engines.wire.quic_connection import Connection, QuicStream

PORT = 443
ID_SIZE = 8
"""Bytes of the connection ids that aioquic chooses; a server must know, for a short header does not say it."""
IDLE_TIMEOUT_S = 30.0
QUIC = Need("aioquic", "commtui[quic]")
"""For `Scenario.needs`."""


class QuicError(Exception):
    """A request failed because of its connection; says why in a few words."""


# --- the client ---------------------------------------------------------------------------------------------------------


class QuicClient:
    """A connection to a server, as the one who asks sees it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def over(self) -> str:
        """Why the connection is over; "" while it lives."""
        return self._connection.over

    async def get(self, path: str) -> bytes:
        """One request on a stream of its own, and its whole response. Raises QuicError. Cancelling it gives the stream up."""
        from engines.wire.quic_connection import QuicLost

        try:
            stream = self._connection.open_stream()
            try:
                await stream.send(f"GET {path}\r\n".encode("ascii"), end=True)
                return await stream.receive_all()
            except trio.Cancelled:
                stream.cancel()
                raise
        except QuicLost as loss:
            raise QuicError(str(loss)) from None

    def moved(self) -> None:
        """The operating system says that our address has changed: go on from there, with a fresh connection id."""
        self._connection.change_id()


@asynccontextmanager
async def quic_connect(
    host: Host,
    server: str,
    port: int = PORT,
    *,
    idle_timeout_s: float = IDLE_TIMEOUT_S,
    on_news: Callable[[str], None] = lambda news: None,
) -> AsyncIterator[QuicClient]:
    """A connection from `host` to `server`, as long as the block lasts. The handshake takes one round trip.

    Raises QuicError when there is no answer before `idle_timeout_s`; what the body raises comes out as it is. `on_news` hears in
    a few words what becomes of the connection.
    """
    determinism.install_for_aioquic()
    from aioquic.quic.connection import QuicConnection

    from engines.wire.quic_connection import Connection, QuicLost, client_configuration

    with host.datagram_socket() as socket:
        quic = QuicConnection(configuration=client_configuration(idle_timeout_s))
        quic.connect((server, port), trio.current_time())
        connection = Connection(quic, socket, on_news=on_news)
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read, socket, connection)
            nursery.start_soon(_drive, connection, nursery.cancel_scope)
            try:
                await connection.opened()
                yield QuicClient(connection)
            except QuicLost as loss:
                failure = QuicError(str(loss))
            except Exception as error:
                failure = error
            connection.close()
            await trio.sleep_forever()  # until goodbye is said
    if failure is not None:
        raise failure


async def _drive(connection: Connection, life: trio.CancelScope) -> None:
    """Run the connection; when it is over and the program has let go of it, all is over."""
    await connection.run()
    await connection.let_go.wait()
    life.cancel()


async def _read(socket: DatagramSocket, connection: Connection) -> None:
    while True:
        data, source = await socket.receive_from()
        connection.take_datagram(data, source)


# --- the server ---------------------------------------------------------------------------------------------------------

Answerer = Callable[[str], Awaitable[bytes]]
"""The body of the response to GET of a path."""


async def serve_quic(
    host: Host,
    answer: Answerer,
    port: int = PORT,
    *,
    idle_timeout_s: float = IDLE_TIMEOUT_S,
    on_news: Callable[[str], None] = lambda news: None,
) -> None:
    """Answer requests on `port` until cancelled, each stream in a task of its own.

    A datagram belongs to the connection whose id it names, wherever it comes from. Raises OSError when the port is in use.
    """
    determinism.install_for_aioquic()
    with host.datagram_socket(port) as socket:
        async with trio.open_nursery() as nursery:
            server = _Server(socket, nursery, answer, idle_timeout_s, on_news)
            while True:
                data, source = await socket.receive_from()
                server.take(data, source)


class _Server:
    """The connections of a server, by the ids that it has given out."""

    def __init__(
        self,
        socket: DatagramSocket,
        nursery: trio.Nursery,
        answer: Answerer,
        idle_timeout_s: float,
        on_news: Callable[[str], None],
    ) -> None:
        self._socket = socket
        self._nursery = nursery
        self._answer = answer
        self._idle_timeout_s = idle_timeout_s
        self._on_news = on_news
        self._connections: dict[bytes, Connection] = {}

    def take(self, data: bytes, source: Address) -> None:
        """Give a datagram to its connection, begin one, or ignore it: an id that we do not know is not for us."""
        try:
            first = packets_of(data, ID_SIZE)[0]
        except MalformedError:
            return
        connection = self._connections.get(first.destination)
        if connection is not None:
            connection.take_datagram(data, source)
        elif first.kind == INITIAL:
            self._begin(first.destination, data, source)

    def _begin(self, number: bytes, data: bytes, source: Address) -> None:
        from aioquic.quic.connection import QuicConnection

        from engines.wire.quic_connection import Connection, server_configuration

        quic = QuicConnection(
            configuration=server_configuration(self._idle_timeout_s), original_destination_connection_id=number
        )
        known: dict[bytes, Connection] = self._connections

        def changed(number: bytes, issued: bool) -> None:
            if issued:
                known[number] = connection
            else:
                known.pop(number, None)

        connection = Connection(quic, self._socket, on_stream=self._serve, on_id=changed, on_news=self._on_news)
        connection.take_datagram(data, source)
        if connection.alive:
            known[number] = known[quic.host_cid] = connection
            self._nursery.start_soon(self._live, connection)

    async def _live(self, connection: Connection) -> None:
        await connection.run()
        for number in [number for number, known in self._connections.items() if known is connection]:
            del self._connections[number]

    def _serve(self, stream: QuicStream) -> None:
        self._nursery.start_soon(self._answer_one, stream)

    async def _answer_one(self, stream: QuicStream) -> None:
        from engines.wire.quic_connection import QuicLost

        try:
            request = (await stream.receive_all()).decode("ascii", "replace").split()
            if len(request) == 2 and request[0] == "GET":
                await stream.send(await self._answer(request[1]), end=True)
            else:
                stream.cancel()
        except QuicLost:
            return  # nobody waits for the answer any more
