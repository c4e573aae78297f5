"""A run as the screens hold it: the session, its playhead, and everything that reads its trace.

All that is drawn of a run comes from here, so another run (a branch, say) can be made ready out of sight and put in its place
whole.
"""

from collections.abc import Callable, Mapping, Sequence
from threading import Thread

from engines.lab.commands import TimedCommand
from engines.lab.knobs import Knob, Value
from engines.patterns.contract import Lesson, Pattern
from engines.pools import PoolHistory
from engines.waterfall import Bar, Waterfall
from tui.engine import Engine
from tui.faults import fault_states
from tui.index import TraceIndex
from tui.panels.controls import FaultRow, Row, knob_rows
from tui.panels.numbers import Reading
from tui.playback import Playback, SessionLike
from tui.view.sequence import SequenceModel

FACTS_A_FRAME = 20_000
SPARK_BUCKETS = 24


class Run:
    """Opened, not started. `knobs` are the values it starts with where they are not the defaults."""

    def __init__(
        self,
        engine: Engine,
        pattern: Pattern,
        lesson: Lesson,
        *,
        seed: int,
        knobs: Mapping[str, Value],
        pace: float,
        now: Callable[[], float],
        commands: Sequence[TimedCommand] = (),
        paused: bool = False,
    ) -> None:
        self.pattern, self.lesson, self.seed = pattern, lesson, seed
        self.knobs = dict(knobs)
        self.session = engine.open_session(pattern, lesson, seed, knobs, pace, paused=paused, commands=commands)
        self.trace = self.session.trace
        self.playback = Playback(self.session, [self.trace], now)
        self.index = TraceIndex(self.trace)
        self.model = SequenceModel(self.trace)
        self.pools = PoolHistory(self.trace)
        self._engine = engine
        self._numbers = engine.numbers(self.trace)
        self._counted = 0
        self._waterfall: Waterfall | None = None
        self._starting = {
            knob.name: knob.format(self.knobs.get(knob.name, knob.default)) for knob in lesson.all_knobs()
        }

    def double(self) -> SessionLike:
        """A session that will do the same again, standing still at the beginning."""
        session = self.session
        return self._engine.open_session(
            self.pattern, self.lesson, self.seed, self.knobs, self.playback.pace, paused=True, commands=session.commands
        )

    def close(self) -> None:
        """End it, without waiting for that."""
        Thread(target=self.session.close, name="closing a session", daemon=True).start()

    # --- reading in slices ----------------------------------------------------------------------------------------------

    def consume(self, budget: int = FACTS_A_FRAME) -> bool:
        """Read at most so many facts for the panels and for the diagram; true while there may be more."""
        behind = self.index.consume(budget)
        behind = self.pools.consume(budget) or behind
        return self.model.consume(budget) or behind

    def counted(self, time_s: float, budget: int = FACTS_A_FRAME) -> int:
        """How many facts the numbers at `time_s` count: all of them, or as many as can be read in a frame."""
        length = min(self.trace.length_at(time_s), self._counted + budget)
        self._counted = max(self._counted, length)
        return length

    def read_up_to(self, time_s: float, budget: int = FACTS_A_FRAME) -> bool:
        """Read everything up to `time_s`, a slice at a time; true when nothing is missing for a picture of that moment."""
        self.consume(budget)
        length = self.trace.length_at(time_s)
        if self._counted < length:
            self.values(self.lesson.metrics, time_s, self.counted(time_s, budget))
        return min(self.index.seen, self.model.messages.consumed, self.pools.seen, self._counted) >= length

    # --- what the panels show -------------------------------------------------------------------------------------------

    def values(self, metrics: Sequence[str], time_s: float, length: int) -> dict[str, float | None]:
        """The numbers at `time_s`, of the first `length` facts."""
        return {name: self._numbers.value(name, time_s, length) for name in metrics}

    def readings(self, time_s: float, length: int) -> list[Reading]:
        """The lesson's numbers with their histories."""
        return [
            Reading(
                self._engine.metric_title(name),
                self._numbers.text(name, time_s, length),
                tuple(self._numbers.series(name, time_s, SPARK_BUCKETS, length=length)),
            )
            for name in self.lesson.metrics
        ]

    def bars(self, time_s: float, most: int) -> list[Bar]:
        """The last requests and events that had begun by `time_s`. Read from the first time on that somebody asks."""
        if self._waterfall is None:
            self._waterfall = Waterfall(self.trace, self.model.messages)
        self._waterfall.consume()
        return self._waterfall.at(time_s, most)

    def knob_texts(self, time_s: float) -> dict[str, str]:
        """Where every knob stood at `time_s`, as people read it."""
        return {**self._starting, **self.index.knobs_at(time_s)}

    def rows(self, time_s: float, keys: Mapping[str, str], asked: Mapping[str, str] | None = None) -> list[Row]:
        """The lesson's knobs and faults as they stood at `time_s`; `asked` are texts of knobs about to be turned."""
        texts = {**self.knob_texts(time_s), **(asked or {})}
        return [*knob_rows(self.lesson.all_knobs(), texts, keys), *self.fault_rows(time_s, keys)]

    def fault_rows(self, time_s: float, keys: Mapping[str, str]) -> list[Row]:
        faults = self.lesson.faults
        states = fault_states(faults, self.index.commands_at(time_s))
        return [
            FaultRow(keys[fault.name], fault, state.on, state.times)
            for fault, state in zip(faults, states, strict=True)
        ]

    def knob(self, name: str) -> Knob | None:
        """The knob of that name, if the lesson has it."""
        return next((knob for knob in self.lesson.all_knobs() if knob.name == name), None)
