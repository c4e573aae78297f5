"""The panels as text: what they say, and that they keep to their width."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.lab.dissection import Part
from engines.lab.knobs import NETWORK_KNOBS, Number
from engines.lab.scenario import Fault
from tests.tui.fake_lab import REQUEST, lesson
from tui.panels.controls import Cursor, FaultRow, command_for, control_lines, fraction, knob_rows
from tui.panels.glyphs import ASCII, UNICODE, plain
from tui.panels.header import (
    HeaderFacts,
    Hint,
    Standing,
    TabFacts,
    footer_line,
    header_line,
    scrub_bar,
    scrub_fraction,
    tab_line,
)
from tui.panels.help import HelpRow, help_lines
from tui.panels.keys import assign_letters
from tui.panels.lines import Span, fit, joined, line, spread, text_of, width_of, wrap
from tui.panels.numbers import Reading, number_lines, sparkline
from tui.panels.palette import Entry, entry_lines, matching
from tui.panels.story import StoryFacts, Told, story_lines
from tui.panels.wire import WireFacts, byte_text, wire_lines

FACTS = HeaderFacts("5 Long polling", "5 Long poll", "Job with a hold time", Standing.LIVE, 12.4, 1.0, 7)


# --- lines --------------------------------------------------------------------------------------------------------------


def test_a_line_is_spread_over_its_width() -> None:
    assert text_of(spread(line("left"), line("right"), 20)) == "left           right"
    assert text_of(spread(line("much too long"), line("right"), 12)) == "much t right"


@given(st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=80), st.integers(0, 60))
def test_fit_is_exact(text: str, width: int) -> None:
    assert width_of(line(Span(fit(text, width)))) == width


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=30), max_size=20), st.integers(5, 60))
def test_wrap_keeps_the_words_and_the_width(words: list[str], width: int) -> None:
    lines = wrap(" ".join(words), width, indent="  ")
    assert all(width_of(spans) <= width for spans in lines)
    assert "".join(text_of(spans).replace(" ", "") for spans in lines) == "".join(words)


# --- header, tabs, footer -----------------------------------------------------------------------------------------------


def test_header_says_what_plays_and_when() -> None:
    text = text_of(header_line(FACTS, 96, UNICODE))
    assert text.startswith(" commtui  5 Long polling ► Job with a hold time  ")
    assert text.endswith(" ● LIVE    12.40 s  ×1  seed 7 ")
    assert width_of(header_line(FACTS, 96, UNICODE)) == 96


@pytest.mark.parametrize("width", [40, 50, 60, 66, 80, 94, 120, 200])
@pytest.mark.parametrize("standing", list(Standing))
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
def test_header_always_fits_and_says_where_we_stand(width: int, standing: Standing, glyphs: object) -> None:
    facts = HeaderFacts("5 Long polling", "5 Long poll", "Job with a hold time", standing, 1234.5, float("inf"), 7)
    spans = header_line(facts, width, glyphs)  # type: ignore[arg-type]
    assert width_of(spans) <= width
    assert standing.value in text_of(spans)
    assert "1234.5" in text_of(spans)


def test_a_slow_or_still_clock_shows_thousandths() -> None:
    slow = HeaderFacts("p", "p", "s", Standing.LIVE, 1.23456, 0.1, 0)
    assert "1.235 s" in text_of(header_line(slow, 80, UNICODE))
    assert "1.23 s" in text_of(header_line(HeaderFacts("p", "p", "s", Standing.LIVE, 1.2345, 1.0, 0), 80, UNICODE))


def test_scrub_bar_and_its_inverse() -> None:
    assert text_of(scrub_bar(0.0, 10, ASCII, False)) == "O---------"
    assert text_of(scrub_bar(0.5, 11, ASCII, False)) == "=====O-----"
    assert text_of(scrub_bar(1.0, 10, ASCII, True)) == "=========O"
    assert scrub_fraction(0, 10) == 0.0
    assert scrub_fraction(9, 10) == 1.0
    assert scrub_fraction(99, 10) == 1.0


TABS = [
    TabFacts(key, name, "", key == "5")
    for key, name in zip(
        "1234567890",
        ["Req/Resp", "Sync/Async", "Push", "Short poll", "Long poll", "SSE", "Pub/Sub", "Mux/Pool", "State", "Sidecar"],
        strict=True,
    )
]


def test_tabs_shorten_before_any_is_lost() -> None:
    assert text_of(tab_line(TABS, 130)).startswith(
        "  1 Req/Resp  2 Sync/Async  3 Push  4 Short poll [5 Long poll] 6 SSE"
    )
    for width in (60, 80, 100, 120):
        text = text_of(tab_line(TABS, width))
        assert len(text) <= width
        assert "[5 Long poll]" in text
        assert all(tab.key in text for tab in TABS)


def test_footer_never_loses_help() -> None:
    hints = [Hint("?", "help"), Hint("space", "play/pause"), Hint(".", "next"), Hint(":", "palette")]
    assert text_of(footer_line(hints, "", 80, UNICODE)).strip() == "? help  space play/pause  . next  : palette"
    for width in (20, 30, 60):
        assert text_of(footer_line(hints, "", width, UNICODE)).startswith(" ? help")
        assert len(text_of(footer_line(hints, "x" * 200, width, UNICODE))) <= width
        assert text_of(footer_line(hints, "x" * 200, width, UNICODE)).startswith(" ? help")


# --- letters ------------------------------------------------------------------------------------------------------------


def test_letters_come_from_wishes_then_names_then_the_alphabet() -> None:
    assert assign_letters(["kill", "latency", "loss"], "sr", {"kill": "k"}) == {
        "kill": "k",
        "latency": "l",
        "loss": "o",
    }
    assert assign_letters(["aa", "ab", "bb"], "", {}) == {"aa": "a", "ab": "c", "bb": "b"}
    assert assign_letters(["read-timeout", "total"], "r", {}) == {"read-timeout": "e", "total": "t"}
    assert assign_letters(["quit now"], "q", {"quit now": "q"}) == {"quit now": "n"}


@given(st.lists(st.text("abcdefghijkl -", min_size=1, max_size=8), unique=True, max_size=40))
def test_letters_never_clash(names: list[str]) -> None:
    keys = [key for key in assign_letters(names, "srq").values() if key]
    assert len(keys) == len(set(keys))
    assert not set(keys) & set("srq")


# --- knobs and faults ---------------------------------------------------------------------------------------------------


def _rows() -> list:  # type: ignore[type-arg]
    scenario = lesson()
    keys = {"service-time": "e", "keep-alive": "p", "body": "o", "latency": "l"}
    rows = knob_rows(scenario.all_knobs()[:4], {"latency": "80 ms"}, keys)
    faults = {"kill": (True, 1), "drop": (False, 3)}
    return [*rows, *(FaultRow(f.key, f, *faults[f.name]) for f in scenario.faults)]


def test_controls_say_everything_in_words() -> None:
    lines, owner = control_lines(_rows(), None, 36, UNICODE)
    assert joined(lines) == (
        " e service time    200 ms ●────────\n"
        " p keep-alive   [ on ]\n"
        " o body         ◄ small ►\n"
        " l latency          80 ms ─●───────\n"
        "─ faults ───────────────────────────\n"
        " k kill server              [ ON  ]\n"
        " x drop next message      [ do ] 3×"
    )
    assert owner == [0, 1, 2, 3, None, 4, 5]


def test_the_row_with_the_cursor_is_pointed_at_and_explained() -> None:
    lines, owner = control_lines(_rows(), Cursor(3, "200m"), 36, ASCII)
    text = joined(lines)
    assert ">l latency" in text
    assert "200m_ enter sets" in text
    assert "one way, on every link" in text
    assert len(lines) == len(owner)


@pytest.mark.parametrize("width", [24, 30, 36, 50])
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
def test_controls_keep_to_their_width(width: int, glyphs: object) -> None:
    lines, _ = control_lines(_rows(), Cursor(0), width, glyphs)  # type: ignore[arg-type]
    assert max(map(width_of, lines)) <= width


@given(st.sampled_from(NETWORK_KNOBS), st.lists(st.integers(-3, 3), max_size=30))
def test_the_command_for_a_knob_means_exactly_its_value(knob: Number, turns: list[int]) -> None:
    value = knob.default
    for turn in turns:
        value = knob.stepped(value, turn)
    name, _, text = command_for(knob, value).removeprefix("set ").partition(" ")
    assert name == knob.name
    assert knob.parse(text) == pytest.approx(value, rel=1e-12)
    assert 0.0 <= fraction(knob, value) <= 1.0


def test_a_command_is_exact_where_the_friendly_text_is_not() -> None:
    knob = Number("hold", "hold", "s", 200.0, 0.0, 1000.0, 1.0, "")
    assert command_for(knob, 200.0) == "set hold 200.0 s"
    assert command_for(knob, 0.08) == "set hold 80 ms"
    assert command_for(NETWORK_KNOBS[2], float("inf")) == "set bandwidth unlimited"


# --- numbers ------------------------------------------------------------------------------------------------------------


def test_sparkline() -> None:
    assert sparkline([0, 1, 2, 3], 10, UNICODE) == "▁▃▆█"
    assert sparkline([5, 5], 10, UNICODE) == "▁▁"
    assert sparkline(range(100), 5, ASCII).isascii()
    assert sparkline([1, None, 2], 5, UNICODE) == "▁ █"
    assert sparkline([], 5, UNICODE) == sparkline([None], 5, UNICODE) == ""


def test_numbers() -> None:
    readings = [Reading("requests", "7", (0, 1, 2)), Reading("delay p50", "41 ms", (1, 1, 8))]
    assert joined(number_lines(readings, 40, UNICODE)) == " requests      7 ▁▅█\n delay p50 41 ms ▁▁█"
    for width in (12, 20, 38):
        assert all(width_of(spans) <= width for spans in number_lines(readings, width, UNICODE))


# --- wire ---------------------------------------------------------------------------------------------------------------

PARTS = (
    Part(100, 121, "request line"),
    Part(121, 135, "header"),
    Part(135, 137, "empty line", "the end of the header", boundary=True),
)
WIRE = WireFacts("GET /hello", REQUEST, 100, PARTS, "no body", "curl http://server/hello")


def test_wire_names_every_part() -> None:
    text = joined(wire_lines(WIRE, 80, UNICODE, as_hex=False))
    assert text.splitlines()[0] == " GET /hello   37 bytes   ends by: no body"
    assert text.splitlines()[1] == " $ curl http://server/hello"
    assert "GET /hello HTTP/1.1␍␊" in text
    assert "◄ request line" in text
    assert "◄ empty line = the boundary: the end of the header" in text


def test_wire_in_hex_has_every_byte_once() -> None:
    for width in (70, 118):
        lines = wire_lines(WIRE, width, ASCII, as_hex=True)[2:]
        dump = "".join(text_of(spans)[8 : 8 + (48 if width > 100 else 24)] for spans in lines)
        assert bytes.fromhex(dump.replace(" ", "")) == REQUEST
        assert joined(lines).isascii()


def test_markup_in_the_bytes_is_just_bytes() -> None:
    evil = b"[/x] [bold]\x1b[31m\x00\xff"
    facts = WireFacts("evil", evil, 0, (Part(0, len(evil), "body"),))
    text = joined(wire_lines(facts, 80, UNICODE, as_hex=False))
    assert "[/x] [bold]·[31m··" in text
    assert "\x1b" not in text


@given(st.binary(max_size=3000), st.integers(40, 140), st.booleans(), st.sampled_from([UNICODE, ASCII]))
def test_wire_takes_any_bytes(data: bytes, width: int, as_hex: bool, glyphs: object) -> None:
    lines = wire_lines(WireFacts("x", data, 0, ()), width, glyphs, as_hex=as_hex)  # type: ignore[arg-type]
    assert all(span.text.isprintable() for spans in lines for span in spans)


def test_a_long_body_is_counted_not_shown() -> None:
    lines = wire_lines(WireFacts("x", bytes(100_000), 0, ()), 80, UNICODE, as_hex=True)
    assert len(lines) < 410
    assert text_of(lines[-1]).endswith("more bytes")


def test_nothing_on_the_wire_is_invisible() -> None:
    assert byte_text(b"a\r\n\t\x00\xe4", UNICODE) == "a␍␊→··"


# --- story, palette, help -----------------------------------------------------------------------------------------------

STORY = StoryFacts("Watch the boundary.", (Told(1.25, "The client asked."),), ("A request.",), ("Kill the server.",))


def test_story_newest_first_suggestions_beside_or_below() -> None:
    wide = joined(story_lines(STORY, 110, 8, UNICODE))
    assert "1.250 s  The client asked." in wide
    assert "│  Try next" in wide
    narrow = joined(story_lines(STORY, 60, 5, UNICODE)).splitlines()
    assert narrow[0] == " ► A request."
    assert narrow[-2:] == [" Try next", " ● Kill the server."]
    two = StoryFacts("Look.", (Told(1, "a short one"), Told(0, "a long one " * 20)), (), ("Do it.",))
    assert joined(story_lines(two, 60, 5, UNICODE)).splitlines() == [
        "    1.000 s  a short one",
        " Try next",
        " ● Do it.",
    ]
    for width in (60, 80, 110, 200):
        assert all(width_of(spans) <= width for spans in story_lines(STORY, width, 5, UNICODE))


ENTRIES = [Entry("play or pause", "Time", "play", "space"), Entry("to the live end", "Time", "end", "end")]


def test_finding_by_words() -> None:
    assert [entry.value for entry in matching(ENTRIES, "")] == ["play", "end"]
    assert [entry.value for entry in matching(ENTRIES, "liv en")] == ["end"]
    assert matching(ENTRIES, "xyz") == []
    assert joined(entry_lines([], 0, 40, UNICODE)[0]) == "   nothing is called that"


@pytest.mark.parametrize("tall", [False, True])
def test_entries_keep_to_their_width(tall: bool) -> None:
    lines, owner = entry_lines(ENTRIES, 1, 40, UNICODE, tall=tall)
    assert all(width_of(spans) <= 40 for spans in lines)
    assert len(lines) == len(owner)


def test_help_has_every_row_in_any_width() -> None:
    groups = {"Time": [HelpRow("space", "play or pause")], "Find": [HelpRow("?", "this help"), HelpRow(":", "palette")]}
    for width in (40, 80, 120):
        text = joined(help_lines(groups, ["What this is."], width))
        assert all(word in text for word in ("What this is.", "Time", "play or pause", "this help", "palette"))


def test_plain_keeps_columns() -> None:
    text = "● LIVE ►─│ … × ä"
    assert plain(text).isascii()
    assert len(plain(text)) == len(text)


def test_both_glyph_sets_are_single_cells() -> None:
    for name in UNICODE.__slots__:
        shown = getattr(UNICODE, name)
        assert width_of(line(Span(shown))) == len(shown)
        assert getattr(ASCII, name).isascii()


def test_fault_that_happens_once_has_no_state() -> None:
    once = FaultRow("x", Fault("drop", "drop", "x", "drop next", ""), False, 0)
    assert "[ do ]" in joined(control_lines([once], None, 30, UNICODE)[0])
