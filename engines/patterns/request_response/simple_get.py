"""Simple GET: a question, an answer, again and again. What does one cost, and how does anybody know where it ends?"""

import math

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from engines.lab.facts import (
    ConnectionClosed,
    ConnectionOpening,
    MessageStarted,
    PacketSent,
    PoolAssigned,
    PoolQueued,
    WorkStarted,
)
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number, Toggle
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.troubles import (
    CUT_ANSWERS,
    DROP_PACKET,
    KILL_CLIENT,
    KILL_SERVER,
    LOSE_REQUEST,
    LOSE_RESPONSE,
    UNPLUG_CLIENT,
)
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import POOL_SIZE_KNOB, TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Answers GET /hello after some work."""

    async def hello(request: Request) -> PlainTextResponse:
        await host.work("process", host.knobs.number("service-time"))
        size = int(host.knobs.number("body-size"))
        return PlainTextResponse(("hello " * size)[:size])

    routes = [Route("/hello", hello)]
    await serve_http(host, Starlette(routes=routes), keep_alive_s=lambda: host.knobs.number("keep-alive-time"))


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Asks, uses the answer, pauses, asks again."""
    async with http_client(host, base_url="http://server") as http:
        while True:
            sending = host.knobs["sending"]
            if sending == "normal":
                async with trio.open_nursery() as nursery:
                    for _ in range(int(host.knobs.number("burst"))):
                        nursery.start_soon(ask, host, http)
            elif sending == "two in one segment":
                await ask_in_raw_bytes(host, [REQUEST + REQUEST], answers=2)
            else:
                await ask_in_raw_bytes(host, [bytes([byte]) for byte in REQUEST], answers=1)
            await trio.sleep(host.knobs.number("interval"))


async def ask(host: Host, http: httpx.AsyncClient) -> None:
    """One request and its response, as every program does it."""
    headers = {} if host.knobs.on("keep-alive") else {"Connection": "close"}
    try:
        response = await http.get("/hello", headers=headers)
    except httpx.TransportError as error:
        host.note(f"no answer: {type(error).__name__}")
    else:
        await use(host, len(response.content))


async def use(host: Host, size: int) -> None:
    await host.work(f"use {size:,} bytes", 0.05)


# --- the client, by hand ------------------------------------------------------------------------------------------------

REQUEST = b"GET /hello HTTP/1.1\r\nHost: server\r\n\r\n"
SLICE_PAUSE_S = 0.02


async def ask_in_raw_bytes(host: Host, slices: list[bytes], answers: int) -> None:
    """Send a request (or two) cut as we like; the protocol finds the boundaries all the same."""
    try:
        with trio.fail_after(host.knobs.number("read-timeout")):
            async with await host.connect("server", 80) as stream:
                for piece in slices:
                    await stream.send_all(piece)
                    await trio.sleep(SLICE_PAUSE_S)
                received = bytearray()
                for _ in range(answers):
                    await use(host, await read_response(stream, received))
    except (OSError, EOFError, trio.BrokenResourceError) as error:
        host.note(f"no answer: {error}")
    except trio.TooSlowError:
        host.timed_out("read", host.knobs.number("read-timeout"))


async def read_response(stream: trio.abc.ReceiveStream, received: bytearray) -> int:
    """Take one response off the front of `received`, reading more as needed; returns the size of its body.

    How the bytes were cut into segments tells nothing; what `boundaries` finds in them is all that counts.
    """
    while (found := boundaries(received)) is None or len(received) < sum(found):
        piece = await stream.receive_some()
        if not piece:
            raise EOFError("the connection was closed in the middle of a response")
        received += piece
    head_size, body_size = found
    del received[: head_size + body_size]
    return body_size


def boundaries(received: bytearray) -> tuple[int, int] | None:
    """The sizes of head and body: the head ends with an empty line, the body after as many bytes as it announced.

    RFC 9112, sections 2.1 and 6.2. None while the head is incomplete.
    """
    head, empty_line, _ = bytes(received).partition(b"\r\n\r\n")
    if not empty_line:
        return None
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    return len(head) + len(empty_line), int(fields[b"content-length"])


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, POOL_TIMEOUT = TIMEOUT_KNOBS

