"""One HTTP/2 connection of a client: the state machine of h2, one task that reads, one that writes, and any number of streams.

Only the reader takes bytes from the network, so that no stream ever waits for another stream's turn to read; only the
writer hands bytes to it, so that a peer that reads slowly never stops the reader. Streams talk to both through h2.

Flow control (RFC 9113, section 5.2) is ours: a stream's window opens again as its reader takes the data, the connection's
as data arrives (or also as it is taken, see `H2Options`). GOAWAY is kept from h2, which would end all streams at once; the
RFC lets those go on that the server still answers (section 6.8).
"""

import struct
from collections.abc import Callable, Iterable
from typing import Any

import httpx
import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    SettingsAcknowledged,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import NoAvailableStreamIDError, ProtocolError, TooManyStreamsError
from h2.settings import SettingCodes, Settings

from engines.lab.host import Host
from engines.lab.recorder import because_of, present_cause
from engines.lab.tcp import Endpoint
from engines.wire.h2_outbox import Outbox
from engines.wire.h2_stream import Credit, H2Options, Headers, Stream, StreamError
from engines.wire.http2_frames import DEFAULT_WINDOW, HEADER_SIZE, FrameSplitter, FrameType, error_name
from engines.wire.tls import TlsError, TlsStream, connect_tls

MOST_STREAMS = 1000
"""Streams at a time on a connection to a server that sets no limit (Go's net/http; by RFC 9113, section 6.5.2, there is none)."""

LINGER_S = 1.0
"""How long a connection that ends by our will waits for its last frames to be taken by the kernel."""


