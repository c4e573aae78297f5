"""TCP as programs see it (RFC 9293): ordered, reliable byte streams over links that lose, delay and break.

An `Endpoint` is one end of a connection and a `trio.abc.HalfCloseableStream`, as strict as trio's own `SocketStream`.

What is modelled: the three-way handshake, segments of at most MSS bytes, the receive window and its backpressure,
retransmission after a timeout with exponential back-off, data held back behind a hole, FIN, RST, half-close, refusal, and
giving up after too many attempts. What is not: acknowledgements as packets (a sender learns one trip later what was read, and of
a loss when its timer ends), fast retransmit, congestion control, TIME-WAIT.
"""

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

import trio

from engines.lab.dissection import Side
from engines.lab.facts import ConnectionClosed, ConnectionReset, PacketKind
from engines.lab.recorder import because_of
from engines.lab.scheduler import Timer

if TYPE_CHECKING:
    from engines.lab.kernel import Kernel

MSS = 1460
"""Largest payload of a segment: Ethernet's 1500 bytes less the headers (RFC 9293, 3.7.1)."""
RECEIVE_WINDOW = 65_535
"""Bytes a receiver buffers: the largest window without scaling (RFC 7323, 2.2)."""
SEND_BUFFER = 65_536
"""Bytes a sender's kernel accepts ahead of what it could send."""
SYN_RETRY_S = 1.0
"""First wait for a SYN-ACK (RFC 6298, 2.1), doubled each time."""
SYN_ATTEMPTS = 7
"""Linux: tcp_syn_retries = 6."""
RETRY_FLOOR_S = 0.2
"""Added to the round-trip time: Linux's TCP_RTO_MIN."""
RETRY_CEILING_S = 120.0
"""Linux's TCP_RTO_MAX."""
WINDOW_PROBE_S = 1.0
"""How often a window update is tried again while the way back is not open (RFC 9293, 3.8.6.1, probes a closed window)."""
DATA_ATTEMPTS = 16
"""Linux: tcp_retries2 = 15."""


class _Exclusive:
    """Lets one task at a time through; a second one gets BusyResourceError."""

    def __init__(self, complaint: str) -> None:
        self._complaint = complaint
        self._busy = False

    def __enter__(self) -> None:
        if self._busy:
            raise trio.BusyResourceError(self._complaint)
        self._busy = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._busy = False


