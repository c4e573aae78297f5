"""The HTTP/2 client, against Hypercorn and against a server made of h2: streams that do not wait for one another."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing

import httpx
import pytest
import trio
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from engines.lab.facts import (
    ConnectionOpening,
    MessageStarted,
    PoolAssigned,
    PoolEvicted,
    PoolLeft,
    PoolQueued,
    PoolResized,
    Role,
    WorkFinished,
)
from engines.lab.host import Host
from engines.wire.h2_client import OPEN_ANOTHER, QUEUE, STREAM_POLICY_KNOB, h2_client
from engines.wire.h2_pool import OPEN, WAIT, place
from engines.wire.h2_stream import H2Options
from engines.wire.streaming import streaming
from tests.wire.h2_world import (
    CONNECT_S,
    LATENCY_S,
    RTT_S,
    SERVICE_S,
    URL,
    Peer,
    answers,
    close,
    facts,
    gather,
    hypercorn,
    records,
    run,
    scripted,
)

# --- many requests, one connection --------------------------------------------------------------------------------------


def test_twenty_requests_at_once_take_as_long_as_one() -> None:
    times: list[float] = []

    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL) as http:
            times.extend(await gather(http, ["/"] * 20))

    trace = run(client, hypercorn())
    assert close(times, *[CONNECT_S + RTT_S + SERVICE_S] * 20)
    assert len(facts(trace, ConnectionOpening)) == 1
    labels = Counter(message.label for message in facts(trace, MessageStarted))
    assert (labels["GET /"], labels["200 OK"]) == (20, 20)


def test_a_slow_response_holds_nobody_up() -> None:
    times: list[float] = []

    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL) as http:
            times.extend(await gather(http, ["/after/3.0", "/after/0.25", "/after/0.5", "/after/0.125"]))

    run(client, hypercorn())
    assert close(times, *[CONNECT_S + RTT_S + service for service in (3.0, 0.25, 0.5, 0.125)])


def test_an_unending_response_shares_its_connection() -> None:
    pieces: list[bytes] = []
    times: list[float] = []

    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL) as http, trio.open_nursery() as nursery:

            async def listen() -> None:
                async with http.stream("GET", "/ticks") as response, aclosing(response.aiter_bytes()) as body:
                    async for piece in body:
                        pieces.append(piece)

            nursery.start_soon(listen)
            await trio.sleep(2.0)
            times.extend(await gather(http, ["/", "/"]))
            nursery.cancel_scope.cancel()

    trace = run(client, hypercorn())
    assert pieces[:4] == [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n"]
    assert close(times, *[2.0 + RTT_S + SERVICE_S] * 2)
    assert len(facts(trace, ConnectionOpening)) == 1
    pushes = [message for message in facts(trace, MessageStarted) if message.role is Role.PUSH]
    assert [message.label for message in pushes][:2] == ["event: 0", "event: 1"]
    assert {message.stream for message in pushes} == {1}


# --- the stream limit ---------------------------------------------------------------------------------------------------


def test_at_the_stream_limit_requests_queue_in_rounds() -> None:
    times: list[float] = []

    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL, options=H2Options(assumed_streams=5)) as http:
            times.extend(await gather(http, ["/"] * 20))

    trace = run(client, hypercorn(max_streams=5))
    rounds = [CONNECT_S + n * (RTT_S + SERVICE_S) for n in range(1, 5)]
    assert close(times, *[end for end in rounds for _ in range(5)])
    assert len(facts(trace, ConnectionOpening)) == 1


def test_or_open_another_connection_each() -> None:
    times: list[float] = []

    async def client(host: Host) -> None:
        options = H2Options(assumed_streams=5)
        async with h2_client(host, base_url=URL, options=options, policy=OPEN_ANOTHER) as http:
            times.extend(await gather(http, ["/"] * 20))

    trace = run(client, hypercorn(max_streams=5))
    assert close(times, *[CONNECT_S + RTT_S + SERVICE_S] * 20)
    assert Counter(assigned.member for assigned in facts(trace, PoolAssigned)) == {1: 5, 2: 5, 3: 5, 4: 5}


def test_the_policy_changes_live_and_superfluous_connections_go() -> None:
    times: list[float] = []

    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL, options=H2Options(assumed_streams=2)) as http:
            times.extend(await gather(http, ["/"] * 6))
            await trio.sleep(3.0)

    knob = STREAM_POLICY_KNOB
    orders = {0.5: f"set {knob.name} {OPEN_ANOTHER}", 3.0: f"set {knob.name} {QUEUE}"}
    trace = run(client, hypercorn(max_streams=2), knobs=(knob,), commands=orders)
    at_once, later = CONNECT_S + RTT_S + SERVICE_S, 0.5 + CONNECT_S + RTT_S + SERVICE_S
    assert close(times, at_once, at_once, later, later, later, later)
    assert [(gone.member, gone.reason) for gone in facts(trace, PoolEvicted)] == [(2, "surplus"), (3, "surplus")]


def test_every_place_in_the_pool_is_accounted_for() -> None:
    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL, options=H2Options(assumed_streams=3)) as http:
            await gather(http, ["/"] * 7)

    trace = run(client, hypercorn(max_streams=3))
    in_flight = 0
    for fact in facts(trace, PoolQueued, PoolAssigned, PoolLeft):
        in_flight += {PoolQueued: 0, PoolAssigned: 1, PoolLeft: -1}[type(fact)]
        assert 0 <= in_flight <= 3
    assert in_flight == 0
    assert {left.outcome for left in facts(trace, PoolLeft)} == {"returned"}


def test_a_limit_that_is_lowered_while_requests_run_delays_and_loses_none() -> None:
    """httpcore's own HTTP/2 deadlocks here."""
    times: list[float] = []

    async def script(peer: Peer) -> None:
        await peer.until_requests(4)
        peer.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1})
        await peer.flush()
        await trio.sleep(1.0)
        await peer.answer(*peer.ended[:4])
        await answers(peer, after=4)

    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL, options=H2Options(assumed_streams=4)) as http:
            times.extend(await gather(http, ["/"] * 6))

    trace = run(client, scripted(script, settings={SettingCodes.MAX_CONCURRENT_STREAMS: 4}))
    first = CONNECT_S + RTT_S + 1.0
    assert close(times, first, first, first, first, first + RTT_S, first + 2 * RTT_S)
    assert [resized.size for resized in facts(trace, PoolResized)] == [1, 0]  # at last it is closed


