"""Encrypted connections: TLS and QUIC draw their keys where no seed reaches, so two runs agree in the lengths of what they seal,
and in everything else.

A dissector that reads an encrypted protocol says `sealed = True`, and the connection's ConnectionOpening passes it on. Whoever
compares two traces takes the bytes of such connections as so many zeros.
"""

from engines.lab.facts import ConnectionOpening, PacketSent
from engines.lab.trace import CODECS, Trace

_FLAG = CODECS[ConnectionOpening.code].column_of["sealed"]


class Comparable:
    """The payloads of a trace's facts as they are compared. Ask in their order: it learns of connections on the way."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._flags = (trace.a, trace.b, trace.c, trace.d, trace.e, trace.f)[_FLAG]
        self._sealed: set[int] = set()

    def payload(self, fact_id: int) -> bytes:
        """What that fact carries; for a packet of an encrypted connection, zeros of the same length."""
        trace = self._trace
        kind = trace.kind[fact_id]
        if kind == ConnectionOpening.code and self._flags[fact_id]:
            self._sealed.add(trace.a[fact_id])
        if self._sealed and kind == PacketSent.code and trace.a[fact_id] in self._sealed:
            return bytes(trace.payload_size[fact_id])
        return trace.payload(fact_id)
