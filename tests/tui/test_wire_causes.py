"""A row without bytes shows the message that led to it."""

from engines.lab.facts import (
    ConnectionOpening,
    MessageStarted,
    PacketDelivered,
    PacketKind,
    PacketSent,
    Role,
    Text,
    WorkStarted,
)
from engines.lab.trace import Trace
from tui.index import TraceIndex
from tui.wire import bytes_behind, bytes_that_led_to


def test_work_was_done_because_of_a_request() -> None:
    trace = Trace()
    trace.record(ConnectionOpening(1, "client", "server", 80, "http/1.1"), 0.0)
    syn = trace.record(PacketSent(1, "client", "server", PacketKind.SYN, 0, 1, 0.1, b""), 0.0)
    sent = trace.record(PacketSent(1, "client", "server", PacketKind.DATA, 0, 1, 0.2, b"GET /"), 0.1, syn)
    message = trace.record(MessageStarted(1, "client", "server", Role.REQUEST, 0, 0, Text("GET /")), 0.1, sent)
    arrived = trace.record(PacketDelivered(sent, 1, "server"), 0.2, sent)
    work = trace.record(WorkStarted("server", Text("think")), 0.2, arrived)
    index = TraceIndex(trace)
    index.consume()
    assert bytes_behind(index, work, 1.0, packets=False) is None
    assert bytes_that_led_to(index, work, 1.0) == message
    assert bytes_that_led_to(index, syn, 1.0) is None