class Connection:
    """A connection to `server` at `port`; `run` is its life, `changed` is called when its limit or its health is another."""

    def __init__(self, host: Host, server: str, port: int, options: H2Options, changed: Callable[[], None]) -> None:
        self.options = options
        self.error: StreamError | None = None  # why it is dead
        self.going_away = False  # the server takes no new streams
        self.limit = options.assumed_streams
        self.limit_told = False  # by the server, in its SETTINGS
        self._host = host
        self._address = (server, port)
        self._changed = changed
        self._endpoint: Endpoint | TlsStream | None = None
        self._opened = trio.Event()
        self._cause = -1
        self._scope = trio.CancelScope()
        self._streams: dict[int, Stream] = {}
        self._splitter = FrameSplitter()
        self._credit = Credit(_worth(options))
        self._unread = 0  # bytes whose place in the connection's window is theirs until they are read
        self._outbox = Outbox()
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            DataReceived: self._data_received,
            RemoteSettingsChanged: self._settings_changed,
            ResponseReceived: self._response_received,
            SettingsAcknowledged: self._settings_acknowledged,
            StreamEnded: self._stream_ended,
            StreamReset: self._stream_reset,
            TrailersReceived: self._trailers_received,
            WindowUpdated: self._window_updated,
        }

    def __repr__(self) -> str:
        health = str(self.error) if self.error else "going away" if self.going_away else "open"
        return f"<Connection to {self._address[0]}:{self._address[1]} {health}, {len(self._streams)} of {self.limit} streams>"

    @property
    def usable(self) -> bool:
        """Whether a new request may be given to it."""
        return self.error is None and not self.going_away and not self._outbox.closing

    @property
    def is_open(self) -> bool:
        """Whether it came into being (it may be dead again)."""
        return self._endpoint is not None

    # --- its life -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, then read and write until one side has enough."""
        with self._scope:
            try:
                self._endpoint = await self._connected()
            except OSError as error:
                self._die(StreamError(httpx.ConnectError, str(error)))
                return
            self._begin()
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write, nursery.cancel_scope)
                    await self._read(self._endpoint)
                    self._outbox.close()
                    nursery.cancel_scope.deadline = trio.current_time() + LINGER_S
            finally:
                self._endpoint.close()
        self._die(StreamError(httpx.ReadError, "the connection was closed here"))

    async def _connected(self) -> Endpoint | TlsStream:
        """Raises OSError, of which TlsError is one."""
        endpoint = await self._host.connect(*self._address)
        if self.options.tls is None:
            return endpoint
        stream = await connect_tls(endpoint, self.options.server_name or self._address[0], self.options.tls())
        if stream.protocol != "h2":
            stream.close()
            raise TlsError("the server does not speak HTTP/2")
        return stream

    def _begin(self) -> None:
        """The preface, our SETTINGS, and a larger window for the connection where one is wanted, in one write."""
        self._cause = present_cause()
        self._h2.local_settings = Settings(
            client=True,
            initial_values={SettingCodes.ENABLE_PUSH: 0, SettingCodes.INITIAL_WINDOW_SIZE: self.options.stream_window},
        )
        self._h2.initiate_connection()
        if self.options.connection_window > DEFAULT_WINDOW:
            self._h2.increment_flow_control_window(self.options.connection_window - DEFAULT_WINDOW)
        self._flush()
        self._opened.set()
        self._changed()

    async def _read(self, endpoint: Endpoint | TlsStream) -> None:
        while True:
            try:
                data = await endpoint.receive_some()
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                return self._die(StreamError(httpx.ReadError, str(error)))
            if not data:
                return self._die(StreamError(httpx.RemoteProtocolError, "the server closed the connection"))
            try:
                self._take(data)
            except ProtocolError as error:
                self._flush()  # h2 has written a GOAWAY that says what was wrong
                return self._die(StreamError(httpx.RemoteProtocolError, str(error)))

    def _take(self, data: bytes) -> None:
        for header, frame in self._splitter.take(data):
            if header.length > self._h2.max_inbound_frame_size:
                self._h2.close_connection(ErrorCodes.FRAME_SIZE_ERROR)
                raise ProtocolError(f"a frame of {header.length:,} bytes: the server does not speak HTTP/2")
            if header.type == FrameType.GOAWAY:
                self._told_to_go(frame)
                continue
            late = header.stream != 0 and header.stream not in self._streams
            if late:
                self._flush()
            for event in self._h2.receive_data(frame):
                handler = self._handlers.get(type(event))
                if handler is not None:
                    handler(event)
            self._flush(but=FrameType.RST_STREAM if late else None)
        self._close_if_over()

    async def _write(self, life: trio.CancelScope) -> None:
        """Write until the connection is to be closed and all is said; that ends its life."""
        assert self._endpoint is not None
        await self._outbox.run(self._endpoint)
        if self._outbox.closing:
            life.cancel()

    def _flush(self, but: FrameType | None = None) -> None:
        """Hand what h2 has written to the writer, but for frames of one type.

        h2 resets a stream anew for each frame that was on its way when we reset it; others just ignore those frames, as
        RFC 9113 (section 5.1, "closed") wants it.
        """
        data = self._h2.data_to_send()
        if but is not None:
            data = b"".join(frame for header, frame in FrameSplitter().take(data) if header.type != but)
        self._outbox.put(data)

    def _die(self, error: StreamError) -> None:
        """No stream has a future here."""
        if self.error is not None:
            return
        self.error = error
        self._opened.set()
        for stream in list(self._streams.values()):
            self._forget(stream)
            stream.fail(error)
        self._outbox.release()
        self._changed()

    def close(self) -> None:
        """Say goodbye and close, without waiting: GOAWAY with NO_ERROR, then the writer's last bytes, then FIN."""
        if self._outbox.closing or self.error is not None:
            return
        if self._endpoint is None:
            self._scope.cancel()
            return
        self._h2.close_connection()
        self._flush()
        self._outbox.close()
        self._scope.deadline = trio.current_time() + LINGER_S

    def _close_if_over(self) -> None:
        if self.going_away and not self._streams:
            self.close()

    # --- streams --------------------------------------------------------------------------------------------------------

    async def opened(self) -> None:
        """Wait until requests can be sent. Raises StreamError when there is no connection to be had."""
        waited = not self._opened.is_set()
        await self._opened.wait()
        if self.error is not None:
            raise self.error
        if waited:
            because_of(self._cause)

    def open_stream(self, headers: Headers, *, end: bool, on_closed: Callable[[], None]) -> Stream:
        """Send a request's head; `end` if it has no body. Raises StreamError where that is not possible (any more)."""
        if not self.usable:
            raise StreamError(httpx.RemoteProtocolError, "the server takes no more requests here", unprocessed=True)
        try:
            number = self._h2.get_next_available_stream_id()
            self._h2.send_headers(number, headers, end_stream=end)
        except TooManyStreamsError as error:  # the server has changed its mind since this request got its place
            raise StreamError(httpx.LocalProtocolError, str(error), unprocessed=True) from error
        except NoAvailableStreamIDError as error:  # after 2^30 requests
            self.going_away = True
            raise StreamError(httpx.LocalProtocolError, str(error), unprocessed=True) from error
        except ProtocolError as error:
            raise StreamError(httpx.LocalProtocolError, str(error)) from error
        stream = self._streams[number] = Stream(self, number, on_closed)
        stream.request_sent = end
        self._flush()
        return stream

    def room(self, number: int) -> int:
        """How many bytes of DATA may be sent on that stream now, in one frame."""
        try:
            return max(0, min(self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size))
        except ProtocolError:
            return 0

    def send_data(self, stream: Stream, data: bytes, *, end: bool) -> None:
        self._h2.send_data(stream.number, data, end_stream=end)
        self._flush()
        self._finish(stream)

    async def written(self) -> None:
        """Wait until the kernel has taken all that was to be sent so far."""
        await self._outbox.emptied()

    def taken(self, stream: Stream, due: int, size: int) -> None:
        """The program took `size` bytes of a response; `due` bytes of the stream's window are to be given back."""
        if self.error is not None or self._outbox.closing:
            return
        if due and not stream.ended and not stream.closed:
            self._h2.increment_flow_control_window(due, stream.number)
        read = min(size, self._unread)
        self._unread -= read
        self._give_back(read)
        self._flush()

    def _give_back(self, size: int) -> None:
        due = self._credit.due(size)
        if due:
            self._h2.increment_flow_control_window(due)

    def retune(self, options: H2Options) -> None:
        """Other windows from now on. A stream's window is a setting, which changes those of open streams as well (RFC 9113,
        section 6.9.2); the connection's can only be opened further, or opened no more until enough has been read."""
        before, self.options = self.options, options
        self._credit.worth = _worth(options)
        if self._endpoint is None or not self.usable:
            return
        if options.stream_window != before.stream_window:
            self._h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: options.stream_window})
            for stream in self._streams.values():
                stream.retune(options.stream_window)
        if not options.hold_connection_window:
            freed, self._unread = self._unread, 0
            self._give_back(freed)
        self._give_back(options.connection_window - before.connection_window)
        self._flush()

    def cancel(self, stream: Stream) -> None:
        if stream.closed:
            return
        if not self._outbox.closing:
            self._h2.reset_stream(stream.number, ErrorCodes.CANCEL)
            self._flush()
        self._forget(stream)
        stream.close()
        self._close_if_over()

    def _finish(self, stream: Stream) -> None:
        """Both sides may have said all."""
        if stream.ended and stream.request_sent:
            self._forget(stream)
            stream.close()

    def _forget(self, stream: Stream) -> None:
        self._streams.pop(stream.number, None)

    # --- what arrives ---------------------------------------------------------------------------------------------------

    def _response_received(self, event: ResponseReceived) -> None:
        if stream := self._streams.get(event.stream_id):
            stream.take_headers(_bytes_of(event.headers))

    def _trailers_received(self, event: TrailersReceived) -> None:
        if stream := self._streams.get(event.stream_id):
            stream.trailers += _bytes_of(event.headers)

    def _data_received(self, event: DataReceived) -> None:
        if self.options.hold_connection_window:
            self._unread += event.flow_controlled_length
        else:
            self._give_back(event.flow_controlled_length)
        if stream := self._streams.get(event.stream_id):
            stream.take_data(event.data, event.flow_controlled_length)

    def _stream_ended(self, event: StreamEnded) -> None:
        if stream := self._streams.get(event.stream_id):
            stream.take_end()
            self._finish(stream)

    def _stream_reset(self, event: StreamReset) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        self._forget(stream)
        if stream.ended:  # NO_ERROR after a whole response: the rest of the request is not wanted (section 8.1)
            stream.close()
            stream.wake()
            return
        refused = event.error_code == ErrorCodes.REFUSED_STREAM
        reason = f"the server reset stream {event.stream_id}: {error_name(int(event.error_code))}"
        stream.fail(StreamError(httpx.RemoteProtocolError, reason, unprocessed=refused))

    def _window_updated(self, event: WindowUpdated) -> None:
        concerned: Iterable[Stream | None] = (
            [self._streams.get(event.stream_id)] if event.stream_id else list(self._streams.values())
        )
        for stream in concerned:
            if stream is not None:
                stream.wake()

    def _settings_changed(self, event: RemoteSettingsChanged) -> None:
        self.limit_told = True
        self.limit = min(self._h2.remote_settings.max_concurrent_streams, MOST_STREAMS)
        for stream in self._streams.values():
            stream.wake()  # INITIAL_WINDOW_SIZE changes the windows of open streams too (section 6.9.2)
        self._changed()

    def _settings_acknowledged(self, event: SettingsAcknowledged) -> None:
        """A smaller window can be less than nothing for a stream in flight (section 6.9.2), and h2 4.4 then takes even an empty
        DATA frame for a breach: bring it up to nothing."""
        for number in self._streams:
            missing = -self._h2.remote_flow_control_window(number)
            if missing > 0:
                self._h2.increment_flow_control_window(missing, number)

    def _told_to_go(self, frame: bytes) -> None:
        """GOAWAY: streams above the last one named were not and will not be processed (section 6.8)."""
        last, code = struct.unpack_from(">LL", frame, HEADER_SIZE)
        last &= 0x7FFF_FFFF
        self.going_away = True
        reason = f"the server takes no more requests on this connection: {error_name(code)}"
        for stream in [s for s in self._streams.values() if s.number > last]:
            self._forget(stream)
            stream.fail(StreamError(httpx.RemoteProtocolError, reason, unprocessed=True))
        self._changed()


def _worth(options: H2Options) -> int:
    """Less than h2's half, which counts what comes after a reset."""
    return options.connection_window // 4


def _bytes_of(headers: Iterable[Any]) -> Headers:
    return [(bytes(name), bytes(value)) for name, value in headers]
