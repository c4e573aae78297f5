"""From a selected fact to the bytes behind it: which message or packet it belongs to, and what the wire pane shows of it."""

from engines.lab.dissection import Part, Side
from engines.lab.facts import (
    Fact,
    MessageEnded,
    MessageStarted,
    PacketDelivered,
    PacketDropped,
    PacketHeld,
    PacketReleased,
    PacketSent,
)
from engines.streams import in_datagram
from tui.engine import Engine
from tui.index import TraceIndex
from tui.panels.wire import WireFacts

CAUSES_SEARCHED = 32

_POINTS_BACK: dict[type[Fact], str] = {
    MessageEnded: "message",
    PacketDelivered: "packet",
    PacketDropped: "packet",
    PacketHeld: "packet",
    PacketReleased: "packet",
}


def bytes_behind(index: TraceIndex, fact_id: int, time_s: float, *, packets: bool) -> int | None:
    """The MessageStarted or PacketSent that fact `fact_id` is about; None when no bytes are behind it.

    With `packets` a packet is shown for itself; without, the message that it carries (the beginning of).
    """
    trace = index.trace
    fact = trace[fact_id].fact
    field = _POINTS_BACK.get(type(fact))
    if field is not None:
        fact_id = int(getattr(fact, field))
        fact = trace[fact_id].fact
    if isinstance(fact, PacketSent) and fact.payload and not packets:
        message = index.message_at(fact.flow, fact.sender, fact.offset, time_s)
        return fact_id if message is None else message
    return (
        fact_id
        if isinstance(fact, MessageStarted) or (isinstance(fact, PacketSent) and (fact.payload or packets))
        else None
    )


def bytes_that_led_to(index: TraceIndex, fact_id: int, time_s: float) -> int | None:
    """The nearest message among the causes of fact `fact_id`: what the bytes were because of which it happened."""
    cause = index.trace.cause[fact_id]
    for _ in range(CAUSES_SEARCHED):
        if cause < 0:
            return None
        found = bytes_behind(index, cause, time_s, packets=False)
        if found is not None:
            return found
        cause = index.trace.cause[cause]
    return None


def wire_facts(engine: Engine, index: TraceIndex, fact_id: int, time_s: float) -> WireFacts:
    """What the wire pane shows of MessageStarted or PacketSent `fact_id`, as far as it had been sent by `time_s`."""
    fact = index.trace[fact_id].fact
    if isinstance(fact, MessageStarted):
        return _message(engine, index, fact_id, fact, time_s)
    assert isinstance(fact, PacketSent)
    kind = fact.kind.name.replace("_", "-").lower()
    again = f", transmission {fact.attempt}" if fact.attempt > 1 else ""
    return WireFacts(
        title=f"{kind} packet of c{fact.flow}, {fact.sender} to {fact.receiver}{again}",
        data=fact.payload,
        start=fact.offset,
        parts=(Part(fact.offset, fact.offset + len(fact.payload), "payload"),) if fact.payload else (),
    )


def _message(engine: Engine, index: TraceIndex, fact_id: int, fact: MessageStarted, time_s: float) -> WireFacts:
    stream = index.stream(fact.flow, fact.sender, time_s)
    ended = index.end_of(fact_id, time_s)
    end = min(ended.end, len(stream)) if ended is not None else len(stream)
    opening = index.opening_of(fact.flow)
    stream_name = f" stream {fact.stream}" if fact.stream and not in_datagram(index.trace, fact_id) else ""
    title = f"{fact.label}   c{fact.flow}{stream_name}, {fact.sender} to {fact.receiver}"
    data = stream[fact.offset : end]
    if opening is None:
        return WireFacts(title, data, fact.offset, (), ended.boundary if ended else "")
    side = Side.CLIENT if fact.sender == opening.client else Side.SERVER
    return WireFacts(
        title=title,
        data=data,
        start=fact.offset,
        parts=tuple(engine.parts(opening.protocol, side, stream, fact.offset, end)),
        boundary=ended.boundary if ended is not None else "not over yet",
        equivalent=(engine.equivalent(opening.protocol, data, opening.server, opening.port) or "")
        if side is Side.CLIENT
        else "",
    )
