"""The HTTP/2 client in bad weather: random requests, random orders, and the laws that every trace obeys."""

import contextlib
import random

import httpx
import pytest
import trio

from engines.lab.commands import TimedCommand, parse_command
from engines.lab.host import Host
from engines.lab.scenario import HostSpec, Scenario
from engines.lab.session import SessionState, run_headless
from engines.messages import MessageIndex
from engines.wire.h2_client import STREAM_POLICY_KNOB, WINDOW_KNOBS, h2_client
from engines.wire.h2_stream import H2Options
from engines.wire.http2 import Http2Dissector
from engines.wire.http_client import TIMEOUT_KNOBS
from engines.wire.streaming import streaming
from tests.patterns.laws import breaches
from tests.wire.h2_world import hypercorn

ORDERS = (
    "reset c1", "reset c2", "kill server", "restart server", "restart client", "cut server>client", "cut client>server",
    "restore client>server", "restore server>client", "hold client>server", "set loss 5%", "set loss 0%",
    "set latency 200ms", "set latency 5ms", "set bandwidth 50kB/s", "drop next response", "drop next 3 packets",
    "reset after 30% of next response", "hold next request", "release",
    "set stream-policy open another", "set stream-policy queue",
    "set stream-window 2kB", "set stream-window 1MB", "set connection-window 1MB", "set connection-window 65535",
    "set window-opens as it is read", "set window-opens as it arrives",
)  # fmt: skip
CLEARING_UP = ("restore client>server", "restore server>client", "release", "restart server")
CALM_S = 15.0


@pytest.mark.parametrize("ours", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_every_request_comes_to_an_end(seed: int, ours: bool) -> None:
    dice = random.Random(seed)
    limit = dice.choice([1, 3, 100])
    ended: list[float] = []

    async def client(host: Host) -> None:
        plan = host.randomness("plan")

        async def request() -> None:
            await trio.sleep(plan.random() * 8)
            with contextlib.suppress(httpx.TransportError), trio.move_on_after(plan.choice([0.3, 2, 50])):
                match plan.randrange(4):
                    case 0:
                        await http.get("/")
                    case 1:
                        await http.post("/size", content=bytes(80_000))
                    case 2:
                        async with streaming(http, "GET", "/ticks") as (_, pieces):
                            for _ in range(5):
                                await anext(pieces)
                    case _:
                        async with http.stream("GET", "/bytes/200000") as response:
                            await trio.sleep(1)
                            await response.aread()

        options = H2Options(assumed_streams=limit)
        async with h2_client(host, base_url="http://server", options=options) as http, trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(request)
        ended.append(trio.current_time())

    orders = [(dice.random() * 10, dice.choice(ORDERS)) for _ in range(6)] + [(CALM_S, order) for order in CLEARING_UP]
    scenario = Scenario(
        "storm", "storm", "",
        (HostSpec("client", client), HostSpec("server", hypercorn(limit, ours=ours))),
        (STREAM_POLICY_KNOB, *WINDOW_KNOBS, *TIMEOUT_KNOBS),
        protocols={80: Http2Dissector},
        until_s=120.0,
        network={"latency": 0.1},
    )  # fmt: skip
    session = run_headless(scenario, commands=[TimedCommand(at, parse_command(order)) for at, order in sorted(orders)])
    assert session.status.state is SessionState.ENDED, session.status.message
    assert ended, "the client hangs"
    assert breaches(session.trace) == []
    MessageIndex(session.trace).consume()
