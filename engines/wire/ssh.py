"""SSH's binary packets (RFC 4253, section 6), unencrypted, so that one can see how they are built.

Both sides name their versions in a line of text (section 4.2); everything after it is packets. Real connections exchange keys
next, and from then on even the lengths are sealed. Here they never do: the packets are under the cipher and the MAC called
"none", which the specification has (sections 6.3 and 6.4) and no server should allow. The question is a global request with
a name of our own (RFC 4254, section 4; RFC 4251, section 6: a name with an @ may be anybody's).
"""

import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

import trio

from engines.lab.host import Host
from engines.lab.tcp import Endpoint

PORT = 22
VERSION = b"SSH-2.0-commtui\r\n"
BLOCK_BYTES = 8
"""Packets are a multiple of this long, padded by 4 bytes or more: section 6, for ciphers without blocks."""
LONGEST_PACKET = 35_000
"""What every implementation must be able to read (section 6.1)."""

GLOBAL_REQUEST, REQUEST_SUCCESS, REQUEST_FAILURE = 80, 81, 82
"""Message numbers (RFC 4250, section 4.1.2)."""

Answerer = Callable[[str], Awaitable[str | None]]


def packet(payload: bytes, luck: Random) -> bytes:
    """packet_length, padding_length, payload, padding; no MAC."""
    padding = BLOCK_BYTES - (5 + len(payload)) % BLOCK_BYTES
    padding += BLOCK_BYTES if padding < 4 else 0
    head = struct.pack("!IB", 1 + len(payload) + padding, padding)
    return head + payload + luck.randbytes(padding)


def string(text: str) -> bytes:
    """A length of four bytes, and as many bytes (RFC 4251, section 5)."""
    data = text.encode()
    return struct.pack("!I", len(data)) + data


def read_string(data: bytes, at: int) -> tuple[str, int]:
    """The string at `at` and where it ends. Raises ValueError when it is not all there."""
    if at + 4 > len(data):
        raise ValueError("no room for a length")
    end = at + 4 + int(struct.unpack_from("!I", data, at)[0])
    if end > len(data):
        raise ValueError("the string is longer than what holds it")
    return data[at + 4 : end].decode("utf-8", "replace"), end


class Packets:
    """The packets of one connection, after the version lines. Raises EOFError at its end and ValueError on nonsense."""

    def __init__(self, stream: Endpoint, luck: Random) -> None:
        self._stream = stream
        self._luck = luck
        self._received = bytearray()

    async def exchange_versions(self) -> None:
        """Say which version we speak, and hear the other side's line."""
        await self._stream.send_all(VERSION)
        while b"\n" not in self._received:
            await self._read()
        line, _, rest = bytes(self._received).partition(b"\n")
        if not line.startswith(b"SSH-2.0-"):
            raise ValueError("not SSH 2.0")
        self._received = bytearray(rest)

    async def send(self, payload: bytes) -> None:
        await self._stream.send_all(packet(payload, self._luck))

    async def receive(self) -> bytes:
        """The payload of the next packet."""
        while len(self._received) < 5:
            await self._read()
        length, padding = struct.unpack_from("!IB", self._received)
        if not padding < length <= LONGEST_PACKET:
            raise ValueError("not a packet")
        while len(self._received) < 4 + length:
            await self._read()
        payload = bytes(self._received[5 : 4 + length - padding])
        del self._received[: 4 + length]
        return payload

    async def _read(self) -> None:
        data = await self._stream.receive_some()
        if not data:
            raise EOFError("the connection was closed")
        self._received += data


async def serve_ssh(host: Host, name: str, answer: Answerer, port: int = PORT) -> None:
    """Answer global requests called `name` until cancelled; their data is one string, and so is the answer's."""

    async def converse(stream: Endpoint) -> None:
        try:
            async with stream:
                packets = Packets(stream, host.randomness("ssh padding"))
                await packets.exchange_versions()
                while True:
                    payload = await packets.receive()
                    called, at = read_string(payload, 1)
                    asked, _ = read_string(payload, at + 1)
                    said = await answer(asked) if (payload[0], called) == (GLOBAL_REQUEST, name) else None
                    await packets.send(
                        bytes([REQUEST_FAILURE]) if said is None else bytes([REQUEST_SUCCESS]) + string(said)
                    )
        except (EOFError, ValueError, OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async with host.listen(port) as listener, trio.open_nursery() as nursery:
        while True:
            nursery.start_soon(converse, await listener.accept())


@asynccontextmanager
async def ssh_client(host: Host, server: str, name: str, port: int = PORT) -> AsyncIterator[Answerer]:
    """Asks global requests called `name`. Raises what `Host.connect` and `Packets` raise."""
    async with await host.connect(server, port) as stream:
        packets = Packets(stream, host.randomness("ssh padding"))
        await packets.exchange_versions()

        async def ask(item: str) -> str | None:
            await packets.send(bytes([GLOBAL_REQUEST]) + string(name) + b"\x01" + string(item))
            payload = await packets.receive()
            return read_string(payload, 1)[0] if payload[0] == REQUEST_SUCCESS else None

        yield ask
