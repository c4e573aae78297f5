"""The pool panel: what it says as text, in any width, and where it stands on the screen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.lab import facts as f
from engines.lab.facts import Fact, Text
from engines.pools import Member, Pool, Request
from tests.tui.driving import Drive, driving
from tui.panels.glyphs import ASCII, UNICODE, Glyphs
from tui.panels.lines import joined, width_of
from tui.panels.pool import pool_lines

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def pool(waiting: int = 0, size: int = 6, host: str = "app") -> Pool:
    """Connection 1 busy, 2 opening, 3 idle, and so many in line."""
    busy, opening, idle = Member(1, 10.0, True), Member(2, 11.5), Member(3, 8.0, True)
    busy.requests[1] = Request(1, "order 1", 10.0)
    opening.requests[2] = Request(2, "order 2", 11.5)
    queue = {n: Request(n, f"order {n}", 11.0) for n in range(3, 3 + waiting)}
    return Pool(1, host, size, {1: busy, 2: opening, 3: idle}, queue)


def test_every_state_has_a_word_and_a_glyph() -> None:
    assert joined(pool_lines([pool(2)], 12.0, 38, 9, UNICODE)) == (
        " pool of app      at most 6 at a time\n"
        " ▒2 queued █1 busy ◆1 opening ○1 idle\n"
        " ▒▒ ► █◆○···\n"
        " ▒     queued  order 3          1.0 s\n"
        " █   1 busy    order 1          2.0 s\n"
        " ◆   2 opening order 2          0.5 s\n"
        " ○   3 idle                     4.0 s\n"
        " ▒     queued  order 4          1.0 s"
    )


def test_in_plain_ascii() -> None:
    text = joined(pool_lines([pool(1)], 12.0, 60, 9, ASCII))
    assert text.isascii()
    assert " w 1 queued  # 1 busy  + 1 opening  o 1 idle\n w > #+o...\n" in text


def test_what_has_no_room_is_counted() -> None:
    lines = joined(pool_lines([pool(30)], 12.0, 38, 8, UNICODE)).splitlines()
    assert len(lines) == 8
    assert lines[-1] == "   and 29 more"


def test_a_label_that_is_cut_says_so() -> None:
    member = Member(1, 0.0, True, {1: Request(1, "GET /orders/1?after=1000", 0.0)})
    text = joined(pool_lines([Pool(1, "client", 6, {1: member})], 1.0, 38, 9, UNICODE))
    assert " █   1 busy    GET /orders/1?…  1.0 s" in text


def test_many_requests_on_one_connection() -> None:
    member = Member(1, 0.0, True, {n: Request(n, f"GET /{n}", 0.0) for n in range(20)})
    text = joined(pool_lines([Pool(1, "client", 100, {1: member})], 1.0, 60, 9, UNICODE))
    assert "█ 20 busy" in text
    assert "█" * 20 + "·" in text
    assert "1 busy    20 requests, GET /0 to GET /19" in text


def test_an_empty_pool_and_none() -> None:
    assert joined(pool_lines([Pool(1, "app", 3)], 0.0, 40, 9, UNICODE)).splitlines()[1:] == [" empty", "  ► ···"]
    assert "No pool here" in joined(pool_lines([], 0.0, 60, 9, UNICODE))


@given(
    st.lists(st.builds(pool, st.integers(0, 300), st.integers(0, 200), st.text("abc", max_size=30)), max_size=3),
    st.integers(20, 130),
    st.integers(3, 20),
    st.sampled_from([UNICODE, ASCII]),
)
def test_it_keeps_to_its_room(pools: list[Pool], width: int, height: int, glyphs: Glyphs) -> None:
    lines = pool_lines(pools, 12.0, width, height, glyphs)
    assert all(width_of(spans) <= width for spans in lines)
    assert len(lines) <= max(height, 3 * len(pools), 1)


# --- on the screen ----------------------------------------------------------------------------------------------------------


async def happens(d: Drive, *facts: Fact) -> None:
    """Facts about a pool of the client's, now."""
    for fact in facts:
        d.lab.session.trace.record(fact, d.lab.session.status.now_s)
    await d.frame()
    await d.frame()


def queued(*tickets: int) -> list[Fact]:
    return [f.PoolQueued(1, "client", ticket, Text(f"GET /{ticket}")) for ticket in tickets]


FULL = [f.PoolCreated(1, "client", 1), *queued(1), f.PoolAssigned(1, "client", 1, 1, "opened"), *queued(2, 3)]


async def test_a_run_without_a_queue_shows_no_pool() -> None:
    async with driving() as d:
        await happens(d, f.PoolCreated(1, "client", 6), *queued(1), f.PoolAssigned(1, "client", 1, 1, "opened"))
        assert "pool" not in d.text()
        assert not d.tab.pool_view.is_on_screen


async def test_a_queue_is_drawn_beside_the_diagram_as_it_is_at_the_playhead() -> None:
    async with driving() as d:
        await d.press("space")
        await happens(d, *FULL)
        assert "pool of client" in d.text()
        assert "▒ 2 queued  ◆ 1 opening" in d.text()
        assert "story │ wire │ code │ timeline │ pool" in d.text()
        await d.advance(0.05)
        await happens(d, f.PoolOpened(1, "client", 1))
        assert "▒ 2 queued  █ 1 busy" in d.text()
        await d.press("comma")
        assert "▒ 2 queued  ◆ 1 opening" in d.text(), "the pool of that moment"
        await d.press("home")
        assert "pool of client" not in d.text(), "it was not there yet"
        assert not d.tab.pool_view.is_on_screen, "as it was when that moment was played"
        await d.press("end")
        assert "▒ 2 queued  █ 1 busy" in d.text()


async def test_it_can_be_told_without_colours_and_without_box_characters() -> None:
    async with driving() as d:
        await happens(d, *FULL)
        await d.press("A")
        assert "w 2 queued  + 1 opening" in d.text()
        assert " ww > +" in d.text()


async def test_on_a_small_screen_it_is_a_pane() -> None:
    async with driving(size=(80, 24)) as d:
        await happens(d, *FULL)
        assert not d.tab.pool_view.is_on_screen
        await d.press("O")
        assert "► pool" in d.text()
        assert "▒ 2 queued  ◆ 1 opening" in d.text()
        await d.press("S")
        assert "2 queued" not in d.text()


async def test_the_pane_says_so_when_there_is_no_pool() -> None:
    async with driving() as d:
        assert "pool" not in d.text()
        await d.press("O")
        assert "No pool here that several requests share" in d.text()


async def test_another_run_begins_without_one() -> None:
    async with driving() as d:
        await happens(d, *FULL)
        assert "pool of client" in d.text()
        await d.press("r")
        assert "pool of client" not in d.text()
        assert not d.tab.pool_view.is_on_screen
