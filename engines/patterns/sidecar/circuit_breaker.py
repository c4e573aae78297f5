"""One of three instances is sick: eject it. All three are: open the circuit, and fail fast.

Ejection is Envoy's outlier detection: 5 failures in a row put an instance out of turn for 30 s, each time 30 s longer; a sweep
every 10 s lets back whose time is over; at most 10 % may be out, but one always may. A breaker is about the service as a
whole: it opens after some failures in a row, and after a while lets one request try.
"""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from engines.lab.facts import Measured, MessageStarted, Noted, StateChanged
from engines.lab.host import Host
from engines.lab.knobs import Number, Toggle
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.sidecar.mesh import (
    EGRESS,
    INTERVAL_KNOB,
    KILL_ORDERS,
    KILL_SIDECAR,
    SERVICE,
    SERVICE_KNOB,
    UNPLUG_ORDERS,
    egress,
    orders,
)
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import http_client
from engines.wire.http_server import serve_http
from engines.wire.retries import RetryPolicy
from engines.wire.upstream import Settings

INSTANCES = ("billing1", "billing2", "billing3")

# --- three instances of one service (the service that asks is that of the mesh) -------------------------------------------


async def billing(host: Host) -> None:
    """The first so many of the instances are sick: they take their time, and then say 503."""
    number = INSTANCES.index(host.name) + 1

    async def bill(request: Request) -> Response:
        host.measure(f"asked {host.name}")
        if number <= host.knobs.number("sick"):
            host.measure("sick answers")
            await host.work("sick", host.knobs.number("sick-time"))
            return PlainTextResponse("no ink\n", 503)
        await host.work("bill", host.knobs.number("service-time"))
        return PlainTextResponse("bill\n")

    await serve_http(host, Starlette(routes=[Route("/bill/{number}", bill)]), SERVICE)


# --- the sidecar ----------------------------------------------------------------------------------------------------------


async def proxy(host: Host) -> None:
    """Asks the instances in turn, but for those that are ejected; asks none while the circuit is open."""

    def settings() -> Settings:
        knobs = host.knobs
        breaker = (int(knobs.number("breaker-limit")), knobs.number("breaker-time")) if knobs.on("breaker") else None
        return Settings(
            RetryPolicy(int(knobs.number("retries"))),
            breaker=breaker,
            ejection=knobs.on("ejection"),
            consecutive=int(knobs.number("consecutive")),
            base_ejection_s=knobs.number("ejection-time"),
            most_ejected=knobs.number("most-ejected"),
            sweep_s=knobs.number("sweep"),
        )

    async with http_client(host) as http:
        await egress(host, http, INSTANCES, settings, lambda name: f"http://{name}:{SERVICE}")


# --- the lesson ---------------------------------------------------------------------------------------------------------

LESSON = Lesson(
    name="circuit-breaker",
    title="Ejection and breaker",
    purpose="One of three instances is sick: see it ejected after five failures. Make all sick: the circuit opens.",
    hosts=(
        HostSpec("orders", orders, machine="pod-1"),
        HostSpec("sidecar", proxy, machine="pod-1"),
        *(HostSpec(name, billing) for name in INSTANCES),
    ),
    protocols={EGRESS: Http1Dissector, SERVICE: Http1Dissector},
    network={"latency": 0.1},
    until_s=45.0,
    knobs=(
        Number("sick", "sick instances", "", 1, 0, 3, 1, "how many of the three answer 503", integer=True),
        Toggle("ejection", "ejection", True, "whether an instance that fails again and again gets no requests for a while"),
        Number("consecutive", "ejects after", "", 5, 1, 100, 1, "failures in a row of one instance (Envoy 1.x: 5)", integer=True),
        Number("ejection-time", "ejected for", "s", 30.0, 0.1, 600.0, 5.0,
               "times how often it was ejected (Envoy 1.x: 30 s)", ratio=2.0),
        Number("sweep", "sweeps every", "s", 10.0, 0.1, 600.0, 5.0,
               "when ejected ones may come back (Envoy 1.x: 10 s)", ratio=2.0),
        Number("most-ejected", "ejects at most", "%", 0.1, 0.0, 1.0, 0.1, "of all instances, but always one (Envoy 1.x: 10 %)"),
        Toggle("breaker", "circuit breaker", True, "whether the circuit opens after failures in a row, whoever they came from"),
        Number("breaker-limit", "opens after", "", 15, 1, 100, 1, "failures in a row of the service", integer=True),
        Number("breaker-time", "open for", "s", 5.0, 0.1, 600.0, 1.0, "until one request may try", ratio=2.0),
        Number("retries", "retries", "", 0, 0, 10, 1, "how often the sidecar asks again", integer=True),
        Number("sick-time", "sick answer takes", "s", 1.0, 0.0, 30.0, 0.5, "how long a sick instance works for its 503"),
        Number(INTERVAL_KNOB.name, INTERVAL_KNOB.title, "s", 0.5, 0.1, 60.0, 0.25, INTERVAL_KNOB.help),
        SERVICE_KNOB,
    ),
    faults=(
        KILL_ORDERS, KILL_SIDECAR, UNPLUG_ORDERS,
        Fault("kill-billing", "kill billing3", "k", "kill billing3",
              "an instance dies: who asks it is refused, which counts as a failure too", off="restart billing3"),
        Fault("cut-billing", "cut off billing2", "b", "unplug billing2",
              "an instance falls silent: attempts there wait for the limit of the connection or the route", off="plug billing2"),
    ),
    metrics=("measured:asked", "measured:answered", "measured:failed", "measured:failed fast", "measured:ejections",
             "measured:times opened", "measured:sick answers", "delay-max"),
    beats=(
        Beat(Noted, "{text}. From now on the others get its share; nobody had to tell the service.", {"text": ".* is ejected"}),
        Beat(Noted, "{text}: its time was over at this sweep. If it is still sick, five failures put it out again, for longer.",
             {"text": ".* gets requests again"}),
        Beat(StateChanged, "The circuit is open: the sidecar answers 503 by itself, at once. It spares the sick service, and"
             " spares"
             " the caller the waiting.", {"key": "circuit", "value": "open"}),
        Beat(StateChanged, "The circuit is half open: this one request may try. All others still fail at once.",
             {"key": "circuit", "value": "half-open"}),
        Beat(StateChanged, "The try went well: the circuit is closed.", {"key": "circuit", "value": "closed"}),
        Beat(Measured, "Failed fast: no network, no waiting.", {"what": "failed fast"}),
        Beat(Noted, "The service is told of it: {text}.", {"host": "orders", "text": "no bill"}),
        Beat(MessageStarted, "{sender} is sick: it took its time, and says {label}.", {"sender": "billing", "label": "503"}),
    ),
    try_next=(
        "Turn ejection off: one bill in three fails, for ever.",
        "Make all three sick: one is ejected, and after 15 failures in a row the circuit opens. Every 5 s one request may try.",
        "Make all three sick and turn the breaker off: each failure takes over a second, and the sick get no rest.",
        "Eject for 5 s at a time and sweep every second: the sick one is back soon, and out again, longer each time.",
        "Make two sick and let all be ejected: when fewer than half are left, the sidecar asks them all again (its panic).",
        "Set retries to 1: the second attempt mostly goes to another instance, and 3 bills fail instead of 8.",
        "Kill billing3 as well: a refused connection is a failure. But one instance is out already, and 10 % of three is none.",
    ),
)  # fmt: skip
