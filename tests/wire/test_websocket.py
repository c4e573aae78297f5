"""The WebSocket client against Hypercorn, over the lab's network: handshake, messages, both closings, heartbeats."""

import re
from base64 import b64encode
from collections.abc import Awaitable, Callable
from hashlib import sha1

import pytest
import trio
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket as ServerWebSocket

from engines.lab.commands import TimedCommand, parse_command
from engines.lab.facts import ConnectionReset, Fact, MessageStarted, PacketKind, PacketSent, TimedOut
from engines.lab.host import Host
from engines.lab.scenario import HostSpec, Program, Scenario
from engines.lab.session import SessionState, run_headless
from engines.lab.trace import Trace
from engines.wire.http_server import serve_http
from engines.wire.websocket import (
    ABNORMAL,
    GOING_AWAY,
    NORMAL,
    OPEN_TIMEOUT_S,
    Heartbeat,
    WebSocket,
    WebSocketClosedError,
    WebSocketError,
    connect_websocket,
)
from engines.wire.websocket_dissector import WebSocketDissector

Talk = Callable[[ServerWebSocket], Awaitable[None]]
LATENCY_S = 0.04


def played(
    client: Program, talk: Talk, *commands: str, until_s: float = 30.0, heartbeat: Heartbeat | None = None
) -> Trace:
    """A run of `client` against a server that accepts and then does `talk`; commands are "SECONDS COMMAND"."""

    async def server(host: Host) -> None:
        async def endpoint(ws: ServerWebSocket) -> None:
            await ws.accept()
            await talk(ws)

        await serve_http(host, Starlette(routes=[WebSocketRoute("/", endpoint)]), heartbeat=lambda: heartbeat)

    hosts = (HostSpec("client", client), HostSpec("server", server))
    scenario = Scenario("ws", "ws", "", hosts, protocols={80: WebSocketDissector}, until_s=until_s)
    orders = [TimedCommand(float(c.split()[0]), parse_command(c.split(maxsplit=1)[1])) for c in commands]
    session = run_headless(scenario, commands=orders)
    assert session.status.state is SessionState.ENDED, session.status.message
    return session.trace


def of(trace: Trace, kind: type[Fact]) -> list[tuple[float, Fact]]:
    return [(record.time_s, record.fact) for record in trace if isinstance(record.fact, kind)]


def said(trace: Trace) -> list[str]:
    """Every message, as "client: text 2 B"."""
    return [f"{f.sender}: {f.label}" for _, f in of(trace, MessageStarted) if isinstance(f, MessageStarted)]


def bytes_from(trace: Trace, sender: str) -> bytes:
    sent = [f for _, f in of(trace, PacketSent) if isinstance(f, PacketSent)]
    return b"".join(p.payload for p in sent if p.sender == sender and p.kind is PacketKind.DATA and p.attempt == 1)


async def echo(ws: ServerWebSocket) -> None:
    async for text in ws.iter_text():
        await ws.send_text(text)


async def silent(ws: ServerWebSocket) -> None:
    async for _ in ws.iter_text():
        pass


HANDSHAKE = ["client: GET /", "server: 101 Switching Protocols"]


def test_words_go_both_ways_and_both_say_goodbye() -> None:
    heard: list[str | bytes] = []

    async def client(host: Host) -> None:
        async with connect_websocket(host, "server") as ws:
            for text in ("hi", "é" * 100, "x" * 70_000):
                await ws.send(text)
                heard.append(await ws.receive())

    trace = played(client, echo)
    assert heard == ["hi", "é" * 100, "x" * 70_000]
    assert said(trace) == [
        *HANDSHAKE,
        "client: text 2 B",
        "server: text 2 B",
        "client: text 200 B",
        "server: text 200 B",
        "client: text 70,000 B",
        "server: text 70,000 B",
        "client: close 1000",
        "server: close 1000",
    ]
    assert of(trace, ConnectionReset) == []


