"""What can be done to the message behind a row, at a moment: orders about this very message, and about the next ones like it.

A message that is on its way at the playhead can be dropped or held there. One that has arrived, or is yet to be sent, can be
reached as well: by branching just after it was sent.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from engines.lab.facts import MessageStarted, PacketKind, PacketSent, Role
from engines.messages import ArrowState, Phase
from tui.index import TraceIndex
from tui.runs import Run
from tui.wire import bytes_that_led_to

SHORTEST_TRIP_S = 3e-6
"""An order takes effect a millionth of a second after what has happened; a shorter trip is over by then."""

TRANSMISSIONS_SEARCHED = 2_000

_KIND_WORDS = {
    Role.REQUEST: "request",
    Role.RESPONSE: "response",
    Role.PUSH: "push",
    Role.ACK: "ack",
    Role.ERROR: "error",
    Role.HEARTBEAT: "heartbeat",
    Role.CONTROL: "message",
}

_NAMED = re.compile(r"[A-Z][A-Z_-]+")

NO_COPIES = "only a datagram can arrive twice: TCP numbers its bytes and throws a copy away (RFC 9293, section 3.4)"

_TO_THIS = {
    "drop": "the network loses it; TCP sends it again",
    "hold": "it stops on its way until it is released",
    "release": "it goes on, and arrives at once",
    "duplicate": "a copy arrives as well",
}
_DROP_DATAGRAM = "the network loses it, and nobody sends it again"
_TO_THE_NEXT = {
    "drop": "the network loses it; TCP sends it again",
    "lose": "its connection is reset instead",
    "hold": "it stops on its way until it is released",
}


@dataclass(frozen=True, slots=True)
class Deed:
    """An order and what it does. `at_s` is where it must branch, None for the playhead; with a `refusal` it cannot be done."""

    title: str
    about: str
    order: str = ""
    at_s: float | None = None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A message, or a single packet: what people call it, and how the language of faults names its like."""

    title: str
    deeds: tuple[Deed, ...]
    kind: str
    sender: str
    datagram: bool

    def next_ones(self, verb: str, count: int) -> str:
        """The order that does `verb` to the next `count` like it."""
        return f"{verb} next {f'{count} {self.kind}s' if count > 1 else self.kind} from {self.sender}"


def packet_or_its_cause(index: TraceIndex, fact_id: int, time_s: float) -> int | None:
    """What there is to act upon where no bytes are: a packet without any (a SYN, say), or the message that led to the fact."""
    packet = index.trace.kind[fact_id] == PacketSent.code
    return fact_id if packet else bytes_that_led_to(index, fact_id, time_s)


def chosen_message(run: Run, fact_id: int, time_s: float) -> Chosen:
    """What can be done about MessageStarted or PacketSent `fact_id` when the playhead is at `time_s`."""
    trace, fact = run.trace, run.trace[fact_id].fact
    packet = trace.cause[fact_id] if isinstance(fact, MessageStarted) else fact_id
    assert isinstance(fact, MessageStarted | PacketSent)
    kind = _kind_word(fact) if isinstance(fact, MessageStarted) else "packet"
    name = fact.label if isinstance(fact, MessageStarted) else f"{fact.kind.name.replace('_', '-')} packet"
    datagram = packet >= 0 and trace.d[packet] == PacketKind.DATAGRAM
    chosen = Chosen(f"{name}, {fact.sender} to {fact.receiver} on c{fact.flow}", (), kind, fact.sender, datagram)
    deeds = [*_to_this(run, packet, time_s), *_to_the_next(chosen)] if packet >= 0 else _to_the_next(chosen)
    return Chosen(chosen.title, tuple(deeds), kind, fact.sender, datagram)


def _kind_word(message: MessageStarted) -> str:
    """How the language of faults names messages like this one: what only its protocol knows, by the word that it begins with."""
    word = message.label.split(" ")[0]
    named = message.role is Role.CONTROL and _NAMED.fullmatch(word) is not None
    return word if named else _KIND_WORDS[message.role]


def _to_this(run: Run, packet: int, time_s: float) -> Iterator[Deed]:
    trace, limit = run.trace, run.model.messages.limit_at(time_s)
    datagram = trace.d[packet] == PacketKind.DATAGRAM
    under_way = [
        (sent, state)
        for sent in _transmissions(run, packet)
        if (state := run.model.messages.packet_state_at(sent, time_s, limit)).phase in (Phase.IN_FLIGHT, Phase.HELD)
    ]
    if under_way:
        sent, state = under_way[-1]
        for verb in _verbs_for(state, datagram):
            yield _deed(verb, sent, datagram, None)
        if state.phase is Phase.HELD and state.reason != "fault":
            yield Deed("release it", "", refusal=f"it is held because of its link ({state.reason}): restore the link")
    else:
        yield from _in_another_moment(run, packet, datagram)
    if not datagram:
        yield Deed("duplicate it", "not on a stream", refusal=NO_COPIES)


def _verbs_for(state: ArrowState, datagram: bool) -> Iterator[str]:
    yield "drop"
    if state.phase is Phase.HELD:
        if state.reason == "fault":
            yield "release"
    else:
        yield "hold"
        if datagram:
            yield "duplicate"


def _in_another_moment(run: Run, packet: int, datagram: bool) -> Iterator[Deed]:
    """It is not on its way now: go to when it was."""
    trace = run.trace
    sent_s = trace.time[packet]
    final = run.model.messages.packet_state_at(packet, inf, len(trace))
    way, _ = run.model.messages.way(packet, len(trace))
    if way[-1][0] - sent_s < SHORTEST_TRIP_S:
        yield Deed(
            "drop it, hold it", "", refusal="it arrives in the instant it is sent: there is no moment to catch it in"
        )
        return
    if final.phase is Phase.LOST:
        yield Deed("drop it, hold it", "", refusal="it is lost as it is; look at what comes after it")
        return
    for verb in ("drop", "hold", *(["duplicate"] if datagram else ())):
        yield _deed(verb, packet, datagram, sent_s)


def _deed(verb: str, packet: int, datagram: bool, at_s: float | None) -> Deed:
    about = _DROP_DATAGRAM if datagram and verb == "drop" else _TO_THIS[verb]
    title = f"{verb} it" if at_s is None else f"{verb} it, back at {at_s:.3f} s"
    return Deed(title, about, f"{verb} #{packet}", at_s)


def _to_the_next(chosen: Chosen) -> list[Deed]:
    deeds = []
    for verb, about in _TO_THE_NEXT.items():
        if chosen.datagram:
            if verb == "lose":
                continue
            about = _DROP_DATAGRAM if verb == "drop" else about
        order = chosen.next_ones(verb, 1)
        deeds.append(Deed(order, about, order))
    if chosen.datagram:
        order = chosen.next_ones("duplicate", 1)
        deeds.append(Deed(order, _TO_THIS["duplicate"], order))
    return deeds


def _transmissions(run: Run, packet: int) -> list[int]:
    """The packet and those that carry its first byte again, oldest first."""
    trace, packets = run.trace, run.model.messages.packets
    first = bisect_left(packets, packet)
    same = (trace.a[packet], trace.b[packet], trace.d[packet], trace.e[packet])
    return [
        sent
        for sent in packets[first : first + TRANSMISSIONS_SEARCHED]
        if sent == packet
        or (trace.f[sent] > 1 and (trace.a[sent], trace.b[sent], trace.d[sent], trace.e[sent]) == same)
    ]
