"""Batching: what happens in the gap comes in one answer. The busier it is, the fewer requests an event takes.

With events at random times, `rate` a second, and a gap of one round trip between an answer and the next question: a cycle
brings rate × gap events that happened in the gap, or else (with chance e^(-rate × gap)) the one that ends the hold.
"""

from dataclasses import replace

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engines.lab.facts import EventHandled, Measured, MessageStarted, WaitKind, WaitStarted
from engines.lab.host import Host
from engines.lab.knobs import Number
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.long_polling.held import HOLD_KNOB
from engines.patterns.long_polling.notifications import Feed, as_response, client, read_number
from engines.patterns.troubles import CUT_ANSWERS, KILL_CLIENT, KILL_SERVER, LOSE_RESPONSE, UNPLUG_CLIENT
from engines.patterns.workload import EVENT_KNOBS, let_events_happen
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS
from engines.wire.http_server import serve_http

# --- the server (the client is that of the notifications) -----------------------------------------------------------------


async def server(host: Host) -> None:
    """Answers with all that there is, up to a limit; if it gathers, it waits a little for more before it answers."""
    feed = Feed(host)

    async def tell(request: Request) -> Response:
        cursor = read_number(request, "after", default=feed.last)
        if not feed.younger_than(cursor):
            await feed.hold(request)
        if feed.younger_than(cursor) and (gather_s := host.knobs.number("gather")) > 0:
            with host.waiting("for more", WaitKind.TIMER):
                await trio.sleep(gather_s)
        news = feed.younger_than(cursor)[: int(host.knobs.number("most"))]
        if news:
            host.measure("answers with news")
            host.state("events in this answer", len(news))
        return as_response(news)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_events_happen, host, feed.add)
        await serve_http(host, Starlette(routes=[Route("/events", tell)]))


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS
ARRIVALS, RATE, BURST, SIZE = EVENT_KNOBS

LESSON = Lesson(
    name="batching",
    title="Batching",
    purpose="Ten events a second, and a round trip between two answers: see how many events share one request.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: Http1Dissector},
    network={"latency": 0.15},
    until_s=20.0,
    knobs=(
        ARRIVALS,
        replace(RATE, default=10.0),
        BURST,
        SIZE,
        Number("gather", "gathers for", "s", 0.0, 0.0, 5.0, 0.1, "how long the server waits for more once it has news"),
        Number("most", "most in an answer", "", 100, 1, 1000, 10, "how many events one answer may carry", integer=True),
        HOLD_KNOB,
        READ_TIMEOUT,
        CONNECT_TIMEOUT,
    ),
    faults=(UNPLUG_CLIENT, KILL_CLIENT, KILL_SERVER, CUT_ANSWERS, LOSE_RESPONSE),
    metrics=("requests", "measured:answers with news", "events-handled", "event-delay-mean", "event-delay-max",
             "bytes-per-event-byte", "events-waiting", "throughput-now"),
    beats=(
        Beat(Measured, "One answer leaves, with everything that happened since the last.", {"what": "answers with news"}),
        Beat(WaitStarted, "The server has news and keeps them a little longer: perhaps more will come.", {"label": "for more"}),
        Beat(EventHandled, "The client hears of event {event}; others may have come along in the same answer."),
        Beat(MessageStarted, "The client asks again, and finds what happened while nobody was asking.", {"label": "GET"}),
    ),
    try_next=(
        "Let one event happen every 2 s: an answer for each event. Long polling pays for each with a request.",
        "Let 100 events happen a second: no more requests than before, and 30 events in each answer.",
        "Gather for 1 s: a quarter of the requests, and every event is later for it.",
        "Let an answer carry one event: a round trip an event, more happen than can be told, and the backlog grows.",
        "Set latency to 1 s: fewer requests, larger answers. Who is slow in asking gets more at a time.",
        "Unplug the client for 5 s: one answer brings all that it missed.",
    ),
)  # fmt: skip
