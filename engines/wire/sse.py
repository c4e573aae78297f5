"""Server-sent events: a client as browsers have it (`EventSource`), and a response that sends them (`event_stream`).

WHATWG HTML, section 9.2. httpx makes the requests and Starlette answers them; what is in the stream is read by our own
parser (`sse_grammar`, which says why), and when to connect again, and when never again, is decided here.
"""

import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack
from enum import IntEnum
from types import TracebackType
from typing import Any, Generic, TypeVar

import httpx
import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from engines.lab.facts import WaitKind
from engines.lab.host import Host
from engines.lab.knobs import Number
from engines.wire.sse_grammar import EventStreamParser, ServerSentEvent, format_comment, format_event
from engines.wire.streaming import streaming

MEDIA_TYPE = "text/event-stream"

RECONNECTION_S = 3.0
"""How long Chrome waits before it connects again, unless the stream says `retry` (Chromium: kDefaultReconnectDelay). The
standard says "probably in the region of a few seconds"."""

HEARTBEAT_S = 15.0
""""Authors can include a comment line every 15 seconds or so", against proxies that drop silent connections (9.2.7)."""

HEARTBEAT_KNOB = Number(
    "heartbeat", "heartbeat", "s", HEARTBEAT_S, 0.1, math.inf, 1.0,
    "after so much silence the server sends a comment (WHATWG HTML 9.2.7: 15 s or so)", ratio=2.0,
)  # fmt: skip


# --- the client ---------------------------------------------------------------------------------------------------------


class ReadyState(IntEnum):
    """What a page may ask of its source (section 9.2.2)."""

    CONNECTING = 0
    OPEN = 1
    CLOSED = 2


def _ignore(*_: object) -> None:
    pass


class EventSource:
    """Events of a URL, for as long as the server lets us: iterate over it inside `async with`.

    When the stream ends or breaks, or nobody answers, it waits and connects again, and says the id of the last event. It
    ends for good at any status but 200 (204 is the polite way to say so) and at any other type than text/event-stream
    (section 9.2.3). Then the iteration ends and `failure` says why.

    `opened` is called with each response, `dropped` with the reason each time it will try again. `silence_s` is asked
    before each request how much silence it bears; a browser bears any.
    """

    def __init__(
        self,
        host: Host,
        http: httpx.AsyncClient,
        url: str,
        *,
        reconnection_s: float = RECONNECTION_S,
        silence_s: Callable[[], float] = lambda: math.inf,
        opened: Callable[[httpx.Response], None] = _ignore,
        dropped: Callable[[str], None] = _ignore,
    ) -> None:
        self.ready_state = ReadyState.CONNECTING
        self.reconnection_s = reconnection_s
        self.last_event_id = ""
        self.failure = ""
        self._host = host
        self._http = http
        self._url = url
        self._silence_s = silence_s
        self._opened = opened
        self._dropped = dropped
        self._stream = AsyncExitStack()
        self._pieces: AsyncIterator[bytes] | None = None
        self._parser = EventStreamParser()
        self._events: deque[ServerSentEvent] = deque()

    async def __aenter__(self) -> "EventSource":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.ready_state = ReadyState.CLOSED
        await self._hang_up()

    def __aiter__(self) -> "EventSource":
        return self

    async def __anext__(self) -> ServerSentEvent:
        """The next event. Nothing is read before it is asked for: a slow reader makes the network wait."""
        while self.ready_state is not ReadyState.CLOSED:
            if self._events:
                return self._events.popleft()
            try:
                if self._pieces is None:
                    await self._connect()
                else:
                    self._take(await anext(self._pieces))
            except StopAsyncIteration:
                await self._reestablish("the stream ended")
            except httpx.TransportError as error:
                await self._reestablish(type(error).__name__)
        raise StopAsyncIteration

    async def _connect(self) -> None:
        # A fetch whose cache mode is "no-store" says Cache-Control: no-cache (Fetch, HTTP-network-or-cache fetch).
        headers = httpx.Headers({"Accept": MEDIA_TYPE, "Cache-Control": "no-cache"})
        if self.last_event_id:
            headers = httpx.Headers([*headers.raw, (b"Last-Event-ID", self.last_event_id.encode())])
        timeout = httpx.Timeout(None, read=self._silence_s(), pool=math.inf)
        response, pieces = await self._stream.enter_async_context(
            streaming(self._http, "GET", self._url, headers=headers, timeout=timeout)
        )
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.status_code != 200:
            await self._fail(f"status {response.status_code}")
        elif media_type != MEDIA_TYPE:
            await self._fail(f"content type {media_type or 'missing'}")
        else:
            self.ready_state = ReadyState.OPEN
            self._parser = EventStreamParser(self.last_event_id)
            self._pieces = pieces
            self._opened(response)

    def _take(self, piece: bytes) -> None:
        self._events.extend(self._parser.feed(piece))
        self.last_event_id = self._parser.last_event_id
        if self._parser.retry_s is not None:
            self.reconnection_s = self._parser.retry_s

    async def _reestablish(self, reason: str) -> None:
        self.ready_state = ReadyState.CONNECTING
        await self._hang_up()
        self._dropped(reason)
        with self._host.waiting("reconnects soon", WaitKind.TIMER):
            await trio.sleep(self.reconnection_s)

    async def _fail(self, reason: str) -> None:
        self.ready_state = ReadyState.CLOSED
        self.failure = reason
        await self._hang_up()

    async def _hang_up(self) -> None:
        self._pieces = None
        stream, self._stream = self._stream, AsyncExitStack()
        await stream.aclose()


# --- the server ---------------------------------------------------------------------------------------------------------

T = TypeVar("T")


def event_stream(
    events: trio.MemoryReceiveChannel[T],
    write: Callable[[T], bytes],
    *,
    heartbeat_s: Callable[[], float] = lambda: HEARTBEAT_S,
    retry_s: float | None = None,
    buffered_by_proxies: bool = False,
) -> Response:
    """A response that never ends: what comes through `events`, as it comes. `write` puts it into bytes (see `format_event`).

    After each `heartbeat_s()` of silence a comment is sent. `retry_s` goes first, if given. Unless it may be
    `buffered_by_proxies` it says `X-Accel-Buffering: no`, which nginx obeys. When the client leaves, `events` is closed, so
    that the other end of the channel learns of it; when that end is closed, the response ends.
    """
    return _EventStreamResponse(events, write, heartbeat_s, retry_s, buffered_by_proxies)


class _EventStreamResponse(Response, Generic[T]):
    def __init__(
        self,
        events: trio.MemoryReceiveChannel[T],
        write: Callable[[T], bytes],
        heartbeat_s: Callable[[], float],
        retry_s: float | None,
        buffered_by_proxies: bool,
    ) -> None:
        self.status_code = 200
        self.background = None
        prompt = {} if buffered_by_proxies else {"X-Accel-Buffering": "no"}
        self.init_headers({"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store", **prompt})
        self._events = events
        self._write = write
        self._heartbeat_s = heartbeat_s
        self._first = b"" if retry_s is None else format_event(retry_s=retry_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._events, trio.open_nursery() as nursery:
            nursery.start_soon(_until_disconnect, receive, nursery.cancel_scope)
            await self._send_all(send)
            nursery.cancel_scope.cancel()

    async def _send_all(self, send: Callable[[MutableMapping[str, Any]], Awaitable[None]]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        piece = self._first
        while True:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            piece = format_comment("heartbeat")
            with trio.move_on_after(self._heartbeat_s()):
                try:
                    piece = self._write(await self._events.receive())
                except trio.EndOfChannel:
                    break
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_disconnect(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
