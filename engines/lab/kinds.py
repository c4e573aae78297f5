"""The words that facts choose from: what a packet is for, what a message is to people, why somebody stands still."""

from enum import IntEnum


class PacketKind(IntEnum):
    """What a packet is for. All but DATAGRAM are TCP segments (RFC 9293, section 3.1: the control bits)."""

    SYN = 0
    SYN_ACK = 1
    DATA = 2
    FIN = 3
    RST = 4
    DATAGRAM = 5


class Role(IntEnum):
    """What a dissected message is to the people who exchange it; a picture may give each its own colour, glyph and word."""

    REQUEST = 0
    RESPONSE = 1
    PUSH = 2
    ACK = 3
    ERROR = 4
    HEARTBEAT = 5
    CONTROL = 6
    SEALED = 7  # encrypted: what it is, only the two who exchange it know


class WaitKind(IntEnum):
    """Why a party is standing still."""

    HELD = 0  # the server keeps a request open until there is something to say
    POOL = 1  # no connection is free
    BLOCKED = 2  # the caller cannot do anything else meanwhile
    TIMER = 3  # a pause of its own choice: an interval, a back-off
