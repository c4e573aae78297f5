"""A retry storm: who asks r times more, through a proxy that asks s times more, asks (1 + r) x (1 + s) times in all.

When everything fails, each layer multiplies the load, just when there is least strength to bear it. A service that stood
still for five seconds finds a queue whose requests nobody waits for any more; it works them off in vain, while their
retries queue behind them. So it stays down although nothing is wrong with it. The cures: retry at one layer only, and
within a budget.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from engines.lab.facts import Measured, MessageStarted, Noted, StateChanged, TimedOut, WaitStarted, WorkStarted
from engines.lab.host import Host
from engines.lab.knobs import Number
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.sidecar.mesh import (
    EGRESS,
    FAIL_KNOB,
    INTERVAL_KNOB,
    KILL_BILLING,
    KILL_ORDERS,
    KILL_SIDECAR,
    SERVICE,
    SERVICE_KNOB,
    TRY_KNOB,
    UNPLUG_ORDERS,
    egress,
)
from engines.patterns.sidecar.retries import BUDGET_KNOBS
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import http_client
from engines.wire.http_server import serve_http
from engines.wire.retries import RetryPolicy
from engines.wire.upstream import Settings

# --- the service that asks, with a retry loop of its own ------------------------------------------------------------------


async def orders(host: Host) -> None:
    """Somebody wrote a loop around the request, before there was a sidecar. It is still there."""
    async with http_client(host, base_url=f"http://localhost:{EGRESS}") as http, trio.open_nursery() as nursery:
        number = 0
        while True:
            number += 1
            nursery.start_soon(ask_stubbornly, host, http, number)
            await trio.sleep(host.knobs.number("interval"))


async def ask_stubbornly(host: Host, http: httpx.AsyncClient, number: int) -> None:
    """Ask, and ask again at once."""
    host.measure("asked")
    for _ in range(1 + int(host.knobs.number("app-retries"))):
        try:
            response = await http.get(f"/bill/{number}", timeout=httpx.Timeout(None, read=20.0))
        except httpx.TransportError:
            await trio.sleep(0.1)  # localhost refuses in no time
            continue
        if response.status_code == 200:
            host.measure("answered")
            return
    host.measure("failed")
    host.note(f"no bill {number}")


# --- the sidecar ----------------------------------------------------------------------------------------------------------


async def proxy(host: Host) -> None:
    """Cannot know that what it is asked is a retry already: to it, each is a request of its own."""

    def settings() -> Settings:
        knobs = host.knobs
        budget = (knobs.number("budget-share"), knobs.number("budget-floor")) if knobs.on("budget") else None
        return Settings(RetryPolicy(int(knobs.number("proxy-retries"))), budget, knobs.number("try-timeout"))

    async with http_client(host) as http:
        await egress(host, http, ["billing"], settings, lambda name: f"http://{name}:{SERVICE}")


# --- the service that answers ---------------------------------------------------------------------------------------------

STALL_AT_S = 4.0


async def billing(host: Host) -> None:
    """Writes one bill at a time; the others queue. Once it stands still for a while, and then is as well as before."""
    pen, luck = trio.Lock(), host.randomness("troubles")
    total, bills = 0, set[str]()

    async def bill(request: Request) -> Response:
        nonlocal total
        total += 1
        bills.add(request.path_params["number"])
        host.measure("requests at billing")
        host.state("requests a bill", f"{total / len(bills):.2g}")
        fails = luck.random() < host.knobs.number("fail-share")
        async with client_watched(request) as client, pen:
            host.state("queue", pen.statistics().tasks_waiting)
            await host.work("bill", host.knobs.number("service-time"))
        if client.left:
            host.measure("bills for nobody")
        return PlainTextResponse("no ink\n", 503) if fails else PlainTextResponse("bill\n")

    async def stand_still() -> None:
        if trio.current_time() < STALL_AT_S:
            await trio.sleep_until(STALL_AT_S)
            async with pen:
                await host.work("stands still", host.knobs.number("stall"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stand_still)
        await serve_http(host, Starlette(routes=[Route("/bill/{number}", bill)]), SERVICE)


@dataclass
class Client:
    """Who asked, and whether it has left. Billing could know, and does not care; it is here to be counted."""

    left: bool = False


@asynccontextmanager
async def client_watched(request: Request) -> AsyncIterator[Client]:
    client = Client()

    async def listen() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        client.left = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        yield client
        nursery.cancel_scope.cancel()


# --- the lesson ---------------------------------------------------------------------------------------------------------

LESSON = Lesson(
    name="retry-storm",
    title="Retry storm",
    purpose="Billing stands still for 5 s, once. See the retries of the app and of its sidecar multiply, and keep it down.",
    hosts=(
        HostSpec("orders", orders, machine="pod-1"),
        HostSpec("sidecar", proxy, machine="pod-1"),
        HostSpec("billing", billing),
    ),
    protocols={EGRESS: Http1Dissector, SERVICE: Http1Dissector},
    network={"latency": 0.1},
    until_s=36.0,
    knobs=(
        Number("app-retries", "retries of the app", "", 2, 0, 4, 1, "how often the service itself asks again", integer=True),
        Number("proxy-retries", "sidecar's retries", "", 1, 0, 4, 1,
               "how often the sidecar asks again, for each time that it is asked (Envoy: none unless configured, then 1)",
               integer=True),
        *BUDGET_KNOBS,
        Number("stall", "stands still for", "s", 5.0, 0.0, 60.0, 1.0, "how long billing does nothing, once, after 4 s"),
        Number(TRY_KNOB.name, TRY_KNOB.title, "s", 2.0, TRY_KNOB.minimum, TRY_KNOB.maximum, 0.5, TRY_KNOB.help, ratio=2.0),
        Number(FAIL_KNOB.name, FAIL_KNOB.title, "%", 0.0, 0.0, 1.0, 0.5, FAIL_KNOB.help),
        Number(INTERVAL_KNOB.name, INTERVAL_KNOB.title, "s", 1.0, 0.1, 60.0, 0.25, INTERVAL_KNOB.help),
        Number(SERVICE_KNOB.name, SERVICE_KNOB.title, "s", 0.5, 0.0, 30.0, 0.05, SERVICE_KNOB.help),
    ),
    faults=(KILL_BILLING, KILL_ORDERS, KILL_SIDECAR, UNPLUG_ORDERS),
    metrics=("measured:asked", "measured:answered", "measured:failed", "measured:requests at billing",
             "measured:bills for nobody", "measured:retries", "measured:retries refused", "timeouts"),
    beats=(
        Beat(WorkStarted, "Billing stands still for a while: a lock, a garbage collection, a slow disk. It will be well again;"
             " watch"
             " whether anybody notices.", {"label": "stands still"}),
        Beat(Measured, "A bill for nobody: who asked for it has given up, and has asked again. Work in vain, while the retries"
             " queue"
             " behind it.", {"what": "bills for nobody"}),
        Beat(Measured, "The budget refuses a retry: to ask again would only make the queue longer.", {"what": "retries refused"}),
        Beat(TimedOut, "The sidecar has waited {after_s} s, and asks again. The request that it gave up stays in billing's"
             " queue.",
             {"what": "try"}),
        Beat(WaitStarted, "The sidecar asks again: {label}. The app will as well, and each of its retries has retries of its"
             " own.",
             {"label": "retry"}),
        Beat(Noted, "After all attempts of all layers: {text}.", {"text": "no bill"}),
        Beat(StateChanged, "Each bill has been asked for {value} times so far, on average.", {"key": "requests a bill"}),
        Beat(MessageStarted, "The answer is in time: nobody has to ask twice.", {"sender": "billing", "label": "200"}),
    ),
    try_next=(
        "Set both retries to 0: some bills fail after the standstill, and 10 s later all is well.",
        "Turn the budget on and leave the app's retries at 2: not enough, as the sidecar takes each of them for a request.",
        "Set the app's retries to 0 and turn the budget on: it recovers. One layer retries, and within bounds.",
        "Let billing fail always, in 50 ms, and stand still for 0 s: each bill is asked for (1 + 2) x (1 + 1) = 6 times.",
        "Set the try timeout to 10 s: patience. Nobody asks twice, and the queue is worked off.",
        "Kill billing and restart it: the queue is gone, and a moment later it is back. Those who ask again have never stopped.",
    ),
)  # fmt: skip
