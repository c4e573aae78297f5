"""Keeping a run: a file that plays it, a command line to copy, and no file ever lost."""

from pathlib import Path

import pytest

from engines.demos import make_demo, read_demo
from tests.shots import Shot, settle, taken
from tui.screens.keep import CannotKeepError, KeepScreen, free_name, keep

pytestmark = pytest.mark.anyio
DEMO = make_demo("request-response", seed=7, orders=[(2.0, "kill server")])


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_a_name_that_is_free(tmp_path: Path) -> None:
    assert free_name(DEMO, tmp_path) == "request-response-simple-get.toml"
    (tmp_path / "request-response-simple-get.toml").touch()
    assert free_name(DEMO, tmp_path) == "request-response-simple-get-2.toml"


def test_nothing_is_written_over(tmp_path: Path) -> None:
    path = keep(DEMO, str(tmp_path / "lesson"))
    assert path.name == "lesson.toml"
    assert read_demo(path.read_text()) == DEMO
    with pytest.raises(CannotKeepError, match="is there already"):
        keep(DEMO, str(path))
    with pytest.raises(CannotKeepError, match="cannot write"):
        keep(DEMO, str(tmp_path / "no" / "such" / "place"))
    with pytest.raises(CannotKeepError, match="needs a name"):
        keep(DEMO, "  ")


async def test_a_run_is_kept_from_the_keyboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shot = Shot("keep", "request-response", "simple-get", 4.0, orders=((2.0, "kill server"), (3.0, "restart server")))
    async with taken(shot) as (app, pilot):
        await pilot.press("left", "left", "E")
        assert isinstance(app.screen, KeepScreen)
        await pilot.press("enter")
        await pilot.pause()
        demo = read_demo((tmp_path / "request-response-simple-get.toml").read_text())
        assert [str(timed.command) for timed in demo.commands] == ["kill server", "restart server"]
        assert (demo.seed, demo.start_at_s) == (7, pytest.approx(3.8))
        await pilot.press("E")
        for _ in range(60):
            await pilot.press("backspace")
        await pilot.press(*"again", "enter")
        await pilot.pause()
        assert (tmp_path / "again.toml").exists()
        await settle(app, pilot)
