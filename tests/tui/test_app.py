"""The app under the hands of a person: keys, knobs, faults, time, panels; no real time passes."""

import threading

import pytest
from textual.events import Key, MouseScrollUp
from textual.geometry import Offset

from tests.tui.driving import Drive, driving
from tests.tui.fake_lab import FakeLab
from tui.app import CommtuiApp
from tui.bindings import ACTIONS
from tui.panels.controls import KnobRow
from tui.panels.header import Standing
from tui.screens.help import HelpScreen
from tui.screens.picker import PickerScreen
from tui.widgets.top import ScrubBar

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# --- opening ------------------------------------------------------------------------------------------------------------


async def test_opens_playing_on_the_first_pattern_with_a_hint() -> None:
    async with driving() as d:
        text = d.text()
        assert "1 Request / response ► Simple GET" in d.row(0)
        assert "● LIVE" in d.row(0)
        assert "5.65 s" in d.row(0)
        assert "[1 Req/Resp] 4 Short poll" in d.row(1)
        assert "space pauses" in d.row(35)
        assert d.row(35).startswith(" ? help")
        for words in ("GET /hello", "latency", "40 ms", "kill server", "requests", "Try next"):
            assert words in text


async def test_the_first_screen_stands_before_the_engine_is_there() -> None:
    lab = FakeLab()
    app = CommtuiApp(load=lab.load, frames_a_second=0)
    app._load_behind = lambda: None  # type: ignore[method-assign]
    async with app.run_test(size=(80, 24)) as pilot:
        d = Drive(app, lab, pilot)
        await d.frame()
        assert "starting the laboratory" in d.row(0)
        assert "○ STARTING" in d.row(0)
        await d.press("space", "full_stop", "K", "Z", "s", "r", "left", "end", "question_mark", "escape")
        assert lab.sessions == []


async def test_an_engine_that_does_not_load_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def broken() -> object:
        raise RuntimeError("no module named trio")

    app = CommtuiApp(load=broken, frames_a_second=0)  # type: ignore[arg-type]
    async with app.run_test(size=(120, 36)) as pilot:
        d = Drive(app, FakeLab(), pilot)
        while "did not start" not in d.row(0):
            await d.frame()
        assert "no module named trio" in d.row(35)
        assert str(tmp_path)[:10] in d.row(35)


async def test_asked_for_pattern_and_scenario() -> None:
    async with driving(pattern="request-response", scenario="slow") as d:
        assert "A slow server" in d.row(0)


# --- time ---------------------------------------------------------------------------------------------------------------


async def test_play_and_pause() -> None:
    async with driving() as d:
        await d.press("space")
        assert "║ PAUSED" in d.row(0)
        await d.press("space")
        assert "● LIVE" in d.row(0)


async def test_a_step_goes_to_the_next_fact() -> None:
    async with driving() as d:
        await d.press("full_stop")
        assert d.tab.playback.standing is Standing.PAUSED
        assert "5.800 s" in d.row(0)


async def test_looking_back_leaves_the_engine_and_end_returns() -> None:
    async with driving() as d:
        await d.press("left")
        assert "◄ REVIEW" in d.row(0)
        assert "5.550 s" in d.row(0)
        assert d.lab.session.status.state.value == "paused"
        assert d.lab.session.status.now_s == 5.65
        await d.press("shift+left")
        assert "4.550 s" in d.row(0)
        await d.press("comma")
        assert "3.800 s" in d.row(0)
        await d.press("full_stop")
        assert "4.800 s" in d.row(0)
        await d.press("home")
        assert "0.000 s" in d.row(0)
        await d.press("end")
        assert "● LIVE" in d.row(0)
        assert d.lab.session.status.state.value == "playing"


async def test_a_review_that_plays_catches_up_and_lives_on() -> None:
    async with driving() as d:
        await d.press("home", "space")
        d.real_s = 2.0
        await d.frame()
        assert "◄ REVIEW ►" in d.row(0)
        assert "2.000 s" in d.row(0)
        d.real_s = 7.0
        await d.frame()
        assert "● LIVE" in d.row(0)


