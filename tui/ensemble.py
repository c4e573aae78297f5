"""Several sessions under one clock: none is ever shown, steered or changed at another moment than the others.

The sessions never play by themselves. The ensemble keeps the clock and, once a frame, sends all of them to its present moment
(`Session.run_until`, flat out); they stand still there until the next. A slow one makes the clock wait, so the faster ones
cannot run ahead, whatever the pace. What a person orders is given when all have arrived, at the same moment to all.

This changes nothing of what happens: a run is the same however it is sliced.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil, inf
from typing import TypeVar

from engines.lab.commands import Command, CommandError, SetKnob, check_command, parse_command
from engines.lab.knobs import Knob, KnobBoard
from engines.lab.scenario import Fault, Scenario
from engines.lab.session import SessionState, Status
from tui.playback import SessionLike, StatusLike, time_after

T = TypeVar("T")

LONGEST_LAG_S = 0.25
"""Real time that the clock makes up for after a hitch; what is beyond is lost."""

FIRST_STRIDE_S, SHORTEST_STRIDE_S, LONGEST_STRIDE_S = 0.5, 0.02, 20.0
"""Virtual time that is ordered at once when flat out; it adapts so that all arrive within about a frame."""


@dataclass(frozen=True, slots=True)
class Member:
    """One of the runs; `title` is what people call it."""

    title: str
    scenario: Scenario
    session: SessionLike
    board: KnobBoard = field(init=False)  # only to check commands with: it stays at the defaults

    def __post_init__(self) -> None:
        object.__setattr__(self, "board", KnobBoard(self.scenario.all_knobs()))

    @property
    def over(self) -> bool:
        """Whether it cannot go on: ended, failed, or stopped at a limit (then it has something to say)."""
        status = self.session.status
        return status.state.value in (SessionState.ENDED.value, SessionState.FAILED.value) or bool(status.message)


def shared_knobs(members: Sequence[Member]) -> list[Knob]:
    """The knobs that at least two have, as the first of them declares them."""
    every = [knob for member in members for knob in member.scenario.all_knobs()]
    firsts = {knob.name: knob for knob in reversed(every)}
    return [firsts[name] for name in _had_by_several([knob.name for knob in every])]


def shared_faults(members: Sequence[Member]) -> list[Fault]:
    """The faults that mean the same in at least two."""
    every = [fault for member in members for fault in member.scenario.faults]
    firsts = {(fault.on, fault.off): fault for fault in reversed(every)}
    return [firsts[orders] for orders in _had_by_several([(fault.on, fault.off) for fault in every])]


def _had_by_several(things: Sequence[T]) -> list[T]:
    return [thing for thing in dict.fromkeys(things) if things.count(thing) > 1]


class Ensemble:
    """Sessions that stand still. `now` is real time in seconds; `keep_up` must be called once a frame.

    The clock begins at `clock_s`: 0 for sessions that are yet to be started (`start`), the moment of the foremost for others
    (`gather`).
    """

    def __init__(self, members: Sequence[Member], now: Callable[[], float], pace: float, clock_s: float = 0.0) -> None:
        self.members = tuple(members)
        self._now = now
        self._pace = pace
        self._playing = False
        self._clock_s = clock_s
        self._anchor: tuple[float, float] | None = None  # real and virtual time at which the present pace began
        self._stride_s = FIRST_STRIDE_S
        self._late = 0  # frames for which somebody has been on the way
        self._orders: deque[Callable[[], None]] = deque()

    # --- what others may see --------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """The ensemble as if it were one session; one that failed only has a message while others live on."""
        alive = self._alive()
        standing = [member.session.status.now_s for member in alive]
        told = [
            f"{member.title}: {' '.join(status.message.split())}"
            for member in self.members
            if (status := member.session.status).message and not self._normal_end(status)
        ]
        return Status(self._state(alive), min([self._clock_s, *standing]), self._pace, "; ".join(told))

    def _state(self, alive: Sequence[Member]) -> SessionState:
        if alive:
            return SessionState.PLAYING if self._playing else SessionState.PAUSED
        failed = all(member.session.status.state.value == SessionState.FAILED.value for member in self.members)
        return SessionState.FAILED if failed else SessionState.ENDED

    @staticmethod
    def _normal_end(status: StatusLike) -> bool:
        return status.state.value == SessionState.ENDED.value

    def _alive(self) -> list[Member]:
        return [member for member in self.members if not member.over]

    @property
    def settled(self) -> bool:
        """Whether all stand where they were sent."""
        return all(member.session.wait_idle(0) for member in self._alive())

    # --- controls -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin, playing."""
        for member in self.members:
            member.session.start()
        self.play()

    def gather(self) -> None:
        """Have those that are behind catch up with the clock; nothing plays."""
        self.run_until(self._clock_s)

    def play(self) -> None:
        self._playing, self._anchor = True, None

    def pause(self) -> None:
        self._playing = False

    def set_pace(self, pace: float) -> None:
        self._pace, self._anchor = pace, None

    def step(self) -> None:
        """To the earliest moment at which something happens in any of them."""
        self._playing = False
        self._orders += (self._look_ahead, self._go_to_next_fact)

    def run_until(self, time_s: float) -> None:
        """Flat out to that moment, then stand still."""
        self._playing = False
        self._orders.append(lambda: self._send(max(self._clock_s, time_s)))

    def command(self, command: Command | str) -> Command:
        """Give an order to all that it fits, at one moment.

        Raises CommandError if it fits none, or not all that have the knob.
        """
        parsed = parse_command(command) if isinstance(command, str) else command
        takers = self._takers(parsed)
        self._orders += (self._meet, lambda: self._give(parsed, takers), self._meet)
        return parsed

    def close(self) -> None:
        """End all runs; their traces stay."""
        for member in self.members:
            member.session.close()

    # --- a frame --------------------------------------------------------------------------------------------------------

    def keep_up(self) -> bool:
        """Let the runs follow the clock. True while something is still under way."""
        while self.settled:
            if self._orders:
                self._anchor = None
                self._orders.popleft()()
                continue
            if self._playing and self._alive():
                self._advance()
                self._late = 0
                return True
            return False
        self._late += 1
        return True

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait (in real time, for each of them) until all orders are carried out. Only while paused."""
        while self.keep_up():
            if not all(member.session.wait_idle(timeout_s) for member in self._alive()):
                return False
        return True

    def _advance(self) -> None:
        real = self._now()
        if self._pace == inf:
            longer = self._stride_s * (1.5 if self._late == 0 else 0.5 if self._late > 1 else 1.0)
            self._stride_s = max(SHORTEST_STRIDE_S, min(LONGEST_STRIDE_S, longer))
            self._send(self._clock_s + self._stride_s)
            return
        if self._anchor is None:
            self._anchor = (real, self._clock_s)
        began, from_s = self._anchor
        wanted = from_s + (real - began) * self._pace
        reachable = self._clock_s + LONGEST_LAG_S * self._pace
        if wanted > reachable:
            wanted, self._anchor = reachable, (real, reachable)
        if wanted > self._clock_s:
            self._send(wanted)

    def _send(self, time_s: float) -> None:
        """Move the clock there, and all sessions with it; one that is there already stays where it is."""
        self._clock_s = max(self._clock_s, ceil(time_s * 1e6) / 1e6)
        for member in self._alive():
            member.session.run_until(self._clock_s)

    # --- orders, one after another as all have arrived ------------------------------------------------------------------

    def _look_ahead(self) -> None:
        """Have everyone find out what happens next there; the clock stays, so nothing of it is seen."""
        for member in self._alive():
            if time_after([member.session.trace], self._clock_s) is None:
                member.session.step()

    def _go_to_next_fact(self) -> None:
        later = time_after([member.session.trace for member in self.members], self._clock_s)
        if later is not None:
            self._clock_s = later
            for member in self._alive():
                member.session.run_until(later)

    def _meet(self) -> None:
        """Go to where the foremost is."""
        self._send(max([self._clock_s, *(member.session.status.now_s for member in self._alive())]))

    def _give(self, command: Command, takers: Sequence[Member]) -> None:
        for member in takers:
            if not member.over:
                member.session.command(command)

    def _takers(self, command: Command) -> list[Member]:
        takers: list[Member] = []
        refusal = CommandError("nothing here takes that order")
        for member in self.members:
            try:
                check_command(command, [host.name for host in member.scenario.hosts], member.board)
            except CommandError as error:
                if isinstance(command, SetKnob) and command.knob in member.board:
                    raise  # it would stand at different values, and they would no longer differ in their pattern alone
                refusal = error
            else:
                takers.append(member)
        if not takers:
            raise refusal
        return takers
