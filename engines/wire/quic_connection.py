"""One QUIC connection over a host's datagrams: aioquic's state machine, one task that sends and minds the timers, and streams.

aioquic does no I/O and has no clock: it is told the time (virtual here), takes datagrams, and says which to send and when it
wants to be woken (loss detection, probes, delayed acknowledgements, idle timeout: RFC 9002, RFC 9000, section 10). Needs aioquic:
import this where it is certain to be there (see `quic`).
"""

import math
from collections import deque
from collections.abc import Callable

import trio
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from engines.lab.datagrams import Address, DatagramSocket
from engines.lab.recorder import because_of, present_cause
from engines.wire.quic_certificate import SERVER_NAME, server_certificate

ALPN = "hq-interop"
"""The name under which implementations test HTTP/0.9 over QUIC with each other: one request a stream, no framing at all."""
SPIN_GUARD_S = 0.001
"""Two timers at the same moment: the second waits this long (RFC 9002, section 6.1.2, kGranularity), so that time goes on."""


class QuicLost(Exception):
    """The connection is over, or the peer wants no more of this stream; says why in a few words."""


class QuicStream:
    """A bidirectional stream: ordered and reliable, and independent of all others."""

    def __init__(self, connection: "Connection", number: int) -> None:
        self.number = number
        self._connection = connection
        self._pieces: deque[tuple[bytes, int]] = deque()  # and the packets that brought them
        self._ended = False
        self._error = ""
        self._news = trio.lowlevel.ParkingLot()
        self._cause = -1

    async def send(self, data: bytes, *, end: bool = False) -> None:
        """Hand `data` to the connection, which sends it as the peer's windows and the network allow. Raises QuicLost."""
        await trio.lowlevel.checkpoint()
        self._connection.send(self, data, end=end)

    async def receive(self) -> bytes:
        """The next bytes, b"" when the peer has ended the stream. Raises QuicLost."""
        await trio.lowlevel.checkpoint()
        while not self._pieces:
            if self._ended:
                because_of(self._cause)
                return b""
            if self._error:
                raise QuicLost(self._error)
            await self._news.park()
        data, cause = self._pieces.popleft()
        because_of(cause)
        return data

    async def receive_all(self) -> bytes:
        """Everything up to the end. Raises QuicLost."""
        whole = bytearray()
        while data := await self.receive():
            whole += data
        return bytes(whole)

    def cancel(self) -> None:
        """Nobody wants the rest: STOP_SENDING and RESET_STREAM (RFC 9000, section 3.5). The other streams go on."""
        if not self._error:
            self.fail("cancelled here")
            self._connection.cancel(self)

    # --- for the connection ---------------------------------------------------------------------------------------------

    @property
    def whole(self) -> bool:
        """Whether everything that the peer has to say is there."""
        return self._ended

    def take(self, data: bytes, end: bool) -> None:
        self._cause = present_cause()
        if data:
            self._pieces.append((data, self._cause))
        self._ended = self._ended or end
        self._news.unpark_all()

    def fail(self, reason: str) -> None:
        self._error = self._error or reason
        self._news.unpark_all()


