"""The characters that the panels draw with: one set for UTF-8 terminals, one for plain ASCII. Every glyph is one cell wide."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Glyphs:
    live: str
    paused: str
    review: str
    ended: str
    failed: str
    starting: str
    into: str  # between a pattern and its scenario
    pointer: str  # the row that has the cursor
    left: str
    right: str
    up: str
    down: str
    done: str  # the part of a slider or scrub bar behind its handle
    handle: str
    rest: str  # the part before it
    rule: str
    beside: str  # between two words of a title
    spark: str  # eight heights, lowest first
    here: str  # points from a name to the bytes it names
    cr: str
    lf: str
    tab: str
    unprintable: str
    ellipsis: str
    times: str
    bullet: str
    caret: str
    arrow: str  # from cause to effect
    unlimited: str
    queued: str  # somebody in line for a connection
    busy: str  # a connection that serves a request
    opening: str
    idle: str
    free: str  # room for another connection
    differs: str  # marks what is not the same in two runs
    phases: str  # of a bar in the timeline, one for each engines.waterfall.Phase


UNICODE = Glyphs(
    live="●",
    paused="║",
    review="◄",
    ended="✓",
    failed="╳",
    starting="○",
    into="►",
    pointer="►",
    left="◄",
    right="►",
    up="▲",
    down="▼",
    done="━",
    handle="●",
    rest="─",
    rule="─",
    beside="│",
    spark="▁▂▃▄▅▆▇█",
    here="◄",
    cr="␍",
    lf="␊",
    tab="→",
    unprintable="·",
    ellipsis="…",
    times="×",
    bullet="●",
    caret="▏",
    arrow="→",
    unlimited="∞",
    queued="▒",
    busy="█",
    opening="◆",
    idle="○",
    free="·",
    differs="█",
    phases="░─━▒█░━▓",
)

ASCII = Glyphs(
    live="*",
    paused="=",
    review="<",
    ended="#",
    failed="X",
    starting="o",
    into=">",
    pointer=">",
    left="<",
    right=">",
    up="^",
    down="v",
    done="=",
    handle="O",
    rest="-",
    rule="-",
    beside="|",
    spark="_.,:-=+#",
    here="<",
    cr="\\r",
    lf="\\n",
    tab="\\t",
    unprintable=".",
    ellipsis="~",
    times="x",
    bullet="*",
    caret="_",
    arrow="->",
    unlimited="inf",
    queued="w",
    busy="#",
    opening="+",
    idle="o",
    free=".",
    differs="#",
    phases=".-=:#.=+",
)


def plain(text: str) -> str:
    """`text` with one ASCII character in place of each typographic one, so that columns stay where they are."""
    return text if text.isascii() else text.translate(_PLAIN).encode("ascii", "replace").decode()


_PLAIN = str.maketrans("…–—−→←►◄▲▼▸●○×µ│─━═┃║✓╳’“”·≥≤┌┐└┘├┤┬┴┼█▓▒░▏", '~---><><^v>*oxu|--=||#X\'"".><+++++++++##::|')
