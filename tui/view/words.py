"""What is written beside an arrow or a mark: the words for every kind of fact, and the style and line that go with them."""

from collections.abc import Callable
from dataclasses import dataclass

from engines.lab import facts as f
from engines.lab.facts import PacketKind, Role
from engines.lab.trace import Trace
from engines.lab.units import format_quantity, format_seconds
from engines.messages import ArrowKind, ArrowState, MessageIndex, Phase
from tui.view.glyphs import Glyphs
from tui.view.lifelines import WAIT_WORDS, Spans
from tui.view.lines import text_for

SEGMENT_BYTES = 1460
"""Messages longer than one segment say their size."""


@dataclass(frozen=True, slots=True)
class Sketch:
    """An arrow ready to be drawn: ends are numbers of names; `tags` from the longest to the shortest.

    `fate` is what to say where it stands still: why it was lost or held. Where there is no room beside that place, `words`
    says all, the fate first so that it is never what is cut off. `brief` says the same as `text` in fewer words, for
    arrows that are too short for it.
    """

    sender: int
    receiver: int
    state: ArrowState
    text: str
    fate: str
    tags: tuple[str, ...]
    pattern: str
    style: str
    brief: str

    @property
    def words(self) -> str:
        return f"{self.fate}: {self.text}" if self.fate else self.text


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at one host (the number of its name), or across all of them (-1)."""

    host: int
    glyph: str
    text: str
    style: str
    bar: str = ""  # the glyph of the bar that this mark begins or ends


_ROLE_STYLES = {
    Role.REQUEST: "request",
    Role.RESPONSE: "response",
    Role.PUSH: "push",
    Role.ACK: "ack",
    Role.ERROR: "error",
    Role.HEARTBEAT: "heartbeat",
    Role.CONTROL: "control",
    Role.SEALED: "data",
}
_ROLE_WORDS = {Role.PUSH: "push", Role.ACK: "ack", Role.ERROR: "error", Role.HEARTBEAT: "heartbeat"}
_QUIET_ROLES = (Role.ACK, Role.HEARTBEAT, Role.CONTROL)
_PACKET_WORDS = {
    PacketKind.SYN: "connect (SYN)",
    PacketKind.SYN_ACK: "accept (SYN-ACK)",
    PacketKind.FIN: "close (FIN)",
    PacketKind.RST: "reset (RST)",
}
_BRIEFLY = {words: words[words.index("(") + 1 : -1] for words in _PACKET_WORDS.values()}
_LOST_WORDS = {"loss": "lost", "": "lost"}


def sketch_arrow(index: MessageIndex, arrow: int, t: float, limit: int, glyphs: Glyphs) -> Sketch:
    """The arrow as it looks at `t`, when `limit` facts had happened."""
    trace, packet = index.trace, index.packet[arrow]
    state = index.state_at(arrow, t, limit)
    kind = index.kind[arrow]
    message = index.message[index.source(arrow)]
    role = Role(trace.d[message]) if 0 <= message < limit else None
    words = [_message_words(trace, message, role, glyphs) if role is not None else _packet_words(index, arrow, limit)]
    if kind == ArrowKind.RETRANSMISSION:
        words.append(_again_words(trace, packet))
    if kind == ArrowKind.LOST_PART:
        words.insert(0, f"{format_quantity(trace.payload_size[packet], 'B')} of")
    words.append(_state_words(state, role is not None))
    ended = index.ended[arrow]
    if 0 <= ended < limit and trace.names[trace.d[ended]] == "cut short":
        words.append("(cut short)")
    return _sketch(trace, packet, state, words, role, kind == ArrowKind.RETRANSMISSION, glyphs, message)


def sketch_packet(index: MessageIndex, packet: int, t: float, limit: int, glyphs: Glyphs) -> Sketch:
    """One packet by itself as it looks at `t`."""
    trace = index.trace
    arrow = index.arrow_of_fact(packet)
    state = index.packet_state_at(packet, t, limit)
    if arrow is not None and index.packet[arrow] == packet and trace.d[packet] != PacketKind.DATA:
        return sketch_arrow(index, arrow, t, limit, glyphs)
    message = index.message[index.source(arrow)] if arrow is not None else -1
    role = Role(trace.d[message]) if 0 <= message < limit else None
    size = format_quantity(trace.payload_size[packet], "B")
    first = arrow is not None and index.packet[index.source(arrow)] == packet
    again = trace.f[packet] > 1
    if role is not None and (first or again):
        words = [_message_words(trace, message, role, glyphs), size]
    else:
        words = [f"{size} at {trace.e[packet]:,}"]
    if again:
        words.append("again")
    words.append(_state_words(state, False))
    return _sketch(trace, packet, state, words, role, again, glyphs, message)


def _sketch(
    trace: Trace,
    packet: int,
    state: ArrowState,
    words: list[str],
    role: Role | None,
    again: bool,
    glyphs: Glyphs,
    message: int,
) -> Sketch:
    kind = trace.d[packet]
    if role is not None:
        style = _ROLE_STYLES[role]
        pattern = glyphs.quiet if role in _QUIET_ROLES else glyphs.heavy if role is Role.PUSH else glyphs.plain
    elif kind in (PacketKind.DATA, PacketKind.DATAGRAM):
        style, pattern = "data", glyphs.plain
    else:
        style, pattern = ("error" if kind == PacketKind.RST else "control"), glyphs.quiet
    if again:
        style, pattern = "retransmission", glyphs.again
    if state.phase is Phase.LOST:
        style = "lost"
    elif state.phase is Phase.HELD:
        style = "held"
    flow = trace.a[packet]
    stream = trace.f[message] if role is not None and kind != PacketKind.DATAGRAM else 0
    tags = (f"c{flow} stream {stream}", f"c{flow}/{stream}") if stream else (f"c{flow}",)
    text, fate = " ".join(filter(None, words)), _fate_words(state, glyphs)
    brief = text.removeprefix(_role_word(trace, message, role)) if role is not None else _BRIEFLY.get(text, text)
    return Sketch(trace.b[packet], trace.c[packet], state, text, fate, tags, pattern, style, brief)


def _message_words(trace: Trace, message: int, role: Role, glyphs: Glyphs) -> str:
    return _role_word(trace, message, role) + text_for(glyphs, trace.text(message))


def _role_word(trace: Trace, message: int, role: Role) -> str:
    """The word for the role and a blank, where the label itself does not say it."""
    word = _ROLE_WORDS.get(role, "")
    return "" if word in trace.text(message).lower() else f"{word} "


def _packet_words(index: MessageIndex, arrow: int, limit: int) -> str:
    trace, packet = index.trace, index.packet[arrow]
    kind = PacketKind(trace.d[packet])
    if kind in _PACKET_WORDS:
        return _PACKET_WORDS[kind]
    if kind is PacketKind.DATAGRAM:
        return f"datagram {format_quantity(trace.payload_size[packet], 'B')}"
    size = index.sent_bytes(arrow, limit) if index.kind[arrow] == ArrowKind.BYTES else trace.payload_size[packet]
    return format_quantity(size, "B")


def _again_words(trace: Trace, packet: int) -> str:
    if trace.d[packet] == PacketKind.DATAGRAM:
        return "(copy)"
    return "again" if trace.f[packet] == 2 else f"again (try {trace.f[packet]})"


def _fate_words(state: ArrowState, glyphs: Glyphs) -> str:
    if state.phase is Phase.LOST:
        return _LOST_WORDS.get(state.reason) or f"lost ({text_for(glyphs, state.reason)})"
    if state.phase is Phase.HELD:
        return "held" if state.reason == "held" else f"held ({text_for(glyphs, state.reason)})"
    return ""


def _state_words(state: ArrowState, sized: bool) -> str:
    if state.blocked:
        return "waits for lost bytes"
    if not sized:
        return ""
    if state.phase is Phase.PARTIAL:
        if state.total is None:
            return f"{format_quantity(state.delivered, 'B')} so far"
        return f"{format_quantity(state.delivered, 'B')} of {format_quantity(state.total, 'B')}"
    if state.phase is Phase.DELIVERED and state.total is not None and state.total > SEGMENT_BYTES:
        return format_quantity(state.total, "B")
    return ""


# --- marks --------------------------------------------------------------------------------------------------------------

_Words = Callable[[Trace, int], str]


def _text(trace: Trace, i: int) -> str:
    return trace.text(i)


@dataclass(frozen=True, slots=True)
class _MarkRule:
    """How a kind of fact is marked: its words, style, glyph (a field of Glyphs), and the column its host's name is in."""

    words: _Words
    style: str = "mark"
    glyph: str = "event"
    host: str = "a"


