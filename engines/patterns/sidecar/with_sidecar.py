"""With a sidecar: two services that speak plain HTTP/1.1 to localhost, and everything else beside them, in two proxies.

What it costs is four short hops over the loopback and twice a proxy's time. What each hop took travels back in the answer's
Server-Timing fields, so that the whole can be split without guessing.
"""

import re
from collections.abc import Iterable

import httpx
import trio

from engines.lab.facts import ConnectionOpening, Measured, MessageStarted, Noted, TimedOut, WorkStarted
from engines.lab.host import Host
from engines.lab.scenario import HostSpec
from engines.lab.units import format_seconds
from engines.patterns.contract import Beat, Lesson
from engines.patterns.sidecar.mesh import (
    EGRESS,
    INTERVAL_KNOB,
    KILL_BILLING,
    KILL_BILLING_PROXY,
    KILL_ORDERS,
    KILL_ORDERS_PROXY,
    MTLS,
    PATIENCE,
    PROXY_KNOB,
    SERVICE,
    SERVICE_KNOB,
    UNPLUG_ORDERS,
    billing,
    billing_proxy,
    orders_proxy,
)
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import http_client
from engines.wire.tls_dissector import TlsDissector

# --- the client (the service that answers and both sidecars are those of the mesh) ----------------------------------------


async def orders(host: Host) -> None:
    """Asks for bills, one after another, and looks where the time went."""
    async with http_client(host, base_url=f"http://localhost:{EGRESS}") as http:
        number = 0
        while True:
            number += 1
            await ask_and_split(host, http, number)
            await trio.sleep(host.knobs.number("interval"))


async def ask_and_split(host: Host, http: httpx.AsyncClient, number: int) -> None:
    """One bill. What no hop claims for itself was spent on the way."""
    host.measure("asked")
    begun_s = trio.current_time()
    try:
        response = await http.get(f"/bill/{number}", timeout=PATIENCE)
    except httpx.TransportError as error:
        host.measure("failed")
        host.note(f"no bill {number}: {type(error).__name__}")
        return
    if response.status_code != 200:
        host.measure("failed")
        host.note(f"no bill {number}: {response.status_code}")
        return
    total_s = trio.current_time() - begun_s
    spent = server_timing(response.headers.get_list("server-timing"))
    service_s = spent.pop("billing", 0.0)
    proxies_s = sum(spent.values())
    network_s = total_s - service_s - proxies_s
    host.measure("total seconds", total_s)
    host.measure("service seconds", service_s)
    host.measure("proxy seconds", proxies_s)
    host.measure("network seconds", network_s)
    split = (("service", service_s), ("proxies", proxies_s), ("network", network_s))
    host.note(f"{format_seconds(total_s)} = " + " + ".join(f"{name} {format_seconds(part)}" for name, part in split))


def server_timing(fields: Iterable[str]) -> dict[str, float]:
    """Seconds by name, from Server-Timing fields: `billing;dur=300.000`."""
    found = re.findall(r"([\w.-]+);dur=([\d.]+)", ", ".join(fields))
    return {name: float(milliseconds) / 1000 for name, milliseconds in found}


# --- the lesson ---------------------------------------------------------------------------------------------------------

LESSON = Lesson(
    name="with-sidecar",
    title="With a sidecar",
    purpose="Two services speak HTTP/1.1 to localhost; TLS, HTTP/2 and traces are their sidecars'. See what each hop costs.",
    hosts=(
        HostSpec("orders", orders, machine="pod-1"),
        HostSpec("sidecar1", orders_proxy, machine="pod-1"),
        HostSpec("sidecar2", billing_proxy, machine="pod-2"),
        HostSpec("billing", billing, machine="pod-2"),
    ),
    protocols={EGRESS: Http1Dissector, MTLS: TlsDissector, SERVICE: Http1Dissector},
    network={"latency": 0.1},
    until_s=20.0,
    knobs=(INTERVAL_KNOB, SERVICE_KNOB, PROXY_KNOB),
    faults=(KILL_ORDERS, KILL_ORDERS_PROXY, KILL_BILLING_PROXY, KILL_BILLING, UNPLUG_ORDERS),
    metrics=("measured:asked", "measured:total seconds", "measured:service seconds", "measured:proxy seconds",
             "measured:network seconds", "measured:failed", "connections", "delay-max"),
    beats=(
        Beat(MessageStarted, "Orders asks its own machine, in plain HTTP/1.1. It knows no address of billing, no certificate and"
             " no HTTP/2: {label}.", {"sender": "orders", "label": "GET"}),
        Beat(WorkStarted, "A sidecar has the request: it reads the head, picks where it goes, and writes it out again. That"
             " is what the pattern costs, twice.", {"label": "proxy"}),
        Beat(MessageStarted, "The sidecars have not met: this hello begins mutual TLS. It says in plain who is wanted (SNI) and"
             " that HTTP/2 is offered (ALPN).", {"label": "ClientHello"}),
        Beat(MessageStarted, "Between the sidecars all is sealed: the same question, as HTTP/2 inside TLS. An observer sees a"
             " length and a time.", {"sender": "sidecar1", "label": "sealed"}),
        Beat(MessageStarted, "The sidecar of billing asks its service over the loopback, in plain HTTP/1.1. Nothing in the"
             " service had to change.", {"sender": "sidecar2", "label": "GET"}),
        Beat(Noted, "Where the time went: {text}. The loopback took 0.2 ms of it.", {"text": ".* = service"}),
        Beat(Measured, "No bill. The service is only told 503, or that nobody listens on localhost.", {"what": "failed"}),
        Beat(TimedOut, "The sidecar gives a request {after_s} s, then it answers 504.", {"what": "route"}),
        Beat(ConnectionOpening, "A connection on the same machine: it takes 0.1 ms.", {"client": "orders"}),
    ),
    try_next=(
        "Set proxy time to 100 ms: each bill takes 0.16 s longer. Two proxies, and nothing else on the way has changed.",
        "Set proxy time to 0: 0.2 ms are left of the cost, for four trips over the loopback.",
        "Set latency to 1 s: the first bill takes six trips, for TCP, TLS and itself, and all others two.",
        "Kill the sidecar of orders: the service is well and cut off, and localhost refuses it at once.",
        "Kill billing: its sidecar answers 503 for it, and the service that asks needs no time limit of its own.",
        "Unplug the machine of orders: the service still reaches its sidecar, which answers 504 after 15 s.",
    ),
)  # fmt: skip
