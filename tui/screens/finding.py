"""What the help screen, the scenario picker and the palette contain: made from the table of actions and from declarations."""

from collections.abc import Mapping

from textual.binding import Binding
from textual.keys import format_key

from engines.lab.commands import CommandError, parse_command
from tui.bindings import ACTIONS, GROUPS
from tui.engine import Engine
from tui.panels.help import HelpRow
from tui.panels.palette import Entry
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


def help_screen(keys: Mapping[str, str], engine: Engine | None, tab: PatternTab | None) -> HelpScreen:
    """Every action with its key (`keys`, by id), the patterns, and the knobs and faults of the open tab."""
    groups = {group: [HelpRow(keys[a.id], a.text) for a in ACTIONS if a.group == group] for group in GROUPS}
    own = [binding for binding in SequenceDiagram.BINDINGS if isinstance(binding, Binding)]
    groups["Diagram"] += [HelpRow(format_key(binding.key), binding.description) for binding in own]
    if engine is not None:
        groups["Patterns"] += [HelpRow(pattern.key, pattern.title) for pattern in engine.patterns]
    if tab is not None:
        knobs, faults = tab.key_table()
        groups["Knobs here"] = [HelpRow(key, text) for key, text in knobs]
        groups["Faults here"] = [HelpRow(key, text) for key, text in faults]
    return HelpScreen(groups, ABOUT)


def scenario_picker(tab: PatternTab) -> PickerScreen:
    """The scenarios of the tab's pattern; returns a scenario's name."""
    lessons = tab.pattern.lessons
    entries = [Entry(lesson.title, lesson.purpose, lesson.name, words=lesson.name) for lesson in lessons]
    start = [lesson.name for lesson in lessons].index(tab.lesson.name)
    hint = "a few letters, or up and down; enter plays it"
    return PickerScreen("scenarios", entries, hint=hint, tall=True, start=start)


def palette_screen(keys: Mapping[str, str], engine: Engine | None, tab: PatternTab | None) -> PickerScreen:
    """All actions, patterns and faults, and whatever command is typed; returns COMMAND or ACTION and what to do."""
    entries = [Entry(a.text, a.group, ACTION + a.action, keys[a.id], words=a.id) for a in ACTIONS if a.id != "palette"]
    for pattern in engine.patterns if engine is not None else ():
        action = f"{ACTION}open_pattern({pattern.name!r})"
        entries.append(Entry(f"open {pattern.title}", pattern.summary, action, pattern.key))
    for fault in tab.lesson.faults if tab is not None else ():
        for command in (fault.on, fault.off):
            if command is not None:
                entries.append(Entry(command, fault.help, COMMAND + command, words=fault.title))
    return PickerScreen(
        "palette", entries, hint="an action, or a command such as: set latency 200ms", free=_typed_command
    )


def _typed_command(text: str) -> Entry | None:
    """The command that `text` is, as an entry to choose; None when it is none (yet)."""
    try:
        command = str(parse_command(text))
    except CommandError:
        return None
    return Entry(command, "give this order", COMMAND + command)
