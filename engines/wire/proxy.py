"""A reverse proxy: ordinary ASGI code that asks an upstream server and passes on what it says, in its own time.

It has the two habits that patterns with slow answers stumble over: time limits, and buffers. It refuses to cache, to
balance and to retry.
"""

import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import trio

from engines.lab.host import Host
from engines.wire.forwarding import Forwarded, Receive, Send, passed_on, read_request, until_disconnect
from engines.wire.http_client import http_client
from engines.wire.http_server import serve_http
from engines.wire.streaming import streaming

NGINX_BUFFER_BYTES = 4096
"""nginx: proxy_buffers 8 4k|8k, "equal to one memory page". What has not filled a buffer waits for the rest of it."""
NGINX_READ_TIMEOUT_S = 60.0
"""nginx: proxy_read_timeout 60s, "only between two successive read operations"."""


@dataclass(frozen=True, slots=True)
class Buffering:
    """Pass a body on in full buffers of `size_bytes()`, or whatever is there `flush_after_s()` after it began to wait, or at
    its end. A response that says `X-Accel-Buffering: no` is passed on at once, as nginx does. Each is asked anew."""

    size_bytes: Callable[[], int] = lambda: NGINX_BUFFER_BYTES
    flush_after_s: Callable[[], float] = lambda: math.inf


async def reverse_proxy(
    host: Host,
    upstream: str,
    *,
    timeout_s: Callable[[], float] = lambda: math.inf,
    silence_s: Callable[[], float] = lambda: NGINX_READ_TIMEOUT_S,
    buffering: Buffering | None = None,
) -> None:
    """Serve port 80 of `host` with what host `upstream` says on its own, over HTTP/1.1 behind the proxy, until cancelled.

    See `pass_on` for the rest.
    """
    async with http_client(host, base_url=f"http://{upstream}") as http:
        await pass_on(host, lambda: http, timeout_s=timeout_s, silence_s=silence_s, buffering=buffering)


async def pass_on(
    host: Host,
    behind: Callable[[], httpx.AsyncClient],
    *,
    ports: Sequence[int] = (80,),
    timeout_s: Callable[[], float] = lambda: math.inf,
    silence_s: Callable[[], float] = lambda: NGINX_READ_TIMEOUT_S,
    buffering: Buffering | None = None,
) -> None:
    """Serve `ports` of `host` with what the client `behind` gets for each request, until cancelled.

    In front it speaks what each client speaks, HTTP/1.1 or HTTP/2; behind, what the client given does. So requests of many
    connections can share one (multiplexing), and those of one be spread over many (demultiplexing).

    `timeout_s` limits a request from its last byte to the last byte of its response (Envoy's route timeout), `silence_s` the
    upstream's silence (nginx's read timeout); both are asked at each request. Past either, the client gets 504, or, when
    the response has begun, an end of the connection in mid-body. An upstream that cannot be reached is a 502.
    """

    async def forward(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = await read_request(scope, receive)
        if request is None:
            return
        exchange = _Exchange(host, send, buffering)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(until_disconnect, receive, nursery.cancel_scope)
            limit_s = timeout_s()
            with trio.move_on_after(limit_s) as patience:
                await exchange.run(behind(), request, silence_s())
            if patience.cancelled_caught:
                host.timed_out("proxy", limit_s)
                await exchange.fail(504)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as servers:
        for port in ports:
            servers.start_soon(serve_http, host, forward, port)


class _Exchange:
    """One request on its way through."""

    def __init__(self, host: Host, send: Send, buffering: Buffering | None) -> None:
        self._host = host
        self._send = send
        self._buffering = buffering
        self._started = False

    async def run(self, http: httpx.AsyncClient, request: Forwarded, silence_s: float) -> None:
        """Ask the upstream and pass the answer on; trouble with the upstream becomes a 502 or a 504."""
        timeout = httpx.Timeout(None, read=silence_s, pool=math.inf)
        headers = httpx.Headers(list(request.headers))
        try:
            async with streaming(
                http, request.method, request.target, headers=headers, content=request.body or None, timeout=timeout
            ) as (response, pieces):
                await self._pass_on(response, pieces)
        except httpx.TimeoutException:
            await self.fail(504)
        except httpx.TransportError:
            await self.fail(502)

    async def fail(self, status: int) -> None:
        """Say so, if nothing has been said yet; else leave the response unfinished, and the server hangs up."""
        if self._started:
            return
        self._started = True
        headers = [(b"content-length", b"0")]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pass_on(self, response: httpx.Response, pieces: AsyncIterator[bytes]) -> None:
        at_once = response.headers.get("x-accel-buffering", "").lower() == "no"
        if self._buffering is None or at_once:
            await self._begin(response)
            async for piece in pieces:
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        else:
            await self._pass_on_in_buffers(response, pieces, self._buffering)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _begin(self, response: httpx.Response) -> None:
        if not self._started:
            self._started = True
            headers = [(name, value) for name, value in passed_on(response.headers.raw) if not _for_the_proxy(name)]
            await self._send({"type": "http.response.start", "status": response.status_code, "headers": headers})

    async def _pass_on_in_buffers(
        self, response: httpx.Response, pieces: AsyncIterator[bytes], buffering: Buffering
    ) -> None:
        """The head waits, too: nginx keeps it until there is something to send with it (postpone_output)."""
        held, flush_at_s = bytearray(), math.inf
        async with trio.open_nursery() as nursery:
            upstream = _Pump(pieces)
            nursery.start_soon(upstream.run)
            over = False
            while not over:
                due = True
                with trio.move_on_at(flush_at_s):
                    piece = await upstream.next_piece()
                    due = over = piece is None
                    held += piece or b""
                if upstream.failure is not None:
                    break
                size = len(held) if due else len(held) - len(held) % max(1, buffering.size_bytes())
                if size or over:
                    await self._begin(response)
                if size:
                    ready = bytes(held[:size])
                    del held[:size]
                    await self._send({"type": "http.response.body", "body": ready, "more_body": True})
                    flush_at_s = math.inf
                if held and flush_at_s == math.inf:
                    flush_at_s = trio.current_time() + buffering.flush_after_s()
                self._host.state("buffered", f"{len(held)} B")
        if upstream.failure is not None:
            raise upstream.failure


class _Pump:
    """Reads a body in a task of its own, so that waiting for its next piece can be given up without losing it."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self.failure: httpx.TransportError | None = None
        self._pieces = pieces
        self._send, self._receive = trio.open_memory_channel[bytes](0)

    async def run(self) -> None:
        with self._send:
            try:
                async for piece in self._pieces:
                    await self._send.send(piece)
            except httpx.TransportError as error:
                self.failure = error

    async def next_piece(self) -> bytes | None:
        """The next piece, or None at the end or after a failure."""
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            return None


def _for_the_proxy(name: bytes) -> bool:
    return name.lower().startswith(b"x-accel-")
