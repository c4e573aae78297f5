"""The limits of the HTTP/2 client, in time and in bytes; and what the rest of the lab makes of its connections."""

from collections.abc import AsyncIterator

import httpx
import pytest
import trio

from engines.lab.facts import (
    MessageEnded,
    MessageStarted,
    PacketSent,
    PoolEvicted,
    PoolLeft,
    TimedOut,
)
from engines.lab.host import Host
from engines.lab.trace import Trace
from engines.metrics.collect import Journal
from engines.metrics.exchanges import Exchanges
from engines.wire.h2_client import h2_client
from engines.wire.h2_stream import H2Options
from tests.wire.h2_world import (
    CONNECT_S,
    RTT_S,
    URL,
    Peer,
    close,
    facts,
    gather,
    hypercorn,
    records,
    run,
    scripted,
)

# --- time limits --------------------------------------------------------------------------------------------------------


def timeouts(trace: Trace) -> list[tuple[float, str, float]]:
    return [(r.time_s, r.fact.what, r.fact.after_s) for r in records(trace, TimedOut)]


def test_time_limits_are_httpx_s_and_are_recorded() -> None:
    async def client(host: Host) -> None:
        limits = httpx.Timeout(5.0, read=0.5, pool=0.25)
        async with h2_client(host, base_url=URL, options=H2Options(assumed_streams=1)) as http:
            async with trio.open_nursery() as nursery:

                async def slow() -> None:
                    with pytest.raises(httpx.ReadTimeout):
                        await http.get("/after/5.0", timeout=limits)

                nursery.start_soon(slow)
                await trio.sleep(0.1)
                with pytest.raises(httpx.PoolTimeout):
                    await http.get("/", timeout=limits)
            assert (await http.get("/bytes/1")).text == "x", "the connection lives"

    trace = run(client, hypercorn(max_streams=1))
    assert timeouts(trace) == [
        (pytest.approx(0.35), "pool", 0.25),
        (pytest.approx(CONNECT_S + 0.5), "read", 0.5),
    ]
    assert [left.outcome for left in facts(trace, PoolLeft)] == ["timed out", "returned", "returned"]


def test_a_connection_that_does_not_come_about_in_time() -> None:
    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL) as http:
            with pytest.raises(httpx.ConnectTimeout):
                await http.get("/", timeout=1.5)
            await trio.sleep(1.0)
            assert (await http.get("/bytes/1")).text == "x"

    trace = run(client, hypercorn(), commands={0.0: "cut client>server", 2.0: "restore client>server"})
    assert timeouts(trace) == [(1.5, "connect", 1.5)]
    assert [gone.reason for gone in facts(trace, PoolEvicted)] == ["gave up"]


def test_a_server_that_opens_no_window_stops_a_request_body() -> None:
    async def miser(peer: Peer) -> None:
        while peer.received < 65_535:
            await peer.read(acknowledge=False)
        await trio.sleep(4.0)
        if peer.endpoint.is_readable():
            return  # the client has lost its patience
        peer.h2.increment_flow_control_window(200_000)
        peer.h2.increment_flow_control_window(200_000, 1)
        await peer.flush()
        await peer.until_requests(1)
        await peer.answer(1, body=str(peer.received).encode())
        await peer.read_to_the_end()

    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL) as http:
            with pytest.raises(httpx.WriteTimeout):
                await http.post("/", content=bytes(100_000), timeout=httpx.Timeout(5.0, write=2.0))
        async with h2_client(host, base_url=URL) as http:
            response = await http.post("/", content=bytes(100_000))
            assert response.text == "100000"

    trace = run(client, scripted(miser))
    assert [what for _, what, _ in timeouts(trace)] == ["write"]


# --- flow control -------------------------------------------------------------------------------------------------------


def slow_reader(options: H2Options, stalled: list[float]) -> Trace:
    """Leave a big response unread for 5 s while an ordinary request runs on the same connection."""

    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL, options=options) as http, http.stream("GET", "/bytes/300000") as big:

            async def ordinary() -> None:
                begun = trio.current_time()
                await http.get("/bytes/20000", timeout=60.0)
                stalled.append(trio.current_time() - begun)

            await trio.sleep(2.0)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ordinary)
                await trio.sleep(3.0)
                assert len(await big.aread()) == 300_000

    return run(client, hypercorn())


