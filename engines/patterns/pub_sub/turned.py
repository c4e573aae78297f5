"""Waiting for a person to turn a knob."""

from contextlib import ExitStack

import trio

from engines.lab.host import Host


async def wait_turned(host: Host, *knobs: str) -> None:
    """Return at the next turn of one of these knobs."""
    turned = trio.Event()
    with ExitStack() as watches:
        for knob in knobs:
            watches.enter_context(host.knobs.watching(knob, lambda value: turned.set()))
        await turned.wait()
