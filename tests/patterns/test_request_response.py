"""What each lesson of request/response is there to show: the point of it, as a number."""

from collections.abc import Sequence
from hashlib import sha256

import pytest

from engines.lab.commands import TimedCommand
from engines.lab.determinism import stream_of_randomness
from engines.lab.facts import (
    ConnectionOpening,
    Measured,
    MessageEnded,
    MessageStarted,
    Noted,
    PacketKind,
    PacketSent,
    PoolQueued,
    Role,
    WorkFinished,
    WorkStarted,
)
from engines.lab.knobs import Value
from engines.lab.trace import Trace
from engines.patterns.registry import find_lesson, find_pattern
from tests.patterns.laws import every
from tests.patterns.runs import at, run


def play(name: str, commands: Sequence[TimedCommand] = (), until_s: float | None = None, **knobs: Value) -> Trace:
    """A run of a lesson; `read_timeout=2.0` sets the knob read-timeout."""
    lesson = find_lesson(find_pattern("request-response"), name)
    values = {knob.replace("_", "-"): value for knob, value in knobs.items()}
    return run(lesson, commands, knobs=values, until_s=until_s).trace


def measured(trace: Trace, what: str) -> float:
    return sum(fact.amount for _, fact in every(trace, Measured) if fact.what == what)


def notes(trace: Trace, host: str) -> list[str]:
    return [fact.text for _, fact in every(trace, Noted) if fact.host == host]


# --- simple GET ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service_s", [0.0, 0.3])
def test_two_requests_in_one_segment_are_two_requests(service_s: float) -> None:
    trace = play("simple-get", sending="two in one segment", service_time=service_s)
    requests = [message for _, message in every(trace, MessageStarted) if message.role is Role.REQUEST]
    connections = every(trace, ConnectionOpening)
    assert len(requests) == 2 * len(connections) > 10
    segments = [packet for _, packet in every(trace, PacketSent) if packet.payload and packet.sender == "client"]
    assert len(segments) == len(connections)
    used = [work for _, work in every(trace, WorkStarted) if work.host == "client"]
    assert len(used) >= len(requests) - 2


def test_a_request_cut_into_bytes_is_one_request() -> None:
    trace = play("simple-get", sending="one byte at a time", until_s=2.5)
    slices = [packet for _, packet in every(trace, PacketSent) if packet.payload and packet.flow == 1]
    assert [len(packet.payload) for packet in slices if packet.sender == "client"] == [1] * 37
    assert len([work for _, work in every(trace, WorkStarted) if work.host == "server"]) == 1


def test_the_answer_is_the_same_however_the_request_was_cut() -> None:
    def first_answer(sending: str) -> bytes:
        packets = [packet for _, packet in every(play("simple-get", sending=sending), PacketSent)]
        ours = [p for p in packets if p.flow == 1 and p.sender == "server" and p.kind is PacketKind.DATA]
        return ours[0].payload + ours[1].payload

    assert len({first_answer(sending) for sending in ("normal", "two in one segment", "one byte at a time")}) == 1


def test_the_client_goes_on_when_the_server_comes_back() -> None:
    trace = play("simple-get", [at(2.4, "kill server"), at(6.0, "restart server")])
    answers = [record.time_s for record, message in every(trace, MessageStarted) if message.role is Role.RESPONSE]
    assert [time_s for time_s in answers if time_s < 2.4]
    assert [time_s for time_s in answers if time_s > 6.0]
    assert not [time_s for time_s in answers if 2.4 < time_s < 6.0]
    assert any(note.startswith("no answer") for note in notes(trace, "client"))


def test_a_request_may_cross_the_server_s_goodbye() -> None:
    """The server hangs up after 5 s of idleness; while its FIN is on its way, the client sends the next request."""
    trace = play("simple-get", interval=4.7, until_s=12.0)
    assert "no answer: RemoteProtocolError" in notes(trace, "client")
    assert "no answer: RemoteProtocolError" not in notes(play("simple-get", interval=6.0, until_s=12.0), "client")


# --- upload -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["whole", "chunked", "resumable"])
def test_the_image_arrives_as_it_was_made(method: str) -> None:
    randomness = stream_of_randomness(0, "host client")
    image = b"\x89PNG\r\n\x1a\n" + randomness.randbytes(200_000 - 8)
    first = next(note for note in notes(play("upload", method=method), "server") if note.startswith("has the whole"))
    assert first == f"has the whole image: 200,000 bytes, SHA-256 {sha256(image).hexdigest()[:8]}"


@pytest.mark.parametrize(
    ("trouble", "method", "wastes"),
    [
        ("reset after 70% of next request", "whole", True),
        ("reset after 70% of next request", "resumable", False),
        ("reset after 40kB of next request", "whole", True),
        ("reset after 40kB of next request", "chunked", True),
        ("reset after 40kB of next request", "resumable", False),
    ],
)
def test_a_reset_wastes_what_is_not_resumable(trouble: str, method: str, wastes: bool) -> None:
    trace = play("upload", [at(0.0, trouble)], method=method, interrupted_at=1.0)
    assert (measured(trace, "wasted bytes") > 0) == wastes
    assert (measured(trace, "resumes") == 1) == (method == "resumable")
    assert measured(trace, "uploads") >= 4


def test_a_resumable_upload_survives_a_restart_of_the_server() -> None:
    trace = play("upload", [at(1.5, "kill server"), at(3.0, "restart server")], method="resumable", interrupted_at=1.0)
    assert measured(trace, "wasted bytes") == 0
    assert measured(trace, "resumes") >= 1
    posts = [queued for _, queued in every(trace, PoolQueued) if queued.label == "POST /files"]
    assert measured(trace, "uploads") in (len(posts), len(posts) - 1)


