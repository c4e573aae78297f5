"""The anatomy of a request: one question in many envelopes. Where does each message begin and end, and what does it weigh?"""

from dataclasses import dataclass, field, replace

import trio

from engines.lab.facts import ConnectionOpening, Measured, MessageStarted, Noted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number, Toggle
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.request_response.envelopes import ENVELOPES, PRICES, TROUBLES, Ask, Envelope
from engines.patterns.troubles import DROP_PACKET, KILL_SERVER, LOSE_RESPONSE, UNPLUG_CLIENT
from engines.wire.http_client import TIMEOUT_KNOBS

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Knows what fruit costs, and says so on a port for each protocol."""
    async with trio.open_nursery() as nursery:
        for envelope in ENVELOPES:
            nursery.start_soon(envelope.serve, host)


# --- the client ---------------------------------------------------------------------------------------------------------

IN_TURN = "all in turn"


@dataclass(slots=True)
class Turn:
    """A question to be asked; `over` when there is an answer, or no hope of one."""

    item: str
    over: trio.Event = field(default_factory=trio.Event)


async def client(host: Host) -> None:
    """Asks the same kind of question again and again, in one envelope after the other."""
    async with trio.open_nursery() as nursery:
        turns = {}
        for envelope in ENVELOPES:
            turns[envelope.name], turns_here = trio.open_memory_channel[Turn](1)
            nursery.start_soon(speak, host, envelope, turns_here)
        number = 0
        while True:
            chosen = str(host.knobs["envelope"])
            name = ENVELOPES[number % len(ENVELOPES)].name if chosen == IN_TURN else chosen
            number += 1
            turn = Turn(host.rng.choice(list(PRICES)))
            await turns[name].send(turn)
            await turn.over.wait()
            await trio.sleep(host.knobs.number("pause"))


async def speak(host: Host, envelope: Envelope, turns: trio.MemoryReceiveChannel[Turn]) -> None:
    """Ask in one envelope whenever it is its turn. The connection is kept from one turn to the next, or not."""
    async for turn in turns:
        try:
            with trio.move_on_after(host.knobs.number("patience")) as patience:
                async with envelope.open(host) as ask:
                    while await asked(host, envelope, ask, turn) and host.knobs.on("kept"):
                        patience.deadline = float("inf")
                        turn = await turns.receive()
                        patience.deadline = trio.current_time() + host.knobs.number("patience")
            if patience.cancelled_caught:
                host.timed_out("answer", host.knobs.number("patience"))
        except TROUBLES as error:
            host.note(f"{envelope.name}: no answer ({type(error).__name__})")
        turn.over.set()


async def asked(host: Host, envelope: Envelope, ask: Ask, turn: Turn) -> bool:
    """Ask once. False when the connection is of no more use."""
    try:
        price = await ask(turn.item)
    except TROUBLES as error:
        host.note(f"{envelope.name}: no answer ({type(error).__name__})")
        return False
    host.note(f"{envelope.name}: {turn.item} cost {price}")
    host.measure("questions")
    host.measure("useful bytes", len(turn.item) + len(price))
    turn.over.set()
    return True


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS

LESSON = Lesson(
    name="anatomy",
    title="Anatomy",
    purpose="One question in many envelopes: look at the wire, find where each message ends, and compare what they weigh.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={envelope.port: envelope.dissector for envelope in ENVELOPES},
    network={"latency": 0.1},
    until_s=60.0,
    knobs=(
        Choice("envelope", "envelope", IN_TURN, (IN_TURN, *(envelope.name for envelope in ENVELOPES)),
               "the protocol in which the client asks"),
        Choice("body-ends", "http/1.1 body ends", "content-length", ("content-length", "chunked", "close"),
               "how HTTP/1.1 says where the answer ends: its length, a last chunk, or the end of the connection"),
        Toggle("kept", "connection", False, "whether a connection serves one question or many", "kept", "closed"),
        Number("pause", "pause", "s", 0.8, 0.05, 60.0, 0.25, "the client's pause between two questions"),
        Number("patience", "patience", "s", 3.0, 0.1, 60.0, 0.5, "how long the client waits for a connection and an answer"),
        replace(READ_TIMEOUT, default=5.0),
        CONNECT_TIMEOUT,
    ),
    faults=(KILL_SERVER, UNPLUG_CLIENT, LOSE_RESPONSE, DROP_PACKET),
    metrics=("measured:questions", "measured:useful bytes", "bytes",
             *(f"bytes-of:{envelope.name}" for envelope in ENVELOPES), "overhead", "delay", "delay-p95"),
    beats=(
        Beat(Noted, "{text}. The same answer as ever; only the envelope was another."  , {"text": r"[^:]+: \w+ cost"}),
        Beat(Noted, "{text}. Whatever the envelope, somebody has to be there.", {"text": r"[^:]+: no answer"}),
        Beat(Measured, "{amount} bytes of it were the question and its answer. The rest is envelope.", {"what": "useful"}),
        Beat(ConnectionOpening, "DNS asks without a connection: one datagram there, one back. The datagram is the boundary.",
             {"protocol": "dns"}),
        Beat(ConnectionOpening, "HTTP/2 begins with a preface and SETTINGS from both sides, before any question.",
             {"protocol": "h2"}),
        Beat(ConnectionOpening, "gRPC rides on HTTP/2, with a path that names a method.", {"protocol": "grpc"}),
        Beat(ConnectionOpening, "SSH: both sides say their version in a line of text, and after that everything is packets.",
             {"protocol": "ssh"}),
        Beat(ConnectionOpening, "PostgreSQL: after TCP comes the protocol's own hello, one more round trip before the question.",
             {"protocol": "postgresql"}),
        Beat(ConnectionOpening, "A connection for {protocol}: it must be open before the first byte of the question."),
        Beat(MessageStarted, "A packet of SSH: its length, the length of its padding, a message, padding. Real SSH would have"
             " encrypted all this, the length too.", {"label": "price@"}),
        Beat(MessageStarted, "GET, a path, an empty line: for a question without a body, that line is the boundary.",
             {"label": "GET"}),
        Beat(MessageStarted, "{label}: the question is in the body, and its envelope in there has a boundary of its own.",
             {"label": "POST", "role": "request"}),
        Beat(MessageStarted, "One letter, Q, says that a query follows; four bytes say how long it is, and a zero ends the text.",
             {"label": ".*SELECT"}),
        Beat(MessageStarted, "The question is a name: a header of 12 bytes, labels with their lengths, and a type.",
             {"label": "TXT"}),
    ),
    try_next=(
        "Choose a request, open the wire pane (W), and look for the part that is marked as the boundary.",
        "Keep the connection: handshakes, prefaces and versions are paid once. Watch HTTP/2: repeated fields shrink to a byte.",
        "Ask in http/1.1 alone and end the body by chunks, then by close: see what tells the client that it has everything.",
        "Ask in DNS alone and set the loss to 30 %: nobody sends a datagram again but the resolver itself, after 5 s.",
        "Ask in SOAP alone, then in gRPC alone, and compare the bytes for a question.",
    ),
)  # fmt: skip
