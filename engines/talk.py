"""The messages of one direction of a connection while they last, and which of them has the floor.

Where a connection carries several streams (HTTP/2), their messages interleave: a message is silent while bytes of another
stream pass, and those bytes are not its own though they lie between its first and its last.
"""

from array import array
from bisect import bisect_right
from collections import deque

from engines.lab.trace import Trace
from engines.streams import Direction

NONE = -1
_NEVER = 1 << 62


class _Silences:
    """Where others spoke during a message: ascending ranges of offsets, the last perhaps without an end yet."""

    __slots__ = ("_before", "_ends", "_starts")

    def __init__(self) -> None:
        self._starts = array("q")
        self._ends = array("q")
        self._before = array("q")  # bytes of others before each range

    def begin(self, offset: int) -> None:
        self._before.append(self.until(offset))
        self._starts.append(offset)
        self._ends.append(_NEVER)

    def end(self, offset: int) -> None:
        if len(self._ends) and self._ends[-1] == _NEVER:
            self._ends[-1] = offset

    def until(self, offset: int) -> int:
        """How many bytes of others lie before `offset`."""
        i = bisect_right(self._starts, offset) - 1
        return self._before[i] + min(offset, self._ends[i]) - self._starts[i] if i >= 0 else 0


class Talk(Direction):
    """A direction and the messages in it. `arrows` are all that stand for bytes of it, by their first byte in `starts`."""

    __slots__ = ("_floor", "_silences", "arrows", "awaiting", "dissected", "open", "pending", "starts")

    def __init__(self, trace: Trace, dissected: bool) -> None:
        super().__init__(trace)
        self.dissected = dissected
        self.arrows = array("i")
        self.starts = array("q")
        self.open: dict[int, int] = {}  # message fact -> arrow: head sent and end not; whose turn it is comes last
        self.pending = NONE  # the arrow of bytes that are not yet known to be a message
        self.awaiting: deque[int] = deque()  # arrows wholly sent and not wholly readable
        self._floor = (NONE, NONE)  # the arrow that speaks, and its stream
        self._silences: dict[int, _Silences] = {}

    def add(self, arrow: int, start: int) -> None:
        """An arrow's first byte is at `start`, behind those of all others."""
        self.arrows.append(arrow)
        self.starts.append(start)

    def at(self, offset: int) -> int:
        """The arrow that was the last to begin at or before `offset`."""
        n = bisect_right(self.starts, offset) - 1
        return self.arrows[n] if n >= 0 else NONE

    def begin(self, message: int, arrow: int, offset: int, stream: int) -> None:
        """A message begins; one of the same stream that is not over stays, and contains it."""
        speaker, its_stream = self._floor
        if stream != its_stream or speaker not in self.open.values():
            self._give_floor(arrow, stream, offset)
        self.open[message] = arrow

    def resume(self, message: int, offset: int, stream: int) -> int:
        """A message goes on after others have spoken; returns its arrow, or NONE."""
        arrow = self.open.pop(message, NONE)
        if arrow != NONE:
            self.open[message] = arrow
            self._give_floor(arrow, stream, offset)
        return arrow

    def _give_floor(self, arrow: int, stream: int, offset: int) -> None:
        speaker, its_stream = self._floor
        if speaker != NONE and its_stream != stream:
            self._silences.setdefault(speaker, _Silences()).begin(offset)
        if arrow in self._silences:
            self._silences[arrow].end(offset)
        self._floor = (arrow, stream)

    def others_until(self, arrow: int, offset: int) -> int:
        """How many bytes before `offset` came between those of the arrow's message."""
        silences = self._silences.get(arrow)
        return silences.until(offset) if silences is not None else 0
