"""The numbers, each against a run small enough to count by hand."""

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.lab.facts import (
    ConnectionClosed,
    ConnectionReset,
    EventBorn,
    EventHandled,
    EventLost,
    HostCrashed,
    Measured,
    MessageEnded,
    MessageStarted,
    PacketDelivered,
    PacketDropped,
    PacketKind,
    PoolAssigned,
    PoolLeft,
    PoolQueued,
    Role,
    Text,
    TimedOut,
    WorkFinished,
    WorkStarted,
)
from engines.metrics import CATALOGUE, Numbers, UnknownMetric, find_metric
from engines.metrics.bodies import ChunkedBody, EndlessBody, SizedBody, body_after
from engines.metrics.series import Level, Samples, nearest_rank
from tests.synthetic import REQUEST, RESPONSE, Script

END = 100.0


def test_one_exchange() -> None:
    script = Script().begin()
    script.connect(0.0)
    done_s = script.exchange(1.0)
    numbers = Numbers(script.trace)
    assert numbers.value("requests", END) == 1
    assert numbers.value("responses", END) == 1
    assert numbers.value("bytes", END) == len(REQUEST) + len(RESPONSE)
    assert numbers.value("payload", END) == 5
    assert numbers.value("overhead", END) == pytest.approx(1 - 5 / (len(REQUEST) + len(RESPONSE)))
    assert numbers.value("delay", END) == pytest.approx(0.100)
    assert numbers.value("delay", done_s - 0.001) is None
    assert numbers.text("delay", END) == "100 ms"
    assert numbers.text("delay", 0.5) == "–"


def test_the_numbers_at_a_time_are_those_of_the_facts_until_then() -> None:
    script = Script().begin()
    script.connect(0.0)
    script.exchange(1.0)
    script.exchange(2.0, service_s=0.5)
    numbers = Numbers(script.trace)
    assert numbers.value("requests", END) == 2
    assert numbers.value("requests", 1.5) == 1
    assert numbers.value("requests", 0.999) == 0
    assert numbers.value("in-flight", 1.020) == 1
    assert numbers.value("in-flight", 1.050) == 0
    assert numbers.value("delay-max", 2.0) == pytest.approx(0.100)
    assert numbers.value("delay-max", END) == pytest.approx(0.580)


@given(st.integers(0, 10_000))
def test_every_number_anywhere_equals_reading_only_that_far(seed: int) -> None:
    script = Script().begin()
    script.connect(0.0)
    random, now = Random(seed), 0.0
    for _ in range(20):
        now = script.exchange(now + random.random(), service_s=random.random())
    scrubbing = Numbers(script.trace)
    for _ in range(6):
        moment = random.uniform(0, now)
        fresh = Numbers(script.trace)
        for name in CATALOGUE:
            assert scrubbing.value(name, moment) == fresh.value(name, moment), name


def test_a_message_behind_a_hole_has_not_arrived() -> None:
    script = Script().begin()
    script.connect(0.0)
    request = script.send(0.0, "client", REQUEST)
    asked = script.start(0.0, "client", Role.REQUEST, "GET /hello", 0, request)
    script.end(0.0, asked, len(REQUEST))
    script.arrive(0.1, request)
    head, tail = RESPONSE[:-5], RESPONSE[-5:]
    first = script.send(0.2, "server", head)
    answer = script.start(0.2, "server", Role.RESPONSE, "200 OK", 0, first)
    second = script.send(0.2, "server", tail)
    script.end(0.2, answer, len(RESPONSE))
    script.drop(0.25, first)
    script.arrive(0.3, second)
    numbers = Numbers(script.trace)
    assert numbers.value("responses", 0.3) == 0
    script.arrive(0.6, script.send_again(0.5, first))
    assert numbers.value("responses", END) == 1
    assert numbers.value("delay", END) == pytest.approx(0.6)
    assert numbers.value("lost", END) == 1
    assert numbers.value("retransmissions", END) == 1
    assert numbers.value("bytes", END) == len(REQUEST) + len(RESPONSE) + len(head)
    assert numbers.value("payload", END) == 5, "the body was sent once"


def test_the_delay_begins_with_the_first_byte_of_the_request() -> None:
    script = Script().begin()
    script.connect(0.0)
    script.arrive(0.2, script.send(0.1, "client", REQUEST[:1]))
    last = script.send(0.7, "client", REQUEST[1:])
    script.end(0.7, script.start(0.7, "client", Role.REQUEST, "GET /hello", 0, last), len(REQUEST))
    script.arrive(0.8, last)
    answer = script.send(0.8, "server", RESPONSE)
    script.end(0.8, script.start(0.8, "server", Role.RESPONSE, "200 OK", 0, answer), len(RESPONSE))
    script.arrive(0.9, answer)
    assert Numbers(script.trace).value("delay", END) == pytest.approx(0.8)


