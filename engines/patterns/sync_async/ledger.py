"""A client's ledger: what it was promised, held against what is really there. Loss is found by counting, never assumed."""

from collections.abc import Awaitable, Callable

import trio

from engines.lab.host import Host


class Ledger:
    """Rows that a client wrote and was promised, on the client's own disk. `doubtful`: something may be lost, look it up."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._promised: dict[int, float] = host.disk.setdefault("promised", {})  # row: when
        self._last: list[int] = host.disk.setdefault("last row", [0])
        self._turn = trio.Lock()
        self.doubtful = bool(self._promised)  # if we have been away, who knows what has happened

    def next_row(self) -> int:
        """A number that no row has had."""
        self._last[0] += 1
        return self._last[0]

    def promise(self, row: int) -> None:
        """The server has said that `row` is committed."""
        self._promised[row] = trio.current_time()
        self._host.measure("acknowledged")

    async def audit(self, rows_there: Callable[[], Awaitable[set[int]]]) -> None:
        """If there is doubt, ask what is there, and count what was promised and is not. What `rows_there` raises goes through."""
        async with self._turn:
            if not self.doubtful:
                return
            promised = list(self._promised)
            there = await rows_there()
            self.doubtful = False
            lost = [row for row in promised if row not in there]
            for row in lost:
                del self._promised[row]
            if lost:
                self._host.measure("lost after acknowledgement", len(lost))
                self._host.note(f"acknowledged, and gone: {rows_in_words(lost)}")
            else:
                self._host.note(f"all {len(promised)} acknowledged rows are there")


def rows_in_words(rows: list[int]) -> str:
    """Row numbers, runs of them in short: "row 4", "rows 4-7, 9"."""
    runs: list[list[int]] = []
    for row in rows:
        if runs and row == runs[-1][-1] + 1:
            runs[-1].append(row)
        else:
            runs.append([row])
    words = ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
    return f"row{'s' if len(rows) > 1 else ''} {words}"
