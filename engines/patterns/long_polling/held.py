"""Holding a request: what makes a poll long. The server keeps the question until it has an answer, or until it must say so.

RFC 6202, section 5.5, is about how long: too long, and something on the way gives up first; too short, and it is polling.
Consul's blocking queries are a product that does this: 5 minutes unless asked otherwise, 10 at most, and a random part of
up to a sixteenth more, so that those who came together do not all leave together (Consul's HTTP API, “Blocking queries”).
"""

import math
from collections.abc import Awaitable, Callable

import trio
from starlette.requests import ClientDisconnect, Request

from engines.lab.facts import WaitKind
from engines.lab.host import Host
from engines.lab.knobs import Number

HOLD_KNOB = Number(
    "hold", "hold time", "s", 3.0, 0.05, 600.0, 1.0,
    "how long the server keeps a question without an answer (Consul 1.x: 5 min, 10 min at most)", ratio=2.0,
)  # fmt: skip
HOLD_SPREAD_KNOB = Number(
    "hold-spread", "hold varies", "%", 1 / 16, 0.0, 1.0, 1 / 16,
    "each hold is longer by a random part of this share of it (Consul 1.x: 1/16)",
)  # fmt: skip


def hold_time_s(host: Host, luck: float) -> float:
    """How long to hold a request that comes now, as the knobs say; `luck` is a random number from 0 to 1."""
    hold_s = host.knobs.number("hold")
    spread = host.knobs.number("hold-spread") if "hold-spread" in host.knobs else 0.0
    return hold_s * (1 + spread * luck)


async def hold(
    host: Host, request: Request, news: Callable[[], Awaitable[None]], hold_s: float, *, heeds_goodbye: bool = True
) -> float:
    """Hold `request` until `news` returns, or for `hold_s`. Returns how many seconds of that its client had been gone.

    A server that heeds a goodbye drops the request when its client leaves: ClientDisconnect. It can know that only if
    the client's FIN or RST arrives; a cable that was cut says nothing.
    """
    left_s = math.inf

    async def listen_for_goodbye() -> None:
        nonlocal left_s
        while (await request.receive())["type"] != "http.disconnect":
            pass
        left_s = trio.current_time()
        if heeds_goodbye:
            nursery.cancel_scope.cancel()

    with host.waiting("held", WaitKind.HELD) as outcome:
        outcome.word = "nothing happened"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen_for_goodbye)
            with trio.move_on_after(hold_s):
                await news()
                outcome.word = "news"
            nursery.cancel_scope.cancel()
        if heeds_goodbye and left_s < math.inf:
            outcome.word = "client left"
    if outcome.word == "client left":
        raise ClientDisconnect
    return max(0.0, trio.current_time() - left_s)
