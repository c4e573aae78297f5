"""Client offline: a push needs a listener. What happens to what happened while there was none?"""

from dataclasses import replace

import trio
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket as ServerWebSocket

from engines.lab.facts import EventHandled, EventLost, MessageStarted, StateChanged, WaitKind, WaitStarted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.push.reconnect import stay_connected
from engines.patterns.troubles import KILL_CLIENT, KILL_SERVER, UNPLUG_CLIENT
from engines.patterns.workload import EVENT_KNOBS, Event, let_events_happen
from engines.wire.http_server import serve_http
from engines.wire.websocket import GOING_AWAY, WebSocket
from engines.wire.websocket_dissector import WebSocketDissector

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Pushes to its one client when it is there, and keeps what it must until it is."""
    kept: dict[int, Event] = {}
    online: list[ServerWebSocket] = []  # newest last: the one before may be dead without our knowing

    async def notifications(ws: ServerWebSocket) -> None:
        await ws.accept()
        online.append(ws)
        for event in kept.values():
            pushing.start_soon(ws.send_text, event.to_json())
        if host.knobs["keep"] != "until acknowledged":
            kept.clear()
            show_kept()
        async for number in ws.iter_text():  # acknowledgements, until the client leaves
            if number.isdecimal():
                kept.pop(int(number), None)
                show_kept()
        online.remove(ws)

    async def tell(event: Event) -> None:
        keep = host.knobs["keep"]
        if online:
            pushing.start_soon(online[-1].send_text, event.to_json())
        elif keep == "never":
            host.event_lost(event.number, "the client is offline")
        if keep == "until acknowledged" or (keep == "until sent" and not online):
            kept[event.number] = event
        while len(kept) > host.knobs.number("keep-at-most"):
            host.event_lost(kept.pop(next(iter(kept))).number, "too many to keep")
        show_kept()

    shown = 0

    def show_kept() -> None:
        nonlocal shown
        if len(kept) != shown:
            shown = len(kept)
            host.state("kept", shown)

    async with trio.open_nursery() as pushing:
        pushing.start_soon(let_events_happen, host, tell)
        await serve_http(host, Starlette(routes=[WebSocketRoute("/notifications", notifications)]))


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Listens for a while, leaves, and comes back: a phone in a pocket, a laptop on a train."""

    async def listen(ws: WebSocket) -> None:
        with trio.move_on_after(host.knobs.number("online-for")):
            async for text in ws:
                event = Event.from_json(text)
                host.event_handled(event.number)
                if host.knobs["keep"] == "until acknowledged":
                    await ws.send(str(event.number))
        await ws.close(GOING_AWAY, "see you later")

    while True:
        await stay_connected(host, listen)
        with host.waiting("offline", WaitKind.TIMER):
            await trio.sleep(host.knobs.number("offline-for"))


# --- the lesson ---------------------------------------------------------------------------------------------------------

ARRIVALS, RATE, BURST, SIZE = EVENT_KNOBS

LESSON = Lesson(
    name="client-offline",
    title="Client offline",
    purpose="The client leaves and comes back: what happened meanwhile is lost, or kept by a server that pays for it.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: WebSocketDissector},
    network={"latency": 0.15},
    until_s=28.0,
    knobs=(
        Choice("keep", "server keeps", "never", ("never", "until sent", "until acknowledged"),
               "what the server does with an event that the client may not have heard of"),
        Number("keep-at-most", "keeps at most", "", 50, 1, 1000, 10, "how many events the server keeps; then the oldest go",
               integer=True),
        Number("online-for", "online for", "s", 6.0, 0.5, 600.0, 1.0, "how long the client listens"),
        Number("offline-for", "offline for", "s", 4.0, 0.1, 600.0, 1.0, "how long it is away then"),
        ARRIVALS,
        replace(RATE, default=2.0),
        BURST,
        SIZE,
    ),
    faults=(
        UNPLUG_CLIENT,
        KILL_CLIENT,
        KILL_SERVER,
        Fault("cut-acks", "cut client>server", "x", "cut client>server",
              "what the client sends is lost, its acknowledgements too; what the server sends arrives",
              off="restore client>server"),
    ),
    metrics=("events", "events-handled", "events-lost", "events-waiting", "events-duplicated", "event-delay",
             "event-delay-max", "events-unordered", "bytes-per-event-byte"),
    beats=(
        Beat(EventLost, "Event {event} is lost: {reason}. The server had nobody to tell, and keeps nothing.",
             {"reason": "the client"}),
        Beat(EventLost, "Event {event} is lost: {reason}. A server can keep only so much for those who are away.",
             {"reason": "too many"}),
        Beat(StateChanged, "Nothing is kept any more: as far as the server knows, the client has everything.",
             {"key": "kept", "value": "0$"}),
        Beat(StateChanged, "The server keeps {value} events: memory spent for somebody who is not there, or has not answered.",
             {"key": "kept"}),
        Beat(WaitStarted, "The client goes offline. Events do not wait for that.", {"label": "offline"}),
        Beat(MessageStarted, "“{label}”, going away: the client says that it leaves. What the server sends before it hears"
             " that, nobody reads.", {"label": "close 1001", "sender": "client"}),
        Beat(MessageStarted, "The client acknowledges an event: now the server may forget it. Push needs a way back.",
             {"label": "text", "sender": "client"}),
        Beat(EventHandled, "The client has heard of event {event}."),
    ),
    try_next=(
        "Let the server keep events until sent: they come late, all at once, when the client is back.",
        "Set the events to 10 a second and compare until sent with until acknowledged: what crossed with the Close.",
        "Keep until acknowledged, cut client>server, kill the client, then mend both: what it had heard comes twice.",
        "Kill the server while the client is away: what it kept, it kept in memory.",
        "Stay away for 60 s and keep 10 events at most: a buffer only moves the loss.",
    ),
)  # fmt: skip
