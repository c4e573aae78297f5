"""Going back, asking what if, and looking at two answers side by side: the keys of a person on the fake laboratory."""

import pytest
from textual.geometry import Offset

from engines.lab.facts import PacketSent, WorkFinished, WorkStarted
from tests.tui.driving import Drive, driving
from tui.bindings import BRANCH_ACTIONS
from tui.screens.branch_comparison import BranchComparison
from tui.screens.branches import BranchesScreen
from tui.screens.help import HelpScreen
from tui.screens.picker import PickerScreen
from tui.timelines import TURNING_S

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def branched(d: Drive, *, on_s: float = 2.0) -> None:
    """A second back the server is killed; then the branch plays on."""
    await d.press("left_parenthesis", "k")
    await d.advance(on_s)


# --- review -------------------------------------------------------------------------------------------------------------


async def test_jumping_from_landmark_to_landmark() -> None:
    async with driving() as d:
        await d.press("k")
        await d.advance(1.0)
        await d.press("x")
        await d.advance(1.0)
        await d.press("shift+up")
        assert "◄ REVIEW    6.650 s" in d.row(0)
        assert "landmark 2 of 2" in d.row(35)
        assert "►" in next(row for row in d.text().splitlines() if "drop next message" in row and "◆" in row)
        await d.press("U")
        assert "5.650 s" in d.row(0)
        await d.press("U")
        assert "no landmark before this; 2 in all" in d.row(35)
        await d.press("J")
        assert "6.650 s" in d.row(0)
        await d.press("shift+down")
        assert "no landmark after this" in d.row(35)


async def test_choosing_what_to_jump_to() -> None:
    async with driving() as d:
        await d.press("k", "home", "F")
        assert isinstance(d.app.screen, PickerScreen)
        for words in ("1 landmark ", "no timeouts", "1 order "):
            assert words in d.text()
        await d.type("loss")
        await d.press("enter")
        assert "no loss after this; none in all" in d.row(35)
        await d.press("F")
        await d.type("order")
        await d.press("enter")
        assert "order 1 of 1" in d.row(35)


async def test_enter_and_a_second_click_go_to_the_row() -> None:
    async with driving() as d:
        await d.press("up", "up", "enter")
        chosen = d.tab.diagram.cursor
        assert chosen is not None
        fact = d.tab.diagram.model.fact_of_row(chosen)
        assert fact is not None
        assert d.tab.playback.playhead_s == d.tab.trace.time[fact]
        assert "◄ REVIEW" in d.row(0)
        await d.pilot.click(d.tab.diagram, offset=Offset(30, 5), times=2)
        await d.frame()
        fact = d.tab.diagram.model.fact_of_row(d.tab.diagram.cursor or 0)
        assert d.tab.playback.playhead_s == d.tab.trace.time[fact or 0] < 2.0
        await d.press("end")
        assert "● LIVE" in d.row(0)


async def test_why_is_a_chain_of_moments() -> None:
    async with driving() as d:
        await d.press("up", "up", "Y")
        assert isinstance(d.app.screen, PickerScreen)
        assert "this row" in d.text()
        assert "because: This is a WorkStarted." in d.text()
        assert "because: This is a PacketDelivered." in d.text()
        await d.press("down", "enter")
        assert "◄ REVIEW" in d.row(0)
        assert d.tab.playback.playhead_s == 5.2
        assert isinstance(d.tab.trace[d.tab._selected or 0].fact, WorkStarted)


# --- this message -------------------------------------------------------------------------------------------------------


async def test_a_message_that_has_arrived_is_dropped_in_a_branch_from_when_it_was_sent() -> None:
    async with driving() as d:
        await d.press(*["up"] * 4)
        assert d.tab.chosen_message() is not None
        await d.press("M")
        assert "GET /hello, client to server on c1" in d.text()
        assert "drop it, back at 4.800 s" in d.text()
        assert "only a datagram can arrive twice" in d.text()
        await d.press("down", "enter")
        sent = next(r.id for r in d.tab.trace if isinstance(r.fact, PacketSent) and r.time_s == 4.8 and r.fact.payload)
        assert d.lab.session.given == [f"drop #{sent}"]
        assert d.lab.session.status.now_s == pytest.approx(4.8)
        assert "drop “GET /hello” at 4.800 s" in d.row(2)
        assert d.lab.sessions[0].given == []


