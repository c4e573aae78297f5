"""httpx over HTTP/2 on a host: ordinary `httpx.AsyncClient`s whose requests share connections, stream by stream.

HTTP/2 by prior knowledge (RFC 9113, section 3.3), or inside TLS where `H2Options.tls` says so: no upgrade. httpcore's own
HTTP/2 is not used because its streams take turns at reading, so that a slow response holds up the others: the opposite of what
multiplexing is for.
"""

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from types import TracebackType

import httpx
import trio

from engines.lab.host import Host
from engines.lab.knobs import Choice, KnobBoard, Number, Value
from engines.wire.h2_connection import Connection
from engines.wire.h2_pool import Lease, StreamPool
from engines.wire.h2_stream import H2Options, Headers, Stream, StreamError
from engines.wire.http2_frames import DEFAULT_WINDOW
from engines.wire.http_client import closing, make_client, time_limits

QUEUE, OPEN_ANOTHER = "queue", "open another"

STREAM_POLICY_KNOB = Choice(
    "stream-policy",
    "at the limit",
    QUEUE,
    (QUEUE, OPEN_ANOTHER),
    "when the server bears no more streams on a connection: requests queue (httpx), or a new one is opened (Envoy)",
)

AS_IT_ARRIVES, AS_IT_IS_READ = "as it arrives", "as it is read"

WINDOW_KNOBS = (
    Number("stream-window", "stream window", "B", DEFAULT_WINDOW, 1000, 16_000_000, 1000,
           "DATA that the server may send unasked on each stream (RFC 9113, 6.9.2: 65,535 B)", ratio=2.0, integer=True),
    Number("connection-window", "connection window", "B", DEFAULT_WINDOW, DEFAULT_WINDOW, 16_000_000, 1000,
           "the same for all streams together (RFC 9113, 6.9.2: 65,535 B)", ratio=2.0, integer=True),
    Choice("window-opens", "window opens", AS_IT_ARRIVES, (AS_IT_ARRIVES, AS_IT_IS_READ),
           "when the connection's window is opened again: as data arrives, or as the program has read it"),
)  # fmt: skip
"""What an HTTP/2 client lets a server send (see `H2Options`); `h2_client` follows them, on open connections too."""

MOST_CONNECTIONS = 100
"""How many connections to one server "open another" goes up to (httpx 0.28: 100 in all)."""

RETRIES = 6
"""How often a request that the server certainly did not process is sent again (Go's net/http: 6, see `_pause_s`)."""

_ERRORS: dict[str, type[httpx.TimeoutException]] = {
    "connect": httpx.ConnectTimeout,
    "read": httpx.ReadTimeout,
    "write": httpx.WriteTimeout,
    "pool": httpx.PoolTimeout,
}
_COMPLAINTS = {
    "connect": "no connection within {:g} s",
    "read": "nothing arrived within {:g} s",
    "write": "the peer took nothing within {:g} s",
    "pool": "no stream became free within {:g} s",
}

_PORTS = {"http": 80, "https": 443}

# Fields that speak of an HTTP/1.1 connection (RFC 9113, section 8.2.2); Host becomes :authority (section 8.3.1).
_NOT_HERE = {b"connection", b"host", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}


@asynccontextmanager
async def h2_client(
    host: Host, *, base_url: str = "", options: H2Options | None = None, policy: str = QUEUE
) -> AsyncIterator[httpx.AsyncClient]:
    """An httpx client on `host` that speaks HTTP/2 only, one connection to each server as long as its stream limit allows.

    It follows the knobs `*-timeout`, `stream-policy` (else `policy`) and those for windows (else `options`), where the scenario
    has them. Time limits that a request sets itself win; `math.inf` is none. Raises httpx's exceptions, as `http_client` does.
    """
    knob = STREAM_POLICY_KNOB.name
    first = str(host.knobs[knob]) if knob in host.knobs else policy
    wanted = options or H2Options()

    def retune(value: Value) -> None:
        pool.retune(_with_windows(wanted, host.knobs))

    async with trio.open_nursery() as nursery:
        pool = StreamPool(host, nursery, _with_windows(wanted, host.knobs), _most(first))
        async with make_client(_StreamTransport(host, pool), base_url) as client:
            with ExitStack() as knobs:
                knobs.enter_context(host.knobs.watching(knob, lambda value: pool.allow(_most(value))))
                for window in WINDOW_KNOBS:
                    knobs.enter_context(host.knobs.watching(window.name, retune))
                yield client


def _with_windows(options: H2Options, knobs: KnobBoard) -> H2Options:
    """`options`, but for what the scenario's knobs say."""
    stream, connection, opens = (knob.name for knob in WINDOW_KNOBS)
    return replace(
        options,
        stream_window=int(knobs.number(stream)) if stream in knobs else options.stream_window,
        connection_window=int(knobs.number(connection)) if connection in knobs else options.connection_window,
        hold_connection_window=knobs[opens] == AS_IT_IS_READ if opens in knobs else options.hold_connection_window,
    )


def _most(policy: Value) -> int:
    return MOST_CONNECTIONS if policy == OPEN_ANOTHER else 1


