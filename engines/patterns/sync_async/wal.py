"""A write-ahead log: records one behind the other, each with place, length and checksum, and a replay that trusts nothing.

Built after PostgreSQL's (chapter "Reliability and the Write-Ahead Log"), much simplified: a place in the log (LSN) is a number
of bytes; a commit may wait for its record to be flushed, or leave that to the WAL writer. PostgreSQL's checksum is CRC-32C,
ours the CRC-32 of zlib.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from zlib import crc32

import trio

from engines.lab.host import Host
from engines.patterns.sync_async.cached_file import CachedFile

_HEAD = struct.Struct(">QII")  # LSN, length of the payload, CRC-32 of both and the payload
PAGE = 8192
"""Bytes of a page of the log (XLOG_BLCKSZ, 8 kB)."""


def encode(lsn: int, payload: bytes) -> bytes:
    """A record that stands at `lsn`. An empty payload is refused: zeros must not look like a record."""
    if not payload:
        raise ValueError("a record says something")
    return _HEAD.pack(lsn, len(payload), _checksum(lsn, payload)) + payload


def _checksum(lsn: int, payload: bytes) -> int:
    return crc32(payload, crc32(struct.pack(">QI", lsn, len(payload))))


@dataclass(frozen=True, slots=True)
class Replay:
    """What a log says: its records, where the last good one ends, and what ended the reading: "" for a clean end."""

    payloads: list[bytes]
    end: int
    torn: str


def replay(log: bytes) -> Replay:
    """Read records from the start of `log`, up to the first that is not whole, not in its place, or not as its checksum says."""
    payloads: list[bytes] = []
    lsn = 0
    while lsn < len(log):
        if len(log) < lsn + _HEAD.size:
            return Replay(payloads, lsn, "half a head")
        place, length, checksum = _HEAD.unpack_from(log, lsn)
        payload = log[lsn + _HEAD.size : lsn + _HEAD.size + length]
        if place != lsn or not length:
            return Replay(payloads, lsn, "no record stands here")
        if len(payload) < length:
            return Replay(payloads, lsn, "half a record")
        if _checksum(lsn, payload) != checksum:
            return Replay(payloads, lsn, "a checksum that does not fit")
        payloads.append(payload)
        lsn += _HEAD.size + length
    return Replay(payloads, lsn, "")


class WriteAheadLog:
    """The log of a database server that has just started. `recovered` is what it found; the torn rest is cut off."""

    def __init__(self, host: Host, file: CachedFile, fsync_s: Callable[[], float]) -> None:
        self._host = host
        self._file = file
        self._fsync_s = fsync_s
        self._buffers = bytearray()  # the server's own memory: from `written` to `inserted`
        self._turn = trio.Lock()
        self.recovered = replay(file.read())
        file.truncate(self.recovered.end)
        self.inserted = self.written = self.flushed = self.recovered.end

    def insert(self, payload: bytes) -> int:
        """Append a record to the buffers. Returns the LSN behind it: once that is flushed, the record is safe."""
        self._buffers += encode(self.inserted, payload)
        self.inserted = self.written + len(self._buffers)
        return self.inserted

    async def flush(self, lsn: int, *, alone: bool = False) -> None:
        """Return when everything before `lsn` is on the disk.

        Whoever gets the turn flushes all that there is, so that those who waited behind find their work done (group commit);
        `alone`, no more than asked for.
        """
        async with self._turn:
            if self.flushed < lsn:
                target = lsn if alone else self.inserted
                self._write(target)
                await self._file.fsync(self._host, self._fsync_s())
                self.flushed = target

    async def flush_in_background(self) -> None:
        """One round of the WAL writer: whole pages if there are new ones, else all that there is.

        As PostgreSQL's XLogBackgroundFlush: on a busy server a record may have to wait for the next round.
        """
        target = self.inserted // PAGE * PAGE
        if target <= self.flushed:
            target = self.inserted
        await self.flush(target, alone=True)

    def _write(self, target: int) -> None:
        """Hand the buffers to the kernel, as far as `target`."""
        size = max(0, target - self.written)
        self._file.write(self.written, bytes(self._buffers[:size]))
        del self._buffers[:size]
        self.written += size
