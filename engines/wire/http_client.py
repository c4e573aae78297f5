"""httpx on a host: ordinary `httpx.AsyncClient`s whose bytes, pool and time limits belong to the lab."""

import math
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType

import httpcore
import httpx
import trio

from engines.lab.host import Host
from engines.lab.knobs import Number, Value
from engines.wire.pool import RecordedPool

TIMEOUT_KNOBS: tuple[Number, ...] = tuple(
    Number(f"{what}-timeout", f"{what} timeout", "s", 5.0, 0.05, math.inf, 0.5, help, ratio=2.0)
    for what, help in (
        ("connect", "how long the client waits for a connection (httpx 0.28: 5 s)"),
        ("read", "how long the client bears silence while it reads (httpx 0.28: 5 s)"),
        ("write", "how long the client waits for the peer to take a chunk (httpx 0.28: 5 s)"),
        ("pool", "how long the client waits for a free connection (httpx 0.28: 5 s)"),
    )
)
"""The four time limits of httpx, with its own defaults; `http_client` reads them anew for each request."""

POOL_SIZE_KNOB = Number(
    "pool-size",
    "pool size",
    "",
    6,
    1,
    100,
    1,
    "connections of the client to one server (httpx 0.28: 100)",
    integer=True,
)


@asynccontextmanager
async def http_client(
    host: Host, *, base_url: str = "", size_knob: str = POOL_SIZE_KNOB.name
) -> AsyncIterator[httpx.AsyncClient]:
    """An httpx client on `host` that follows the knobs `pool-size` (or `size_knob`) and `*-timeout` where the scenario has them.

    Time limits that a request sets itself win. Without the knobs they are httpx's defaults: 5 s each, 100 connections.
    """
    size = int(host.knobs.number(size_knob)) if size_knob in host.knobs else 100
    pool = RecordedPool(host, size)
    resizes, wanted = trio.open_memory_channel[int](math.inf)

    async def follow_size() -> None:
        async for new_size in wanted:
            await pool.resize(new_size)

    def turned(value: Value) -> None:
        resizes.send_nowait(int(value))

    transport = _PoolTransport(host, pool)
    async with (
        trio.open_nursery() as nursery,
        make_client(transport, base_url) as client,
    ):
        nursery.start_soon(follow_size)
        with host.knobs.watching(size_knob, turned):
            yield client
        nursery.cancel_scope.cancel()


def make_client(transport: httpx.AsyncBaseTransport, base_url: str) -> httpx.AsyncClient:
    """An httpx client over `transport` that says no more than it must, so that its messages are easy to read."""
    client = httpx.AsyncClient(transport=transport, base_url=base_url, timeout=None, trust_env=False)
    for superfluous in ("accept-encoding", "connection"):
        del client.headers[superfluous]
    client.headers["user-agent"] = "commtui"
    return client


class _PoolTransport(httpx.AsyncBaseTransport):
    """Hands httpx's requests to a pool of ours; httpx's own transport cannot be given one."""

    def __init__(self, host: Host, pool: RecordedPool) -> None:
        self._host = host
        self._pool = pool

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        limits = time_limits(self._host, request)
        with _translated_errors(request):
            async with closing(aiter(request.stream)) as body:
                inner = httpcore.Request(
                    method=request.method,
                    url=url,
                    headers=request.headers.raw,
                    content=body,
                    extensions={**request.extensions, "timeout": limits},
                )
                response = await self._pool.handle_async_request(inner)
        assert not isinstance(response.stream, bytes)
        return httpx.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_BodyStream(response, request),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()


def time_limits(host: Host, request: httpx.Request) -> dict[str, float | None]:
    """The request's own limits, else the knobs' present values, else httpx's 5 s. None is no limit."""
    limits = {}
    own = request.extensions.get("timeout", {})
    for what in ("connect", "read", "write", "pool"):
        value: float | None = own.get(what)
        if value is None:
            knob = f"{what}-timeout"
            value = host.knobs.number(knob) if knob in host.knobs else 5.0
        limits[what] = None if value == math.inf else value
    return limits


@asynccontextmanager
async def closing(body: AsyncIterator[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
    """Close a body that was not sent to its end. httpcore leaves that to the garbage collector, which comes when it likes."""
    try:
        yield body
    finally:
        if isinstance(body, AsyncGenerator):
            await body.aclose()


class _BodyStream(httpx.AsyncByteStream):
    """A response's body, piece by piece as it arrives."""

    def __init__(self, response: httpcore.Response, request: httpx.Request) -> None:
        self._response = response
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated_errors(self._request):
            async for piece in self._response.aiter_stream():
                yield piece

    async def aclose(self) -> None:
        await self._response.aclose()


_HTTPX_ERRORS: dict[type[Exception], type[httpx.TransportError]] = {
    getattr(httpcore, name): getattr(httpx, name)
    for name in (
        "ConnectTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout", "ConnectError", "ReadError", "WriteError",
        "ProxyError", "UnsupportedProtocol", "LocalProtocolError", "RemoteProtocolError",
    )
}  # fmt: skip


@contextmanager
def _translated_errors(request: httpx.Request) -> Iterator[None]:
    """httpcore's errors as httpx's, by the same names."""
    try:
        yield
    except tuple(_HTTPX_ERRORS) as error:
        raise _HTTPX_ERRORS[type(error)](str(error), request=request) from error
