"""A SQLite database in a file on a host's disk: it outlives the program that wrote it.

The file is the real thing (the bytes that SQLite would write, `sqlite3.Connection.serialize`), and lies on the simulated disk;
so a restart, and nothing else, decides what is still there.
"""

import sqlite3
from contextlib import closing
from typing import Any, Self

Row = tuple[Any, ...]


class SqliteFile:
    """The database in file `name` of a host's `disk`; `setup` is the script that makes its tables the first time.

    Statements run at once, in line: they take no time, as there is no other thread. Raises sqlite3.Error.
    """

    def __init__(self, disk: dict[str, Any], name: str, setup: str) -> None:
        self._disk = disk
        self._name = name
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        if name in disk:
            self._connection.deserialize(disk[name])
        else:
            self._connection.executescript(setup)
            self._save()

    def run(self, statement: str, *values: Any) -> tuple[list[str], list[Row], int]:
        """Carry a statement out; what it changed is on disk when this returns. The names of its columns, its rows, and how many
        rows it has changed."""
        before = self._connection.total_changes
        with closing(self._connection.execute(statement, values)) as cursor:
            rows = cursor.fetchall()
            names = [column[0] for column in cursor.description or ()]
        changed = self._connection.total_changes - before
        if changed or not names:
            self._save()
        return names, rows, changed

    def close(self) -> None:
        """Close it; what is on the disk stays there."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _save(self) -> None:
        self._disk[self._name] = self._connection.serialize()
