"""What a teacher would say about each fact: what happened, and why it is so. One or two plain sentences, as a table by fact.

Nothing here knows a pattern or a scenario; lessons have beats of their own (`engines.patterns.contract.Beat`) for what only
they can explain.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from engines.lab import facts as f
from engines.lab.facts import Fact, PacketKind, Role, WaitKind
from engines.lab.trace import Trace
from engines.lab.units import format_quantity, format_seconds

_LOOK_BACK = 4096
"""How many facts before a packet its message is looked for; beyond that a sentence does without the name."""

_LOOK_AHEAD = 16
"""A head is recorded right behind the packet that completed it."""


class Weight(IntEnum):
    """How much a fact deserves to be told when it is the newest."""

    ROUTINE = 0  # only when somebody asks for this very fact
    ORDINARY = 1
    TELLING = 2
    DRAMATIC = 3


@dataclass(frozen=True, slots=True)
class Look:
    """A fact in its surroundings, for the sentences that need more than its fields."""

    trace: Trace
    fact_id: int

    def fact(self, fact_id: int) -> Any:
        """Another fact that this one refers to."""
        return self.trace[fact_id].fact

    def since_s(self, fact_id: int) -> str:
        """How long ago that fact was, in words."""
        return format_seconds(self.trace.time[self.fact_id] - self.trace.time[fact_id])

    def carried(self, packet_id: int) -> str:
        """What a packet carries, by the name of its message where there is one."""
        packet: f.PacketSent = self.fact(packet_id)
        if packet.kind is not PacketKind.DATA and packet.kind is not PacketKind.DATAGRAM:
            return f"the {_KIND_WORDS[packet.kind]}"
        message = self._message_in(packet_id, packet)
        size = format_quantity(len(packet.payload), "B")
        if message is None:
            return f"{size} of data"
        started = self.trace.e[message] >= packet.offset
        return f"“{self.trace.text(message)}”" if started else f"{size} more of “{self.trace.text(message)}”"

    def _message_in(self, packet_id: int, packet: f.PacketSent) -> int | None:
        """The newest message of the packet's direction that begins before the packet ends."""
        trace, code = self.trace, f.MessageStarted.code
        flow, sender, end = packet.flow, trace.b[packet_id], packet.offset + len(packet.payload)
        for i in range(min(packet_id + _LOOK_AHEAD, len(trace) - 1), max(-1, packet_id - _LOOK_BACK), -1):
            if trace.kind[i] == code and trace.a[i] == flow and trace.b[i] == sender and trace.e[i] < end:
                return i
        return None


_KIND_WORDS = {
    PacketKind.SYN: "request to connect (SYN)",
    PacketKind.SYN_ACK: "consent to connect (SYN-ACK)",
    PacketKind.FIN: "goodbye (FIN)",
    PacketKind.RST: "reset (RST)",
    PacketKind.DATA: "data",
    PacketKind.DATAGRAM: "datagram",
}

_SENT = {
    PacketKind.SYN: "{0.sender} asks {0.receiver} for a connection (SYN). Nothing can be said before this is answered:"
    " a new connection costs a round trip.",
    PacketKind.SYN_ACK: "{0.sender} agrees to the connection (SYN-ACK). When this arrives, {0.receiver} may speak.",
    PacketKind.DATA: "{1} leaves {0.sender} for {0.receiver}. It is only bytes on their way: nobody knows yet"
    " whether they will arrive.",
    PacketKind.FIN: "{0.sender} has nothing more to say on this connection (FIN). It may still listen.",
    PacketKind.RST: "{0.sender} breaks the connection off (RST). What was still on its way in it is worth nothing now.",
    PacketKind.DATAGRAM: "{0.sender} sends a datagram to {0.receiver}. No connection, no promise: if it is lost, nobody"
    " will send it again unless the program does.",
}

_DROPPED = {
    "loss": "The network lost {1} on its way to {2}. {2} cannot know that; the sender finds out by waiting in vain.",
    "cut": "{1} ran into a cut link and is gone. Nobody is told: to both ends this is silence, not an error.",
    "fault": "{1} was taken out of the network on your order. It looks just like an ordinary loss to both ends.",
    "reset": "{1} died with its connection: once a connection is reset, nothing of it is delivered any more.",
    "address gone": "{1} was sent to an address that {2} has left. Nobody takes it, and nobody says so.",
    "host down": "{1} reached {2}, but nobody is there to take it.",
}

