"""Runs as a person watches them: what plays, and the playhead, which may look back while the engine stands where it is.

Knows no widget. Real time comes in through `now`, so that a test can hold it still.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, nextafter
from typing import TYPE_CHECKING, Protocol

from engines.lab.trace import Trace
from tui.panels.header import Standing

if TYPE_CHECKING:
    from engines.lab.commands import Command, TimedCommand
    from engines.lab.knobs import Value
    from engines.lab.whereabouts import Whereabouts

PACES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, inf)
REVIEW_PACE_LIMIT = 1000.0
"""Looking back "flat out" still takes some time, or there would be nothing to see."""


class StateLike(Protocol):
    @property
    def value(self) -> str: ...


class StatusLike(Protocol):
    @property
    def state(self) -> StateLike: ...
    @property
    def now_s(self) -> float: ...
    @property
    def pace(self) -> float: ...
    @property
    def message(self) -> str: ...


class Controls(Protocol):
    """What a playback steers: one session, or several that share a clock (`tui.ensemble`)."""

    @property
    def status(self) -> StatusLike: ...
    def play(self) -> None: ...
    def pause(self) -> None: ...
    def step(self) -> None: ...
    def set_pace(self, pace: float) -> None: ...
    def command(self, command: Command | str) -> object: ...


class SessionLike(Controls, Protocol):
    """What the UI needs of `engines.lab.session.Session`; a test gives a smaller one."""

    trace: Trace

    @property
    def commands(self) -> Sequence[TimedCommand]: ...
    def start(self) -> None: ...
    def run_until(self, time_s: float) -> None: ...
    def wait_idle(self, timeout_s: float | None = None) -> bool: ...
    def knob_values(self) -> Mapping[str, Value]: ...
    def locate(self, take: Callable[[tuple[Whereabouts, ...]], None]) -> None: ...
    def close(self) -> None: ...


def time_after(traces: Sequence[Trace], time_s: float) -> float | None:
    """The moment of the first fact later than `time_s` in any of `traces`; None when there is none yet."""
    places = ((trace, trace.length_at(time_s)) for trace in traces)
    return min((trace.time[place] for trace, place in places if place < len(trace)), default=None)


def time_by(traces: Sequence[Trace], time_s: float) -> float:
    """The moment of the latest fact up to and with `time_s` in any of `traces`; 0 when there is none."""
    places = ((trace, trace.length_at(time_s)) for trace in traces)
    return max((trace.time[place - 1] for trace, place in places if place), default=0.0)


class InReview(ValueError):
    """Something was asked for that only works at the live end; the message says how to get there."""


@dataclass(slots=True)
class _Rolling:
    """A review that plays by itself: where it began, in virtual and in real time."""

    from_s: float
    since: float


_STANDINGS = {
    "playing": Standing.LIVE,
    "paused": Standing.PAUSED,
    "ended": Standing.ENDED,
    "failed": Standing.FAILED,
}


class Playback:
    """Play, pause, step, scrub and return. All times are virtual seconds unless said otherwise.

    `traces` are what the session writes: the steps in review go from fact to fact in all of them.
    """

    def __init__(self, session: Controls, traces: Sequence[Trace], now: Callable[[], float]) -> None:
        self.session = session
        self._traces = tuple(traces)
        self._now = now
        self._review_s: float | None = None
        self._rolling: _Rolling | None = None
        self._resume = False
        self._left_playing = False

    # --- where we are ---------------------------------------------------------------------------------------------------

    @property
    def pace(self) -> float:
        return self.session.status.pace

    @property
    def message(self) -> str:
        return self.session.status.message

    @property
    def live_s(self) -> float:
        """The end of what there is to see: the engine's present moment."""
        return self.session.status.now_s

    @property
    def playhead_s(self) -> float:
        if self._review_s is None:
            return self.live_s
        if self._rolling is None:
            return self._review_s
        gone = (self._now() - self._rolling.since) * min(self.pace, REVIEW_PACE_LIMIT)
        return min(self.live_s, self._rolling.from_s + gone)

    def shown_s(self, *, motion: bool) -> float:
        """Where the playhead is drawn: without motion, at the latest fact instead of between two."""
        time_s = self.playhead_s
        return time_s if motion or not self.moving else time_by(self._traces, time_s)

    @property
    def in_review(self) -> bool:
        return self._review_s is not None

    @property
    def rolling(self) -> bool:
        return self._rolling is not None

    @property
    def resumes(self) -> bool:
        """Whether the engine plays on once the review is over."""
        return self._resume

    @property
    def standing(self) -> Standing:
        if self.in_review:
            return Standing.REVIEW
        return _STANDINGS[self.session.status.state.value]

    @property
    def moving(self) -> bool:
        """Whether the playhead moves by itself at the moment."""
        return self.rolling if self.in_review else self.standing is Standing.LIVE

    def settle(self) -> None:
        """A review that has caught up with the live end goes on living. Called once a frame."""
        if self.rolling and self.playhead_s >= self.live_s:
            self._resume = True
            self.go_live()

    # --- moving ---------------------------------------------------------------------------------------------------------

    def toggle(self) -> None:
        """Play or pause: the engine when live, the playhead in review."""
        if self.in_review:
            if self._rolling is None:
                self._rolling = _Rolling(self.playhead_s, self._now())
            else:
                self._hold_review()
        elif self.standing is Standing.LIVE:
            self.session.pause()
        else:
            self.session.play()

    def next_fact(self) -> None:
        """To the next moment at which something happens; at the live end the engine takes one step."""
        if not self.in_review:
            self.session.pause()
            self.session.step()
            return
        later = time_after(self._traces, self.playhead_s)
        if later is None:
            self.go_live()
        else:
            self.seek(later)

    def previous_fact(self) -> None:
        """To the latest moment before the playhead at which something happened."""
        self.seek(time_by(self._traces, nextafter(self.playhead_s, -inf)))

    def seek(self, time_s: float) -> None:
        """Put the playhead at `time_s`. Before the live end that is a review: the engine stops and waits there."""
        live = self.live_s
        if time_s >= live:
            self.go_live()
            return
        if not self.in_review:
            self._resume = self.standing is Standing.LIVE
            self.session.pause()
        self._rolling = None
        self._review_s = max(0.0, time_s)

    def nudge(self, steps: float) -> None:
        """Move by `steps` tenths of a second as the person experiences them: less when the pace is slow, more when fast."""
        if steps > 0 and not self.in_review:
            return
        self.seek(self.playhead_s + steps * 0.1 * min(self.pace, 10.0))

    def go_live(self) -> None:
        """Back to the live end; the engine plays on if it did when the review began."""
        self._review_s = self._rolling = None
        if self._resume:
            self.session.play()
        self._resume = False

    def _hold_review(self) -> None:
        self._review_s, self._rolling = self.playhead_s, None

    def leave(self) -> None:
        """Nobody watches for a while: the engine waits, so that nothing is missed."""
        self._left_playing = self.standing is Standing.LIVE
        if self._left_playing:
            self.session.pause()

    def come_back(self) -> None:
        """Somebody watches again."""
        if self._left_playing:
            self.session.play()
        self._left_playing = False

    # --- orders ---------------------------------------------------------------------------------------------------------

    def change_pace(self, steps: int) -> float:
        """The next faster (or slower) of PACES; returns it."""
        pace = self.pace
        if steps > 0:
            new = next((p for p in PACES if p > pace), PACES[-1])
        else:
            new = next((p for p in reversed(PACES) if p < pace), PACES[0])
        here = self.playhead_s
        if self._rolling is not None:
            self._rolling = _Rolling(here, self._now())
        self.session.set_pace(new)
        return new

    def command(self, text: str) -> None:
        """Give the run an order. Raises InReview, or the engine's CommandError, in one line."""
        if self.in_review:
            raise InReview("here, knobs and faults turn only at the live end: press end to return")
        self.session.command(text)