# --- a very long request ------------------------------------------------------------------------------------------------


def test_a_server_that_ignores_the_client_works_for_nobody() -> None:
    trace = play("long-request", until_s=120.0)
    assert measured(trace, "reports") == 0
    assert measured(trace, "useless seconds") >= 5 * 15.0
    first = next(fact.amount for _, fact in every(trace, Measured) if fact.what == "useless seconds")
    assert first == pytest.approx(20.0 - 5.0)  # request and goodbye travel equally long


def test_a_server_that_listens_stops() -> None:
    trace = play("long-request", server_notices=True, until_s=120.0)
    assert measured(trace, "useless seconds") == 0
    stopped = [record for record, fact in every(trace, WorkFinished) if fact.outcome == "cancelled"]
    assert len(stopped) == measured(trace, "given up") > 10


def test_nobody_notices_a_cable_that_is_out() -> None:
    trace = play("long-request", [at(3.0, "unplug client")], server_notices=True)
    finished = [fact.outcome for _, fact in every(trace, WorkFinished) if fact.host == "server"]
    assert finished == ["done"]


def test_patience_gets_its_report() -> None:
    trace = play("long-request", read_timeout=30.0)
    assert measured(trace, "reports") == 2
    assert measured(trace, "given up") == 0


# --- a lost response ----------------------------------------------------------------------------------------------------

NEVER = 1000
"""For `slow_every`: the server is prompt, so that only the faults matter."""


def test_a_retry_after_a_slow_answer_pays_twice() -> None:
    assert measured(play("lost-response"), "duplicate charges") >= 2


def test_a_key_prevents_it() -> None:
    trace = play("lost-response", idempotency_key=True)
    assert measured(trace, "duplicate charges") == 0
    assert measured(trace, "retries") >= 2
    assert measured(trace, "orders in doubt") == 0


def test_without_a_retry_an_order_stays_in_doubt() -> None:
    trace = play("lost-response", retry=False)
    assert measured(trace, "duplicate charges") == 0
    assert measured(trace, "orders in doubt") >= 2


@pytest.mark.parametrize(("key", "duplicates"), [(False, 1), (True, 0)])
def test_a_lost_response_is_charged_twice_without_a_key(key: bool, duplicates: int) -> None:
    trace = play("lost-response", [at(1.5, "lose next response")], idempotency_key=key, slow_every=NEVER)
    assert measured(trace, "retries") == 1
    assert measured(trace, "duplicate charges") == duplicates


def test_a_lost_request_looks_the_same_to_the_client_and_is_charged_once() -> None:
    trace = play("lost-response", [at(1.5, "lose next request")], slow_every=NEVER)
    assert measured(trace, "retries") == 1
    assert measured(trace, "duplicate charges") == 0


@pytest.mark.parametrize(("kept", "duplicates"), [("memory", 1), ("disk", 0)])
def test_keys_in_memory_do_not_survive_a_restart(kept: str, duplicates: int) -> None:
    restart = [at(1.0, "restart server")]
    trace = play("lost-response", restart, idempotency_key=True, keys_kept=kept, service_time=1.0, slow_every=NEVER)
    assert measured(trace, "retries") == 1
    assert measured(trace, "duplicate charges") == duplicates


# --- a notification, a chat ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval_s", [0.1, 2.0, 4.0])
def test_news_are_late_by_the_interval_and_the_way(interval_s: float) -> None:
    latency_s = 0.1
    trace = play("notification-wanted", interval=interval_s, rate=1.0)
    late = [fact.amount for _, fact in every(trace, Measured) if fact.what == "late seconds"]
    assert len(late) > 10
    assert latency_s <= min(late)
    assert max(late) <= interval_s + 4 * latency_s  # the first question pays for the connection as well


def test_all_news_are_heard_once() -> None:
    trace = play("notification-wanted", [at(5.0, "unplug client"), at(15.0, "plug client")], until_s=60.0)
    happened = [note for note in notes(trace, "server") if note.startswith("news")]
    heard = [note.split(",")[0] for note in notes(trace, "client") if note.startswith("hears")]
    assert heard == [f"hears {note}" for note in happened[: len(heard)]]
    assert len(happened) - len(heard) <= 2


def test_asking_more_often_is_sooner_and_emptier() -> None:
    def empties(trace: Trace) -> int:
        return sum(message.label == "204 No Content" for _, message in every(trace, MessageStarted))

    eager, lazy = play("notification-wanted", interval=0.2), play("notification-wanted", interval=5.0)
    assert empties(eager) > 10 * max(1, empties(lazy))
    assert measured(eager, "late seconds") < measured(lazy, "late seconds") / 3


def test_in_a_chat_each_hears_what_the_other_said_once() -> None:
    trace = play("chat-wanted", until_s=60.0)
    said = [
        record for record, message in every(trace, MessageEnded) if _label(trace, message.message).startswith("POST")
    ]
    heard = measured(trace, "messages heard")
    assert heard > 10
    assert 0 <= len(said) - heard <= 3
    for host, other in (("ann", "bob"), ("bob", "ann")):
        assert all(note.startswith(f"{other}: “") for note in notes(trace, host))


def _label(trace: Trace, message: int) -> str:
    started = trace[message].fact
    assert isinstance(started, MessageStarted)
    return started.label
