"""What random fault schedules found in the HTTP client and server, each as the smallest run that shows it."""

import gc
from collections.abc import AsyncGenerator
from contextlib import aclosing

import httpx
import pytest
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from engines.lab.commands import TimedCommand, parse_command
from engines.lab.facts import ConnectionClosed
from engines.lab.host import Host
from engines.lab.scenario import HostSpec, Program, Scenario
from engines.lab.session import SessionState, run_headless
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import POOL_SIZE_KNOB, http_client
from engines.wire.http_server import serve_http


async def server(host: Host) -> None:
    async def take(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))

    await serve_http(host, Starlette(routes=[Route("/", take, methods=["POST"])]))


def scenario(client: Program) -> Scenario:
    hosts = (HostSpec("client", client), HostSpec("server", server))
    return Scenario("found", "found", "", hosts, protocols={80: Http1Dissector}, until_s=5.0)


def test_a_client_that_leaves_in_the_middle_of_its_request_does_not_end_the_server() -> None:
    answers = []

    async def client(host: Host) -> None:
        async with http_client(host, base_url="http://server") as http:
            with pytest.raises(httpx.TransportError):
                await http.post("/", content=b"x" * 100)
            answers.append((await http.post("/", content=b"again")).text)

    reset = TimedCommand(0.0, parse_command("reset after 30% of next request"))
    session = run_headless(scenario(client), commands=[reset])
    assert session.status.state is SessionState.ENDED, session.status.message
    assert answers == ["5"]


def test_a_body_that_was_not_sent_to_its_end_is_closed_at_once() -> None:
    """Left to the garbage collector, httpx's generator around it would end at any time, and trio would warn."""

    async def body() -> AsyncGenerator[bytes, None]:
        for _ in range(1000):
            yield b"x" * 10_000

    async def client(host: Host) -> None:
        async with http_client(host, base_url="http://server") as http, aclosing(body()) as pieces:
            with pytest.raises(httpx.WriteTimeout):
                await http.post("/", content=pieces, timeout=httpx.Timeout(5.0, write=1.0))
            gc.collect()

    cut = TimedCommand(0.2, parse_command("cut server>client"))
    session = run_headless(scenario(client), commands=[cut])
    assert session.status.state is SessionState.ENDED, session.status.message


def test_a_server_that_stops_serving_closes_its_connections() -> None:
    """Hypercorn closes with two awaits, of which a cancellation lets only the first begin."""

    async def server(host: Host) -> None:
        async def hello(request: Request) -> PlainTextResponse:
            return PlainTextResponse("hello")

        with trio.move_on_after(2):
            await serve_http(host, Starlette(routes=[Route("/", hello)]))
        await trio.sleep_forever()

    async def client(host: Host) -> None:
        async with http_client(host, base_url="http://server") as http:
            await http.get("/")
            await trio.sleep_forever()

    lesson = Scenario("stops", "", "", (HostSpec("client", client), HostSpec("server", server)))
    trace = run_headless(lesson, until_s=3).trace
    closed = [(r.time_s, r.fact.host) for r in trace if isinstance(r.fact, ConnectionClosed)]
    assert closed[0] == (2.0, "server")


def test_a_connection_that_becomes_free_is_promised_to_one_request_and_the_queue_keeps_its_order() -> None:
    """httpcore promises it to all: they queue again, their pool timeouts begin anew, and newcomers overtake them."""
    done: list[tuple[int, float]] = []
    timed_out: list[tuple[int, float]] = []

    async def server(host: Host) -> None:
        async def slow(request: Request) -> PlainTextResponse:
            await trio.sleep(1)
            return PlainTextResponse("done")

        await serve_http(host, Starlette(routes=[Route("/", slow)]))

    async def client(host: Host) -> None:
        async def ask(number: int) -> None:
            try:
                await http.get("/", timeout=httpx.Timeout(None, pool=2.5))
            except httpx.PoolTimeout:
                timed_out.append((number, trio.current_time()))
            else:
                done.append((number, trio.current_time()))

        async with http_client(host, base_url="http://server") as http, trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(ask, number)

    hosts = (HostSpec("client", client), HostSpec("server", server))
    run_headless(
        Scenario("queue", "", "", hosts, (POOL_SIZE_KNOB,)), knobs={"pool-size": 1.0, "latency": 0.0}, until_s=10
    )
    assert done == [(0, 1.0), (1, 2.0), (2, 3.0)]
    assert timed_out == [(3, 2.5), (4, 2.5)]