class _StreamTransport(httpx.AsyncBaseTransport):
    """Gives each of httpx's requests a stream, and a further one where the server did not touch the first."""

    def __init__(self, host: Host, pool: StreamPool) -> None:
        self._host = host
        self._pool = pool

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.scheme != self._pool.scheme:
            raise httpx.UnsupportedProtocol(f"no {request.url.scheme} here", request=request)
        exchange = _Exchange(self._host, self._pool, request)
        for attempt in range(RETRIES):
            try:
                return await exchange.response()
            except StreamError as failure:
                if not (failure.unprocessed and exchange.repeatable):
                    raise failure.kind(str(failure), request=request) from failure
            await trio.sleep(_pause_s(attempt))
        try:
            return await exchange.response()
        except StreamError as failure:
            raise failure.kind(str(failure), request=request) from failure

    async def aclose(self) -> None:
        self._pool.close()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()


def _pause_s(attempt: int) -> float:
    """Before the first repetition none, then 1, 2, 4 … s, as Go's net/http 1.22 does (but for its 10 % of chance)."""
    return 2.0 ** (attempt - 1) if attempt else 0.0


class _Exchange:
    """One request and what it needs to be sent, again if need be."""

    def __init__(self, host: Host, pool: StreamPool, request: httpx.Request) -> None:
        self._host = host
        self._pool = pool
        self._request = request
        self._limits = time_limits(host, request)
        self._body_size = _body_size(request)
        self._body_begun = False

    @property
    def repeatable(self) -> bool:
        """Whether the body can be sent once more; one that is made as it is sent cannot."""
        return not self._body_begun or isinstance(self._request.stream, httpx.ByteStream)

    async def response(self) -> httpx.Response:
        """Send the request and wait for the head of the response. Raises StreamError, or a timeout of httpx's."""
        request, url = self._request, self._request.url
        lease = self._pool.enter(
            (url.host, url.port or _PORTS[url.scheme]), f"{request.method} {url.raw_path.decode()}"
        )
        stream: Stream | None = None
        try:
            connection = await self._place(lease)
            with self._limit("connect"):
                await connection.opened()
            stream = connection.open_stream(
                _head(request), end=self._body_size == 0, on_closed=lambda: self._pool.leave(lease)
            )
            if self._body_size != 0:
                await self._send_body(stream)
            with self._limit("read"):
                headers = await stream.head()
        except BaseException:
            if stream is not None:
                stream.cancel()
            self._pool.leave(lease)
            raise
        return httpx.Response(
            status_code=int(dict(headers)[b":status"]),
            headers=[(name, value) for name, value in headers if not name.startswith(b":")],
            stream=_Body(self, stream),
            extensions={"http_version": b"HTTP/2", "stream_id": stream.number, "trailing_headers": stream.trailers},
        )

    async def _place(self, lease: Lease) -> Connection:
        try:
            with self._limit("pool"):
                return await self._pool.granted(lease)
        except httpx.PoolTimeout:
            self._pool.leave(lease, "timed out")
            raise

    async def _send_body(self, stream: Stream) -> None:
        """DATA frames; the last of a body of known size ends the stream, else an empty one does."""
        assert isinstance(self._request.stream, httpx.AsyncByteStream)
        self._body_begun = True
        left = self._body_size
        async with closing(aiter(self._request.stream)) as pieces:
            async for piece in pieces:
                if left is not None:
                    left -= len(piece)
                with self._limit("write"):
                    await stream.send(piece, last=left == 0)
                if stream.closed or stream.ended:
                    return
        if not stream.request_sent:
            with self._limit("write"):
                await stream.send(b"", last=True)

    async def piece(self, stream: Stream) -> bytes:
        """The next piece of the response's body, b"" at its end. Raises httpx's exceptions."""
        try:
            with self._limit("read"):
                return await stream.piece()
        except StreamError as failure:
            raise failure.kind(str(failure), request=self._request) from failure

    @contextmanager
    def _limit(self, what: str) -> Iterator[None]:
        """One of httpx's four time limits, from here on."""
        seconds = self._limits[what]
        try:
            with trio.fail_after(math.inf if seconds is None else seconds):
                yield
        except trio.TooSlowError:
            assert seconds is not None
            self._host.timed_out(what, seconds)
            raise _ERRORS[what](_COMPLAINTS[what].format(seconds), request=self._request) from None


class _Body(httpx.AsyncByteStream):
    """A response's body, piece by piece as it is read; what is not read stays with the server, but for a window's worth."""

    def __init__(self, exchange: _Exchange, stream: Stream) -> None:
        self._exchange = exchange
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Not a generator: it may be left in the middle, and nobody need close it."""
        return self

    async def __anext__(self) -> bytes:
        piece = await self._exchange.piece(self._stream)
        if not piece:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        """Nobody reads on; a stream that is not over is reset, and its place is free again."""
        self._stream.cancel()


def _head(request: httpx.Request) -> Headers:
    """RFC 9113, section 8.3.1: the pseudo-fields first; names in lower case (section 8.2)."""
    pseudo = [
        (b":method", request.method.encode("ascii")),
        (b":authority", _authority(request)),
        (b":scheme", request.url.raw_scheme),
        (b":path", request.url.raw_path),
    ]
    fields = [(name.lower(), value) for name, value in request.headers.raw]
    return pseudo + [(name, value) for name, value in fields if name not in _NOT_HERE]


def _authority(request: httpx.Request) -> bytes:
    return next((value for name, value in request.headers.raw if name.lower() == b"host"), request.url.netloc)


def _body_size(request: httpx.Request) -> int | None:
    """How long the body is; None if only its end will tell."""
    if "content-length" in request.headers:
        return int(request.headers["content-length"])
    return None if "transfer-encoding" in request.headers else 0
