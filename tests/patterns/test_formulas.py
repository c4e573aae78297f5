"""What textbooks promise, held to the last digit: without jitter and loss, virtual time adds up exactly."""

from collections import defaultdict
from math import ceil, inf

import pytest

from engines.lab.facts import (
    ConnectionOpened,
    ConnectionOpening,
    Measured,
    MessageEnded,
    MessageStarted,
    PacketDelivered,
    PacketKind,
    PacketSent,
    PoolAssigned,
    PoolQueued,
    Role,
    TimedOut,
)
from engines.lab.knobs import Value
from engines.lab.links import HEADER_BYTES
from engines.lab.trace import Recorded, Trace
from engines.metrics import Numbers
from engines.patterns.registry import find_lesson, find_pattern
from engines.wire.http1 import Http1Dissector
from tests.patterns.laws import every
from tests.patterns.runs import at, run

PATTERN = find_pattern("request-response")
SIMPLE_GET = find_lesson(PATTERN, "simple-get")
UPLOAD = find_lesson(PATTERN, "upload")
LATENCIES_S = (0.0, 0.001, 0.04, 0.333)
SERVICES_S = (0.0, 0.05, 0.7)


def exactly(expected: float | list[float]) -> object:
    """Equal but for the last bits of a sum of floats."""
    return pytest.approx(expected, abs=1e-9, rel=0.0)


def get(until_s: float = 20.0, **knobs: Value) -> Trace:
    """A run of simple GETs; `service_time=0.1` sets the knob service-time."""
    return run(
        SIMPLE_GET, knobs={name.replace("_", "-"): value for name, value in knobs.items()}, until_s=until_s
    ).trace


def asked_and_answered(trace: Trace) -> list[tuple[float, float]]:
    """For each request of pool 1, in order: when it was wanted, and when the last byte of its response arrived."""
    wanted = [record.time_s for record, _ in every(trace, PoolQueued)]
    return list(zip(wanted, answers(trace), strict=False))


def answers(trace: Trace) -> list[float]:
    """When the last packet of each response arrived, in order."""
    delivered_at = {delivered.packet: record.time_s for record, delivered in every(trace, PacketDelivered)}
    responses = {record.id for record, message in every(trace, MessageStarted) if message.role is Role.RESPONSE}
    last_packets = [record.cause for record, ended in every(trace, MessageEnded) if ended.message in responses]
    return sorted(delivered_at[packet] for packet in last_packets if packet is not None and packet in delivered_at)


# --- one request --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("latency_s", LATENCIES_S)
@pytest.mark.parametrize("service_s", SERVICES_S)
def test_the_first_request_pays_for_the_connection_and_warm_ones_do_not(latency_s: float, service_s: float) -> None:
    first, *warm = asked_and_answered(get(latency=latency_s, service_time=service_s))
    round_trip_s = 2 * latency_s
    assert first[1] - first[0] == exactly(round_trip_s + round_trip_s + service_s)
    assert len(warm) > 5
    for asked_s, answered_s in warm:
        assert answered_s - asked_s == exactly(round_trip_s + service_s)


def test_without_keep_alive_every_request_is_a_first_one() -> None:
    trace = get(keep_alive=False, latency=0.1, service_time=0.2)
    times = asked_and_answered(trace)
    assert len(times) > 5
    for asked_s, answered_s in times:
        assert answered_s - asked_s == exactly(0.2 + 0.2 + 0.2)
    assert len(every(trace, ConnectionOpening)) == len(every(trace, PoolQueued))


def test_a_server_that_hangs_up_early_makes_every_request_a_first_one() -> None:
    trace = get(keep_alive_time=0.5, interval=2.0)
    assert len(every(trace, ConnectionOpening)) == len(every(trace, PoolQueued))
    kept = get(keep_alive_time=60.0, interval=2.0)
    assert len(every(kept, ConnectionOpening)) == 1