def test_pipelined_responses_belong_to_the_requests_in_order_and_an_interim_one_to_none() -> None:
    script = Script().begin()
    script.connect(0.0)
    packet = script.send(0.0, "client", REQUEST * 2)
    for k in range(2):
        asked = script.start(0.0, "client", Role.REQUEST, "GET /hello", k * len(REQUEST), packet)
        script.end(0.0, asked, (k + 1) * len(REQUEST))
    script.arrive(0.1, packet)
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    packet = script.send(0.2, "server", interim + RESPONSE)
    script.end(0.2, script.start(0.2, "server", Role.RESPONSE, "100 Continue", 0, packet), len(interim))
    first = script.start(0.2, "server", Role.RESPONSE, "200 OK", len(interim), packet)
    script.end(0.2, first, len(interim + RESPONSE))
    script.arrive(0.3, packet)
    numbers = Numbers(script.trace)
    assert numbers.value("responses", END) == 1
    assert numbers.value("delay-max", END) == pytest.approx(0.3)
    packet = script.send(0.9, "server", RESPONSE)
    second = script.start(0.9, "server", Role.RESPONSE, "200 OK", len(interim + RESPONSE), packet)
    script.end(0.9, second, len(interim + RESPONSE * 2))
    script.arrive(1.0, packet)
    assert numbers.value("delay-max", END) == pytest.approx(1.0)
    assert numbers.value("delay", END) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("status", "errors", "empty"), [("200 OK", 0, 0), ("404 Not Found", 1, 0), ("204 No Content", 0, 1)]
)
def test_errors_and_empty_replies_are_told_by_status(status: str, errors: int, empty: int) -> None:
    script = Script().begin()
    script.connect(0.0)
    script.exchange(0.0, response=b"HTTP/1.1 " + status.encode() + b"\r\ncontent-length: 0\r\n\r\n")
    numbers = Numbers(script.trace)
    assert (numbers.value("errors", END), numbers.value("empty", END)) == (errors, empty)


def test_a_message_that_lasts_until_the_close_is_whole_when_the_fin_arrives() -> None:
    script = Script().begin()
    script.connect(0.0)
    request = script.send(0.0, "client", REQUEST)
    script.end(0.0, script.start(0.0, "client", Role.REQUEST, "GET /hello", 0, request), len(REQUEST))
    script.arrive(0.1, request)
    data = b"HTTP/1.1 200 OK\r\n\r\nhello"
    packet = script.send(0.2, "server", data)
    answer = script.start(0.2, "server", Role.RESPONSE, "200 OK", 0, packet)
    script.arrive(0.3, packet)
    fin = script.send(0.5, "server", b"", kind=PacketKind.FIN)
    script.end(0.5, answer, len(data), "connection closed")
    numbers = Numbers(script.trace)
    assert numbers.value("delay", END) is None
    script.arrive(0.6, fin)
    assert numbers.value("delay", END) == pytest.approx(0.6)
    assert numbers.value("payload", END) == 5


def test_a_response_to_a_client_that_has_closed_is_no_response() -> None:
    script = Script().begin()
    script.connect(0.0)
    request = script.send(0.0, "client", REQUEST)
    script.end(0.0, script.start(0.0, "client", Role.REQUEST, "GET /hello", 0, request), len(REQUEST))
    script.arrive(0.1, request)
    script.trace.record(ConnectionClosed(1, "client"), 0.2)
    packet = script.send(0.3, "server", RESPONSE)
    script.end(0.3, script.start(0.3, "server", Role.RESPONSE, "200 OK", 0, packet), len(RESPONSE))
    script.arrive(0.4, packet)
    numbers = Numbers(script.trace)
    assert (numbers.value("responses", END), numbers.value("delay", END)) == (0, None)


def test_a_response_cut_short_has_no_delay() -> None:
    script = Script().begin()
    script.connect(0.0)
    request = script.send(0.0, "client", REQUEST)
    script.start(0.0, "client", Role.REQUEST, "GET /hello", 0, request)
    packet = script.send(0.2, "server", RESPONSE[:-2])
    answer = script.start(0.2, "server", Role.RESPONSE, "200 OK", 0, packet)
    script.arrive(0.3, packet)
    script.end(0.3, answer, len(RESPONSE) - 2, "cut short")
    numbers = Numbers(script.trace)
    assert (numbers.value("responses", END), numbers.value("delay", END)) == (1, None)


