"""What the keys do: one short method for each action of `tui.bindings`. What stands on the screen is in `tui.screens.lab`.

What is not needed for the first paint is imported where it is used.
"""

from random import Random
from typing import TYPE_CHECKING, cast

from textual.screen import Screen

from tui.bindings import bindings
from tui.widgets.panes import PANES

if TYPE_CHECKING:
    from engines.patterns.contract import Pattern
    from tui.app import CommtuiApp
    from tui.engine import Engine
    from tui.widgets.pattern_tab import PatternTab


class LabActions(Screen[None]):
    """The actions of the screen, on top of a few things that it must provide."""

    BINDINGS = bindings()

    _engine: "Engine | None" = None
    _seeds = Random()

    @property
    def lab(self) -> "CommtuiApp":
        return cast("CommtuiApp", self.app)

    @property
    def tab(self) -> "PatternTab | None":
        raise NotImplementedError

    def wake(self) -> None:
        raise NotImplementedError

    def notify_line(self, text: str) -> None:
        raise NotImplementedError

    async def open_tab(self, pattern: "Pattern") -> None:
        raise NotImplementedError

    def order(self, command: str) -> None:
        """Give the run a command, or say why not."""
        if self.tab is None:
            return
        try:
            self.tab.playback.command(command)
        except ValueError as refusal:
            self.notify_line(str(refusal))
        self.wake()

    # --- time -----------------------------------------------------------------------------------------------------------

    def action_play(self) -> None:
        if self.tab is not None:
            self.tab.playback.toggle()
            self.wake()

    def action_step(self) -> None:
        if self.tab is not None:
            self.tab.playback.next_fact()
            self.wake()

    def action_step_back(self) -> None:
        if self.tab is not None:
            self.tab.playback.previous_fact()
            self.wake()

    def action_nudge(self, steps: int) -> None:
        if self.tab is not None:
            if steps > 0 and not self.tab.playback.in_review:
                self.notify_line("this is the live end; there is nothing later yet")
            self.tab.playback.nudge(steps)
            self.wake()

    def action_home(self) -> None:
        if self.tab is not None:
            self.tab.playback.seek(0.0)
            self.wake()

    def action_end(self) -> None:
        if self.tab is not None:
            self.tab.playback.go_live()
            self.tab.diagram.action_follow()
            self.wake()

    def action_pace(self, steps: int) -> None:
        if self.tab is not None:
            self.tab.playback.change_pace(steps)
            self.wake()

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
        self.tab.controls.focus()
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
            self.tab.remove_class("-with-controls", "-with-numbers", "-zoomed")
            self.tab.diagram.focus()
            self.call_after_refresh(self.wake)

    def action_scale(self) -> None:
        if self.tab is not None:
            diagram = self.tab.diagram
            diagram.mode = "scale" if diagram.mode == "compact" else "compact"
            self.notify_line(
                "to scale: equal steps of time" if diagram.mode == "scale" else "compact: a row for each fact"
            )
            self.wake()

    def action_detail(self) -> None:
        if self.tab is not None:
            diagram = self.tab.diagram
            diagram.detail = "packets" if diagram.detail == "messages" else "messages"
            self.notify_line(f"the diagram shows {diagram.detail}")
            self.wake()

    # --- looks ----------------------------------------------------------------------------------------------------------

    def action_theme(self) -> None:
        self.lab.next_theme()

    def action_ascii(self) -> None:
        self.lab.ascii = not self.lab.ascii

    def action_quit(self) -> None:
        self.lab.exit()

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

    def action_help(self) -> None:
        from tui.screens.finding import help_screen

        self.app.push_screen(help_screen(self.lab.keys_shown, self._engine, self.tab))

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

    def action_palette(self) -> None:
        from tui.screens.finding import ACTION, COMMAND, palette_screen

        async def chosen(value: str | None) -> None:
            if value is None:
                return
            if value.startswith(COMMAND):
                self.order(value.removeprefix(COMMAND))
            else:
                await self.run_action(value.removeprefix(ACTION))

        self.app.push_screen(palette_screen(self.lab.keys_shown, self._engine, self.tab), chosen)
