"""The comparison's table and the choice of who takes part, as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.panels.choosing import Choosing, Offer, choosing_lines
from tui.panels.comparison import Table, comparison_table, table_lines, table_text, window
from tui.panels.glyphs import UNICODE
from tui.panels.lines import joined, width_of

VALUES: list[dict[str, float | None]] = [
    {"events": 7.0, "events-lost": 0.0, "event-delay": 0.15, "empty": None},
    {"events": 7.0, "events-lost": 0.0, "event-delay": None, "empty": 12.0},
]
TABLE = comparison_table(["push", "short-polling"], VALUES)
OFFERS = (
    Offer("notifications", (("Push", "Notifications"), ("Short polling", "Notifications by polling"))),
    Offer("long-job", (("Short polling", "A long job"), ("Long polling", "Held until ready"))),
)


def test_a_row_a_number_and_nothing_that_is_nothing_everywhere() -> None:
    assert TABLE.heads == ("push", "short-polling")
    assert [row[1:] for row in TABLE.rows] == [("7", "7"), ("150 ms", "–"), ("–", "12")]


def test_the_text_for_a_terminal() -> None:
    lines = table_text(TABLE).splitlines()
    assert lines[0].split() == ["push", "short-polling"]
    assert len({line.rstrip()[-1] for line in lines[1:]} & {"7", "–", "2"}) == 3
    assert {len(line) for line in lines} == {len(lines[0])}


@pytest.mark.parametrize("width", [36, 48, 80])
def test_the_table_keeps_to_its_width_and_its_values(width: int) -> None:
    lines = table_lines(TABLE, width, UNICODE, focused=1)
    assert all(width_of(spans) <= width for spans in lines)
    for text in ("150 ms", "12", "–"):
        assert text in joined(lines)


def test_a_table_before_anything_happened_has_its_heads() -> None:
    assert "push" in joined(table_lines(Table(("push", "sse"), ()), 80, UNICODE, focused=0))


@given(st.integers(1, 10), st.data(), st.integers(1, 400))
def test_the_window_always_shows_the_focused(total: int, data: st.DataObject, width: int) -> None:
    focused, first = (data.draw(st.integers(0, total - 1)) for _ in range(2))
    shown = window(focused, first, total, width)
    assert focused in shown
    assert 0 <= shown.start < shown.stop <= total
    assert len(shown) == max(1, min(total, width // 38))


def test_two_fit_in_80_columns_and_three_in_120() -> None:
    assert [len(window(0, 0, 4, width)) for width in (60, 80, 120, 160)] == [1, 2, 3, 4]


def test_choosing_who_takes_part() -> None:
    choosing = Choosing(OFFERS)
    assert choosing.taking_part() == [0, 1]
    out = choosing.moved(1).toggled()
    assert out.taking_part() == [1]
    assert out.toggled().taking_part() == [0, 1]
    assert choosing.toggled().taking_part() == []
    assert choosing.toggled().toggled().taking_part() == [0, 1]
    assert out.on_workload("long-job").taking_part() == [0, 1]
    assert out.moved(-9).row == 0
    assert out.moved(99).offer == 1


def test_the_choice_as_text() -> None:
    text = joined(choosing_lines(Choosing(OFFERS).moved(1).toggled(), 60, UNICODE)).splitlines()
    assert text[0] == "   Notifications"
    assert text[1] == " ►   [ ] Push           Notifications"
    assert text[2] == "     [x] Short polling  Notifications by polling"
    assert text[3] == "   Long job"
