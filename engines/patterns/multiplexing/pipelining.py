"""Pipelining: HTTP/1.1 may send requests without waiting, but the answers come in the order of the requests.

RFC 9112, section 9.3.2: a server may work on pipelined requests in parallel if they are all safe, and must send the responses in
the order in which the requests came. So a slow answer holds up every answer behind it, ready or not.
"""

import math
from collections.abc import Sequence
from contextlib import suppress

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from engines.lab.facts import MessageStarted, Noted, WaitEnded, WaitKind, WaitStarted, WorkStarted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.multiplexing.rounds import PAUSE_KNOB, ask_for_all, tell_makespan
from engines.patterns.troubles import DROP_PACKET, KILL_CLIENT, KILL_SERVER, UNPLUG_CLIENT
from engines.wire.h2_client import h2_client
from engines.wire.http1 import Http1Dissector
from engines.wire.http2 import Http2Dissector
from engines.wire.http_client import TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http

ONE_BY_ONE, PIPELINED, SIX, SHARED = "one by one", "pipelined", "six connections", "http/2"
ALL_AT_ONCE, IN_TURN = "all at once", "one at a time"

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """HTTP/1.1 with pipelining on port 80, by hand; the same answers over HTTP/2 on port 8080."""

    async def item(request: Request) -> PlainTextResponse:
        return PlainTextResponse(await work_on(host, request.url.path))

    app = Starlette(routes=[Route("/{what}", item)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, host, app, 8080)
        async with host.listen(80) as listener:
            while True:
                nursery.start_soon(serve_pipelined, host, await listener.accept())


async def work_on(host: Host, path: str) -> str:
    """The answer to `path`, which takes its time."""
    slow = path.startswith("/slow")
    await host.work(path, host.knobs.number("slow-time" if slow else "quick-time"))
    return f"the answer to {path}\n"


async def serve_pipelined(host: Host, stream: trio.abc.HalfCloseableStream) -> None:
    """Read requests as they come, work on them, and send the answers in their order."""
    line, turns = trio.open_memory_channel[Answer](math.inf)
    lock = trio.Lock()
    async with stream, trio.open_nursery() as nursery:
        nursery.start_soon(send_in_order, host, stream, turns)
        received = b""
        with line, suppress(trio.BrokenResourceError):
            while piece := await stream.receive_some():
                received += piece
                while b"\r\n\r\n" in received:
                    head, _, received = received.partition(b"\r\n\r\n")
                    answer = Answer(head.split()[1].decode())
                    line.send_nowait(answer)
                    nursery.start_soon(prepare, host, answer, lock)


class Answer:
    """An answer in the making."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.text = ""
        self.ready = trio.Event()
        self.its_turn = trio.Event()


async def prepare(host: Host, answer: Answer, lock: trio.Lock) -> None:
    """Make an answer, and hold it until it is its turn."""
    if host.knobs["server-works"] == IN_TURN:
        async with lock:
            answer.text = await work_on(host, answer.path)
    else:
        answer.text = await work_on(host, answer.path)
    answer.ready.set()
    if not answer.its_turn.is_set():
        with host.waiting(f"{answer.path} is ready, not its turn", WaitKind.HELD):
            await answer.its_turn.wait()


async def send_in_order(host: Host, stream: trio.abc.SendStream, turns: trio.MemoryReceiveChannel[Answer]) -> None:
    """The order of the requests is all that tells the client which answer is which."""
    with suppress(trio.BrokenResourceError):
        async for answer in turns:
            answer.its_turn.set()
            await answer.ready.wait()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer.text)}\r\n\r\n"
            await stream.send_all((head + answer.text).encode())
    async for answer in turns:
        answer.its_turn.set()  # nobody is there to hear it


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Asks for one slow thing and for some quick ones at once; pauses; does it again."""
    while True:
        count, slow = int(host.knobs.number("requests")), int(host.knobs.number("slow-place"))
        paths = [f"/slow{n}" if n == slow else f"/quick{n}" for n in range(1, count + 1)]
        match host.knobs["sending"]:
            case "pipelined":
                took_s = await ask_in_pipeline(host, paths)
            case "http/2":
                async with h2_client(host, base_url="http://server:8080") as http:
                    took_s = await ask_for_all(host, http, paths)
            case "six connections":
                async with http_client(host, base_url="http://server", size_knob="connections") as http:
                    took_s = await ask_for_all(host, http, paths)
            case _:
                took_s = await ask_one_by_one(host, paths)
        quick_s = [
            took for path, took in zip(paths, took_s, strict=True) if path.startswith("/quick") and took < math.inf
        ]
        if quick_s:
            host.measure("quick answers, mean seconds", sum(quick_s) / len(quick_s))
        await trio.sleep(host.knobs.number("interval"))


async def ask_one_by_one(host: Host, paths: Sequence[str]) -> list[float]:
    """On one connection, each request when the answer to the one before it is there; how long each has taken."""
    began_s, took_s = trio.current_time(), [math.inf] * len(paths)
    async with http_client(host, base_url="http://server") as http:
        try:
            for index, path in enumerate(paths):
                await http.get(path)
                took_s[index] = trio.current_time() - began_s
        except httpx.TransportError as error:
            host.note(f"no more answers: {type(error).__name__}")
    tell_makespan(host, took_s)
    return took_s


async def ask_in_pipeline(host: Host, paths: Sequence[str]) -> list[float]:
    """All requests in one go on one connection, then the answers as they come. httpx cannot do this; few clients can."""
    began_s, took_s = trio.current_time(), [math.inf] * len(paths)
    try:
        with trio.fail_after(host.knobs.number("read-timeout")):
            async with await host.connect("server", 80) as stream:
                requests = "".join(f"GET {path} HTTP/1.1\r\nHost: server\r\n\r\n" for path in paths)
                await stream.send_all(requests.encode())
                received = bytearray()
                for index in range(len(paths)):
                    await take_answer(stream, received)
                    took_s[index] = trio.current_time() - began_s
    except (OSError, EOFError, trio.BrokenResourceError) as error:
        host.note(f"no more answers: {error}")
    except trio.TooSlowError:
        host.timed_out("read", host.knobs.number("read-timeout"))
    tell_makespan(host, took_s)
    return took_s


async def take_answer(stream: trio.abc.ReceiveStream, received: bytearray) -> None:
    """Take one response off the front of `received`, reading more as needed: it ends where Content-Length says."""
    while True:
        head, empty_line, body = bytes(received).partition(b"\r\n\r\n")
        size = int(head.rpartition(b"Content-Length: ")[2]) if empty_line else 0
        if empty_line and len(body) >= size:
            del received[: len(head) + len(empty_line) + size]
            return
        piece = await stream.receive_some()
        if not piece:
            raise EOFError("the connection was closed")
        received += piece


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS

LESSON = Lesson(
    name="pipelining",
    title="Pipelining",
    purpose="Six requests leave together, and the first is slow: see five answers stand ready that may not be sent yet.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: Http1Dissector, 8080: Http2Dissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Choice("sending", "sending", PIPELINED, (PIPELINED, ONE_BY_ONE, SIX, SHARED), "how the client sends its requests"),
        Number("requests", "requests", "", 6, 1, 12, 1, "how many the client makes at once, one of them slow", integer=True),
        Number("slow-place", "the slow one is", "", 1, 1, 12, 1, "its place among them: 1 is the first", integer=True),
        Number("slow-time", "slow", "s", 2.0, 0.0, 10.0, 0.5, "how long the server works on the slow one"),
        Number("quick-time", "quick", "s", 0.1, 0.0, 10.0, 0.1, "how long it works on each of the others"),
        Choice("server-works", "server works on", ALL_AT_ONCE, (ALL_AT_ONCE, IN_TURN),
               "what came in one pipeline: RFC 9112 allows either, for safe methods"),
        Number("connections", "connections", "", 6, 1, 12, 1, "to the server, when there are to be several", integer=True),
        PAUSE_KNOB,
        READ_TIMEOUT,
        CONNECT_TIMEOUT,
    ),
    faults=(KILL_SERVER, KILL_CLIENT, UNPLUG_CLIENT, DROP_PACKET),
    metrics=("latest:quick answers, mean seconds", "latest:makespan seconds", "delay", "delay-p95", "connections", "requests",
             "bytes", "timeouts"),
    beats=(
        Beat(WaitStarted, "The answer to {label}: only the order tells the client which answer is which, so it must wait.",
             {"kind": "held"}),
        Beat(Noted, "{text}.", {"text": "all "}),
        Beat(WaitEnded, "At last its turn has come: the answers before it have left.", {"outcome": "done"}),
        Beat(MessageStarted, "The slow answer leaves, and everything that had piled up behind it follows at once.",
             {"role": "response", "flow": ".*", "sender": "server"}),
        Beat(WorkStarted, "The server begins to work on {label}.", {"label": "/slow"}),
        Beat(MessageStarted, "{label} leaves, and the next one with it: nobody waits for an answer first.",
             {"role": "request", "label": "GET /quick"}),
        Beat(MessageStarted, "{label} leaves: a long piece of work, first in line.", {"label": "GET /slow"}),
    ),
    try_next=(
        "Let the slow one be the last (place 6): the quick answers all come after 0.50 s. Order decides, and nobody can know it.",
        "Speak HTTP/2: frames say which stream they belong to, so each quick answer comes when it is ready, after 0.50 s.",
        "Use six connections: the same for the quick ones, at the price of six greetings.",
        "Send them one by one: the slow one first, then a round trip for each of the others. Hence pipelining.",
        "Let the server work on one at a time: now the last answer needs 2.90 s, and a pipeline only saves the travelling.",
        "Drop the next packet while answers come in: TCP has its own order to keep, and all of them wait once more.",
        "Set the read timeout to 1 s: the client gives up on all six because of one.",
    ),
)  # fmt: skip