def test_where_the_next_request_goes() -> None:
    assert place([], 1) == OPEN
    assert place([(4, 5)], 1) == 0
    assert place([(5, 5)], 1) == WAIT
    assert place([(5, 5)], 2) == OPEN
    assert place([(5, 5), (0, 5)], 2) == 1
    assert place([(5, 5), (0, 5)], 1) == WAIT, "superfluous connections get no more work"
    assert place([(0, 0)], 1) == WAIT


# --- cancellation -------------------------------------------------------------------------------------------------------


def test_a_cancelled_request_resets_its_stream_and_nothing_else() -> None:
    """The server's program works on: a handler that does not ask whether anybody is still there is not told."""

    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL) as http:
            with trio.move_on_after(1.0):
                await http.get("/after/5.0")
            assert (await http.get("/bytes/3")).text == "xxx"

    trace = run(client, hypercorn())
    resets = [record for record in records(trace, MessageStarted) if record.fact.label.startswith("RST")]
    assert [(r.time_s, r.fact.label, r.fact.sender) for r in resets] == [(1.0, "RST_STREAM CANCEL", "client")]
    assert len(facts(trace, ConnectionOpening)) == 1
    stopped = records(trace, WorkFinished)
    assert [(r.time_s, r.fact.outcome) for r in stopped] == [(CONNECT_S + LATENCY_S + 5.0, "done")]


def test_frames_that_come_too_late_are_passed_over() -> None:
    """They must keep HPACK and the windows right, and are not worth a further RST_STREAM."""
    seen: list[list[tuple[int, int]]] = []

    async def script(peer: Peer) -> None:
        await peer.until_requests(1)
        peer.h2.send_headers(1, [(":status", "200"), ("x-new", "remembered")])
        for _ in range(4):
            peer.h2.send_data(1, bytes(10_000))
        await peer.flush()
        await peer.until_requests(2)
        peer.h2.send_headers(3, [(":status", "200"), ("x-new", "remembered")])
        peer.h2.send_data(3, b"fine", end_stream=True)
        await peer.flush()
        await peer.read_to_the_end()
        seen.append(peer.reset)

    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL) as http:
            with trio.move_on_after(CONNECT_S + LATENCY_S):
                await http.get("/")
            response = await http.get("/")
            assert (response.text, response.headers["x-new"]) == ("fine", "remembered")

    run(client, scripted(script))
    assert seen == [[(1, ErrorCodes.CANCEL)]]


def test_closing_a_response_unread_frees_its_stream() -> None:
    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL, options=H2Options(assumed_streams=1)) as http:
            async with http.stream("GET", "/ticks"):
                pass
            assert (await http.get("/bytes/1")).text == "x"

    run(client, hypercorn(max_streams=1))


def test_a_response_left_in_the_middle_ends_for_whoever_reads_on() -> None:
    """Not to read on is the garbage collector's work else; see `streaming`."""

    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL) as http:
            async with streaming(http, "GET", "/ticks") as (_, pieces):
                assert await anext(pieces) == b"data: 0\n\n"
            assert trio.current_time() == CONNECT_S + RTT_S
            response = await http.send(http.build_request("GET", "/ticks"), stream=True)
            pieces = response.aiter_raw()
            await anext(pieces)
            await response.aclose()
            with pytest.raises(httpx.ReadError, match="closed here"):
                await anext(pieces)

    run(client, hypercorn())


# --- refusals and farewells ---------------------------------------------------------------------------------------------


