"""Screens of paused runs, as text; a few as SVG, where colour matters. Look before you accept a change (CONTRIBUTING)."""

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from tests.shots import SHOTS, Shot, screen_svg, screen_text, taken

pytestmark = pytest.mark.anyio
IN_COLOUR = {"light", "server-killed"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class TextFile(SingleFileSnapshotExtension):
    """One readable file a screen."""

    file_extension = "txt"
    _write_mode = WriteMode.TEXT


class SvgFile(TextFile):
    """One picture a screen."""

    file_extension = "svg"


@pytest.mark.parametrize("shot", SHOTS, ids=lambda shot: shot.name)
async def test_screen(shot: Shot, snapshot: SnapshotAssertion) -> None:
    async with taken(shot) as (app, _):
        assert screen_text(app) == snapshot(extension_class=TextFile)
        if shot.name in IN_COLOUR:
            assert screen_svg(app) == snapshot(extension_class=SvgFile)