def sent_before(trace: Trace, time_s: float) -> int:
    """Bytes that the server had sent by then."""
    sent = [record for record in records(trace, PacketSent) if record.time_s < time_s]
    return sum(len(r.fact.payload) for r in sent if r.fact.sender == "server")


def test_what_is_not_read_stays_with_the_server_and_holds_nobody_else_up() -> None:
    stalled: list[float] = []
    trace = slow_reader(H2Options(), stalled)
    assert 65_535 < sent_before(trace, 2.0) < 66_500, "one window, and frame headers"
    assert close(stalled, RTT_S)


def test_unless_the_connection_s_window_opens_only_as_data_is_read() -> None:
    stalled: list[float] = []
    slow_reader(H2Options(hold_connection_window=True), stalled)
    assert stalled[0] > 3.0


def test_larger_windows_are_told_at_the_start() -> None:
    times: list[float] = []

    async def client(host: Host) -> None:
        options = H2Options(stream_window=1_000_000, connection_window=2_000_000)
        async with h2_client(host, base_url=URL, options=options) as http:
            await http.get("/bytes/1")
            begun = trio.current_time()
            assert len((await http.get("/bytes/60000")).content) == 60_000
            times.append(trio.current_time() - begun)

    trace = run(client, hypercorn())
    assert close(times, RTT_S)
    labels = [message.label for message in facts(trace, MessageStarted)]
    assert labels[:2] == [
        "SETTINGS ENABLE_PUSH 0, INITIAL_WINDOW_SIZE 1,000,000",
        "WINDOW_UPDATE connection +1,934,465",
    ]


def test_an_upload_arrives_whole() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield bytes(30_000)

    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL) as http:
            assert (await http.post("/size", content=bytes(200_001))).text == "200001"
            assert (await http.post("/size", content=pieces())).text == "300000"
            assert (await http.post("/size", content=b"")).text == "0"

    run(client, hypercorn())


def test_a_ping_is_answered() -> None:
    pongs: list[int] = []

    async def pinging(peer: Peer) -> None:
        peer.h2.ping(b"are you?")
        await peer.until_requests(1)
        await peer.answer(1)
        await peer.read_to_the_end()
        pongs.append(peer.pongs)

    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL) as http:
            await http.get("/")
            await trio.sleep(1.0)

    run(client, scripted(pinging))
    assert pongs == [1]


def test_trailers_and_interim_responses() -> None:
    async def chatty(peer: Peer) -> None:
        await peer.until_requests(1)
        peer.h2.send_headers(1, [(":status", "103"), ("link", "</x>")])
        peer.h2.send_headers(1, [(":status", "200")])
        peer.h2.send_data(1, b"body")
        peer.h2.send_headers(1, [("grpc-status", "0")], end_stream=True)
        await peer.flush()
        await peer.read_to_the_end()

    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL) as http:
            response = await http.get("/")
            assert (response.status_code, response.text) == (200, "body")
            assert response.http_version == "HTTP/2"
            assert response.extensions["trailing_headers"] == [(b"grpc-status", b"0")]

    run(client, scripted(chatty))


# --- what the rest of the lab makes of it -------------------------------------------------------------------------------


def lively() -> Trace:
    """A bit of everything, with random loss."""

    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL, options=H2Options(assumed_streams=4)) as http:
            with trio.move_on_after(2.0):
                await http.get("/after/9.0")
            await gather(http, ["/", "/bytes/100000", "/after/0.5", "/bytes/50", "/bytes/70000", "/"])
            await http.post("/size", content=bytes(150_000))

    return run(client, hypercorn(max_streams=4), commands={0.0: "set loss 5%", 0.5: "set latency 30ms"})


def test_the_same_run_gives_the_same_trace() -> None:
    first, second = lively(), lively()
    assert [str(record) for record in first] == [str(record) for record in second]


def test_responses_are_matched_to_requests_by_stream() -> None:
    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL) as http:
            await gather(http, ["/after/3.0", "/after/1.0", "/after/2.0", "/bytes/1000"])

    trace = run(client, hypercorn())
    journal, length = Journal(trace, (Exchanges,)), len(trace)
    journal.read(length)
    delays = journal.samples("delay")
    assert [delays.quantile(share, length) for share in (0.25, 0.5, 0.75, 1.0)] == [
        pytest.approx(RTT_S + service) for service in (0.0, 1.0, 2.0, 3.0)
    ]
    assert journal.level("payload").at(length) == 3 * len("late") + 1000
    assert len(facts(trace, MessageEnded)) == len(facts(trace, MessageStarted))
