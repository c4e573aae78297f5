"""Notifications by polling: what happened since the last question lies at the server until the next one.

The client says how far it has come (`?after=7`), so that the server need remember nothing about it, and a lost answer loses
no event. An answer without news is 204 No Content (RFC 9110, section 15.3.5).
"""

import json

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engines.lab.facts import EventBorn, EventHandled, MessageStarted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.short_polling.pauses import pause
from engines.patterns.troubles import CUT_ANSWERS, KILL_CLIENT, KILL_SERVER, LOSE_RESPONSE, UNPLUG_CLIENT
from engines.patterns.workload import EVENT_KNOBS, NOTIFICATIONS, Event, let_events_happen
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Writes down what happens, and hands out what is younger than the number that it is shown."""
    happened: list[Event] = host.disk.setdefault("happened", [])

    async def write_down(event: Event) -> None:
        happened.append(event)

    async def tell(request: Request) -> Response:
        after = int(request.query_params["after"])
        news = [event.to_json() for event in happened if event.number > after]
        return Response(f"[{','.join(news)}]", media_type="application/json") if news else Response(status_code=204)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_events_happen, host, write_down)
        await serve_http(host, Starlette(routes=[Route("/events", tell)]))


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """“Anything new?” – again and again. How far it has come it keeps on its disk."""
    async with http_client(host, base_url="http://server") as http:
        while True:
            asked_s = trio.current_time()
            for event in await news_after(host, http, host.disk.get("cursor", 0)):
                host.event_handled(event.number)
                host.disk["cursor"] = event.number
            counted_from_s = asked_s if host.knobs["counted-from"] == "question" else trio.current_time()
            next_s = counted_from_s + host.knobs.number("interval")
            await pause(host, max(0.0, next_s - trio.current_time()))


async def news_after(host: Host, http: httpx.AsyncClient, cursor: int) -> list[Event]:
    """One poll: the events that are younger than `cursor`; none when there came no answer."""
    host.measure("polls")
    try:
        response = await http.get("/events", params={"after": cursor})
    except httpx.TransportError as error:
        host.note(f"no answer: {type(error).__name__}")
        return []
    if response.status_code != 200:
        return []
    return [Event(fields["event"], fields["text"]) for fields in json.loads(response.content)]


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS

LESSON = Lesson(
    name="notifications",
    title="Notifications",
    purpose="Things happen, and the client asks every 2 s: see how late it hears, and how often it asks in vain.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: Http1Dissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Number("interval", "polls every", "s", 2.0, 0.05, 60.0, 0.5, "the client's time from one poll to the next"),
        Choice("counted-from", "counted from", "question", ("question", "answer"),
               "whether that time runs from the last question (a timer) or the last answer (a loop with a sleep in it)"),
        *EVENT_KNOBS,
        READ_TIMEOUT,
        CONNECT_TIMEOUT,
    ),
    faults=(UNPLUG_CLIENT, KILL_CLIENT, KILL_SERVER, CUT_ANSWERS, LOSE_RESPONSE),
    metrics=("event-delay-mean", "event-delay-p95", "event-delay-max", "measured:polls", "empty", "bytes",
             "bytes-per-event-byte", "events-handled", "events-waiting"),
    beats=(
        Beat(EventHandled, "The client hears of event {event}. Most of the delay was not the network: it was waiting for the"
             " client to ask."),
        Beat(EventBorn, "Event {event} happens. The server knows it, and must wait until the client asks."),
        Beat(MessageStarted, "204 No Content: a round trip, to learn that there is nothing to learn.", {"label": "204"}),
        Beat(MessageStarted, "“Anything new after the last I know?” The number in the question is the client's whole memory.",
             {"label": "GET"}),
    ),
    try_next=(
        "Poll every 0.2 s: the delay falls to a tenth of a second and a transit, and nearly every answer is empty.",
        "Poll every 10 s: hardly an empty answer, and all is old when it comes. A new connection for each poll, too.",
        "Count the interval from the answer: the polls come a round trip further apart, and events are that much later.",
        "Let 10 events happen a second: no answer is empty any more. Polling suits the busy, not the quiet.",
        "Let events come in bursts: one answer brings them all.",
        "Unplug the client for ten seconds: nothing is lost, because the client says how far it has come.",
        "Lose a response with events in it: the next question has the same number, and brings them again.",
        "Set latency to 1 s: the delay grows by one transit; how often the client asks does not change.",
    ),
    workload=NOTIFICATIONS,
)  # fmt: skip
