"""Synthetic traces for the picture's tests: what the lab would record, written out by hand."""

from math import inf

from engines.lab import facts as f
from engines.lab.facts import Fact, PacketKind, Role, Text
from engines.lab.trace import NO_CAUSE, Trace

SEGMENT = 1460


class Play:
    """A trace being written: `at` moves virtual time, the other methods record what happens then."""

    def __init__(self, *hosts: str, latency_s: float = 0.04, started: bool = True) -> None:
        self.trace = Trace()
        self.now = 0.0
        self.latency_s = latency_s
        self.offsets: dict[tuple[int, str], int] = {}
        self.ends: dict[int, tuple[str, str]] = {}
        self.record(f.RunStarted(7, Text("test/synthetic")))
        for host in hosts:
            self.record(f.HostDeclared(host))
        if started:
            for host in hosts:
                self.record(f.HostStarted(host, 1))

    def at(self, time_s: float) -> "Play":
        assert time_s >= self.now, "time does not run backwards"
        self.now = time_s
        return self

    def record(self, fact: Fact, cause: int = NO_CAUSE) -> int:
        return self.trace.record(fact, self.now, cause)

    # --- packets ----------------------------------------------------------------------------------------------------

    def packet(
        self,
        flow: int,
        sender: str,
        kind: PacketKind = PacketKind.DATA,
        payload: bytes = b"",
        attempt: int = 1,
        offset: int | None = None,
        doomed: bool = False,
        transit_s: float | None = None,
    ) -> int:
        client, server = self.ends[flow]
        receiver = server if sender == client else client
        position = self.offsets.get((flow, sender), 0)
        if offset is None:
            offset = position if kind in (PacketKind.DATA, PacketKind.FIN) else 0
        if kind is PacketKind.DATA:
            self.offsets[flow, sender] = max(position, offset + len(payload))
        arrives = inf if doomed else self.now + (self.latency_s if transit_s is None else transit_s)
        return self.record(f.PacketSent(flow, sender, receiver, kind, offset, attempt, arrives, payload))

    def deliver(self, packet: int) -> int:
        sent = self.trace[packet].fact
        assert isinstance(sent, f.PacketSent)
        return self.record(f.PacketDelivered(packet, sent.flow, sent.receiver), packet)

    def drop(self, packet: int, progress: float = 0.5, reason: str = "loss") -> int:
        return self.record(f.PacketDropped(packet, self.trace.a[packet], reason, progress), packet)

    # --- connections and messages -----------------------------------------------------------------------------------

    def connect(self, flow: int, client: str, server: str, protocol: str = "http/1.1") -> None:
        """A whole handshake; takes a round trip."""
        self.ends[flow] = (client, server)
        self.record(f.ConnectionOpening(flow, client, server, 80, protocol))
        syn = self.packet(flow, client, PacketKind.SYN)
        self.at(self.now + self.latency_s)
        self.deliver(syn)
        accepted = self.packet(flow, server, PacketKind.SYN_ACK)
        self.record(f.ConnectionOpened(flow, server), syn)
        self.at(self.now + self.latency_s)
        self.deliver(accepted)
        self.record(f.ConnectionOpened(flow, client), accepted)

    def head(self, packet: int, role: Role, label: str, offset: int | None = None, stream: int = 0) -> int:
        sent = self.trace[packet].fact
        assert isinstance(sent, f.PacketSent)
        start = sent.offset if offset is None else offset
        return self.record(
            f.MessageStarted(sent.flow, sent.sender, sent.receiver, role, start, stream, Text(label)), packet
        )

    def end(self, packet: int, message: int, end: int | None = None, boundary: str = "content-length") -> int:
        sent = self.trace[packet].fact
        assert isinstance(sent, f.PacketSent)
        stop = sent.offset + len(sent.payload) if end is None else end
        return self.record(f.MessageEnded(message, sent.flow, stop, boundary), packet)

    def message(self, flow: int, sender: str, role: Role, label: str, size: int = 80, stream: int = 0) -> list[int]:
        """A message that leaves at once, in as many packets as it needs; its packets."""
        packets = []
        started = -1
        for start in range(0, size, SEGMENT):
            packet = self.packet(flow, sender, payload=b"x" * min(SEGMENT, size - start))
            packets.append(packet)
            if not start:
                started = self.head(packet, role, label, stream=stream)
        self.end(packets[-1], started)
        return packets

    def exchange(self, flow: int, request: str, response: str, work_s: float = 0.1, size: int = 80) -> None:
        """Request, work, response; ends when the response has arrived."""
        client, server = self.ends[flow]
        (sent,) = self.message(flow, client, Role.REQUEST, request)
        self.at(self.now + self.latency_s)
        self.deliver(sent)
        work = self.record(f.WorkStarted(server, Text(f"handling {request}")), sent)
        self.at(self.now + work_s)
        self.record(f.WorkFinished(work, server, Text("done")), work)
        packets = self.message(flow, server, Role.RESPONSE, response, size)
        self.at(self.now + self.latency_s)
        for packet in packets:
            self.deliver(packet)

    def close(self, flow: int) -> None:
        """Both sides close, the client first."""
        client, server = self.ends[flow]
        for sender in (client, server):
            fin = self.packet(flow, sender, PacketKind.FIN)
            self.record(f.ConnectionClosed(flow, sender), fin)
            self.at(self.now + self.latency_s)
            self.deliver(fin)