_HELD = {
    "fault": "{1} is held on its way to {2}, on your order. It is neither lost nor delivered, and both ends can only"
    " wait.",
    "link held": "{1} is stuck on a link that is held. It will arrive when the link is restored, late but whole.",
}

_STARTED = {
    Role.REQUEST: "{0.sender} asks {0.receiver}: {0.label}. From here on it waits for an answer.",
    Role.RESPONSE: "{0.sender} answers {0.receiver}: {0.label}. The answer still has to travel.",
    Role.PUSH: "{0.sender} pushes to {0.receiver} without being asked: {0.label}.",
    Role.ACK: "{0.sender} acknowledges to {0.receiver}: {0.label}. Now {0.receiver} will know that it got through.",
    Role.ERROR: "{0.sender} answers {0.receiver} with an error: {0.label}. Bad news, yet better than silence: the"
    " other side knows where it stands.",
    Role.HEARTBEAT: "{0.sender} gives {0.receiver} a sign of life: {0.label}. Without one, silence could mean"
    " anything.",
    Role.CONTROL: "{0.sender} tells {0.receiver} how to go on: {0.label}.",
    Role.SEALED: "{0.sender} sends something to {0.receiver}: {0.label}. What it says is encrypted; who looks on sees how much"
    " and when.",
}

_ENDED = {
    "content-length": "The last byte of “{1}” has left. The receiver will know that it is the last because the"
    " length was announced in the head.",
    "last chunk": "“{1}” ends with a chunk of size 0. That is how the receiver knows the end of a body whose length"
    " nobody knew at the start.",
    "no body": "“{1}” ends with the empty line after its head: it has no body.",
    "connection closed": "“{1}” ends because the connection does. The receiver cannot tell a finished body from one"
    " that was cut off, which is why a length is better.",
    "datagram": "“{1}” is a datagram of its own: it arrives whole or not at all, and nothing in it need say where it ends.",
    "cut short": "“{1}” broke off before its end. What has arrived is a part, and the receiver must not take it for"
    " the whole.",
}

_WAITS = {
    WaitKind.HELD: "{0.host} keeps the request open: {0.label}. It will answer when there is something to say.",
    WaitKind.POOL: "{0.host} has to queue for a connection: {0.label}. All of them are busy with other requests.",
    WaitKind.BLOCKED: "{0.host} is blocked: {0.label}. It can do nothing else meanwhile.",
    WaitKind.TIMER: "{0.host} waits of its own choice: {0.label}.",
}

_TIMED_OUT = {
    "connect": "{0.host} gave up connecting after {1}. It cannot tell a dead server from a broken link: both are"
    " silence.",
    "read": "{0.host} gave up after {1} of silence. It does not know whether its request was lost, is still being"
    " worked on, or was done and the answer lost. To try again may do the work twice.",
    "write": "{0.host} could not get rid of its bytes for {1} and gave up: the other side is not taking them.",
    "pool": "{0.host} waited {1} for a free connection and gave up. Its request was never sent: this is a queue of"
    " its own, not the server's fault.",
}

_RESETS = {
    "reset": "{0.host} learns that c{0.flow} is gone: the other side broke it off. What it had not read by now is"
    " lost.",
    "retransmission timeout": "{0.host} sent the same bytes again and again without a sign from the other side, and"
    " gives c{0.flow} up for dead.",
}

_LINKS = {
    "up": "The way from {0.sender} to {0.receiver} is whole again. Nobody announces it: those who tried meanwhile"
    " find out at their next attempt.",
    "held": "The way from {0.sender} to {0.receiver} is held: what is sent there stops on its way, and comes later.",
    "cut": "The way from {0.sender} to {0.receiver} is cut. Neither end notices until it misses something: a cut is"
    " silence.",
}

_OUTCOMES = {
    "done": "{0.host} has finished “{1}” after {2}.",
    "cancelled": "{0.host} dropped “{1}” after {2}, unfinished. That time is lost.",
    "failed": "{0.host} failed at “{1}” after {2}.",
}

