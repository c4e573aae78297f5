"""Many clients: each polls modestly, but if all do it at the same moment the server has a storm, and then nothing to do."""

import math
from collections import deque

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engines.lab.facts import Measured, MessageStarted, Noted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.troubles import KILL_SERVER, LOSE_RESPONSE
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Answers one question after another: there is one processor, and nearly never any news."""
    processor = trio.Lock()  # strictly in the order of arrival
    last_second: deque[float] = deque()
    host.disk.setdefault("peak", 0)

    def count() -> None:
        """Requests of the last second; their highest number so far is a number of the lesson."""
        last_second.append(trio.current_time())
        while last_second[0] <= trio.current_time() - 1.0:
            last_second.popleft()
        if len(last_second) > host.disk["peak"]:
            host.measure("peak requests a second", len(last_second) - host.disk["peak"])
            host.disk["peak"] = len(last_second)

    async def tell(request: Request) -> Response:
        count()
        async with processor:
            await host.work("look for news", host.knobs.number("service-time"))
        return Response(status_code=204)

    await serve_http(host, Starlette(routes=[Route("/news", tell)]))


# --- the clients --------------------------------------------------------------------------------------------------------

HOUSES = ("home", "office", "school")
MOST_CLIENTS = 50


async def house(host: Host) -> None:
    """Every third client lives here; each has a connection of its own."""
    async with trio.open_nursery() as nursery:
        for number in range(HOUSES.index(host.name), MOST_CLIENTS, len(HOUSES)):
            nursery.start_soon(client, host, number)


async def client(host: Host, number: int) -> None:
    """Polls when it is time, as one of the first so many."""
    async with http_client(host, base_url="http://server") as http:
        next_s = 0.0 if in_phase(host) else host.rng.random() * host.knobs.number("interval")
        while True:
            await trio.sleep_until(next_s)
            if number < host.knobs.number("clients"):
                await ask(host, http, number)
            next_s = max(trio.current_time(), next_poll_s(host, next_s))


def in_phase(host: Host) -> bool:
    return host.knobs["polls"] == "in phase"


def next_poll_s(host: Host, last_s: float) -> float:
    """In phase: at the next multiple of the interval, by everybody's clock. With jitter: after half to one and a half of it."""
    interval_s = host.knobs.number("interval")
    if in_phase(host):
        return (math.floor(trio.current_time() / interval_s + 1e-9) + 1) * interval_s
    return last_s + interval_s * host.rng.uniform(0.5, 1.5)


async def ask(host: Host, http: httpx.AsyncClient, number: int) -> None:
    """One poll, on which nothing depends."""
    try:
        await http.get("/news")
    except httpx.TransportError as error:
        host.note(f"client {number + 1} has no answer: {type(error).__name__}")


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS

LESSON = Lesson(
    name="many-clients",
    title="Many clients",
    purpose="Twenty clients, each of which polls every 3 s: see what becomes of the server when they do it together.",
    hosts=(*(HostSpec(name, house) for name in HOUSES), HostSpec("server", server)),
    protocols={80: Http1Dissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Number("clients", "clients", "", 20, 1, MOST_CLIENTS, 5, "how many poll, spread over three houses", integer=True),
        Choice("polls", "they poll", "in phase", ("in phase", "with jitter"),
               "all at each full interval, as by cron; or each after a random pause, half to one and a half of it"),
        Number("interval", "polls every", "s", 3.0, 0.1, 60.0, 0.5, "each client's time from one poll to the next, on average"),
        Number("service-time", "service time", "s", 0.05, 0.0, 2.0, 0.01, "how long the server's one processor takes for a poll"),
        READ_TIMEOUT,
        CONNECT_TIMEOUT,
    ),
    faults=(
        KILL_SERVER,
        LOSE_RESPONSE,
        Fault("unplug-office", "unplug office", "u", "unplug office", "the office's cable is out: its clients hear nothing",
              off="plug office"),
    ),
    metrics=("measured:peak requests a second", "requests", "delay", "delay-p95", "delay-max", "empty", "bytes", "open",
             "timeouts"),
    beats=(
        Beat(Measured, "So many requests within one second were there never before: the peak rises by {amount}.",
             {"what": "peak"}),
        Beat(Noted, "{host}: {text}. The queue at the server was longer than its patience.", {"text": r".*ReadTimeout"}),
        Beat(MessageStarted, "“Nothing new.” Most of what the server does is to say so.", {"label": "204"}),
        Beat(MessageStarted, "A client at {sender} asks. Alone it would be no burden.", {"label": "GET"}),
    ),
    try_next=(
        "Let them poll with jitter: as many requests, but the peak and the longest delay fall.",
        "Raise the clients to 50: in phase the last of them waits 2.5 s, and the processor is idle after that.",
        "Raise the clients to 50 with a service time of 0.1 s: more work than there is time, whatever the phase.",
        "Poll every 10 s with jitter: the load falls to a third, and all news is later.",
        "Poll every 8 s: the server hangs up after 5 s of idleness, and every poll needs a new connection.",
        "Kill the server and restart it while the clients have jitter: they do not come back all at once.",
    ),
)  # fmt: skip
