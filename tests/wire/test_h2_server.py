"""Our HTTP/2 server against our HTTP/2 client: what it promises, what it refuses, and how it says goodbye."""

from collections import Counter
from collections.abc import AsyncIterator

import httpx
import pytest
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from engines.lab.facts import ConnectionOpening, MessageStarted, PoolAssigned, PoolLeft, PoolResized
from engines.lab.host import Host
from engines.lab.knobs import Number
from engines.lab.scenario import Program
from engines.metrics import Numbers
from engines.wire.h2_client import OPEN_ANOTHER, h2_client
from engines.wire.h2_server import Goodbye, H2Server
from engines.wire.h2_stream import H2Options
from engines.wire.streaming import streaming
from tests.wire.h2_world import CONNECT_S, LATENCY_S, RTT_S, SERVICE_S, URL, close, facts, gather, records, run

STREAMS = Number("streams", "streams", "", 100, 0, 1000, 1, "", integer=True)


class Service:
    """`/` answers after SERVICE_S, `/bytes/9` with 9 bytes, `/pieces` in ten pieces; `/size` counts. It counts itself."""

    def __init__(self, max_streams: int = 100, goodbye: tuple[float, Goodbye] | None = None) -> None:
        self.begun: Counter[str] = Counter()
        self.most_at_once = 0
        self._max_streams = max_streams
        self._goodbye = goodbye
        self._at_once = 0

    async def root(self, request: Request) -> Response:
        self.begun[request.url.query] += 1
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        await trio.sleep(SERVICE_S)
        self._at_once -= 1
        return PlainTextResponse(f"done {request.url.query}")

    async def some(self, request: Request) -> Response:
        return PlainTextResponse("x" * request.path_params["size"])

    async def pieces(self, request: Request) -> Response:
        async def ten() -> AsyncIterator[bytes]:
            for n in range(10):
                yield b"%d" % n * 20_000

        return StreamingResponse(ten())

    async def size(self, request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    @property
    def program(self) -> Program:
        async def serve(host: Host) -> None:
            routes = [
                Route("/", self.root, methods=["GET", "POST"]),
                Route("/bytes/{size:int}", self.some),
                Route("/pieces", self.pieces),
                Route("/size", self.size, methods=["POST"]),
            ]
            server = H2Server(host, Starlette(routes=routes), max_streams=self._max_streams)
            with host.knobs.watching("streams", lambda value: server.limit_streams(int(value))):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(server.serve)
                    if self._goodbye is not None:
                        await trio.sleep(self._goodbye[0])
                        server.say_goodbye(self._goodbye[1])

        return serve


def test_it_serves() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield bytes(30_000)

    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL) as http:
            times = await gather(http, ["/"] * 20)
            assert close(times, *[CONNECT_S + RTT_S + SERVICE_S] * 20)
            assert (await http.get("/bytes/300000")).content == b"x" * 300_000
            assert (await http.get("/pieces")).content == b"".join(b"%d" % n * 20_000 for n in range(10))
            assert (await http.get("/bytes/0")).content == b""
            assert (await http.get("/nowhere")).status_code == 404
            assert (await http.post("/size", content=bytes(200_001))).text == "200001"
            assert (await http.post("/size", content=pieces())).text == "300000"
            assert (await http.get("/?a=1&b=%20")).text == "done a=1&b=%20"
            async with streaming(http, "GET", "/bytes/500000") as (_, pieces_of_it):
                await anext(pieces_of_it)
            assert (await http.get("/bytes/1")).text == "x", "a stream that is left ends alone"

    trace = run(client, Service().program)
    assert len(facts(trace, ConnectionOpening)) == 1


def test_large_responses_take_turns() -> None:
    """Each sends a frame and then lets the others send one."""

    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL) as http:
            times = await gather(http, ["/bytes/300000"] * 3)
            assert max(times) - min(times) < 2 * 65_536 / 100_000, "what the kernel has taken, it sends"

    run(client, Service().program, commands={0.0: "set bandwidth 100kB/s"})


# --- the limit ----------------------------------------------------------------------------------------------------------


def test_what_goes_beyond_the_limit_is_refused_and_comes_again() -> None:
    """The client believes in 100 streams until it has read our SETTINGS. Nothing is done twice."""
    service = Service(max_streams=3)

    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL) as http:
            times = await gather(http, [f"/?{n}" for n in range(8)])
            rounds = [CONNECT_S + n * (RTT_S + SERVICE_S) for n in (1, 2, 3)]
            assert close(sorted(times), *[end for end in rounds for _ in range(3)][:8])

    trace = run(client, service.program)
    assert service.most_at_once == 3
    assert set(service.begun.values()) == {1}
    refused = [m.stream for m in facts(trace, MessageStarted) if m.label == "RST_STREAM REFUSED_STREAM"]
    assert len(refused) == 5
    assert len(facts(trace, ConnectionOpening)) == 1


