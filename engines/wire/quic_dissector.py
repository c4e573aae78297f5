"""Reads QUIC as a passive observer: what each datagram carries, for which connection id, and how much; never what it says.

A datagram may carry several packets (RFC 9000, section 12.2); it is one message all the same, because it arrives whole or not at
all. Keys are drawn where no seed reaches, hence `sealed`; connection ids come from the seed, and may be shown.
"""

from collections.abc import Sequence

from engines.lab.dissection import Ended, Part, Side, Started
from engines.lab.facts import Role
from engines.wire.quic_packets import HANDSHAKE, INITIAL, ONE_RTT, MalformedError, Packet, packets_of

DATAGRAM = "datagram"
"""What ends a message over UDP: the word of the `MessageEnded` fact."""
USUAL_ID_SIZE = 8
"""Bytes of a connection id that is known from no handshake; what aioquic and many others choose."""
LITTLE = 40
"""A 1-RTT datagram of fewer bytes has room for an acknowledgement or another small frame, and for nothing that a program says:
1 byte, an id of 8, a packet number, and the 16 that authenticate it leave a dozen."""


class QuicDissector:
    """A flow of datagrams between two sockets. What is fed at a time is one datagram."""

    name = "quic"
    sealed = True

    def __init__(self) -> None:
        self._fed = {Side.CLIENT: 0, Side.SERVER: 0}
        self._id_sizes = {Side.CLIENT: USUAL_ID_SIZE, Side.SERVER: USUAL_ID_SIZE}  # of ids that a side has chosen

    def feed(self, side: Side, data: bytes) -> Sequence[Started | Ended]:
        """Read one datagram that `side` sent."""
        start = self._fed[side]
        end = self._fed[side] = start + len(data)
        try:
            packets = packets_of(data, self._id_sizes[side.other])
        except MalformedError as error:
            return Started(Role.ERROR, f"not QUIC: {error}", start, end, 0), Ended(end, DATAGRAM)
        for packet in packets:
            if packet.source is not None:
                self._id_sizes[side] = len(packet.source)  # section 5.1: who chose an id knows how long it is
        return Started(role_of(packets, len(data)), label_of(packets, len(data)), start, end, 0), Ended(end, DATAGRAM)

    def finish(self, side: Side) -> Sequence[Ended]:
        """There is no end of a stream in UDP, and nothing that could be cut short."""
        return ()

    def parts(self, side: Side, stream: bytes, start: int, end: int) -> list[Part]:
        """Name the parts of the datagram at bytes `start` to `end` of `stream`. Pure: ids are taken to be of the usual size."""
        data = stream[start:end]
        found: list[Part] = []
        try:
            for packet in packets_of(data, USUAL_ID_SIZE):
                found += [Part(start + f.start, start + f.end, f.name, f.note, f.boundary) for f in packet.fields]
        except MalformedError:
            found = []
        covered = found[-1].end if found else start
        if covered < end:
            found.append(
                Part(covered, end, "padding" if found else "bytes", "zeros" if found else "not readable as QUIC")
            )
        return found


def label_of(packets: Sequence[Packet], size: int) -> str:
    """What a datagram carries: "Initial + Handshake, 1,200 B", or "1-RTT for 5f3a2c11, 1,180 B"."""
    kinds = " + ".join(dict.fromkeys(packet.kind for packet in packets))
    if packets[0].kind == ONE_RTT:
        kinds += f" for {packets[0].destination[:4].hex()}"
    return f"{kinds}, {size:,} B"


def role_of(packets: Sequence[Packet], size: int) -> Role:
    """As far as it can be told from outside: handshakes are control, and so is what is too small to carry data."""
    kinds = {packet.kind for packet in packets}
    if kinds & {INITIAL, HANDSHAKE} or kinds != {ONE_RTT}:
        return Role.CONTROL
    return Role.CONTROL if size < LITTLE else Role.SEALED
