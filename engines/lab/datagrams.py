"""Datagrams (UDP, RFC 768): each arrives whole, or not at all, and perhaps not in the order in which it was sent."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import trio

from engines.lab.dissection import DissectorFactory, Side
from engines.lab.network import Network
from engines.lab.recorder import because_of

MAX_DATAGRAM = 65_507
"""Largest payload over IPv4: 65,535 less 20 (RFC 791) and 8 (RFC 768) bytes of headers."""

Address = tuple[str, int]


@dataclass(slots=True)
class Flow:
    """What two sockets have sent each other. It outlives either of them: who binds the port again goes on with it."""

    number: int
    sent: dict[Side, int] = field(default_factory=lambda: {Side.CLIENT: 0, Side.SERVER: 0})  # bytes


class DatagramSocket:
    """A socket bound to a port. `send_to` never waits for the receiver; what nobody listens for is lost in silence."""

    def __init__(
        self,
        host: str,
        port: int,
        network: Network,
        sockets_of: Callable[[str], "dict[int, DatagramSocket]"],
        protocols: Mapping[int, DissectorFactory],
    ) -> None:
        self.host = host
        self.port = port
        self._network = network
        self._sockets_of = sockets_of
        self._protocols = protocols
        self._flows: dict[Address, tuple[Flow, Side]] = {}  # and our side of it
        self._closed = False
        self._send, self._receive = trio.open_memory_channel[tuple[bytes, Address, int]](math.inf)

    async def send_to(self, data: bytes, host: str, port: int) -> None:
        """Send one datagram to a host, or to an address that a datagram came from.

        Raises ValueError when it is too long, OSError when there is no such host, and ClosedResourceError after a close.
        """
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise trio.ClosedResourceError("this socket was closed here")
        if len(data) > MAX_DATAGRAM:
            raise ValueError(f"a datagram carries at most {MAX_DATAGRAM} bytes, not {len(data)}")
        addresses = self._network.addresses
        owner = addresses.owner(host)
        sockets = self._sockets_of(owner)
        flow, side = self._flow_to((owner, port), sockets)
        offset = flow.sent[side]
        flow.sent[side] += len(data)
        source = (addresses.of(self.host), self.port)

        def arrived(fact: int, at: int, payload: bytes) -> None:
            receiver = sockets.get(port)
            if receiver is not None:
                receiver._flows.setdefault((self.host, self.port), (flow, side.other))
                receiver._take(payload, source, fact)

        link = self._network.link(self.host, owner)
        self._network.send_datagram(link, flow.number, side, offset, data, arrived, host)

    def _flow_to(self, peer: Address, sockets: "dict[int, DatagramSocket]") -> tuple[Flow, Side]:
        """The flow between the two sockets, the same in both directions; the first to send is its client."""
        if peer not in self._flows:
            other = sockets.get(peer[1])
            theirs = other._flows.get((self.host, self.port)) if other is not None else None
            if theirs is not None:
                self._flows[peer] = theirs[0], theirs[1].other
            else:
                number = self._network.open_flow(self.host, *peer, self._protocols.get(peer[1]))
                self._flows[peer] = Flow(number), Side.CLIENT
        return self._flows[peer]

    def _take(self, payload: bytes, source: Address, fact: int) -> None:
        self._send.send_nowait((payload, source, fact))

    async def receive_from(self) -> tuple[bytes, Address]:
        """The next datagram and the (address, port) it came from; the address is a host's name as long as it has not moved.

        Raises ClosedResourceError after a close.
        """
        payload, source, fact = await self._receive.receive()
        because_of(fact)
        return payload, source

    def close(self) -> None:
        """Give the port back. Harmless when that was done before."""
        if self._closed:
            return
        self._closed = True
        ours = self._sockets_of(self.host)
        if ours.get(self.port) is self:
            del ours[self.port]
        self._receive.close()
        self._send.close()

    def __enter__(self) -> "DatagramSocket":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
