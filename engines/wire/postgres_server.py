"""A database server that speaks PostgreSQL's protocol over SQLite: start-up, simple queries, errors, a limit of connections.

What it does with a query is SQLite's, and so is the dialect of SQL; what it says on the wire is PostgreSQL's (documentation,
"Message Flow"). It refuses what it cannot do honestly: transactions over several queries (all sessions share one SQLite), the
extended query protocol, COPY, TLS.
"""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from random import Random
from typing import Any

import trio

from engines.wire import postgres_grammar as grammar
from engines.wire.postgres_frames import (
    PgConnectionLost,
    PgStream,
    data_row,
    error,
    message,
    row_description,
    string,
)
from engines.wire.sqlite_file import SqliteFile

VERSION = "15.0 (SQLite inside)"
MAX_CONNECTIONS = 100
"""PostgreSQL's default of max_connections."""

TOO_MANY_CONNECTIONS = "53300"
SYNTAX_ERROR = "42601"
UNDEFINED_TABLE = "42P01"
CONSTRAINT_VIOLATION = "23000"
FEATURE_NOT_SUPPORTED = "0A000"
INTERNAL_ERROR = "XX000"
"""SQLSTATEs (documentation, appendix "PostgreSQL Error Codes")."""

READY = message(b"Z", b"I")
_TAGS = {"INSERT": "INSERT 0 {}", "UPDATE": "UPDATE {}", "DELETE": "DELETE {}"}
_SERVED = {"SELECT", "VALUES", "WITH", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER"}
"""First words of the statements that are served. Sessions share one SQLite, so that there can be no BEGIN; and no ATTACH."""

Work = Callable[[str], Awaitable[None]]
"""Waits for as long as a statement keeps the machine busy."""


class Refused(Exception):
    """A statement that fails; `code` is its SQLSTATE."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Database:
    """A SQLite file as PostgreSQL would answer for it. `setup` makes its tables the first time."""

    def __init__(self, disk: dict[str, Any], setup: str) -> None:
        self._file = SqliteFile(disk, "database", setup)

    def run(self, statement: str) -> bytes:
        """The messages that answer one statement. Raises Refused."""
        word = statement.lstrip("( \n\t").split(maxsplit=1)[0].upper()
        if word not in _SERVED:
            raise Refused(FEATURE_NOT_SUPPORTED, f"{word} is not served here")
        try:
            names, rows, changed = self._file.run(statement)
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            raise Refused(_sqlstate(error), str(error)) from error
        if not names:
            return message(b"C", string(_TAGS.get(word, word).format(changed)))
        described = row_description(names, rows)
        return b"".join([described, *map(data_row, rows), message(b"C", string(f"SELECT {len(rows)}"))])

    def close(self) -> None:
        """Close it; what is on the disk stays there."""
        self._file.close()


def _sqlstate(error: Exception) -> str:
    """SQLite's complaint as PostgreSQL's code for it."""
    if isinstance(error, sqlite3.IntegrityError):
        return CONSTRAINT_VIOLATION
    if "no such table" in str(error):
        return UNDEFINED_TABLE
    return SYNTAX_ERROR if isinstance(error, sqlite3.OperationalError) else INTERNAL_ERROR


class PgServer:
    """Serves one database. `max_connections` is read whenever somebody comes; `work` is waited for before each statement."""

    def __init__(
        self,
        database: Database,
        *,
        work: Work,
        chance: Random,
        max_connections: Callable[[], float] = lambda: MAX_CONNECTIONS,
        on_sessions: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.sessions = 0
        self._database = database
        self._work = work
        self._chance = chance
        self._max_connections = max_connections
        self._on_sessions = on_sessions
        self._processes = 0

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one connection to its end, which is not told apart: the client says good-bye, or vanishes."""
        pg = PgStream(stream)
        try:
            async with stream:
                if await self._begins(pg):
                    self._count(+1)
                    try:
                        await self._session(pg)
                    finally:
                        self._count(-1)
        except PgConnectionLost:
            pass

    def _count(self, change: int) -> None:
        self.sessions += change
        self._on_sessions(self.sessions)

    async def _begins(self, pg: PgStream) -> bool:
        """Whether somebody wants a session, and may have one. Clients may ask for encryption first, which there is none of."""
        code = grammar.SSL_REQUEST
        while code in (grammar.SSL_REQUEST, grammar.GSS_REQUEST):
            code, _ = await pg.receive_startup()
            if code in (grammar.SSL_REQUEST, grammar.GSS_REQUEST):
                await pg.send(b"N")
        if code == grammar.CANCEL_REQUEST:
            return False  # to this there is no answer, ever
        if code != grammar.PROTOCOL_3_0:
            await pg.send(error(FEATURE_NOT_SUPPORTED, "only protocol 3.0 is spoken here", "FATAL"))
            return False
        if self.sessions >= self._max_connections():
            await pg.send(error(TOO_MANY_CONNECTIONS, "sorry, too many clients already", "FATAL"))
            return False
        return True

    async def _session(self, pg: PgStream) -> None:
        self._processes += 1
        told = {"server_version": VERSION, "server_encoding": "UTF8", "client_encoding": "UTF8"}
        await pg.send(
            message(b"R", bytes(4)),
            *(message(b"S", string(name) + string(value)) for name, value in told.items()),
            message(b"K", self._processes.to_bytes(4, "big") + self._chance.randbytes(4)),
            READY,
        )
        while True:
            kind, content = await pg.receive()
            if kind == b"X":
                return
            if kind != b"Q":
                name = grammar.FRONTEND.get(kind, "that")
                await pg.send(error(FEATURE_NOT_SUPPORTED, f"{name} is not served here: simple queries only", "FATAL"))
                return
            await pg.send(
                *[part async for part in self._answers(content.rstrip(b"\0").decode(errors="replace"))], READY
            )

    async def _answers(self, sql: str) -> AsyncIterator[bytes]:
        """The answer to each statement of a query, up to the first that fails."""
        statements = list(statements_in(sql))
        if not statements:
            yield message(b"I")
        for statement in statements:
            await self._work(statement)
            try:
                yield self._database.run(statement)
            except Refused as refusal:
                yield error(refusal.code, str(refusal))
                return


def statements_in(sql: str) -> Iterator[str]:
    """The statements of a query, without those that are empty."""
    begun = ""
    for piece in sql.split(";"):
        begun += piece
        if sqlite3.complete_statement(begun + ";"):
            if begun.strip():
                yield begun.strip()
            begun = ""
        else:
            begun += ";"
    if begun.strip("; \n\t"):
        yield begun.strip()
