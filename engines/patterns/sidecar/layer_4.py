"""A layer-4 proxy for contrast: it joins connections and copies bytes. That is less work, and it can do less.

It sees no request, so it cannot ask again; it sees no status, so 503 is as good as 200; it chooses a server when a
connection begins, so that all requests of a connection that is kept go to the same one.
"""

from collections.abc import Awaitable, Callable

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from engines.lab.facts import ConnectionOpening, MessageStarted, Noted, WaitStarted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.sidecar.mesh import (
    EGRESS,
    FAIL_KNOB,
    INTERVAL_KNOB,
    KILL_ORDERS,
    KILL_SIDECAR,
    SERVICE,
    SERVICE_KNOB,
    UNPLUG_ORDERS,
    egress,
    orders,
)
from engines.patterns.sidecar.versions import turned
from engines.patterns.troubles import DROP_PACKET
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import http_client
from engines.wire.http_server import serve_http
from engines.wire.layer4 import layer4_proxy
from engines.wire.retries import RetryPolicy
from engines.wire.upstream import Settings

INSTANCES = ("billing1", "billing2")

# --- two kinds of proxy ---------------------------------------------------------------------------------------------------


async def layer_4(host: Host) -> None:
    """Bytes in, bytes out."""
    await layer4_proxy(host, INSTANCES, SERVICE, listen_on=EGRESS)


async def layer_7(host: Host) -> None:
    """Requests in, requests out, once more if need be."""

    def settings() -> Settings:
        return Settings(RetryPolicy(int(host.knobs.number("retries"))))

    async with http_client(host) as http:
        await egress(host, http, INSTANCES, settings, lambda name: f"http://{name}:{SERVICE}")


LAYERS: dict[str, Callable[[Host], Awaitable[None]]] = {"4": layer_4, "7": layer_7}


async def proxy(host: Host) -> None:
    """One or the other; changing over ends all connections."""
    while True:
        layer = str(host.knobs["layer"])
        host.state("layer", layer)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(LAYERS[layer], host)
            await turned(host, "layer", layer)
            nursery.cancel_scope.cancel()


# --- two instances of a service with troubles (the service that asks is that of the mesh) ---------------------------------

NO_INK, HANGS_UP = "503", "hangs up"


async def billing(host: Host) -> None:
    """Writes bills, and sometimes does not: it says so, or hangs up in the middle of one."""
    luck = host.randomness("troubles")

    async def bill(request: Request) -> Response:
        host.measure(f"asked {host.name}")
        fails = luck.random() < host.knobs.number("fail-share")
        await host.work("bill", host.knobs.number("service-time"))
        if not fails:
            return PlainTextResponse("bill\n")
        if host.knobs["trouble"] == NO_INK:
            return PlainTextResponse("no ink\n", 503)
        return HalfABill()

    await serve_http(host, Starlette(routes=[Route("/bill/{number}", bill)]), SERVICE)


class HalfABill(Response):
    """Five bytes are promised, two are sent, and then the server hangs up."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"bi", "more_body": True})


# --- the lesson ---------------------------------------------------------------------------------------------------------

LESSON = Lesson(
    name="layer-4",
    title="Why layer 7",
    purpose="A proxy that copies bytes can neither ask again nor share requests out: compare layer 4 with layer 7.",
    hosts=(
        HostSpec("orders", orders, machine="pod-1"),
        HostSpec("sidecar", proxy, machine="pod-1"),
        *(HostSpec(name, billing) for name in INSTANCES),
    ),
    protocols={EGRESS: Http1Dissector, SERVICE: Http1Dissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Choice("layer", "works at layer", "4", ("4", "7"), "4 knows connections and bytes, 7 requests and answers"),
        Number("retries", "retries", "", 1, 0, 10, 1, "how often it asks again, if it can", integer=True),
        Choice("trouble", "when billing fails", NO_INK, (NO_INK, HANGS_UP),
               "it says 503, or hangs up in the middle of its answer"),
        FAIL_KNOB,
        INTERVAL_KNOB,
        SERVICE_KNOB,
    ),
    faults=(
        KILL_ORDERS, KILL_SIDECAR, UNPLUG_ORDERS, DROP_PACKET,
        Fault("kill-billing", "kill billing1", "k", "kill billing1", "an instance dies, and its connections with it",
              off="restart billing1"),
    ),
    metrics=("measured:asked", "measured:answered", "measured:failed", "measured:asked billing1", "measured:asked billing2",
             "measured:retries", "connections", "delay"),
    beats=(
        Beat(WaitStarted, "Layer 7 has the request and has read the status: it asks again, and the other instance: {label}.",
             {"label": "retry"}),
        Beat(Noted, "The bytes of the failure were passed on like any others: {text}.", {"host": "orders", "text": "no bill"}),
        Beat(ConnectionOpening, "The sidecar joins the service's connection to one of {server}. At layer 4 that is settled for"
             " as long"
             " as the connection lasts.", {"client": "sidecar"}),
        Beat(MessageStarted, "{sender} fails: {label}.", {"sender": "billing", "label": "503"}),
        Beat(MessageStarted, "The same request goes on. Layer 4 copied its bytes, layer 7 has read it and written a new one.",
             {"sender": "sidecar", "label": "GET"}),
        Beat(MessageStarted, "{label}: an answer like any other, for who copies bytes.", {"sender": "sidecar"}),
    ),
    try_next=(
        "Set the layer to 7: of 3 failures in 10, fewer than 1 in 10 are left, and both instances have work.",
        "Look at billing2 at layer 4: it has nothing to do. The one connection that is kept went to billing1.",
        "Let billing hang up instead: at layer 4 the service gets half an answer, at layer 7 a whole one, from the other.",
        "Kill billing1 at layer 4: the service's connection ends, and its next one is joined to billing2.",
        "Ask every 0.25 s at layer 4: bills overlap and need several connections, so that both instances have work.",
        "Compare the delay: layer 4 costs less time in itself, as it reads nothing. Here neither has a cost of its own.",
    ),
)  # fmt: skip