def test_goaway_moves_what_was_not_processed_and_lets_the_rest_finish() -> None:
    got: list[str] = []

    async def leaving(peer: Peer) -> None:
        await peer.until_requests(3)
        peer.h2.close_connection(last_stream_id=1)
        farewell = peer.h2.data_to_send()
        peer.h2.state_machine.state = type(peer.h2.state_machine.state).CLIENT_OPEN  # h2 would say no more
        await peer.endpoint.send_all(farewell)
        await trio.sleep(1.0)
        await peer.answer(1, body=b"first")
        await peer.read_to_the_end()

    async def client(host: Host) -> None:
        async def ask() -> None:
            got.append((await http.get("/")).text)

        async with h2_client(host, base_url=URL) as http, trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)

    trace = run(client, scripted(leaving, answers))
    assert got == ["again", "again", "first"]
    assert next((gone.member, gone.reason) for gone in facts(trace, PoolEvicted)) == (1, "GOAWAY")
    assert [assigned.how for assigned in facts(trace, PoolAssigned)] == [
        "opened",
        "reused",
        "reused",
        "opened",
        "reused",
    ]


@pytest.mark.parametrize("stream_body", [False, True])
def test_a_refused_request_is_sent_again_if_it_can_be(stream_body: bool) -> None:
    async def refusing(peer: Peer) -> None:
        await peer.until_requests(1)
        peer.h2.reset_stream(1, ErrorCodes.REFUSED_STREAM)
        await peer.flush()
        await answers(peer, after=1)

    async def body() -> AsyncIterator[bytes]:
        yield b"once"

    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL) as http:
            if stream_body:
                with pytest.raises(httpx.RemoteProtocolError, match="REFUSED_STREAM"):
                    await http.post("/", content=body())
            else:
                assert (await http.post("/", content=b"often")).text == "again"

    run(client, scripted(refusing))


def test_a_server_that_always_refuses_is_left_alone_after_a_while() -> None:
    attempts: list[int] = []

    async def refusing(peer: Peer) -> None:
        while await peer.read():
            for stream in peer.ended[len(attempts) :]:
                attempts.append(stream)
                peer.h2.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
            await peer.flush()

    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL) as http:
            with pytest.raises(httpx.RemoteProtocolError):
                await http.get("/")
            assert trio.current_time() == pytest.approx(CONNECT_S + 7 * RTT_S + 1 + 2 + 4 + 8 + 16)

    run(client, scripted(refusing))
    assert len(attempts) == 7


def test_any_other_reset_fails_the_request_and_spares_the_connection() -> None:
    async def resetting(peer: Peer) -> None:
        await peer.until_requests(1)
        peer.h2.reset_stream(1, ErrorCodes.INTERNAL_ERROR)
        await peer.until_requests(2)
        await peer.answer(3)
        await peer.read_to_the_end()

    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL) as http:
            with pytest.raises(httpx.RemoteProtocolError, match="stream 1: INTERNAL_ERROR"):
                await http.get("/")
            assert (await http.get("/")).text == "yes"

    trace = run(client, scripted(resetting))
    assert len(facts(trace, ConnectionOpening)) == 1


# --- the connection is lost ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "error"), [("reset c1", httpx.ReadError), ("kill server", httpx.RemoteProtocolError)]
)
def test_all_streams_of_a_lost_connection_fail(order: str, error: type[Exception]) -> None:
    failures: list[Exception] = []

    async def client(host: Host) -> None:
        async def ask(path: str) -> None:
            try:
                await http.get(path)
            except httpx.TransportError as failure:
                failures.append(failure)

        async with h2_client(host, base_url=URL) as http:
            async with trio.open_nursery() as nursery:
                for path in ("/", "/", "/ticks"):
                    nursery.start_soon(ask, path)
            await trio.sleep(2.0)
            assert (await http.get("/bytes/2")).text == "xx"

    trace = run(client, hypercorn(), commands={1.0: order, 2.0: "restart server"})
    assert [type(failure) for failure in failures] == [error] * 3
    assert [gone.reason for gone in facts(trace, PoolEvicted)] == ["closed by peer"]


def test_an_idle_connection_that_the_server_closes_is_replaced_without_an_error() -> None:
    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL) as http:
            for _ in range(2):
                await http.get("/bytes/1")
                await trio.sleep(3.0)

    trace = run(client, hypercorn(keep_alive_s=1.0))
    assert len(facts(trace, ConnectionOpening)) == 2


def test_nobody_listens() -> None:
    async def client(host: Host) -> None:
        async with h2_client(host, base_url=f"{URL}:81") as http:
            for _ in range(2):
                with pytest.raises(httpx.ConnectError, match="refused"):
                    await http.get("/")

    trace = run(client, hypercorn())
    assert [gone.reason for gone in facts(trace, PoolEvicted)] == ["failed", "failed"]


def test_a_peer_that_speaks_something_else_is_a_protocol_error() -> None:
    async def other(host: Host) -> None:
        async with host.listen(80) as listener:
            endpoint = await listener.accept()
            await endpoint.send_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            await trio.sleep_forever()

    async def client(host: Host) -> None:
        async with h2_client(host, base_url=URL) as http:
            with pytest.raises(httpx.RemoteProtocolError):
                await http.get("/")

    run(client, other)
