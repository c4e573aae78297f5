"""Server-sent events against their theory: who hears of what, when exactly, and what is lost."""

from itertools import pairwise
from math import ceil, inf

import pytest

from engines.lab.facts import EventBorn, EventHandled, EventLost, MessageStarted, Noted, PacketKind, PacketSent, Role
from engines.lab.knobs import Value
from engines.lab.trace import Trace
from engines.metrics import Numbers
from engines.patterns.sse import PATTERN
from engines.patterns.workload import Event
from engines.wire.sse_grammar import format_event
from tests.patterns.laws import every
from tests.patterns.runs import at, run

LATENCIES_S = (0.001, 0.04, 0.3)


def exactly(expected: object) -> object:
    """Equal but for the last bits of a sum of floats."""
    return pytest.approx(expected, abs=1e-9, rel=0.0)


def play(lesson: str, until_s: float = 30.0, *orders: tuple[float, str], **knobs: Value) -> Trace:
    commands = [at(time_s, text) for time_s, text in orders]
    named = {name.replace("_", "-"): value for name, value in knobs.items()}
    return run(PATTERN.lesson(lesson), commands, knobs=named, until_s=until_s).trace


def number(trace: Trace, name: str, time_s: float) -> float:
    value = Numbers(trace).value(name, time_s)
    assert value is not None
    return value


def born(trace: Trace) -> dict[int, float]:
    return {fact.event: record.time_s for record, fact in every(trace, EventBorn)}


def heard(trace: Trace) -> dict[int, float]:
    return {fact.event: record.time_s for record, fact in every(trace, EventHandled)}


def lost(trace: Trace) -> list[int]:
    return [fact.event for _, fact in every(trace, EventLost)]


# --- a live feed --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("latency_s", LATENCIES_S)
@pytest.mark.parametrize("arrivals", ["fixed", "poisson", "burst"])
def test_an_event_is_heard_one_trip_after_it_happened(latency_s: float, arrivals: str) -> None:
    """Polling every P seconds is P/2 + a round trip late on average (with answers at once); this is one trip, always."""
    trace = play("live-feed", latency=latency_s, arrivals=arrivals, event_rate=2.0)
    open_s, happened, arrived = 3 * latency_s, born(trace), heard(trace)
    assert len(arrived) > 20
    for event, heard_s in arrived.items():
        assert heard_s == exactly(max(happened[event], open_s) + latency_s)
    assert set(happened) - set(arrived) <= {event for event, when in happened.items() if when > 30 - latency_s - 1e-9}
    assert number(trace, "requests", 30.0) == 1


def test_an_event_costs_its_bytes_and_the_frame_of_a_chunk() -> None:
    trace = play("live-feed", arrivals="fixed", event_rate=1.0, event_size=100)
    packets = [p.payload for _, p in every(trace, PacketSent) if p.kind is PacketKind.DATA and p.sender == "server"]
    for event, packet in enumerate(packets[1:], start=1):
        data = Event(event, "").to_json()
        written = len(f"id: {event}\ndata: \n\n") + 100
        assert len(packet) == len(f"{written:x}\r\n\r\n") + written
        assert data[:-2].encode() in packet


def test_each_event_is_a_message_inside_the_one_response() -> None:
    trace = play("live-feed", arrivals="fixed")
    roles = [message.role for _, message in every(trace, MessageStarted)]
    assert roles[:2] == [Role.REQUEST, Role.RESPONSE]
    assert set(roles[2:]) == {Role.PUSH}
    assert len(roles) - 2 == len(born(trace))


def test_silence_is_broken_by_a_comment_every_heartbeat() -> None:
    trace = play("live-feed", 100.0, event_rate=0.01, arrivals="fixed", heartbeat=15.0)
    beats = [record.time_s for record, message in every(trace, MessageStarted) if message.role is Role.HEARTBEAT]
    assert beats == exactly([0.3 + 15 * n for n in range(1, 7)])


def test_a_broken_stream_costs_the_reconnection_time_and_nothing_else() -> None:
    trace = play("live-feed", 30.0, (4.0, "lose next push"), arrivals="fixed", event_rate=1.0)
    assert sorted(heard(trace)) == list(range(1, 30))
    assert number(trace, "events-duplicated", 30.0) == 0
    assert number(trace, "requests", 30.0) == 2
    requests = [record.time_s for record, message in every(trace, MessageStarted) if message.role is Role.REQUEST]
    # Half-way to the client, the reset; then the pause; then a new connection.
    assert requests[1] == exactly(4.0 + 0.05 + 3.0 + 0.2)


# --- drop and resume ----------------------------------------------------------------------------------------------------

DROPS = [(0.15, 6.0, 3.0), (0.04, 2.3, 0.77), (0.301, 5.17, 1.13), (0.1, 3.05, 0.0)]


