"""The keys for time, on any screen on which something plays: playing, stepping, scrubbing, and jumping to what is worth seeing.

What is not needed for the first paint is imported where it is used.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tui.screens.playing import PlayingScreen

if TYPE_CHECKING:
    from tui.index import TraceIndex
    from tui.landmarks import Kind
    from tui.widgets.sequence import SequenceDiagram


class TravelScreen(PlayingScreen):
    """Steers `playback`; the playhead is one for all diagrams."""

    _sought: "Kind | None" = None

    @property
    def indexes(self) -> "Sequence[TraceIndex]":
        """What the diagrams' traces hold, one for each."""
        raise NotImplementedError

    def action_play(self) -> None:
        if self.playback is not None:
            self.playback.toggle()
            self.wake()

    def action_step(self) -> None:
        if self.playback is not None:
            self.playback.next_fact()
            self.wake()

    def action_step_back(self) -> None:
        if self.playback is not None:
            self.playback.previous_fact()
            self.wake()

    def action_nudge(self, steps: int) -> None:
        if self.playback is not None:
            if steps > 0 and not self.playback.in_review:
                self.notify_line("this is the live end; there is nothing later yet")
            self.playback.nudge(steps)
            self.wake()

    def action_home(self) -> None:
        self.seek(0.0)

    def action_end(self) -> None:
        if self.playback is not None:
            self.playback.go_live()
            for diagram in self.diagrams:
                diagram.action_follow()
            self.wake()

    def seek(self, time_s: float) -> None:
        """Put the playhead there."""
        if self.playback is not None:
            self.playback.seek(time_s)
            self.wake()

    def action_pace(self, steps: int) -> None:
        if self.playback is not None:
            self.playback.change_pace(steps)
            self.wake()

    # --- jumping --------------------------------------------------------------------------------------------------------

    @property
    def sought(self) -> "Kind":
        """The kind of landmark that the keys jump to."""
        from tui.landmarks import ANYTHING

        return self._sought or ANYTHING

    def action_find(self) -> None:
        """Ask which landmarks to jump to, and go to the next of them."""
        if self.playback is None:
            return
        from tui.screens.finding import landmark_picker

        def chosen(kind: "Kind | None") -> None:
            if kind is not None:
                self._sought = kind
                self.action_jump(1)

        self.app.push_screen(landmark_picker([index.landmarks for index in self.indexes], self.sought), chosen)

    def action_jump(self, direction: int) -> None:
        """Put the playhead on the next landmark, or on the one before; the cursor on its row."""
        if self.playback is None:
            return
        here, kind = self.playback.playhead_s, self.sought
        found: list[tuple[float, int, int]] = []
        for place, index in enumerate(self.indexes):
            landmarks = index.landmarks
            fact = landmarks.after(kind, here) if direction > 0 else landmarks.before(kind, here)
            if fact is not None:
                found.append((index.trace.time[fact], place, fact))
        if not found:
            count = sum(index.landmarks.count(kind) for index in self.indexes)
            where = "after" if direction > 0 else "before"
            self.notify_line(f"no {kind.one} {where} this; {count or 'none'} in all; F chooses what to jump to")
            return
        _, place, fact = min(found) if direction > 0 else max(found, key=lambda each: (each[0], -each[1]))
        landmarks = self.indexes[place].landmarks
        self.go_to_fact(self.diagrams[place], fact)
        self.notify_line(f"{kind.one} {landmarks.number(kind, fact)} of {landmarks.count(kind)}")

    def go_to_fact(self, diagram: "SequenceDiagram", fact: int) -> None:
        """Put the playhead where that fact of the diagram's trace happened, and the cursor on its row."""
        self.seek(diagram.model.trace.time[fact])
        diagram.show_fact(fact)
        self.wake()

    def on_sequence_diagram_moment_chosen(self, event: "SequenceDiagram.MomentChosen") -> None:
        event.stop()
        self.go_to_fact(event.diagram, event.fact_id)