def test_the_answer_to_head_announces_a_body_but_has_none() -> None:
    script = Script().begin()
    script.connect(0.0)
    both = RESPONSE[:-5] + RESPONSE
    packet = script.send(0.2, "server", both)
    first = script.start(0.2, "server", Role.RESPONSE, "200 OK", 0, packet)
    script.end(0.2, first, len(RESPONSE) - 5, "no body")
    second = script.start(0.2, "server", Role.RESPONSE, "200 OK", len(RESPONSE) - 5, packet)
    script.end(0.2, second, len(both))
    assert Numbers(script.trace).value("payload", END) == 5


def test_connections_are_counted_as_their_client_sees_them() -> None:
    script = Script().begin()
    script.connect(1.0, flow=1)
    script.connect(2.0, flow=2)
    script.trace.record(ConnectionClosed(1, "server"), 3.0)
    script.trace.record(ConnectionClosed(1, "client"), 4.0)
    script.trace.record(ConnectionReset(2, "server", "reset"), 5.0)
    script.trace.record(ConnectionReset(2, "client", "reset"), 6.0)
    numbers = Numbers(script.trace)
    assert [numbers.value("open", t) for t in (0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5)] == [0, 1, 2, 2, 1, 1, 0]
    assert numbers.value("connections", END) == 2
    assert [numbers.value("resets", t) for t in (4.5, 5.5, 6.5)] == [0, 1, 1]


def test_waiting_for_a_pool() -> None:
    script = Script().begin()
    script.trace.record(PoolQueued(1, "client", 1, Text("GET /a")), 1.0)
    script.trace.record(PoolAssigned(1, "client", 1, 1, "opened"), 1.0)
    script.trace.record(PoolQueued(1, "client", 2, Text("GET /b")), 1.0)
    script.trace.record(PoolQueued(1, "client", 3, Text("GET /c")), 1.0)
    script.trace.record(PoolLeft(1, "client", 1, "returned"), 3.0)
    script.trace.record(PoolAssigned(1, "client", 2, 1, "reused"), 3.0)
    script.trace.record(PoolLeft(1, "client", 3, "timed out"), 6.0)
    numbers = Numbers(script.trace)
    assert [numbers.value("pool-queue", t) for t in (0.9, 1.0, 3.0, 6.0)] == [0, 2, 1, 0]
    assert numbers.value("pool-wait", END) == 0.0
    assert numbers.value("pool-wait-p95", END) == 2.0


def test_work_and_what_of_it_was_wasted() -> None:
    trace = Script().begin().trace
    works = [trace.record(WorkStarted("server", Text("resize")), float(k)) for k in range(4)]
    trace.record(WorkFinished(works[0], "server", Text("done")), 4.0)
    trace.record(WorkFinished(works[1], "server", Text("cancelled")), 5.0)
    trace.record(HostCrashed("server"), 7.0)
    trace.record(WorkFinished(works[2], "server", Text("cancelled")), 7.0)
    numbers = Numbers(trace)
    assert numbers.value("work-started", END) == 4
    assert numbers.value("work-finished", END) == 1
    assert numbers.value("work-cancelled", END) == 2
    assert numbers.value("wasted", 6.0) == 4.0
    assert numbers.value("wasted", END) == 4.0 + 5.0 + 4.0, "what ran when the host crashed is lost, once"


def test_what_only_programs_can_count() -> None:
    trace = Script().begin().trace
    trace.record(Measured("server", "wasted bytes", 40_000.0), 1.0)
    trace.record(Measured("client", "wasted bytes", 2_000.0), 2.0)
    trace.record(TimedOut("client", "read", 5.0), 3.0)
    numbers = Numbers(trace)
    assert numbers.measured(0.5) == []
    assert numbers.measured(END) == ["measured:wasted bytes"]
    assert numbers.text("measured:wasted bytes", END) == "42 kB"
    assert numbers.value("measured:duplicate charges", END) == 0
    assert numbers.value("timeouts", END) == 1


def test_throughput_is_what_was_delivered_over_time() -> None:
    script = Script().begin()
    script.arrive(1.0, script.send(0.5, "client", bytes(1000)))
    script.arrive(3.0, script.send(2.5, "client", bytes(500)))
    numbers = Numbers(script.trace)
    assert numbers.value("throughput", 0.0) is None
    assert numbers.value("throughput", 2.0) == 500
    assert numbers.value("throughput-now", 1.0) == 1000
    assert numbers.value("throughput-now", 2.0) == 0
    assert numbers.value("throughput-now", 3.5) == 500


