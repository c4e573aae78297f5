"""One client that asks a server once a second, by httpx and Hypercorn: the workload of the benchmarks that watch time."""

from collections.abc import Callable

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from engines.lab.host import Host
from engines.lab.scenario import HostSpec, Scenario
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import http_client
from engines.wire.http_server import serve_http


def polling(on_answer: Callable[[], None], interval_s: float = 1.0, latency_s: float = 0.04) -> Scenario:
    """`on_answer` is called in the run's thread after each answer."""

    async def server(host: Host) -> None:
        async def news(request: Request) -> PlainTextResponse:
            return PlainTextResponse("nothing new")

        await serve_http(host, Starlette(routes=[Route("/news", news)]))

    async def client(host: Host) -> None:
        async with http_client(host, base_url="http://server") as http:
            while True:
                await http.get("/news")
                on_answer()
                await trio.sleep(interval_s)

    hosts = (HostSpec("client", client), HostSpec("server", server))
    return Scenario("polling", "Polling", "", hosts, protocols={80: Http1Dissector}, network={"latency": latency_s})