async def test_a_message_on_its_way_is_held_there_and_then() -> None:
    async with driving() as d:
        await d.press("M")
        assert "200 OK, server to client" in d.text()
        assert "back at" not in d.text()
        await d.press("down", "down", "enter")
        assert d.lab.session.given[0].startswith("hold #")
        assert len(d.lab.sessions) == 1


async def test_the_same_to_the_next_ones_like_it() -> None:
    async with driving() as d:
        await d.press("M")
        await d.type("hold 3")
        assert "hold next 3 responses from server" in d.text()
        await d.press("enter")
        await d.press("M", "5", "enter")
        assert d.lab.session.given == ["hold next 3 responses from server", "drop next 5 responses from server"]
        await d.press("M")
        await d.type("duplicate it")
        await d.press("enter")
        assert "throws a copy away (RFC 9293" in d.row(35)


async def test_a_packet_without_bytes_can_be_lost_as_well() -> None:
    async with driving() as d:
        d.tab.diagram.cursor = 0
        await d.press("M")
        assert "SYN packet, client to server on c1" in d.text()
        await d.press("down", "enter")
        assert d.lab.session.given[0].startswith("drop #")
        assert d.lab.session.status.now_s == pytest.approx(0.0)


async def test_what_led_to_a_row_can_be_acted_upon_from_there() -> None:
    async with driving() as d:
        await d.press("up", "up")
        assert isinstance(d.tab.trace[d.tab._selected or 0].fact, WorkFinished)
        await d.press("M")
        assert "GET /hello, client to server on c1" in d.text()


async def test_a_row_without_a_message_can_still_be_asked_why() -> None:
    async with driving() as d:
        await d.press("k", "up", "M")
        assert "this row" in d.text()
        await d.type("3")
        assert "drop next 3" not in d.text()
        await d.press("backspace", "enter")
        assert "This is a CommandApplied." in d.text()


# --- branches -----------------------------------------------------------------------------------------------------------


async def test_a_fault_in_the_past_makes_a_branch_that_plays_on() -> None:
    async with driving() as d:
        await branched(d)
        assert "► branch 1" in d.row(0)
        assert "● LIVE" in d.row(0)
        assert "sequence ► branch 1: kill server at 4.650 s" in d.row(2)
        assert "[ ON  ]" in d.text()
        assert [session.given for session in d.lab.sessions] == [[], ["kill server"]]
        assert d.lab.sessions[0].status.now_s == 5.65


async def test_escape_gives_a_branch_up_that_is_on_its_way() -> None:
    async with driving() as d:
        await d.press("left", "l", "right", "escape")
        assert "what if: set latency 50 ms" in d.row(35)
        await d.press("escape")
        d.real_s += 2 * TURNING_S
        await d.frame()
        assert "given up" in d.row(35)
        assert len(d.tab.timelines.tree) == 1


async def test_the_list_shows_switches_and_takes_away() -> None:
    async with driving() as d:
        await d.press("B")
        assert "No branches yet" in d.text()
        await d.press("escape")
        await branched(d)
        await d.press("B")
        assert isinstance(d.app.screen, BranchesScreen)
        assert "0 as it was" in d.text()
        assert "1 kill server at 4.650 s" in d.text()
        assert "shown" in next(row for row in d.text().splitlines() if "1 kill server" in row)
        await d.press("up", "enter")
        assert "◄ REVIEW    4.650 s" in d.row(0)
        assert "sequence ► as it was" in d.row(2)
        assert d.lab.session.status.state.value == "paused"
        await d.press("B", "delete")
        assert "the run itself stays" in d.text()
        await d.press("down", "delete")
        assert "branch 1 is gone" in d.text()
        await d.press("escape")
        assert "sequence ►" not in d.row(2)
        assert len(d.tab.timelines.tree) == 1


async def test_what_is_selected_stays_so_where_it_happened_too() -> None:
    async with driving() as d:
        await d.press("up", "up", "up", "up", "enter")
        selected = d.tab._selected
        await d.press("k")
        assert d.tab._selected == selected
        await d.advance(2.0)
        await d.press("pagedown")
        assert d.tab._selected != selected
        await d.press("B", "up", "enter")
        assert d.tab._selected is None
        assert d.tab.diagram.cursor is None


