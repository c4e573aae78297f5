"""Two classroom themes and what every named style looks like in them. Three hues carry meaning, and none of them alone.

    request   what somebody asks or sends        (sky)
    response  what comes back, what is well      (green)
    trouble   what is lost, wrong or in the past (orange)

Everything else is ink on paper: full, muted, or a rule. Glyph, line style and word always say the same as the hue, so 16
colours, no colour and colour-blind eyes lose nothing. Text has a contrast of at least 7:1 on every ground it stands on.
"""

from dataclasses import dataclass
from functools import lru_cache

from rich.style import Style
from textual.theme import Theme


@dataclass(frozen=True, slots=True)
class Inks:
    """The colours of one theme. `rule` draws lines, never text; `raised` is the ground under what is chosen."""

    paper: str
    raised: str
    text: str
    muted: str
    rule: str
    request: str
    response: str
    trouble: str
    dark: bool


INKS: dict[str, Inks] = {
    "classroom-dark": Inks(
        paper="#10151b",
        raised="#1e2833",
        text="#e8edf2",
        muted="#b3bdc8",
        rule="#4d5b69",
        request="#82c7ff",
        response="#8ae0a6",
        trouble="#ffb48c",
        dark=True,
    ),
    "classroom-light": Inks(
        paper="#fcfbf8",
        raised="#e8ebee",
        text="#14181d",
        muted="#424a54",
        rule="#949ea8",
        request="#004480",
        response="#004d28",
        trouble="#822200",
        dark=False,
    ),
}

DEFAULT_THEME = "classroom-dark"
THEME_NAMES = tuple(INKS)

SIXTEEN = "-16"
"""Themes of this ending stand in for the others on terminals of 16 colours, where the nearest of a soft hue would be grey."""

INKS |= {
    "classroom-dark-16": Inks(
        paper="#000000",
        raised="#000000",
        text="#ffffff",
        muted="#c0c0c0",
        rule="#808080",
        request="#00ffff",
        response="#00ff00",
        trouble="#ffff00",
        dark=True,
    ),
    "classroom-light-16": Inks(
        paper="#ffffff",
        raised="#ffffff",
        text="#000000",
        muted="#000000",
        rule="#808080",
        request="#000080",
        response="#006000",
        trouble="#800000",
        dark=False,
    ),
}


def theme_for(name: str, *, sixteen_colours: bool) -> str:
    """The theme called `name`, or what stands in for it where there are only 16 colours."""
    plain = name.removesuffix(SIXTEEN)
    return plain + SIXTEEN if sixteen_colours and plain in THEME_NAMES else plain


def other_theme(name: str) -> str:
    """The next of our themes, for as many colours as `name` is for."""
    plain = name.removesuffix(SIXTEEN)
    place = THEME_NAMES.index(plain) if plain in THEME_NAMES else -1
    return theme_for(THEME_NAMES[(place + 1) % len(THEME_NAMES)], sixteen_colours=name.endswith(SIXTEEN))


@dataclass(frozen=True, slots=True)
class Look:
    """A style as the names of its inks. `ground` is "" where it stands on whatever is beneath it."""

    ink: str = "text"
    ground: str = ""
    bold: bool = False
    underline: bool = False
    italic: bool = False
    reverse: bool = False


STYLES: dict[str, Look] = {
    # the panels around the diagram
    "text": Look(),
    "strong": Look(bold=True),
    "muted": Look("muted"),
    "rule": Look("rule"),
    "rule-title": Look("muted"),
    "title": Look(bold=True),
    "brand": Look("request", bold=True),
    "key": Look("request", bold=True),
    "cursor": Look(ground="raised", bold=True),
    "typing": Look(ground="raised", bold=True, underline=True),
    "tab": Look("muted"),
    "tab-active": Look("text", bold=True),
    "notice": Look(bold=True),
    "on": Look("response", bold=True),
    "live": Look("response", bold=True),
    "paused": Look(bold=True),
    "review": Look("trouble", bold=True, reverse=True),
    "failed": Look("trouble", bold=True),
    "trouble": Look("trouble", bold=True),
    "done-bar": Look("response"),
    "review-bar": Look("trouble"),
    "spark": Look("muted"),
    "wire-start": Look("request"),
    "wire-body": Look("response"),
    "wire-boundary": Look(bold=True, reverse=True),
    # the diagram
    "": Look(),
    "time": Look("muted"),
    "lifeline": Look("rule"),
    "dim": Look("muted"),
    "state": Look("muted"),
    "request": Look("request"),
    "response": Look("response"),
    "push": Look("request", bold=True),
    "ack": Look("muted"),
    "error": Look("trouble", bold=True),
    "heartbeat": Look("muted"),
    "control": Look("muted"),
    "data": Look("text"),
    "retransmission": Look("trouble"),
    "lost": Look("trouble", bold=True),
    "held": Look("trouble"),
    "tag": Look("muted"),
    "work": Look("text"),
    "wait": Look("muted"),
    "mark": Look("muted"),
    "note": Look(italic=True),
    "command": Look(bold=True),
    "link": Look("trouble"),
}

DRAWN_NOT_READ = frozenset({"rule", "lifeline"})
"""Styles that only ever draw lines: the contrast asked of text is not asked of them."""

Palette = dict[str, Style]


@lru_cache(maxsize=8)
def palette(theme: str) -> Palette:
    """Every named style in `theme`, each with its own background (strips need one). Unknown themes look like the default."""
    inks = INKS.get(theme, INKS[DEFAULT_THEME])
    return {
        name: Style(
            color=getattr(inks, look.ink),
            bgcolor=getattr(inks, look.ground or "paper"),
            bold=look.bold,
            underline=look.underline,
            italic=look.italic,
            reverse=look.reverse,
        )
        for name, look in STYLES.items()
    }


def variables(name: str) -> dict[str, str]:
    """The inks as variables for the stylesheet: $ink, $muted, $rule, $paper, $raised."""
    inks = INKS.get(name, INKS[DEFAULT_THEME])
    return {
        "ink": inks.text,
        "muted": inks.muted,
        "rule": inks.rule,
        "paper": inks.paper,
        "raised": inks.raised,
        "trouble": inks.trouble,
        "scrollbar": inks.rule,
        "scrollbar-hover": inks.muted,
        "scrollbar-active": inks.muted,
        "scrollbar-background": inks.paper,
        "scrollbar-background-hover": inks.paper,
        "scrollbar-background-active": inks.paper,
        "scrollbar-corner-color": inks.paper,
        "input-cursor-background": inks.text,
        "input-cursor-foreground": inks.paper,
        "input-selection-background": inks.raised,
    }


def textual_themes() -> list[Theme]:
    return [
        Theme(
            name=name,
            primary=inks.request,
            secondary=inks.response,
            accent=inks.request,
            warning=inks.trouble,
            error=inks.trouble,
            success=inks.response,
            foreground=inks.text,
            background=inks.paper,
            surface=inks.paper,
            panel=inks.raised,
            dark=inks.dark,
            text_alpha=1.0,
            variables=variables(name),
        )
        for name, inks in INKS.items()
    ]


def luminance(colour: str) -> float:
    """Relative luminance of "#rrggbb" (WCAG 2.2)."""

    def channel(pair: str) -> float:
        value = int(pair, 16) / 255
        return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)

    red, green, blue = (channel(colour[i : i + 2]) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