class Endpoint(trio.abc.HalfCloseableStream):
    """One end of a connection. Made by the kernel; programs get it from `Host.connect` and from a listener."""

    peer: "Endpoint"

    def __init__(self, kernel: "Kernel", flow: int, side: Side, remote: str, port: int) -> None:
        self.flow = flow
        self.side = side
        self.local = kernel.host
        self.remote = remote
        self.port = port
        self._kernel = kernel
        self._network = kernel.network
        self._scheduler = kernel.network.scheduler
        self._record = kernel.network.recorder.record
        self._link = kernel.network.link(kernel.host, remote)
        self._retries: set[Timer] = set()
        # sending
        self._unsent = bytearray()
        self._sent = 0
        self._credit = RECEIVE_WINDOW  # the peer's window ends at this offset, as far as we know
        self._credits: deque[tuple[float, int]] = deque()  # window updates on their way to us: (arrival, offset)
        self._pump_waits = False
        self._eof_wanted = False
        self._fin_sent = False
        self._room = trio.lowlevel.ParkingLot()
        self._send_guard = _Exclusive("another task is already sending on this stream")
        # receiving
        self._buffer = bytearray()
        self._received = 0  # bytes that arrived in order
        self._read = 0  # bytes that the program took
        self._behind_hole: dict[int, tuple[bytes, int]] = {}
        self._fin_at: int | None = None
        self._window_owed = False
        self._arrival = -1  # the packet that made the newest bytes readable
        self._data = trio.lowlevel.ParkingLot()
        self._receive_guard = _Exclusive("another task is already receiving on this stream")
        # the connection
        self.closed = False
        self.broken = ""
        self.opened = trio.Event()

    def __repr__(self) -> str:
        state = "closed" if self.closed else self.broken or "open"
        return f"<Endpoint c{self.flow} {self.local}→{self.remote}:{self.port} {state}, sent {self._sent}, read {self._read}>"

    # --- the stream, as programs use it ---------------------------------------------------------------------------------

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Hand `data` to the kernel; waits while its buffer and the peer's window are full.

        Raises ClosedResourceError after a close or send_eof of ours, BrokenResourceError when the connection is known to be
        gone, BusyResourceError when another task is sending.
        """
        with self._send_guard:
            await trio.lowlevel.checkpoint()
            self._check_sendable()
            with memoryview(data) as view, view.cast("B") as rest:
                taken = 0
                while taken < len(rest):
                    room = SEND_BUFFER - len(self._unsent)
                    if room <= 0:
                        await self._room.park()
                        self._check_sendable()
                        continue
                    self._unsent += rest[taken : taken + room]
                    taken += room
                    self._pump()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the kernel would take at least one byte."""
        with self._send_guard:
            await trio.lowlevel.checkpoint()
            self._check_sendable()
            while len(self._unsent) >= SEND_BUFFER:
                await self._room.park()
                self._check_sendable()

    async def send_eof(self) -> None:
        """Send FIN after everything that was sent before; we can still receive."""
        with self._send_guard:
            await trio.lowlevel.checkpoint()
            if self._eof_wanted and not self.closed:
                return
            self._check_sendable()
            self._eof_wanted = True
            self._pump()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes, at least one; `b""` when the peer has sent FIN.

        Raises ClosedResourceError after our own close and BrokenResourceError after a reset.
        """
        if max_bytes is None:
            max_bytes = 65_536
        elif not isinstance(max_bytes, int):
            raise TypeError("max_bytes must be an integer")
        elif max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        with self._receive_guard:
            if self._buffer or self.closed or self.broken or self._fin_at == self._received:
                await trio.lowlevel.checkpoint()
            while not self._buffer:
                if self.closed:
                    raise trio.ClosedResourceError("this stream was closed here")
                if self.broken:
                    raise trio.BrokenResourceError(self.broken)
                if self._fin_at == self._received:
                    because_of(self._arrival)
                    return b""
                await self._data.park()
            if self.closed:
                raise trio.ClosedResourceError("this stream was closed here")
            data = bytes(self._buffer[:max_bytes])
            del self._buffer[: len(data)]
            self._read += len(data)
            self._announce_window()
            because_of(self._arrival)
            return data

    async def aclose(self) -> None:
        """Close both directions. What was sent still travels; the peer then reads EOF, or gets RST if we left data unread."""
        self.close()
        await trio.lowlevel.checkpoint()

    def is_readable(self) -> bool:
        """Whether `receive_some` would return or raise at once: data, EOF or a reset is waiting."""
        return bool(self._buffer or self.broken or self.closed or self._fin_at == self._received)

    # --- what the kernel does -------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close without waiting: what the kernel does for a program, also for one that was killed."""
        if self.closed:
            return
        self.closed = True
        self._kernel.release(self)
        if not self.broken:
            self._record(ConnectionClosed(self.flow, self.local))
            if self._buffer:
                self._send_reset()
            else:
                self._eof_wanted = True
                self._pump()
        self._wake_all()
        self._settle()

    def break_off(self, reason: str) -> None:
        """The connection is gone: whoever waits on it learns so."""
        if self.broken:
            return
        self.broken = reason
        self._stop_sending()
        self._kernel.release(self)
        if not self.closed:
            self._record(ConnectionReset(self.flow, self.local, reason))
        self._wake_all()
        self._settle()

    def _settle(self) -> None:
        """Forget the connection once neither end can send any more."""
        ends = (self, self.peer)
        if all(end.closed or end.broken for end in ends) and (
            any(end.broken for end in ends) or all(end._fin_at == end._received for end in ends)
        ):
            self._network.forget(self.flow, self.local, self.remote)

    def _check_sendable(self) -> None:
        if self.closed:
            raise trio.ClosedResourceError("this stream was closed here")
        if self._eof_wanted:
            raise trio.ClosedResourceError("this stream's sending side was closed here")
        if self.broken:
            raise trio.BrokenResourceError(self.broken)

    def _wake_all(self) -> None:
        self._room.unpark_all()
        self._data.unpark_all()
        self.opened.set()

    def _pump(self) -> None:
        """Send what the peer's window allows, then FIN if that is due."""
        if self.broken or not self.opened.is_set():
            return
        self._take_credits()
        had_room = len(self._unsent) < SEND_BUFFER
        start = 0
        while start < len(self._unsent) and self._sent < self._credit and not self.broken:
            size = min(MSS, len(self._unsent) - start, self._credit - self._sent)
            payload = bytes(self._unsent[start : start + size])
            start += size
            offset, self._sent = self._sent, self._sent + size
            self._network.send_data(
                self._link, self.flow, self.side, offset, payload, self._data_arrived, self._data_lost
            )
        del self._unsent[:start]
        if not had_room and len(self._unsent) < SEND_BUFFER:
            self._room.unpark_all()
        if self._unsent:
            if self._credits:
                self._pump_when_credited()
        elif self._eof_wanted and not self._fin_sent and not self.broken:
            self._fin_sent = True
            self._network.end_of_stream(self._link, self.flow, self.side)
            self._send_fin(1)

    def _pump_when_credited(self) -> None:
        """Go on when the first window update that is on its way has come; one timer is enough."""

        def pump() -> None:
            self._pump_waits = False
            self._pump()

        if not self._pump_waits:
            self._pump_waits = True
            self._call_at(self._credits[0][0], pump)

    def _data_arrived(self, packet: int, offset: int, payload: bytes) -> None:
        self.peer.receive_segment(packet, offset, payload)

    def _data_lost(self, packet: int, offset: int, payload: bytes, reason: str) -> None:
        self._retransmit_later(packet, PacketKind.DATA, offset, payload, 1)

    def _send_fin(self, attempt: int) -> None:
        def arrived(packet: int) -> None:
            self.peer.receive_fin(packet, offset)

        def lost(packet: int, reason: str) -> None:
            self._retransmit_later(packet, PacketKind.FIN, offset, b"", attempt)

        offset = self._sent
        self._network.send(self._link, self.flow, PacketKind.FIN, offset, attempt, b"", arrived, lost)

    def _retransmit_later(self, lost: int, kind: PacketKind, offset: int, payload: bytes, attempt: int) -> None:
        """Send a lost segment again when its timer ends (RFC 6298: double the wait at each attempt)."""
        if self.broken:
            return
        wait_s = self._network.round_trip_s(self.local, self.remote) + RETRY_FLOOR_S

        def again() -> None:
            if attempt >= DATA_ATTEMPTS:
                self.break_off("retransmission timeout")
                return
            self._network.send(self._link, self.flow, kind, offset, attempt + 1, payload, arrived, dropped, cause=lost)

        def arrived(packet: int) -> None:
            if kind is PacketKind.FIN:
                self.peer.receive_fin(packet, offset)
            else:
                self.peer.receive_segment(packet, offset, payload)

        def dropped(packet: int, reason: str) -> None:
            self._retransmit_later(packet, kind, offset, payload, attempt + 1)

        self._call_at(self._scheduler.now + min(wait_s * 2 ** (attempt - 1), RETRY_CEILING_S), again)

    def _call_at(self, time_s: float, action: Callable[[], None]) -> None:
        """Schedule something that only makes sense while this end can still send."""

        def act() -> None:
            self._retries.discard(timer)
            action()

        timer = self._scheduler.call_at(time_s, act)
        self._retries.add(timer)

    def _stop_sending(self) -> None:
        for timer in self._retries:
            timer.cancel()
        self._retries.clear()
        self._unsent.clear()

    def _send_reset(self) -> None:
        """Tell the peer that this connection does not exist (any more), and forget it."""
        self.broken = "reset here"
        self._stop_sending()
        peer = self.peer
        self._network.send(
            self._link, self.flow, PacketKind.RST, 0, 1, b"",
            lambda packet: peer.receive_reset(packet), lambda packet, reason: None,
        )  # fmt: skip

    # --- what arrives ---------------------------------------------------------------------------------------------------

    def receive_segment(self, packet: int, offset: int, payload: bytes) -> None:
        """Data arrived, perhaps ahead of a hole, perhaps for a program that is gone."""
        if self.closed or self.broken:
            self._send_reset()
            return
        if offset < self._received or offset in self._behind_hole:
            return
        self._behind_hole[offset] = (payload, packet)
        readable = False
        while self._received in self._behind_hole:
            data, _ = self._behind_hole.pop(self._received)
            self._buffer += data
            self._received += len(data)
            readable = True
        if readable:
            self._arrival = packet
            self._data.unpark_all()

    def receive_fin(self, packet: int, offset: int) -> None:
        """The peer sends nothing after `offset`."""
        if self.broken:
            return
        self._fin_at = offset
        if self._received == offset:
            self._arrival = packet
        self._data.unpark_all()
        self._settle()

    def receive_reset(self, packet: int) -> None:
        """The peer says that this connection does not exist (any more)."""
        self._arrival = packet
        self.break_off("connection reset by peer")

    # --- flow control ---------------------------------------------------------------------------------------------------

    def _announce_window(self) -> None:
        """Tell the sender how far it may go; it learns one trip later, and not before the way back is open."""
        peer, addresses = self.peer, self._network.addresses
        if addresses.is_stale(self.flow, self.local) or addresses.is_stale(self.flow, self.remote):
            return
        if self._link.state != "up":
            if not self._window_owed:
                self._window_owed = True
                self._call_at(self._scheduler.now + WINDOW_PROBE_S, self._announce_owed_window)
            return
        peer._credits.append((self._scheduler.now + self._link.latency_s, self._read + RECEIVE_WINDOW))
        if peer._unsent:
            peer._pump_when_credited()

    def _announce_owed_window(self) -> None:
        self._window_owed = False
        self._announce_window()

    def _take_credits(self) -> None:
        now = self._scheduler.now
        while self._credits and self._credits[0][0] <= now:
            self._credit = max(self._credit, self._credits.popleft()[1])