def streams(latency_s: float, lasts_s: float, retry_s: float) -> list[tuple[float, float]]:
    """When the server has the client on a stream: the end takes a trip, then comes the pause, the question another trip."""
    begin, found = 3 * latency_s, []
    while begin < 40:
        found.append((begin, begin + lasts_s))
        begin += lasts_s + latency_s + retry_s + latency_s
    return found


@pytest.mark.parametrize(("latency_s", "lasts_s", "retry_s"), DROPS)
def test_with_ids_what_happens_in_the_gap_comes_with_the_next_stream(
    latency_s: float, lasts_s: float, retry_s: float
) -> None:
    trace = play("drop-and-resume", latency=latency_s, lasts=lasts_s, retry=retry_s, arrivals="fixed", event_rate=4.1)
    arrived = heard(trace)
    assert len(arrived) > 90
    spans = streams(latency_s, lasts_s, retry_s)
    for event, happened_s in born(trace).items():
        begin = next(begin for begin, end in spans if happened_s < end)
        expected_s = max(happened_s, begin) + latency_s
        if expected_s < 30:
            assert arrived[event] == exactly(expected_s)
    assert lost(trace) == []
    assert number(trace, "events-duplicated", 30.0) == 0


@pytest.mark.parametrize(("latency_s", "lasts_s", "retry_s"), DROPS)
def test_without_ids_it_is_lost_every_time(latency_s: float, lasts_s: float, retry_s: float) -> None:
    trace = play(
        "drop-and-resume",
        resume="no ids",
        latency=latency_s,
        lasts=lasts_s,
        retry=retry_s,
        arrivals="fixed",
        event_rate=4.1,
    )
    spans = streams(latency_s, lasts_s, retry_s)
    expected = [e for e, when in born(trace).items() if not any(begin <= when < end for begin, end in spans)]
    assert lost(trace) == expected
    assert expected or retry_s == 0
    assert set(heard(trace)) & set(expected) == set()


def test_ids_help_as_far_back_as_the_history_goes() -> None:
    """A gap of 3.3 s at 3.9 events a second, of which the last five are kept."""
    trace = play("drop-and-resume", 15.0, history=5, arrivals="fixed", event_rate=3.9)
    in_gap = [event for event, when in born(trace).items() if 6.45 <= when < 9.75]
    assert lost(trace) == in_gap[:-5]


# --- the end for good ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "why"), [("204", "status 204"), ("503", "status 503"), ("html", "content type text/html")]
)
def test_any_other_answer_ends_it_for_good_and_one_request_is_all_it_costs(answer: str, why: str) -> None:
    trace = play("end-for-good", 12.0, afterwards=answer)
    asked = [message.label for _, message in every(trace, MessageStarted) if message.role is Role.REQUEST]
    assert asked == ["GET /matches/1"] * 2 + ["GET /matches/2"]
    assert f"closed for good: {why}" in [note.text for _, note in every(trace, Noted)]


def test_an_empty_stream_is_asked_for_again_and_again() -> None:
    trace = play("end-for-good", 60.0, afterwards="200", latency=0.2, goals=3)
    asked = [record.time_s for record, message in every(trace, MessageStarted) if message.role is Role.REQUEST]
    assert asked[:2] == exactly([0.4, 0.6 + 4.0 + 0.2 + 3.0])
    assert [later - earlier for earlier, later in pairwise(asked[1:])] == exactly([3.0 + 2 * 0.2] * (len(asked) - 2))
    assert len(asked) == 17


# --- a slow client ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["drop oldest", "drop newest"])
def test_what_comes_in_faster_than_it_goes_out_is_lost_at_the_difference(policy: str) -> None:
    """Ten a second come, five are taken: of those from second 10 to 30, half are lost."""
    trace = play("slow-client", when_full=policy)
    lost_s = [record.time_s for record, _ in every(trace, EventLost)]
    between = sum(10 <= when < 30 for when in lost_s)
    assert between == pytest.approx((10 - 5) * 20, abs=9)  # what TCP lets go at a time, 64 kB, is eight events
    handled_s = list(heard(trace).values())
    assert [later - earlier for earlier, later in pairwise(handled_s)] == exactly([0.2] * (len(handled_s) - 1))


def test_a_buffer_that_grows_makes_everything_later_by_the_same_step() -> None:
    """Each event waits longer than the one before by what handling takes beyond the time between two events."""
    trace = play("slow-client", when_full="grow", arrivals="fixed")
    happened, arrived = born(trace), heard(trace)
    delays = [arrived[event] - happened[event] for event in arrived]
    assert [later - earlier for earlier, later in pairwise(delays)] == exactly([0.2 - 0.1] * (len(delays) - 1))


def test_a_client_that_keeps_up_loses_nothing() -> None:
    trace = play("slow-client", handling=0.05)
    assert [event for event in lost(trace) if event > 3] == []
    assert number(trace, "event-delay-max", 30.0) == exactly(0.1 + 0.05 + 0.0)


