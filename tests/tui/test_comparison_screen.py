"""Comparing patterns under the hands of a person: first with fake sessions, then with real ones that stand still."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from tests.shots import screen_text
from tests.tui.contest import open_paused, rings
from tests.tui.driving import Drive, driving
from tui.app import CommtuiApp
from tui.beginning import Beginning
from tui.bindings import COMPARISON_ACTIONS
from tui.loading import load_engine
from tui.screens.comparison import ComparisonScreen
from tui.screens.contenders import ContenderPicker
from tui.screens.help import HelpScreen

pytestmark = pytest.mark.anyio
PATIENCE_S = 60


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def comparing(size: tuple[int, int] = (120, 36), seconds: float = 5.65) -> AsyncIterator[Drive]:
    """The comparison of the two fake patterns, so many seconds into it."""
    async with driving(size=size) as d:
        await d.press("V", "enter")
        assert isinstance(d.app.screen, ComparisonScreen)
        await passing(d, seconds)
        yield d


async def passing(d: Drive, seconds: float) -> None:
    """Real time passes, a fifth of a second a frame."""
    until = round(d.real_s + seconds, 6)
    await d.frame()
    while d.real_s < until:
        d.real_s = round(min(until, d.real_s + 0.2), 6)
        await d.frame()


async def test_the_picker_offers_who_does_the_same_work() -> None:
    async with driving() as d:
        await d.press("V")
        assert isinstance(d.app.screen, ContenderPicker)
        for words in ("► Greetings", "[x] Request / response  Simple GET", "[x] Short polling       A long job"):
            assert words in d.text()
        await d.press("down", "space")
        assert "[ ] Request / response" in d.text()
        await d.press("enter")
        assert "take in two at least" in d.text()
        await d.press("escape")
        assert not isinstance(d.app.screen, ContenderPicker)
        assert len(d.lab.sessions) == 1


async def test_side_by_side_with_one_clock_and_one_table() -> None:
    async with comparing() as d:
        assert "Comparison ► Greetings" in d.row(0)
        assert "● LIVE     5.65 s" in d.row(0)
        assert "[1 Req/Resp] 4 Short poll" in d.row(1)
        assert d.row(2).count("─  ") == 2
        assert d.row(9).count("│   ") >= 2
        heads = next(y for y in range(36) if "request-response" in d.row(y))
        assert "short-polling" in d.row(heads)
        requests = next(d.row(y) for y in range(heads, 36) if d.row(y).lstrip().startswith("requests"))
        assert requests.split()[1:3] == ["3", "3"]
        assert [session.status.now_s for session in d.lab.sessions[1:]] == [5.65, 5.65]


async def test_the_lesson_waits_and_comes_back() -> None:
    async with comparing() as d:
        assert d.lab.sessions[0].status.state.value == "paused"
        await d.press("escape")
        assert d.app.screen is d.screen
        assert d.lab.sessions[0].status.state.value == "playing"
        while not all(session.closed for session in d.lab.sessions[1:]):
            await d.pilot.pause()


async def test_time_is_steered_for_all() -> None:
    async with comparing() as d:
        await d.press("space")
        assert "║ PAUSED    5.650 s" in d.row(0)
        await d.press("full_stop")
        assert "5.800 s" in d.row(0)
        await d.press("left")
        assert "◄ REVIEW    5.700 s" in d.row(0)
        await d.press("comma")
        assert "5.400 s" in d.row(0)
        await d.press("home")
        assert "0.000 s" in d.row(0)
        await d.press("end", "plus", "space")
        await passing(d, 1.0)
        assert "● LIVE     7.80 s  ×2" in d.row(0)


async def test_a_shared_knob_turns_for_all_of_them() -> None:
    async with comparing() as d:
        await d.press("l", "right", "right")
        await passing(d, 0.2)
        assert [session.given[-1] for session in d.lab.sessions[1:]] == ["set latency 60 ms"] * 2
        assert "60 ms" in d.text()
        await d.press("escape", "k")
        await passing(d, 0.2)
        assert [session.given[-1] for session in d.lab.sessions[1:]] == ["kill server"] * 2
        assert "[ ON  ]" in d.text()


async def test_an_order_by_hand() -> None:
    async with comparing() as d:
        await d.press("colon")
        await d.type("set service-time 1 s")
        await d.press("enter")
        assert [session.given for session in d.lab.sessions[1:]] == [["set service-time 1 s"]] * 2
        assert d.lab.sessions[0].given == []


async def test_again_with_the_knobs_as_they_stood() -> None:
    async with comparing() as d:
        await d.press("l", "right", "escape")
        await passing(d, 0.2)
        await d.press("r")
        assert len(d.lab.sessions) == 5
        assert [session.knob_values()["latency"] for session in d.lab.sessions[3:]] == [pytest.approx(0.05)] * 2
        assert "0.00 s" in d.row(0)
        assert "50 ms" in d.text()
        await d.press("R")
        assert d.lab.sessions[-1].seed == d.lab.sessions[-2].seed != 7
        assert f"seed {d.lab.session.seed}" in d.row(0)


async def test_the_focus_goes_from_pattern_to_pattern() -> None:
    async with comparing() as d:
        await d.press("right_curly_bracket")
        assert "[4 Short poll]" in d.row(1)
        await d.press("right_curly_bracket")
        assert "[1 Req/Resp]" in d.row(1)
        await d.press("4")
        assert "[4 Short poll]" in d.row(1)
        await d.press("K")
        assert "►" in d.text().split("knobs of several")[1]
        await d.press("escape")
        assert isinstance(d.app.screen, ComparisonScreen)
        assert "[4 Short poll]" in d.row(1)


async def test_looks_apply_to_all_of_them() -> None:
    async with comparing() as d:
        screen = d.app.screen
        assert isinstance(screen, ComparisonScreen)
        await d.press("C", "P")
        assert [(diagram.mode, diagram.detail) for diagram in screen.diagrams] == [("scale", "packets")] * 2
        await d.press("right_square_bracket")
        assert len({diagram.row_s for diagram in screen.diagrams}) == 1
        await d.press("A", "T")
        assert d.text().isascii(), [row for row in d.text().splitlines() if not row.isascii()]
        await d.press("Z")
        assert "numbers" not in d.text()
        await d.press("Z", "N")
        assert "numbers" not in d.text()
        await d.press("N")
        assert "numbers" in d.text()


@pytest.mark.parametrize("size", [(60, 18), (80, 24), (120, 36), (200, 50)])
async def test_every_size_has_clock_diagram_table_and_help(size: tuple[int, int]) -> None:
    async with comparing(size=size) as d:
        assert "LIVE" in d.row(0)
        assert "GET" in d.text()
        assert "requests" in d.text()
        assert d.row(size[1] - 1).startswith(" ? help")
        await d.pilot.resize_terminal(40, 10)
        await d.frame()
        assert "Enlarge" in " ".join(d.text().split())


async def test_help_tells_the_keys_of_the_comparison() -> None:
    async with driving(size=(132, 60)) as d:
        await d.press("V", "enter", "question_mark")
        assert isinstance(d.app.screen, HelpScreen)
        words = " ".join(d.text().split())
        for action in COMPARISON_ACTIONS:
            assert " ".join(action.shown.split()) in words
        assert "latency" in words
        assert "scenario" not in words


async def test_one_that_fails_is_told_and_the_other_goes_on() -> None:
    async with comparing() as d:
        await d.press("space", "space")
        d.lab.session.fail("server: ZeroDivisionError")
        await passing(d, 1.0)
        assert "Short polling: server: ZeroDivisionError" in d.row(35)
        assert "6.65 s" in d.row(0)


async def test_when_nothing_moves_nothing_is_drawn() -> None:
    async with comparing() as d:
        await d.press("space")
        await d.frame()
        drawn = []
        for widget in d.app.screen.query("*"):
            widget.refresh = lambda *regions, w=widget, **_: drawn.append(w)  # type: ignore[assignment,method-assign]
        screen = d.app.screen
        assert isinstance(screen, ComparisonScreen)
        for _ in range(5):
            assert screen.draw() is False
        assert drawn == []


async def test_real_sessions_standing_still() -> None:
    group = tuple(rings(name, key, delay) for name, key, delay in (("quick", "1", 0.25), ("slow", "2", 0.375)))
    app = CommtuiApp(
        load=lambda: replace(load_engine(), patterns=tuple(c.pattern for c in group), open_session=open_paused),
        beginning=Beginning(seed=7),
        now=lambda: 0.0,
        frames_a_second=0,
    )
    async with app.run_test(size=(120, 36)) as pilot:
        while app.lab_screen.tab is None:
            await pilot.pause()
        await pilot.press("V", "enter")
        screen = app.screen
        assert isinstance(screen, ComparisonScreen)
        for order in (lambda: None, lambda: screen.ensemble.command("set rate 2/s")):
            order()
            screen.ensemble.run_until(screen.ensemble.status.now_s + 10.0)
            assert screen.ensemble.wait_idle(PATIENCE_S)
        for _ in range(5):
            screen.draw()
            await pilot.pause()
        text = screen_text(app)
        assert "║ PAUSED   20.000 s" in text
        assert text.count("event 20") >= 2
        means = next(row for row in text.splitlines() if row.startswith(" event delay mean"))
        assert means.split()[3:7] == ["250", "ms", "375", "ms"]
