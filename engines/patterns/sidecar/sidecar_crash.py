"""The sidecar dies and the service lives: well, idle, and cut off. A sidecar is one more thing that can break.

Its supervisor starts it again after a while. A service that goes around its dead sidecar comes without a certificate: whether
that helps is for the other side to say, which may take plain text (permissive, as while a mesh is brought in) or not (strict).
"""

import math

import httpx
import trio

from engines.lab.facts import ConnectionRefused, Measured, MessageStarted, Noted, WorkStarted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.sidecar.mesh import (
    EGRESS,
    INTERVAL_KNOB,
    KILL_BILLING,
    KILL_BILLING_PROXY,
    KILL_ORDERS_PROXY,
    MTLS,
    PATIENCE,
    PLAIN,
    SERVICE,
    SERVICE_KNOB,
    UNPLUG_ORDERS,
    billing,
    identity_of,
    ingress,
)
from engines.patterns.sidecar.mesh import orders_proxy as well_sidecar
from engines.patterns.sidecar.versions import turned
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import http_client
from engines.wire.tls_dissector import TlsDissector

FAIL, GO_AROUND = "fail", "go around it"
STRICT, PERMISSIVE = "strict", "permissive"

# --- the service that asks (the one that answers is that of the mesh) -----------------------------------------------------


async def orders(host: Host) -> None:
    """Asks its sidecar, as ever. What it does without one, a knob says."""
    async with http_client(host, base_url=f"http://localhost:{EGRESS}") as http, trio.open_nursery() as nursery:
        number = 0
        while True:
            number += 1
            nursery.start_soon(ask, host, http, f"/bill/{number}")
            await trio.sleep(host.knobs.number("interval"))


async def ask(host: Host, http: httpx.AsyncClient, path: str) -> None:
    host.measure("asked")
    try:
        response = await http.get(path, timeout=PATIENCE)
    except httpx.ConnectError as error:
        if host.knobs["without-sidecar"] == GO_AROUND:
            return await go_around(host, http, path)
        return failed(host, path, error)
    except httpx.TransportError as error:
        return failed(host, path, error)
    host.measure("answered" if response.status_code == 200 else "failed")


async def go_around(host: Host, http: httpx.AsyncClient, path: str) -> None:
    """Straight to the other machine, in plain text and with no certificate."""
    host.measure("gone around")
    try:
        response = await http.get(f"http://sidecar2:{PLAIN}{path}", timeout=PATIENCE)
    except httpx.TransportError as error:
        return failed(host, path, error)
    host.measure("answered" if response.status_code == 200 else "failed")


def failed(host: Host, path: str, error: httpx.TransportError) -> None:
    host.measure("failed")
    host.note(f"no {path}: {error}" if str(error) else f"no {path}: {type(error).__name__}")


# --- the sidecars ---------------------------------------------------------------------------------------------------------


async def orders_proxy(host: Host) -> None:
    """Lives for a while, and dies. Its supervisor starts it again."""
    while True:
        with trio.move_on_after(host.knobs.number("crash-every")):
            await well_sidecar(host)
        host.measure("crashes")
        host.note("the sidecar has crashed")
        await host.work("restart", host.knobs.number("restart-time"))


async def billing_proxy(host: Host) -> None:
    """Mutual TLS always; plain text as well while it is permissive."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ingress, host, MTLS, identity_of("billing"))
        while True:
            mode = str(host.knobs["accepts"])
            async with trio.open_nursery() as plain:
                if mode == PERMISSIVE:
                    plain.start_soon(ingress, host, PLAIN, None)
                await turned(host, "accepts", mode)
                plain.cancel_scope.cancel()


# --- the lesson ---------------------------------------------------------------------------------------------------------

LESSON = Lesson(
    name="sidecar-crash",
    title="The sidecar crashes",
    purpose="The sidecar dies every 6 s: the service is well and cut off. May it go around its sidecar?",
    hosts=(
        HostSpec("orders", orders, machine="pod-1"),
        HostSpec("sidecar1", orders_proxy, machine="pod-1"),
        HostSpec("sidecar2", billing_proxy, machine="pod-2"),
        HostSpec("billing", billing, machine="pod-2"),
    ),
    protocols={EGRESS: Http1Dissector, MTLS: TlsDissector, PLAIN: Http1Dissector, SERVICE: Http1Dissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Number("crash-every", "lives for", "s", 6.0, 0.1, math.inf, 1.0,
               "how long the sidecar of orders runs before it crashes", ratio=2.0),
        Number("restart-time", "restart takes", "s", 2.0, 0.0, 60.0, 0.5, "until its supervisor has it running again"),
        Choice("without-sidecar", "without a sidecar", FAIL, (FAIL, GO_AROUND),
               "what the service does when localhost refuses it"),
        Choice("accepts", "billing's one is", STRICT, (STRICT, PERMISSIVE),
               "strict: mutual TLS only; permissive: plain text as well"),
        INTERVAL_KNOB,
        SERVICE_KNOB,
    ),
    faults=(KILL_ORDERS_PROXY, KILL_BILLING_PROXY, KILL_BILLING, UNPLUG_ORDERS),
    metrics=("measured:asked", "measured:answered", "measured:failed", "measured:crashes", "measured:gone around",
             "connections", "delay-max"),
    beats=(
        Beat(Noted, "{text}. What was under way is lost, and nobody listens on localhost: the service is an island.",
             {"text": "the sidecar has crashed"}),
        Beat(WorkStarted, "The supervisor starts it again: {label}.", {"label": "restart"}),
        Beat(ConnectionRefused, "{host} is refused: nobody listens there. It learns that at once, which is better than silence."),
        Beat(Measured, "The service goes around its sidecar: no certificate, no encryption, no retries.",
             {"what": "gone around"}),
        Beat(Noted, "The service itself is well: {text}.", {"host": "orders", "text": "no /bill"}),
        Beat(MessageStarted, "In plain text, past both the mesh's rules and its keys.",
             {"sender": "orders", "receiver": "sidecar2"}),
        Beat(MessageStarted, "The new sidecar has no connections: it begins with TCP and TLS again.", {"label": "ClientHello"}),
        Beat(MessageStarted, "The service asks its sidecar: {label}.", {"sender": "orders", "label": "GET"}),
    ),
    try_next=(
        "Let the service go around: billing's sidecar is strict and has no port for plain text. Refused again, a trip later.",
        "Go around with a permissive sidecar of billing: nothing fails but what was under way, and all that in plain text.",
        "Let the restart take 0 s: only what was under way fails, and the next bill pays for a new TLS handshake.",
        "Ask every 0.2 s: more is under way when it crashes, and all of it is lost together.",
        "Kill billing's sidecar instead: now the sidecar of orders lives, and has an answer for the service: 503.",
    ),
)  # fmt: skip
