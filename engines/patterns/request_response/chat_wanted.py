"""A chat wanted: two people and a server that may only answer. To hear the other, each must ask again and again."""

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from engines.lab.facts import MessageStarted, Noted
from engines.lab.host import Host
from engines.lab.knobs import Number
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.troubles import KILL_SERVER, LOSE_RESPONSE
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Keeps what is said, and hands it out to whoever asks."""
    said: list[dict[str, str | float]] = host.disk.setdefault("said", [])

    async def speak(request: Request) -> Response:
        said.append(await request.json())
        return Response(status_code=201)

    async def listen(request: Request) -> Response:
        unheard = said[int(request.query_params["after"]) :]
        return JSONResponse(unheard) if unheard else Response(status_code=204)

    routes = [Route("/messages", speak, methods=["POST"]), Route("/messages", listen, methods=["GET"])]
    await serve_http(host, Starlette(routes=routes))


# --- ann and bob --------------------------------------------------------------------------------------------------------


async def person(host: Host) -> None:
    """Speaks now and then, and asks all the time whether the other has said something."""
    async with http_client(host, base_url="http://server") as http, trio.open_nursery() as nursery:
        nursery.start_soon(speak, host, http)
        nursery.start_soon(listen, host, http)


async def speak(host: Host, http: httpx.AsyncClient) -> None:
    while True:
        await trio.sleep(host.rng.expovariate(host.knobs.number("talk-rate")))
        message = {"from": host.name, "text": host.rng.choice(SENTENCES), "at": trio.current_time()}
        try:
            await http.post("/messages", json=message)
        except httpx.TransportError as error:
            host.note(f"perhaps not sent: {type(error).__name__}")


async def listen(host: Host, http: httpx.AsyncClient) -> None:
    heard = 0
    await trio.sleep(host.rng.random())  # nobody sits down at the same moment
    while True:
        try:
            response = await http.get("/messages", params={"after": heard})
        except httpx.TransportError as error:
            host.note(f"no answer: {type(error).__name__}")
        else:
            for message in response.json() if response.status_code == 200 else ():
                heard += 1
                if message["from"] != host.name:
                    host.note(f"{message['from']}: “{message['text']}”")
                    host.measure("messages heard")
                    host.measure("late seconds", trio.current_time() - message["at"])
        await trio.sleep(host.knobs.number("interval"))


SENTENCES = ("hello", "are you there?", "I said that already", "what?", "one moment", "who goes first?", "you first")

# --- the lesson ---------------------------------------------------------------------------------------------------------

_, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS

LESSON = Lesson(
    name="chat-wanted",
    title="A chat wanted",
    purpose="Both want to speak at any time, and the server may only answer: see how a conversation drags.",
    hosts=(HostSpec("ann", person), HostSpec("server", server), HostSpec("bob", person)),
    protocols={80: Http1Dissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Number("interval", "asks every", "s", 2.0, 0.05, 60.0, 0.5, "each one's pause between an answer and the next question"),
        Number("talk-rate", "talks", "1/s", 0.2, 0.01, 10.0, 0.1, "how often each says something, on average", ratio=2.0),
        READ_TIMEOUT,
    ),
    faults=(
        Fault("unplug-bob", "unplug bob", "u", "unplug bob", "bob's cable is out: he hears nothing, and ann is not told",
              off="plug bob"),
        Fault("kill-ann", "kill ann", "c", "kill ann", "ann's program dies; what she had heard, it has forgotten",
              off="restart ann"),
        KILL_SERVER,
        LOSE_RESPONSE,
    ),
    metrics=("measured:messages heard", "measured:late seconds", "empty", "requests", "bytes", "overhead", "open"),
    beats=(
        Beat(Noted, "{host} hears {text} It was said a while ago: it lay at the server until {host} asked.", {"text": r"\w+: “"}),
        Beat(MessageStarted, "{sender} has said something. It gets to the server at once, and no further.", {"label": "POST"}),
        Beat(MessageStarted, "Nobody has said anything. It took a request and a response to find that out.", {"label": "204"}),
        Beat(MessageStarted, "{sender} asks whether anything was said. Nobody can tell unasked.", {"label": "GET"}),
    ),
    try_next=(
        "Ask every 0.2 s: the conversation flows, and nearly all its traffic says “nothing”.",
        "Ask every 8 s: read the messages in the order in which each hears them, and imagine the talk.",
        "Unplug bob for a while: ann talks on and cannot know that nobody listens.",
        "Lose the response to a message that is sent: was it said or not? The one who said it cannot tell.",
        "Set talks to 3 a second: now asking pays. A chat between two people is seldom like that.",
    ),
)  # fmt: skip
