"""The two services of all lessons here, and the sidecars beside them.

`orders` asks `billing` for a bill now and then. Neither knows more of networks than plain HTTP/1.1: orders asks localhost,
billing listens on it. Whatever else there is (retries, time limits, mutual TLS, HTTP/2, traces) is in the sidecars.
"""

import math
from collections.abc import Callable, Sequence

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from engines.lab.host import Host
from engines.lab.knobs import Number
from engines.lab.scenario import Fault
from engines.wire.certificates import Identity
from engines.wire.forwarding import Answer, Forwarded, forwarding
from engines.wire.h2_client import h2_client
from engines.wire.h2_stream import H2Options
from engines.wire.http_client import http_client
from engines.wire.http_server import Draining, serve_http
from engines.wire.tls import Credentials
from engines.wire.tracing import HEADER, next_hop
from engines.wire.upstream import Settings, Upstream

EGRESS = 9001
"""On localhost, where a service finds billing: its own sidecar listens there."""
SERVICE = 8080
"""Where a service listens, for whoever shares its machine, or for all where there is no sidecar."""
PLAIN = 80
MTLS = 443
"""Where a sidecar listens for other sidecars."""

PATIENCE = httpx.Timeout(None, read=20.0)
"""Orders has next to no time limits of its own: that is its sidecar's business."""

# --- the services -------------------------------------------------------------------------------------------------------


async def orders(host: Host, query: str = "") -> None:
    """Asks for a bill every now and then. As far as it knows, billing lives on its own machine."""
    async with http_client(host, base_url=f"http://localhost:{EGRESS}") as http, trio.open_nursery() as nursery:
        number = 0
        while True:
            number += 1
            nursery.start_soon(ask, host, http, number, query)
            await trio.sleep(host.knobs.number("interval"))


async def ask(host: Host, http: httpx.AsyncClient, number: int, query: str = "") -> None:
    """One bill, or none."""
    host.measure("asked")
    try:
        response = await http.get(f"/bill/{number}{query}", timeout=PATIENCE)
    except httpx.TransportError as error:
        host.measure("failed")
        host.note(f"no bill {number}: {type(error).__name__}")
        return
    if response.status_code == 200:
        host.measure("answered")
    else:
        host.measure("failed")
        host.note(f"no bill {number}: {response.status_code}")


async def billing(host: Host) -> None:
    """Writes bills. It may have its troubles: some of its answers are 503."""
    luck = host.randomness("troubles")

    async def bill(request: Request) -> Response:
        host.measure("requests at billing")
        fails = luck.random() < share(host, "fail-share")
        slow = luck.random() < share(host, "slow-share")
        service_s = host.knobs.number("slow-time" if slow else "service-time")
        await host.work("bill", service_s)
        headers = {"server-timing": f"{host.name};dur={1000 * service_s:.3f}"}
        if fails:
            return PlainTextResponse("no ink\n", 503, headers)
        return PlainTextResponse(f"bill {request.path_params['number']}\n", headers=headers)

    await serve_http(host, Starlette(routes=[Route("/bill/{number:int}", bill)]), SERVICE)


def share(host: Host, knob: str) -> float:
    """The value of a knob that not every lesson has."""
    return host.knobs.number(knob) if knob in host.knobs else 0.0


# --- the sidecars -------------------------------------------------------------------------------------------------------


def secure_hop(host: Host, credentials: Callable[[], Credentials]) -> H2Options:
    """HTTP/2 inside TLS, to whoever can prove to be billing."""
    return H2Options(tls=credentials, server_name="billing")


def identity_of(service: str) -> Callable[[], Credentials]:
    """A sidecar shows the certificate of the service that it stands beside, and believes the mesh's own authority."""
    return lambda: Credentials(Identity(service))


async def orders_proxy(host: Host) -> None:
    """The sidecar of orders: takes plain HTTP/1.1 from its service, and speaks HTTP/2 inside mutual TLS to other sidecars."""
    async with h2_client(host, options=secure_hop(host, identity_of("orders"))) as http:
        await egress(host, http, ["sidecar2"], Settings, "https://{}".format)


async def billing_proxy(host: Host) -> None:
    """The sidecar of billing: takes HTTP/2 inside mutual TLS from other sidecars, and asks its service in plain HTTP/1.1."""
    await ingress(host, MTLS, identity_of("billing"))


