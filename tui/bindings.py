"""Every action of the application as data: bindings, help screen, footer and palette are all made from this one table.

Capital letters are for looks and panels, the small ones (but s, r and q) for knobs and faults.
The keys of patterns (digits), knobs and faults (letters) come from their declarations; RESERVED is what they may not use.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from textual.binding import Binding, BindingType


@dataclass(frozen=True, slots=True)
class Action:
    """`id` is the name in the config file's [keys]; `keys` as Textual names them, comma separated; `shown` as people do.

    `footer` orders the footer (0: not there). `word` is its short name there.
    """

    id: str
    keys: str
    shown: str
    action: str
    text: str
    group: str
    footer: int = 0
    word: str = ""


ACTIONS: tuple[Action, ...] = (
    Action("help", "question_mark,f1", "?", "help", "this help: every key and action", "Find", 1, "help"),
    Action("palette", "colon,ctrl+p", ":", "palette", "find an action, or type a command", "Find", 8, "palette"),
    Action("scenarios", "s", "s", "scenarios", "choose a scenario", "Find", 5, "scenario"),
    Action("compare", "V", "V", "compare", "several patterns at the same work, side by side", "Find"),
    Action("keep", "E", "E", "keep", "keep this run: as a demo file, as a command line", "Find"),
    Action("quit", "q", "q", "quit", "quit", "Find", 9, "quit"),
    Action("play", "space", "space", "play", "play or pause", "Time", 2, "play/pause"),
    Action("step", "full_stop", ".", "step", "to the next fact", "Time", 3, "next"),
    Action("step-back", "comma", ",", "step_back", "to the fact before", "Time"),
    Action("back", "left", "←", "nudge(-1)", "back a little", "Time", 4, "→ scrub"),
    Action("forward", "right", "→", "nudge(1)", "forward a little", "Time"),
    Action("back-far", "shift+left,left_parenthesis", "shift+← or (", "nudge(-10)", "back a lot", "Time"),
    Action("forward-far", "shift+right,right_parenthesis", "shift+→ or )", "nudge(10)", "forward a lot", "Time"),
    Action("home", "home", "home", "home", "to the beginning", "Time"),
    Action("end", "end", "end", "end", "to the live end", "Time"),
    Action("find-next", "shift+down,J", "shift+↓ or J", "jump(1)", "to the next landmark (F says which)", "Time"),
    Action("find-back", "shift+up,U", "shift+↑ or U", "jump(-1)", "to the landmark before", "Time"),
    Action("find", "F", "F", "find", "which landmarks to jump to", "Time"),
    Action("faster", "plus,equals_sign", "+", "pace(1)", "faster, up to flat out", "Time", 6, "- speed"),
    Action("slower", "minus", "-", "pace(-1)", "slower, down to 0.1x", "Time"),
    Action("restart", "r", "r", "restart(False)", "again from the start, same seed", "Time", 7, "again"),
    Action("reseed", "R", "R", "restart(True)", "again from the start, new seed", "Time"),
    Action("this", "M", "M", "this", "this message: drop it, hold it, do so to the next like it …", "What if"),
    Action("why", "Y", "Y", "why", "why: what the selected row followed from", "What if"),
    Action("branches", "B", "B", "branches", "the branches: another one, side by side, remove", "What if"),
    Action("controls", "K", "K", "controls", "knobs and faults: go there, or leave", "Panels"),
    Action("numbers", "N", "N", "numbers", "show or hide the numbers", "Panels"),
    Action("story", "S", "S", "pane('story')", "what happened and why", "Panels"),
    Action("wire", "W", "W", "pane('wire')", "the bytes of the selected message", "Panels"),
    Action("pool", "O", "O", "pane('pool')", "who waits for a connection, and who holds one", "Panels"),
    Action("code", "I", "I", "pane('code')", "the pattern's own code, and where it stands", "Panels"),
    Action("timeline", "L", "L", "pane('timeline')", "where the time of each request and event went", "Panels"),
    Action("hex", "H", "H", "hex", "bytes as text or as a hex dump", "Panels"),
    Action("zoom", "Z,f11", "Z", "zoom", "the diagram alone, or everything", "Panels"),
    Action("scale", "C", "C", "scale", "diagram: compact or to scale", "Diagram"),
    Action("detail", "P", "P", "detail", "diagram: messages or packets", "Diagram"),
    Action("diagram", "escape", "esc", "diagram", "back to the diagram", "Diagram"),
    Action("theme", "T", "T", "theme", "dark or light", "Looks"),
    Action("ascii", "A", "A", "ascii", "box characters or plain ASCII", "Looks"),
    Action("next-tab", "ctrl+right,right_curly_bracket", "}", "turn_tab(1)", "the next pattern", "Patterns"),
    Action("previous-tab", "ctrl+left,left_curly_bracket", "{", "turn_tab(-1)", "the pattern before", "Patterns"),
)

RESERVED = frozenset(action.shown for action in ACTIONS if len(action.shown) == 1)

GROUPS = ("Time", "What if", "Panels", "Diagram", "Find", "Looks", "Patterns")


_OF_ONE_LESSON = frozenset(
    {"scenarios", "compare", "story", "wire", "pool", "code", "timeline", "hex", "keep", "this", "why", "branches"}
)
_OTHERWISE_SAID = {
    "controls": ("knobs and faults that several have: go there, or leave", 5, "knobs"),
    "numbers": ("show or hide the table and the knobs", 0, ""),
    "zoom": ("the diagrams alone, or everything", 0, ""),
    "diagram": ("back to the diagrams, then to the lesson", 7, "back"),
    "next-tab": ("the next pattern", 6, "next pattern"),
    "restart": ("again from the start, same seed", 0, ""),
}

COMPARISON_ACTIONS: tuple[Action, ...] = tuple(
    replace(action, text=said[0], footer=said[1], word=said[2])
    if (said := _OTHERWISE_SAID.get(action.id)) is not None
    else action
    for action in ACTIONS
    if action.id not in _OF_ONE_LESSON
)
"""What the same keys do while several patterns are compared."""

BRANCH_ACTIONS: tuple[Action, ...] = (
    *(
        replace(action, text=action.text.replace("pattern", "branch"), word=action.word.replace("pattern", "branch"))
        for action in COMPARISON_ACTIONS
        if action.id not in ("restart", "reseed")
    ),
    Action("parting", "D", "D", "parting", "to the first difference", "Time", 3, "difference"),
)
"""And while two branches of a run stand side by side."""

EVERY_ACTION: tuple[Action, ...] = tuple({action.id: action for action in (*BRANCH_ACTIONS, *ACTIONS)}.values())
"""All there are, each once, for whoever wants other keys."""


def bindings(actions: Iterable[Action] = ACTIONS) -> list[BindingType]:
    """The table as Textual wants it."""
    return [Binding(action.keys, action.action, action.text, show=False, id=action.id) for action in actions]


def footer_order(actions: Iterable[Action] = ACTIONS) -> list[Action]:
    return sorted((action for action in actions if action.footer), key=lambda action: action.footer)
