"""Waiting for a knob that says which version of something is wanted."""

import trio

from engines.lab.host import Host


async def turned(host: Host, knob: str, version: str) -> None:
    """Wait until `knob` says something other than `version`."""
    wanted = trio.Event()
    with host.knobs.watching(knob, lambda _: wanted.set()):
        while str(host.knobs[knob]) == version:
            await wanted.wait()
            wanted = trio.Event()