_RULES: dict[int, _MarkRule] = {
    f.RunEnded.code: _MarkRule(lambda r, i: f"the run ended: {r.text(i)}", "command", host=""),
    f.RunFailed.code: _MarkRule(lambda r, i: f"{r.names[r.a[i]]} failed: {r.text(i)}", "error", "dead", ""),
    f.CommandApplied.code: _MarkRule(_text, "command", host=""),
    f.KnobTurned.code: _MarkRule(lambda r, i: f"{r.names[r.a[i]]} = {r.text(i)}", "command", host=""),
    f.LinkChanged.code: _MarkRule(
        lambda r, i: f"link {r.names[r.a[i]]} → {r.names[r.b[i]]} is {r.names[r.c[i]]}", "link", host=""
    ),
    f.HostStarted.code: _MarkRule(lambda r, i: "restarted" if r.b[i] > 1 else "started", "mark", "up"),
    f.HostCrashed.code: _MarkRule(lambda r, i: "crashed", "error", "dead"),
    f.HostFinished.code: _MarkRule(lambda r, i: "finished", "dim", "down"),
    f.StateChanged.code: _MarkRule(lambda r, i: f"{r.names[r.b[i]]} = {r.text(i)}", "mark", "state"),
    f.TimedOut.code: _MarkRule(lambda r, i: f"{r.names[r.b[i]]} timeout after {format_seconds(r.x[i])}", "error"),
    f.Noted.code: _MarkRule(_text, "note", "note"),
    f.ConnectionOpened.code: _MarkRule(lambda r, i: f"c{r.a[i]} open", "control", "up", "b"),
    f.ConnectionClosed.code: _MarkRule(lambda r, i: f"c{r.a[i]} closed", "control", "down", "b"),
    f.ConnectionRefused.code: _MarkRule(lambda r, i: f"c{r.a[i]} refused", "error", "dead", "b"),
    f.ConnectionReset.code: _MarkRule(lambda r, i: f"c{r.a[i]} broken: {r.names[r.c[i]]}", "error", "dead", "b"),
    f.PoolCreated.code: _MarkRule(lambda r, i: f"pool of {r.c[i]}", host="b"),
    f.PoolResized.code: _MarkRule(lambda r, i: f"pool resized to {r.c[i]}" if r.c[i] else "pool closed", host="b"),
    f.PoolQueued.code: _MarkRule(lambda r, i: f"queued for the pool: {r.text(i)}", host="b"),
    f.PoolAssigned.code: _MarkRule(lambda r, i: f"pool gave connection {r.d[i]} ({r.names[r.e[i]]})", host="b"),
    f.PoolLeft.code: _MarkRule(lambda r, i: f"pool: {r.names[r.d[i]]}", host="b"),
    f.PoolEvicted.code: _MarkRule(lambda r, i: f"pool dropped connection {r.c[i]} ({r.names[r.d[i]]})", host="b"),
    f.PoolOpening.code: _MarkRule(lambda r, i: f"pool opens connection {r.c[i]}", host="b"),
    f.PoolOpened.code: _MarkRule(lambda r, i: f"pool has opened connection {r.c[i]}", host="b"),
    f.EventBorn.code: _MarkRule(lambda r, i: f"event {r.b[i]}", "mark", "state"),
    f.EventHandled.code: _MarkRule(lambda r, i: f"heard of event {r.b[i]}", "mark", "up"),
    f.EventLost.code: _MarkRule(lambda r, i: f"event {r.b[i]} lost: {r.names[r.c[i]]}", "error", "dead"),
}


