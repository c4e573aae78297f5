"""Notifications by long polling: the client asks, the server answers when something happens, and the client asks again.

An event that finds a held request takes one transit. Between an answer and the next question there is none to find: the
event waits for it, and the worst case is three transits and a little (RFC 6202, section 2.2); or, if the client does not
say how far it has come, the event is gone. A hold that ends without news is answered with 204 No Content here (RFC 9110,
section 15.3.5).
"""

import json
from bisect import bisect_right

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engines.lab.facts import EventBorn, EventHandled, EventLost, MessageStarted, Noted, TimedOut
from engines.lab.host import Host
from engines.lab.knobs import Toggle
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.long_polling.held import HOLD_KNOB, hold, hold_time_s
from engines.patterns.long_polling.retry import Retry
from engines.patterns.troubles import CUT_ANSWERS, KILL_CLIENT, KILL_SERVER, LOSE_RESPONSE, UNPLUG_CLIENT
from engines.patterns.workload import EVENT_KNOBS, NOTIFICATIONS, Event, let_events_happen
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Holds each question until something happens."""
    feed = Feed(host)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_events_happen, host, feed.add)
        await serve_http(host, Starlette(routes=[Route("/events", feed.tell)]))


class Feed:
    """What happened, and the requests that are held until more does.

    With cursors (`?after=7`) it keeps everything on the host's disk. Without, it gives an event to the requests that it
    holds at that moment, and if there is none to nobody.
    """

    def __init__(self, host: Host, name: str = "happened") -> None:
        self._host = host
        self._happened: list[Event] = host.disk.setdefault(name, [])
        self._changed = trio.Event()
        self._held = 0
        self._chance = host.randomness(f"hold {name}")
        self.last = self._happened[-1].number if self._happened else 0

    async def add(self, event: Event) -> None:
        """Something happened: whoever is held gets an answer."""
        self.last = event.number
        if not self._held and not with_cursor(self._host):
            self._host.note(f"nobody is asking, and event {event.number} passes")
            return
        self._happened.append(event)
        self._changed.set()
        self._changed = trio.Event()

    def younger_than(self, cursor: int) -> list[Event]:
        """The events after number `cursor`, oldest first."""
        return self._happened[bisect_right(self._happened, cursor, key=lambda event: event.number) :]

    async def tell(self, request: Request) -> Response:
        """Answer at once if there is news for this client, else when there is, or when the hold is over."""
        cursor = read_number(request, "after", default=self.last)
        if not self.younger_than(cursor):
            await self.hold(request)
        return as_response(self.younger_than(cursor))

    async def hold(self, request: Request, *, heeds_goodbye: bool = True) -> float:
        """Hold `request` until something happens; see `held.hold`."""
        self._count(+1)
        try:
            hold_s = hold_time_s(self._host, self._chance.random())
            return await hold(self._host, request, self._changed.wait, hold_s, heeds_goodbye=heeds_goodbye)
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        self._held += change
        self._host.state("held", self._held)


def with_cursor(host: Host) -> bool:
    """Whether client and server go by cursors; they do in a lesson that does not ask."""
    return "cursor" not in host.knobs or host.knobs.on("cursor")


def read_number(request: Request, name: str, default: int) -> int:
    """A parameter of the question; `default` when it is not there, or nonsense."""
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else default


def as_response(events: list[Event]) -> Response:
    """The events as a JSON array; 204 when there are none."""
    if not events:
        return Response(status_code=204)
    return Response(f"[{','.join(event.to_json() for event in events)}]", media_type="application/json")


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """“Tell me when something happens.” – and as soon as it was told, again."""
    async with http_client(host, base_url="http://server") as http:
        await follow(host, http)


async def follow(host: Host, http: httpx.AsyncClient) -> None:
    """Ask, hear, ask again, for ever. How far the client has come is on its disk."""
    retry = Retry(host)
    while True:
        cursor = host.disk.get("cursor", 0)
        for event in await news_after(host, http, cursor, retry):
            for missing in range(cursor + 1, event.number):
                host.event_lost(missing, "a gap in the numbers")
            host.event_handled(event.number)
            host.disk["cursor"] = cursor = event.number


async def news_after(
    host: Host, http: httpx.AsyncClient, cursor: int, retry: Retry, path: str = "/events"
) -> list[Event]:
    """One long poll, and after trouble a pause. No events when there are none, or no answer."""
    host.measure("polls")
    try:
        response = await http.get(path, params={"after": cursor} if with_cursor(host) else {})
    except httpx.ReadTimeout:
        return []  # silence is no error where silence is the rule: ask again, on a new connection
    except httpx.TransportError as error:
        await retry.pause(type(error).__name__)
        return []
    if response.status_code not in (200, 204):
        await retry.pause(str(response.status_code))
        return []
    retry.reset()
    return events_in(response)


def events_in(response: httpx.Response) -> list[Event]:
    """Read what `as_response` wrote."""
    if response.status_code == 204:
        return []
    return [Event(fields["event"], fields["text"]) for fields in json.loads(response.content)]


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS
CURSOR_KNOB = Toggle(
    "cursor", "cursor", True, "whether a question says how far the client has come, and the server keeps what is younger",
    on="sent", off="none",
)  # fmt: skip

NO_ANSWER_BEAT = Beat(
    Noted, "{text}. The client does not ask again at once, but after a pause that grows.", {"text": "no answer"}
)

LESSON = Lesson(
    name="notifications",
    title="Notifications",
    purpose="The server keeps the question until something happens: see how soon the client hears, and what happens in the gap.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: Http1Dissector},
    network={"latency": 0.15},
    until_s=30.0,
    knobs=(HOLD_KNOB, CURSOR_KNOB, *EVENT_KNOBS, READ_TIMEOUT, CONNECT_TIMEOUT),
    faults=(UNPLUG_CLIENT, KILL_CLIENT, KILL_SERVER, CUT_ANSWERS, LOSE_RESPONSE),
    metrics=("event-delay-mean", "event-delay", "event-delay-max", "measured:polls", "empty", "events-lost", "bytes",
             "bytes-per-event-byte", "events-handled"),
    beats=(
        Beat(EventLost, "Event {event} is lost: it happened in the gap, when there was no question to answer. The client sees it"
             " by the numbers, too late."),
        Beat(Noted, "{text}. Without a cursor the server keeps nothing for a client that is just not there.",
             {"text": "nobody is asking"}),
        Beat(EventHandled, "The client hears of event {event}, and asks again at once."),
        Beat(EventBorn, "Event {event} happens. If a request is held, its answer leaves this very moment; if not, it has to wait"
             " for the next one."),
        Beat(TimedOut, "Silence for {after_s} s, and the client's own read timeout ends the wait: it must be longer than the"
             " hold.", {"what": "read"}),
        NO_ANSWER_BEAT,
        Beat(MessageStarted, "204 No Content: the hold is over and nothing has happened. An empty reply, and the price of"
             " keeping the way open.", {"label": "204"}),
        Beat(MessageStarted, "“Tell me when something happens.” The server says nothing yet: it holds the question.",
             {"label": "GET"}),
    ),
    try_next=(
        "Send no cursor: what happens between an answer and the next question is lost. Count the events lost.",
        "Let 5 events happen a second: most happen in the gap, and still none comes later than three transits.",
        "Let 5 events happen a second and send no cursor: more of them are lost than heard.",
        "Hold for 0.5 s: most answers are empty, and the events come hardly any sooner or later.",
        "Hold for 60 s and let 0.1 events happen a second: the client's read timeout of 5 s comes first, again and again.",
        "Do the same with a read timeout of 90 s: no empty answer is left. The client's patience must outlast the hold.",
        "Let events come in bursts: one answer brings them all.",
        "Lose a response with an event in it: the cursor brings it again. Without a cursor it is gone.",
        "Set latency to 1 s: the gap is 2 s long now, and an event in it comes up to 3 s late.",
    ),
    workload=NOTIFICATIONS,
)  # fmt: skip
