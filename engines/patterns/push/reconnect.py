"""How every client here stays connected: when the connection is gone it opens another, after a pause that grows."""

from collections.abc import Awaitable, Callable

import trio

from engines.lab.facts import WaitKind
from engines.lab.host import Host
from engines.wire.websocket import Heartbeat, WebSocket, WebSocketError, connect_websocket

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0


async def stay_connected(
    host: Host,
    listen: Callable[[WebSocket], Awaitable[None]],
    *,
    server: str = "server",
    path: str = "/notifications",
    heartbeat: Callable[[], Heartbeat | None] = lambda: None,
) -> None:
    """Connect and `listen`, again and again, until `listen` returns: then the client has had enough, and closes."""
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            async with connect_websocket(host, server, path, heartbeat=heartbeat) as ws:
                pause_s = FIRST_PAUSE_S
                host.state("connection", "open")
                await listen(ws)
                return
        except WebSocketError as error:
            host.note(f"no connection: {error}")
        finally:
            host.state("connection", "none")
        with host.waiting(f"reconnect in {pause_s:g} s", WaitKind.TIMER):
            await trio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
