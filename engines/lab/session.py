"""A session: one run in a thread of its own, with the controls of a video player.

The thread that owns the session never waits for the run, and the run never waits for it: orders go over as messages, and what
comes back is the trace, read at the reader's own pace, and a `Status`.

`scenario + seed + knobs + commands` is the run: `Session(..., commands=recorded)` replays it, byte for byte.
"""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

import trio

from engines.lab import determinism
from engines.lab.clock import PacedClock
from engines.lab.commands import Command, TimedCommand, check_command, parse_command
from engines.lab.knobs import KnobBoard, Value
from engines.lab.lab import Lab, ProgramError
from engines.lab.recorder import Recorder
from engines.lab.scenario import Scenario
from engines.lab.trace import Trace
from engines.lab.whereabouts import Whereabouts

LIMIT_FACTS = 2_000_000
SLOWEST_PACE, FLAT_OUT = 0.01, math.inf


class SessionState(Enum):
    """What the run is doing."""

    PLAYING = "playing"
    PAUSED = "paused"
    ENDED = "ended"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Status:
    """A moment of the session: the live playhead in virtual seconds, the pace, and a sentence when there is something to say."""

    state: SessionState
    now_s: float
    pace: float
    message: str = ""


class Session:
    """A run that can be watched and steered while it goes on. Thread-safe, except that one thread should own the controls.

    `knobs` are starting values other than the defaults, `commands` are applied at their times. With `courteous` the run
    leaves room for a user interface in the same process. It stops at `limit_s` of virtual time or at `limit_facts` facts.
    Raises CommandError or ValueError at once for a command or knob that does not fit the scenario.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        name: str = "",
        seed: int = 0,
        knobs: Mapping[str, Value] | None = None,
        commands: Sequence[TimedCommand] = (),
        pace: float = 1.0,
        courteous: bool = False,
        paused: bool = False,
        limit_s: float = math.inf,
        limit_facts: int = LIMIT_FACTS,
    ) -> None:
        self.scenario = scenario
        self.name = name or scenario.name
        self.seed = seed
        self.trace = Trace()
        self.starting_knobs = dict(knobs or {})
        self._board = KnobBoard(scenario.all_knobs())
        for knob, value in self.starting_knobs.items():
            self._board.set(self._board.find(knob).name, value)
        self._hosts = [spec.name for spec in scenario.hosts]
        for timed in commands:
            check_command(timed.command, self._hosts, self._board)
        self._record = list(commands)
        self._clock = PacedClock(
            pace=pace, playing=not paused, courteous=courteous, limit_s=limit_s, on_rest=self._rested
        )
        self._recorder = Recorder(self.trace, self._clock, limit_facts, self._full)
        self._lab: Lab | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()
        self._outcome: tuple[SessionState, str] | None = None
        self._message = ""
        self._thread: threading.Thread | None = None
        self._waiting_orders: list[Callable[[], None]] = []
        self._change = threading.Condition()
        self._orders_given = 0
        self._orders_taken = 0
        self._rested_after = -1
        self._over = False  # every program has returned by itself

    # --- what others may see --------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """The present moment. Cheap; any thread."""
        clock = self._clock
        if self._outcome is not None:
            return Status(self._outcome[0], clock.playhead_floor(), clock.pace, self._outcome[1])
        state = SessionState.PLAYING if clock.playing else SessionState.PAUSED
        return Status(state, clock.playhead(), clock.pace, self._message)

    @property
    def commands(self) -> tuple[TimedCommand, ...]:
        """Everything that was ordered so far, with its virtual time: what a replay needs."""
        return tuple(self._record)

    def knob_values(self) -> dict[str, Value]:
        """The knobs' values as they stand now in the run."""
        return dict(self._lab.knobs if self._lab is not None else self._board)

    # --- controls -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin. Playing or paused, as asked for."""
        self._thread = threading.Thread(target=self._run, name=f"session {self.name}", daemon=True)
        self._thread.start()

    def play(self) -> None:
        """Go on at the present pace."""
        self._order(self._clock.play)

    def pause(self) -> None:
        """Stand still."""
        self._order(self._clock.pause)

    def set_pace(self, pace: float) -> None:
        """Change the pace: virtual seconds a real second, infinity for flat out. Raises ValueError below 0.01."""
        if not pace >= SLOWEST_PACE:
            raise ValueError(f"a pace is {SLOWEST_PACE:g} or more, not {pace:g}")
        self._order(lambda: self._clock.set_pace(pace))

    def step(self) -> None:
        """Run to the next event that leaves a trace, then stand still."""

        def take_step() -> None:
            before = len(self.trace)
            self._clock.step(lambda: len(self.trace) > before)

        self._order(take_step)

    def run_until(self, time_s: float) -> None:
        """Run flat out to a virtual time, then stand still."""
        self._order(lambda: self._clock.run_until(time_s))

    def command(self, command: Command | str) -> Command:
        """Give an order; it takes effect now, also in a paused run. Raises CommandError in one line if it does not fit."""
        if isinstance(command, str):
            command = parse_command(command)
        check_command(command, self._hosts, self._board)
        given = command
        self._order(lambda: self._apply_now(given))
        return command

    def locate(self, take: Callable[[tuple[Whereabouts, ...]], None]) -> None:
        """Have `take` called in the run's thread with where its programs stand, at once or when the run gets to it; never when it
        is over."""

        def look() -> None:
            if self._lab is not None:
                take(self._lab.whereabouts())

        self._order(look)

    def wait_idle(self, timeout_s: float | None = None) -> bool:
        """Wait (in real time) until the run stands still having taken every order, or is over. False when time runs out."""
        with self._change:
            return self._change.wait_for(
                lambda: self._outcome is not None or self._rested_after == self._orders_given, timeout_s
            )

    def close(self) -> None:
        """End the run and its thread. The trace stays as it is."""
        self._order(self._stop)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    # --- in the run's thread --------------------------------------------------------------------------------------------

    def _order(self, action: Callable[[], None]) -> None:
        """Have `action` done in the run's thread, and wake the run for it."""

        def take() -> None:
            with self._change:
                self._orders_taken += 1
            action()

        with self._change:
            self._orders_given += 1
            if self._token is None:
                self._waiting_orders.append(take)
                return
            token = self._token
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(take)

    def _apply_now(self, command: Command) -> None:
        """Stamp the command with the present moment, just after what has happened, and let the run get there."""
        assert self._lab is not None
        moment = round(self._clock.playhead(), 6)
        if moment <= self._clock.now:
            moment = max(round(self._clock.now + 1e-6, 6), math.nextafter(self._clock.now, math.inf))
        if self._record:
            moment = max(moment, self._record[-1].time_s)
        timed = TimedCommand(moment, command)
        self._record.append(timed)
        self._lab.command_at(timed)
        self._clock.allow_until(moment)

    def _stop(self) -> None:
        self._recorder.sealed = True
        self._scope.cancel()
        if self._lab is not None:
            self._lab.pull_the_plug()

    def _rested(self) -> None:
        with self._change:
            self._rested_after = self._orders_taken
            self._change.notify_all()

    def _full(self) -> None:
        self._clock.limit_s = self._clock.now
        self._message = f"stopped at {len(self.trace):,} facts; start again (r) to go on"

    def _run(self) -> None:
        outcome = (SessionState.ENDED, "")
        try:
            determinism.install()
            trio.run(self._main, clock=self._clock)
            if self._over:
                outcome = (SessionState.ENDED, "every program has returned")
        except ProgramError as error:
            outcome = (SessionState.FAILED, str(error))
        except BaseException as error:
            outcome = (SessionState.FAILED, f"{type(error).__name__}: {error}")
            raise
        finally:
            with self._change:
                self._outcome = outcome
                self._change.notify_all()

    async def _main(self) -> None:
        self._lab = Lab(
            self.scenario,
            name=self.name,
            seed=self.seed,
            knobs=self.starting_knobs,
            trace=self.trace,
            clock=self._clock,
            recorder=self._recorder,
        )
        with self._change:
            self._token = trio.lowlevel.current_trio_token()
            waiting, self._waiting_orders = self._waiting_orders, []
        with self._scope:
            for order in waiting:
                self._token.run_sync_soon(order)
            await self._lab.run(tuple(self._record))
            self._over = True


def run_headless(
    scenario: Scenario,
    *,
    name: str = "",
    seed: int = 0,
    knobs: Mapping[str, Value] | None = None,
    commands: Sequence[TimedCommand] = (),
    until_s: float | None = None,
) -> Session:
    """Run a scenario flat out to `until_s` (default: its own) and return the closed session with its whole trace.

    A run that failed says so in the session's `status`.
    """
    session = Session(scenario, name=name, seed=seed, knobs=knobs, commands=commands, paused=True)
    session.start()
    try:
        session.run_until(scenario.until_s if until_s is None else until_s)
        session.wait_idle()
    finally:
        session.close()
    return session
