"""Conditional polling: the client says which version it has, and what has not changed is not sent again.

ETag names a version, If-None-Match asks for any other, 304 Not Modified has no body (RFC 9110, sections 8.8.3, 13.1.2,
15.4.5). It saves bytes; requests and delays stay what they were.
"""

import json

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engines.lab.facts import EventBorn, EventHandled, Measured, MessageStarted
from engines.lab.host import Host
from engines.lab.knobs import Number, Toggle
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.short_polling.pauses import pause
from engines.patterns.troubles import CUT_ANSWERS, KILL_CLIENT, KILL_SERVER, LOSE_RESPONSE, UNPLUG_CLIENT
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """A board of departures that changes now and then; its version is the number of the last change."""
    chance = host.randomness("changes")

    async def change() -> None:
        while True:
            await trio.sleep(chance.expovariate(host.knobs.number("change-rate")))
            host.disk["version"] = host.event_born(BYTES_OF_A_CHANGE)

    async def show(request: Request) -> Response:
        version = host.disk.get("version", 0)
        headers = {"ETag": f'"v{version}"', "Cache-Control": "no-cache"}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(board(version, int(host.knobs.number("board-size"))), 200, headers, "application/json")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(change)
        await serve_http(host, Starlette(routes=[Route("/departures", show)]))


def board(version: int, size: int) -> str:
    """The whole board, `size` bytes of it."""
    head, tail = f'{{"version":{version},"departures":"', '"}'
    text = "10:12 Ghent 4, " * (size // 15 + 1)
    return head + text[: size - len(head) - len(tail)] + tail


BYTES_OF_A_CHANGE = 15
"""A line of the board: what a change would take, if only it were sent."""

# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Polls the board, and keeps what it got last, with its ETag."""
    etag, size = "", 0
    async with http_client(host, base_url="http://server") as http:
        while True:
            response = await ask(host, http, {"If-None-Match": etag} if etag and host.knobs.on("conditional") else {})
            if response is not None and response.status_code == 304:
                host.measure("saved bytes", size)
            elif response is not None:
                if etag == response.headers["ETag"]:
                    host.measure("unchanged bytes", size)
                etag, size = response.headers["ETag"], len(response.content)
                learn(host, json.loads(response.content)["version"])
            await pause(host, host.knobs.number("interval"))


async def ask(host: Host, http: httpx.AsyncClient, headers: dict[str, str]) -> httpx.Response | None:
    """One poll; None when there came no answer."""
    host.measure("polls")
    try:
        return await http.get("/departures", headers=headers)
    except httpx.TransportError as error:
        host.note(f"no answer: {type(error).__name__}")
        return None


def learn(host: Host, version: int) -> None:
    """Every version up to that of the board is known now."""
    for change in range(host.disk.get("known", 0) + 1, version + 1):
        host.event_handled(change)
    host.disk["known"] = version


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS

LESSON = Lesson(
    name="conditional",
    title="Only if it changed",
    purpose="The board is 2 kB and seldom changes: see what “send it only if it is not the one I have” saves.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: Http1Dissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Toggle("conditional", "asks", True, "whether polls carry If-None-Match", on="if changed", off="for everything"),
        Number("interval", "polls every", "s", 1.0, 0.05, 60.0, 0.5, "the client's pause between an answer and the next poll"),
        Number("change-rate", "changes", "1/s", 0.2, 0.01, 100.0, 0.1, "how often the board changes, on average", ratio=2.0),
        Number("board-size", "board", "B", 2000, 100, 1_000_000, 500, "size of the whole board", ratio=2.0, integer=True),
        READ_TIMEOUT,
        CONNECT_TIMEOUT,
    ),
    faults=(KILL_CLIENT, KILL_SERVER, UNPLUG_CLIENT, CUT_ANSWERS, LOSE_RESPONSE),
    metrics=("bytes", "measured:saved bytes", "measured:unchanged bytes", "measured:polls", "empty", "overhead",
             "bytes-per-event-byte", "event-delay-mean", "events-waiting"),
    beats=(
        Beat(Measured, "304 Not Modified: no body. {amount} bytes did not have to cross the network.", {"what": "saved"}),
        Beat(Measured, "{amount} bytes came that the client had already. It had not said so.", {"what": "unchanged bytes"}),
        Beat(EventHandled, "The client has the new board: all of it, though only a line of it is new."),
        Beat(EventBorn, "The board changes. Its ETag is now \"v{event}\"; whoever asks with an older one gets it all."),
        Beat(MessageStarted, "A whole board, with the ETag that names this version of it.", {"label": "200"}),
        Beat(MessageStarted, "{sender} asks for the board.", {"label": "GET"}),
    ),
    try_next=(
        "Ask for everything: the same requests, the same delays, and many times the bytes.",
        "Let the board change 5 times a second: no poll finds it unchanged, and the condition only costs.",
        "Make the board 100 B: head and body are about equal, and a 304 saves little.",
        "Make the board 100 kB and the bandwidth 100 kB/s: a 304 now saves a second as well.",
        "Kill the client and restart it: it has forgotten board and ETag, and must fetch it all.",
        "Poll every 0.2 s: conditions make polls cheap, but as many as before.",
    ),
)  # fmt: skip
