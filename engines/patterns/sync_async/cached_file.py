"""A file behind the page cache: what is written is in memory at once, and on the disk after fsync, or when the kernel finds time.

When the power goes, memory is gone. Of what had been written and not yet made durable, each sector has reached the disk or has
not, in no particular order: the kernel may have been writing back just then. A sector itself is never half written.
"""

from random import Random
from typing import Any

from engines.lab.host import Host

SECTOR = 512
"""Bytes that a disk writes as a whole."""


class CachedFile:
    """A file of a machine that has just been switched on. `disk` survives that, and `chance` decides what the last cut left."""

    def __init__(self, disk: dict[str, Any], name: str, chance: Random) -> None:
        self._platter: bytearray = disk.setdefault(f"{name}, on the disk", bytearray())
        self._dirty: dict[int, bytes] = disk.setdefault(f"{name}, on its way to the disk", {})
        for sector in sorted(self._dirty):
            if chance.random() < 0.5:
                self._store(sector, self._dirty[sector])
        self._dirty.clear()
        self._cache = bytearray(self._platter)

    def read(self) -> bytes:
        """The file as programs see it: whether it is on the disk makes no difference to them."""
        return bytes(self._cache)

    @property
    def durable(self) -> bytes:
        """The file as it would be after a cut of the power, if that wrote nothing more."""
        return bytes(self._platter)

    @property
    def dirty_bytes(self) -> int:
        """How much is in memory alone."""
        return sum(map(len, self._dirty.values()))

    def write(self, offset: int, data: bytes) -> None:
        """Write into the page cache; takes no time worth mentioning, and promises nothing."""
        self._cache.extend(bytes(max(0, offset - len(self._cache))))
        self._cache[offset : offset + len(data)] = data
        for sector in range(offset // SECTOR, -(-(offset + len(data)) // SECTOR)):
            self._dirty[sector] = bytes(self._cache[sector * SECTOR : (sector + 1) * SECTOR])

    async def fsync(self, host: Host, seconds: float) -> None:
        """Bring what is written by now to the disk. Durable when this returns; before that, any part of it may be."""
        under_way = dict(self._dirty)
        await host.work("fsync", seconds)
        for sector, data in under_way.items():
            self._store(sector, data)
            if self._dirty.get(sector) == data:
                del self._dirty[sector]

    def truncate(self, size: int) -> None:
        """Cut the file off, on the disk as well: what stood behind `size` must never come back."""
        del self._cache[size:]
        del self._platter[size:]
        for sector in [sector for sector in self._dirty if (sector + 1) * SECTOR > size]:
            del self._dirty[sector]

    def _store(self, sector: int, data: bytes) -> None:
        start = sector * SECTOR
        self._platter.extend(bytes(max(0, start - len(self._platter))))
        self._platter[start : start + len(data)] = data
