"""The runs of a tab: the one that was begun, and the branches that grew out of it when somebody asked "what if …?".

A branch is scenario + seed + starting knobs + the orders up to a moment + one more. It is replayed flat out in a session of its
own while the screen goes on showing the old run, which is the same up to that moment; once it has arrived and has been read, it
takes the old one's place. The old run stays as it was, and waits.

A long past takes a while to replay. So as soon as the playhead comes to rest in one, a session sets out for that moment: when the
question is asked, it usually stands there already.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from engines.lab.commands import Command, FaultThis, SetKnob, TimedCommand, check_command, parse_command
from engines.lab.knobs import KnobBoard, Value
from engines.patterns.contract import Lesson, Pattern
from tui.beginning import Beginning
from tui.branches import Branch, BranchTree, named_after
from tui.engine import Engine
from tui.runs import Run

MOST_BRANCHES = 8
"""Besides the run that was begun. One more, and the one that nobody has looked at for longest goes."""

TURNING_S = 0.25
"""Real time after the last turn of a knob before a branch takes it for the answer: arrows turn a knob step by step."""

RESTING_S = 0.4
"""Real time that the playhead must rest in a long past before a session sets out for it."""

LONG_PAST = 1_500
"""Facts that take longer than the blink of an eye to replay."""

OVER = ("ended", "failed")

THE_RUN = "as it was"
"""What the run that was begun is called beside its branches."""


@dataclass(slots=True)
class Replay:
    """A run on its way to a moment of another one. Without `orders` nobody has asked for it yet.

    `recorded` are the orders it replays; `play` says whether it is to go on by itself.
    """

    run: Run
    of: Branch[Run]
    at_s: float
    recorded: int
    play: bool = False
    orders: list[Command] = field(default_factory=list)
    asked: float = 0.0  # real time of the last order
    given: bool = False


class Timelines:
    """`now` is real time. `tend` must be called once a frame; what there is to tell of it, `take_notice` gives once."""

    def __init__(
        self,
        engine: Engine,
        pattern: Pattern,
        lesson: Lesson,
        beginning: Beginning,
        *,
        now: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._pattern = pattern
        self._now = now
        self._replay: Replay | None = None
        self._rest = (0.0, 0.0)  # where the playhead rests, and since when in real time
        self._notice = ""
        hurries = beginning.start_at_s > 0
        run = self._open(lesson, beginning.seed, beginning.knobs, beginning.pace, beginning.commands, paused=hurries)
        self.tree = BranchTree(run, THE_RUN)
        run.session.start()
        self._hurrying = run.session if hurries else None
        if hurries:
            run.session.run_until(beginning.start_at_s)

    # --- the runs -------------------------------------------------------------------------------------------------------

    @property
    def run(self) -> Run:
        """The one that is shown."""
        return self.tree.current.item

    def close(self) -> None:
        """End all runs, without waiting for it."""
        self._give_up_replay()
        for branch in self.tree.branches:
            branch.item.close()

    def switch_to(self, branch: Branch[Run]) -> None:
        """Show another branch; each has a playhead of its own, and waits while nobody watches."""
        if branch is self.tree.current:
            return
        self._give_up_replay()
        self.run.playback.leave()
        self.tree.switch(branch)
        self.run.playback.come_back()

    def remove(self, branch: Branch[Run]) -> None:
        """End a branch; its parent is shown instead. Raises ValueError for the run that was begun."""
        was = self.tree.current
        self.tree.remove(branch)
        if self._replay is not None and self._replay.of is branch:
            self._give_up_replay()
        branch.item.close()
        if was is branch:
            self.run.playback.come_back()

    def _open(
        self,
        lesson: Lesson,
        seed: int,
        knobs: Mapping[str, Value],
        pace: float,
        commands: Sequence[TimedCommand] = (),
        *,
        paused: bool = False,
    ) -> Run:
        return Run(
            self._engine, self._pattern, lesson,
            seed=seed, knobs=knobs, pace=pace, now=self._now, commands=commands, paused=paused,
        )  # fmt: skip

    # --- orders ---------------------------------------------------------------------------------------------------------

    def order(self, text: str) -> None:
        """Give an order at the playhead: at the live end to this run, in review to a branch of it.

        Raises CommandError in one line when it does not fit.
        """
        playback = self.run.playback
        if playback.in_review:
            self.what_if(text, playback.playhead_s)
        else:
            self.run.session.command(text)

    def what_if(self, text: str, at_s: float) -> None:
        """Branch at `at_s`: there, that order is given. Several for the same moment make one branch.

        Raises CommandError in one line when it does not fit.
        """
        run, command = self.run, parse_command(text)
        check_command(command, [host.name for host in run.lesson.hosts], KnobBoard(run.lesson.all_knobs()))
        run.playback.seek(at_s)
        if not run.playback.in_review:
            run.session.command(command)
            return
        before = self.asked.orders if self.asked is not None and self.asked.at_s == at_s else []
        orders = [*(order for order in before if not _same_knob(order, command)), command]
        orders = [order for order in orders if not self._stands(order, at_s)]
        if not orders:
            self._give_up_replay()
            self._notice = f"{command.knob} stands there already" if isinstance(command, SetKnob) else ""
            return
        replay = self._replay_to(at_s)
        replay.orders = orders
        replay.play = run.playback.resumes
        replay.asked = self._now()

    def _stands(self, order: Command, at_s: float) -> bool:
        """Whether a knob already stands where it is to be turned: then the answer is the run as it was."""
        if not isinstance(order, SetKnob) or (knob := self.run.knob(order.knob)) is None:
            return False
        return self.run.knob_texts(at_s)[knob.name] == knob.format(knob.parse(order.text))

    def give_up(self) -> bool:
        """Forget the branch that is on its way; false if there is none."""
        asked = self.asked is not None
        if asked:
            self._give_up_replay()
        return asked

    @property
    def asked(self) -> Replay | None:
        """The branch that somebody waits for."""
        return self._replay if self._replay is not None and self._replay.orders else None

    def asked_texts(self) -> dict[str, str]:
        """How the knobs will stand in the branch that is on its way, where they were turned."""
        texts: dict[str, str] = {}
        for order in self.asked.orders if self.asked is not None else ():
            if isinstance(order, SetKnob) and (knob := self.run.knob(order.knob)) is not None:
                texts[order.knob] = knob.format(knob.parse(order.text))
        return texts

    @property
    def progress(self) -> str:
        """One line about the branch that is on its way; "" for none."""
        replay = self.asked
        if replay is None:
            return ""
        name = self._name(replay)
        share = replay.run.session.status.now_s / replay.at_s if replay.at_s > 0 else 1.0
        return f"what if: {name}" + (f" (replaying, {share:.0%}; esc gives up)" if share < 0.995 else "")

    def take_notice(self) -> str:
        """What there is to tell since last asked; "" for nothing."""
        notice, self._notice = self._notice, ""
        return notice

    # --- bringing a branch on -------------------------------------------------------------------------------------------

    def tend(self) -> bool:
        """Bring on what is on its way; true while it is."""
        if self._hurrying is not None:
            if not self._hurrying.wait_idle(0):
                return True
            self._hurrying.play()
            self._hurrying = None
        replay = self._replay
        if not self.run.playback.in_review:
            self._give_up_replay()
            return False
        if replay is None or not replay.orders:
            return self._look_ahead()
        while self._arrived(replay):
            if not replay.given:
                turned = any(isinstance(order, SetKnob) for order in replay.orders)
                if turned and self._now() - replay.asked < TURNING_S:
                    return True
                if replay.run.session.status.state.value in OVER:
                    self._give_up_replay()
                    self._notice = "the run was over by then: go further back"
                    return False
                for order in replay.orders:
                    replay.run.session.command(order)
                replay.given = True
                continue
            self._show(replay)
            return False
        return True

    def _arrived(self, replay: Replay) -> bool:
        """Whether it stands at its moment and has been read up to there."""
        standing = replay.run.session.wait_idle(0)  # asked first: then nothing is added to what is read
        return replay.run.read_up_to(replay.at_s) and standing

    def _show(self, replay: Replay) -> None:
        """Put the branch in the place of the run it grew out of."""
        self._replay = None
        name = self._name(replay)
        self.run.playback.leave()
        ordered = replay.run.session.commands[replay.recorded :]
        branch = self.tree.add(name, ordered[0].time_s if ordered else replay.at_s, replay.run)
        if replay.play:
            replay.run.session.play()
        self._notice = f"branch {branch.number}: {name}" + ("" if replay.play else "; space plays on")
        if len(self.tree) > MOST_BRANCHES + 1 and (oldest := self.tree.least_wanted()) is not None:
            self.remove(oldest)
            self._notice += f"; branch {oldest.number} had to go"

    def _name(self, replay: Replay) -> str:
        return named_after([worded(order, self.run) for order in replay.orders], replay.at_s)

    def _replay_to(self, at_s: float) -> Replay:
        """The session that is on its way to `at_s`, or can go there; else a new one."""
        if self._replay is not None and self._replay.given:
            self._give_up_replay()
        run = self.run
        commands = [timed for timed in run.session.commands if timed.time_s <= at_s]
        replay = self._replay
        if replay is None or not self._leads_to(replay, at_s, len(commands)):
            self._give_up_replay()
            past = self._open(run.lesson, run.seed, run.knobs, run.playback.pace, commands, paused=True)
            replay = self._replay = Replay(past, self.tree.current, at_s, len(commands))
            past.session.start()
        replay.at_s = at_s
        replay.run.session.run_until(at_s)
        return replay

    def _leads_to(self, replay: Replay, at_s: float, commands: int) -> bool:
        same = replay.of is self.tree.current and replay.recorded == commands
        return same and (replay.at_s <= at_s if not replay.orders else replay.at_s == at_s)

    def _look_ahead(self) -> bool:
        """Set out for where the playhead rests, if that is far; true while there is something to do."""
        playback = self.run.playback
        at_s = playback.playhead_s
        if self._rest[0] != at_s:
            self._rest = (at_s, self._now())
        if playback.rolling or self.run.trace.length_at(at_s) < LONG_PAST:
            return False
        replay = self._replay
        if replay is not None and replay.of is self.tree.current and replay.at_s == at_s:
            return not self._arrived(replay)
        if self._now() - self._rest[1] >= RESTING_S:
            self._replay_to(at_s)
        return True

    def _give_up_replay(self) -> None:
        if self._replay is not None:
            self._replay.run.close()
        self._replay = None


def worded(order: Command, run: Run) -> str:
    """An order as people read it: a chosen message by its name instead of its number."""
    if isinstance(order, FaultThis) and 0 <= order.fact < run.model.messages.consumed:
        arrow = run.model.messages.arrow_of_fact(order.fact)
        label = run.model.messages.label(arrow) if arrow is not None else ""
        if label:
            return f"{order.action} “{label}”"
        if arrow is not None:
            return f"{order.action} {run.model.messages.packet_kind(arrow).name.replace('_', '-')}"
    return str(order)


def _same_knob(one: Command, other: Command) -> bool:
    return isinstance(one, SetKnob) and isinstance(other, SetKnob) and one.knob == other.knob
