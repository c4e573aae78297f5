"""GOAWAY: how a server leaves in the middle of a hundred requests, so that each is done once and none is in doubt.

RFC 9113, section 6.8: GOAWAY names the last stream that was or might be processed. What is above it may be sent again elsewhere,
even if it is not idempotent; what is not, gets its answer. A server first names the highest number there is, to stop the flow,
and the real one at least a round trip later. A connection that just ends says nothing, and a POST without an answer is in doubt
for ever.
"""

from dataclasses import replace

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from engines.lab.facts import ConnectionClosed, Measured, MessageStarted, Noted, PoolAssigned, PoolEvicted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number, Toggle
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.multiplexing.rounds import SERVICE_KNOB
from engines.patterns.troubles import DROP_PACKET, KILL_CLIENT, KILL_SERVER, LOSE_RESPONSE, UNPLUG_CLIENT
from engines.wire.h2_client import h2_client
from engines.wire.h2_server import Goodbye, H2Server
from engines.wire.http2 import Http2Dissector
from engines.wire.http_client import TIMEOUT_KNOBS

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Charges a card for POST /charges/n, and is replaced now and then: all connections are to end, new ones are welcome."""

    async def charge(request: Request) -> PlainTextResponse:
        number = request.path_params["number"]
        await host.work(f"charge {number}", host.knobs.number("service-time"))
        charged = host.disk.setdefault("charged", set())
        host.measure("charged")
        if number in charged:
            host.measure("charged twice")
            host.note(f"number {number} is charged a second time")
        charged.add(number)
        return PlainTextResponse(f"charged {number}\n")

    http = H2Server(host, Starlette(routes=[Route("/charges/{number:int}", charge, methods=["POST"])]))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(http.serve)
        while True:
            await trio.sleep(host.knobs.number("deploys"))
            host.note("a new version takes over")
            http.say_goodbye(Goodbye(host.knobs["goodbye"]))


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Has cards charged, one after the other and many at a time."""
    async with h2_client(host, base_url="http://server") as http, trio.open_nursery() as nursery:
        while True:
            number = host.disk["number"] = host.disk.get("number", 0) + 1
            nursery.start_soon(pay, host, http, number)
            await trio.sleep(host.knobs.number("interval"))


async def pay(host: Host, http: httpx.AsyncClient, number: int) -> None:
    """Pay once. What the server certainly did not touch, the transport sends again by itself; the rest is up to us."""
    host.measure("wanted")
    while True:
        try:
            await http.post(f"/charges/{number}")
        except (httpx.ConnectError, httpx.ConnectTimeout):
            await trio.sleep(0.5)  # it never left: certainly not charged
        except httpx.TransportError as error:
            if not host.knobs.on("retry"):
                host.measure("in doubt")
                host.note(f"was number {number} charged? nobody knows: {type(error).__name__}")
                return
            await trio.sleep(0.5)
        else:
            host.measure("confirmed")
            return


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, POOL_TIMEOUT = TIMEOUT_KNOBS

LESSON = Lesson(
    name="goaway",
    title="Going away",
    purpose="A server is replaced while it works on ten payments: see which of them are sent again, and that none is done twice.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: Http2Dissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Choice("goodbye", "goodbye", Goodbye.AT_ONCE.value, tuple(how.value for how in Goodbye),
               "how the server ends a connection: at once, with a warning first (RFC 9113, 6.8), or without a word"),
        Number("deploys", "a deployment every", "s", 5.0, 0.5, 60.0, 0.5, "how often the server is replaced by a new version"),
        Number("interval", "a payment every", "s", 0.1, 0.05, 10.0, 0.05, "how often the client has a card charged"),
        replace(SERVICE_KNOB, default=1.0),
        Toggle("retry", "without an answer", False, "what the client does about a payment in doubt", on="pays again",
               off="gives up"),
        READ_TIMEOUT,
        CONNECT_TIMEOUT,
    ),
    faults=(KILL_SERVER, KILL_CLIENT, UNPLUG_CLIENT, LOSE_RESPONSE, DROP_PACKET),
    metrics=("measured:wanted", "measured:confirmed", "measured:in doubt", "measured:charged twice", "requests", "streams",
             "open", "connections"),
    beats=(
        Beat(Measured, "A card was charged twice. The first time the answer got lost, and the client could not know.",
             {"what": "charged twice"}),
        Beat(MessageStarted, "{label}: bring nothing more, but what is on its way is still taken. A PING will show when it is all"
             " there.", {"sender": "server", "label": "GOAWAY NO_ERROR, last stream not"}),
        Beat(MessageStarted, "{label}: this one and those before it will be answered. Those after it were not looked at, and may"
             " be sent again.", {"sender": "server", "label": "GOAWAY"}),
        Beat(PoolEvicted, "The client has read it, and gives this connection no more requests. Those above the last are sent"
             " again, at once.", {"reason": "GOAWAY"}),
        Beat(PoolEvicted, "The connection is gone, and with it the answers to all that was in flight.",
             {"reason": "closed by peer"}),
        Beat(PoolAssigned, "A new connection, to the new version.", {"how": "opened"}),
        Beat(Noted, "{text}.", {"text": "was number|a new version"}),
        Beat(ConnectionClosed, "The last answer has left, and the old connection ends.", {"host": "server"}),
    ),
    try_next=(
        "Look at the payments behind GOAWAY: two were on their way, and are sent again on the new connection.",
        "Say goodbye with a warning: after the first GOAWAY nothing new comes, so the second leaves nothing to be sent again.",
        "Close without a word: about a dozen payments in doubt at each deployment. They were charged, and nobody was told.",
        "Then let the client pay again: now it has its answers, and the cards are charged twice.",
        "Kill the server: a crash says no goodbye. Work in progress dies with it, and the client cannot tell which was done.",
        "Deploy every 0.5 s: three connections at a time, each with a few payments to finish, and all are done once.",
    ),
)  # fmt: skip
