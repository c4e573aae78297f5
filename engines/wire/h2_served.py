"""One HTTP/2 connection of a server that keeps its promises itself: what a stream limit is, and how to say goodbye.

h2 would end the whole connection when a client brings a stream too many, and would say nothing after GOAWAY. RFC 9113 allows
a server to be kinder: it refuses that stream (section 5.1.2), and answers what it has begun (section 6.8).
"""

from collections import deque
from collections.abc import Callable
from typing import Any

import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    PingAckReceived,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from engines.lab.host import Host
from engines.lab.recorder import because_of, present_cause
from engines.lab.tcp import Endpoint
from engines.wire.h2_outbox import Outbox
from engines.wire.h2_stream import Headers

LAST_OF_ALL = 2**31 - 1
"""The highest stream: a GOAWAY that names it announces the end and gives nothing up yet (RFC 9113, section 6.8)."""

Message = dict[str, Any]


class _Promises(Settings):
    """What we tell the client we bear; to hold it to that is not h2's business but ours."""

    @property
    def max_concurrent_streams(self) -> int:
        return LAST_OF_ALL

    @max_concurrent_streams.setter
    def max_concurrent_streams(self, value: int) -> None:
        self[SettingCodes.MAX_CONCURRENT_STREAMS] = value


class ServedConnection:
    """An open connection; `start` begins to work on a request, in a task that may outlive the connection."""

    def __init__(
        self, host: Host, endpoint: Endpoint, most_streams: int, start: Callable[["ServedStream"], None]
    ) -> None:
        self.endpoint = endpoint
        self.outbox = Outbox()
        self.over = False  # nothing can be sent any more
        self.leaving = False  # the client was told to go
        self._host = host
        self._start = start
        self._most = most_streams
        self._last = LAST_OF_ALL  # requests on higher streams are not looked at
        self._seen = 0
        self._turns: list[ServedStream] = []  # those with something to send; whose turn it is comes first
        self._more = trio.lowlevel.ParkingLot()
        self._streams: dict[int, ServedStream] = {}
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.h2.local_settings = _Promises(
            client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: most_streams}
        )

    async def run(self) -> None:
        """Read and write until one side has enough."""
        self.h2.initiate_connection()
        self.flush()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, nursery.cancel_scope)
                nursery.start_soon(self._take_turns)
                await self._read()
                self._end()
        finally:
            self._end()
            self.endpoint.close()

    async def _write(self, life: trio.CancelScope) -> None:
        await self.outbox.run(self.endpoint)
        life.cancel()

    async def _take_turns(self) -> None:
        """Send one DATA frame of each response, then one of each again: none keeps the others waiting for longer than that."""
        while True:
            served = [stream for stream in list(self._turns) if self._in_turn(stream)]
            if not served:
                await self._more.park()
                continue
            self.flush()
            await self.outbox.emptied()
            for stream in served:
                stream.frame_taken()
                if stream.answered:
                    self._answered(stream)

    def _in_turn(self, stream: "ServedStream") -> bool:
        """Let `stream` send a frame; if it did, it stands last in line, or is done."""
        if stream.number not in self._streams or not stream.send_frame():
            return False
        self._turns.remove(stream)
        if stream.has_more:
            self._turns.append(stream)
        return True

    def has_something(self, stream: "ServedStream") -> None:
        """`stream` has a piece of a body to send."""
        self._turns.append(stream)
        self._more.unpark_all()

    async def _read(self) -> None:
        while True:
            try:
                data = await self.endpoint.receive_some()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            if not data:
                return
            try:
                events = self.h2.receive_data(data)
            except ProtocolError:
                self.flush()  # h2 has written a GOAWAY that says what was wrong
                return
            for event in events:
                if isinstance(event, ConnectionTerminated):
                    return
                self._happened(event)
            self.flush()

    def _end(self) -> None:
        self.over = True
        self.outbox.close()
        self.outbox.release()
        for stream in self._streams.values():
            self._drop(stream)
        self._streams.clear()

    def _drop(self, stream: "ServedStream") -> None:
        """Nobody wants its response."""
        if stream in self._turns:
            self._turns.remove(stream)
        stream.lose()

    def flush(self) -> None:
        self.outbox.put(self.h2.data_to_send())

    # --- what arrives ---------------------------------------------------------------------------------------------------

    def _happened(self, event: Any) -> None:
        match event:
            case RequestReceived(stream_id=number, headers=headers):
                self._request(number, [(bytes(name), bytes(value)) for name, value in headers or []])
            case DataReceived(stream_id=number, data=data, flow_controlled_length=size):
                if number in self._streams:
                    self._streams[number].take(bytes(data), size)
                elif size:
                    self.h2.increment_flow_control_window(size)  # nobody will read it, and the others need the room
            case StreamEnded(stream_id=number) if number in self._streams:
                self._streams[number].take_end()
            case StreamReset(stream_id=number) if number in self._streams:
                self._drop(self._streams.pop(number))
                self._close_if_over()
            case WindowUpdated() | RemoteSettingsChanged():
                self._more.unpark_all()
            case PingAckReceived() if self.leaving and self._last == LAST_OF_ALL:
                self._last = self._seen
                self._tell_to_go()

    def _request(self, number: int, headers: Headers) -> None:
        if number > self._last:
            return  # its header block had to be read for HPACK's sake; nothing else is done with it (section 6.8)
        self._seen = number
        if len(self._streams) >= self._most:
            self.h2.reset_stream(number, ErrorCodes.REFUSED_STREAM)
            self._host.measure("refused")
            return
        stream = self._streams[number] = ServedStream(self, number, headers)
        self._start(stream)

    # --- promises -------------------------------------------------------------------------------------------------------

    def limit_streams(self, most: int) -> None:
        """Another limit. Streams above it that are open stay so (section 5.1.2); more are refused from now on."""
        self._most = most
        if not self.over and not self.outbox.closing:
            self.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: most})
            self.flush()

    def say_goodbye(self, *, warn: bool) -> None:
        """Take no further requests, answer those that were begun, then close.

        With `warn` the client is first told to bring no more, and what it had sent by then is still taken: a PING that is
        answered shows that all of that has come (section 6.8 asks for at least a round trip).
        """
        if self.leaving or self.over:
            return
        self.leaving = True
        if not warn:
            self._last = self._seen
        self._tell_to_go()
        if warn:
            self.h2.ping(b"anymore?")
            self.flush()

    def _tell_to_go(self) -> None:
        self.flush()
        self.outbox.put(GoAwayFrame(0, last_stream_id=self._last, error_code=ErrorCodes.NO_ERROR).serialize())
        self._close_if_over()

    def _answered(self, stream: "ServedStream") -> None:
        """The response is complete."""
        self._streams.pop(stream.number, None)
        self._close_if_over()

    def _close_if_over(self) -> None:
        if self.leaving and self._last != LAST_OF_ALL and not self._streams:
            self.outbox.close()


