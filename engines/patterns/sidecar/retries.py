"""Retries at layer 7: the sidecar has kept the request, reads the status of the answer, and asks again after a pause.

Envoy does not retry unless it is configured to; then once (Istio configures two). The pause before retry N is random in
[0, (2^N - 1) x 25 ms) and at most 250 ms, and all attempts together have the route's 15 s.
"""

from engines.lab.facts import Measured, MessageStarted, Noted, TimedOut, WaitStarted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number, Toggle
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.sidecar.mesh import (
    EGRESS,
    FAIL_KNOB,
    INTERVAL_KNOB,
    KILL_BILLING,
    KILL_ORDERS,
    KILL_SIDECAR,
    ROUTE_KNOB,
    SERVICE,
    SERVICE_KNOB,
    TRY_KNOB,
    UNPLUG_ORDERS,
    billing,
    egress,
    orders,
)
from engines.patterns.troubles import DROP_PACKET
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import http_client
from engines.wire.retries import RetryPolicy
from engines.wire.upstream import Settings

# --- the sidecar (the services are those of the mesh) ---------------------------------------------------------------------


async def proxy(host: Host) -> None:
    """Asks billing as the knobs say, each time anew."""

    def settings() -> Settings:
        knobs = host.knobs
        base_s = knobs.number("back-off")
        policy = RetryPolicy(int(knobs.number("retries")), str(knobs["retry-on"]), base_s, 10 * base_s)
        budget = (knobs.number("budget-share"), knobs.number("budget-floor")) if knobs.on("budget") else None
        return Settings(policy, budget, knobs.number("try-timeout"), knobs.number("route-timeout"))

    async with http_client(host) as http:
        await egress(host, http, ["billing"], settings, lambda name: f"http://{name}:{SERVICE}")


BUDGET_KNOBS = (
    Toggle("budget", "retry budget", False, "whether retries are limited to a share of the requests, whatever fails"),
    Number("budget-share", "budget share", "%", 0.2, 0.0, 1.0, 0.1,
           "retries for each request of the last 10 s (Linkerd 2: 20 %)"),
    Number("budget-floor", "budget floor", "1/s", 0.1, 0.0, 10.0, 0.1,
           "retries that are allowed in any case (Linkerd 2: 10 a second, too many for a classroom)"),
)  # fmt: skip

# --- the lesson ---------------------------------------------------------------------------------------------------------

LESSON = Lesson(
    name="retries",
    title="Retries",
    purpose="Three answers in ten are 503: see the sidecar ask again, after a pause, and the service know nothing of it.",
    hosts=(
        HostSpec("orders", orders, machine="pod-1"),
        HostSpec("sidecar", proxy, machine="pod-1"),
        HostSpec("billing", billing),
    ),
    protocols={EGRESS: Http1Dissector, SERVICE: Http1Dissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Number("retries", "retries", "", 1, 0, 10, 1, "how often the sidecar asks again (Envoy: none unless configured, then 1)",
               integer=True),
        Choice("retry-on", "retries on", "5xx", ("5xx", "reset", "connect-failure"), "what is worth a retry, in Envoy's words"),
        Number("back-off", "back-off base", "s", 0.025, 0.0, 5.0, 0.1,
               "the pause before retry N is random below (2^N - 1) times this, at most ten times this (Envoy: 25 ms)", ratio=2.0),
        *BUDGET_KNOBS,
        TRY_KNOB,
        ROUTE_KNOB,
        FAIL_KNOB,
        Number("slow-share", "slow answers", "%", 0.1, 0.0, 1.0, 0.1, "share of the bills that take the slow time"),
        Number("slow-time", "slow time", "s", 3.0, 0.0, 60.0, 1.0, "how long billing works on a slow bill"),
        INTERVAL_KNOB,
        SERVICE_KNOB,
    ),
    faults=(KILL_BILLING, KILL_ORDERS, KILL_SIDECAR, UNPLUG_ORDERS, DROP_PACKET),
    metrics=("measured:asked", "measured:answered", "measured:failed", "measured:retries", "measured:retries refused",
             "measured:requests at billing", "timeouts", "delay-max"),
    beats=(
        Beat(WaitStarted, "503. The sidecar still has the request, so it can ask again: {label}. The pause is random, that others"
             " who failed at the same moment do not come back together.", {"label": "retry"}),
        Beat(Measured, "The budget is spent: this failure goes back to the service as it is. The load stays bounded.",
             {"what": "retries refused"}),
        Beat(TimedOut, "An attempt took longer than {after_s} s: the sidecar gives it up and may try once more. Billing works"
             " on the first all the same.", {"what": "try"}),
        Beat(TimedOut, "The route's {after_s} s are over, retries and pauses included. The service gets 504.", {"what": "route"}),
        Beat(Noted, "All attempts failed, and now the service learns of it: {text}.", {"host": "orders", "text": "no bill"}),
        Beat(MessageStarted, "The service has its answer. How often it was asked for, it cannot tell.",
             {"sender": "sidecar", "label": "200"}),
        Beat(MessageStarted, "{label}: one of billing's bad moments.", {"sender": "billing", "label": "503"}),
    ),
    try_next=(
        "Set retries to 0, Envoy's own default: 3 in 10 fail. With 1 it is 9 in 100, with 2 it is 27 in 1000.",
        "Retry on connect-failure only: a 503 is an answer, and goes back to the service. Kill billing to see retries.",
        "Set the try timeout to 1 s: slow answers are given up and asked for again, and billing does the work twice.",
        "Set the route timeout to 2 s: it counts all attempts together, and a slow answer becomes a 504.",
        "Set the back-off base to 1 s: each retry waits up to a second, the third up to seven.",
        "Let billing fail always with 4 retries: each bill is asked for five times. Then turn the budget on.",
        "Kill billing: each attempt is refused after a round trip, and retries in half a second do not help.",
    ),
)  # fmt: skip
