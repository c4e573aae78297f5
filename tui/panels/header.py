"""The line at the top (what is playing, when, how fast), the tab bar and the footer, composed to fit any width."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from tui.panels.glyphs import Glyphs
from tui.panels.lines import Line, Span, best_fit, fit, line, spread, width_of


class Standing(Enum):
    """Where the person stands in time; the word is what the screen says."""

    STARTING = "STARTING"
    LIVE = "LIVE"
    PAUSED = "PAUSED"
    REVIEW = "REVIEW"
    ENDED = "ENDED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class HeaderFacts:
    """All that the header says. Times are virtual seconds; `rolling` is true while a review plays by itself."""

    pattern: str
    tab: str
    scenario: str
    standing: Standing
    playhead_s: float
    pace: float
    seed: int
    rolling: bool = False
    branch: tuple[str, str] | None = None  # the branch that is shown: in a word or two, and by its name


LEAST_SCENARIO = 4
"""Letters of a scenario's title that are worth their room."""

_STANDING: dict[Standing, tuple[str, str]] = {
    Standing.STARTING: ("starting", "muted"),
    Standing.LIVE: ("live", "live"),
    Standing.PAUSED: ("paused", "paused"),
    Standing.REVIEW: ("review", "review"),
    Standing.ENDED: ("ended", "paused"),
    Standing.FAILED: ("failed", "failed"),
}


def pace_text(pace: float, glyphs: Glyphs) -> str:
    return "flat out" if pace == float("inf") else f"{glyphs.times}{pace:g}"


def clock_text(facts: HeaderFacts) -> str:
    """Hundredths while it runs (thousandths would only flicker), thousandths when it stands still."""
    digits = 2 if facts.standing is Standing.LIVE and facts.pace >= 1 else 3
    return f"{facts.playhead_s:.{digits}f} s"


def standing_span(facts: HeaderFacts, glyphs: Glyphs) -> Span:
    glyph, style = _STANDING[facts.standing]
    rolling = f" {glyphs.right}" if facts.rolling else ""
    return Span(f" {getattr(glyphs, glyph)} {facts.standing.value}{rolling} ", style)


def header_line(facts: HeaderFacts, width: int, glyphs: Glyphs) -> Line:
    """The header in `width` cells; the name of the application and the seed go first when there is no room."""
    clock = Span(f" {clock_text(facts):>9}", "strong")
    pace = Span(f"  {pace_text(facts.pace, glyphs)}", "text")
    seed = Span(f"  seed {facts.seed}", "muted")
    right = (standing_span(facts, glyphs), clock, pace, seed, Span(" "))
    slim = (standing_span(facts, glyphs), clock, pace, Span(" "))
    name = Span(" commtui ", "brand")
    into = Span(f" {glyphs.into} ", "muted")
    long = (Span(f" {facts.pattern}", "strong"), into, Span(facts.scenario))
    short = (Span(f" {facts.tab}", "strong"), into, Span(facts.scenario))
    number, told = ((into, Span(text, "review")) for text in facts.branch) if facts.branch is not None else ((), ())
    for left, end in (
        ((name, *long, *told), right),
        ((name, *short, *told), right),
        ((name, *short, *number), right),
        ((*short, *number), right),
        ((*short, *number), slim),
    ):
        if width_of(left) + width_of(end) < width:
            return spread(left, end, width)
    room = width - width_of(slim) - 1 - width_of(short[:2]) - width_of(number)
    if room < LEAST_SCENARIO and number:  # the branch says more than two letters of the scenario
        return spread((short[0], *number), slim, width)
    return spread((*short[:2], Span(fit(facts.scenario, max(1, room), glyphs.ellipsis)), *number), slim, width)


def scrub_bar(fraction: float, width: int, glyphs: Glyphs, review: bool) -> Line:
    """A bar with its handle at `fraction` (0 to 1) of the way."""
    if width < 3:
        return ()
    place = round(max(0.0, min(1.0, fraction)) * (width - 1))
    return line(
        Span(glyphs.done * place, "review-bar" if review else "done-bar"),
        Span(glyphs.handle, "strong"),
        Span(glyphs.rest * (width - 1 - place), "rule"),
    )


def scrub_fraction(x: int, width: int) -> float:
    """The fraction that a click at cell `x` of a bar `width` cells wide means."""
    return max(0.0, min(1.0, x / (width - 1))) if width > 1 else 0.0


@dataclass(frozen=True, slots=True)
class TabFacts:
    key: str
    tab: str
    action: str
    active: bool


def tab_line(tabs: Sequence[TabFacts], width: int) -> Line:
    """All tabs if they fit; else the names shorten, and at last only the active one keeps its name."""

    def drawn(letters: int | None, others: bool = True) -> Line:
        spans: list[Span] = []
        for tab in tabs:
            name = tab.tab if letters is None or tab.active else tab.tab[:letters].rstrip()
            named = f"{tab.key} {name}".rstrip() if others or tab.active else tab.key
            # The active tab is told by brackets as well as by its style.
            spans.append(
                Span(f"[{named}]" if tab.active else f" {named} ", "tab-active" if tab.active else "tab", tab.action)
            )
        return (Span(" "), *spans)

    return best_fit([drawn(None), drawn(8), drawn(5), drawn(3), drawn(0, others=False)], width)


@dataclass(frozen=True, slots=True)
class Hint:
    """One entry of the footer."""

    key: str
    word: str
    action: str = ""


def footer_line(hints: Sequence[Hint], notice: str, width: int, glyphs: Glyphs) -> Line:
    """The keys that matter now, most important first; a notice takes their place, but the first hint (help) always stays."""
    spans: list[Span] = [Span(" ")]
    first, *others = hints
    spans += [Span(first.key, "key", first.action), Span(f" {first.word}  ", "muted", first.action)]
    room = width - width_of(tuple(spans)) - 1
    if notice:
        spans.append(Span(fit(notice, min(room, len(notice) + 1), glyphs.ellipsis), "notice"))
        return tuple(spans)
    for hint in others:
        pair = (Span(hint.key, "key", hint.action), Span(f" {hint.word}  ", "muted", hint.action))
        if width_of(pair) - 2 > room:
            break
        spans += pair
        room -= width_of(pair)
    return tuple(spans)
