"""Mutual TLS between the sidecars: each proves who it is, and who listens on the wire learns next to nothing.

The certificates are real and are checked by OpenSSL. In TLS 1.3 (RFC 8446) the client is through with its handshake before
the server has seen its certificate: a refusal reaches it as an alert in place of an answer. A good certificate of the
wrong service passes TLS, and is then refused by name: who you are is one question, what you may is another.
"""

import trio

from engines.lab.facts import Measured, MessageStarted, Noted
from engines.lab.host import Host
from engines.lab.knobs import Choice
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.sidecar.mesh import (
    EGRESS,
    INTERVAL_KNOB,
    KILL_BILLING,
    KILL_BILLING_PROXY,
    KILL_ORDERS_PROXY,
    MTLS,
    PLAIN,
    SERVICE,
    SERVICE_KNOB,
    UNPLUG_ORDERS,
    billing,
    egress,
    ingress,
    secure_hop,
)
from engines.patterns.sidecar.mesh import orders as asking
from engines.patterns.sidecar.versions import turned
from engines.wire.certificates import Identity
from engines.wire.h2_client import h2_client
from engines.wire.http1 import Http1Dissector
from engines.wire.http2 import Http2Dissector
from engines.wire.tls import Credentials
from engines.wire.tls_dissector import TlsDissector
from engines.wire.upstream import Settings

# --- the service that asks says something that is nobody's business -------------------------------------------------------


async def orders(host: Host) -> None:
    """Asks for bills on a card, and leaves it to its sidecar that nobody else reads the number."""
    await asking(host, "?card=5555-4444-3333-2222")


# --- the sidecars (the service that answers is that of the mesh) ----------------------------------------------------------

SHOWN: dict[str, Identity | None] = {
    "its own": Identity("orders"),
    "none": None,
    "expired": Identity("orders", expired=True),
    "forged": Identity("orders", authority="somebody"),
    "of a guest": Identity("guest"),
}
WANTED: dict[str, Identity] = {
    "its own": Identity("billing"),
    "expired": Identity("billing", expired=True),
    "forged": Identity("billing", authority="somebody"),
    "of a guest": Identity("guest"),
}
"""What either sidecar may show. "Forged" says the right name, and was signed by nobody whom the mesh believes."""
IN_TLS, IN_PLAIN = "mutual tls", "plain text"


async def orders_proxy(host: Host) -> None:
    """Certificates are looked at when a connection begins: when something is turned, new ones are opened."""
    while True:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_orders_proxy, host, str(host.knobs["between"]), str(host.knobs["certificate"]))
            await any_turned(host, "between", "certificate", "far-certificate")
            nursery.cancel_scope.cancel()


async def run_orders_proxy(host: Host, between: str, certificate: str) -> None:
    if between == IN_PLAIN:
        async with h2_client(host) as http:
            await egress(host, http, ["sidecar2"], Settings, lambda name: f"http://{name}:{PLAIN}")
    else:
        credentials = Credentials(SHOWN[certificate])
        async with h2_client(host, options=secure_hop(host, lambda: credentials)) as http:
            await egress(host, http, ["sidecar2"], Settings, "https://{}".format)


async def any_turned(host: Host, *knobs: str) -> None:
    """Wait until one of the knobs has another value."""
    async with trio.open_nursery() as nursery:

        async def watch(knob: str) -> None:
            await turned(host, knob, str(host.knobs[knob]))
            nursery.cancel_scope.cancel()

        for knob in knobs:
            nursery.start_soon(watch, knob)


async def billing_proxy(host: Host) -> None:
    """Takes callers with a certificate of the mesh, and of those only orders. Its plain port takes anybody."""

    def credentials() -> Credentials:
        return Credentials(WANTED[str(host.knobs["far-certificate"])])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ingress, host, MTLS, credentials, lambda request: request.caller == "orders")
        nursery.start_soon(ingress, host, PLAIN, None)


# --- the lesson ---------------------------------------------------------------------------------------------------------

LESSON = Lesson(
    name="mtls",
    title="Mutual TLS",
    purpose="Each sidecar proves who it is. Look at the wire as an observer does, then show a wrong certificate.",
    hosts=(
        HostSpec("orders", orders, machine="pod-1"),
        HostSpec("sidecar1", orders_proxy, machine="pod-1"),
        HostSpec("sidecar2", billing_proxy, machine="pod-2"),
        HostSpec("billing", billing, machine="pod-2"),
    ),
    protocols={EGRESS: Http1Dissector, MTLS: TlsDissector, PLAIN: Http2Dissector, SERVICE: Http1Dissector},
    network={"latency": 0.1},
    until_s=20.0,
    knobs=(
        Choice("between", "on the wire", IN_TLS, (IN_TLS, IN_PLAIN), "HTTP/2 inside mutual TLS, or as it is"),
        Choice("certificate", "orders shows", "its own", tuple(SHOWN), "the certificate that the sidecar of orders brings"),
        Choice("far-certificate", "billing shows", "its own", tuple(WANTED),
               "the certificate that the sidecar of billing brings"),
        INTERVAL_KNOB,
        SERVICE_KNOB,
    ),
    faults=(KILL_ORDERS_PROXY, KILL_BILLING_PROXY, KILL_BILLING, UNPLUG_ORDERS),
    metrics=("measured:asked", "measured:answered", "measured:failed", "measured:handshakes refused",
             "measured:callers refused", "measured:requests at billing", "connections"),
    beats=(
        Beat(MessageStarted, "{label}: the one thing said in plain. An observer learns who is wanted (SNI) and which protocol is"
             " offered (ALPN), but not who asks.", {"label": "ClientHello"}),
        Beat(MessageStarted, "{label}: both sides have a key now. All that follows is sealed, the certificates as well; in TLS"
             " 1.2"
             " those could be read.", {"label": "ServerHello"}),
        Beat(MessageStarted, "{label}: this one was not sealed yet. The client does not like who answers.", {"label": "alert"}),
        Beat(Noted, "{text}. The server says so in an alert, which is sealed: an observer sees a short record and the end.",
             {"host": "sidecar2", "text": "handshake refused"}),
        Beat(Measured, "The certificate is good, and it is not that of orders. TLS let it pass; the rule of who may call did not:"
             " 403.", {"what": "callers refused"}),
        Beat(Noted, "The sidecar learns it in place of an answer: {text}.",
             {"host": "sidecar1", "text": "no (answer|connection)"}),
        Beat(Noted, "All that the service hears of it: {text}.", {"host": "orders", "text": "no bill"}),
        Beat(MessageStarted, "In plain text: {label}. Whoever listens reads the card's number.",
             {"sender": "sidecar1", "label": "GET"}),
        Beat(MessageStarted, "Sealed. An observer sees when, from where to where, and how long. Select it and look at the wire.",
             {"label": "sealed"}),
    ),
    try_next=(
        "Select a sealed record and look at the wire: type, version, length, and that is all there is to read.",
        "Turn the sidecars to plain text: the same bills, and the card's number for all to see.",
        "Let orders show no certificate: through on its side, refused on the other, and 503 for the service.",
        "Let orders show an expired one, or a forged one: the reason is noted at billing's sidecar, where it was checked.",
        "Let orders show that of a guest: TLS takes it, as it is a good one. The rule of who may call answers 403.",
        "Let billing show that of a guest: the sidecar of orders hangs up before it has asked anything.",
    ),
)  # fmt: skip
