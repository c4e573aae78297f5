"""A reverse proxy between a client and a server, each side over HTTP/1.1 or HTTP/2: what two lessons share."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from engines.lab.host import Host
from engines.lab.knobs import Choice, Knob, Number
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.multiplexing.rounds import HTTP_1, HTTP_2, PAUSE_KNOB, SERVICE_KNOB, ask_for_all
from engines.patterns.troubles import KILL_CLIENT, KILL_SERVER, UNPLUG_CLIENT
from engines.wire.h2_client import h2_client
from engines.wire.http_client import TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http
from engines.wire.proxy import pass_on

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Answers GET /n after some work, over HTTP/1.1 on port 80 and over HTTP/2 on port 8080."""

    async def item(request: Request) -> PlainTextResponse:
        await trio.sleep(host.knobs.number("service-time"))
        return PlainTextResponse(f"item {request.path_params['number']}\n")

    app = Starlette(routes=[Route("/{number:int}", item)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, host, app, 80)
        nursery.start_soon(serve_http, host, app, 8080)


# --- the proxy ----------------------------------------------------------------------------------------------------------


async def proxy(host: Host) -> None:
    """Speaks either version in front, on the same two ports; behind, it speaks what it is set to."""
    async with (
        http_client(host, base_url="http://server", size_knob="proxy-pool") as one_each,
        h2_client(host, base_url="http://server:8080") as shared,
    ):
        clients = {HTTP_1: one_each, HTTP_2: shared}
        await pass_on(host, lambda: clients[str(host.knobs["behind"])], ports=(80, 8080))


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Asks the proxy for everything at once, over fresh connections; pauses; does it again."""
    while True:
        async with CLIENTS[str(host.knobs["front"])](host) as http:
            count = int(host.knobs.number("requests"))
            await ask_for_all(host, http, [f"/{number}" for number in range(1, count + 1)])
        await trio.sleep(host.knobs.number("interval"))


CLIENTS: dict[str, Callable[[Host], AbstractAsyncContextManager[httpx.AsyncClient]]] = {
    HTTP_1: lambda host: http_client(host, base_url="http://proxy"),
    HTTP_2: lambda host: h2_client(host, base_url="http://proxy:8080"),
}

# --- what both lessons declare ------------------------------------------------------------------------------------------

HOSTS = (HostSpec("client", client), HostSpec("proxy", proxy), HostSpec("server", server))

KILL_PROXY = Fault(
    "kill-proxy", "kill proxy", "x", "kill proxy", "the proxy's program dies, and its connections on both sides with it",
    off="restart proxy",
)  # fmt: skip
FAULTS = (KILL_SERVER, KILL_PROXY, KILL_CLIENT, UNPLUG_CLIENT)

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS


def knobs_for(front: str, behind: str, requests: int, client_pool: int) -> tuple[Knob, ...]:
    """The knobs of a lesson that begins with these."""
    versions = (HTTP_1, HTTP_2)
    return (
        Choice("front", "in front", front, versions, "what the client speaks to the proxy, from the next round on"),
        Choice("behind", "behind", behind, versions, "what the proxy speaks to the server, from the next request on"),
        Number("requests", "requests", "", requests, 1, 100, 1, "how many the client makes at once", integer=True),
        Number("pool-size", "client's pool", "", client_pool, 1, 100, 1, "connections to the proxy over HTTP/1.1", integer=True),
        Number("proxy-pool", "proxy's pool", "", 4, 1, 100, 1, "connections to the server over HTTP/1.1", integer=True),
        SERVICE_KNOB,
        PAUSE_KNOB,
        replace(READ_TIMEOUT, default=30.0),
        CONNECT_TIMEOUT,
    )  # fmt: skip