def test_bandwidth_is_paid_for_each_byte() -> None:
    """A response of one segment: head and body leave as two packets, each with its headers, one behind the other."""
    trace = get(latency=0.1, bandwidth=1000.0, service_time=0.0, interval=10.0)
    data = [packet for _, packet in every(trace, PacketSent) if packet.kind is PacketKind.DATA][:3]
    request, head, body = (len(packet.payload) + HEADER_BYTES for packet in data)
    signs = 2 * (HEADER_BYTES / 1000 + 0.1)
    expected = signs + (request / 1000 + 0.1) + (head + body) / 1000 + 0.1
    assert answers(trace)[0] == exactly(expected)


# --- a burst over a pool ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("burst", [1, 2, 5, 12, 13])
@pytest.mark.parametrize("pool", [1, 2, 4, 20])
def test_a_burst_goes_through_the_pool_in_rounds(burst: int, pool: int) -> None:
    latency_s, service_s = 0.03, 0.11
    trace = get(latency=latency_s, service_time=service_s, burst=burst, pool_size=pool, interval=60.0)
    round_s = 2 * latency_s + service_s
    done = answers(trace)
    assert len(done) == burst
    assert done[-1] == exactly(2 * latency_s + ceil(burst / pool) * round_s)
    for i, answered_s in enumerate(done):
        assert answered_s == exactly(2 * latency_s + (i // pool + 1) * round_s)
    assert len(every(trace, ConnectionOpened)) == 2 * min(burst, pool)  # either end says so


def test_a_pool_turned_larger_serves_those_who_wait_at_once() -> None:
    knobs: dict[str, Value] = {"latency": 0.1, "service-time": 1.0, "burst": 4, "pool-size": 1, "interval": 60.0}
    trace = run(SIMPLE_GET, [at(0.5, "set pool-size 4")], knobs=knobs).trace
    assert answers(trace) == exactly([1.4, 1.9, 1.9, 1.9])


# --- time limits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit_s", [0.05, 0.4999, 1.0, 2.5])
def test_the_pool_timeout_fires_at_its_time_and_never_earlier(limit_s: float) -> None:
    service_s, latency_s = 3.0, 0.1
    trace = get(service_time=service_s, latency=latency_s, burst=3, pool_size=1, pool_timeout=limit_s, interval=60.0)
    given_up = timeouts(trace, "pool")
    assert [record.time_s for record in given_up] == exactly([limit_s, limit_s])
    assert len(answers(trace)) == 1


def test_a_pool_timeout_longer_than_the_wait_never_fires() -> None:
    trace = get(service_time=0.5, latency=0.1, burst=3, pool_size=1, pool_timeout=1.6001, interval=60.0)
    assert timeouts(trace, "pool") == []
    assert len(answers(trace)) == 3


@pytest.mark.parametrize("limit_s", [0.05, 0.3, 1.0, 4.0])
def test_the_read_timeout_fires_at_its_time_and_never_earlier(limit_s: float) -> None:
    trace = get(service_time=10.0, latency=0.1, read_timeout=limit_s, interval=60.0)
    assert [record.time_s for record in timeouts(trace, "read")] == exactly([0.2 + limit_s])


def test_a_read_timeout_longer_than_the_silence_never_fires() -> None:
    trace = get(service_time=0.8, latency=0.1, read_timeout=1.0001)
    assert timeouts(trace, "read") == []
    assert timeouts(get(service_time=0.8, latency=0.1, read_timeout=0.9999), "read") != []


@pytest.mark.parametrize("limit_s", [0.05, 0.5, 3.0])
def test_the_connect_timeout_fires_at_its_time(limit_s: float) -> None:
    trace = run(SIMPLE_GET, [at(0.0, "unplug client")], knobs={"connect-timeout": limit_s, "interval": 60.0}).trace
    assert [record.time_s for record in timeouts(trace, "connect")] == exactly([limit_s])


def timeouts(trace: Trace, what: str) -> list[Recorded]:
    return [record for record, timed_out in every(trace, TimedOut) if timed_out.what == what]


# --- sizes --------------------------------------------------------------------------------------------------------------


def requests_in_bytes(trace: Trace) -> list[bytes]:
    """Every request as the bytes that left the client, from the trace alone."""
    streams: defaultdict[int, bytearray] = defaultdict(bytearray)
    for _, packet in every(trace, PacketSent):
        if packet.kind is PacketKind.DATA and packet.attempt == 1 and packet.sender == "client":
            streams[packet.flow] += packet.payload
    begun = {record.id: message for record, message in every(trace, MessageStarted) if message.sender == "client"}
    ends = [ended for _, ended in every(trace, MessageEnded) if ended.message in begun]
    return [bytes(streams[ended.flow][begun[ended.message].offset : ended.end]) for ended in ends]


def body_of(request: bytes) -> bytes:
    return request.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(("image", "piece"), [(200_000, 50_000), (123_457, 10_000), (1000, 1000)])
def test_a_chunk_costs_its_size_line_and_two_line_ends(image: int, piece: int) -> None:
    """RFC 9112, section 7.1: chunk-size in hexadecimal, CRLF, data, CRLF; the last is 0 CRLF CRLF."""
    knobs: dict[str, Value] = {"method": "chunked", "image-size": image, "piece-size": piece, "interrupted-at": 1.0}
    request = requests_in_bytes(run(UPLOAD, knobs=knobs).trace)[0]
    head, _, body = request.partition(b"\r\n\r\n")
    assert b"content-length" not in head.lower()
    sizes = [min(piece, image - start) for start in range(0, image, piece)]
    assert len(body) == sum(len(f"{size:x}") + 2 + size + 2 for size in sizes) + 5


def test_a_whole_body_is_as_long_as_announced() -> None:
    knobs: dict[str, Value] = {"method": "whole", "interrupted-at": 1.0, "image-size": 54_321}
    request = requests_in_bytes(run(UPLOAD, knobs=knobs).trace)[0]
    head, _, body = request.partition(b"\r\n\r\n")
    assert b"Content-Length: 54321" in head
    assert len(body) == 54_321


@pytest.mark.parametrize("method", ["whole", "chunked"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.7, 0.99])
def test_an_interruption_costs_all_that_had_been_sent(method: str, share: float) -> None:
    knobs: dict[str, Value] = {"method": method, "interrupted-at": share}
    trace = run(UPLOAD, knobs=knobs).trace
    wasted = [measured.amount for _, measured in every(trace, Measured) if measured.what == "wasted bytes"]
    # The program was stopped, not the network: what it had handed over still arrived, and is thrown away.
    assert set(wasted) == {round(share * 200_000)}
    first, second = requests_in_bytes(trace)[:2]
    if method == "whole":
        assert (len(body_of(first)), len(body_of(second))) == (round(share * 200_000), 200_000)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.7, 0.99])
def test_an_interruption_costs_a_resumable_upload_one_question(share: float) -> None:
    image, until_s = 200_000, 2.99  # the next upload begins later
    knobs: dict[str, Value] = {"method": "resumable", "interrupted-at": share, "bandwidth": inf}
    trace = run(UPLOAD, knobs=knobs, until_s=until_s).trace
    requests = requests_in_bytes(trace)
    assert sum(len(body_of(request)) for request in requests) == image
    assert [measured.what for _, measured in every(trace, Measured)] == ["resumes", "uploads"]
    methods = [request.split()[0] for request in requests]
    assert (methods.count(b"POST"), methods.count(b"HEAD")) == (1, 1)
    heads = sum(len(request) - len(body_of(request)) for request in requests)
    sent = Numbers(trace).value("bytes", until_s)
    assert sent is not None
    assert sent == image + heads + sum(
        len(packet.payload) for _, packet in every(trace, PacketSent) if packet.sender == "server"
    )


def test_the_port_is_read_as_http() -> None:
    """These formulas read messages; they would say nothing if nobody dissected the connections."""
    assert SIMPLE_GET.protocols == {80: Http1Dissector}
    assert every(get(), PoolAssigned)
