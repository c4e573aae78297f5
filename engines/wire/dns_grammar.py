"""Where each thing in a DNS message stands (RFC 1035, section 4): a header of 12 octets, questions, and resource records.

A view for people, not a resolver: it reads what is there as far as it can be read, and never goes beyond.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import dns.exception
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype

HEADER_SIZE = 12
"""Section 4.1.1: the id, the flags and four counts, two octets each."""
COUNTS = ("questions", "answers", "authority records", "additional records")
FLAGS = (("AA", 0x0400), ("TC", 0x0200), ("RD", 0x0100), ("RA", 0x0080))
"""Authoritative answer, truncation, recursion desired, recursion available."""
RESPONSE = 0x8000
MOST_POINTERS = 128
"""A name has at most 128 labels; whatever jumps more often goes round in circles."""


class MalformedError(ValueError):
    """These octets are no DNS message; says why in a few words."""


@dataclass(frozen=True, slots=True)
class Header:
    """Section 4.1.1. `id` is what an answer is told by."""

    id: int
    flags: int
    counts: tuple[int, int, int, int]

    @property
    def is_response(self) -> bool:
        return bool(self.flags & RESPONSE)

    @property
    def rcode(self) -> str:
        return dns.rcode.to_text(dns.rcode.Rcode.make(self.flags & 0x000F))

    @property
    def opcode(self) -> str:
        return dns.opcode.to_text(dns.opcode.Opcode.make(self.flags >> 11 & 0x0F))

    @property
    def flag_names(self) -> list[str]:
        return [name for name, bit in FLAGS if self.flags & bit]


@dataclass(frozen=True, slots=True)
class Name:
    """A domain name in a message, at octets `start` to `end`; `pointer` is where its rest is, if that was said before."""

    start: int
    end: int
    text: str
    pointer: int | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A question, or a resource record of section `section` (an index into COUNTS); a question has no data.

    `data` is where its data begins; `end` is where it ends, and may lie behind the end of the message.
    """

    section: int
    name: Name
    kind: str
    rdclass: str
    ttl_s: int
    data: int
    end: int
    content: str


def header_at(message: bytes) -> Header:
    """The header at the start of `message`. Raises MalformedError when it is not all there."""
    if len(message) < HEADER_SIZE:
        raise MalformedError("shorter than a header")
    numbers = [int.from_bytes(message[i : i + 2], "big") for i in range(0, HEADER_SIZE, 2)]
    return Header(numbers[0], numbers[1], (numbers[2], numbers[3], numbers[4], numbers[5]))


def entries_of(message: bytes) -> Iterator[Entry]:
    """The questions and records of `message` in order. Raises MalformedError at the first that cannot be read."""
    position = HEADER_SIZE
    for section, count in enumerate(header_at(message).counts):
        for _ in range(count):
            entry = _entry_at(message, position, section)
            yield entry
            position = entry.end


def _entry_at(message: bytes, start: int, section: int) -> Entry:
    name = name_at(message, start)
    fixed = 4 if section == 0 else 10
    if name.end + fixed > len(message):
        raise MalformedError(f"{COUNTS[section]} announced and not there")
    kind = dns.rdatatype.RdataType.make(int.from_bytes(message[name.end : name.end + 2], "big"))
    rdclass = dns.rdataclass.RdataClass.make(int.from_bytes(message[name.end + 2 : name.end + 4], "big"))
    words = dns.rdatatype.to_text(kind), dns.rdataclass.to_text(rdclass)
    if section == 0:
        return Entry(0, name, *words, 0, name.end + 4, name.end + 4, "")
    ttl_s = int.from_bytes(message[name.end + 4 : name.end + 8], "big")
    size = int.from_bytes(message[name.end + 8 : name.end + 10], "big")
    data = name.end + 10
    if data + size > len(message):
        raise MalformedError("data that runs past the end")
    return Entry(section, name, *words, ttl_s, data, data + size, _content(message, rdclass, kind, data, size))


def _content(
    message: bytes, rdclass: dns.rdataclass.RdataClass, kind: dns.rdatatype.RdataType, data: int, size: int
) -> str:
    """What a record says, as a zone file would: an address, a name."""
    try:
        text = dns.rdata.from_wire(rdclass, kind, message, data, size).to_text()
    except (dns.exception.DNSException, ValueError):
        return f"{size} bytes"
    return printable(text)


def name_at(message: bytes, start: int) -> Name:
    """The name at `start`: labels, each behind its length, up to the empty one or to a pointer (sections 3.1, 4.1.4)."""
    labels: list[str] = []
    position, end, pointer = start, 0, None
    for _ in range(2 * MOST_POINTERS):
        if position >= len(message):
            raise MalformedError("a name that runs past the end")
        length = message[position]
        if length >= 0xC0:
            if position + 2 > len(message):
                raise MalformedError("half a pointer")
            target = int.from_bytes(message[position : position + 2], "big") & 0x3FFF
            if not end:
                end, pointer = position + 2, target
            position = target
        elif length > 63:
            raise MalformedError("a label of a kind that does not exist")
        elif not length:
            return Name(start, end or position + 1, ".".join(labels) or ".", pointer)
        else:
            label = message[position + 1 : position + 1 + length]
            labels.append(printable(label.decode("ascii", "replace")))
            position += 1 + length
    raise MalformedError("a name that never ends")


def printable(text: str) -> str:
    """`text`, fit for one line of a screen."""
    return "".join(char if char.isprintable() else "?" for char in text)
