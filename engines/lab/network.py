"""The network: hosts' kernels, the links between them, and the way of each packet from one to the other.

It carries packets and decides nothing: fate comes from the rules (`fate`), timing from the links (`links`), the behaviour of
streams from the endpoints (`tcp`). Every packet it takes is recorded, and so is what becomes of it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from engines.lab.addresses import Addresses
from engines.lab.determinism import stream_of_randomness
from engines.lab.dissection import Dissector, DissectorFactory, Event, Resumed, Side, Started
from engines.lab.facts import (
    ConnectionOpening,
    LinkChanged,
    MessageEnded,
    MessageResumed,
    MessageStarted,
    PacketDelivered,
    PacketDropped,
    PacketHeld,
    PacketKind,
    PacketReleased,
    PacketSent,
    Text,
)
from engines.lab.fate import Action, Carried, Rule, Subject, Verdict
from engines.lab.links import Link, LinkState, Uplink
from engines.lab.recorder import Recorder, present_cause
from engines.lab.scheduler import Scheduler, Timer

MOVED = "address gone"
"""Why a packet died that was sent to an address which its host has left."""


@dataclass(eq=False, slots=True)
class Packet:
    """A packet on its way. `on_arrival` runs at the receiver, `on_drop` where it dies; at most one of them, at most once.

    Both get the number of the fact that says so.
    """

    fact: int
    flow: int
    link: Link
    kind: PacketKind
    on_arrival: Callable[[int], None]
    on_drop: Callable[[int, str], None]
    sent_s: float
    arrives_s: float
    timer: Timer | None = None
    held_by: str = ""
    from_stranger: bool = False  # it names a connection that its receiver does not know by that address
    duplicate: Callable[[], None] | None = None  # sends a copy after it; None where nobody has a use for one

    def progress(self, now_s: float) -> float:
        """How much of its way it has behind it, 0 to 1."""
        way = self.arrives_s - self.sent_s
        return min(1.0, (now_s - self.sent_s) / way) if way > 0 else 1.0


_OpenMessages = dict[tuple[int, bool], tuple[Started, int]]


class Reading:
    """What a dissector has read of one connection: the messages that are open in each direction, by stream and nesting."""

    def __init__(self, dissector: Dissector) -> None:
        self.dissector = dissector
        self.open: tuple[_OpenMessages, _OpenMessages] = ({}, {})


class Network:
    """All hosts and links of a run, and the packets in flight."""

    def __init__(self, seed: int, scheduler: Scheduler, recorder: Recorder) -> None:
        self._seed = seed
        self.scheduler = scheduler
        self.recorder = recorder
        self.links: dict[tuple[str, str], Link] = {}
        self.rules: list[Rule] = []
        self.in_flight: dict[int, Packet] = {}
        self.addresses = Addresses()
        self.reset_connection: Callable[[int], None] = lambda flow: None  # set by the lab, which knows the kernels
        self.reset_end: Callable[[int, str, int], None] = lambda flow, host, packet: None  # likewise
        self._readings: dict[int, Reading] = {}

    # --- links ----------------------------------------------------------------------------------------------------------

    def connect_hosts(self, machines: Mapping[str, str]) -> None:
        """Lay a link from every host to every other; `machines` says on which machine each host is."""
        for sender in machines:
            for receiver in machines:
                if sender != receiver:
                    randomness = stream_of_randomness(self._seed, f"link {sender}>{receiver}")
                    loopback = machines[sender] == machines[receiver]
                    self.links[sender, receiver] = Link(sender, receiver, randomness, loopback=loopback)

    def share_uplink(self, host: str, others: list[str]) -> None:
        """From now on, all that `host` sends to others goes through one queue first."""
        uplink = Uplink()
        for other in others:
            if other != host and not self.link(host, other).loopback:
                self.link(host, other).uplink = uplink

    def link(self, sender: str, receiver: str) -> Link:
        """The link from `sender` to `receiver`; a host reaches itself over the loopback."""
        link = self.links.get((sender, receiver))
        if link is None:
            randomness = stream_of_randomness(0, "loopback")
            link = self.links[sender, receiver] = Link(sender, receiver, randomness, loopback=True)
        return link

    def round_trip_s(self, one: str, other: str) -> float:
        """The time there and back without queues and jitter."""
        return self.link(one, other).latency_s + self.link(other, one).latency_s

    def change_link(self, link: Link, state: LinkState) -> None:
        """Bring `link` into `state`. A cut kills what is on its way; a hold stops it; up lets held packets arrive."""
        if link.state == state:
            return
        link.state = state
        self.recorder.record(LinkChanged(link.sender, link.receiver, state))
        for packet in [p for p in self.in_flight.values() if p.link is link]:
            if state == "cut":
                self.drop(packet, "cut")
            elif state == "held":
                self.hold(packet, "link held")
            elif packet.held_by == "link held":
                self.release(packet)

    def move(self, host: str) -> str:
        """Give `host` another address: what is on its way to the old one will reach nobody. Returns the new one."""
        address = self.addresses.move(host)
        for packet in [p for p in self.in_flight.values() if p.link.receiver == host and not p.link.loopback]:
            self.drop(packet, MOVED)
        return address

    # --- dissection -----------------------------------------------------------------------------------------------------

    def open_flow(self, client: str, server: str, port: int, factory: DissectorFactory | None) -> int:
        """Number a new connection or datagram flow and record that it begins; what `factory` makes will read it."""
        flow = self.recorder.next_number("flow")
        protocol, sealed = "", False
        if factory is not None:
            dissector = factory()
            self._readings[flow] = Reading(dissector)
            protocol, sealed = dissector.name, getattr(dissector, "sealed", False)
        self.recorder.record(ConnectionOpening(flow, client, server, port, protocol, sealed))
        return flow

    def _record_messages(
        self, reading: Reading, link: Link, flow: int, side: Side, events: Sequence[Event], packet: int
    ) -> None:
        """Record what the dissector found, and keep the list of open messages."""
        open_messages = reading.open[side]
        for event in events:
            if isinstance(event, Started):
                fact = self.recorder.record(
                    MessageStarted(
                        flow, link.sender, link.receiver, event.role, event.offset, event.stream, Text(event.label)
                    ),
                    packet,
                )
                open_messages[event.stream, event.nested] = (event, fact)
            elif isinstance(event, Resumed):
                if (event.stream, False) in open_messages:
                    _, fact = open_messages[event.stream, False]
                    self.recorder.record(MessageResumed(fact, flow, event.offset), packet)
            elif (event.stream, event.nested) in open_messages:
                _, fact = open_messages.pop((event.stream, event.nested))
                self.recorder.record(MessageEnded(fact, flow, event.end, event.boundary), packet)

    def end_of_stream(self, link: Link, flow: int, side: Side) -> None:
        """`side` will send nothing more: a message that was to last until then ends."""
        reading = self._readings.get(flow)
        if reading is not None:
            self._record_messages(reading, link, flow, side, reading.dissector.finish(side), present_cause())

    # --- packets --------------------------------------------------------------------------------------------------------

    def send_data(
        self,
        link: Link,
        flow: int,
        side: Side,
        offset: int,
        payload: bytes,
        on_arrival: Callable[[int, int, bytes], None],
        on_drop: Callable[[int, int, bytes, str], None],
    ) -> None:
        """Send bytes of a stream for the first time. A rule may split them: part passes, the rest meets its fate.

        The callbacks get the fact of the arrival or the drop, the packet's offset and its payload (and why it was dropped).
        """
        subject = Subject(flow, link.sender, link.receiver, PacketKind.DATA, offset, len(payload))
        reading = self._readings.get(flow)
        events: list[Event] = []
        if reading is not None:
            carried = [Carried(message, False) for message, _ in reading.open[side].values()]
            events = list(reading.dissector.feed(side, payload))
            carried += [Carried(event, True) for event in events if isinstance(event, Started)]
            subject = Subject(flow, link.sender, link.receiver, PacketKind.DATA, offset, len(payload), carried)
        verdict = self._judge(subject)

        def part(start: int, end: int) -> Callable[[Verdict | None], int]:
            piece = payload[start:end]
            at = offset + start
            return lambda fate: self._transmit(
                link, flow, PacketKind.DATA, at, 1, piece, fate,
                lambda fact: on_arrival(fact, at, piece), lambda fact, reason: on_drop(fact, at, piece, reason),
            )  # fmt: skip

        if verdict is not None and 0 < verdict.passed < len(payload):
            fact = part(0, verdict.passed)(None)
            strike = self.in_flight.get(fact)
            part(verdict.passed, len(payload))(Verdict(Action.DROP, verdict.reason))
            if strike is not None:
                arrive = strike.on_arrival

                def arrive_and_strike(packet: int) -> None:
                    arrive(packet)
                    self._strike(verdict.action, flow, link)

                strike.on_arrival = arrive_and_strike
        else:
            fact = part(0, len(payload))(verdict)
        if reading is not None and events:
            self._record_messages(reading, link, flow, side, events, fact)

    def send_datagram(
        self,
        link: Link,
        flow: int,
        side: Side,
        offset: int,
        payload: bytes,
        on_arrival: Callable[[int, int, bytes], None],
        address: str,
    ) -> None:
        """Send a datagram: dissected like a stream, but whole or not at all, and nobody sends it again."""
        reading = self._readings.get(flow)
        events = list(reading.dissector.feed(side, payload)) if reading is not None else []
        carried = [Carried(event, True) for event in events if isinstance(event, Started)]
        verdict = self._judge(
            Subject(flow, link.sender, link.receiver, PacketKind.DATAGRAM, offset, len(payload), carried)
        )
        if not self.addresses.is_present(address):
            verdict = Verdict(Action.DROP, MOVED)
        copies = count(1)

        def transmit(fate: Verdict | None, cause: int | None = None) -> int:
            return self._transmit(
                link, flow, PacketKind.DATAGRAM, offset, next(copies), payload, fate,
                lambda fact: on_arrival(fact, offset, payload), lambda fact, reason: None, cause,
            )  # fmt: skip

        def copy() -> None:
            transmit(None, fact)

        fact = transmit(verdict)
        if fact in self.in_flight:
            self.in_flight[fact].duplicate = copy
        if reading is not None:
            self._record_messages(reading, link, flow, side, events, fact)
        if verdict is not None and verdict.action is Action.DUPLICATE:
            copy()

    def send(
        self,
        link: Link,
        flow: int,
        kind: PacketKind,
        offset: int,
        attempt: int,
        payload: bytes,
        on_arrival: Callable[[int], None],
        on_drop: Callable[[int, str], None],
        cause: int | None = None,
    ) -> None:
        """Send any other packet: the signs of a connection, a retransmission, a datagram."""
        if kind is PacketKind.SYN and not link.loopback:
            self.addresses.connected(flow, link.sender, link.receiver)
        verdict = self._judge(Subject(flow, link.sender, link.receiver, kind, offset, len(payload)))
        self._transmit(link, flow, kind, offset, attempt, payload, verdict, on_arrival, on_drop, cause)

    def _judge(self, subject: Subject) -> Verdict | None:
        """The first opinion among the rules; rules that are spent go."""
        if not self.rules:
            return None
        verdict = next((v for v in (rule.judge(subject) for rule in self.rules) if v is not None), None)
        self.rules = [rule for rule in self.rules if not rule.spent]
        return verdict

    def _transmit(
        self,
        link: Link,
        flow: int,
        kind: PacketKind,
        offset: int,
        attempt: int,
        payload: bytes,
        verdict: Verdict | None,
        on_arrival: Callable[[int], None],
        on_drop: Callable[[int, str], None],
        cause: int | None = None,
        *,
        answers: bool = False,
    ) -> int:
        """Put one packet on its link, record it, and see to its fate. Returns its fact.

        One that `answers` goes where the question came from; others of a connection go to the addresses it was made with.
        """
        now = self.scheduler.now
        arrives = link.arrival(now, flow, len(payload), ordered=kind is not PacketKind.DATAGRAM)
        fact = self.recorder.record(
            PacketSent(flow, link.sender, link.receiver, kind, offset, attempt, arrives, payload), cause
        )
        packet = Packet(fact, flow, link, kind, on_arrival, on_drop, now, arrives)
        packet.from_stranger = self.addresses.is_stale(flow, link.sender)
        self.in_flight[fact] = packet
        action = verdict.action if verdict is not None else None
        if link.state == "cut":
            self._drop_later(packet, "cut", now, arrives, 0.5)
        elif action is Action.DROP and verdict is not None:
            self._drop_later(packet, verdict.reason, now, arrives, 0.5)
        elif self.addresses.is_stale(flow, link.receiver) and not answers:
            self._drop_later(packet, MOVED, now, arrives, 0.5)
        elif action in (Action.RESET, Action.CUT):
            packet.timer = self.scheduler.call_at(now + (arrives - now) / 2, lambda: self._strike(action, flow, link))
        elif link.loses():
            self._drop_later(packet, "loss", now, arrives, link.where_lost())
        else:
            packet.timer = self.scheduler.call_at(arrives, lambda: self._arrive(packet))
            if action is Action.HOLD:
                self.hold(packet, "fault")
            elif link.state == "held":
                self.hold(packet, "link held")
        return fact

    def _arrive(self, packet: Packet) -> None:
        del self.in_flight[packet.fact]
        fact = self.recorder.record(PacketDelivered(packet.fact, packet.flow, packet.link.receiver), packet.fact)
        if packet.from_stranger:
            self._answer_stranger(packet, fact)
        else:
            packet.on_arrival(fact)

    def _answer_stranger(self, packet: Packet, arrived: int) -> None:
        """A packet of a connection that nobody knows by that address: its sender gets RST (RFC 9293, section 3.5.2), unless that
        is lost too. Then it is as if its packet had not arrived, for nobody acknowledges it."""
        if packet.kind is PacketKind.RST:
            return
        back, mover = self.link(packet.link.receiver, packet.link.sender), packet.link.sender
        self._transmit(
            back, packet.flow, PacketKind.RST, 0, 1, b"", None,
            lambda fact: self.reset_end(packet.flow, mover, fact), packet.on_drop, arrived, answers=True,
        )  # fmt: skip

    def _drop_later(self, packet: Packet, reason: str, sent_s: float, arrives_s: float, progress: float) -> None:
        """Let the packet travel `progress` of its way, then die."""
        dies = sent_s + (arrives_s - sent_s) * progress if arrives_s < math.inf else sent_s
        packet.timer = self.scheduler.call_at(dies, lambda: self._drop(packet, reason, progress))

    def _drop(self, packet: Packet, reason: str, progress: float) -> None:
        del self.in_flight[packet.fact]
        if packet.timer is not None:
            packet.timer.cancel()
        packet.on_drop(
            self.recorder.record(PacketDropped(packet.fact, packet.flow, reason, progress), packet.fact), reason
        )

    def drop(self, packet: Packet, reason: str) -> None:
        """Kill a packet that is on its way, where it is now."""
        self._drop(packet, reason, packet.progress(self.scheduler.now))

    def hold(self, packet: Packet, reason: str) -> None:
        """Stop a packet on its way."""
        if packet.held_by:
            return
        if packet.timer is not None:
            packet.timer.cancel()
        packet.held_by = reason
        self.recorder.record(PacketHeld(packet.fact, packet.flow, reason), packet.fact)

    def release(self, packet: Packet) -> None:
        """Let a held packet go on: it arrives at once, behind those released before it."""
        now = self.scheduler.now
        packet.held_by = ""
        self.recorder.record(PacketReleased(packet.fact, packet.flow, now), packet.fact)
        packet.timer = self.scheduler.call_at(now, lambda: self._arrive(packet))

    def befall(self, packet: Packet, action: str) -> None:
        """Do what a person wants to a packet that is on its way; nothing where that makes no sense."""
        if action == "drop":
            self.drop(packet, "fault")
        elif action == "hold":
            self.hold(packet, "fault")
        elif action == "release" and packet.held_by == "fault":
            self.release(packet)
        elif action == "duplicate" and packet.duplicate is not None:
            packet.duplicate()

    def release_all(self) -> None:
        """Release what faults hold; what a held link holds stays until the link is restored."""
        for packet in [p for p in self.in_flight.values() if p.held_by == "fault"]:
            self.release(packet)

    def _strike(self, action: Action | None, flow: int, link: Link) -> None:
        """A fault beyond one packet: reset the connection, or cut the link in both directions."""
        if action is Action.RESET:
            self.reset_connection(flow)
        elif action is Action.CUT:
            for way in (link, self.link(link.receiver, link.sender)):
                self.change_link(way, "cut")

    def drop_flow(self, flow: int, reason: str) -> None:
        """Kill what is on its way on a connection, in both directions."""
        for packet in [p for p in self.in_flight.values() if p.flow == flow]:
            self.drop(packet, reason)

    def forget(self, flow: int, one: str, other: str) -> None:
        """A connection is over at both ends: nothing more will be read of it."""
        self._readings.pop(flow, None)
        self.link(one, other).forget(flow)
        self.link(other, one).forget(flow)
