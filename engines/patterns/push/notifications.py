"""Notifications: one connection stays open, and the server speaks whenever it has something to say."""

import trio
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket as ServerWebSocket

from engines.lab.facts import ConnectionReset, EventHandled, EventLost, MessageStarted
from engines.lab.host import Host
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.push.reconnect import stay_connected
from engines.patterns.troubles import CUT_ANSWERS, DROP_PACKET, KILL_CLIENT, KILL_SERVER, UNPLUG_CLIENT
from engines.patterns.workload import EVENT_KNOBS, NOTIFICATIONS, Event, let_events_happen
from engines.wire.http_server import serve_http
from engines.wire.websocket import WebSocket
from engines.wire.websocket_dissector import WebSocketDissector

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Tells every client that is connected of everything that happens, in the moment in which it happens."""
    clients: dict[ServerWebSocket, None] = {}  # in the order of their arrival

    async def notifications(ws: ServerWebSocket) -> None:
        await ws.accept()
        clients[ws] = None
        async for _ in ws.iter_text():
            pass  # the client only listens; this ends when it leaves
        del clients[ws]

    async def tell(event: Event) -> None:
        if not clients:
            host.event_lost(event.number, "nobody is connected")
        for ws in clients:
            pushing.start_soon(ws.send_text, event.to_json())

    async with trio.open_nursery() as pushing:
        pushing.start_soon(let_events_happen, host, tell)
        await serve_http(host, Starlette(routes=[WebSocketRoute("/notifications", notifications)]))


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Asks once, for a connection. From then on it is told."""

    async def listen(ws: WebSocket) -> None:
        async for text in ws:
            host.event_handled(Event.from_json(text).number)

    await stay_connected(host, listen)


# --- the lesson ---------------------------------------------------------------------------------------------------------

LESSON = Lesson(
    name="notifications",
    title="Notifications",
    purpose="The server speaks when it has something to say: see how late the client hears it, and what it did not have to ask.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: WebSocketDissector},
    network={"latency": 0.15},
    until_s=30.0,
    knobs=EVENT_KNOBS,
    faults=(UNPLUG_CLIENT, KILL_CLIENT, KILL_SERVER, CUT_ANSWERS, DROP_PACKET),
    workload=NOTIFICATIONS,
    metrics=("events", "events-handled", "event-delay", "event-delay-max", "requests", "bytes-per-event-byte", "bytes",
             "events-waiting", "events-lost"),
    beats=(
        Beat(MessageStarted, "The one request of this pattern: may we stop speaking HTTP on this connection? In its key is a"
             " riddle that only a WebSocket server can answer.", {"label": "GET "}),
        Beat(MessageStarted, "101 Switching Protocols, with Sec-WebSocket-Accept made from the client's key. From here on"
             " either side may speak, at any time, unasked.", {"label": "101"}),
        Beat(MessageStarted, "Something happened, and the server says so at once: {label} behind a header of 2 bytes, or 4, or"
             " 10. Nobody had asked.", {"label": "text", "sender": "server"}),
        Beat(EventHandled, "The client has heard of event {event}. If nothing is lost, that takes one way over the net, and not a"
             " moment more."),
        Beat(EventLost, "Event {event} happened while {reason}. A push needs somebody at the other end.",
             {"reason": "nobody"}),
        Beat(ConnectionReset, "{host} finds that the connection is gone. Whatever was on its way on it, nobody will deliver."),
    ),
    try_next=(
        "Set latency to 1 s: every event is late by exactly that, and by nothing else.",
        "Let 20 events happen a second: still one request, and 2 bytes of header for each event.",
        "Let one event a minute happen: the connection stays open for nothing, and costs no byte.",
        "Kill the server and restart it: what happens before the client is back, the client never hears.",
        "Unplug the client for 5 s: TCP brings the events late, and in order. Then unplug it and kill the server as well.",
        "Drop the next packet: the event behind it arrives in time, and has to wait for it. TCP keeps the order.",
    ),
)  # fmt: skip
