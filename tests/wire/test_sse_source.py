"""EventSource and event_stream over the simulated network, against servers that say whatever a test wants."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from engines.lab.facts import MessageStarted, Noted, RunFailed, StateChanged
from engines.lab.host import Host
from engines.lab.scenario import HostSpec, Scenario
from engines.lab.session import run_headless
from engines.lab.tcp import Endpoint
from engines.lab.trace import Trace
from engines.wire.http_client import http_client
from engines.wire.http_server import serve_http
from engines.wire.proxy import Buffering, reverse_proxy
from engines.wire.sse import EventSource, ReadyState, event_stream
from engines.wire.sse_dissector import SseDissector
from engines.wire.sse_grammar import format_event
from tests.patterns.laws import breaches, every

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
LATENCY_S = 0.1


async def listening_client(host: Host, server: str = "server") -> None:
    """Notes every event and every drop with the source's state, and says how it ended."""

    def dropped(reason: str) -> None:
        host.note(f"dropped: {reason}, {source.ready_state.name.lower()}, id {source.last_event_id!r}")

    async with (
        http_client(host, base_url=f"http://{server}") as http,
        EventSource(host, http, "/feed", dropped=dropped) as source,
    ):
        assert source.ready_state is ReadyState.CONNECTING
        async for event in source:
            assert source.ready_state is ReadyState.OPEN
            host.note(f"{event.type}: {event.data} ({event.last_event_id})")
        assert source.ready_state is ReadyState.CLOSED
    host.note(f"closed: {source.failure}")


def play(
    server: Callable[[Host], object], until_s: float = 20.0, proxy: Callable[[Host], object] | None = None
) -> Trace:
    async def client(host: Host) -> None:
        await listening_client(host, "proxy" if proxy else "server")

    hosts = [HostSpec("client", client), *([HostSpec("proxy", proxy)] if proxy else []), HostSpec("server", server)]
    scenario = Scenario(
        "x", "x", "x", tuple(hosts), protocols={80: SseDissector}, network={"latency": LATENCY_S}, until_s=until_s
    )
    trace = run_headless(scenario, name="x", seed=0, knobs={}, commands=(), until_s=until_s).trace
    assert every(trace, RunFailed) == []
    assert breaches(trace) == []
    return trace


def notes(trace: Trace, host: str = "client") -> list[str]:
    return [note.text for _, note in every(trace, Noted) if note.host == host]


def answering(*answers: bytes) -> Callable[[Host], object]:
    """A server that gives each connection the next of these answers, and closes it; it notes the Last-Event-ID it was told."""

    async def server(host: Host) -> None:
        left = list(answers)

        async def serve(stream: Endpoint) -> None:
            async with stream:
                asked = await stream.receive_some()
                host.note(next((line for line in asked.decode().splitlines() if "event-id" in line.lower()), "no id"))
                await stream.send_all(left.pop(0))

        async with host.listen(80) as listener:
            while left:
                await serve(await listener.accept())

    return server


NO_MORE = b"HTTP/1.1 204 No Content\r\n\r\n"


# --- when it comes back, and when it does not ---------------------------------------------------------------------------


def test_it_comes_back_with_its_id_until_it_is_told_not_to() -> None:
    trace = play(answering(OK + b"id: a\ndata: 1\n\ndata: lost", OK + b": hi\n\n", NO_MORE))
    assert notes(trace) == [
        "message: 1 (a)",
        "dropped: the stream ended, connecting, id 'a'",
        "dropped: the stream ended, connecting, id 'a'",
        "closed: status 204",
    ]
    assert notes(trace, "server") == ["no id", "Last-Event-ID: a", "Last-Event-ID: a"]


def test_it_waits_three_seconds_or_what_retry_says() -> None:
    trace = play(answering(OK, OK + b"retry: 1500\n\n", OK, NO_MORE))
    asked = [record.time_s for record, message in every(trace, MessageStarted) if message.label == "GET /feed"]
    # The answer takes two trips, the FIN comes with it; a new connection takes two more.
    assert [later - earlier for earlier, later in pairwise(asked)] == pytest.approx([3.4, 1.9, 1.9], abs=1e-9)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (NO_MORE, "status 204"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "status 500"),
        (b"HTTP/1.1 201 Created\r\nContent-Type: text/event-stream\r\nContent-Length: 0\r\n\r\n", "status 201"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n", "content type text/html"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "content type missing"),
    ],
)
def test_it_ends_for_good(answer: bytes, failure: str) -> None:
    assert notes(play(answering(answer, OK))) == [f"closed: {failure}"]


def test_parameters_and_case_of_the_type_do_not_matter() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream ; charset=latin-1\r\n\r\ndata: \xc3\xa9\n\n"
    assert notes(play(answering(answer, NO_MORE)))[0] == "message: é ()"


def test_an_id_beyond_ascii_goes_back_as_utf8() -> None:
    told = notes(play(answering(OK + "id: é\ndata: x\n\n".encode(), NO_MORE)), "server")
    assert told == ["no id", "Last-Event-ID: é"]


def test_nobody_there_is_an_accident() -> None:
    async def late(host: Host) -> None:
        await trio.sleep(5.0)
        await answering(NO_MORE)(host)  # type: ignore[misc]

    assert notes(play(late)) == [
        "dropped: ConnectError, connecting, id ''", "dropped: ConnectError, connecting, id ''", "closed: status 204",
    ]  # fmt: skip


# --- the server's side --------------------------------------------------------------------------------------------------