class Connection:
    """One end of a connection. `run` must be running; `on_stream` gets the streams that the peer opens.

    `on_id` hears of connection ids of ours: true when one is issued, false when it is retired. `on_news` hears in words what
    happens to the connection.
    """

    def __init__(
        self,
        quic: QuicConnection,
        socket: DatagramSocket,
        *,
        on_stream: Callable[[QuicStream], None] = lambda stream: None,
        on_id: Callable[[bytes, bool], None] = lambda number, issued: None,
        on_news: Callable[[str], None] = lambda news: None,
    ) -> None:
        self._quic = quic
        self._socket = socket
        self._on_stream = on_stream
        self._on_id = on_id
        self._on_news = on_news
        self._streams: dict[int, QuicStream] = {}
        self._work = trio.Event()
        self._cause = present_cause()
        self._ready = trio.Event()
        self._peer: Address | None = quic.get_peer_address()
        self._pings = 0
        self.over = ""
        self.let_go = trio.Event()  # the program is through with it

    async def run(self) -> None:
        """Send what is to be sent, when it is to be sent, until the connection is over."""
        handled_s = -math.inf
        while True:
            self._work = trio.Event()
            because_of(self._cause)
            await self._transmit()
            self._take_events()
            if self.over:
                await self._transmit()
                return
            timer = self._quic.get_timer()
            deadline = math.inf if timer is None else timer
            now = trio.current_time()
            if deadline <= now == handled_s:
                deadline = now + SPIN_GUARD_S
            with trio.move_on_at(deadline):
                await self._work.wait()
            now = trio.current_time()
            if now >= deadline:
                handled_s = now
                self._quic.handle_timer(now)
                self._take_events()

    async def _transmit(self) -> None:
        for data, address in self._quic.datagrams_to_send(trio.current_time()):
            await self._socket.send_to(data, *address)

    async def opened(self) -> None:
        """Wait until the handshake is complete. Raises QuicLost."""
        await self._ready.wait()
        if self.over:
            raise QuicLost(self.over)

    def open_stream(self) -> QuicStream:
        """A new stream. It costs nothing but its number. Raises QuicLost."""
        if self.over:
            raise QuicLost(self.over)
        number = self._quic.get_next_available_stream_id()
        self._quic.send_stream_data(number, b"")  # takes the number
        self._streams[number] = QuicStream(self, number)
        return self._streams[number]

    def change_id(self) -> None:
        """The client is at another address and knows it: send at once, so that the server learns it, and under an id that nobody
        has seen yet, so that no observer can tell the two paths to be one connection (RFC 9000, section 9.5)."""
        if not self.over and self._ready.is_set():
            self._quic.change_connection_id()
            self._pings += 1
            self._quic.send_ping(self._pings)
            self._wake()

    def close(self, reason: str = "") -> None:
        """Say goodbye (CONNECTION_CLOSE). Whoever waits for something gets QuicLost."""
        self.let_go.set()
        if not self.over:
            self._quic.close(reason_phrase=reason)
            self._end(reason or "closed here")
            self._wake()

    # --- for streams ----------------------------------------------------------------------------------------------------

    def send(self, stream: QuicStream, data: bytes, *, end: bool) -> None:
        if self.over:
            raise QuicLost(self.over)
        self._quic.send_stream_data(stream.number, data, end)
        self._wake()

    def cancel(self, stream: QuicStream) -> None:
        self._streams.pop(stream.number, None)
        if self.over:
            return
        self._quic.reset_stream(stream.number, 0)
        if not stream.whole:
            self._quic.stop_stream(stream.number, 0)
        self._wake()

    # --- what arrives ---------------------------------------------------------------------------------------------------

    def take_datagram(self, data: bytes, source: Address) -> None:
        """A datagram for this connection has come from `source`."""
        self._quic.receive_datagram(data, source, trio.current_time())
        self._take_events()
        self._wake()

    @property
    def alive(self) -> bool:
        """Whether the first datagram was one that a connection can begin with."""
        return self._quic.get_peer_address() is not None

    def _wake(self) -> None:
        self._cause = present_cause()
        self._work.set()

    def _take_events(self) -> None:
        while (event := self._quic.next_event()) is not None:
            match event:
                case events.HandshakeCompleted():
                    self._ready.set()
                    self._on_news("handshake complete")
                case events.StreamDataReceived():
                    self._stream(event.stream_id).take(event.data, event.end_stream)
                case events.StreamReset() | events.StopSendingReceived():
                    self._stream(event.stream_id).fail("the peer has reset the stream")
                case events.ConnectionIdIssued():
                    self._on_id(event.connection_id, True)
                case events.ConnectionIdRetired():
                    self._on_id(event.connection_id, False)
                case events.ConnectionTerminated():
                    self._end((event.reason_phrase or "closed by the peer").lower())
        peer = self._quic.get_peer_address()
        if peer != self._peer:
            if self._peer is not None and peer is not None:
                self._on_news(f"the peer is at {peer[0]} now")
            self._peer = peer

    def _stream(self, number: int) -> QuicStream:
        stream = self._streams.get(number)
        if stream is None:
            stream = self._streams[number] = QuicStream(self, number)
            ours = number % 2 == (0 if self._quic.configuration.is_client else 1)
            if not ours:
                self._on_stream(stream)
        return stream

    def _end(self, reason: str) -> None:
        if self.over:
            return
        self.over = reason
        self._ready.set()
        for stream in self._streams.values():
            stream.fail(reason)
        self._on_news(f"connection over: {reason}")


def client_configuration(idle_timeout_s: float) -> QuicConfiguration:
    """What a client of the laboratory says of itself; it trusts one certificate, and checks it."""
    made = server_certificate()
    return QuicConfiguration(
        alpn_protocols=[ALPN], idle_timeout=idle_timeout_s, cadata=made.pem, server_name=SERVER_NAME
    )


def server_configuration(idle_timeout_s: float) -> QuicConfiguration:
    """What a server of the laboratory says of itself."""
    made = server_certificate()
    return QuicConfiguration(
        is_client=False,
        alpn_protocols=[ALPN],
        idle_timeout=idle_timeout_s,
        certificate=made.certificate,
        private_key=made.key,
    )