_WAITS_ENDED = {
    "done": "{0.host} need not wait for “{1}” any longer; it took {2}.",
    "cancelled": "{0.host} stopped waiting for “{1}” after {2}: it was called off.",
    "failed": "{0.host} waited {2} for “{1}”, in vain.",
}

_LEFT = {
    "returned": "A request on {0.host} gives its connection back to the pool, still open: the next one is spared a"
    " round trip.",
    "timed out": "A request on {0.host} leaves the queue of the pool without a connection: it has waited long enough.",
    "gave up": "A request on {0.host} leaves the queue of the pool without a connection: nobody wants its answer any"
    " more.",
}

_EVICTED = {
    "closed by peer": "{0.host} takes connection {0.member} out of its pool: the other side has closed it, so that a"
    " request sent there would be lost.",
    "surplus": "{0.host} closes connection {0.member} of its pool: there are more than the pool may keep.",
    "GOAWAY": "{0.host} takes connection {0.member} out of its pool: the server wants no more requests there. Those that it"
    " has begun on still get their answers.",
    "gave up": "{0.host} takes connection {0.member} out of its pool before it was open: nobody waits for it any more.",
    "idle for another origin": "{0.host} closes an idle connection of its pool to make room for one to another server.",
    "failed": "{0.host} takes connection {0.member} out of its pool: it broke.",
    "idle too long": "{0.host} closes connection {0.member} of its pool: nobody has needed it for a while.",
    "too old": "{0.host} closes connection {0.member} of its pool: it is so old that something between here and there may"
    " drop it any moment. Better to part in peace.",
}


def _packet_sent(fact: f.PacketSent, look: Look) -> str:
    what = look.carried(look.fact_id)
    if fact.attempt == 1:
        return _capital(_SENT[fact.kind].format(fact, what))
    if fact.kind is PacketKind.DATAGRAM:
        return (
            f"The network makes two of {what}: a copy travels to {fact.receiver} as well. Nobody numbers datagrams, so that"
            " the receiver has to notice by itself."
        )
    return (
        f"{fact.sender} sends {what} again (attempt {fact.attempt}): no sign came back in time. It waits longer"
        " before each new attempt, so as not to flood a network that is in trouble already."
    )


def _packet_delivered(fact: f.PacketDelivered, look: Look) -> str:
    what = _capital(look.carried(fact.packet))
    return f"{what} has reached {fact.receiver}, {look.since_s(fact.packet)} after it left."


def _packet_dropped(fact: f.PacketDropped, look: Look) -> str:
    packet: f.PacketSent = look.fact(fact.packet)
    says = _DROPPED.get(fact.reason, "{1} never arrived at {2} ({0.reason}).")
    text = _capital(says.format(fact, look.carried(fact.packet), packet.receiver))
    if fact.reason in ("loss", "fault") and packet.kind is not PacketKind.DATAGRAM:
        text += " TCP will send it again, and what comes behind it must wait."
    return text


def _packet_held(fact: f.PacketHeld, look: Look) -> str:
    says = _HELD.get(fact.reason, "{1} is held on its way to {2} ({0.reason}).")
    return _capital(says.format(fact, look.carried(fact.packet), look.fact(fact.packet).receiver))


def _packet_released(fact: f.PacketReleased, look: Look) -> str:
    return f"{_capital(look.carried(fact.packet))} goes on, {look.since_s(fact.packet)} after it was sent."


def _message_ended(fact: f.MessageEnded, look: Look) -> str:
    return _ENDED.get(fact.boundary, "The last byte of “{1}” has left ({0.boundary}).").format(
        fact, look.fact(fact.message).label
    )


def _message_resumed(fact: f.MessageResumed, look: Look) -> str:
    return f"“{look.fact(fact.message).label}” goes on, after bytes of other streams on the same connection."


def _work_finished(fact: f.WorkFinished, look: Look) -> str:
    says = _OUTCOMES.get(fact.outcome, "{0.host} is through with “{1}” after {2}: {0.outcome}.")
    return says.format(fact, look.fact(fact.work).label, look.since_s(fact.work))


def _wait_ended(fact: f.WaitEnded, look: Look) -> str:
    says = _WAITS_ENDED.get(fact.outcome, "{0.host} stopped waiting for “{1}” after {2}: {0.outcome}.")
    return says.format(fact, look.fact(fact.wait).label, look.since_s(fact.wait))


