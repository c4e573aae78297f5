"""Encrypted connections count by their lengths when traces are compared, and by nothing else."""

import pytest

from engines.lab.facts import ConnectionOpening, PacketKind, PacketSent
from engines.lab.sealed import Comparable
from engines.lab.trace import Trace
from engines.lab.trace_file import trace_digest
from tests.patterns.runs import fingerprint


def trace_of(payload: bytes, *, sealed: bool, other: bytes = b"plain") -> Trace:
    """One packet on a connection that may be encrypted, and one on a connection that is not."""
    trace = Trace()
    for flow, hidden, data in ((1, sealed, payload), (2, False, other)):
        trace.record(ConnectionOpening(flow, "a", "b", 443, "tls", hidden), 0.0)
        trace.record(PacketSent(flow, "a", "b", PacketKind.DATA, 0, 1, 0.1, data), 0.0)
    return trace


@pytest.mark.parametrize("summary", [trace_digest, fingerprint])
def test_ciphertext_counts_by_its_length(summary: object) -> None:
    assert callable(summary)
    base = summary(trace_of(b"abc", sealed=True))
    assert summary(trace_of(b"xyz", sealed=True)) == base
    assert summary(trace_of(b"abcd", sealed=True)) != base
    assert summary(trace_of(b"abc", sealed=True, other=b"PLAIN")) != base
    assert summary(trace_of(b"abc", sealed=False)) != summary(trace_of(b"xyz", sealed=False))


def test_the_bytes_themselves_stay_in_the_trace() -> None:
    trace = trace_of(b"abc", sealed=True)
    comparable = Comparable(trace)
    assert [comparable.payload(i) for i in (0, 1, 3)] == [b"", bytes(3), b"plain"]
    assert trace.payload(1) == b"abc"
