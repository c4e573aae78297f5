"""A host's kernel: it opens, accepts, refuses and cleans up connections, and binds datagram sockets."""

import math
from collections.abc import Callable, Mapping
from types import TracebackType

import trio

from engines.lab.datagrams import DatagramSocket
from engines.lab.dissection import DissectorFactory, Side
from engines.lab.facts import (
    ConnectionOpened,
    ConnectionRefused,
    ConnectionReset,
    PacketKind,
)
from engines.lab.links import Link
from engines.lab.network import Network
from engines.lab.recorder import because_of, present_cause
from engines.lab.scheduler import Timer
from engines.lab.tcp import SYN_ATTEMPTS, SYN_RETRY_S, Endpoint
from engines.lab.trace import NO_CAUSE

BACKLOG = 128
"""Connections that may wait to be accepted; SYNs beyond it are dropped, as Linux does."""


class Listener(trio.abc.Listener[Endpoint]):
    """A listening socket. `accept` waits for the next connection; closing it refuses all further ones."""

    def __init__(self, kernel: "Kernel", port: int) -> None:
        self.port = port
        self._kernel = kernel
        self._send, self._receive = trio.open_memory_channel[tuple[Endpoint, int]](math.inf)
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether the backlog has no room for another connection."""
        return self._receive.statistics().current_buffer_used >= BACKLOG

    def deliver(self, endpoint: Endpoint, packet: int) -> None:
        """The kernel completed a handshake that `packet` began."""
        if self._closed:
            endpoint.close()
            return
        self._send.send_nowait((endpoint, packet))

    async def accept(self) -> Endpoint:
        """The next connection. Raises ClosedResourceError when the listener is closed."""
        endpoint, packet = await self._receive.receive()
        because_of(packet)
        return endpoint

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Stop listening at once; connections that nobody accepted are closed."""
        if self._closed:
            return
        self._closed = True
        if self._kernel.listeners.get(self.port) is self:
            del self._kernel.listeners[self.port]
        while self._receive.statistics().current_buffer_used:
            self._receive.receive_nowait()[0].close()
        self._receive.close()
        self._send.close()

    async def __aenter__(self) -> "Listener":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


def _being_ended() -> bool:
    """Whether the running task is cancelled. It may begin only after the kernel has cleaned up behind its program, when the next
    program of the host is about to take the same ports."""
    return trio.current_effective_deadline() == -math.inf


class Kernel:
    """The sockets of one host."""

    def __init__(self, host: str, network: Network, protocols: Mapping[int, DissectorFactory]) -> None:
        self.host = host
        self.network = network
        self.listeners: dict[int, Listener] = {}
        self.endpoints: dict[int, list[Endpoint]] = {}
        self.neighbours: dict[str, Kernel] = {host: self}
        self.datagram_sockets: dict[int, DatagramSocket] = {}
        self.ports: dict[int, str] = {}  # of its machine, which others may share: who listens, or was the last to
        self._protocols = protocols
        self._moved = trio.lowlevel.ParkingLot()
        self._move = NO_CAUSE

    # --- the address ----------------------------------------------------------------------------------------------------

    def moved(self, fact: int) -> None:
        """This host has another address, as `fact` says."""
        self._move = fact
        self._moved.unpark_all()

    async def wait_moved(self) -> None:
        """Wait until this host gets another address."""
        await self._moved.park()
        because_of(self._move)

    # --- opening --------------------------------------------------------------------------------------------------------

    async def connect(self, server: str, port: int) -> Endpoint:
        """Open a connection: one round trip (RFC 9293, 3.5).

        Raises ConnectionRefusedError when nobody listens there, TimeoutError after 7 unanswered SYNs (127 s), OSError when
        there is no such host. Cancelling it gives the attempt up. "localhost" is whoever listens there on this machine.
        """
        if server == "localhost":
            server = self.ports.get(port, self.host)
        remote = self.neighbours.get(server)
        if remote is None:
            raise OSError(f"no host {server!r} in this network")
        flow = self.network.open_flow(self.host, server, port, self._protocols.get(port))
        ours = Endpoint(self, flow, Side.CLIENT, server, port)
        theirs = Endpoint(remote, flow, Side.SERVER, self.host, port)
        ours.peer, theirs.peer = theirs, ours
        self.endpoints.setdefault(flow, []).append(ours)
        attempt = _Handshake(self, remote, ours, theirs)
        attempt.send_syn(1)
        try:
            await ours.opened.wait()
        except trio.Cancelled:
            attempt.give_up()
            raise
        because_of(attempt.answer)
        if attempt.refused:
            raise ConnectionRefusedError(f"{server}:{port} refused the connection: nobody listens there")
        if ours.broken:
            raise TimeoutError(f"{server}:{port} did not answer")
        return ours

    def listen(self, port: int) -> Listener:
        """Listen on `port`. Raises OSError when it is taken. A program that is being ended gets what is closed already."""
        if _being_ended():
            dead = Listener(self, port)
            dead.close()
            return dead
        owner = self.neighbours.get(self.ports.get(port, self.host), self)
        if port in owner.listeners:
            raise OSError(f"port {port} of {self.host} is in use")
        self.ports[port] = self.host
        self.listeners[port] = Listener(self, port)
        return self.listeners[port]

    def adopt(self, endpoint: Endpoint) -> None:
        """A connection came in."""
        self.endpoints.setdefault(endpoint.flow, []).append(endpoint)

    def release(self, endpoint: Endpoint) -> None:
        """The program has nothing to do with this connection any more."""
        ends = self.endpoints.get(endpoint.flow, [])
        if endpoint in ends:
            ends.remove(endpoint)
        if not ends:
            self.endpoints.pop(endpoint.flow, None)

    def close_all(self) -> None:
        """The program died: close everything it had open, as a kernel does."""
        for listener in list(self.listeners.values()):
            listener.close()
        for socket in list(self.datagram_sockets.values()):
            socket.close()
        for ends in list(self.endpoints.values()):
            for endpoint in list(ends):
                endpoint.close()

    def bind(self, port: int = 0) -> DatagramSocket:
        """Bind a datagram socket to `port`, or to the first free one from 49152 on (RFC 6335, 6). OSError when it is taken.

        A program that is being ended gets what is closed already.
        """
        if port == 0:
            port = next(p for p in range(49_152, 65_536) if p not in self.datagram_sockets)
        if _being_ended():
            dead = DatagramSocket(self.host, port, self.network, self._datagram_kernel, self._protocols)
            dead.close()
            return dead
        if port in self.datagram_sockets:
            raise OSError(f"datagram port {port} of {self.host} is in use")
        socket = DatagramSocket(self.host, port, self.network, self._datagram_kernel, self._protocols)
        self.datagram_sockets[port] = socket
        return socket

    def _datagram_kernel(self, host: str) -> "dict[int, DatagramSocket]":
        kernel = self.neighbours.get(host)
        if kernel is None:
            raise OSError(f"no host {host!r} in this network")
        return kernel.datagram_sockets

    def refuse(self, flow: int, packet: int) -> None:
        """The other host says in `packet` that it knows no connection `flow` with us."""
        for endpoint in list(self.endpoints.get(flow, [])):
            endpoint.receive_reset(packet)

    def reset(self, flow: int) -> None:
        """Somebody in the middle broke connection `flow`; this end learns it now."""
        for endpoint in list(self.endpoints.get(flow, [])):
            endpoint.break_off("connection reset")


