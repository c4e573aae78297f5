"""Two branches of a run side by side under one playhead: where they part, what came of it, and the numbers of both."""

from collections.abc import Callable, Sequence

from engines.differences import Parting
from tui.bindings import BRANCH_ACTIONS, bindings
from tui.branches import Branch
from tui.engine import Engine
from tui.panels.branches import PartingFacts, parting_lines
from tui.panels.comparison import difference_table, table_lines
from tui.panels.header import HeaderFacts
from tui.panels.lines import Line
from tui.runs import Run
from tui.screens.side_by_side import FACTS_A_FRAME, Side, SideBySideScreen

FIRST_HINT = "space plays both on from here, D goes to the first difference"


class BranchComparison(SideBySideScreen):
    """`branches` stand still and stay when this is left; meanwhile they keep in step. Opens where they part, in review."""

    BINDINGS = bindings(BRANCH_ACTIONS)
    actions = BRANCH_ACTIONS
    knobs_title = "knobs of both "

    def __init__(
        self,
        engine: Engine,
        branches: tuple[Branch[Run], Branch[Run]],
        parting_s: float,
        *,
        now: Callable[[], float],
        frames: int,
    ) -> None:
        self._engine = engine
        self._parting_s = parting_s
        one, other = branches
        self._parting = Parting(one.item.trace, other.item.trace)
        sides = [_side(place, branch) for place, branch in enumerate(branches)]
        super().__init__(sides, pace=one.item.playback.pace, now=now, frames=frames)
        self._notice = FIRST_HINT
        self.ensemble.gather()
        self.playback.seek(parting_s)

    def _take(self, sides: Sequence[Side], pace: float, clock_s: float = 0.0) -> None:
        super()._take(sides, pace, max(side.run.session.status.now_s for side in sides))

    # --- where they part ------------------------------------------------------------------------------------------------

    def look_closer(self) -> bool:
        more = self._parting.consume(FACTS_A_FRAME)
        for place, diagram in enumerate(self.diagrams):
            diagram.mark(frozenset(self._differing(place)))
        return more

    def _differing(self, place: int) -> list[int]:
        """The facts to mark in one of the two: the first that differs, where it came first, and the first effect of that."""
        parting = self._parting
        found = [parting.fact] if parting.fact is not None and self.sides[place].run is self._first_to_part() else []
        return [*found, parting.effect[place]] if parting.effect is not None else found

    def _first_to_part(self) -> Run:
        """The one that was given an order; of two that were, the one to which it happened first."""
        fact = self._parting.fact or 0
        return min((side.run for side in reversed(self.sides)), key=lambda run: run.trace.time[fact])

    def seen_closer(self) -> object:
        return self._parting.fact, self._parting.effect

    def _facts(self) -> PartingFacts:
        parting = self._parting
        one, other = (side.run for side in self.sides)
        if parting.fact is None:
            return PartingFacts(None)
        first = self._first_to_part()
        told = PartingFacts(first.trace.time[parting.fact], self._word(first, parting.fact))
        if parting.effect is None:
            return told
        at, beside = parting.effect
        return PartingFacts(
            told.at_s,
            told.first,
            (one.trace.time[at], other.trace.time[beside]),
            (self._word(one, at), self._word(other, beside)),
        )

    def _word(self, run: Run, fact_id: int) -> str:
        (link,) = self._engine.why(run.trace, fact_id, run.lesson, 1)
        return link.text

    def action_parting(self) -> None:
        """To the first effect of what parted them, or to where they parted."""
        parting = self._parting
        if parting.fact is None:
            self.notify_line("no difference so far: play on")
            return
        first = parting.effect or (parting.fact, parting.fact)
        place = min((0, 1), key=lambda n: self.sides[n].run.trace.time[first[n]])
        for diagram, fact in zip(self.diagrams, first, strict=True):
            self.seek(self.sides[place].run.trace.time[first[place]])
            diagram.show_fact(fact)
        self.wake()

    # --- what it says ---------------------------------------------------------------------------------------------------

    def heading(self, time_s: float) -> HeaderFacts:
        playback, run = self.playback, self.sides[0].run
        return HeaderFacts(
            pattern=f"{run.pattern.key} {run.pattern.title}",
            tab=f"{run.pattern.key} {run.pattern.tab}",
            scenario=f"{self.sides[0].head} and {self.sides[1].head}",
            standing=playback.standing,
            playhead_s=time_s,
            pace=playback.pace,
            seed=run.seed,
            rolling=playback.rolling,
        )

    def results(self, lengths: Sequence[int], time_s: float) -> list[Line]:
        metrics = self.sides[0].run.lesson.metrics
        values = [side.run.values(metrics, time_s, length) for side, length in zip(self.sides, lengths, strict=True)]
        heads = (self.sides[0].head, self.sides[1].head)
        table, width, glyphs = difference_table(heads, metrics, values), self.table.room.width, self.table.glyphs
        marked = [bool(row[-1]) for row in table.rows]
        lines = table_lines(table, width, glyphs, focused=self._focused, over=self.over, marked=marked)
        return [*parting_lines(self._facts(), heads, width, glyphs), (), *lines]


def _side(place: int, branch: Branch[Run]) -> Side:
    head = f"branch {branch.number}" if branch.number else branch.name
    title = f"{head}: {branch.name}" if branch.number else branch.name
    return Side(branch.item, title, head, str(place + 1), head, f"screen.go_to({place})")
