"""The end for good: a match is over, and its feed should end. An EventSource takes every end for an accident, but one."""

from collections.abc import Callable

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from engines.lab.facts import MessageEnded, MessageStarted, Noted, WaitStarted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.sse.troubles import BREAK_STREAM
from engines.patterns.troubles import CUT_ANSWERS, KILL_CLIENT, KILL_SERVER, LOSE_RESPONSE, UNPLUG_CLIENT
from engines.wire.http_client import TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http
from engines.wire.sse import RECONNECTION_S, EventSource, event_stream
from engines.wire.sse_dissector import SseDissector
from engines.wire.sse_grammar import format_event

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Tells how a match goes, goal by goal. When it is over, the feed ends; and whoever comes back gets the answer chosen."""
    over: set[int] = host.disk.setdefault("over", set())

    async def feed(request: Request) -> Response:
        match = int(request.path_params["match"])
        scored = int(request.headers.get("last-event-id", "0"))
        send, goals = trio.open_memory_channel[int](0)
        if match not in over:
            playing.start_soon(play, match, scored, send)
            return event_stream(goals, lambda goal: format_event(f"goal {goal}", id=goal, type="goal"))
        host.note(f"match {match} is over")
        if host.knobs["afterwards"] == "200":
            send.close()  # a stream that ends at once
            return event_stream(goals, lambda goal: b"")
        return ANSWERS[str(host.knobs["afterwards"])]()

    async def play(match: int, scored: int, send: trio.MemorySendChannel[int]) -> None:
        goals = int(host.knobs.number("goals"))
        with send:
            try:
                for goal in range(scored + 1, goals + 1):
                    await trio.sleep(1.0)
                    await send.send(goal)
            except trio.BrokenResourceError:
                return  # this spectator has left
            await trio.sleep(1.0)
            over.add(match)

    async with trio.open_nursery() as playing:
        await serve_http(host, Starlette(routes=[Route("/matches/{match:int}", feed)]))


ANSWERS: dict[str, Callable[[], Response]] = {
    "204": lambda: Response(status_code=204),
    "503": lambda: Response(status_code=503),
    "html": lambda: HTMLResponse("<p>The match is over.</p>"),
}


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Follows a match until its source is closed for good, then the next one."""
    match = 0
    async with http_client(host, base_url="http://server") as http:
        while True:
            match += 1
            source = EventSource(host, http, f"/matches/{match}", dropped=lambda reason: host.measure("reconnections"))
            async with source:
                async for message in source:
                    host.note(f"match {match}: {message.data}")
            host.measure("feeds ended")
            host.note(f"closed for good: {source.failure}")
            await trio.sleep(2.0)


# --- the lesson ---------------------------------------------------------------------------------------------------------

LESSON = Lesson(
    name="end-for-good",
    title="The end for good",
    purpose="An EventSource comes back after every end. Only a status other than 200, or another type, tells it to stay away.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: SseDissector},
    network={"latency": 0.2},
    until_s=30.0,
    knobs=(
        Choice("afterwards", "after the match", "204", ("204", "200", "503", "html"),
               "what a client gets that comes back after the end: 204, an empty stream, 503, or a web page"),
        Number("goals", "goals", "", 3, 0, 50, 1, "how many goals a match has, one a second", integer=True),
        TIMEOUT_KNOBS[0],
    ),
    faults=(BREAK_STREAM, UNPLUG_CLIENT, KILL_CLIENT, KILL_SERVER, CUT_ANSWERS, LOSE_RESPONSE),
    metrics=("measured:feeds ended", "measured:reconnections", "requests", "responses", "empty", "errors", "connections"),
    beats=(
        Beat(MessageStarted, "204 No Content is how a server says: do not come back. The EventSource is closed for good.",
             {"label": "204"}),
        Beat(MessageStarted, "“{label}”, to an EventSource, is not “later”: any status but 200 ends it for good.",
             {"role": "error"}),
        Beat(Noted, "{host}: {text}. It will not connect again.", {"text": "closed for good"}),
        Beat(MessageEnded, "The match is over and the response ends. The client cannot tell that from an accident.",
             {"boundary": "last chunk"}),
        Beat(WaitStarted, f"The client {{label}}: Chrome's pause is {RECONNECTION_S:g} s, unless the stream says retry.",
             {"label": "reconnects"}),
        Beat(Noted, "{text}."),
    ),
    try_next=(
        "Answer 200 after the match: the client comes back for nothing, every 3 s, until the end of time.",
        "Answer 503, as an overloaded server would: the page never tries again, which nobody wanted.",
        "Answer with a web page, as a login screen would: a type other than text/event-stream ends it, too.",
        "Break the stream in mid-match: that end is an accident, and the client goes on with the next goal.",
        "Kill the server for a while: no answer at all is an accident, and the client tries again every 3 s.",
        "Set the goals to 0: a stream without a single event ends like any other.",
    ),
)  # fmt: skip
