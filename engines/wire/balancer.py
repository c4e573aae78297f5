"""A load balancer for HTTP/1.1: which of several servers gets a request, and what happens when that one is not there.

`Rota` decides and knows nothing of the network; `balance` carries requests. It passes a request on only once it has been
sent whole to nobody else: it tries the next server when a connection cannot be made, for then nothing was done yet, and
never afterwards.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx
import trio
from starlette.requests import Request
from starlette.responses import Response

from engines.lab.host import Host
from engines.wire.http_client import http_client
from engines.wire.http_server import serve_http

STICKY_COOKIE = "SERVERID"
"""The name that HAProxy's manual gives the cookie of `cookie SERVERID insert`: it names the server that a client belongs to."""
CHECKED_AGAIN_S = 2.0
"""How long a server that could not be reached is left alone (HAProxy 3.0, `inter`: 2 s between two checks)."""


@dataclass(slots=True)
class Rota:
    """Whose turn it is, round robin. `down` says of a server until when nobody asks it."""

    servers: tuple[str, ...]
    down: dict[str, float] = field(default_factory=dict)
    _next: int = 0

    def order(self, now_s: float, preferred: str | None = None) -> list[str]:
        """The servers that may get a request now, the best first: the preferred one, then those whose turn it is.

        When all are down they are all worth a try.
        """
        turn = [self.servers[(self._next + i) % len(self.servers)] for i in range(len(self.servers))]
        self._next = (self._next + 1) % len(self.servers)
        up = [name for name in turn if self.down.get(name, 0.0) <= now_s] or turn
        return sorted(up, key=lambda name: name != preferred)

    def lost(self, server: str, now_s: float) -> None:
        """`server` could not be reached."""
        self.down[server] = now_s + CHECKED_AGAIN_S


async def balance(host: Host, servers: Sequence[str], *, sticky: Callable[[], bool]) -> None:
    """Serve port 80 of `host` with what `servers` say, until cancelled.

    While `sticky()`, a client that has been at a server goes there again: the balancer gives it a cookie, so that it need
    remember nothing itself. 503 when no server can be reached, 502 when one breaks off.
    """
    rota = Rota(tuple(servers))

    async with http_client(host) as http:

        async def pass_on(request: Request) -> Response:
            preferred = request.cookies.get(STICKY_COOKIE) if sticky() else None
            body = await request.body()
            for server in rota.order(trio.current_time(), preferred):
                try:
                    answer = await http.request(
                        request.method,
                        f"http://{server}{request.url.path}",
                        content=body or None,
                        headers=_kept(request),
                    )
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    rota.lost(server, trio.current_time())
                    host.note(f"{server} cannot be reached")
                except httpx.TransportError:
                    return Response(status_code=502)
                else:
                    return _answer(answer, server if sticky() and server != preferred else None)
            return Response(status_code=503)

        async def app(scope: object, receive: object, send: object) -> None:
            if scope["type"] == "http":  # type: ignore[index]
                await (await pass_on(Request(scope, receive)))(scope, receive, send)  # type: ignore[arg-type]

        await serve_http(host, app)


_KEPT = ("authorization", "cookie", "content-type")
"""The fields of a request that servers here have a use for."""


def _kept(request: Request) -> dict[str, str]:
    return {name: request.headers[name] for name in _KEPT if name in request.headers}


def _answer(answer: httpx.Response, server: str | None) -> Response:
    """The server's answer, with a cookie that names `server` if the client should come back to it."""
    response = Response(answer.content, answer.status_code)
    for name, value in answer.headers.multi_items():
        if name in ("content-type", "set-cookie"):
            response.raw_headers.append((name.encode(), value.encode()))
    if server is not None:
        response.raw_headers.append((b"set-cookie", f"{STICKY_COOKIE}={server}".encode()))
    return response