def test_the_handshake_is_a_riddle_and_its_answer() -> None:
    """RFC 6455, section 4.2.2: SHA-1 of the key and a fixed GUID, in base64."""

    async def client(host: Host) -> None:
        async with connect_websocket(host, "server"):
            pass

    trace = played(client, silent)
    key = re.search(rb"Sec-WebSocket-Key: (\S+)\r\n", bytes_from(trace, "client"))
    accept = re.search(rb"(?i)sec-websocket-accept: (\S+)\r\n", bytes_from(trace, "server"))
    assert key
    assert accept
    assert accept[1] == b64encode(sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    assert b"xtensions" not in bytes_from(trace, "client") + bytes_from(trace, "server")


def test_the_same_run_has_the_same_keys_and_masks() -> None:
    async def client(host: Host) -> None:
        async with connect_websocket(host, "server") as ws:
            await ws.send("hello")
            await ws.receive()

    assert bytes_from(played(client, echo), "client") == bytes_from(played(client, echo), "client")


def test_the_server_closes_with_a_code_and_a_reason() -> None:
    errors: list[WebSocketClosedError] = []

    async def leave(ws: ServerWebSocket) -> None:
        await ws.send_text("one moment")
        await ws.close(GOING_AWAY, "we stop")
        await ws.receive()

    async def client(host: Host) -> None:
        try:
            async with connect_websocket(host, "server") as ws:
                async for text in ws:
                    assert text == "one moment"
        except WebSocketClosedError as error:
            errors.append(error)

    trace = played(client, leave)
    assert [(error.code, error.reason) for error in errors] == [(GOING_AWAY, "we stop")]
    assert said(trace)[-2:] == ["server: close 1001", "client: close 1001"]
    assert of(trace, ConnectionReset) == []


def test_a_message_too_big_for_hypercorn_is_answered_with_1009() -> None:
    errors: list[int] = []

    async def client(host: Host) -> None:
        try:
            async with connect_websocket(host, "server") as ws:
                await ws.send("x" * (16 * 2**20 + 1))
                await ws.receive()
        except WebSocketClosedError as error:
            errors.append(error.code)

    played(client, silent, until_s=120.0)
    assert errors == [1009]


@pytest.mark.parametrize(
    ("commands", "reason"),
    [(("1 kill server",), "without a Close"), (("1 reset c1",), "reset"), (("1 kill server", "2 restart server"), "")],
)
def test_a_connection_that_just_ends_counts_as_1006_which_is_never_sent(commands: list[str], reason: str) -> None:
    errors: list[WebSocketClosedError] = []

    async def client(host: Host) -> None:
        try:
            async with connect_websocket(host, "server") as ws:
                await ws.receive()
        except WebSocketClosedError as error:
            errors.append(error)

    trace = played(client, silent, *commands)
    assert [error.code for error in errors] == [ABNORMAL]
    assert reason in errors[0].reason
    assert said(trace) == HANDSHAKE


def test_a_client_that_is_killed_says_nothing() -> None:
    async def client(host: Host) -> None:
        async with connect_websocket(host, "server") as ws:
            await ws.receive()

    assert said(played(client, silent, "1 kill client")) == HANDSHAKE


def test_an_exception_in_the_block_comes_out_bare_and_closes_with_1011() -> None:
    async def client(host: Host) -> None:
        with pytest.raises(KeyError):
            async with connect_websocket(host, "server"):
                raise KeyError("ours")

    assert said(played(client, silent))[2:] == ["client: close 1011", "server: close 1011"]


@pytest.mark.parametrize(
    ("commands", "path", "message"),
    [
        (("0 kill server",), "/", "refused"),
        (("0 unplug server",), "/", "within 10 s"),
        (("0.1 unplug server",), "/", "handshake within 10 s"),
        ((), "/elsewhere", "answered 403 instead of 101"),
    ],
)
def test_there_may_be_no_connection_at_all(commands: list[str], path: str, message: str) -> None:
    errors: list[WebSocketError] = []

    async def client(host: Host) -> None:
        await trio.sleep(0.01)
        try:
            async with connect_websocket(host, "server", path):
                pytest.fail("there is a connection")
        except WebSocketError as error:
            errors.append(error)

    played(client, silent, *commands)
    assert message in str(errors[0]).lower() or message in str(errors[0])
    assert OPEN_TIMEOUT_S == 10.0


def test_two_tasks_may_send_at_once() -> None:
    heard: list[str | bytes] = []

    async def client(host: Host) -> None:
        async with connect_websocket(host, "server") as ws, trio.open_nursery() as nursery:
            for word in ("a", "b", "c"):
                nursery.start_soon(ws.send, word * 30_000)
            for _ in range(3):
                heard.append(await ws.receive())

    played(client, echo)
    assert heard == ["a" * 30_000, "b" * 30_000, "c" * 30_000]


# --- heartbeats ---------------------------------------------------------------------------------------------------------


async def wait_for_the_end(ws: WebSocket) -> None:
    async for _ in ws:
        pass


@pytest.mark.parametrize(("interval_s", "timeout_s"), [(20.0, 20.0), (1.0, 5.0), (3.0, 0.5)])
def test_the_client_finds_a_silent_server_after_an_interval_and_a_timeout(interval_s: float, timeout_s: float) -> None:
    found: list[float] = []
    errors: list[tuple[int, str]] = []

    async def client(host: Host) -> None:
        try:
            async with connect_websocket(host, "server", heartbeat=lambda: Heartbeat(interval_s, timeout_s)) as ws:
                await wait_for_the_end(ws)
        except WebSocketClosedError as error:
            errors.append((error.code, error.reason))
            found.append(trio.current_time())

    trace = played(client, silent, "0.5 unplug client", until_s=60.0)
    assert errors == [(ABNORMAL, "no pong came")]
    assert found == pytest.approx([4 * LATENCY_S + interval_s + timeout_s])
    assert [f.what for _, f in of(trace, TimedOut) if isinstance(f, TimedOut)] == ["pong"]
    assert said(trace)[2:] == ["client: ping", "client: close 1011"]


def test_as_long_as_pongs_come_nothing_ends() -> None:
    async def client(host: Host) -> None:
        with trio.move_on_after(28):
            async with connect_websocket(host, "server", heartbeat=lambda: Heartbeat(5.0, 0.1)) as ws:
                await wait_for_the_end(ws)

    trace = played(client, silent, heartbeat=Heartbeat(5.0, 0.1))
    words = said(trace)[2:]
    assert words.count("client: ping") == words.count("server: pong") == 5
    assert words.count("server: ping") == words.count("client: pong") == 6  # Hypercorn's first comes at once
    assert of(trace, TimedOut) == []


def test_the_server_gives_a_silent_client_up_after_an_interval_and_a_timeout() -> None:
    left: list[float] = []

    async def client(host: Host) -> None:
        async with connect_websocket(host, "server") as ws:
            await wait_for_the_end(ws)

    async def listen(ws: ServerWebSocket) -> None:
        message = await ws.receive()
        assert (message["type"], message["code"]) == ("websocket.disconnect", ABNORMAL)
        left.append(trio.current_time())

    played(client, listen, "0.5 unplug client", heartbeat=Heartbeat(4.0, 3.0))
    first_pong_s = 5 * LATENCY_S
    assert left == pytest.approx([first_pong_s + 4.0 + 3.0])


def test_without_a_heartbeat_nobody_ever_notices() -> None:
    """TCP notices when it has something to send, and gives up after 15 minutes or more (Linux: tcp_retries2)."""
    ended: list[str] = []

    async def client(host: Host) -> None:
        try:
            async with connect_websocket(host, "server") as ws:
                await wait_for_the_end(ws)
        finally:
            ended.append("client")

    async def listen(ws: ServerWebSocket) -> None:
        await ws.receive()
        ended.append("server")

    played(client, listen, "0.5 unplug client", until_s=600.0)
    assert ended == ["client"]  # by the end of the run only


def test_the_close_code_of_a_block_that_ends_is_normal() -> None:
    async def client(host: Host) -> None:
        async with connect_websocket(host, "server") as ws:
            await ws.close(GOING_AWAY, "bye")
            await ws.close(NORMAL)  # a second time is nothing

    assert said(played(client, silent))[2:] == ["client: close 1001", "server: close 1001"]
