"""Traces written by hand: what a run would have recorded, without a run. Hosts `client` and `server`, connection c1."""

import math
from dataclasses import dataclass, field

from engines.lab.facts import (
    ConnectionOpened,
    ConnectionOpening,
    HostDeclared,
    MessageEnded,
    MessageStarted,
    PacketDelivered,
    PacketDropped,
    PacketKind,
    PacketSent,
    Role,
    RunStarted,
    Text,
)
from engines.lab.trace import NO_CAUSE, Trace

REQUEST = b"GET /hello HTTP/1.1\r\nhost: server\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


@dataclass
class Script:
    """Appends facts to `trace` and keeps the offsets of each direction of each connection."""

    trace: Trace = field(default_factory=Trace)
    sent: dict[tuple[int, str], int] = field(default_factory=dict)

    def begin(self) -> "Script":
        self.trace.record(RunStarted(7, Text("request-response/simple-get")), 0.0)
        for host in ("client", "server"):
            self.trace.record(HostDeclared(host), 0.0)
        return self

    def connect(self, time_s: float, flow: int = 1, protocol: str = "http/1.1") -> None:
        """`client` opens a connection; its SYN and its answer take no bytes and are left out."""
        asked = self.trace.record(ConnectionOpening(flow, "client", "server", 80, protocol), time_s)
        self.trace.record(ConnectionOpened(flow, "client"), time_s, asked)
        self.trace.record(ConnectionOpened(flow, "server"), time_s, asked)

    def send(
        self, time_s: float, sender: str, data: bytes, *, flow: int = 1, kind: PacketKind = PacketKind.DATA
    ) -> int:
        """A packet with the next bytes leaves `sender`."""
        offset = self.sent.get((flow, sender), 0)
        self.sent[flow, sender] = offset + len(data)
        return self._packet(time_s, flow, sender, kind, offset, 1, data)

    def send_again(self, time_s: float, packet: int) -> int:
        """Retransmit a packet."""
        first = self.trace[packet].fact
        assert isinstance(first, PacketSent)
        return self._packet(
            time_s, first.flow, first.sender, first.kind, first.offset, first.attempt + 1, first.payload, packet
        )

    def _packet(
        self, time_s: float, flow: int, sender: str, kind: PacketKind, offset: int, attempt: int, data: bytes,
        cause: int = NO_CAUSE,
    ) -> int:  # fmt: skip
        receiver = "server" if sender == "client" else "client"
        fact = PacketSent(flow, sender, receiver, kind, offset, attempt, math.inf, data)
        return self.trace.record(fact, time_s, cause)

    def arrive(self, time_s: float, packet: int) -> int:
        sent = self.trace[packet].fact
        assert isinstance(sent, PacketSent)
        return self.trace.record(PacketDelivered(packet, sent.flow, sent.receiver), time_s, packet)

    def drop(self, time_s: float, packet: int, reason: str = "loss") -> int:
        return self.trace.record(PacketDropped(packet, self.trace.a[packet], reason, 0.5), time_s, packet)

    def start(
        self, time_s: float, sender: str, role: Role, label: str, offset: int, cause: int = NO_CAUSE, flow: int = 1
    ) -> int:
        """The head of a message has left."""
        receiver = "server" if sender == "client" else "client"
        return self.trace.record(MessageStarted(flow, sender, receiver, role, offset, 0, Text(label)), time_s, cause)

    def end(self, time_s: float, message: int, end: int, boundary: str = "content-length", flow: int = 1) -> int:
        return self.trace.record(MessageEnded(message, flow, end, boundary), time_s, message)

    def exchange(
        self,
        time_s: float,
        *,
        trip_s: float = 0.040,
        service_s: float = 0.020,
        response: bytes = RESPONSE,
        flow: int = 1,
    ) -> float:
        """A whole request and its response, each in one packet; returns when the response has arrived."""
        offset = self.sent.get((flow, "client"), 0)
        packet = self.send(time_s, "client", REQUEST, flow=flow)
        asked = self.start(time_s, "client", Role.REQUEST, "GET /hello", offset, packet, flow)
        self.end(time_s, asked, offset + len(REQUEST), "no body", flow)
        self.arrive(time_s + trip_s, packet)
        answer_s = time_s + trip_s + service_s
        offset = self.sent.get((flow, "server"), 0)
        packet = self.send(answer_s, "server", response, flow=flow)
        label = response.split(b"\r\n")[0].decode().removeprefix("HTTP/1.1 ")
        answered = self.start(answer_s, "server", Role.RESPONSE, label, offset, packet, flow)
        self.end(answer_s, answered, offset + len(response), flow=flow)
        self.arrive(answer_s + trip_s, packet)
        return answer_s + trip_s
