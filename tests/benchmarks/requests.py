"""Requests a second through httpx and Hypercorn: on the lab, on the lab with nobody writing anything down, and on real
loopback sockets. Measured in processor time of this process, kernel included: nothing here ever waits for anything."""

import time
from dataclasses import dataclass
from typing import Any

import httpx
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from engines.lab.facts import Fact
from engines.lab.host import Host
from engines.lab.recorder import Recorder
from engines.lab.scenario import HostSpec, Scenario
from engines.lab.session import Session
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import http_client
from engines.wire.http_server import serve_http
from tests.benchmarks.measuring import Figure, compare, ratio_at_least

WARM_UP = 20
ENOUGH_S = 1e6


@dataclass(frozen=True, slots=True)
class Requests:
    requests: int = 150
    rounds: int = 7

    def measure(self) -> list[Figure]:
        def on_lab() -> float:
            return lab_rate(self.requests, recording=True)

        on_lab()
        silent = compare(on_lab, lambda: lab_rate(self.requests, recording=False), self.rounds)
        real = compare(on_lab, lambda: loopback_rate(self.requests), self.rounds)
        return [
            silent.figure("requests, lab", "/s", ratio_at_least(0.85), "not recorded"),
            real.figure("requests, lab", "/s", ratio_at_least(1.0), "loopback"),
        ]


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


def application() -> Starlette:
    return Starlette(routes=[Route("/hello", hello)])


async def request_rate(http: httpx.AsyncClient, requests: int) -> float:
    """Requests a second of processor time, one after the other over a warm connection."""
    for _ in range(WARM_UP):
        (await http.get("/hello")).raise_for_status()
    began = time.process_time()
    for _ in range(requests):
        await http.get("/hello")
    return requests / (time.process_time() - began)


# --- on the lab ---------------------------------------------------------------------------------------------------------


class SilentRecorder(Recorder):
    """Numbers facts, because the lab refers to packets by them, and writes none down."""

    _count = 0

    def record(self, fact: Fact, cause: int | None = None) -> int:
        self._count += 1
        return self._count


def lab_rate(requests: int, *, recording: bool) -> float:
    rates: list[float] = []

    async def server(host: Host) -> None:
        await serve_http(host, application())

    async def client(host: Host) -> None:
        async with http_client(host, base_url="http://server") as http:
            rates.append(await request_rate(http, requests))

    protocols = {80: Http1Dissector} if recording else {}
    hosts = (HostSpec("client", client), HostSpec("server", server))
    session = Session(Scenario("requests", "Requests", "", hosts, protocols=protocols), paused=True)
    if not recording:
        session._recorder = SilentRecorder(session.trace, session._clock)
    session.start()
    session.run_until(ENOUGH_S)
    session.wait_idle()
    session.close()
    return rates[0]


# --- on real sockets ----------------------------------------------------------------------------------------------------


def loopback_rate(requests: int) -> float:
    return trio.run(_on_loopback, requests)


async def _on_loopback(requests: int) -> float:
    context, config = WorkerContext(None), _as_on_lab()
    served: Any = application()

    def plain(stream: trio.SocketStream) -> Any:
        """Hypercorn's annotations want TLS; its code does not."""
        return stream

    async def serve(stream: trio.SocketStream) -> None:
        await TCPServer(ASGIWrapper(served), config, context, {}, plain(stream))

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        port = listeners[0].socket.getsockname()[1]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            for superfluous in ("accept-encoding", "connection"):
                del http.headers[superfluous]
            http.headers["user-agent"] = "commtui"
            rate = await request_rate(http, requests)
        nursery.cancel_scope.cancel()
    return rate


def _as_on_lab() -> Config:
    """Hypercorn set as `serve_http` sets it, so that both say and leave out the same."""
    config = Config()
    config.errorlog = config.accesslog = None
    config.include_date_header = config.include_server_header = False
    config.keep_alive_max_requests = 2**31
    return config
