"""Synchronicity is a property of the client: the same requests to the same server, one after another or all at once."""

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from engines.lab.facts import MessageStarted, Noted, PoolQueued, WaitStarted, WorkStarted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.sync_async.crew import Crew
from engines.patterns.troubles import CUT_ANSWERS, KILL_CLIENT, KILL_SERVER, LOSE_RESPONSE, UNPLUG_CLIENT
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import POOL_SIZE_KNOB, TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Answers each request after some work. It does not know, and need not, whether its client waits for the answer."""
    threads = Crew(host, lambda: host.knobs.number("server-threads"))

    async def tell(request: Request) -> Response:
        """In a thread of its own, as far as there are any."""
        name = request.path_params["name"]
        async with threads.member(f"{name} in line"):
            await host.work(name, host.knobs.number("service-time"))
        return PlainTextResponse(f"all about {name}\n")

    await serve_http(host, Starlette(routes=[Route("/{name}", tell)]))


# --- the client ---------------------------------------------------------------------------------------------------------

THINGS = ("weather", "news", "mail", "music", "maps", "stocks", "photos", "games")


async def client(host: Host) -> None:
    """Makes a page of several things that it asks for, and after a while the next."""
    while True:
        async with http_client(
            host, base_url="http://server"
        ) as http:  # anew for each page: no connection is left over
            wanted = [
                f"{THINGS[n % len(THINGS)]}{n // len(THINGS) or ''}" for n in range(int(host.knobs.number("requests")))
            ]
            began_s = trio.current_time()
            page = await WAYS[str(host.knobs["asking"])](host, http, wanted)
            took_s = trio.current_time() - began_s
        host.note(f"the page is there after {took_s:.2f} s, {len(page)} of {len(wanted)} things")
        host.measure("pages")
        host.measure("page seconds", took_s)
        await trio.sleep(host.knobs.number("pause"))


async def one_after_another(host: Host, http: httpx.AsyncClient, wanted: list[str]) -> dict[str, str]:
    """Synchronous: the next request is not even sent before the answer to this one is there."""
    page: dict[str, str] = {}
    for thing in wanted:
        await ask(host, http, thing, page)
    return page


async def all_at_once(host: Host, http: httpx.AsyncClient, wanted: list[str]) -> dict[str, str]:
    """Asynchronous: all requests are on their way before any answer is there. The page takes as long as the slowest."""
    page: dict[str, str] = {}
    async with trio.open_nursery() as nursery:
        for thing in wanted:
            nursery.start_soon(ask, host, http, thing, page)
    return page


async def two_at_a_time(host: Host, http: httpx.AsyncClient, wanted: list[str]) -> dict[str, str]:
    """In between: considerate of the server, and still quicker than one after another."""
    page: dict[str, str] = {}
    left = iter(wanted)

    async def ask_on() -> None:
        for thing in left:
            await ask(host, http, thing, page)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_on)
        nursery.start_soon(ask_on)
    return page


WAYS = {"one after another": one_after_another, "two at a time": two_at_a_time, "all at once": all_at_once}


async def ask(host: Host, http: httpx.AsyncClient, thing: str, page: dict[str, str]) -> None:
    """One request. To whoever calls this it is a line like any other."""
    try:
        page[thing] = (await http.get(f"/{thing}")).text
    except httpx.TransportError as error:
        host.measure("things missing")
        host.note(f"no {thing}: {type(error).__name__}")


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS

LESSON = Lesson(
    name="client-side",
    title="The client's choice",
    purpose="The same requests to the same server, one after another or all at once: see how long a page takes, and why.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: Http1Dissector},
    network={"latency": 0.15},
    until_s=20.0,
    knobs=(
        Choice("asking", "asking", "one after another", tuple(WAYS), "whether it waits for an answer before it asks again"),
        Number("requests", "requests", "", 4, 1, 50, 1, "things that the client needs for its page", integer=True),
        Number("service-time", "service time", "s", 0.4, 0.0, 10.0, 0.1, "how long the server works on a request"),
        Number("server-threads", "server threads", "", 16, 1, 64, 1, "requests that it works on at a time; others stand in line",
               integer=True),
        POOL_SIZE_KNOB,
        Number("pause", "pause", "s", 1.0, 0.05, 60.0, 0.5, "the client's pause before the next page"),
        READ_TIMEOUT,
        CONNECT_TIMEOUT,
    ),
    faults=(KILL_SERVER, KILL_CLIENT, UNPLUG_CLIENT, CUT_ANSWERS, LOSE_RESPONSE),
    metrics=("measured:pages", "measured:page seconds", "delay", "requests", "connections", "pool-queue", "timeouts",
             "measured:things missing"),
    beats=(
        Beat(Noted, "{text}. Every wait in it was the client's own decision.", {"text": "the page is there"}),
        Beat(WaitStarted, "The server has no thread free. The request waits there instead of at the client.",
             {"host": "server"}),
        Beat(PoolQueued, "The client wants {label}, and needs a connection for it: HTTP/1.1 carries one request at a time."),
        Beat(WorkStarted, "The server works. What its client does meanwhile, it cannot see.", {"host": "server"}),
        Beat(MessageStarted, "{label}: the client can use it now, and ask for the next.", {"label": "200"}),
    ),
    try_next=(
        "Ask all at once: the page takes two round trips, one to connect, and one service time, whatever is on it.",
        "Ask all at once and watch the connections: each thing needs one of its own. HTTP/1.1 has no other way.",
        "Ask all at once for 12 things over a pool of 6: two rounds. Waiting has moved into the pool.",
        "Ask all at once with 1 server thread: waiting has moved into the server. Nobody can be quicker than the work.",
        "Ask two at a time: half of the time, for two connections.",
        "Ask one after another with a latency of 0: what is left is the server's work alone, added up.",
        "Set the latency to 1 s: one after another, four things cost eight seconds of travelling, and two to connect.",
    ),
)  # fmt: skip