def test_a_sparkline_adds_up_and_lies_on_a_grid() -> None:
    script = Script().begin()
    script.connect(0.0)
    for k in range(10):
        script.exchange(float(k))
    numbers = Numbers(script.trace)
    whole = numbers.series("requests", 9.5, buckets=10)
    assert whole == [2, 1, 1, 1, 1, 1, 1, 1, 1, 0], "time 0 belongs to the first stretch, an end to the stretch it ends"
    recent = numbers.series("requests", 9.5, buckets=5, window_s=5.0)
    assert recent == [1, 1, 1, 1, 0]
    early = numbers.series("requests", 0.5, buckets=4, window_s=4.0)
    assert early == [None, None, None, 1]
    before, after = numbers.series("requests", 8.2, 10), numbers.series("requests", 8.9, 10)
    assert before[:-1] == after[: len(before) - 1], "finished stretches do not change as time goes on"
    assert numbers.series("requests", 0.0) == [1]
    assert all(len(numbers.series("requests", t / 10, 24)) <= 24 for t in range(1, 100))


def test_a_gauge_shows_its_peaks_and_a_percentile_those_of_each_stretch() -> None:
    script = Script().begin()
    script.connect(0.0)
    script.exchange(0.1, service_s=0.1)
    script.exchange(2.1, service_s=0.3)
    numbers = Numbers(script.trace)
    assert numbers.series("in-flight", 4.0, 4, window_s=4.0) == [1, 0, 1, 0]
    delays = numbers.series("delay", 4.0, 4, window_s=4.0)
    assert [None if d is None else round(d, 3) for d in delays] == [0.18, None, 0.38, None]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50), st.floats(0.01, 1))
def test_a_percentile_is_the_smallest_value_that_covers_its_share(values: list[float], fraction: float) -> None:
    found = nearest_rank(sorted(values), fraction)
    assert found in values
    covered = sum(value <= found for value in values)
    smaller = sum(value < found for value in values)
    assert covered >= fraction * len(values) - 1e-6
    assert smaller < fraction * len(values) + 1e-6


def test_percentiles_by_the_book() -> None:
    twenty = [float(k) for k in range(1, 21)]
    assert [nearest_rank(twenty, f) for f in (0.05, 0.5, 0.95, 1.0)] == [1, 10, 19, 20]
    assert nearest_rank([float(k) for k in range(1, 101)], 0.07) == 7
    assert nearest_rank([], 0.5) is None


@given(st.lists(st.integers(0, 5), max_size=300), st.lists(st.integers(0, 300), max_size=20))
def test_quantiles_of_a_prefix_do_not_depend_on_what_was_asked_before(values: list[int], lengths: list[int]) -> None:
    samples = Samples()
    for fact_id, value in enumerate(values):
        samples.add(fact_id, value)
    for length in lengths:
        assert samples.quantile(0.5, length) == nearest_rank(sorted(map(float, values[:length])), 0.5)


@given(st.lists(st.integers(-3, 3), max_size=40), st.integers(0, 40), st.integers(0, 40))
def test_the_highest_of_a_level(steps: list[int], start: int, end: int) -> None:
    level = Level()
    for fact_id, step in enumerate(steps):
        level.add(fact_id, step)
    start, end = sorted((start, end))
    apart = [float(fact_id) for fact_id in range(len(steps))]
    assert level.highest(start, end, apart) == max(sum(steps[:k]) for k in range(start, end + 1))


def test_a_queue_that_lasts_no_time_is_no_queue() -> None:
    level = Level()
    for fact_id, step in enumerate((1, -1, 1, -1)):
        level.add(fact_id, step)
    assert level.highest(0, 4, [1.0, 1.0, 1.0, 1.0]) == 0
    assert level.highest(0, 4, [1.0, 1.0, 1.0, 1.5]) == 1


@given(st.binary(max_size=60), st.lists(st.integers(1, 7), max_size=12), st.integers(1, 5))
def test_chunk_framing_is_not_content_however_it_is_cut(content: bytes, sizes: list[int], piece: int) -> None:
    wire, rest = b"", content
    for size in sizes:
        if chunk := rest[:size]:
            wire += b"%x;note=1\r\n%s\r\n" % (len(chunk), chunk)
        rest = rest[size:]
    wire += b"0\r\n\r\nHTTP/1.1 200 OK\r\n"
    body = ChunkedBody()
    counted = sum(body.take(wire[at : at + piece]) for at in range(0, len(wire), piece))
    assert counted == len(content) - len(rest)


