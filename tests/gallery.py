"""Writes screenshots/: `python -m tests.gallery`. The pictures are never made by hand."""

import asyncio
from pathlib import Path

from tests.shots import SHOTS, screen_svg, taken

FOLDER = Path(__file__).parent.parent / "screenshots"


async def _write_all() -> None:
    FOLDER.mkdir(exist_ok=True)
    wanted = {f"{shot.name}.svg" for shot in SHOTS}
    for old in FOLDER.glob("*.svg"):
        if old.name not in wanted:
            old.unlink()
    for shot in SHOTS:
        async with taken(shot) as (app, _):
            (FOLDER / f"{shot.name}.svg").write_text(screen_svg(app))
            print(f"screenshots/{shot.name}.svg")


if __name__ == "__main__":
    asyncio.run(_write_all())
