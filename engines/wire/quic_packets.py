"""Where each thing in a QUIC datagram stands, as far as that can be seen from outside (RFC 9000, section 17).

What is inside the packets is encrypted, packet numbers too (RFC 9001, section 5.4): of a packet one sees its form and type, its
version, its connection ids, and how long it is. Version 1 and version 2 (RFC 9369) are read.
"""

from dataclasses import dataclass

LONG, FIXED = 0x80, 0x40
"""Bits of the first byte: header form, and one that is always set (section 17.2)."""
LONGEST_ID = 20
RETRY_TAG_SIZE = 16
NEGOTIATION = "Version Negotiation"
INITIAL, ZERO_RTT, HANDSHAKE, RETRY, ONE_RTT = "Initial", "0-RTT", "Handshake", "Retry", "1-RTT"
TYPES = {1: (INITIAL, ZERO_RTT, HANDSHAKE, RETRY), 0x6B3343CF: (RETRY, INITIAL, ZERO_RTT, HANDSHAKE)}
"""Names of the two type bits by version (RFC 9000, section 17.2; RFC 9369, section 3.2)."""


class MalformedError(ValueError):
    """These octets are no QUIC packet; says why in a few words."""


@dataclass(frozen=True, slots=True)
class Field:
    """Octets `start` to `end` of a datagram and what they are."""

    start: int
    end: int
    name: str
    note: str = ""
    boundary: bool = False


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet of a datagram. `source` is None in a short header, which has no room for it."""

    kind: str
    start: int
    end: int
    destination: bytes
    source: bytes | None
    fields: tuple[Field, ...]


class _Reader:
    """Takes fields off a datagram, one behind the other."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at
        self.fields: list[Field] = []

    def take(self, size: int, name: str, note: str = "", *, boundary: bool = False) -> bytes:
        end = self.at + size
        if end > len(self.data):
            raise MalformedError(f"{name} runs past the end")
        if size:
            self.fields.append(Field(self.at, end, name, note, boundary))
        taken, self.at = self.data[self.at : end], end
        return taken

    def peek(self) -> int:
        if self.at >= len(self.data):
            raise MalformedError("a header that runs past the end")
        return self.data[self.at]

    def variable(self, name: str, note: str) -> int:
        """A variable-length integer: two bits say how long it is (section 16)."""
        size = 1 << (self.peek() >> 6)
        value = int.from_bytes(self.data[self.at : self.at + size], "big") & ((1 << 8 * size - 2) - 1)
        self.take(size, name, note.format(value), boundary=True)
        return value


def packets_of(data: bytes, id_size: int) -> list[Packet]:
    """The packets of a datagram, one behind the other (section 12.2), without the zeros that may pad it (section 14.1).

    `id_size` is that of connection ids in short headers, which do not say it. Raises MalformedError at what is no packet.
    """
    packets: list[Packet] = []
    position = 0
    while not packets or any(data[position:]):
        packets.append(_packet_at(data, position, id_size))
        position = packets[-1].end
    return packets


def _packet_at(data: bytes, start: int, id_size: int) -> Packet:
    reader = _Reader(data, start)
    first = reader.peek()
    if not first & LONG:
        return _short(reader, first, id_size)
    version = int.from_bytes(data[start + 1 : start + 5], "big")
    types = TYPES.get(version)
    kind = NEGOTIATION if version == 0 else types[first >> 4 & 3] if types else "an unknown version"
    if version and not first & FIXED:
        raise MalformedError("the fixed bit is zero")
    reader.take(1, "first byte", f"long header, {kind}")
    reader.take(4, "version", f"0x{version:08x}")
    destination = _connection_id(reader, "destination")
    source = _connection_id(reader, "source")
    if kind in (INITIAL, ZERO_RTT, HANDSHAKE):
        if kind == INITIAL:
            reader.take(reader.variable("token length", "{:,} bytes"), "token", "proves an address (RFC 9000, 8.1)")
        length = reader.variable("length", "{:,} bytes follow")
        reader.take(length, "protected", f"packet number and frames, encrypted: {length:,} bytes")
    elif kind == RETRY:
        reader.take(max(0, len(data) - reader.at - RETRY_TAG_SIZE), "token", "to be brought back")
        reader.take(RETRY_TAG_SIZE, "integrity tag")
    else:
        reader.take(len(data) - reader.at, "versions" if kind == NEGOTIATION else "bytes")
    return Packet(kind, start, reader.at, destination, source, tuple(reader.fields))


def _connection_id(reader: _Reader, whose: str) -> bytes:
    size = reader.peek()
    if size > LONGEST_ID:
        raise MalformedError("a connection id of more than 20 bytes")
    reader.take(1, f"{whose} id length", f"{size} bytes", boundary=True)
    value = reader.data[reader.at : reader.at + size]
    return reader.take(size, f"{whose} connection id", value.hex())


def _short(reader: _Reader, first: int, id_size: int) -> Packet:
    """Section 17.3.1: a byte, the connection id, and the rest of the datagram."""
    if not first & FIXED:
        raise MalformedError("the fixed bit is zero")
    start = reader.at
    reader.take(1, "first byte", f"short header, {ONE_RTT}, spin bit {first >> 5 & 1}")
    value = reader.data[reader.at : reader.at + id_size]
    destination = reader.take(id_size, "destination connection id", value.hex())
    left = len(reader.data) - reader.at
    if not left:
        raise MalformedError("nothing behind the header")
    reader.take(left, "protected", f"packet number and frames, encrypted: {left:,} bytes")
    return Packet(ONE_RTT, start, reader.at, destination, None, tuple(reader.fields))