def test_the_head_says_what_body_follows() -> None:
    assert isinstance(body_after(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", False), ChunkedBody)
    assert isinstance(body_after(b"HTTP/1.1 200 OK\r\n\r\n", False), EndlessBody)
    assert body_after(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", False).take(b"hello") == 3
    assert isinstance(body_after(b"GET / HTTP/1.1\r\n\r\n", True), SizedBody)
    assert body_after(b"GET / HTTP/1.1\r\n\r\n", True).take(b"GET") == 0


def test_every_metric_has_words_and_a_unit_and_survives_an_empty_trace() -> None:
    numbers = Numbers(Script().trace)
    for name, metric in CATALOGUE.items():
        assert metric.name == name
        assert metric.title
        assert metric.help
        assert metric.unit in ("s", "B", "B/s", "%", "")
        assert numbers.value(name, 0.0) in (0, None)
        assert numbers.series(name, 1.0, 4, 4.0)[:3] == [None, None, None]


def test_a_wrong_name_gets_the_nearest_right_one() -> None:
    with pytest.raises(UnknownMetric, match=r"did you mean 'requests'\?"):
        find_metric("request")
    with pytest.raises(UnknownMetric):
        find_metric("measured:")


def test_times_stay_finite() -> None:
    script = Script().begin()
    script.connect(0.0)
    script.exchange(0.0)
    numbers = Numbers(script.trace)
    for name in CATALOGUE:
        value = numbers.value(name, END)
        assert value is None or math.isfinite(value)


def test_answers_in_datagrams_belong_to_the_questions_with_their_ids() -> None:
    script = Script().begin()
    script.connect(0.0, protocol="dns")

    def datagram(time_s: float, sender: str, role: Role, stream: int) -> int:
        packet = script.send(time_s, sender, b"?" * 30, kind=PacketKind.DATAGRAM)
        receiver = "server" if sender == "client" else "client"
        offset = script.sent[1, sender]
        message = MessageStarted(1, sender, receiver, role, offset - 30, stream, Text("A? api.example"))
        head = script.trace.record(message, time_s, packet)
        script.trace.record(MessageEnded(head, 1, offset, "datagram"), time_s, packet)
        return packet

    for time_s, stream in ((1.0, 7), (2.0, 8), (2.5, 9)):
        datagram(time_s, "client", Role.REQUEST, stream)
    for time_s, stream, arrives_s in ((3.0, 8, 3.5), (4.0, 7, 4.5), (5.0, 9, None)):
        packet = datagram(time_s, "server", Role.RESPONSE, stream)
        if arrives_s is not None:
            script.trace.record(PacketDelivered(packet, 1, "client"), arrives_s, packet)
        else:
            script.trace.record(PacketDropped(packet, 1, "loss", 0.5), 5.5, packet)
    numbers = Numbers(script.trace)
    assert numbers.value("requests", END) == 3
    assert numbers.value("responses", END) == 2
    assert numbers.value("delay", END) == pytest.approx(1.5)
    assert numbers.value("delay-max", END) == pytest.approx(3.5)


def test_the_mean_and_the_most_of_what_a_program_measures() -> None:
    script = Script().begin()
    for time_s, amount in ((1.0, 0.2), (2.0, 0.6), (3.0, 0.1)):
        script.trace.record(Measured("client", "delay seconds", amount), time_s)
    numbers = Numbers(script.trace)
    assert numbers.value("mean:delay seconds", END) == pytest.approx(0.3)
    assert numbers.value("max:delay seconds", END) == 0.6
    assert numbers.value("max:delay seconds", 1.0) == 0.2
    assert numbers.value("mean:delay seconds", 0.5) is None
    assert numbers.text("max:delay seconds", END) == "600 ms"
    assert find_metric("mean:delay seconds").title == "delay mean"
    assert find_metric("max:hops").title == "hops max"
    with pytest.raises(UnknownMetric):
        find_metric("mean:")


def test_a_byte_is_useful_when_somebody_has_heard_it_for_the_first_time() -> None:
    """Of three events one is lost, and one is heard twice by the same host and once by another."""
    script = Script().begin()
    script.connect(0.0)
    script.exchange(1.0)
    for event in (1, 2, 3):
        script.trace.record(EventBorn("server", event, 50), 5.0)
    script.trace.record(EventLost("server", 1, "nobody is connected"), 5.0)
    assert Numbers(script.trace).value("bytes-per-event-byte", END) is None
    for host, event in (("client", 2), ("client", 3), ("client", 3), ("other", 3)):
        script.trace.record(EventHandled(host, event), 6.0)
    numbers = Numbers(script.trace)
    sent = numbers.value("bytes", END)
    assert sent is not None
    assert numbers.value("bytes-per-event-byte", END) == pytest.approx(sent / (3 * 50))
