"""Half-open peer: one end is gone and the other was not told. Only who expects an answer can notice its absence."""

import math
from dataclasses import dataclass, replace

import trio
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket as ServerWebSocket

from engines.lab.facts import EventHandled, MessageStarted, Noted, TimedOut
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.push.reconnect import stay_connected
from engines.patterns.troubles import KILL_CLIENT, KILL_SERVER, UNPLUG_CLIENT
from engines.patterns.workload import EVENT_KNOBS, Event, let_events_happen
from engines.wire.http_server import serve_http
from engines.wire.websocket import HEARTBEAT_KNOBS, Heartbeat, WebSocket, heartbeat_of
from engines.wire.websocket_dissector import WebSocketDissector

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Pushes to whoever is connected, as far as it knows; keeps for later only what it knows it cannot push."""
    clients: list[ServerWebSocket] = []
    kept: list[Event] = []

    async def notifications(ws: ServerWebSocket) -> None:
        await ws.accept()
        clients.append(ws)
        host.state("clients", len(clients))
        while kept:
            pushing.start_soon(ws.send_text, kept.pop(0).to_json())
        async for _ in ws.iter_text():
            pass
        clients.remove(ws)
        host.state("clients", len(clients))
        host.note("a client has gone")

    async def tell(event: Event) -> None:
        if clients:
            pushing.start_soon(clients[-1].send_text, event.to_json())
        else:
            kept.append(event)

    def heartbeat() -> Heartbeat | None:
        return heartbeat_of(host) if host.knobs["who-pings"] in ("server", "both") else None

    async with trio.open_nursery() as pushing:
        pushing.start_soon(let_events_happen, host, tell)
        app = Starlette(routes=[WebSocketRoute("/notifications", notifications)])
        await serve_http(host, app, heartbeat=heartbeat)


# --- the firewall between them ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Entry:
    """What a firewall remembers of a connection: when it last saw a packet of it, and whether it has forgotten it."""

    seen_s: float
    forgotten: bool = False


async def firewall(host: Host) -> None:
    """Lets connections through, and forgets those on which nothing happens. What comes for a forgotten one, it swallows.

    So do many boxes that keep state for each connection. Azure's load balancer forgets after 4 minutes, in silence unless
    told to send RST; RFC 5382, REQ-5, asks for 2 hours and 4 minutes. Here it is built as a relay of bytes.
    """
    async with host.listen(80) as listener, trio.open_nursery() as nursery:
        while True:
            nursery.start_soon(let_through, host, await listener.accept())


async def let_through(host: Host, outside: trio.abc.HalfCloseableStream) -> None:
    entry = Entry(trio.current_time())
    async with outside:
        try:
            inside = await host.connect("server", 80)
        except OSError as error:
            host.note(f"no way through: {error}")
            return
        async with inside, trio.open_nursery() as nursery:
            nursery.start_soon(pass_on, host, entry, outside, inside, nursery.cancel_scope)
            nursery.start_soon(pass_on, host, entry, inside, outside, nursery.cancel_scope)


async def pass_on(
    host: Host,
    entry: Entry,
    source: trio.abc.ReceiveStream,
    target: trio.abc.HalfCloseableStream,
    connection: trio.CancelScope,
) -> None:
    """Pass on what comes from `source`, unless the connection is forgotten by then."""
    try:
        while True:
            data = await source.receive_some()
            if trio.current_time() - entry.seen_s > host.knobs.number("forgets-after"):
                entry.forgotten = True
            entry.seen_s = trio.current_time()
            if entry.forgotten:
                host.note(f"swallowed {len(data)} B" if data else "swallowed a FIN")
            elif data:
                await target.send_all(data)
            else:
                await target.send_eof()
            if not data:
                return
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        if not entry.forgotten:
            connection.cancel()


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Listens. Silence may mean that nothing happens, or that nobody is there any more."""

    async def listen(ws: WebSocket) -> None:
        async for text in ws:
            host.event_handled(Event.from_json(text).number)

    def heartbeat() -> Heartbeat | None:
        return heartbeat_of(host) if host.knobs["who-pings"] in ("client", "both") else None

    await stay_connected(host, listen, server="firewall", heartbeat=heartbeat)


# --- the lesson ---------------------------------------------------------------------------------------------------------

ARRIVALS, RATE, BURST, SIZE = EVENT_KNOBS

LESSON = Lesson(
    name="half-open-peer",
    title="Half-open peer",
    purpose="A firewall forgets a quiet connection, and tells nobody: see who finds out, how late, and only by a heartbeat.",
    hosts=(HostSpec("client", client), HostSpec("firewall", firewall), HostSpec("server", server)),
    protocols={80: WebSocketDissector},
    network={"latency": 0.1},
    until_s=90.0,
    knobs=(
        Choice("who-pings", "who pings", "both", ("both", "client", "server", "nobody"),
               "who sends pings and hangs up when no pong comes; of a new connection"),
        *HEARTBEAT_KNOBS,
        Number("forgets-after", "forgets after", "s", 8.0, 1.0, math.inf, 2.0,
               "silence after which the firewall forgets a connection (Azure's load balancer: 4 min)", ratio=2.0),
        replace(ARRIVALS, default="fixed"),
        replace(RATE, default=0.1),
        BURST,
        SIZE,
    ),
    faults=(UNPLUG_CLIENT, KILL_CLIENT, KILL_SERVER),
    metrics=("events", "events-handled", "events-waiting", "event-delay", "event-delay-max", "timeouts", "connections",
             "open", "bytes"),
    beats=(
        Beat(Noted, "The firewall has forgotten this connection, and has {text}. To the sender it looks as if it had been sent,"
             " and to its TCP as if it had arrived.", {"text": "swallowed"}),
        Beat(TimedOut, "No pong within {after_s} s: the client takes the server for dead, hangs up and connects anew. Without"
             " its ping it would wait for ever.", {"what": "pong"}),
        Beat(Noted, "The server gives its client up: nothing had come from it for an interval and a timeout. From now on it knows"
             " that it must keep what happens.", {"text": "a client has gone"}),
        Beat(MessageStarted, "A ping: are you still there? It costs 2 bytes, or 6 and its content from a client, and keeps the"
             " firewall's memory fresh.", {"label": "ping"}),
        Beat(MessageStarted, "A pong: the way there and the way back are alive, and so is the program at the end.",
             {"label": "pong"}),
        Beat(MessageStarted, "{sender} says {label} to a peer that may not hear it: 1011, something unexpected.",
             {"label": "close 1011"}),
        Beat(EventHandled, "The client has heard of event {event}."),
    ),
    try_next=(
        "Ping every 5 s: the firewall never forgets, and every event arrives. That is what the interval is for.",
        "Let nobody ping: both wait for ever, and the server pushes into the void. TCP alone does not notice.",
        "Let only the client ping: it reconnects. The server still counts the dead connection among its clients.",
        "Let only the server ping: it knows, and keeps the events. The client waits for ever.",
        "Unplug the client for a minute instead: silence again, and again only the heartbeat tells.",
        "Kill the client: its kernel closes the connection, and the server learns it at once. Death is easier than silence.",
    ),
)  # fmt: skip
