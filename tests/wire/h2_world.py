"""A client and a server that speak HTTP/2 in a lab: Hypercorn as the real peer, and one of h2 that does what a test wants."""

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import h2.connection
import h2.events
import httpx
import trio
from h2.config import H2Configuration
from h2.settings import SettingCodes, Settings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from engines.lab.commands import TimedCommand, parse_command
from engines.lab.facts import Fact
from engines.lab.host import Host
from engines.lab.knobs import Knob
from engines.lab.scenario import HostSpec, Program, Scenario
from engines.lab.session import Session, SessionState, run_headless
from engines.lab.tcp import Endpoint
from engines.lab.trace import Trace
from engines.wire.h2_server import Goodbye, H2Server
from engines.wire.http2 import Http2Dissector
from engines.wire.http_server import serve_http

URL = "http://server"
LATENCY_S = 0.1
SERVICE_S = 1.0
CONNECT_S = RTT_S = 2 * LATENCY_S


def run(
    client: Program,
    server: Program,
    *,
    until_s: float = 60.0,
    knobs: tuple[Knob, ...] = (),
    commands: dict[float, str] | None = None,
) -> Trace:
    """Run both programs; the client must come to its end."""
    ended = []

    async def to_its_end(host: Host) -> None:
        await client(host)
        ended.append(True)

    hosts = (HostSpec("client", to_its_end), HostSpec("server", server))
    scenario = Scenario(
        "h2", "h2", "", hosts, knobs, protocols={80: Http2Dissector}, until_s=until_s, network={"latency": LATENCY_S}
    )
    orders = [TimedCommand(at, parse_command(order)) for at, order in (commands or {}).items()]
    session: Session = run_headless(scenario, commands=orders)
    assert session.status.state is SessionState.ENDED, session.status.message
    assert ended, "the client hangs"
    return session.trace


def close(times: list[float], *expected: float) -> bool:
    """Whether these are the expected times, but for the last digits."""
    return len(times) == len(expected) and all(abs(t - e) < 1e-9 for t, e in zip(times, expected, strict=True))


async def gather(http: httpx.AsyncClient, paths: list[str]) -> list[float]:
    """Ask for all `paths` at once; when each answer was there, in the order of the paths."""
    times = [0.0] * len(paths)

    async def ask(index: int) -> None:
        (await http.get(paths[index])).raise_for_status()
        times[index] = trio.current_time()

    async with trio.open_nursery() as nursery:
        for index in range(len(paths)):
            nursery.start_soon(ask, index)
    return times


def facts(trace: Trace, *kinds: type[Fact]) -> list[Any]:
    """All facts of these kinds."""
    return [record.fact for record in records(trace, *kinds)]


def records(trace: Trace, *kinds: type[Fact]) -> list[Any]:
    """The same, with their times and causes."""
    return [record for record in trace if isinstance(record.fact, kinds)]


