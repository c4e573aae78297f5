"""What the keys do: one short method for each action of `tui.bindings`. What stands on the screen is in `tui.screens.lab`.

What is not needed for the first paint is imported where it is used.
"""

from random import Random
from typing import TYPE_CHECKING

from tui.bindings import ACTIONS, bindings
from tui.screens.travel import TravelScreen
from tui.widgets.panes import PANES

SAVE = "save "
"""Begins what can be typed into the palette to keep a run in a file."""

if TYPE_CHECKING:
    from pathlib import Path

    from engines.comparison import Contender
    from engines.patterns.contract import Pattern
    from tui.branches import Branch
    from tui.engine import Engine
    from tui.runs import Run
    from tui.screens.branches import Wish
    from tui.screens.finding import Findable
    from tui.this_message import Deed
    from tui.widgets.pattern_tab import PatternTab


class LabActions(TravelScreen):
    """The actions of the screen, on top of a few things that it must provide."""

    BINDINGS = bindings()

    _engine: "Engine | None" = None
    _seeds = Random()

    @property
    def tab(self) -> "PatternTab | None":
        raise NotImplementedError

    async def open_tab(self, pattern: "Pattern") -> None:
        raise NotImplementedError

    def action_restart(self, new_seed: bool) -> None:
        if self.tab is not None:
            seed = self._seeds.randrange(1, 10_000) if new_seed else self.tab.seed
            self.tab.restart(seed=seed)
            self.notify_line(f"again from the start, {'new ' if new_seed else ''}seed {seed}; knobs as they stood")
            self.wake()

    # --- panels ---------------------------------------------------------------------------------------------------------

    def action_controls(self) -> None:
        if self.tab is None:
            return
        if self.tab.controls.has_focus:
            self.action_diagram()
            return
        self.reveal_controls()
        self.set_focus(self.tab.controls)
        self.wake()

    def reveal_controls(self) -> None:
        """Bring the knobs in front where they are folded away."""
        if self.tab is not None:
            self.tab.remove_class("-zoomed", "-with-numbers").add_class("-with-controls")

    def action_numbers(self) -> None:
        if self.tab is not None:
            self.tab.remove_class("-zoomed", "-with-controls")
            self.tab.toggle_class("-with-numbers")
            self.call_after_refresh(self.wake)

    def action_pane(self, name: str) -> None:
        """Show that pane; once more folds it away where there is little room, and brings it back."""
        if self.tab is None:
            return
        tab = self.tab
        if name in PANES and tab.pane.shown == name and not tab.has_class("-zoomed"):
            tab.toggle_class("-without-pane")
        else:
            tab.remove_class("-without-pane", "-zoomed")
        tab.pane.turn_to(name)
        self.call_after_refresh(self.wake)

    def action_hex(self) -> None:
        if self.tab is not None:
            self.tab.as_hex = not self.tab.as_hex
            self.tab.remove_class("-without-pane", "-zoomed")
            self.tab.pane.turn_to("wire")
            self.call_after_refresh(self.wake)

    def action_zoom(self) -> None:
        if self.tab is not None:
            self.tab.toggle_class("-zoomed")
            self.tab.diagram.focus()
            self.call_after_refresh(self.wake)

    def action_diagram(self) -> None:
        if self.tab is not None:
            if self.tab.diagram.has_focus and self.tab.timelines.give_up():
                self.notify_line("given up; the run is as it was")
            self.tab.remove_class("-with-controls", "-with-numbers", "-zoomed")
            self.tab.diagram.focus()
            self.call_after_refresh(self.wake)

    # --- what if --------------------------------------------------------------------------------------------------------

    def give(self, command: str) -> None:
        if self.tab is None:
            return
        if command.startswith(SAVE):
            self._save(self.tab, command.removeprefix(SAVE))
        else:
            self.tab.timelines.order(command)

    def _save(self, tab: "PatternTab", name: str) -> None:
        from tui.screens.keep import keep

        self.notify_line(f"kept in {keep(tab.demo(), name)}")

    def action_keep(self) -> None:
        """Ask for the name of a demo file, and show the command line that gives this run."""
        tab = self.tab
        if tab is None:
            return
        from tui.screens.keep import KeepScreen

        def kept(path: "Path | None") -> None:
            if path is not None:
                self.notify_line(f"kept in {path}; commtui {path} plays it")
            self.wake()

        self.app.push_screen(KeepScreen(tab.demo()), kept)

    def action_this(self) -> None:
        """Ask what to do to the message of the selected row, or to the newest one."""
        tab = self.tab
        if tab is None:
            return
        from tui.screens.message import WHY, message_picker

        def chosen(deed: "Deed | None") -> None:
            if deed is WHY:
                self.action_why()
            elif deed is not None:
                self._do(deed)

        message = tab.chosen_message()
        title = message.title if message is not None else "this row"
        self.app.push_screen(message_picker(message, title, narrow=self.has_class("-narrow")), chosen)

    def _do(self, deed: "Deed") -> None:
        if deed.refusal:
            self.notify_line(deed.refusal)
        elif deed.at_s is None:
            self.order(deed.order)
        elif self.tab is not None:
            self.tab.timelines.what_if(deed.order, deed.at_s)
            self.wake()

    def action_why(self) -> None:
        """Show what the selected row followed from; choosing a link of the chain goes there."""
        tab = self.tab
        if tab is None:
            return
        from tui.screens.message import MOST_LINKS, why_picker

        links = tab.why(MOST_LINKS)
        if not links:
            self.notify_line("choose a row first: up and down, or a click")
            return

        def chosen(fact: int | None) -> None:
            if fact is not None:
                self.go_to_fact(tab.diagram, fact)

        self.app.push_screen(why_picker(links), chosen)

    def action_branches(self) -> None:
        """List the branches of what is shown."""
        tab = self.tab
        if tab is None:
            return
        from tui.screens.branches import BranchesScreen

        def chosen(wish: "Wish | None") -> None:
            if wish is not None and wish.beside is not None:
                self.put_side_by_side((wish.beside, wish.branch))
            elif wish is not None:
                tab.timelines.switch_to(wish.branch)
            self.wake()

        self.app.push_screen(BranchesScreen(tab.timelines), chosen)

    def put_side_by_side(self, branches: "tuple[Branch[Run], Branch[Run]]") -> None:
        """Show two branches under one playhead, the older one at the left."""
        tab = self.tab
        if self._engine is None or tab is None:
            return
        from tui.screens.branch_comparison import BranchComparison

        one, other = sorted(branches, key=lambda branch: branch.number)

        def back(_: None) -> None:
            tab.playback.come_back()
            self.wake()

        tab.playback.leave()
        parting_s = tab.timelines.tree.parting_s(one, other)
        screen = BranchComparison(
            self._engine, (one, other), parting_s, now=self._now, frames=self._frames_a_second
        )  # fmt: skip
        self.app.push_screen(screen, back)

    # --- finding things -------------------------------------------------------------------------------------------------

    async def action_open_pattern(self, name: str) -> None:
        for pattern in self._engine.patterns if self._engine is not None else ():
            if pattern.name == name:
                await self.open_tab(pattern)

    async def action_turn_tab(self, steps: int) -> None:
        if self._engine is None or self.tab is None:
            return
        patterns = self._engine.patterns
        place = patterns.index(self.tab.pattern)
        await self.open_tab(patterns[(place + steps) % len(patterns)])

    def findable(self) -> "Findable":
        from tui.screens.finding import Findable, orders_of

        patterns = self._engine.patterns if self._engine is not None else ()
        if self.tab is None:
            return Findable(self.lab.keys_shown, ACTIONS, patterns)
        knobs, faults = self.tab.key_table()
        orders = orders_of(self.tab.lesson.faults)
        return Findable(self.lab.keys_shown, ACTIONS, patterns, knobs, faults, orders)

    def action_scenarios(self) -> None:
        tab = self.tab
        if tab is None:
            return
        from tui.screens.finding import scenario_picker

        def chosen(name: str | None) -> None:
            if name is not None:
                tab.restart(lesson=tab.pattern.lesson(name))
                self.notify_line(tab.lesson.purpose)
                self.wake()

        self.app.push_screen(scenario_picker(tab), chosen)

    def action_compare(self) -> None:
        if self._engine is None or self.tab is None:
            return
        from tui.screens.contenders import contender_picker

        def chosen(group: "tuple[Contender, ...] | None") -> None:
            if group is not None:
                self.compare(group)

        picker = contender_picker(self._engine.patterns, self.tab.lesson.workload)
        if picker is None:
            self.notify_line("no two patterns here do the same work")
        else:
            self.app.push_screen(picker, chosen)

    def compare(self, group: "tuple[Contender, ...]") -> None:
        """Show these side by side; the open tab waits meanwhile."""
        tab = self.tab
        if self._engine is None or tab is None:
            return
        from tui.screens.comparison import ComparisonScreen

        def back(_: None) -> None:
            tab.playback.come_back()
            self.wake()

        tab.playback.leave()
        screen = ComparisonScreen(
            self._engine, group, seed=tab.seed, pace=tab.playback.pace, now=self._now, frames=self._frames_a_second
        )
        self.app.push_screen(screen, back)
