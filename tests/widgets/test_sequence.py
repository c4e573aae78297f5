"""The diagram's widget under Pilot: what it paints, when it follows, and how the cursor walks."""

import pytest
from textual.app import App, ComposeResult

from engines.lab.trace import Trace
from tests.view.traces import Play, showcase, simple_get
from tui.themes import STYLES as LOOKS
from tui.view.lines import STYLES
from tui.widgets.sequence import SequenceDiagram

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Stage(App[None]):
    """An app with nothing but a diagram; it remembers what the diagram told."""

    CSS = "SequenceDiagram { height: 100%; }"

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self.trace = trace
        self.selected: list[int] = []
        self.moments: list[int] = []
        self.followed: list[bool] = []

    def compose(self) -> ComposeResult:
        yield SequenceDiagram(self.trace)

    def on_sequence_diagram_row_selected(self, event: SequenceDiagram.RowSelected) -> None:
        self.selected.append(event.fact_id)

    def on_sequence_diagram_moment_chosen(self, event: SequenceDiagram.MomentChosen) -> None:
        self.moments.append(event.fact_id)

    def on_sequence_diagram_following_changed(self, event: SequenceDiagram.FollowingChanged) -> None:
        self.followed.append(event.following)

    @property
    def diagram(self) -> SequenceDiagram:
        return self.query_one(SequenceDiagram)


def screen(diagram: SequenceDiagram) -> list[str]:
    return [diagram.render_line(y).text for y in range(diagram.scrollable_content_region.height)]


def shown(play: Play) -> Stage:
    return Stage(play.trace)


async def test_it_stands_empty_without_hosts_and_rows() -> None:
    app = Stage(Trace())
    async with app.run_test(size=(80, 24)) as pilot:
        app.diagram.tick(0.0)
        await pilot.press("up", "down", "enter", "pageup")
        assert all(not line.strip() for line in screen(app.diagram))
        assert app.selected == []


async def test_it_shows_the_moment_it_is_told() -> None:
    app = shown(simple_get())
    async with app.run_test(size=(80, 24)) as pilot:
        app.diagram.consume(1000)
        app.diagram.tick(0.1)
        await pilot.pause()
        early = "\n".join(screen(app.diagram))
        assert "GET" in early
        assert "200 OK" not in early
        app.diagram.tick(0.3)
        assert "200 OK" in "\n".join(screen(app.diagram))
        app.diagram.tick(0.1)
        assert "\n".join(screen(app.diagram)) == early


async def test_every_line_fills_the_width_and_has_its_own_ground() -> None:
    app = shown(showcase())
    async with app.run_test(size=(80, 24)) as pilot:
        app.diagram.consume(1000)
        app.diagram.tick(1.0)
        await pilot.pause()
        width = app.diagram.scrollable_content_region.width
        for y in range(24):
            strip = app.diagram.render_line(y)
            assert strip.cell_length == width
            assert all(segment.style is not None and segment.style.bgcolor is not None for segment in strip)


async def test_it_follows_until_the_cursor_goes_up_and_again_on_wish() -> None:
    app = shown(showcase())
    async with app.run_test(size=(80, 14)) as pilot:
        diagram = app.diagram
        diagram.consume(1000)
        diagram.tick(0.9)
        await pilot.pause()
        assert diagram.scroll_offset.y > 0
        diagram.focus()
        await pilot.press("up", "up", "up")
        assert app.followed == [False]
        place = diagram.scroll_offset.y
        diagram.tick(2.0)
        await pilot.pause()
        assert diagram.scroll_offset.y == place
        diagram.action_follow()
        await pilot.pause()
        assert app.followed == [False, True]
        assert diagram.scroll_offset.y == diagram.max_scroll_y
        assert diagram.cursor is None


async def test_scrolling_up_by_wheel_ends_following() -> None:
    app = shown(showcase())
    async with app.run_test(size=(80, 14)) as pilot:
        diagram = app.diagram
        diagram.consume(1000)
        diagram.tick(2.0)
        await pilot.pause()
        diagram.scroll_to(y=0, animate=False, immediate=True)
        await pilot.pause()
        assert not diagram.following
        diagram.scroll_end(animate=False, immediate=True)
        await pilot.pause()
        assert diagram.following


async def test_cursor_and_mouse_select_facts() -> None:
    app = shown(simple_get())
    async with app.run_test(size=(80, 24)) as pilot:
        diagram = app.diagram
        diagram.consume(1000)
        diagram.tick(1.0)
        diagram.focus()
        await pilot.press("up")
        assert diagram.cursor == diagram.model.row_count(1.0) - 1
        assert any("►" in line[:10] for line in screen(diagram))
        await pilot.click(SequenceDiagram, offset=(20, 4))
        assert diagram.cursor == 2
        await pilot.press("enter")
        assert app.selected[-1] == app.moments[-1] == diagram.model.fact_of_row(2)
        diagram.detail = "packets"
        assert diagram.model.fact_of_row(diagram.cursor or 0, detail="packets") == app.selected[-1]


async def test_the_scale_can_be_changed_and_zoomed() -> None:
    app = shown(simple_get())
    async with app.run_test(size=(80, 24)) as pilot:
        diagram = app.diagram
        diagram.consume(1000)
        diagram.tick(0.3)
        diagram.focus()
        diagram.mode = "scale"
        rows = diagram.virtual_size.height
        await pilot.press("right_square_bracket")
        assert diagram.mode == "scale"
        assert diagram.virtual_size.height > rows
        assert any("┐" in line for line in screen(diagram))
        diagram.mode = "compact"
        assert not any("┐" in line for line in screen(diagram))


async def test_only_rows_that_changed_are_painted_again() -> None:
    app = shown(simple_get())
    async with app.run_test(size=(80, 24)) as pilot:
        diagram = app.diagram
        diagram.consume(1000)
        diagram.tick(0.1)
        await pilot.pause()
        painted: list[int] = []
        paint = diagram._paint

        def spy(top: int, height: int) -> list[tuple[tuple[str, str], ...]]:
            painted.extend(range(top, top + height))
            return paint(top, height)

        diagram._paint = spy  # type: ignore[method-assign]
        diagram.tick(0.11)
        assert 0 not in painted
        assert 1 not in painted
        assert 2 in painted


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (12, 2), (300, 5)])
async def test_it_stands_any_size(size: tuple[int, int]) -> None:
    app = shown(showcase())
    async with app.run_test(size=size) as pilot:
        diagram = app.diagram
        diagram.consume(1000)
        for mode in ("compact", "scale"):
            diagram.mode = mode
            diagram.tick(0.5)
            diagram.tick(2.0)
            await pilot.press("up", "pageup", "greater_than_sign", "enter")
            diagram.tick(0.1)
            assert diagram.is_mounted


async def test_another_run_begins_with_nothing() -> None:
    app = shown(showcase())
    async with app.run_test(size=(80, 24)) as pilot:
        diagram = app.diagram
        diagram.consume(1000)
        diagram.tick(2.0)
        await pilot.press("up")
        diagram.show_trace(Trace())
        diagram.tick(0.0)
        assert all(not line.strip() for line in screen(diagram))
        assert diagram.cursor is None
        assert diagram.following


async def test_the_theme_knows_every_style() -> None:
    assert set(STYLES) <= set(LOOKS)
