"""What every proxy does with a request: take it from ASGI, leave out what was for this hop alone, and hand an answer back."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import trio

Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
Headers = tuple[tuple[bytes, bytes], ...]

_HOP_BY_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
"""Fields that are for the next hop alone (RFC 9110, section 7.6.1)."""


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A request on its way through. `caller` is the name in the client's certificate, where there was one.

    Its headers come without Host, which becomes that of the next server.
    """

    method: str
    target: str
    headers: Headers
    body: bytes = b""
    caller: str = ""

    def header(self, name: bytes) -> str:
        """The first value of a field, by its lower-case name; "" where it is not there."""
        return next((value.decode("latin-1") for key, value in self.headers if key.lower() == name), "")

    def with_header(self, name: bytes, value: str) -> "Forwarded":
        """The same request with that field set to one value."""
        others = tuple((key, old) for key, old in self.headers if key.lower() != name)
        return replace(self, headers=(*others, (name, value.encode("latin-1"))))


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response."""

    status: int
    headers: Headers = ()
    body: bytes = b""

    def with_header(self, name: bytes, value: str) -> "Answer":
        """The same answer with one more field."""
        return replace(self, headers=(*self.headers, (name, value.encode("latin-1"))))


def forwarding(handle: Callable[[Forwarded], Awaitable[Answer]]) -> Callable[[Any, Receive, Send], Awaitable[None]]:
    """An ASGI application that gives each whole request to `handle` and sends its answer; who hangs up cancels it."""

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = await read_request(scope, receive)
        if request is None:
            return
        answer: Answer | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(until_disconnect, receive, nursery.cancel_scope)
            answer = await handle(request)
            nursery.cancel_scope.cancel()
        if answer is None:
            return
        # Outside of that: a server tells the application of the end of its own response in the same words as of a hang-up.
        headers = [(name, value) for name, value in answer.headers if name.lower() != b"content-length"]
        headers.append((b"content-length", str(len(answer.body)).encode("ascii")))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body, "more_body": False})

    return application


async def read_request(scope: Any, receive: Receive) -> Forwarded | None:
    """The whole request; None when the client left in the middle of it."""
    body = await _whole_body(receive)
    if body is None:
        return None
    tls = scope.get("extensions", {}).get("tls", {})
    caller = (tls.get("client_cert_name") or "").removeprefix("CN=")
    return Forwarded(scope["method"], _target(scope), tuple(passed_on(scope["headers"])), body, caller)


async def until_disconnect(receive: Receive, scope: trio.CancelScope) -> None:
    """Cancel `scope` when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def passed_on(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Without what concerns one hop only; Host becomes the upstream's, and the body's length is counted anew if need be."""
    kept = [(bytes(name), bytes(value)) for name, value in headers]
    return [(name, value) for name, value in kept if name.lower() not in _HOP_BY_HOP | {b"host"}]


async def _whole_body(receive: Receive) -> bytes | None:
    """The request's body; None when the client left in the middle of it. nginx, too, takes it whole by default."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


def _target(scope: Any) -> str:
    query = scope["query_string"].decode("ascii")
    path: str = scope["raw_path"].decode("ascii")
    return path if not query or "?" in path else f"{path}?{query}"
