"""A PostgreSQL client: log in, ask, read the answer. One query at a time, as the protocol's simple queries are."""

from dataclasses import dataclass, field, replace

import trio

from engines.lab.host import Host
from engines.lab.tcp import Endpoint
from engines.wire.postgres_frames import (
    PORT,
    PgConnectionLost,
    PgStream,
    error_fields,
    message,
    startup,
    string,
    values_in,
)

GOODBYE_S = 1.0
"""How long a kernel that takes nothing may delay a good-bye."""


class PgError(Exception):
    """The server refuses; `code` is the SQLSTATE that says why."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Result:
    """What a query brought: rows of text, None for NULL, and the tag of its last command ("SELECT 3")."""

    rows: list[list[str | None]] = field(default_factory=list)
    tag: str = ""


async def pg_connect(
    host: Host, server: str, *, port: int = PORT, user: str = "app", database: str = "shop"
) -> "PgConnection":
    """Open a connection and log in: a round trip for TCP, another for the start-up.

    Raises OSError when there is no way, PgError when the server refuses, PgConnectionLost when it vanishes meanwhile.
    """
    endpoint = await host.connect(server, port)
    try:
        stream = PgStream(endpoint)
        await stream.send(startup(user, database))
        await _answer(stream)
    except BaseException:
        endpoint.close()
        raise
    return PgConnection(endpoint, stream)


class PgConnection:
    """A session. `usable` says whether another query can be asked on it."""

    def __init__(self, endpoint: Endpoint, stream: PgStream) -> None:
        self._endpoint = endpoint
        self._stream = stream
        self._asking = False
        self.flow = endpoint.flow

    @property
    def usable(self) -> bool:
        """False once it is closed or gone, or when the answer to a query was not read to its end. The server speaks only
        when it is asked: whatever waits to be read is an end, or an error before it."""
        return not self._asking and not self._endpoint.is_readable()

    async def query(self, sql: str) -> Result:
        """Ask, and wait for the whole answer. Raises PgError, after which the session goes on, or PgConnectionLost."""
        self._asking = True  # whoever is called off in between leaves a connection on which nobody else can ask
        await self._stream.send(message(b"Q", string(sql)))
        result, refusal = await _answer(self._stream)
        self._asking = False
        if refusal is not None:
            raise refusal
        return result

    async def aclose(self) -> None:
        """Say good-bye, if there is somebody to hear it, and close."""
        try:
            if self.usable:
                with trio.move_on_after(GOODBYE_S):
                    await self._stream.send(message(b"X"))
        except PgConnectionLost:
            pass
        finally:
            self._endpoint.close()


async def _answer(stream: PgStream) -> tuple[Result, PgError | None]:
    """All that is said until the server is ready for the next query. Raises PgError when it will never be."""
    result, refusal = Result(), None
    while True:
        kind, content = await stream.receive()
        if kind == b"Z":
            return result, refusal
        if kind == b"D":
            result.rows.append(values_in(content))
        elif kind == b"C":
            result = replace(result, tag=content.rstrip(b"\0").decode(errors="replace"))
        elif kind == b"E":
            said = error_fields(content)
            refusal = PgError(said.get(b"C", ""), said.get(b"M", "no reason given"))
            if said.get(b"S") == "FATAL":
                raise refusal
        elif kind == b"R" and content[:4] != bytes(4):
            raise PgConnectionLost("the server wants a password")