def _timed_out(fact: f.TimedOut, look: Look) -> str:
    says = _TIMED_OUT.get(
        fact.what, "{0.host} gave up on “{0.what}” after {1}. A time limit turns silence into a decision."
    )
    return says.format(fact, format_seconds(fact.after_s))


def _host_started(fact: f.HostStarted, look: Look) -> str:
    if fact.attempt == 1:
        return f"{fact.host} starts."
    return (
        f"{fact.host} is back, for the {_ordinal(fact.attempt)} time. Its memory begins empty: only what it kept on"
        " disk, or what others remember, is still there."
    )


def _event_handled(fact: f.EventHandled, look: Look) -> str:
    """With the time since its birth, where that is not too far back."""
    trace = look.trace
    born, event = f.EventBorn.code, fact.event
    for i in range(look.fact_id - 1, max(-1, look.fact_id - _LOOK_BACK), -1):
        if trace.kind[i] == born and trace.b[i] == event:
            return f"{fact.host} hears of event {event}, {look.since_s(i)} after it happened."
    return f"{fact.host} hears of event {event}."


def _measured(fact: f.Measured, look: Look) -> str:
    return f"{fact.host} counts {fact.amount:g} for “{fact.what}”."


def _run_failed(fact: f.RunFailed, look: Look) -> str:
    return f"The run ends here: the program of {fact.host} failed ({fact.reason})."


def _opening(fact: f.ConnectionOpening, look: Look) -> str:
    spoken = f", to speak {fact.protocol}" if fact.protocol else ""
    return (
        f"{fact.client} opens connection c{fact.flow} to {fact.server}, port {fact.port}{spoken}. Before the first"
        " request can leave, a greeting has to go there and back."
    )


def _opened(fact: f.ConnectionOpened, look: Look) -> str:
    return f"For {fact.host}, c{fact.flow} is open: bytes can flow both ways, in order and without gaps."


def _assigned(fact: f.PoolAssigned, look: Look) -> str:
    if fact.how == "reused":
        return (
            f"{fact.host} has an open connection to spare (number {fact.member} of its pool) and uses it again: no"
            " greeting, the request leaves at once."
        )
    return (
        f"{fact.host} has no connection to spare and opens a new one (number {fact.member} of its pool). This"
        " request pays for the greeting."
    )


def _by(table: dict[Any, str], key: str, otherwise: str = "") -> "Sentence":
    """The sentence that `table` has for the value of the fact's field `key`."""

    def say(fact: Any, look: Look) -> str:
        return table.get(getattr(fact, key), otherwise).format(fact)

    return say


def _plain(template: str) -> "Sentence":
    """A sentence that needs the fact's fields alone; it is written {0.field}."""

    def say(fact: Any, look: Look) -> str:
        return template.format(fact)

    return say


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _ordinal(number: int) -> str:
    words = {1: "first", 2: "second", 3: "third"}
    return words.get(number, f"{number}th")


Sentence = Callable[[Any, Look], str]

