"""Trace context: who caused which request, in a header that travels along (W3C Trace Context, section 3.2, `traceparent`).

    00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
    version, trace id (the same for all that follows from one request), parent id (one for each hop), flags (01: sampled)

A proxy can begin a trace and give each hop its own id. What it cannot do is connect what a service is asked with what
that service asks in turn: the service itself must copy the header. It is the one thing that a sidecar needs of it.
"""

import random
import re
from dataclasses import dataclass

HEADER = b"traceparent"
_FORM = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class TraceParent:
    """One hop of a trace."""

    trace: str
    parent: str
    flags: str = "01"

    def __str__(self) -> str:
        return f"00-{self.trace}-{self.parent}-{self.flags}"


def next_hop(header: str, luck: random.Random) -> TraceParent:
    """The trace goes on with a parent id of its own; a new trace begins where `header` is none that can be read."""
    match = _FORM.fullmatch(header.strip())
    parent = f"{_not_zero(luck, 64):016x}"
    if match is None or not int(match[1], 16) or not int(match[2], 16):
        return TraceParent(f"{_not_zero(luck, 128):032x}", parent)
    return TraceParent(match[1], parent, match[3])


def _not_zero(luck: random.Random, bits: int) -> int:
    """All zeros are forbidden (sections 3.2.2.3 and 3.2.2.4)."""
    return luck.getrandbits(bits) or 1
