"""The characters a diagram is drawn with, as data: one set of box characters, one of plain ASCII. All are one cell wide."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One set. The line patterns (`plain`, `quiet`, `heavy`, `again`) are repeated along an arrow's shaft."""

    lifeline: str
    right: str  # arrow heads
    left: str
    tail_right: str  # where an arrow leaves a lifeline
    tail_left: str
    head: str  # what moves
    held: str  # what was stopped on its way
    lost: str
    plain: str
    quiet: str
    heavy: str
    again: str
    work: str
    wait: str
    timer: str
    fading: str  # still going on when the picture ends
    up: str
    down: str
    dead: str
    event: str
    state: str
    note: str
    rule: str
    cursor: str
    differs: str  # beside a row that is not the same in another run
    corner_down_right: str  # coming from the left, turning down: for slanted arrows
    corner_up_right: str
    corner_down_left: str
    corner_up_left: str
    ascii_only: bool


UNICODE = Glyphs(
    lifeline="│",
    right="►",
    left="◄",
    tail_right="├",
    tail_left="┤",
    head="●",
    held="○",
    lost="╳",
    plain="─",
    quiet="─ ",
    heavy="━",
    again="═",
    work="█",
    wait="▒",
    timer="░",
    fading="░",
    up="●",
    down="○",
    dead="╳",
    event="◆",
    state="◆",
    note="●",
    rule="─",
    cursor="►",
    differs="█",
    corner_down_right="┐",
    corner_up_right="└",
    corner_down_left="┌",
    corner_up_left="┘",
    ascii_only=False,
)

ASCII = Glyphs(
    lifeline="|",
    right=">",
    left="<",
    tail_right="+",
    tail_left="+",
    head="o",
    held="O",
    lost="X",
    plain="-",
    quiet="- ",
    heavy="#",
    again="=",
    work="#",
    wait=":",
    timer=".",
    fading=".",
    up="o",
    down="-",
    dead="X",
    event="*",
    state="*",
    note="o",
    rule="-",
    cursor=">",
    differs="#",
    corner_down_right=".",
    corner_up_right="'",
    corner_down_left=".",
    corner_up_left="'",
    ascii_only=True,
)