def mark_of(trace: Trace, spans: Spans, fact: int, t: float, limit: int, glyphs: Glyphs) -> Mark | None:
    """The mark for `fact` as it reads at `t`; None for facts that have no mark of their own."""
    kind = trace.kind[fact]
    if kind in (f.WorkStarted.code, f.WaitStarted.code):
        return _began(trace, spans, fact, t, limit, glyphs)
    if kind in (f.WorkFinished.code, f.WaitEnded.code):
        return _finished(trace, fact, glyphs)
    rule = _RULES.get(kind)
    if rule is None:
        return None
    host = int(getattr(trace, rule.host)[fact]) if rule.host else -1
    text = text_for(glyphs, rule.words(trace, fact).replace("→", ">") if glyphs.ascii_only else rule.words(trace, fact))
    return Mark(host, getattr(glyphs, rule.glyph), text, rule.style)


def _bar(trace: Trace, fact: int, glyphs: Glyphs) -> tuple[str, str]:
    """The bar and the words for its kind that a WorkStarted or WaitStarted begins."""
    if trace.kind[fact] == f.WorkStarted.code:
        return glyphs.work, ""
    kind = f.WaitKind(trace.b[fact])
    return (glyphs.timer if kind is f.WaitKind.TIMER else glyphs.wait), WAIT_WORDS[kind]


def _began(trace: Trace, spans: Spans, fact: int, t: float, limit: int, glyphs: Glyphs) -> Mark:
    bar, word = _bar(trace, fact, glyphs)
    label = text_for(glyphs, trace.text(fact))
    end = spans.end_of(fact)
    took = (trace.time[end] if 0 <= end < limit else t) - trace.time[fact]
    words = label if not word or word in label else f"{word}: {label}" if label else word
    text = f"{words or 'working'} {format_seconds(took)}" if took > 0 else words or "working"
    return Mark(trace.a[fact], bar, text, "wait" if word else "work", bar)


def _finished(trace: Trace, fact: int, glyphs: Glyphs) -> Mark:
    start = trace.a[fact]
    waited = trace.kind[fact] == f.WaitEnded.code
    bar = glyphs.work
    if waited:
        known = 0 <= start < fact and trace.kind[start] == f.WaitStarted.code
        bar = _bar(trace, start, glyphs)[0] if known else glyphs.wait
    return Mark(trace.b[fact], bar, text_for(glyphs, trace.text(fact)) or "done", "wait" if waited else "work", bar)
