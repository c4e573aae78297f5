"""The themes: contrast by computing it, and that nothing is lost in 16 colours or without any."""

import pytest
from rich.color import Color, ColorSystem

from tui.themes import (
    DRAWN_NOT_READ,
    INKS,
    STYLES,
    THEME_NAMES,
    contrast,
    luminance,
    other_theme,
    palette,
    textual_themes,
    theme_for,
    variables,
)
from tui.view.lines import STYLES as DIAGRAM_STYLES


def test_contrast_is_what_wcag_says() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)
    assert luminance("#ffffff") == pytest.approx(1.0)


@pytest.mark.parametrize("theme", INKS)
@pytest.mark.parametrize("style", [name for name in STYLES if name not in DRAWN_NOT_READ])
def test_text_has_seven_to_one(theme: str, style: str) -> None:
    inks, look = INKS[theme], STYLES[style]
    ink = getattr(inks, look.ink)
    for ground in {look.ground or "paper", "raised"}:
        assert contrast(ink, getattr(inks, ground)) >= 7.0, f"{style} on {ground}"


@pytest.mark.parametrize("theme", INKS)
def test_lines_can_be_seen(theme: str) -> None:
    assert contrast(INKS[theme].rule, INKS[theme].paper) >= 2.2


def test_at_most_three_hues() -> None:
    hues = {look.ink for look in STYLES.values()} - {"text", "muted", "rule"}
    assert hues == {"request", "response", "trouble"}


@pytest.mark.parametrize("theme", INKS)
@pytest.mark.parametrize("system", [ColorSystem.STANDARD, ColorSystem.EIGHT_BIT])
def test_ink_is_never_the_colour_of_its_paper(theme: str, system: ColorSystem) -> None:
    for name, style in palette(theme).items():
        assert style.color is not None
        assert style.bgcolor is not None
        assert style.color.downgrade(system) != style.bgcolor.downgrade(system), name


@pytest.mark.parametrize("theme", THEME_NAMES)
def test_the_hues_stay_apart_in_sixteen_colours(theme: str) -> None:
    inks = INKS[theme_for(theme, sixteen_colours=True)]
    shown = {
        Color.parse(ink).downgrade(ColorSystem.STANDARD).number
        for ink in (inks.paper, inks.text, inks.request, inks.response, inks.trouble)
    }
    assert len(shown) == 5


def test_the_other_theme_has_as_many_colours() -> None:
    assert other_theme("classroom-dark") == "classroom-light"
    assert other_theme("classroom-light-16") == "classroom-dark-16"
    assert theme_for("classroom-dark-16", sixteen_colours=False) == "classroom-dark"


def test_every_style_of_the_diagram_has_a_look() -> None:
    assert set(DIAGRAM_STYLES) <= set(STYLES)


def test_themes_agree_on_their_variables() -> None:
    for theme in textual_themes():
        assert set(theme.variables) == set(variables("anything else"))


def test_unknown_themes_look_like_the_default() -> None:
    assert palette("nord") == palette("classroom-dark")
