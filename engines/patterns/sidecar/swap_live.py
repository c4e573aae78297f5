"""A new sidecar while it runs: the new version takes the new connections, the old one finishes what it has begun.

This is what Envoy calls a hot restart: the new process takes over the listening sockets, the old one drains (600 s unless
configured) and goes. The service has nothing to do with it: no change, no test, no release.
"""

import math

import trio

from engines.lab.facts import (
    ConnectionClosed,
    Measured,
    MessageStarted,
    Noted,
    StateChanged,
    WaitStarted,
    WorkStarted,
)
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.sidecar.mesh import (
    EGRESS,
    FAIL_KNOB,
    INTERVAL_KNOB,
    KILL_BILLING,
    KILL_ORDERS,
    KILL_SIDECAR,
    SERVICE,
    SERVICE_KNOB,
    UNPLUG_ORDERS,
    billing,
    egress,
    orders,
)
from engines.patterns.sidecar.versions import turned
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import http_client
from engines.wire.http_server import Draining
from engines.wire.retries import RetryPolicy
from engines.wire.upstream import Settings

# --- the sidecar, in two versions (the services are those of the mesh) ----------------------------------------------------

VERSIONS = {
    "1": Settings(),
    "2": Settings(RetryPolicy(retries=2)),
}
"""What is new in version 2: it asks again, and it marks each request with a trace."""

IN_TURN, TURN_S = "in turn", 7.3
DRAIN, ABRUPT = "drain", "stop, then start"


async def proxy(host: Host) -> None:
    """Runs the version that is wanted. Another one takes its place in either of two ways."""
    version = "2" if host.knobs["sidecar-version"] == "2" else "1"
    async with trio.open_nursery() as nursery:
        while True:
            retiring, life = Draining(), trio.CancelScope()
            host.state("version", version)
            nursery.start_soon(run_version, host, version, retiring, life)
            version = await next_version(host, version)
            host.measure("swaps")
            if host.knobs["swap"] == DRAIN:
                retiring.begun.set()
                nursery.start_soon(end_late, life, host.knobs.number("drain-time"))
                await retiring.port_free.wait()
            else:
                life.cancel()
                await retiring.port_free.wait()
                await host.work("start", host.knobs.number("start-time"))


async def next_version(host: Host, version: str) -> str:
    """Wait until another version is wanted; in turn, each has its time."""
    while True:
        wanted = str(host.knobs["sidecar-version"])
        if wanted not in (version, IN_TURN):
            return wanted
        with trio.move_on_after(TURN_S if wanted == IN_TURN else math.inf) as turn:
            await turned(host, "sidecar-version", wanted)
        if turn.cancelled_caught:
            return "2" if version == "1" else "1"


async def run_version(host: Host, version: str, retiring: Draining, life: trio.CancelScope) -> None:
    """Serve until `retiring` begins, and then until nothing is under way, or until `life` ends."""
    try:
        await serve(host, version, retiring, life)
    finally:
        retiring.port_free.set()


async def serve(host: Host, version: str, retiring: Draining, life: trio.CancelScope) -> None:
    with life:
        async with http_client(host) as http:
            await egress(
                host,
                http,
                ["billing"],
                lambda: VERSIONS[version],
                lambda name: f"http://{name}:{SERVICE}",
                traces=version == "2",
                draining=retiring,
            )
    if not life.cancelled_caught:
        host.note(f"version {version} has finished what it had begun")


async def end_late(life: trio.CancelScope, after_s: float) -> None:
    """Patience with what is under way has its end."""
    await trio.sleep(after_s)
    life.cancel()


# --- the lesson ---------------------------------------------------------------------------------------------------------

LESSON = Lesson(
    name="swap-live",
    title="A new sidecar, live",
    purpose="The sidecar is swapped every 7.3 s, with requests under way. All that the service notices: how often it fails.",
    hosts=(
        HostSpec("orders", orders, machine="pod-1"),
        HostSpec("sidecar", proxy, machine="pod-1"),
        HostSpec("billing", billing),
    ),
    protocols={EGRESS: Http1Dissector, SERVICE: Http1Dissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Choice("sidecar-version", "sidecar version", IN_TURN, ("1", "2", IN_TURN),
               "1 asks once; 2 retries twice and marks requests with a trace; in turn: 7.3 s each"),
        Choice("swap", "swap by", DRAIN, (DRAIN, ABRUPT),
               "drain: the new one listens, the old one finishes; or the old one stops, then the new one starts"),
        Number("drain-time", "drains for at most", "s", 10.0, 0.0, math.inf, 1.0,
               "how long the old version may take to finish (Envoy 1.x: 600 s)", ratio=2.0),
        Number("start-time", "start takes", "s", 1.0, 0.0, 60.0, 0.5, "how long nobody listens when the old one stops first"),
        FAIL_KNOB,
        INTERVAL_KNOB,
        SERVICE_KNOB,
    ),
    faults=(KILL_SIDECAR, KILL_BILLING, KILL_ORDERS, UNPLUG_ORDERS),
    metrics=("measured:asked", "measured:answered", "measured:failed", "measured:swaps", "measured:retries",
             "measured:requests at billing", "open"),
    beats=(
        Beat(Noted, "{text}: what it was asked has been answered, and its connections are closed.", {"text": "version"}),
        Beat(Measured, "Another version of the sidecar is wanted. Nobody asks the people who own the service.",
             {"what": "swaps"}),
        Beat(WorkStarted, "The old version is gone and the new one starts: for this long, localhost refuses the service.",
             {"label": "start"}),
        Beat(StateChanged, "Version {value} of the sidecar listens.", {"key": "version"}),
        Beat(WaitStarted, "This is new: the sidecar asks again. The service hears nothing of it: {label}.", {"label": "retry"}),
        Beat(Noted, "The service is told of the failure: {text}.", {"host": "orders", "text": "no bill"}),
        Beat(ConnectionClosed, "The old version closes a connection once its answer is out.", {"host": "sidecar"}),
        Beat(MessageStarted, "{label}: one of billing's bad moments.", {"sender": "billing", "label": "503"}),
    ),
    try_next=(
        "Set the version to 2: it takes over at once. What is under way gets its answer from the old one, the next from the new.",
        "Set the version to 2 for good: 1 request in 37 fails, where 3 in 10 did with version 1. The service was not touched.",
        "Swap by stop, then start: what was under way fails, and for a second localhost refuses.",
        "Set the service time to 5 s and the drain time to 1 s: patience ends, and with it what was under way.",
        "Set the version to 1: the old troubles are back. Rolling back is a swap like any other.",
    ),
)  # fmt: skip
