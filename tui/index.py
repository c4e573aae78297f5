"""What the panels look up in a trace, indexed as it grows: knob and fault changes, messages, and the bytes of each direction.

Reading is done in slices of at most a given number of facts, so that a frame never waits for a long trace. Every answer
is about a moment: what had happened up to a time, whatever came later.
"""

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field

from engines.lab.facts import (
    CommandApplied,
    ConnectionOpening,
    KnobTurned,
    MessageEnded,
    MessageStarted,
    PacketKind,
    PacketSent,
)
from engines.lab.trace import Trace
from tui.landmarks import LANDMARK_CODES, Landmarks

SLICE = 20_000


@dataclass(slots=True)
class Direction:
    """The bytes that one host sent on one connection: the ids of the packets that carried new ones, and where each began."""

    packets: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    size: int = 0


class TraceIndex:
    """Grows with `consume`; knows nothing that is not in the trace."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.seen = 0
        self.landmarks = Landmarks(trace)
        self._knob_times: list[float] = []
        self._knobs: list[tuple[str, str]] = []
        self._command_times: list[float] = []
        self._commands: list[str] = []
        self._message_times: list[float] = []
        self._messages: list[int] = []
        self._starts: dict[tuple[int, str], list[tuple[int, int]]] = defaultdict(list)  # (offset, id), ascending
        self._ends: dict[int, int] = {}
        self._openings: dict[int, int] = {}
        self._directions: dict[tuple[int, str], Direction] = defaultdict(Direction)
        self._readers = {
            KnobTurned.code: self._read_knob,
            CommandApplied.code: self._read_command,
            MessageStarted.code: self._read_message,
            MessageEnded.code: self._read_end,
            ConnectionOpening.code: self._read_opening,
            PacketSent.code: self._read_packet,
        }

    def consume(self, budget: int = SLICE) -> bool:
        """Read at most `budget` more facts; true while there are more to read."""
        length = len(self.trace)
        end = min(length, self.seen + budget)
        kinds, readers = self.trace.kind, self._readers
        for fact_id in range(self.seen, end):
            reader = readers.get(kinds[fact_id])
            if reader is not None:
                reader(fact_id)
            if kinds[fact_id] in LANDMARK_CODES:
                self.landmarks.take(fact_id)
        self.seen = end
        return end < length

    # --- reading --------------------------------------------------------------------------------------------------------

    def _read_knob(self, fact_id: int) -> None:
        trace = self.trace
        self._knob_times.append(trace.time[fact_id])
        self._knobs.append((trace.names[trace.a[fact_id]], trace.text(fact_id)))

    def _read_command(self, fact_id: int) -> None:
        self._command_times.append(self.trace.time[fact_id])
        self._commands.append(self.trace.text(fact_id))

    def _read_message(self, fact_id: int) -> None:
        trace = self.trace
        self._message_times.append(trace.time[fact_id])
        self._messages.append(fact_id)
        flow, sender, offset = trace.a[fact_id], trace.names[trace.b[fact_id]], trace.e[fact_id]
        self._starts[flow, sender].append((offset, fact_id))

    def _read_end(self, fact_id: int) -> None:
        self._ends[self.trace.a[fact_id]] = fact_id

    def _read_opening(self, fact_id: int) -> None:
        self._openings[self.trace.a[fact_id]] = fact_id

    def _read_packet(self, fact_id: int) -> None:
        trace = self.trace
        size = trace.payload_size[fact_id]
        if not size or trace.d[fact_id] not in (PacketKind.DATA, PacketKind.DATAGRAM):
            return
        direction = self._directions[trace.a[fact_id], trace.names[trace.b[fact_id]]]
        offset = trace.e[fact_id]
        if offset + size <= direction.size:
            return  # a retransmission: nothing new in it
        direction.packets.append(fact_id)
        direction.times.append(trace.time[fact_id])
        direction.offsets.append(offset)
        direction.size = offset + size

    # --- answers --------------------------------------------------------------------------------------------------------

    def knobs_at(self, time_s: float) -> dict[str, str]:
        """The texts of the knobs turned so far, by name; a knob that nobody turned is not there."""
        return dict(self._knobs[: bisect_right(self._knob_times, time_s)])

    def commands_at(self, time_s: float) -> list[str]:
        return self._commands[: bisect_right(self._command_times, time_s)]

    def newest_message(self, time_s: float) -> int | None:
        """The id of the last MessageStarted up to `time_s`."""
        place = bisect_right(self._message_times, time_s)
        return self._messages[place - 1] if place else None

    def end_of(self, message: int, time_s: float) -> MessageEnded | None:
        """How the message ended, if it had by `time_s`."""
        fact_id = self._ends.get(message)
        if fact_id is None or self.trace.time[fact_id] > time_s:
            return None
        fact = self.trace[fact_id].fact
        assert isinstance(fact, MessageEnded)
        return fact

    def message_at(self, flow: int, sender: str, offset: int, time_s: float) -> int | None:
        """The message that byte `offset` of a direction belongs to, if its head had been sent by `time_s`."""
        starts = self._starts.get((flow, sender), [])
        place = bisect_right(starts, (offset, len(self.trace)))
        message = starts[place - 1][1] if place else None
        return None if message is None or self.trace.time[message] > time_s else message

    def opening_of(self, flow: int) -> ConnectionOpening | None:
        fact_id = self._openings.get(flow)
        if fact_id is None:
            return None
        fact = self.trace[fact_id].fact
        assert isinstance(fact, ConnectionOpening)
        return fact

    def stream(self, flow: int, sender: str, time_s: float) -> bytes:
        """All that `sender` had sent on connection `flow` by `time_s`, each byte once, in order."""
        direction = self._directions.get((flow, sender))
        if direction is None:
            return b""
        data = bytearray()
        for packet, offset in zip(
            direction.packets[: bisect_right(direction.times, time_s)], direction.offsets, strict=False
        ):
            data += self.trace.payload(packet)[max(0, len(data) - offset) :]
        return bytes(data)
