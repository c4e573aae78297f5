"""One request and its response on an HTTP/2 connection, as the program and the connection see it.

A stream reads what its connection's reader has put down for it and asks the connection to send; it never touches the network.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import httpx
import trio

from engines.lab.recorder import because_of, present_cause
from engines.wire.http2_frames import DEFAULT_WINDOW
from engines.wire.tls import Credentials

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class H2Options:
    """What an HTTP/2 client may decide for itself.

    `stream_window` and `connection_window` are bytes of response bodies that the server may send unasked; the defaults are
    the protocol's own (RFC 9113, section 6.9.2). With `hold_connection_window` that of the connection too opens only as
    data is taken, so that one stream that is not read can stall all the others. `assumed_streams` is how many streams a server
    is believed to bear before its SETTINGS have come (nghttp2 and Go's net/http: 100; httpcore 1.0: 1).

    With `tls`, asked anew for each connection, it speaks inside TLS to a server that can prove to be `server_name` (default: the
    name it is addressed by), and only to one that agrees on "h2" (RFC 9113, section 3.2).
    """

    stream_window: int = DEFAULT_WINDOW
    connection_window: int = DEFAULT_WINDOW
    hold_connection_window: bool = False
    assumed_streams: int = 100
    tls: Callable[[], Credentials] | None = None
    server_name: str = ""


class StreamError(Exception):
    """A request failed: which error of httpx that is, and whether the server certainly did nothing with it."""

    def __init__(self, kind: type[httpx.TransportError], reason: str, *, unprocessed: bool = False) -> None:
        super().__init__(reason)
        self.kind = kind
        self.unprocessed = unprocessed


class Credit:
    """Bytes of a receive window that may be given back; small amounts wait until they are worth a frame."""

    def __init__(self, worth: int) -> None:
        self.worth = worth
        self._owed = 0

    def due(self, size: int) -> int:
        """Note that `size` bytes are free again (or, if negative, so many less); returns how many to announce now."""
        self._owed += size
        if self._owed < max(1, self.worth):
            return 0
        due, self._owed = self._owed, 0
        return due


class Carrier(Protocol):
    """What a stream needs of its connection."""

    options: H2Options

    def room(self, number: int) -> int: ...

    def send_data(self, stream: "Stream", data: bytes, *, end: bool) -> None: ...

    async def written(self) -> None: ...

    def taken(self, stream: "Stream", due: int, size: int) -> None: ...

    def cancel(self, stream: "Stream") -> None: ...


class Stream:
    """A request and its response, as long as the wire or the program has anything to do with it."""

    def __init__(self, connection: Carrier, number: int, on_closed: Callable[[], None]) -> None:
        self.number = number
        self.headers: Headers | None = None
        self.trailers: Headers = []
        self.ended = False  # the peer has said all
        self.request_sent = False  # so have we
        self.closed = False
        self._connection = connection
        self._on_closed = on_closed
        self._credit = Credit(connection.options.stream_window // 2)
        self._pieces: deque[tuple[bytes, int, int]] = (
            deque()
        )  # data, its flow-controlled size, the packet that brought it
        self._error: StreamError | None = None
        self._cause = -1
        self._news = trio.lowlevel.ParkingLot()

    # --- for the program ------------------------------------------------------------------------------------------------

    async def send(self, data: bytes, *, last: bool) -> None:
        """Send a piece of the request's body as the peer's windows allow, and wait until the kernel has taken it.

        A response that is complete, or a server that asks for no more (RFC 9113, section 8.1), ends it early. Raises StreamError.
        """
        rest = memoryview(data)
        while not self.closed and not self.ended and not self.request_sent:
            size = min(len(rest), self._connection.room(self.number))
            if size or not rest:
                self.request_sent = last and size == len(rest)
                self._connection.send_data(self, bytes(rest[:size]), end=self.request_sent)
                rest = rest[size:]
                await self._connection.written()
                if not rest:
                    break
            else:
                await self._news.park()
        if self._error is not None:
            raise self._error

    async def head(self) -> Headers:
        """The response's fields, with `:status`. Raises StreamError."""
        while self.headers is None:
            if self._error is not None:
                raise self._error
            await self._news.park()
        because_of(self._cause)
        return self.headers

    async def piece(self) -> bytes:
        """The next piece of the response's body, b"" at its end. Raises StreamError once everything before it was taken."""
        await trio.lowlevel.checkpoint()
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self.ended:
                because_of(self._cause)
                return b""
            await self._news.park()
        data, size, cause = self._pieces.popleft()
        self._connection.taken(self, self._credit.due(size), size)
        because_of(cause)
        return data

    def cancel(self) -> None:
        """Nobody wants the rest: RST_STREAM, and the connection lives (RFC 9113, section 5.4.2).

        Whoever reads on gets an error, unless all had come.
        """
        unread = sum(size for _, size, _ in self._pieces)
        self._connection.taken(self, 0, unread)
        if self._error is None and (self._pieces or not self.ended):
            self._error = StreamError(httpx.ReadError, "the response was closed here")
        self._pieces.clear()
        self._connection.cancel(self)
        self._news.unpark_all()

    # --- for the connection ---------------------------------------------------------------------------------------------

    def take_headers(self, headers: Headers) -> None:
        self.headers = headers
        self.wake()

    def take_data(self, data: bytes, size: int) -> None:
        """Keep data until somebody reads it; empty or padding, it was read by nobody's leave."""
        if data:
            self._pieces.append((data, size, present_cause()))
            self.wake()
        else:
            self._connection.taken(self, self._credit.due(size), size)

    def take_end(self) -> None:
        self.ended = True
        self.wake()

    def fail(self, error: StreamError) -> None:
        """The stream is over before its time; a response that has come whole stays whole."""
        if not self.ended:
            self._error = error
        self.wake()
        self.close()

    def close(self) -> None:
        """Nothing more will come or go on the wire."""
        if not self.closed:
            self.closed = True
            self._on_closed()

    def retune(self, window: int) -> None:
        """The stream's window has another size."""
        self._credit.worth = window // 2
        self._connection.taken(self, self._credit.due(0), 0)

    def wake(self) -> None:
        self._cause = present_cause()
        self._news.unpark_all()
