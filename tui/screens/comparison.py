"""Several patterns at the same work, side by side under one clock."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from threading import Thread

from engines.comparison import EVENT_METRICS, Contender, shared_settings
from engines.lab.knobs import Value
from tui.bindings import COMPARISON_ACTIONS, bindings
from tui.engine import Engine
from tui.panels.choosing import workload_title
from tui.panels.comparison import comparison_table, table_lines
from tui.panels.header import HeaderFacts
from tui.panels.lines import Line
from tui.runs import Run
from tui.screens.finding import Findable
from tui.screens.side_by_side import Side, SideBySideScreen

FIRST_HINT = "tab or } goes to the next pattern, letters turn knobs for all, ? tells it all"


class ComparisonScreen(SideBySideScreen):
    """Begins its runs at once, and ends them when it is left."""

    BINDINGS = bindings(COMPARISON_ACTIONS)
    actions = COMPARISON_ACTIONS
    _seeds = Random()

    def __init__(
        self,
        engine: Engine,
        group: Sequence[Contender],
        *,
        seed: int,
        pace: float,
        now: Callable[[], float],
        frames: int,
    ) -> None:
        self._engine = engine
        self._group = tuple(group)
        self.seed = seed
        super().__init__(self._open(shared_settings(self._group, {}), now), pace=pace, now=now, frames=frames)
        self._notice = FIRST_HINT
        self.ensemble.start()

    # --- the runs -------------------------------------------------------------------------------------------------------

    def _open(self, knobs: Sequence[Mapping[str, Value]], now: Callable[[], float]) -> list[Side]:
        return [self._side(contender, values, now) for contender, values in zip(self._group, knobs, strict=True)]

    def _side(self, contender: Contender, knobs: Mapping[str, Value], now: Callable[[], float]) -> Side:
        pattern = contender.pattern
        run = Run(
            self._engine, pattern, contender.lesson, seed=self.seed, knobs=knobs, pace=1.0, now=now, paused=True
        )  # fmt: skip
        return Side(
            run, pattern.title, pattern.name, pattern.key, pattern.tab, f"screen.open_pattern({pattern.name!r})"
        )

    def _close(self) -> None:
        """End the runs without waiting for them."""
        Thread(target=self.ensemble.close, name="closing a comparison", daemon=True).start()

    def on_unmount(self) -> None:
        self._close()

    def action_restart(self, new_seed: bool) -> None:
        self.seed = self._seeds.randrange(1, 10_000) if new_seed else self.seed
        pace, knobs = self.playback.pace, [dict(side.run.session.knob_values()) for side in self.sides]
        self._close()
        self._take(self._open(knobs, self._now), pace)
        self.ensemble.start()
        for diagram, side in zip(self._diagrams, self.sides, strict=True):
            diagram.show_trace(side.run.model)
        self.notify_line(f"again from the start, {'new ' if new_seed else ''}seed {self.seed}; knobs as they stood")
        self.wake()

    # --- what it says ---------------------------------------------------------------------------------------------------

    def heading(self, time_s: float) -> HeaderFacts:
        playback = self.playback
        return HeaderFacts(
            pattern="Comparison",
            tab="Compare",
            scenario=workload_title(self._group[0].lesson.workload),
            standing=playback.standing,
            playhead_s=time_s,
            pace=playback.pace,
            seed=self.seed,
            rolling=playback.rolling,
        )

    def results(self, lengths: Sequence[int], time_s: float) -> list[Line]:
        values = [
            side.run.values(EVENT_METRICS, time_s, length) for side, length in zip(self.sides, lengths, strict=True)
        ]
        numbers = comparison_table([side.head for side in self.sides], values)
        return table_lines(numbers, self.table.room.width, self.table.glyphs, focused=self._focused, over=self.over)

    def action_open_pattern(self, name: str) -> None:
        for place, contender in enumerate(self._group):
            if contender.pattern.name == name:
                self.go_to(place)

    def findable(self) -> Findable:
        return replace(super().findable(), patterns=[contender.pattern for contender in self._group])