async def test_again_from_the_start_forgets_the_branches() -> None:
    async with driving() as d:
        await branched(d)
        await d.press("r")
        assert len(d.tab.timelines.tree) == 1
        assert "branch" not in d.row(0)


# --- side by side -------------------------------------------------------------------------------------------------------


async def beside(d: Drive) -> BranchComparison:
    """The branch and what it grew out of, where they part."""
    await branched(d)
    await d.press("B", "v")
    screen = d.app.screen
    assert isinstance(screen, BranchComparison)
    await d.frame()
    return screen


async def test_two_branches_under_one_playhead() -> None:
    async with driving() as d:
        await beside(d)
        assert "as it was and branch 1" in d.row(0)
        assert "◄ REVIEW    4.650 s" in d.row(0)
        assert "[1 as it was] 2 branch 1" in d.row(1)
        assert "branch 1: kill server at 4.650 s" in d.row(2)
        assert [session.status.now_s for session in d.lab.sessions] == [6.65, 6.65]
        assert "first difference at 4.650 s: This is a CommandApplied." in d.text()
        assert "it has had no effect so far" in d.text()
        marked = [row for row in d.text().splitlines() if "█─" in row]
        assert len(marked) == 1
        assert "kill server" in marked[0]


async def test_the_playhead_is_one_and_both_play_on() -> None:
    async with driving() as d:
        screen = await beside(d)
        await d.press("home")
        assert [diagram.playhead for diagram in screen.diagrams] == [0.0, 0.0]
        await d.press("D")
        assert "4.650 s" in d.row(0)
        await d.press("end", "space")
        d.real_s += 0.2
        await d.frame()
        d.real_s += 0.2
        await d.frame()
        one, other = (session.status.now_s for session in d.lab.sessions)
        assert one == other > 6.8
        await d.press("l", "right")
        await d.frame()
        assert [session.given for session in d.lab.sessions] == [
            ["set latency 50 ms"],
            ["kill server", "set latency 50 ms"],
        ]


async def test_it_leaves_the_branches_as_they_are() -> None:
    async with driving() as d:
        await beside(d)
        await d.press("escape")
        assert d.app.screen is d.screen
        assert "● LIVE" in d.row(0)
        assert "branch 1" in d.row(0)
        assert not any(session.closed for session in d.lab.sessions)


async def test_numbers_that_differ_are_marked_with_by_how_much() -> None:
    async with driving() as d:
        await branched(d)
        # The fake server lives on however often it is killed: the branch is made to differ by hand.
        d.lab.session.trace.record(d.lab.session.trace[12].fact, 6.65)
        await d.press("B", "v")
        await d.press("end")
        await d.frame()
        rows = d.text().splitlines()
        assert any(row.startswith("█") and "+" in row for row in rows)
        assert any(row.startswith(" delay") for row in rows)


@pytest.mark.parametrize("size", [(60, 18), (80, 24), (120, 36)])
async def test_every_size_has_what_matters(size: tuple[int, int]) -> None:
    async with driving(size=size) as d:
        await branched(d)
        assert "branch 1" in d.row(0)
        await d.press("M")
        assert "why?" in d.text()
        await d.press("escape", "B")
        assert "kill server" in d.text()
        await d.press("v")
        await d.frame()
        assert "4.650 s" in d.row(0)
        assert "first difference" in d.text()
        assert d.row(size[1] - 1).startswith(" ? help")


async def test_plain_ascii_is_ascii_here_too() -> None:
    async with driving(ascii=True) as d:
        for keys in (("U",), ("left", "k"), ("M",), ("escape",), ("Y",), ("escape",), ("B",), ("v",), ("D",)):
            await d.press(*keys)
            await d.frame()
            assert d.text().isascii(), [row for row in d.text().splitlines() if not row.isascii()]


async def test_help_tells_the_keys_of_the_branches() -> None:
    async with driving(size=(132, 60)) as d:
        await beside(d)
        await d.press("question_mark")
        assert isinstance(d.app.screen, HelpScreen)
        words = " ".join(d.text().split())
        for action in BRANCH_ACTIONS:
            assert " ".join(action.shown.split()) in words
        assert "the next branch" in words
        assert "again from the start" not in words