LESSON = Lesson(
    name="simple-get",
    title="Simple GET",
    purpose="One question, one answer: see what a request costs, and how either side knows where a message ends.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: Http1Dissector},
    network={"latency": 0.2},
    until_s=20.0,
    knobs=(
        Number("service-time", "service time", "s", 0.3, 0.0, 10.0, 0.1, "how long the server works on a request"),
        Number("interval", "pause", "s", 1.0, 0.05, 60.0, 0.25, "the client's pause before it asks again"),
        Number("burst", "requests at once", "", 1, 1, 50, 1, "how many requests the client makes together", integer=True),
        POOL_SIZE_KNOB,
        Toggle("keep-alive", "connection", True, "whether a connection serves one request or many", "kept", "closed"),
        Number("keep-alive-time", "kept idle for", "s", 5.0, 0.1, math.inf, 1.0,
               "how long the server keeps an idle connection (Hypercorn 0.18: 5 s)", ratio=2.0),
        Choice("sending", "sending", "normal", ("normal", "two in one segment", "one byte at a time"),
               "how the client cuts its requests into segments"),
        Number("body-size", "body", "B", 500, 0, 1_000_000, 500, "size of the answer's body", ratio=2.0, integer=True),
        CONNECT_TIMEOUT,
        READ_TIMEOUT,
        POOL_TIMEOUT,
    ),
    faults=(KILL_SERVER, KILL_CLIENT, UNPLUG_CLIENT, CUT_ANSWERS, DROP_PACKET, LOSE_REQUEST, LOSE_RESPONSE),
    metrics=("requests", "responses", "delay", "delay-p95", "connections", "bytes", "overhead", "pool-queue", "timeouts"),
    beats=(
        Beat(ConnectionOpening,
             "Before it may ask, the client must be connected: SYN there, SYN-ACK back. That is one whole round trip in"
             " which nothing is said yet."),
        Beat(PoolAssigned,
             "The old connection is still open, so this request leaves at once: no round trip is spent on connecting.",
             {"how": "reused"}),
        Beat(PoolQueued, "The client wants to ask {label}, and asks its pool for a connection first."),
        Beat(WorkStarted, "The whole request is here, and the server begins to work. The client can only wait.",
             {"label": "process"}),
        Beat(WorkStarted, "The whole answer is here, and the client knows it: the length was announced in the head. Now it"
             " can use it.", {"label": "use "}),
        Beat(MessageStarted, "The answer leaves: a status line, headers, an empty line, and after it exactly as many bytes as"
             " Content-Length announced.", {"role": "response"}),
        Beat(PacketSent, "Two requests leave in one segment. TCP carries a stream of bytes and knows of no messages: to find"
             " the boundary is the protocol's job.", {"payload": "(?s)GET.*GET"}),
        Beat(PacketSent, "One byte of a request. The server gathers them until an empty line says that the request is"
             " complete: segments mean nothing.", {"sender": "client", "payload": r"(?s).\Z"}),
        Beat(ConnectionClosed, "The server closes the connection. Whoever asks next will have to pay for a new one.",
             {"host": "server"}),
    ),
    try_next=(
        "Close the connection after each request: before the next one, a whole round trip is spent on connecting, every time.",
        "Send one byte at a time: 37 segments, and still the server sees exactly one request.",
        "Send two requests in one segment: the server finds the boundary, and answers them in their order.",
        "Make 8 requests at once over a pool of 2, and watch the queue: the burst takes four times as long.",
        "Set the pause to 6 s, longer than the server keeps an idle connection, and count the connections.",
        "Set the pause to 4.7 s: request and goodbye cross on the wire, and the request gets no answer at all.",
        "Kill the server while it works, restart it, and see what the client had to do to go on.",
        "Unplug the client for a while: nobody gets an error, and only the read timeout ends the silence.",
    ),
)  # fmt: skip