class _Handshake:
    """SYN, SYN-ACK, and what may go wrong between them."""

    def __init__(self, client: Kernel, server: Kernel, ours: Endpoint, theirs: Endpoint) -> None:
        self._client = client
        self._server = server
        self._ours = ours
        self._theirs = theirs
        self._network = client.network
        self._there = client.network.link(client.host, server.host)
        self._back = client.network.link(server.host, client.host)
        self._timer: Timer | None = None
        self._syn_seen = False
        self._over = False
        self.refused = False
        self.answer = -1

    def send_syn(self, attempt: int) -> None:
        """Send SYN, and again after 1, 2, 4 … seconds without an answer."""
        if self._over:
            return
        if attempt > SYN_ATTEMPTS:
            self._over = True
            self._ours.break_off("connection timed out")
            return
        cause = present_cause() if attempt == 1 else NO_CAUSE
        self._send(self._there, PacketKind.SYN, attempt, self._syn_arrived, cause)
        wait_s = SYN_RETRY_S * 2 ** (attempt - 1)
        self._timer = self._network.scheduler.call_at(
            self._network.scheduler.now + wait_s, lambda: self.send_syn(attempt + 1)
        )

    def _send(self, link: Link, kind: PacketKind, attempt: int, on_arrival: Callable[[int], None], cause: int) -> None:
        self._network.send(link, self._ours.flow, kind, 0, attempt, b"", on_arrival, lambda packet, reason: None, cause)

    def _syn_arrived(self, packet: int) -> None:
        listener = self._server.listeners.get(self._ours.port)
        if listener is None:
            self._send(self._back, PacketKind.RST, 1, self._rst_arrived, packet)
        elif self._syn_seen or not listener.full:
            self._syn_seen = True
            self._send(self._back, PacketKind.SYN_ACK, 1, self._syn_ack_arrived, packet)

    def _rst_arrived(self, packet: int) -> None:
        if self._over:
            return
        self._end(packet)
        self.refused = True
        self._ours.closed = True
        self._client.release(self._ours)
        self._network.recorder.record(ConnectionRefused(self._ours.flow, self._client.host), packet)
        self._ours.opened.set()

    def _syn_ack_arrived(self, packet: int) -> None:
        if self._over:
            return
        self._end(packet)
        self._network.recorder.record(ConnectionOpened(self._ours.flow, self._client.host), packet)
        self._ours.opened.set()
        scheduler = self._network.scheduler
        scheduler.call_at(scheduler.now + self._there.latency_s, lambda: self._established(packet))

    def _established(self, packet: int) -> None:
        """The server's kernel has the client's ACK (it travels with the first data): the connection can be accepted."""
        listener = self._server.listeners.get(self._ours.port)
        if self._theirs.broken or listener is None:
            self._theirs.opened.set()
            self._theirs.closed = True
            return
        self._server.adopt(self._theirs)
        self._network.recorder.record(ConnectionOpened(self._ours.flow, self._server.host), packet)
        self._theirs.opened.set()
        listener.deliver(self._theirs, packet)

    def _end(self, packet: int) -> None:
        self._over = True
        self.answer = packet
        if self._timer is not None:
            self._timer.cancel()

    def give_up(self) -> None:
        """The client stopped waiting; an answer that still comes finds nobody."""
        if not self._over:
            self._over = True
            if self._timer is not None:
                self._timer.cancel()
            self._ours.closed = True
            self._client.release(self._ours)
            self._network.recorder.record(ConnectionReset(self._ours.flow, self._client.host, "gave up connecting"))
