"""PacedClock: virtual time that steps from one deadline exactly to the next, as fast or as slowly as a person wants.

Between events virtual time is frozen. trio asks `deadline_to_sleep_time` when it has nothing left to run: the clock notes
that deadline, the *armed* one, and says how much real time to wait for it. When trio has waited it asks `current_time`, and
time moves to the armed deadline, to the very float, if its real time has come. Nobody else moves time. Hence the pace, a
pause or a wake-up from outside never changes what happens, only when we see it.

All methods but `playhead` belong to the thread of the run; `Session` calls them through `TrioToken.run_sync_soon`, which also
wakes the run up.
"""

import math
import time
from collections.abc import Callable

import trio

_FAR_BEHIND_S = 0.25
_REST_AFTER_S = 0.003
_REST_S = 0.001


class PacedClock(trio.abc.Clock):
    """A `trio.abc.Clock` whose time begins at 0.0 seconds.

    `pace` is virtual seconds per real second; infinity is flat out. Up to `free_until` the clock runs flat out whether it is
    playing or not (that is `run_until`, and how a command reaches a paused run); beyond it, it follows the pace while
    playing. It never passes `limit`. A `courteous` clock rests 1 ms after every 3 ms of work, so that a user interface in the
    same process keeps its frame rate. `on_rest` is called whenever the clock stops of itself: at `free_until` while
    paused, at the limit, at the end of a step, or flat out when nothing is left to happen.
    """

    def __init__(
        self,
        *,
        pace: float = 1.0,
        playing: bool = True,
        courteous: bool = False,
        limit_s: float = math.inf,
        real_time: Callable[[], float] = time.perf_counter,
        on_rest: Callable[[], None] = lambda: None,
    ) -> None:
        self.now = 0.0
        self.pace = pace
        self.playing = playing
        self.courteous = courteous
        self.limit_s = limit_s
        self.on_rest = on_rest
        self.alarm_s = math.inf
        """When the lab itself has something to do: time stops there as it does at trio's own deadlines."""
        self.on_alarm: Callable[[], None] = lambda: None
        self._real_time = real_time
        self._free_until = -math.inf
        self._stop_step: Callable[[], bool] | None = None
        self._armed: float | None = None
        self._armed_due = 0.0
        self._last_rest = real_time()
        # What another thread needs to compute the playhead, replaced as one value:
        # real anchor, virtual anchor, pace (0: standing still), ceiling.
        self._flow = (real_time(), 0.0, pace if playing else 0.0, 0.0)

    # --- trio.abc.Clock -------------------------------------------------------------------------------------------------

    def start_clock(self) -> None:
        self._anchor(0.0)

    def current_time(self) -> float:
        """The present virtual time. The first call after a wait is trio's own, and the only one that may move it."""
        armed, self._armed = self._armed, None
        if armed is not None and armed > self.now and (self._armed_due <= 0 or self._real_time() >= self._armed_due):
            self.now = armed
            if armed >= self.alarm_s:
                self.alarm_s = math.inf
                self.on_alarm()
        return self.now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Arm the next deadline, and say how many real seconds to wait for it (infinity: until somebody wakes us)."""
        self._armed = None
        deadline = min(deadline, self.alarm_s)
        if self._stop_step is not None:
            if self._stop_step() or deadline > self.limit_s or deadline == math.inf:
                self._stop_step = None
                self._free_until = self.now
            else:
                return self._arm(deadline)
        if deadline <= self._free_until and deadline <= self.limit_s:
            return self._arm(deadline)
        if self._free_until > self.playhead_floor():
            self._anchor(min(self._free_until, self.limit_s))
        if not self.playing:
            return self._rest()
        return self._paced(deadline)

    def _paced(self, deadline: float) -> float:
        """How long to wait for `deadline` at the present pace."""
        target = min(deadline, self.limit_s)
        if self.pace == math.inf:
            if deadline <= self.limit_s and deadline < math.inf:
                return self._arm(deadline)
            if target == math.inf:
                return self._rest()  # nothing is left to happen, unless somebody gives an order
            self._anchor(target)
            return self._stop()
        real_now = self._real_time()
        anchor_real, anchor_virtual, _, _ = self._flow
        due = anchor_real + (target - anchor_virtual) / self.pace
        if real_now - due > _FAR_BEHIND_S:
            anchor_real, anchor_virtual, due = real_now, target, real_now
        self._flow = (anchor_real, anchor_virtual, self.pace, target)
        if due <= real_now:
            if deadline > self.limit_s:
                self._anchor(self.limit_s)
                return self._stop()
            return self._arm(deadline)
        if deadline <= self.limit_s:
            self._armed, self._armed_due = deadline, due
        self._last_rest = real_now
        return due - real_now

    def _arm(self, deadline: float) -> float:
        """Let time move to `deadline` at once."""
        self._armed, self._armed_due = deadline, 0.0
        if self.courteous:
            real_now = self._real_time()
            if real_now - self._last_rest > _REST_AFTER_S:
                time.sleep(_REST_S)
                self._last_rest = self._real_time()
        return 0.0

    def _stop(self) -> float:
        self.playing = False
        self._anchor(self.playhead_floor())
        return self._rest()

    def _rest(self) -> float:
        self._last_rest = self._real_time()
        self.on_rest()
        return math.inf

    # --- control, in the run's thread -----------------------------------------------------------------------------------

    def play(self) -> None:
        """Go on at the present pace."""
        self._stop_step = None
        self.playing = True
        self._anchor(self.playhead_floor())

    def pause(self) -> None:
        """Stand still, at the very moment that a person sees, even between two events."""
        moment = self.playhead()
        self._stop_step = None
        self.playing = False
        self._free_until = min(self._free_until, self.now)
        self._anchor(moment)

    def set_pace(self, pace: float) -> None:
        """Change the pace (greater than 0; infinity is flat out), from the present playhead on."""
        moment = self.playhead()
        self.pace = pace
        self._anchor(moment)

    def run_until(self, time_s: float) -> None:
        """Run flat out to `time_s`, then stand still there."""
        self.playing = False
        self._stop_step = None
        self._free_until = time_s

    def allow_until(self, time_s: float) -> None:
        """Let time pass to `time_s` even while paused; playing or not stays as it is."""
        self._free_until = max(self._free_until, time_s)

    def step(self, enough: Callable[[], bool]) -> None:
        """Run flat out, one deadline after another, until `enough()` or until nothing is left to happen; then stand still."""
        self.playing = False
        self._stop_step = enough

    # --- what a person sees ---------------------------------------------------------------------------------------------

    def playhead(self) -> float:
        """The virtual time to show: it glides between events while the clock itself stands at the last one. Any thread."""
        real, virtual, pace, ceiling = self._flow
        if pace in (0.0, math.inf):
            return max(self.now, virtual)
        return max(self.now, virtual, min(ceiling, virtual + (self._real_time() - real) * pace))

    def playhead_floor(self) -> float:
        """The latest moment that the clock is known to have reached: the last event, or where it was paused after it."""
        return max(self.now, self._flow[1])

    def _anchor(self, virtual: float) -> None:
        """Tie `virtual` to the present real time."""
        self._flow = (self._real_time(), virtual, self.pace if self.playing else 0.0, virtual)