def simple_get() -> Play:
    play = Play("client", "server")
    play.connect(1, "client", "server")
    play.exchange(1, "GET /hello", "200 OK")
    play.close(1)
    return play


def showcase() -> Play:
    """A bit of everything that two hosts and two connections can go through."""
    play = Play("client", "server")
    play.connect(1, "client", "server")
    play.exchange(1, "GET /jobs/7", "200 OK")
    knob = play.record(f.CommandApplied(0, Text("set latency 80ms")))
    play.record(f.KnobTurned("latency", Text("80 ms")), knob)
    play.latency_s = 0.08
    (ask,) = play.message(1, "client", Role.REQUEST, "GET /jobs/7?wait=2")
    play.at(play.now + 0.08)
    play.deliver(ask)
    work = play.record(f.WorkStarted("server", Text("GET /jobs/7")), ask)
    wait = play.record(f.WaitStarted("server", f.WaitKind.HELD, Text("nothing new yet")), ask)
    play.at(play.now + 0.2)
    play.connect(2, "client", "server")
    head = play.packet(2, "client", payload=b"x" * SEGMENT)
    upload = play.head(head, Role.REQUEST, "PUT /image")
    packets = [head] + [play.packet(2, "client", payload=b"x" * SEGMENT) for _ in range(6)]
    play.end(packets[-1], upload)
    play.at(play.now + 0.05)
    play.drop(packets[3], 0.6)
    play.at(play.now + 0.03)
    for packet in packets[:3]:
        play.deliver(packet)
    again = play.packet(2, "client", payload=b"x" * SEGMENT, attempt=2, offset=3 * SEGMENT)
    play.record(f.WaitEnded(wait, "server", Text("job done")), wait)
    play.record(f.WorkFinished(work, "server", Text("200 done")), work)
    answer = play.message(1, "server", Role.RESPONSE, "200 OK")
    play.at(play.now + 0.04)
    play.record(f.PacketHeld(answer[0], 1, "held"))
    for packet in packets[4:]:
        play.deliver(packet)
    play.at(play.now + 0.04)
    play.deliver(again)
    play.record(f.TimedOut("client", "read", 5.0))
    play.record(f.StateChanged("server", "jobs", Text("3")))
    play.record(f.Noted("client", Text("gives up and asks again")))
    lost = play.message(2, "server", Role.ERROR, "500 Internal Server Error")
    play.at(play.now + 0.02)
    play.drop(lost[0], 0.3, "cut")
    play.record(f.LinkChanged("server", "client", "cut"))
    play.at(play.now + 0.5)
    play.record(f.HostCrashed("server"))
    play.at(play.now + 0.5)
    play.record(f.HostStarted("server", 2))
    play.at(play.now + 0.1)
    play.message(2, "client", Role.HEARTBEAT, "ping")
    play.at(play.now + 0.03)
    play.message(2, "client", Role.PUSH, "job 8 done")
    play.at(play.now + 0.01)
    play.record(f.Noted("client", Text("now")))
    return play


def fan_out(count: int = 20) -> Play:
    names = [f"sub{n}" for n in range(1, count - 1)]
    play = Play("publisher", "broker", *names, latency_s=0.01)
    for flow, name in enumerate(names, 1):
        play.ends[flow] = (name, "broker")
    play.ends[99] = ("publisher", "broker")
    (sent,) = play.message(99, "publisher", Role.PUSH, "PUBLISH news")
    play.at(0.01)
    play.deliver(sent)
    packets = [play.message(flow, "broker", Role.PUSH, "PUBLISH news")[0] for flow in range(1, len(names) + 1)]
    play.at(0.02)
    for packet in packets:
        play.deliver(packet)
    return play