def test_the_channel_closes_when_the_client_leaves_and_the_response_when_the_channel_does() -> None:
    async def server(host: Host) -> None:
        async def feed(request: Request) -> Response:
            send, events = trio.open_memory_channel[str](math.inf)
            nursery.start_soon(feed_it, send)
            return event_stream(events, lambda text: format_event(text, id=text), heartbeat_s=lambda: 1.0, retry_s=60.0)

        async def feed_it(send: trio.MemorySendChannel[str]) -> None:
            with send:
                send.send_nowait("a")
                await trio.sleep(2.5)
                send.send_nowait("b")

        async with trio.open_nursery() as nursery:
            await serve_http(host, Starlette(routes=[Route("/feed", feed)]))

    trace = play(server, 6.0)
    said = [(round(record.time_s, 9), message.label) for record, message in every(trace, MessageStarted)]
    assert said == [
        (0.2, "GET /feed"), (0.3, "200 OK"), (0.3, "retry: 60000"), (0.3, "event a"),
        (1.3, ": heartbeat"), (2.3, ": heartbeat"), (2.8, "event b"),
    ]  # fmt: skip
    assert notes(trace)[-1] == "dropped: the stream ended, connecting, id 'b'"


def test_a_client_that_leaves_closes_the_channel() -> None:
    async def server(host: Host) -> None:
        async def feed(request: Request) -> Response:
            send, events = trio.open_memory_channel[str](math.inf)
            nursery.start_soon(watch, send)
            return event_stream(events, format_event)

        async def watch(send: trio.MemorySendChannel[str]) -> None:
            await trio.sleep(1.9)
            assert send.statistics().open_receive_channels
            await trio.sleep(1.0)
            assert not send.statistics().open_receive_channels
            host.note("gone")

        async with trio.open_nursery() as nursery:
            await serve_http(host, Starlette(routes=[Route("/feed", feed)]))

    async def client(host: Host) -> None:
        async with http_client(host, base_url="http://server") as http:
            with trio.move_on_after(2.0):
                async with EventSource(host, http, "/feed") as source:
                    async for _ in source:
                        pass

    scenario = Scenario(
        "x", "x", "x", (HostSpec("client", client), HostSpec("server", server)), protocols={80: SseDissector}
    )
    trace = run_headless(scenario, name="x", seed=0, knobs={}, commands=(), until_s=5.0).trace
    assert notes(trace, "server") == ["gone"]
    assert breaches(trace) == []


# --- through a proxy ----------------------------------------------------------------------------------------------------


def test_a_proxy_says_so_when_nobody_is_behind_it() -> None:
    async def nobody(host: Host) -> None:
        await trio.sleep_forever()

    assert notes(play(nobody, proxy=lambda host: reverse_proxy(host, "server"))) == ["closed: status 502"]


def test_a_proxy_s_time_limits() -> None:
    async def silent(host: Host) -> None:
        async with host.listen(80) as listener, await listener.accept():
            await trio.sleep_forever()

    for limits in ({"timeout_s": lambda: 2.0}, {"silence_s": lambda: 2.0}):
        trace = play(silent, proxy=lambda host, limits=limits: reverse_proxy(host, "server", **limits))  # type: ignore[misc]
        assert notes(trace) == ["closed: status 504"]


def test_a_time_limit_in_mid_stream_breaks_it() -> None:
    async def server(host: Host) -> None:
        async def feed(request: Request) -> Response:
            send, events = trio.open_memory_channel[str](math.inf)
            send.send_nowait("a")
            keep.append(send)
            return event_stream(events, format_event)

        keep: list[trio.MemorySendChannel[str]] = []
        await serve_http(host, Starlette(routes=[Route("/feed", feed)]))

    trace = play(server, 7.0, proxy=lambda host: reverse_proxy(host, "server", timeout_s=lambda: 2.0))
    assert notes(trace) == ["message: a ()", "dropped: RemoteProtocolError, connecting, id ''", "message: a ()"]


def test_what_a_proxy_passes_on() -> None:
    async def server(host: Host) -> None:
        async def echo(request: Request) -> Response:
            body = await request.body()
            host.note(
                f"{request.method} {request.url.path}?{request.url.query} {body.decode()} {request.headers['x-a']}"
            )
            return PlainTextResponse("x" * 10_000, 201, {"X-Accel-Redirect": "y", "X-B": "z"})

        await serve_http(host, Starlette(routes=[Route("/a b", echo, methods=["PUT"])]))

    async def client(host: Host) -> None:
        async with http_client(host, base_url="http://proxy") as http:
            answer = await http.put("/a%20b?c=d", content=b"hello", headers={"X-A": "1"})
            fields = [name for name in answer.headers if name.startswith("x-")]
            host.note(f"{answer.status_code} {len(answer.content)} {fields}")

    for buffering in (None, Buffering(), Buffering(size_bytes=lambda: 7)):

        async def proxy(host: Host, buffering: Buffering | None = buffering) -> None:
            await reverse_proxy(host, "server", buffering=buffering)

        hosts = (HostSpec("client", client), HostSpec("proxy", proxy), HostSpec("server", server))
        trace = run_headless(Scenario("x", "x", "x", hosts), name="x", seed=0, knobs={}, commands=(), until_s=5.0).trace
        assert notes(trace, "server") == ["PUT /a b?c=d hello 1"]
        assert notes(trace) == ["201 10000 ['x-b']"]
        assert bool(every(trace, StateChanged)) == (buffering is not None)