async def test_pace_goes_from_a_tenth_to_flat_out() -> None:
    async with driving() as d:
        await d.press("plus")
        assert "×2" in d.row(0)
        await d.press(*["plus"] * 9)
        assert "flat out" in d.row(0)
        await d.press(*["minus"] * 20)
        assert "×0.1" in d.row(0)


async def test_restart_keeps_the_seed_and_the_knobs() -> None:
    async with driving() as d:
        await d.press("l", "right")
        first = d.lab.session
        await d.press("escape", "r")
        assert first is not d.lab.session
        assert d.lab.session.seed == 7
        assert d.lab.session.knob_values()["latency"] == pytest.approx(0.05)
        assert "50 ms" in d.text()
        await d.press("R")
        assert d.lab.session.seed != 7
        assert f"seed {d.lab.session.seed}" in d.row(0)


async def test_dragging_the_scrub_bar() -> None:
    async with driving() as d:
        bar = d.screen.query_one(ScrubBar)
        await d.pilot.mouse_down(bar, offset=Offset(0, 0))
        await d.frame()
        assert "0.000 s" in d.row(0)
        await d.pilot.hover(bar, offset=Offset((bar.size.width - 1) // 2, 0))
        await d.pilot.mouse_up(bar, offset=Offset((bar.size.width - 1) // 2, 0))
        await d.frame()
        assert "◄ REVIEW" in d.row(0)
        assert 2.0 < d.tab.playback.playhead_s < 3.5


# --- knobs and faults ---------------------------------------------------------------------------------------------------


async def test_a_letter_goes_to_its_knob_and_arrows_turn_it() -> None:
    async with driving() as d:
        await d.press("l", "right", "right", "left")
        assert d.lab.session.given == ["set latency 50 ms", "set latency 60 ms", "set latency 50 ms"]
        assert "►l latency" in d.text()
        assert "one way, on every link" in d.text()
        assert "50 ms" in d.text()


async def test_fast_keys_are_all_counted() -> None:
    async with driving() as d:
        await d.press("l")
        d.screen.wake = lambda: None  # type: ignore[method-assign]  # no frame between the keys
        await d.pilot.press("right", "right", "right")
        assert d.lab.session.given[-1] == "set latency 70 ms"


async def test_typing_a_value_with_its_unit() -> None:
    async with driving() as d:
        await d.press("l", "1", ".", "5", "s")
        assert "1.5s▏" in d.text()
        await d.press("enter")
        assert d.lab.session.given == ["set latency 1.5 s"]
        await d.press("enter", "9", "9", "s", "enter")
        assert "latency goes from 0 s to 10 s" in d.row(35)
        await d.press("escape", "escape")
        assert d.tab.diagram.has_focus


async def test_default_comes_back() -> None:
    async with driving() as d:
        await d.press("l", "right", "delete")
        assert d.lab.session.given[-1] == "set latency 40 ms"


async def test_toggle_and_choice_from_anywhere() -> None:
    async with driving() as d:
        await d.press("a")
        assert d.lab.session.given == ["set keep-alive off"]
        assert "[ off ]" in d.text()
        await d.press(
            next(row.key for row in d.tab.controls.rows if isinstance(row, KnobRow) and row.knob.name == "body")
        )
        assert d.lab.session.given[-1] == "set body large"
        assert d.tab.diagram.has_focus


async def test_the_wheel_turns_a_knob() -> None:
    async with driving() as d:
        controls = d.tab.controls
        row = next(y for y in range(12) if "latency" in d.row(controls.content_region.y + y))
        await d.pilot._post_mouse_events([MouseScrollUp], controls, offset=(5, row + 1))
        await d.frame()
        assert d.lab.session.given == ["set latency 50 ms"]


async def test_a_lasting_fault_goes_on_and_off_in_words() -> None:
    async with driving() as d:
        await d.press("k")
        assert "[ ON  ]" in d.text()
        await d.press("k")
        assert d.lab.session.given == ["kill server", "restart server"]
        assert "[ ON  ]" not in d.text()
        await d.press("x")
        assert "1×" in d.text()


async def test_knobs_in_review_show_the_past_and_turning_one_makes_a_branch() -> None:
    async with driving() as d:
        await d.press("l", "right")
        await d.advance(1.0)
        await d.press("escape", "shift+left", "left")
        assert "40 ms" in next(line for line in d.text().splitlines() if "latency" in line)
        await d.press("l", "right")
        assert "50 ms" in next(line for line in d.text().splitlines() if "l latency" in line)
        assert "what if: set latency 50 ms at 5.550 s" in d.row(35)
        d.real_s += 1.0
        await d.frame()
        assert [session.given for session in d.lab.sessions] == [["set latency 50 ms"], ["set latency 50 ms"]]
        assert "5.55 s" in d.row(0)


# --- panels and screens -------------------------------------------------------------------------------------------------


async def test_panes() -> None:
    async with driving() as d:
        await d.press("W")
        assert "► wire" in d.text()
        assert "HTTP/1.1 200 OK␍␊" in d.text()
        await d.press("up", "up", "up", "up")
        assert "GET /hello HTTP/1.1␍␊" in d.text()
        assert "$ curl" in d.text()
        await d.press("H")
        assert "47 45 54 20" in d.text()
        await d.press("S")
        assert "This is a" in d.text()
        await d.press("S")
        assert "► story" not in d.text()


async def test_tabs_by_digit_brackets_and_click() -> None:
    async with driving() as d:
        await d.press("4")
        assert "Short polling" in d.row(0)
        assert d.lab.sessions[0].status.state.value == "paused"
        await d.press("1")
        assert "Request / response" in d.row(0)
        assert d.lab.sessions[0].status.state.value == "playing"
        assert len(d.lab.sessions) == 2
        await d.press("right_curly_bracket")
        assert "Short polling" in d.row(0)
        await d.pilot.click("TabBar", offset=Offset(4, 0))
        await d.frame()
        assert "Request / response" in d.row(0)


async def test_scenario_picker() -> None:
    async with driving() as d:
        await d.press("s")
        assert isinstance(d.app.screen, PickerScreen)
        assert "One question, one answer" in d.text()
        await d.type("slow")
        await d.press("enter")
        assert "A slow server" in d.row(0)
        assert len(d.lab.sessions) == 2


async def test_palette_has_every_action_and_takes_commands() -> None:
    async with driving() as d:
        await d.press("colon")
        assert isinstance(d.app.screen, PickerScreen)
        await d.type("set latency 200ms")
        await d.press("enter")
        assert d.lab.session.given == ["set latency 200ms"]
        await d.press("ctrl+p")
        await d.type("pause")
        await d.press("enter")
        assert "PAUSED" in d.row(0)
        await d.press("colon")
        await d.type("zoom the")
        await d.press("escape")
        assert not isinstance(d.app.screen, PickerScreen)


async def test_help_lists_every_key_and_action() -> None:
    async with driving(size=(132, 60)) as d:
        await d.press("question_mark")
        assert isinstance(d.app.screen, HelpScreen)
        words = " ".join(d.text().split())
        for action in ACTIONS:
            assert " ".join(action.shown.split()) in words
            assert action.text.split()[0] in words
        for text in ("Short polling", "kill server", "latency"):
            assert text in words
        await d.press("x", "y", "y")
        assert not isinstance(d.app.screen, HelpScreen)
        assert d.lab.session.given == []


async def test_keys_faster_than_a_dialog_closes() -> None:
    async with driving() as d:
        for opening in ("question_mark", "colon", "s"):
            await d.press(opening)
            dialog = d.app.screen
            for _ in range(3):
                dialog.post_message(Key("escape", None))
            await d.frame()
            assert d.app.screen is d.screen


async def test_zoom_scale_and_detail() -> None:
    async with driving() as d:
        await d.press("Z")
        assert "knobs" not in d.text()
        await d.press("C")
        assert d.tab.diagram.mode == "scale"
        await d.press("P")
        assert d.tab.diagram.detail == "packets"
        await d.press("Z")
        assert "knobs" in d.text()


# --- sizes --------------------------------------------------------------------------------------------------------------


async def test_at_80x24_panels_fold_and_keys_bring_them() -> None:
    async with driving(size=(80, 24)) as d:
        assert "─ knobs" not in d.text()
        assert d.row(23).startswith(" ? help")
        await d.press("K")
        assert "─ knobs" in d.text()
        assert "latency" in d.text()
        await d.press("N")
        assert "─ numbers" in d.text()
        assert "─ knobs" not in d.text()
        await d.press("escape")
        assert "─ numbers" not in d.text()
        await d.press("l")
        assert "─ knobs" in d.text()
        await d.press("W")
        assert "HTTP/1.1 200 OK" in d.text()


async def test_too_small_says_so_and_comes_back() -> None:
    async with driving(size=(80, 24)) as d:
        await d.pilot.resize_terminal(40, 10)
        await d.frame()
        assert "Enlarge" in " ".join(d.text().split())
        await d.pilot.resize_terminal(80, 24)
        await d.frame()
        assert "LIVE" in d.row(0)
        assert "Enlarge" not in d.text()


@pytest.mark.parametrize("size", [(60, 18), (80, 24), (100, 30), (120, 36), (200, 50)])
async def test_every_size_has_header_diagram_and_help(size: tuple[int, int]) -> None:
    async with driving(size=size) as d:
        assert "LIVE" in d.row(0)
        assert "GET /hello" in d.text()
        assert d.row(size[1] - 1).startswith(" ? help")


# --- manners ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_ascii_is_ascii_everywhere(size: tuple[int, int]) -> None:
    async with driving(size=size, ascii=True) as d:
        for keys in ((), ("W",), ("H",), ("K",), ("question_mark",), ("escape",), ("colon",), ("escape",), ("s",)):
            await d.press(*keys)
            assert d.text().isascii(), [line for line in d.text().splitlines() if not line.isascii()]


async def test_ascii_and_theme_can_be_switched() -> None:
    async with driving() as d:
        await d.press("A")
        assert d.text().isascii()
        await d.press("A")
        assert "●" in d.text()
        await d.press("T")
        assert d.app.theme == "classroom-light"
        await d.press("T")
        assert d.app.theme == "classroom-dark"


async def test_without_motion_the_playhead_jumps_from_fact_to_fact() -> None:
    async with driving(motion=False) as d:
        assert "5.40 s" in d.row(0)
        before = d.text()
        await d.advance(0.1)
        assert d.text() == before
        await d.advance(0.1)
        assert "5.80 s" in d.row(0)


async def test_when_nothing_moves_nothing_is_drawn() -> None:
    async with driving() as d:
        await d.press("space")
        await d.frame()
        drawn = []
        for widget in d.screen.query("*"):
            widget.refresh = lambda *regions, w=widget, **_: drawn.append(w)  # type: ignore[assignment,method-assign]
        for _ in range(5):
            assert d.screen.draw() is False
        assert drawn == []


async def test_ctrl_c_only_hints_and_q_quits() -> None:
    async with driving() as d:
        await d.press("ctrl+c")
        assert "ctrl+c does not quit; press q" in d.row(35)
        await d.pilot.press("q")
        await d.pilot.pause()
        assert not d.app.is_running
    for thread in threading.enumerate():
        if thread.name == "closing a session":
            thread.join()
    assert [session.closed for session in d.lab.sessions] == [True]


async def test_a_failed_session_says_why_and_r_starts_again() -> None:
    async with driving() as d:
        d.lab.session.fail("server: ZeroDivisionError: division by zero")
        await d.frame()
        assert "╳ FAILED" in d.row(0)
        assert "division by zero: press r to start again" in d.row(35)
        await d.press("r")
        assert "● LIVE" in d.row(0)


async def test_keys_can_be_changed() -> None:
    async with driving(keys={"zoom": "f5"}) as d:
        await d.press("f5")
        assert "knobs" not in d.text()
        await d.press("f5")
        await d.press("Z")
        assert "knobs" in d.text()
        assert d.app.keys_shown["zoom"] == "f5"
