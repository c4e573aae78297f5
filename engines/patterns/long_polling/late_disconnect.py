"""A client that is gone, and a server that holds its question all the same, and in the end answers nobody.

HTTP/1.1 has no word for “never mind”: a client that gives up closes its connection, and the server must listen for that. A
client whose cable is out cannot even do so.
"""

from dataclasses import replace

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engines.lab.facts import EventBorn, EventHandled, EventLost, Measured, MessageStarted, Noted, TimedOut, WaitEnded
from engines.lab.host import Host
from engines.lab.knobs import Toggle
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.long_polling.held import HOLD_KNOB
from engines.patterns.long_polling.notifications import CURSOR_KNOB, Feed, as_response, client, read_number
from engines.patterns.troubles import CUT_ANSWERS, KILL_CLIENT, KILL_SERVER, LOSE_RESPONSE, UNPLUG_CLIENT
from engines.patterns.workload import EVENT_KNOBS, let_events_happen
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS
from engines.wire.http_server import serve_http

# --- the server (the client is that of the notifications) -----------------------------------------------------------------


async def server(host: Host) -> None:
    """Holds questions, and may or may not listen for the goodbye of who asked them."""
    feed = Feed(host)

    async def tell(request: Request) -> Response:
        cursor, for_nobody_s = read_number(request, "after", default=feed.last), 0.0
        if not feed.younger_than(cursor):
            for_nobody_s = await feed.hold(request, heeds_goodbye=host.knobs.on("server-notices"))
        news = feed.younger_than(cursor)
        if for_nobody_s > 0:
            host.measure("answers to nobody")
            host.measure("held for nobody seconds", for_nobody_s)
            host.note(f"an answer with {len(news)} events, and nobody to read it")
        return as_response(news)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_events_happen, host, feed.add)
        await serve_http(host, Starlette(routes=[Route("/events", tell)]))


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS
ARRIVALS, RATE, BURST, SIZE = EVENT_KNOBS

LESSON = Lesson(
    name="late-disconnect",
    title="Gone, and not noticed",
    purpose="The client waits 1.5 s, the server holds for 20 s: see requests of nobody pile up, and who gets their answers.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: Http1Dissector},
    network={"latency": 0.15},
    until_s=40.0,
    knobs=(
        replace(HOLD_KNOB, default=20.0),
        replace(READ_TIMEOUT, default=1.5),
        Toggle("server-notices", "when client leaves", False, "what the server does with a request when its client hangs up",
               on="drops request", off="holds on"),
        replace(CURSOR_KNOB, default=False),
        ARRIVALS,
        replace(RATE, default=0.3),
        BURST,
        SIZE,
        CONNECT_TIMEOUT,
    ),
    faults=(UNPLUG_CLIENT, KILL_CLIENT, CUT_ANSWERS, KILL_SERVER, LOSE_RESPONSE),
    metrics=("measured:answers to nobody", "measured:held for nobody seconds", "events-lost", "events-handled", "timeouts",
             "connections", "event-delay-max", "measured:polls"),
    beats=(
        Beat(EventLost, "Event {event} is lost. It happened while the client was away, and the requests that were told of it were"
             " nobody's any more."),
        Beat(Measured, "The server has answered a request whose client had left long ago. As far as it knows, the news is"
             " told.", {"what": "answers to nobody"}),
        Beat(TimedOut, "Nothing for {after_s} s: the client hangs up, and asks anew. The server still holds its old question.",
             {"what": "read"}),
        Beat(WaitEnded, "The server hears that the client has left, and drops the request.",
             {"host": "server", "outcome": "client left"}),
        Beat(Noted, "{text}. A server without cursors cannot help that, however well it listens.", {"text": "nobody is asking"}),
        Beat(EventHandled, "The client hears of event {event}: this time it was there."),
        Beat(EventBorn, "Event {event} happens, and every request that is held gets an answer, the dead ones as well."),
        Beat(MessageStarted, "{sender} asks on a new connection. The one before is closed, but the server has not taken notice.",
             {"label": "GET"}),
    ),
    try_next=(
        "Let the server drop a request when its client leaves: one is held at most. What happens in between is still lost.",
        "Send a cursor: as many answers to nobody, but no event is lost, because the next question asks for it again.",
        "Set the read timeout to 25 s, longer than the hold: nobody gives up, and nothing of this is visible.",
        "Drop requests of who left, and unplug the client for 10 s: no FIN arrives, and even this server holds on.",
        "Unplug the client with the cursor sent: the answer into the void costs time, but no event.",
        "Kill the client: its kernel says goodbye for it, and only a server that listens hears it.",
    ),
)  # fmt: skip
