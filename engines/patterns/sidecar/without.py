"""Without a sidecar: each service carries the library that knows of retries and HTTP/2, in its own language and version.

The library works as well as a sidecar does; it is the same code. What is different is how a new version of it gets everywhere:
each service is changed, tested and released anew, one by one, by those who own it.
"""

from collections.abc import Awaitable, Callable

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from engines.lab.facts import KnobTurned, Measured, MessageStarted, Noted, WaitStarted, WorkFinished, WorkStarted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.sidecar.mesh import (
    FAIL_KNOB,
    INTERVAL_KNOB,
    KILL_BILLING,
    KILL_ORDERS,
    PLAIN,
    SERVICE,
    SERVICE_KNOB,
)
from engines.patterns.sidecar.versions import turned
from engines.wire.forwarding import Forwarded
from engines.wire.h2_client import h2_client
from engines.wire.http1 import Http1Dissector
from engines.wire.http2 import Http2Dissector
from engines.wire.http_client import http_client
from engines.wire.http_server import serve_http
from engines.wire.retries import RetryPolicy
from engines.wire.upstream import Settings, Upstream

# --- the library, in two versions -----------------------------------------------------------------------------------------


async def library_1(host: Host) -> None:
    """HTTP/1.1, and whatever comes of it: no retries."""
    async with http_client(host) as http:
        billing = Upstream(host, http, ["billing"], url=lambda name: f"http://{name}:{SERVICE}")
        await ask_for_bills(host, billing)


async def library_2(host: Host) -> None:
    """HTTP/2, and one retry."""
    async with h2_client(host) as http:
        settings = Settings(RetryPolicy(retries=1))
        billing = Upstream(host, http, ["billing"], lambda: settings, lambda name: f"http://{name}:{PLAIN}")
        await ask_for_bills(host, billing)


LIBRARY: dict[str, Callable[[Host], Awaitable[None]]] = {"1": library_1, "2": library_2}

# --- the services that ask ------------------------------------------------------------------------------------------------


async def orders(host: Host) -> None:
    """Written in one language …"""
    await service(host, "orders-library")


async def shipping(host: Host) -> None:
    """… and this one in another, by other people."""
    await service(host, "shipping-library")


async def service(host: Host, knob: str) -> None:
    """Runs with the version of the library that was released last; another one takes a release of the whole service."""
    while True:
        version: str = host.disk.setdefault("library", INITIAL[host.name])
        host.state("library", version)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(LIBRARY[version], host)
            await turned(host, knob, version)
            await host.work("change and test", host.knobs.number("release-time"))
            nursery.cancel_scope.cancel()
        host.disk["library"] = str(host.knobs[knob])
        host.measure("releases")
        await host.work("restart", RESTART_S)


INITIAL = {"orders": "1", "shipping": "2"}
RESTART_S = 1.0


async def ask_for_bills(host: Host, billing: Upstream) -> None:
    """The service's own business, in which the library must not fail it."""
    async with trio.open_nursery() as nursery:
        number = 0
        while True:
            number += 1
            nursery.start_soon(ask, host, billing, number)
            await trio.sleep(host.knobs.number("interval"))


async def ask(host: Host, billing: Upstream, number: int) -> None:
    answer = await billing.ask(Forwarded("GET", f"/bill/{number}", ()))
    host.measure(f"{host.name} answered" if answer.status == 200 else f"{host.name} failed")
    if answer.status != 200:
        host.note(f"no bill {number}: {answer.status}")


# --- the service that answers ---------------------------------------------------------------------------------------------


async def billing(host: Host) -> None:
    """Speaks both, because it cannot know who has which version."""
    luck = host.randomness("troubles")

    async def bill(request: Request) -> Response:
        fails = luck.random() < host.knobs.number("fail-share")
        await host.work("bill", host.knobs.number("service-time"))
        return PlainTextResponse("no ink\n", 503) if fails else PlainTextResponse("bill\n")

    app = Starlette(routes=[Route("/bill/{number:int}", bill)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, host, app, SERVICE)
        nursery.start_soon(serve_http, host, app, PLAIN)


# --- the lesson ---------------------------------------------------------------------------------------------------------

LESSON = Lesson(
    name="without",
    title="Without",
    purpose="Two services carry the same library in two versions: see who fails, and what it takes to give both the new one.",
    hosts=(
        HostSpec("orders", orders, "orders (Java)"),
        HostSpec("shipping", shipping, "shipping (Go)"),
        HostSpec("billing", billing),
    ),
    protocols={SERVICE: Http1Dissector, PLAIN: Http2Dissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Choice("orders-library", "library in orders", "1", ("1", "2"), "1: HTTP/1.1, no retries; 2: HTTP/2, one retry"),
        Choice("shipping-library", "shipping's library", "2", ("1", "2"), "the same library, written once more"),
        Number("release-time", "change and test", "s", 3.0, 0.0, 60.0, 1.0,
               "what a new version of the library costs in each service (in truth days)"),
        FAIL_KNOB,
        INTERVAL_KNOB,
        SERVICE_KNOB,
    ),
    faults=(
        KILL_BILLING, KILL_ORDERS,
        Fault("kill-shipping", "kill shipping", "x", "kill shipping",
              "the other service dies; what its library knew of billing dies with it", off="restart shipping"),
        Fault("unplug-orders", "unplug orders", "u", "unplug orders", "the cable of orders is out", off="plug orders"),
    ),
    metrics=("measured:orders answered", "measured:orders failed", "measured:shipping answered", "measured:shipping failed",
             "measured:releases", "measured:retries", "connections", "requests"),
    beats=(
        Beat(KnobTurned, "A new version of the library is out. Its users must now change, test and release their service: this"
             " one first, the next when its turn comes.", {"knob": "(orders|shipping)-library"}),
        Beat(Measured, "A release: the service stops, and starts with the other version in it.", {"what": "releases"}),
        Beat(WorkFinished, "The service is back. Nothing in its own business has changed.",
             {"outcome": "done", "host": "(orders|shipping)"}),
        Beat(WorkStarted, "The people who own this service change it and test it, for a library that is not their business.",
             {"label": "change"}),
        Beat(Noted, "{host} gets {text}. Version 1 of the library never asks twice; version 2 has, in vain.",
             {"text": "no bill"}),
        Beat(WaitStarted, "Version 2 of the library asks again after a short pause: {label}.", {"label": "retry"}),
        Beat(MessageStarted, "A question by HTTP/1.1: {label}.", {"sender": "orders", "label": "GET"}),
        Beat(MessageStarted, "A question by HTTP/2, on the one connection: {label}.", {"sender": "shipping", "label": "GET"}),
    ),
    try_next=(
        "Give orders library 2: 3 s of work and a restart, and then it fails as seldom as shipping.",
        "Give shipping library 1, the older one: rolling back is a release as well.",
        "Set change and test to 20 s: the old version goes on failing for all that time. With a sidecar, nobody touches orders.",
        "Let billing fail 10 % of the time: who asks once fails once in ten, who may ask twice once in a hundred.",
        "Let billing fail always: a retry is no help, and doubles what billing has to bear.",
        "Kill billing: both are told by their own library, each in its own way.",
    ),
)  # fmt: skip
