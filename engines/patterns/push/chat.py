"""Chat: both want to speak at any time. A push can only bring; who wants to answer on the same line needs both directions."""

import json

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket as ServerWebSocket

from engines.lab.facts import EventLost, MessageStarted, Noted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.push.reconnect import stay_connected
from engines.patterns.troubles import KILL_SERVER
from engines.wire.http_client import TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http
from engines.wire.websocket import WebSocket, WebSocketClosedError
from engines.wire.websocket_dissector import WebSocketDissector

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Brings what one says to the other, at once."""
    room: dict[str, ServerWebSocket] = {}

    async def chat(ws: ServerWebSocket) -> None:
        name = ws.path_params["name"]
        await ws.accept()
        room[name] = ws
        async for said in ws.iter_text():
            spread(said)
        if room.get(name) is ws:
            del room[name]

    async def speak(request: Request) -> Response:
        spread((await request.body()).decode())
        return Response(status_code=204)

    def spread(said: str) -> None:
        message = json.loads(said)
        listeners = [ws for name, ws in room.items() if name != message["from"]]
        if not listeners:
            host.event_lost(message["event"], "nobody is there to hear it")
        for ws in listeners:
            pushing.start_soon(ws.send_text, said)

    async with trio.open_nursery() as pushing:
        routes = [WebSocketRoute("/chat/{name}", chat), Route("/say", speak, methods=["POST"])]
        await serve_http(host, Starlette(routes=routes))


# --- ann and bob --------------------------------------------------------------------------------------------------------


async def person(host: Host) -> None:
    """Hears the other as soon as the server does, and speaks when it pleases."""

    async def listen(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speak, host, http, ws)
            try:
                async for text in ws:
                    message = json.loads(text)
                    host.event_handled(message["event"])
                    host.note(f"{message['from']}: “{message['text']}”")
            except WebSocketClosedError as error:
                host.note(f"the line is dead: {error}")
            nursery.cancel_scope.cancel()

    async with http_client(host, base_url="http://server") as http:
        while True:
            await stay_connected(host, listen, path=f"/chat/{host.name}")
            await trio.sleep(1.0)


async def speak(host: Host, http: httpx.AsyncClient, ws: WebSocket) -> None:
    while True:
        await trio.sleep(host.rng.expovariate(host.knobs.number("talk-rate")))
        text = host.rng.choice(SENTENCES)
        said = json.dumps({"event": host.event_born(len(text)), "from": host.name, "text": text})
        try:
            if host.knobs["speaks-by"] == "websocket":
                await ws.send(said)
            else:
                await http.post("/say", content=said)
        except (WebSocketClosedError, httpx.TransportError) as error:
            host.note(f"perhaps not said: {type(error).__name__}")


SENTENCES = ("hello", "are you there?", "I said that already", "what?", "one moment", "who goes first?", "you first")

# --- the lesson ---------------------------------------------------------------------------------------------------------

_, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS

LESSON = Lesson(
    name="chat",
    title="Chat",
    purpose="Both speak when they please, on connections that are open: see a conversation flow, and what a word costs.",
    hosts=(HostSpec("ann", person), HostSpec("server", server), HostSpec("bob", person)),
    protocols={80: WebSocketDissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Number("talk-rate", "talks", "1/s", 0.5, 0.01, 10.0, 0.1, "how often each says something, on average", ratio=2.0),
        Choice("speaks-by", "speaks by", "websocket", ("websocket", "post"),
               "how a word gets to the server: on the same connection, or as a request of its own"),
        READ_TIMEOUT,
    ),
    faults=(
        Fault("unplug-bob", "unplug bob", "u", "unplug bob", "bob's cable is out: he hears nothing, and ann is not told",
              off="plug bob"),
        Fault("kill-ann", "kill ann", "c", "kill ann", "ann's program dies: her kernel closes her connection",
              off="restart ann"),
        KILL_SERVER,
    ),
    metrics=("events", "events-handled", "event-delay", "event-delay-max", "events-lost", "events-waiting", "requests",
             "bytes-per-event-byte", "open"),
    beats=(
        Beat(Noted, "{host} hears {text}: it took two ways over the network, one to the server and one from it.",
             {"text": r"\w+: “"}),
        Beat(EventLost, "Said, and {reason}: the server knows who is connected, and that is all it knows."),
        Beat(MessageStarted, "A word by POST: a connection may be needed, then a whole head for a few bytes, and an answer that"
             " says nothing.", {"label": "POST"}),
        Beat(MessageStarted, "{sender} speaks, on the connection over which it listens: {label}, and 6 bytes of header with the"
             " mask.", {"label": "text", "sender": "(ann|bob)"}),
        Beat(MessageStarted, "The server passes it on at once: nobody had to ask whether something was said.",
             {"label": "text", "sender": "server"}),
        Beat(MessageStarted, "{label}: from here on, either side may speak at any time.", {"label": "101"}),
    ),
    try_next=(
        "Speak by post: the words are heard just as soon, and each costs a request and a response on another connection.",
        "Set talks to 5 a second: nobody waits for anybody, and words cross on their way.",
        "Unplug bob for a while: ann talks on, and the server believes that he hears her.",
        "Kill ann: her connection closes, and the server knows at once that bob talks to nobody.",
        "Compare with “A chat wanted” of request/response: there a word waits until somebody asks for it.",
    ),
)  # fmt: skip