class ServedStream:
    """A request and its response, as ASGI sees them: `receive` and `send`."""

    def __init__(self, connection: ServedConnection, number: int, headers: Headers) -> None:
        self.number = number
        self.headers = headers
        self.cause = present_cause()
        self._connection = connection
        self._pieces: deque[tuple[bytes, int]] = deque()
        self._request_ended = False
        self._told_end = False
        self._lost = False  # nobody listens any more
        self._answered = False
        self._rest = memoryview(b"")  # of the piece that is being sent, which is the last of the response …
        self._last = False  # … or not
        self._sent = False
        self._news = trio.lowlevel.ParkingLot()

    # --- for the connection ---------------------------------------------------------------------------------------------

    def take(self, data: bytes, size: int) -> None:
        self._pieces.append((data, size))
        self.wake()

    def take_end(self) -> None:
        self._request_ended = True
        self.wake()

    def lose(self) -> None:
        self._lost = True
        self.wake()

    def wake(self) -> None:
        self.cause = present_cause()
        self._news.unpark_all()

    # --- for the application --------------------------------------------------------------------------------------------

    async def receive(self) -> Message:
        """The next piece of the request's body; "http.disconnect" after the response, or when the client is gone."""
        await trio.lowlevel.checkpoint()
        while not (self._pieces or self._lost or self._answered or (self._request_ended and not self._told_end)):
            await self._news.park()
            because_of(self.cause)
        if self._lost or (self._told_end and self._answered):
            return {"type": "http.disconnect"}
        body, size = self._pieces.popleft() if self._pieces else (b"", 0)
        if size:
            self._connection.h2.acknowledge_received_data(size, self.number)
            self._connection.flush()
        self._told_end = self._request_ended and not self._pieces
        return {"type": "http.request", "body": body, "more_body": not self._told_end}

    async def send(self, message: Message) -> None:
        """Send a piece of the response as the client's windows allow; to a client that is gone, nothing.

        It always lets others run: who sends without end would never be told that nobody listens.
        """
        await trio.lowlevel.checkpoint()
        if self._lost:
            return
        if message["type"] == "http.response.start":
            head = [(b":status", b"%d" % message["status"])]
            self._connection.h2.send_headers(self.number, head + list(message.get("headers", [])))
            self._connection.flush()
        elif message["type"] == "http.response.body":
            await self._send_body(message.get("body", b""), last=not message.get("more_body", False))

    async def _send_body(self, body: bytes, *, last: bool) -> None:
        if not body and not last:
            return
        self._rest, self._last = memoryview(body), last
        self._connection.has_something(self)
        while not self._lost and not self._sent:
            await self._news.park()
        self._sent = False

    def send_frame(self) -> bool:
        """Send one DATA frame, if the client's windows allow; false if they do not, or if nothing is left to be sent."""
        h2 = self._connection.h2
        room = min(h2.local_flow_control_window(self.number), h2.max_outbound_frame_size)
        size = min(len(self._rest), max(0, room))
        ends = self._last and size == len(self._rest)
        if not size and not ends:
            return False
        h2.send_data(self.number, bytes(self._rest[:size]), end_stream=ends)
        self._rest = self._rest[size:]
        self._answered = ends
        return True

    def frame_taken(self) -> None:
        """The network has taken the frame; the application may go on if it was the last of a piece."""
        if not self._rest:
            self._sent = True
            self._news.unpark_all()

    @property
    def answered(self) -> bool:
        return self._answered

    @property
    def has_more(self) -> bool:
        return bool(self._rest)
