"""A very long request: the client loses patience and leaves. Does the server notice, and does it stop?"""

import math
from dataclasses import replace

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from engines.lab.facts import Measured, Noted, TimedOut, WorkStarted
from engines.lab.host import Host
from engines.lab.knobs import Number, Toggle
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.troubles import CUT_ANSWERS, KILL_CLIENT, KILL_SERVER, LOSE_RESPONSE, UNPLUG_CLIENT
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Makes a report inside the request, and may or may not listen for the client's leaving while it works."""

    async def report(request: Request) -> PlainTextResponse:
        left_at = math.inf

        async def listen_for_disconnect() -> None:
            nonlocal left_at
            while (await request.receive())["type"] != "http.disconnect":
                pass
            left_at = trio.current_time()
            if host.knobs.on("server-notices"):
                host.note("the client has left: the work stops")
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen_for_disconnect)
            await host.work("make the report", host.knobs.number("report-time"))
            nursery.cancel_scope.cancel()
        if trio.current_time() > left_at:
            host.measure("useless seconds", trio.current_time() - left_at)
            host.note("the report is ready, and nobody is there to read it")
        return PlainTextResponse("all is well\n" * 50)

    await serve_http(host, Starlette(routes=[Route("/report", report)]))


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Asks for a report, and asks again: after a while when it got one, soon when it did not."""
    async with http_client(host, base_url="http://server") as http:
        while True:
            try:
                response = await http.get("/report")
            except httpx.TransportError as error:
                host.measure("given up")
                host.note(f"no report: {type(error).__name__}")
            else:
                host.measure("reports")
                await host.work(f"read the report, {len(response.content)} bytes", 1.0)
            await trio.sleep(host.knobs.number("pause"))


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS

LESSON = Lesson(
    name="long-request",
    title="A very long request",
    purpose="The report takes 20 s and the client waits 5 s: see who works for whom after the client has left.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: Http1Dissector},
    network={"latency": 0.2},
    until_s=45.0,
    knobs=(
        Number("report-time", "report takes", "s", 20.0, 0.0, 300.0, 5.0, "how long the server works on a report"),
        replace(READ_TIMEOUT, help="how long the client bears silence before it gives up (httpx 0.28: 5 s)"),
        Toggle("server-notices", "when client leaves", False, "what the server does when the client is gone",
               on="stops working", off="works on"),
        Number("pause", "pause", "s", 2.0, 0.1, 60.0, 1.0, "the client's pause before it asks again"),
        CONNECT_TIMEOUT,
    ),
    faults=(KILL_CLIENT, UNPLUG_CLIENT, KILL_SERVER, CUT_ANSWERS, LOSE_RESPONSE),
    metrics=("measured:reports", "measured:given up", "measured:useless seconds", "work-started", "work-finished",
             "work-cancelled", "timeouts", "connections", "delay"),
    beats=(
        Beat(TimedOut, "Nothing for {after_s} s: the client gives up and closes the connection. With HTTP/1.1 that is its only"
             " way of saying “never mind”, and the server must listen to hear it.", {"what": "read"}),
        Beat(Noted, "The server heard that the client left, and stopped. It is free for somebody who waits.",
             {"text": "the client has left"}),
        Beat(Measured, "{amount} seconds of work for a client that had left. Nobody will read this report.",
             {"what": "useless"}),
        Beat(WorkStarted, "The server begins a report. While it works nothing crosses the network: to the client, a busy"
             " server and a dead one look the same.", {"label": "make"}),
    ),
    try_next=(
        "Let the server stop working when the client leaves, and watch the useless seconds.",
        "Set the read timeout to 30 s: the client gets its report, and a connection stands idle for 20 s to bring it.",
        "Unplug the client while the server works: no FIN arrives, so even an attentive server works on.",
        "Kill the client while the server works: its kernel says goodbye for it.",
        "Set the report to 4 s: patience and work fit together, and nothing of this is visible any more.",
        "Kill the server while it works: the client knows at once, which is kinder than silence.",
    ),
)  # fmt: skip