# --- a proxy that buffers -----------------------------------------------------------------------------------------------


def sent_bytes(event: int, size: int) -> int:
    return len(format_event("x" * size, id=event))


@pytest.mark.parametrize(
    ("buffer", "size", "rate"), [(4096, 400, 2.0), (4096, 100, 7.0), (8192, 1000, 3.0), (300, 400, 2.0)]
)
def test_an_event_waits_until_its_last_byte_s_buffer_is_full(buffer: int, size: int, rate: float) -> None:
    trace = play(
        "buffering-proxy",
        proxy_buffer=buffer,
        event_size=size,
        event_rate=rate,
        arrivals="fixed",
        latency=0.1,
        heartbeat=inf,
    )
    happened, arrived = born(trace), heard(trace)
    ends, total = {}, 0
    for event in happened:
        total += sent_bytes(event, size)
        ends[event] = total
    assert len(arrived) > 20
    for event, heard_s in arrived.items():
        full_at = ceil(ends[event] / buffer) * buffer
        filler = next(other for other, end in ends.items() if end >= full_at)
        assert heard_s == exactly(max(happened[filler], 0.6) + 2 * 0.1)


def test_x_accel_buffering_no_leaves_two_trips() -> None:
    trace = play("buffering-proxy", x_accel=True, arrivals="fixed")
    happened = born(trace)
    for event, heard_s in heard(trace).items():
        assert heard_s == exactly(max(happened[event], 0.6) + 0.2)


def test_a_proxy_that_flushes_delays_by_no_more_than_that() -> None:
    trace = play("buffering-proxy", flush_after=0.7, arrivals="poisson")
    happened = born(trace)
    delays = [heard_s - max(happened[event], 0.6) for event, heard_s in heard(trace).items()]
    assert max(delays) == exactly(0.2 + 0.7)


def test_silence_beyond_the_proxy_s_patience_breaks_the_stream_and_heartbeats_prevent_it() -> None:
    silent = {"event_rate": 0.05, "x_accel": True, "proxy_timeout": 5.0}
    assert number(play("buffering-proxy", heartbeat=inf, **silent), "timeouts", 30.0) > 1
    assert number(play("buffering-proxy", heartbeat=4.0, **silent), "timeouts", 30.0) == 0


# --- six connections ----------------------------------------------------------------------------------------------------


def clicks_done(trace: Trace) -> list[float]:
    return [record.time_s for record, note in every(trace, Noted) if note.text.startswith("the click took")]


@pytest.mark.parametrize("tabs", [1, 3, 5])
def test_up_to_five_tabs_leave_a_connection_for_everything_else(tabs: int) -> None:
    trace = play("six-connections", tabs=tabs, latency=0.1, clicks=2.0)
    waits = [later - 2.0 * n for n, later in enumerate(clicks_done(trace), start=1)]
    assert len(waits) == 14
    assert {round(wait_s, 9) for wait_s in waits} <= {0.2, 0.4}  # a warm connection, or a new one


@pytest.mark.parametrize("tabs", [6, 7, 8])
def test_from_the_sixth_on_nothing_gets_through(tabs: int) -> None:
    trace = play("six-connections", tabs=tabs, latency=0.1, clicks=2.0)
    assert clicks_done(trace)[-1] < 5
    clicked = number(trace, "measured:clicks", 30.0)
    assert number(trace, "pool-queue", 30.0) == clicked - len(clicks_done(trace)) + (tabs - 6)
    live = [note.text for _, note in every(trace, Noted) if note.text.endswith("is live")]
    assert live == [f"tab {n} is live" for n in range(1, 7)]


def test_closing_a_tab_lets_the_others_through() -> None:
    trace = play("six-connections", 30.0, (15.0, "set tabs 5"))
    assert number(trace, "pool-queue", 29.9) == 0
    assert number(trace, "measured:likes", 29.9) == number(trace, "measured:clicks", 29.9)


def test_over_http2_one_connection_carries_them_all() -> None:
    trace = play("six-connections", http="http/2", tabs=8, latency=0.1, clicks=2.0)
    assert number(trace, "connections", 30.0) == 1
    assert [later - 2.0 * n for n, later in enumerate(clicks_done(trace), start=1)] == exactly([0.2] * 14)


def test_over_http2_events_are_messages_of_their_streams() -> None:
    trace = play("six-connections", http="http/2", tabs=3, arrivals="fixed", event_rate=1.0)
    pushes = [message.stream for _, message in every(trace, MessageStarted) if message.role is Role.PUSH]
    assert len(set(pushes)) == 3
    assert all(stream % 2 for stream in pushes)


def test_a_buffer_of_no_size_passes_on_what_the_network_takes() -> None:
    trace = play("slow-client", buffer=0, handling=0.05)
    assert [event for event in lost(trace) if event > 3] == []
