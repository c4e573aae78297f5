"""An HTTP/2 server whose limits can be turned while it works: ASGI applications over h2, by prior knowledge.

Hypercorn serves HTTP/2 as well (`http_server`), and most lessons use it. This one does what Hypercorn 0.18 has no means for: it
changes the stream limit of connections that are open, refuses requests one by one, takes leave of its clients as the RFC asks
for, and stops an application whose client opens no window (Hypercorn's buffer of a stream then grows without end). It refuses
to speak anything but HTTP/2.
"""

from enum import Enum
from typing import Any

import trio
from starlette.requests import ClientDisconnect

from engines.lab.host import Host
from engines.lab.recorder import because_of
from engines.wire.h2_served import ServedConnection, ServedStream
from engines.wire.http_server import MAX_STREAMS, Application


class Goodbye(Enum):
    """How a server ends its connections: with two GOAWAYs, with one, or with none. Words for a knob."""

    WARNED = "with a warning"
    AT_ONCE = "at once"
    SILENT = "without a word"


class H2Server:
    """Serves `app` on `host`; all that can be changed is changed on every open connection at once."""

    def __init__(self, host: Host, app: Application, *, max_streams: int = MAX_STREAMS) -> None:
        self._host = host
        self._app = app
        self._max_streams = max_streams
        self._connections: list[ServedConnection] = []
        self._failures: list[Exception] = []

    async def serve(self, port: int = 80) -> None:
        """Serve until cancelled. An exception in the application ends the program, but for a ClientDisconnect."""
        await (
            trio.lowlevel.checkpoint_if_cancelled()
        )  # a program that was killed before it got here must not take the port
        async with self._host.listen(port) as listener, trio.open_nursery() as nursery:

            def start(stream: ServedStream) -> None:
                nursery.start_soon(self._answer, stream, nursery.cancel_scope)

            while True:
                endpoint = await listener.accept()
                connection = ServedConnection(self._host, endpoint, self._max_streams, start)
                self._connections.append(connection)
                nursery.start_soon(self._keep, connection)
        if self._failures:
            raise self._failures[0]

    def limit_streams(self, most: int) -> None:
        """Let each connection bear `most` requests at a time; those in flight stay."""
        self._max_streams = most
        for connection in self._connections:
            connection.limit_streams(most)

    def say_goodbye(self, how: Goodbye) -> None:
        """End every connection that is open now; new ones are welcome."""
        for connection in list(self._connections):
            if how is Goodbye.SILENT:
                connection.endpoint.close()
            else:
                connection.say_goodbye(warn=how is Goodbye.WARNED)

    async def _keep(self, connection: ServedConnection) -> None:
        try:
            await connection.run()
        finally:
            self._connections.remove(connection)

    async def _answer(self, stream: ServedStream, life: trio.CancelScope) -> None:
        because_of(stream.cause)
        try:
            await self._app(_scope(stream), stream.receive, stream.send)
        except ClientDisconnect:
            return
        except Exception as error:
            self._failures.append(error)
            life.cancel()


def _scope(stream: ServedStream) -> dict[str, Any]:
    """The request in the words of ASGI."""
    pseudo = {name: value for name, value in stream.headers if name.startswith(b":")}
    fields = [(name, value) for name, value in stream.headers if not name.startswith(b":")]
    raw_path, _, query = pseudo[b":path"].partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "2",
        "method": pseudo[b":method"].decode("ascii"),
        "scheme": pseudo[b":scheme"].decode("ascii"),
        "path": raw_path.decode("ascii"),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", pseudo.get(b":authority", b"")), *fields],
        "client": None,
        "server": None,
        "extensions": {},
    }
