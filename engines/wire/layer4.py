"""A layer-4 proxy: it joins two connections and copies bytes, and knows nothing of what they mean.

It can choose a server when a connection begins, and never again. It cannot tell a request from an answer, nor 200 from
503, so it can neither retry, nor count errors, nor send the next request elsewhere.
"""

from collections.abc import Sequence

import trio

from engines.lab.host import Host
from engines.lab.tcp import Endpoint


async def layer4_proxy(host: Host, servers: Sequence[str], port: int, *, listen_on: int) -> None:
    """Join each connection to `listen_on` with one to `port` of the next of `servers`, until cancelled."""
    turn = 0
    async with host.listen(listen_on) as listener, trio.open_nursery() as nursery:
        while True:
            client = await listener.accept()
            nursery.start_soon(_join, host, client, servers[turn % len(servers)], port)
            turn += 1


async def _join(host: Host, client: Endpoint, server_name: str, port: int) -> None:
    """A server that cannot be reached ends the client's connection: there are no words for it at this layer."""
    try:
        server = await host.connect(server_name, port)
    except OSError as error:
        host.note(f"no connection to {server_name}: {error}")
        client.close()
        return
    except trio.Cancelled:
        client.close()
        raise
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_copy, client, server, nursery.cancel_scope)
            await _copy(server, client, nursery.cancel_scope)
    finally:
        client.close()
        server.close()


async def _copy(source: Endpoint, sink: Endpoint, both: trio.CancelScope) -> None:
    """All that comes from `source`, then its end; when either side breaks, both are over."""
    try:
        while data := await source.receive_some():
            await sink.send_all(data)
        await sink.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        both.cancel()