SENTENCES: dict[type[Fact], tuple[Weight, Sentence]] = {
    f.RunStarted: (
        Weight.ROUTINE,
        _plain(
            "A new run of {0.scenario} begins, with seed {0.seed}. The same seed and the same orders give the same run."
        ),
    ),
    f.RunEnded: (
        Weight.TELLING,
        _plain("The scenario is over: {0.reason}. Go back to any moment of it, or start again."),
    ),
    f.RunFailed: (Weight.DRAMATIC, _run_failed),
    f.CommandApplied: (Weight.DRAMATIC, _plain("Your order takes effect: {0.command}.")),
    f.KnobTurned: (
        Weight.TELLING,
        _plain("{0.knob} is now {0.value}. It holds for what is sent from here on, not for what is under way."),
    ),
    f.HostDeclared: (Weight.ROUTINE, _plain("{0.host} takes part in this scenario.")),
    f.HostStarted: (Weight.ORDINARY, _host_started),
    f.HostCrashed: (
        Weight.DRAMATIC,
        _plain(
            "{0.host} crashes. What it had in memory is gone, and its kernel closes its connections: the others "
            "learn of it when that reaches them."
        ),
    ),
    f.HostFinished: (Weight.ORDINARY, _plain("The program of {0.host} has done what it came for and ends.")),
    f.StateChanged: (Weight.ORDINARY, _plain("On {0.host}, {0.key} is now {0.value}.")),
    f.WorkStarted: (Weight.ORDINARY, _plain("{0.host} gets to work: {0.label}.")),
    f.WorkFinished: (Weight.ORDINARY, _work_finished),
    f.WaitStarted: (Weight.ORDINARY, _by(_WAITS, "kind")),
    f.WaitEnded: (Weight.ORDINARY, _wait_ended),
    f.TimedOut: (Weight.DRAMATIC, _timed_out),
    f.Measured: (Weight.ROUTINE, _measured),
    f.Noted: (Weight.TELLING, _plain("{0.host}: {0.text}")),
    f.LinkChanged: (
        Weight.DRAMATIC,
        _by(_LINKS, "state", "The way from {0.sender} to {0.receiver} is now: {0.state}."),
    ),
    f.PacketSent: (Weight.ROUTINE, _packet_sent),
    f.PacketDelivered: (Weight.ROUTINE, _packet_delivered),
    f.PacketDropped: (Weight.DRAMATIC, _packet_dropped),
    f.PacketHeld: (Weight.TELLING, _packet_held),
    f.PacketReleased: (Weight.ORDINARY, _packet_released),
    f.ConnectionOpening: (Weight.ORDINARY, _opening),
    f.ConnectionOpened: (Weight.ROUTINE, _opened),
    f.ConnectionRefused: (
        Weight.DRAMATIC,
        _plain(
            "{0.host} is refused: nobody listens on that port. At least it is told so at once, and need not wait "
            "for a time limit."
        ),
    ),
    f.ConnectionClosed: (
        Weight.ORDINARY,
        _plain(
            "{0.host} closes its end of c{0.flow}, and will say nothing more on it. Whatever comes next needs a new one."
        ),
    ),
    f.ConnectionReset: (
        Weight.DRAMATIC,
        _by(_RESETS, "reason", "{0.host} learns that c{0.flow} is gone without a proper end: {0.reason}."),
    ),
    f.MessageStarted: (Weight.TELLING, _by(_STARTED, "role")),
    f.MessageEnded: (Weight.ROUTINE, _message_ended),
    f.MessageResumed: (Weight.ROUTINE, _message_resumed),
    f.PoolCreated: (
        Weight.ROUTINE,
        _plain("{0.host} has a pool for at most {0.size} requests at a time: what is more must queue."),
    ),
    f.PoolResized: (
        Weight.TELLING,
        _by(
            {0: "{0.host} closes its pool, and all connections that are in it."},
            "size",
            "The pool of {0.host} may now serve {0.size} requests at a time. More than that at once still have to queue.",
        ),
    ),
    f.PoolQueued: (Weight.ROUTINE, _plain("{0.host} wants to send {0.label} and asks its pool for a connection.")),
    f.PoolAssigned: (Weight.ORDINARY, _assigned),
    f.PoolLeft: (Weight.ROUTINE, _by(_LEFT, "outcome", "A request on {0.host} is done with the pool: {0.outcome}.")),
    f.PoolEvicted: (
        Weight.ORDINARY,
        _by(_EVICTED, "reason", "Connection {0.member} leaves the pool of {0.host}: {0.reason}."),
    ),
    f.PoolOpening: (
        Weight.ORDINARY,
        _plain("{0.host} opens connection {0.member} of its pool ahead of need: nobody waits for it yet."),
    ),
    f.PoolOpened: (
        Weight.ROUTINE,
        _plain("Connection {0.member} in the pool of {0.host} is open. From now on it costs nothing but its upkeep."),
    ),
    f.EventBorn: (Weight.ORDINARY, _plain("Event {0.event} happens on {0.host}. Nobody else knows of it yet.")),
    f.EventHandled: (Weight.ORDINARY, _event_handled),
    f.EventLost: (
        Weight.DRAMATIC,
        _plain("{0.host} gives event {0.event} up: {0.reason}. Nobody will hear of it from there."),
    ),
}
"""For every class of fact: how much it deserves to be told, and what to say."""


def sentence(trace: Trace, fact_id: int) -> str:
    """What to say about that fact, whatever the lesson."""
    fact = trace[fact_id].fact
    _, say = SENTENCES[type(fact)]
    return say(fact, Look(trace, fact_id))
