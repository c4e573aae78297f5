"""A notification wanted: the server has news at any time, and the client can only ask. How late does it hear?"""

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from engines.lab.facts import MessageStarted, Noted
from engines.lab.host import Host
from engines.lab.knobs import Number
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.troubles import CUT_ANSWERS, KILL_CLIENT, KILL_SERVER, LOSE_RESPONSE, UNPLUG_CLIENT
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Has news now and then, and no way to say so before it is asked."""
    happened: list[float] = host.disk.setdefault("news", [])

    async def things_happen() -> None:
        while True:
            await trio.sleep(host.rng.expovariate(host.knobs.number("rate")))
            happened.append(trio.current_time())
            host.note(f"news {len(happened)}")

    async def news(request: Request) -> Response:
        unheard = happened[int(request.query_params["after"]) :]
        return JSONResponse(unheard) if unheard else Response(status_code=204)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(things_happen)
        await serve_http(host, Starlette(routes=[Route("/news", news)]))


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Wants to know at once, and all it can do is ask: “anything new?”"""
    heard = 0
    async with http_client(host, base_url="http://server") as http:
        while True:
            try:
                response = await http.get("/news", params={"after": heard})
            except httpx.TransportError as error:
                host.note(f"no answer: {type(error).__name__}")
            else:
                for happened_at in response.json() if response.status_code == 200 else ():
                    heard += 1
                    late_s = trio.current_time() - happened_at
                    host.measure("news heard")
                    host.measure("late seconds", late_s)
                    host.note(f"hears news {heard}, {late_s:.2f} s late")
            await trio.sleep(host.knobs.number("interval"))


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS

LESSON = Lesson(
    name="notification-wanted",
    title="A notification wanted",
    purpose="The server knows something and may not speak unasked: see how late the client hears it, and what asking costs.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: Http1Dissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Number("interval", "asks every", "s", 2.0, 0.05, 60.0, 0.5, "the client's pause between an answer and the next question"),
        Number("rate", "news", "1/s", 0.25, 0.01, 20.0, 0.1, "how often something happens, on average, at random times",
               ratio=2.0),
        CONNECT_TIMEOUT,
        READ_TIMEOUT,
    ),
    faults=(UNPLUG_CLIENT, KILL_CLIENT, KILL_SERVER, CUT_ANSWERS, LOSE_RESPONSE),
    metrics=("measured:news heard", "measured:late seconds", "empty", "requests", "bytes", "overhead", "connections", "timeouts"),
    beats=(
        Beat(Noted, "Something happened: {text}. The server knows it, and must wait until the client asks.", {"text": "news "}),
        Beat(Noted, "The client {text}. Most of that was not the network: it was waiting for the client to ask.",
             {"text": "hears "}),
        Beat(MessageStarted, "204 No Content: a whole round trip, to learn that there is nothing to learn.", {"label": "204"}),
        Beat(MessageStarted, "“Anything new?” The client asks because nobody will tell it otherwise.", {"label": "GET"}),
    ),
    try_next=(
        "Ask every 0.2 s: the client hears sooner, and nearly every answer is empty.",
        "Ask every 10 s: hardly an empty answer, and everything is old when it comes.",
        "Set the news to 5 a second: now hardly an answer is empty. Asking suits the busy, not the quiet.",
        "Unplug the client for ten seconds: nothing is lost, because it says how much it has heard.",
        "Kill the client and restart it: it has forgotten what it heard, and hears all of it again.",
        "Set latency to 1 s: news is late by the pause and the way there and back, whatever you do.",
    ),
)  # fmt: skip
