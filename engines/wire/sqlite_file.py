"""A SQLite database in a file on a host's disk: it outlives the program that wrote it.

The file is the real thing (the bytes that SQLite would write, `sqlite3.Connection.serialize`), and lies on the simulated disk;
so a restart, and nothing else, decides what is still there.
"""

import sqlite3
from typing import Any, Self

from engines.lab.host import Host


class SqliteFile:
    """The database in file `name` of `host`'s disk; `schema` is what makes its tables the first time.

    Statements run at once, in line: they take no time, as there is no other thread. Raises sqlite3.Error.
    """

    def __init__(self, host: Host, name: str, schema: str) -> None:
        self._host = host
        self._name = name
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        if (image := host.disk.get(name)) is not None:
            self._connection.deserialize(image)
        self._connection.execute(schema)
        self._save()

    def read(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows that a query finds."""
        return self._connection.execute(statement, values).fetchall()

    def write(self, statement: str, *values: Any) -> int:
        """Carry a statement out and have it on disk when this returns. Returns how many rows it changed."""
        changed = self._connection.execute(statement, values).rowcount
        self._save()
        return changed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def _save(self) -> None:
        self._host.disk[self._name] = self._connection.serialize()