async def egress(
    host: Host,
    http: httpx.AsyncClient,
    upstreams: Sequence[str],
    settings: Callable[[], Settings],
    url: Callable[[str], str],
    *,
    traces: bool = True,
    draining: Draining | None = None,
) -> None:
    """Take what the service asks on localhost to one of `upstreams`, as `settings` say."""
    upstream = Upstream(host, http, upstreams, settings, url)
    luck = host.randomness("traces")

    async def take_out(request: Forwarded) -> Answer:
        if traces:
            request = request.with_header(HEADER, str(next_hop(request.header(HEADER), luck)))
        cost_s = await pass_through(host)
        return timed(await upstream.ask(request), host, cost_s)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(upstream.sweep)
        await serve_http(host, forwarding(take_out), EGRESS, keep_alive_s=lambda: 60.0, draining=draining)
        nursery.cancel_scope.cancel()


async def ingress(
    host: Host, port: int, tls: Callable[[], Credentials] | None, allowed: Callable[[Forwarded], bool] = lambda _: True
) -> None:
    """Bring what others ask to the service on localhost, if they are `allowed` to ask. Its time limit is the caller's."""
    async with http_client(host) as http:
        service = Upstream(host, http, ["localhost"], url=lambda name: f"http://{name}:{SERVICE}")

        async def bring_in(request: Forwarded) -> Answer:
            cost_s = await pass_through(host)
            if not allowed(request):
                host.measure("callers refused")
                return Answer(403, body=b"RBAC: access denied")
            return timed(await service.ask(request), host, cost_s)

        await serve_http(host, forwarding(bring_in), port, keep_alive_s=lambda: 60.0, tls=tls)


async def pass_through(host: Host) -> float:
    """What a proxy does with each request takes its time: reading, deciding, writing. Returns how much."""
    cost_s = share(host, "proxy-time")
    if cost_s:
        await host.work("proxy", cost_s)
    return cost_s


def timed(answer: Answer, host: Host, cost_s: float) -> Answer:
    """The answer with this hop's own time in it (W3C Server Timing, a field that browsers read as well)."""
    return answer.with_header(b"server-timing", f"{host.name};dur={1000 * cost_s:.3f}")


# --- knobs and faults of several lessons ----------------------------------------------------------------------------------

INTERVAL_KNOB = Number("interval", "asks every", "s", 1.0, 0.02, 60.0, 0.25, "how often orders asks for a bill")
SERVICE_KNOB = Number("service-time", "service time", "s", 0.3, 0.0, 30.0, 0.1, "how long billing works on a bill")
PROXY_KNOB = Number(
    "proxy-time", "proxy time", "s", 0.02, 0.0, 1.0, 0.01,
    "what each sidecar adds to a request (a real one about a millisecond; here enough to be seen)",
)  # fmt: skip
FAIL_KNOB = Number("fail-share", "billing fails", "%", 0.3, 0.0, 1.0, 0.1, "share of its answers that are 503")
ROUTE_KNOB = Number(
    "route-timeout", "route timeout", "s", 15.0, 0.05, math.inf, 1.0,
    "how long the sidecar gives a request, retries included (Envoy 1.x: 15 s)", ratio=2.0,
)  # fmt: skip
TRY_KNOB = Number(
    "try-timeout", "try timeout", "s", math.inf, 0.05, math.inf, 0.5,
    "how long the sidecar waits for the answer to one attempt (Envoy 1.x: no limit of its own)", ratio=2.0,
)  # fmt: skip

KILL_ORDERS = Fault(
    "kill-orders", "kill orders", "c", "kill orders",
    "the service that asks dies; its sidecar lives on, and nobody asks it anything", off="restart orders",
)  # fmt: skip
KILL_BILLING = Fault(
    "kill-billing", "kill billing", "k", "kill billing",
    "the service that answers dies: nobody listens at its port any more", off="restart billing",
)  # fmt: skip
KILL_SIDECAR = Fault(
    "kill-sidecar", "kill sidecar", "x", "kill sidecar",
    "the sidecar dies: the service is well, and cut off from everything", off="restart sidecar",
)  # fmt: skip
KILL_ORDERS_PROXY = Fault(
    "kill-sidecar", "kill sidecar of orders", "x", "kill sidecar1",
    "the sidecar of orders dies: the service is well, and cut off from everything", off="restart sidecar1",
)  # fmt: skip
KILL_BILLING_PROXY = Fault(
    "kill-far-sidecar", "kill sidecar of billing", "b", "kill sidecar2",
    "the sidecar of billing dies: the service is well, and nobody reaches it", off="restart sidecar2",
)  # fmt: skip
UNPLUG_ORDERS = Fault(
    "unplug-orders", "unplug machine of orders", "u", "unplug orders",
    "the cable is out: the service and its sidecar still reach each other, and nobody else", off="plug orders",
)  # fmt: skip
