"""Slow client: who is pushed to cannot say “not so fast”. Where do the events pile up, and who throws them away?"""

from collections import deque
from dataclasses import replace

import trio
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket as ServerWebSocket

from engines.lab.facts import EventLost, MessageStarted, StateChanged, WaitStarted, WorkStarted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.push.reconnect import stay_connected
from engines.patterns.troubles import CUT_ANSWERS, KILL_CLIENT, KILL_SERVER, UNPLUG_CLIENT
from engines.patterns.workload import EVENT_KNOBS, Event, let_events_happen
from engines.wire.http_server import serve_http
from engines.wire.websocket import TRY_AGAIN_LATER, WebSocket
from engines.wire.websocket_dissector import WebSocketDissector

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Puts events into a buffer of limited size, and pushes from there as fast as the network takes them."""
    buffer = Buffer(host)
    clients: list[ServerWebSocket] = []

    async def notifications(ws: ServerWebSocket) -> None:
        await ws.accept()
        clients.append(ws)
        async with trio.open_nursery() as pushing:
            pushing.start_soon(push, ws)
            async for _ in ws.iter_text():
                pass  # until the client leaves, or we have sent it away
            pushing.cancel_scope.cancel()
        if ws in clients:
            clients.remove(ws)

    async def push(ws: ServerWebSocket) -> None:
        while ws in clients:
            await ws.send_text((await buffer.take()).to_json())  # waits while the client's and our own kernel are full

    async def tell(event: Event) -> None:
        policy = host.knobs["when-full"] if clients else "drop newest"
        if buffer.full and policy == "block":
            with host.waiting("the buffer is full: the source must wait"):
                await buffer.wait_for_room()
        elif buffer.full and policy == "drop oldest":
            host.event_lost(buffer.drop_oldest().number, "oldest in a full buffer")
        elif buffer.full:
            host.event_lost(event.number, "newest at a full buffer" if clients else "nobody is connected")
            if policy == "disconnect":
                closing.start_soon(clients.pop().close, TRY_AGAIN_LATER, "too slow")
                buffer.give_up("the client was disconnected")
            return
        buffer.put(event)

    async with trio.open_nursery() as closing:
        closing.start_soon(let_events_happen, host, tell)
        await serve_http(host, Starlette(routes=[WebSocketRoute("/notifications", notifications)]))


class Buffer:
    """Events that wait for the network; not more than the knob says, as long as those who put look at `full` first."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._events: deque[Event] = deque()
        self._shown = 0
        self._arrival = trio.lowlevel.ParkingLot()
        self._departure = trio.lowlevel.ParkingLot()

    @property
    def full(self) -> bool:
        return len(self._events) >= self._host.knobs.number("buffer-size")

    def put(self, event: Event) -> None:
        self._events.append(event)
        if self._arrival:
            self._arrival.unpark()  # somebody takes it at once: it does not stay long enough to be shown
        else:
            self._show()

    def drop_oldest(self) -> Event:
        """Make room for one that is about to be put: the buffer is as full as before, and there is nothing to show."""
        return self._events.popleft()

    async def take(self) -> Event:
        """The oldest event; waits until there is one."""
        while not self._events:
            await self._arrival.park()
        event = self._events.popleft()
        self._departure.unpark_all()
        self._show()
        return event

    async def wait_for_room(self) -> None:
        while self.full:
            await self._departure.park()

    def give_up(self, reason: str) -> None:
        """Throw everything away."""
        while self._events:
            self._host.event_lost(self._events.popleft().number, reason)
        self._departure.unpark_all()
        self._show()

    def _show(self) -> None:
        if len(self._events) != self._shown:
            self._shown = len(self._events)
            self._host.state("buffer", f"{self._shown} of {self._host.knobs.number('buffer-size'):g}")


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Works on each event before it reads the next, and so is slower than the events come."""

    async def listen(ws: WebSocket) -> None:
        async for text in ws:
            number = Event.from_json(text).number
            await host.work(f"deal with event {number}", host.knobs.number("consumer-time"))
            host.event_handled(number)

    await stay_connected(host, listen)


# --- the lesson ---------------------------------------------------------------------------------------------------------

ARRIVALS, RATE, BURST, SIZE = EVENT_KNOBS

LESSON = Lesson(
    name="slow-client",
    title="Slow client",
    purpose="Events come faster than the client can deal with them: see three buffers fill, and what the last one does then.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: WebSocketDissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Number("consumer-time", "client takes", "s", 0.5, 0.0, 60.0, 0.1, "how long the client works on one event"),
        Number("buffer-size", "buffer", "", 10, 1, 1000, 5, "how many events the server's program keeps for the client",
               integer=True),
        Choice("when-full", "when full", "drop oldest", ("drop oldest", "drop newest", "block", "disconnect"),
               "what the server does with an event for which there is no room"),
        replace(ARRIVALS, default="fixed"),
        replace(RATE, default=5.0),
        BURST,
        replace(SIZE, default=16_000),
    ),
    faults=(UNPLUG_CLIENT, KILL_CLIENT, KILL_SERVER, CUT_ANSWERS),
    metrics=("events", "events-handled", "events-waiting", "events-lost", "event-delay", "event-delay-max",
             "events-unordered", "bytes", "connections"),
    beats=(
        Beat(EventLost, "Event {event} is thrown away, the {reason}: the client will be up to date, with holes.",
             {"reason": "oldest"}),
        Beat(EventLost, "Event {event} is thrown away, the {reason}: the client hears everything old and nothing new.",
             {"reason": "newest"}),
        Beat(EventLost, "Event {event} is lost: {reason}."),
        Beat(WaitStarted, "The server's source of events stands still: now everybody is as slow as the slowest client.",
             {"label": "the buffer"}),
        Beat(MessageStarted, "{label}, try again later: the server parts with a client that is too slow. Its Close waits behind"
             " all that was sent before.", {"label": "close 1013", "sender": "server"}),
        Beat(StateChanged, "The server's own buffer begins to fill: the client's kernel and the server's are full, 128 KiB"
             " in all. TCP has told the server to wait.", {"key": "buffer", "value": "2 of"}),
        Beat(WorkStarted, "The client deals with an event, and does not read meanwhile. Nobody asks whether it can take more."),
        Beat(MessageStarted, "The server pushes an event of {label}, whether or not the client is ready.",
             {"label": "text", "sender": "server"}),
    ),
    try_next=(
        "Set the buffer to 100 events: nothing is lost for a while, and everything gets later and later.",
        "Drop the newest instead: the client hears of things long past, and not of what happens now.",
        "Block: nothing is lost, and the events themselves become slow. Who can afford that?",
        "Disconnect: the client gets what was on its way, then its Close, and has to begin anew.",
        "Let the client take 0.1 s: it keeps up, and no buffer matters.",
        "Set the event size to 500 B: now the two kernels hold 260 events, older and older, before the program notices.",
    ),
)  # fmt: skip
