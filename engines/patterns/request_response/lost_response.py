"""A lost response and a retry that does the work twice; an idempotency key that prevents it."""

from dataclasses import replace

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from engines.lab.facts import Measured, MessageStarted, Noted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number, Toggle
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.troubles import CUT_ANSWERS, KILL_SERVER, LOSE_REQUEST, LOSE_RESPONSE, UNPLUG_CLIENT
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Charges a card once for every request, unless a key tells it that this request was already done."""
    ledger: list[str] = host.disk.setdefault("ledger", [])
    keys = {"memory": set[str](), "disk": host.disk.setdefault("keys", set[str]())}

    async def charge(request: Request) -> PlainTextResponse:
        order = (await request.body()).decode()
        key = request.headers.get("Idempotency-Key")
        known = keys[str(host.knobs["keys-kept"])]
        if key is not None and key in known:
            host.note(f"key {key} is known: the work is done already")
            return PlainTextResponse(f"charged for {order}, earlier")
        ledger.append(order)
        if key is not None:
            known.add(key)
        host.measure("charges")
        if ledger.count(order) > 1:
            host.measure("duplicate charges")  # the laboratory can tell; a real server could not
        slow = len(ledger) % int(host.knobs.number("slow-every")) == 0
        await host.work(f"charge for {order}", host.knobs.number("slow-time" if slow else "service-time"))
        return PlainTextResponse(f"charged for {order}")

    await serve_http(host, Starlette(routes=[Route("/charge", charge, methods=["POST"])]))


# --- the client ---------------------------------------------------------------------------------------------------------

ATTEMPTS = 4


async def client(host: Host) -> None:
    """Places an order every now and then, and pays for it."""
    async with http_client(host, base_url="http://server") as http:
        while True:
            host.disk["orders"] = host.disk.get("orders", 0) + 1
            await pay(host, http, f"order {host.disk['orders']}")
            await trio.sleep(host.knobs.number("pause"))


async def pay(host: Host, http: httpx.AsyncClient, order: str) -> None:
    """One payment. Without an answer there are two bad choices: leave it in doubt, or ask again and perhaps pay twice.

    RFC 9110, section 9.2.2: a client should not repeat a POST by itself unless it knows that to be harmless; the key is how
    it knows. It is made once for an order and goes along with every attempt.
    """
    headers = {"Idempotency-Key": f'"{order}"'} if host.knobs.on("idempotency-key") else {}
    for attempt in range(1, ATTEMPTS + 1):
        try:
            response = await http.post("/charge", content=order, headers=headers)
            host.note(response.text)
            return
        except httpx.TransportError as error:
            host.note(f"no answer for {order}: {type(error).__name__}")
        if not host.knobs.on("retry"):
            break
        if attempt < ATTEMPTS:
            host.measure("retries")
            await trio.sleep(1.0)
    host.measure("orders in doubt")


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS

LESSON = Lesson(
    name="lost-response",
    title="Lost response",
    purpose="The work is done but the answer does not come: ask again, and it may be done twice.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: Http1Dissector},
    network={"latency": 0.2},
    until_s=40.0,
    knobs=(
        Toggle("retry", "retry", True, "whether the client asks again after it got no answer"),
        Toggle("idempotency-key", "idempotency key", False, "whether each order carries a key by which the server knows it"),
        Choice("keys-kept", "keys kept in", "memory", ("memory", "disk"), "where the server remembers the keys it has seen"),
        Number("slow-every", "slow every", "", 3, 1, 1000, 1, "one charge out of this many takes the slow time", integer=True),
        Number("slow-time", "slow time", "s", 4.0, 0.0, 60.0, 1.0, "how long the server works on a slow charge"),
        Number("service-time", "service time", "s", 0.2, 0.0, 10.0, 0.1, "how long the server works on any other charge"),
        Number("pause", "pause", "s", 1.5, 0.1, 60.0, 0.5, "the client's pause between two orders"),
        replace(READ_TIMEOUT, default=2.0),
        CONNECT_TIMEOUT,
    ),
    faults=(LOSE_RESPONSE, LOSE_REQUEST, KILL_SERVER, UNPLUG_CLIENT, CUT_ANSWERS),
    metrics=("measured:charges", "measured:duplicate charges", "measured:orders in doubt", "measured:retries", "requests",
             "responses", "timeouts", "resets", "delay"),
    beats=(
        Beat(Measured, "Charged twice. The first charge had been done, only its answer had not come; the retry looked like a"
             " new order.", {"what": "duplicate"}),
        Beat(Measured, "The client gives up. Has the card been charged? It cannot know: a lost request and a lost response look"
             " the same from here.", {"what": "orders in doubt"}),
        Beat(Measured, "No answer, so the client will ask again. That is safe only if doing the work twice is the same as doing"
             " it once.", {"what": "retries"}),
        Beat(Noted, "The server has seen this key: it answers without charging again. However often the client asks, it pays"
             " once.", {"text": "key "}),
        Beat(MessageStarted, "A POST: not idempotent. Nobody between client and server may repeat it of his own accord.",
             {"label": "POST"}),
    ),
    try_next=(
        "Turn the idempotency key on: retries go on, and duplicate charges stop.",
        "Turn retry off: nothing is charged twice, but some orders stay in doubt.",
        "Lose the next response with the key on, then with the key off, and compare the charges.",
        "Lose the next request instead: it looks the same to the client, and this time the retry is right.",
        "Keep the keys in memory, kill the server during a slow charge and restart it: the keys are gone, and it charges twice.",
        "Set the read timeout to 6 s: patience is the cheapest cure, as long as the server is only slow.",
    ),
)  # fmt: skip