@pytest.mark.parametrize("limit", [0, 1, 2, 5])
def test_a_limit_lowered_live_spares_those_in_flight_and_is_never_exceeded_again(limit: int) -> None:
    service = Service(max_streams=20)
    lowered_s, raised_s = 0.9, 4.0

    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL) as http:
            times = await gather(http, [f"/?{n}" for n in range(23)])
            at_once = CONNECT_S + RTT_S + SERVICE_S
            assert close(sorted(times)[:20], *[at_once] * 20), "those in flight are not harmed"
            later = [at_once + (n // limit + 1) * (RTT_S + SERVICE_S) for n in range(3)] if limit else []
            expected = later or [raised_s + 3 * LATENCY_S + SERVICE_S] * 3  # SETTINGS, request, response
            assert close(sorted(times)[20:], *expected)

    orders = {lowered_s: f"set streams {limit}"} | ({} if limit else {raised_s: "set streams 20"})
    trace = run(client, service.program, commands=orders, knobs=(STREAMS,))
    assert set(service.begun.values()) == {1}
    numbers = Numbers(trace)
    drained_s = CONNECT_S + RTT_S + SERVICE_S
    for record in records(trace, MessageStarted):
        if drained_s <= record.time_s and (limit or record.time_s < raised_s):
            assert (numbers.value("streams", record.time_s) or 0) <= limit
    assert [resized.size for resized in facts(trace, PoolResized)] == ([20, limit, 0] if limit else [20, 0, 20, 0])


def test_or_other_connections_are_opened() -> None:
    service = Service(max_streams=4)

    async def client(host: Host) -> None:
        options = H2Options(assumed_streams=4)
        async with h2_client(host, base_url=URL, options=options, policy=OPEN_ANOTHER) as http:
            await gather(http, ["/"] * 4)
            times = await gather(http, ["/"] * 4)
            assert max(times) == pytest.approx(2 * (RTT_S + SERVICE_S) + CONNECT_S + RTT_S)

    # Lowered while four are in flight: they stay where they are; of the next four, one finds room and three need connections.
    trace = run(client, service.program, commands={1.0: "set streams 1"}, knobs=(STREAMS,))
    assert Counter(a.member for a in facts(trace, PoolAssigned)) == {1: 5, 2: 1, 3: 1, 4: 1}
    assert "RST_STREAM REFUSED_STREAM" not in [message.label for message in facts(trace, MessageStarted)]


# --- goodbyes -----------------------------------------------------------------------------------------------------------


def load(how: Goodbye, at_s: float = 2.05) -> tuple[Service, list[str], int, list[str]]:
    """A POST every 0.05 s; the server says goodbye in between. The service, what succeeded, how many failed, labels."""
    service = Service(goodbye=(at_s, how))
    done: list[str] = []
    failed: list[int] = []

    async def client(host: Host) -> None:
        async def charge(number: int) -> None:
            try:
                response = await http.post(f"/?{number}", content=b"money")
            except httpx.TransportError:
                failed.append(number)
            else:
                done.append(response.text.removeprefix("done "))

        async with h2_client(host, base_url=URL) as http, trio.open_nursery() as nursery:
            for number in range(60):
                nursery.start_soon(charge, number)
                await trio.sleep(0.05)

    trace = run(client, service.program)
    assert [left.outcome for left in facts(trace, PoolLeft) if left.outcome != "returned"] == []
    return service, done, len(failed), [message.label for message in facts(trace, MessageStarted)]


def test_one_goaway_names_the_last_request_and_the_others_are_sent_again() -> None:
    service, done, failed, labels = load(Goodbye.AT_ONCE)
    assert (len(done), failed) == (60, 0)
    assert set(service.begun.values()) == {1}
    again = labels.count("POST /?38") + labels.count("POST /?39") + labels.count("POST /?40")
    assert sum(label.startswith("POST") for label in labels) > 60, "some crossed the GOAWAY on their way"
    assert again >= 3


def test_two_goaways_leave_nothing_to_be_sent_again() -> None:
    service, done, failed, labels = load(Goodbye.WARNED)
    assert (len(done), failed) == (60, 0)
    assert set(service.begun.values()) == {1}
    assert sum(label.startswith("POST") for label in labels) == 60
    goodbyes = [label for label in labels if label.startswith("GOAWAY")]
    assert goodbyes[0] == "GOAWAY NO_ERROR, last stream not named yet"
    assert goodbyes[1].startswith("GOAWAY NO_ERROR, last stream ")


def test_to_just_close_leaves_the_client_in_doubt() -> None:
    """What was in flight has been done, or will be; the client is not told, and may not ask again."""
    service, done, failed, _ = load(Goodbye.SILENT)
    assert len(done) + failed == 60
    in_flight = (SERVICE_S + RTT_S) / 0.05
    assert in_flight - 3 <= failed <= in_flight + 3
    assert set(service.begun.values()) == {1}
    assert sum(service.begun.values()) > len(done), "some were done, and nobody knows"


def test_an_application_that_never_stops_sending_is_told_when_nobody_listens() -> None:
    class Endless(AsyncIterator[bytes]):
        async def __anext__(self) -> bytes:
            return bytes(1000)

    async def endless(request: Request) -> Response:
        return StreamingResponse(Endless())

    async def server(host: Host) -> None:
        await H2Server(host, Starlette(routes=[Route("/", endless)])).serve()

    async def client(host: Host) -> None:
        for _ in range(2):
            async with h2_client(host, base_url=URL) as http, streaming(http, "GET", "/") as (_, pieces):
                for _ in range(100):
                    assert await anext(pieces)

    run(client, server)