def hypercorn(max_streams: int = 100, keep_alive_s: float = 1000.0, *, ours: bool = False) -> Program:
    """`/` answers after SERVICE_S, `/after/1.5` after 1.5 s, `/bytes/9` with 9 bytes, `/ticks` for ever; `/size` counts.

    With `ours`, our own server serves the same, and changes its limit and says goodbye now and then.
    """

    async def root(request: Request) -> Response:
        await trio.sleep(SERVICE_S)
        return PlainTextResponse("done")

    async def after(request: Request) -> Response:
        host = request.app.state.host
        with host.working("slow"):
            await trio.sleep(request.path_params["seconds"])
        return PlainTextResponse("late")

    async def some(request: Request) -> Response:
        return PlainTextResponse("x" * request.path_params["size"])

    async def ticks(request: Request) -> Response:
        async def tick() -> Any:
            n = 0
            while True:
                yield f"data: {n}\n\n"
                n += 1
                await trio.sleep(0.5)

        return StreamingResponse(tick(), media_type="text/event-stream")

    async def size(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    async def server(host: Host) -> None:
        app = Starlette(
            routes=[
                Route("/", root),
                Route("/after/{seconds:float}", after),
                Route("/bytes/{size:int}", some),
                Route("/ticks", ticks),
                Route("/size", size, methods=["POST"]),
            ]
        )
        app.state.host = host
        if ours:
            await restless(H2Server(host, app, max_streams=max_streams), max_streams)
        await serve_http(host, app, max_streams=lambda: max_streams, keep_alive_s=lambda: keep_alive_s)

    return server


async def restless(server: H2Server, max_streams: int) -> None:
    """Serve, now with less streams and now with more, and with a goodbye of each kind in turn."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve)
        for how in itertools.cycle(Goodbye):
            await trio.sleep(1.3)
            server.limit_streams(max_streams // 2)
            await trio.sleep(1.3)
            server.limit_streams(max_streams)
            server.say_goodbye(how)


class Peer:
    """A server's end of one connection, for scripts."""

    def __init__(self, endpoint: Endpoint, settings: dict[SettingCodes, int]) -> None:
        self.endpoint = endpoint
        self.h2 = h2.connection.H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.local_settings = Settings(client=False, initial_values=settings)
        self.requests: list[int] = []  # streams whose head has come
        self.ended: list[int] = []
        self.reset: list[tuple[int, int]] = []
        self.pongs = 0
        self.received = 0

    async def begin(self) -> None:
        self.h2.initiate_connection()
        await self.flush()

    async def flush(self) -> None:
        await self.endpoint.send_all(self.h2.data_to_send())

    async def read(self, acknowledge: bool = True) -> bool:
        """Take what comes next; false at the end."""
        try:
            data = await self.endpoint.receive_some()
        except trio.BrokenResourceError:
            return False
        for event in self.h2.receive_data(data):
            match event:
                case h2.events.RequestReceived(stream_id=stream):
                    self.requests.append(stream)
                case h2.events.StreamEnded(stream_id=stream):
                    self.ended.append(stream)
                case h2.events.StreamReset(stream_id=stream, error_code=code):
                    self.reset.append((stream, code))
                case h2.events.PingAckReceived():
                    self.pongs += 1
                case h2.events.DataReceived(stream_id=stream, flow_controlled_length=size):
                    self.received += size
                    if acknowledge:
                        self.h2.acknowledge_received_data(size, stream)
        await self.flush()
        return bool(data)

    async def read_to_the_end(self) -> None:
        while await self.read():
            pass

    async def until_requests(self, count: int) -> None:
        """Read until so many requests have come whole, or the end."""
        while len(self.ended) < count and await self.read():
            pass

    async def answer(self, *streams: int, body: bytes = b"yes", status: str = "200") -> None:
        for stream in streams:
            self.h2.send_headers(stream, [(":status", status)])
            self.h2.send_data(stream, body, end_stream=True)
        await self.flush()


def scripted(*scripts: Callable[[Peer], Awaitable[None]], settings: dict[SettingCodes, int] | None = None) -> Program:
    """A server whose connections each follow the next script, the last one for all that come after."""

    async def server(host: Host) -> None:
        async def serve(endpoint: Endpoint, script: Callable[[Peer], Awaitable[None]]) -> None:
            peer = Peer(endpoint, settings or {})
            await peer.begin()
            await script(peer)
            endpoint.close()

        async with host.listen(80) as listener, trio.open_nursery() as nursery:
            number = 0
            while True:
                endpoint = await listener.accept()
                nursery.start_soon(serve, endpoint, scripts[min(number, len(scripts) - 1)])
                number += 1

    return server


async def answers(peer: Peer, after: int = 0) -> None:
    """A script: every request, but for the first few, gets its answer at once."""
    answered = after
    while await peer.read():
        while answered < len(peer.ended):
            await peer.answer(peer.ended[answered], body=b"again")
            answered += 1
