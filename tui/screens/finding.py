"""What the help screen, the scenario picker and the palette contain: made from the table of actions and from declarations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from textual.binding import Binding
from textual.keys import format_key

from engines.lab.commands import CommandError, parse_command
from engines.lab.scenario import Fault
from engines.patterns.contract import Pattern
from tui.bindings import GROUPS, Action
from tui.landmarks import KINDS, Kind, Landmarks
from tui.panels.help import HelpRow
from tui.panels.palette import Entry
from tui.screens.actions import SAVE
from tui.screens.help import HelpScreen
from tui.screens.picker import PickerScreen
from tui.widgets.pattern_tab import PatternTab
from tui.widgets.sequence import SequenceDiagram

ABOUT = (
    "Real protocol code runs here under a clock that you can stop, on a network that you can break. "
    "Every byte is written down, so you can look back at any moment.",
    "Letters beside knobs and faults work them from anywhere; enter types a value with its unit (200 ms, 5 %), "
    "del brings the default back. Commands such as `set latency 200ms` or `kill server` can be typed after `:`.",
)

COMMAND, ACTION = "command:", "action:"


@dataclass(frozen=True, slots=True)
class Findable:
    """What there is to find on a screen: its actions with their keys (`keys`, by action's id), patterns, knobs and faults.

    `knobs` and `faults` are (key, explanation); `orders` are commands, each with what it does.
    """

    keys: Mapping[str, str]
    actions: Sequence[Action]
    patterns: Sequence[Pattern] = ()
    knobs: Sequence[tuple[str, str]] = ()
    faults: Sequence[tuple[str, str]] = ()
    orders: Sequence[tuple[str, Fault]] = ()


def orders_of(faults: Sequence[Fault]) -> list[tuple[str, Fault]]:
    """The commands that bring faults about and end them."""
    return [(order, fault) for fault in faults for order in (fault.on, fault.off) if order is not None]


def help_screen(here: Findable) -> HelpScreen:
    """Every action with its key, the patterns, and the knobs and faults."""
    groups = {g: [HelpRow(here.keys[a.id], a.text) for a in here.actions if a.group == g] for g in GROUPS}
    own = [binding for binding in SequenceDiagram.BINDINGS if isinstance(binding, Binding)]
    groups["Diagram"] += [HelpRow(format_key(binding.key), binding.description) for binding in own]
    groups["Patterns"] += [HelpRow(pattern.key, pattern.title) for pattern in here.patterns]
    groups["Knobs here"] = [HelpRow(key, text) for key, text in here.knobs]
    groups["Faults here"] = [HelpRow(key, text) for key, text in here.faults]
    return HelpScreen(groups, ABOUT)


def scenario_picker(tab: PatternTab) -> PickerScreen[str]:
    """The scenarios of the tab's pattern; returns a scenario's name."""
    lessons = tab.pattern.lessons
    entries = [Entry(lesson.title, lesson.purpose, lesson.name, words=lesson.name) for lesson in lessons]
    start = [lesson.name for lesson in lessons].index(tab.lesson.name)
    hint = "a few letters, or up and down; enter plays it"
    return PickerScreen("scenarios", entries, hint=hint, tall=True, start=start)


def landmark_picker(landmarks: Sequence[Landmarks], sought: Kind) -> PickerScreen[Kind]:
    """The kinds of landmarks, each with how many of it there are; returns one."""
    entries = []
    for kind in KINDS:
        count = sum(each.count(kind) for each in landmarks)
        entries.append(Entry(f"{count or 'no'} {kind.one if count == 1 else kind.many}", kind.about, kind))
    hint = "a few letters, or up and down; enter goes to the next"
    return PickerScreen("jump to", entries, hint=hint, start=KINDS.index(sought))


def palette_screen(here: Findable) -> PickerScreen[str]:
    """All actions, patterns and faults, and whatever command is typed; returns COMMAND or ACTION and what to do."""
    entries = [
        Entry(a.text, a.group, ACTION + a.action, here.keys[a.id], words=a.id)
        for a in here.actions
        if a.id != "palette"
    ]
    for pattern in here.patterns:
        action = f"{ACTION}open_pattern({pattern.name!r})"
        entries.append(Entry(f"open {pattern.title}", pattern.summary, action, pattern.key))
    entries += [Entry(order, fault.help, COMMAND + order, words=fault.title) for order, fault in here.orders]
    return PickerScreen(
        "palette", entries, hint="an action, or a command such as: set latency 200ms", free=_typed_command
    )


def _typed_command(text: str) -> Entry[str] | None:
    """The command that `text` is, as an entry to choose; None when it is none (yet)."""
    if text.startswith(SAVE) and text.removeprefix(SAVE).strip():
        return Entry(text, "keep this run as a demo", COMMAND + text)
    try:
        command = str(parse_command(text))
    except CommandError:
        return None
    return Entry(command, "give this order", COMMAND + command)
