"""Where the programs of a run stand at the playhead: asked of the run itself while it lives, and of a double of it in review.

A double is the same scenario, seed, knobs and orders, replayed to the moment that is being looked at: what a program did once it
does again, so its lines need not be recorded. It follows the playhead forwards and begins anew when that goes back.
"""

from threading import Thread

from engines.lab.whereabouts import Whereabouts
from engines.source import Place, places
from tui.playback import SessionLike
from tui.runs import Run


class CodeWatch:
    """`look` is called once a frame while somebody looks; `found` is what it has found out by then."""

    def __init__(self) -> None:
        self.found: tuple[Place, ...] = ()
        self.version = 0
        self._double: SessionLike | None = None
        self._of: Run | None = None
        self._orders = 0
        self._at_s = 0.0
        self._asked_for: tuple[object, ...] = ()

    def look(self, run: Run, time_s: float) -> bool:
        """Ask where the programs of `run` stand at `time_s`; true while the answer is still to come."""
        if not run.playback.in_review:
            self.rest()
            self._ask(run.session, (run, len(run.trace)))
            return False
        double = self._follow(run, time_s)
        if not double.wait_idle(0):
            return True
        self._ask(double, (double, time_s))
        return False

    def rest(self) -> None:
        """Nobody looks any more, or at the live end: no double is needed."""
        if self._double is not None:
            Thread(target=self._double.close, name="closing a double", daemon=True).start()
        self._double = self._of = None

    def _follow(self, run: Run, time_s: float) -> SessionLike:
        """The double of `run`, on its way to `time_s` or there."""
        orders = len(run.session.commands)
        if self._double is None or self._of is not run or self._orders != orders or time_s < self._at_s:
            self.rest()
            self._double, self._of, self._orders = run.double(), run, orders
            self._at_s = -1.0
            self._double.start()
        if time_s > self._at_s:
            self._at_s = time_s
            self._double.run_until(time_s)
        return self._double

    def _ask(self, session: SessionLike, what: tuple[object, ...]) -> None:
        """Once for each question: the answer comes from the session's own thread."""
        if what == self._asked_for:
            return
        self._asked_for = what

        def take(whereabouts: tuple[Whereabouts, ...]) -> None:
            self.found = places(whereabouts)
            self.version += 1

        session.locate(take)
