"""Folds: everything shown is a function of the trace up to a moment, and this makes that function cheap to ask.

A view asks for its state after any number of facts, forwards while a run plays and backwards when somebody scrubs. A
`FoldReader` keeps a copy of the state every few thousand facts, so that no question costs more than one such stretch,
and following a growing trace costs one step a fact. It suits small states (who is online, the knobs' values); what grows
with the trace (every delay so far) is better kept as one append-only series, as `engines.metrics` does.
"""

from bisect import bisect_right
from typing import Generic, Protocol, TypeVar

from engines.lab.trace import Trace

S = TypeVar("S")

CHECKPOINT_EVERY = 4096


class Fold(Protocol[S]):
    """A state and how each fact changes it. It must follow from the facts alone: no clock, no memory of its own."""

    def initial(self) -> S:
        """The state before any fact."""
        ...

    def step(self, state: S, trace: Trace, fact_id: int) -> S:
        """The state after fact `fact_id`. May change `state` in place and return it: the reader copies what it keeps."""
        ...

    def copy(self, state: S) -> S:
        """A state that later steps on the original leave alone."""
        ...


class FoldReader(Generic[S]):
    """The value of a fold after any number of facts, for one reader (it is not safe to share between threads).

    `at(n)` costs at most `every` steps and one copy wherever the trace has been read before, and n minus the furthest
    point read where it has not. `steps` counts the steps taken, for those who want to check.
    """

    def __init__(self, fold: Fold[S], trace: Trace, every: int = CHECKPOINT_EVERY) -> None:
        if every < 1:
            raise ValueError(f"a checkpoint every {every} facts? write 1 or more")
        self.steps = 0
        self._fold = fold
        self._trace = trace
        self._every = every
        self._marks = [0]
        self._checkpoints = [fold.initial()]
        self._position = 0
        self._state = fold.copy(self._checkpoints[0])

    def at(self, length: int) -> S:
        """The state after the first `length` facts. Read it, do not change it, and do not keep it beyond the next call.

        Raises IndexError when the trace has no such fact yet.
        """
        if not 0 <= length <= len(self._trace):
            raise IndexError(f"the trace has {len(self._trace)} facts, not {length}")
        nearest = bisect_right(self._marks, length) - 1
        if length < self._position or self._marks[nearest] > self._position:
            self._position = self._marks[nearest]
            self._state = self._fold.copy(self._checkpoints[nearest])
        self._advance(length)
        return self._state

    def at_time(self, time_s: float) -> S:
        """The state at virtual time `time_s`, with everything that happened at that very time."""
        return self.at(self._trace.length_at(time_s))

    def _advance(self, length: int) -> None:
        state, step, trace, next_mark = self._state, self._fold.step, self._trace, self._marks[-1] + self._every
        for fact_id in range(self._position, length):
            state = step(state, trace, fact_id)
            if fact_id + 1 == next_mark:
                self._marks.append(next_mark)
                self._checkpoints.append(self._fold.copy(state))
                next_mark += self._every
        self.steps += length - self._position
        self._position, self._state = length, state
