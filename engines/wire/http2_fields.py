"""Header blocks of HTTP/2 read field by field: HPACK (RFC 7541) with each representation's own bytes.

The decoding is that of `hpack`; ours is only to see where one representation ends and the next begins, and what kind it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from hpack import Decoder
from hpack.exceptions import HPACKError

from engines.wire.http1_grammar import readable


@dataclass(frozen=True, slots=True)
class Field:
    """One representation in a header block: its size in bytes, the field it stands for (none for a change of the table's size),
    and how it is said."""

    size: int
    name: bytes
    value: bytes
    how: str

    def __str__(self) -> str:
        return f"{readable(self.name)}: {readable(self.value)}" if self.name else "a new size of the dynamic table"


class UnreadableError(ValueError):
    """The block breaks HPACK's rules; from here on no block of this direction can be read (RFC 7541, section 2.2)."""


class FieldReader:
    """The decoding context of one direction. It believes the sender: as an observer it does not know the limits agreed upon."""

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=1 << 24)
        self._decoder.max_allowed_table_size = 1 << 24
        self.broken = False

    def read(self, block: bytes) -> Iterator[Field]:
        """The representations in a complete block, in order. Raises UnreadableError where it cannot go on."""
        position = 0
        while position < len(block):
            if self.broken:
                raise UnreadableError("the HPACK context is lost")
            try:
                end = _end_of_representation(block, position)
                found = list(self._decoder.decode(block[position:end], raw=True))
            except (HPACKError, IndexError, ValueError) as error:
                self.broken = True
                raise UnreadableError(f"no HPACK: {readable(str(error).encode())}") from error
            name, value = found[0][:2] if found else (b"", b"")
            yield Field(end - position, bytes(name), bytes(value), _how(block[position]))
            position = end


def _how(first: int) -> str:
    """What kind of representation begins with this byte (section 6)."""
    if first & 0x80:
        index = first & 0x7F
        return "from the static table" if index < 62 else "from the dynamic table"
    if first & 0x40:
        return "literal, remembered in the dynamic table"
    if first & 0x20:
        return "size of the dynamic table"
    return "literal, never to be remembered" if first & 0x10 else "literal, not remembered"


def _end_of_representation(block: bytes, position: int) -> int:
    """Where the representation at `position` ends. Raises IndexError when the block ends first."""
    first = block[position]
    if first & 0x80:
        return _integer(block, position, 7)[1]
    if first & 0xE0 == 0x20:
        return _integer(block, position, 5)[1]
    name_index, position = _integer(block, position, 6 if first & 0x40 else 4)
    for _ in range(1 if name_index else 2):  # the name, unless the table has it, and the value
        size, position = _integer(block, position, 7)
        position += size
    if position > len(block):
        raise IndexError("a string goes beyond the block")
    return position


def _integer(block: bytes, position: int, prefix_bits: int) -> tuple[int, int]:
    """RFC 7541, section 5.1: an integer and where it ends."""
    most = (1 << prefix_bits) - 1
    value = block[position] & most
    position += 1
    if value < most:
        return value, position
    shift = 0
    while True:
        byte = block[position]
        position += 1
        value += (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, position
        if shift > 28:
            raise ValueError("an integer without end")
