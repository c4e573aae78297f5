"""What each lesson on sidecars is there to show, held against the theory: exact where time adds up, else with enough samples.

L is the latency of one way, LOOPBACK_S that between two programs of one machine; bandwidth, loss and jitter are out of the way.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest

from engines.lab.commands import TimedCommand
from engines.lab.facts import (
    ConnectionOpening,
    Measured,
    MessageStarted,
    Noted,
    PacketSent,
    StateChanged,
    TimedOut,
    WaitEnded,
    WaitStarted,
)
from engines.lab.knobs import Value
from engines.lab.links import LOOPBACK_S
from engines.lab.session import SessionState, run_headless
from engines.lab.trace import Trace
from engines.metrics import Numbers
from engines.patterns.sidecar import PATTERN
from engines.patterns.sidecar.with_sidecar import server_timing
from engines.wire.retries import RetryPolicy
from tests.patterns.laws import every
from tests.patterns.runs import at

L, PROXY_S, SERVICE_S = 0.1, 0.02, 0.3


def play(
    name: str,
    commands: Sequence[TimedCommand] = (),
    base: Mapping[str, Value] | None = None,
    until_s: float = 0.0,
    **knobs: Value,
) -> Trace:
    """A run of a lesson; `proxy_time=0.5` sets the knob proxy-time, and `base` has more of them."""
    lesson = PATTERN.lesson(name)
    values: Mapping[str, Value] = {knob.replace("_", "-"): value for knob, value in {**(base or {}), **knobs}.items()}
    session = run_headless(
        lesson, name=name, seed=0, knobs=values, commands=commands, until_s=until_s or lesson.until_s
    )
    assert session.status.state is SessionState.ENDED, session.status.message
    return session.trace


def number(trace: Trace, name: str) -> float:
    value = Numbers(trace).value(name, 1e9)
    assert value is not None
    return value


def count(trace: Trace, what: str) -> float:
    return number(trace, f"measured:{what}")


def amounts(trace: Trace, what: str) -> list[float]:
    return [fact.amount for _, fact in every(trace, Measured) if fact.what == what]


def moments(trace: Trace, what: str) -> list[float]:
    return [record.time_s for record, fact in every(trace, Measured) if fact.what == what]


def notes(trace: Trace, host: str) -> list[tuple[float, str]]:
    return [(record.time_s, fact.text) for record, fact in every(trace, Noted) if fact.host == host]


def bytes_between(trace: Trace, one: str, other: str) -> bytes:
    return b"".join(f.payload for _, f in every(trace, PacketSent) if {f.sender, f.receiver} == {one, other})


# --- with and without -----------------------------------------------------------------------------------------------------


def test_a_call_through_two_sidecars_hop_by_hop() -> None:
    """The first pays for TCP, TLS 1.3 and the two connections on the machines; all later ones for their own trips."""
    trace = play("with-sidecar", until_s=8.0)
    first, *later = amounts(trace, "total seconds")
    assert first == pytest.approx(6 * L + 8 * LOOPBACK_S + 2 * PROXY_S + SERVICE_S)
    assert later == pytest.approx([2 * L + 4 * LOOPBACK_S + 2 * PROXY_S + SERVICE_S] * len(later))
    assert len(later) >= 3
    assert amounts(trace, "proxy seconds") == pytest.approx([2 * PROXY_S] * (1 + len(later)))
    assert amounts(trace, "network seconds")[1:] == pytest.approx([2 * L + 4 * LOOPBACK_S] * len(later))


def test_a_sidecar_call_is_longer_than_a_direct_one_by_two_proxies_and_four_short_trips() -> None:
    direct = number(play("without", until_s=10.0, fail_share=0.0, shipping_library="1"), "delay")
    assert direct == pytest.approx(2 * L + SERVICE_S)
    through = amounts(play("with-sidecar", until_s=8.0), "total seconds")[-1]
    assert through - direct == pytest.approx(2 * PROXY_S + 4 * LOOPBACK_S)


def test_the_service_stays_thin_and_the_wire_is_sealed() -> None:
    trace = play("with-sidecar", until_s=5.0)
    asked = bytes_between(trace, "orders", "sidecar1")
    heard = bytes_between(trace, "sidecar2", "billing")
    assert b"traceparent" not in asked
    assert len(set(re.findall(rb"traceparent: 00-([0-9a-f]{32})-[0-9a-f]{16}-01", heard))) == count(trace, "asked")
    between = bytes_between(trace, "sidecar1", "sidecar2")
    assert b"bill/1" in asked
    assert b"bill/1" not in between
    protocols = {(fact.client, fact.protocol) for _, fact in every(trace, ConnectionOpening)}
    assert protocols == {("orders", "http/1.1"), ("sidecar1", "tls"), ("sidecar2", "http/1.1")}


def test_server_timing_is_read_from_any_number_of_fields() -> None:
    assert server_timing(["a;dur=300.000", "b-c;dur=0.05, d;dur=20"]) == pytest.approx(
        {"a": 0.3, "b-c": 5e-5, "d": 0.02}
    )
    assert server_timing(["nonsense"]) == {}


def test_a_service_without_its_sidecar_is_an_island_and_is_told_so_at_once() -> None:
    trace = play("with-sidecar", [at(5.0, "kill sidecar1")], until_s=10.0)
    refused = [time_s for time_s, text in notes(trace, "orders") if "ConnectError" in text]
    assert len(refused) >= 3
    assert max(later - earlier for earlier, later in pairwise(refused)) < 1.01


def test_an_unplugged_machine_still_talks_to_itself() -> None:
    trace = play("with-sidecar", [at(5.0, "unplug orders")], until_s=25.0)
    [(time_s, text), *_] = [note for note in notes(trace, "orders") if "no bill" in note[1]]
    asked_s = [moment for moment in moments(trace, "asked") if moment < time_s][-1]
    assert text.endswith("504")
    assert time_s - asked_s == pytest.approx(15.0 + PROXY_S, abs=0.01)


def test_each_service_needs_a_release_of_its_own() -> None:
    turns = [at(2.0, "set orders-library 2"), at(2.5, "set shipping-library 1")]
    trace = play("without", turns, until_s=15.0)
    assert count(trace, "releases") == 2
    assert [record.time_s for record, f in every(trace, Measured) if f.what == "releases"] == [5.0, 5.5]
    versions = [(fact.host, fact.value) for _, fact in every(trace, StateChanged) if fact.key == "library"]
    assert sorted(versions) == [("orders", "1"), ("orders", "2"), ("shipping", "1"), ("shipping", "2")]


# --- swapping -------------------------------------------------------------------------------------------------------------


def test_a_swap_that_drains_loses_nothing() -> None:
    """Bills take longer than the pause between them, so that there is always one under way."""
    trace = play("swap-live", until_s=20.0, fail_share=0.0, service_time=1.5, interval=0.45)
    assert count(trace, "swaps") == 2
    assert count(trace, "failed") == 0
    assert sum("has finished" in text for _, text in notes(trace, "sidecar")) == 2


def test_a_swap_that_stops_first_loses_what_is_under_way_and_refuses_for_a_while() -> None:
    trace = play(
        "swap-live", until_s=15.0, base={"swap": "stop, then start"}, fail_share=0.0, service_time=1.5, interval=0.45
    )
    troubles = Counter(text.split(": ")[1] for _, text in notes(trace, "orders") if "no bill" in text)
    assert troubles["ConnectError"] == 2  # 1 s, one request every 0.45 s
    assert sum(troubles.values()) - troubles["ConnectError"] >= 3


def test_the_newer_version_fails_less_and_marks_its_requests() -> None:
    old, new = (play("swap-live", sidecar_version=v, until_s=60.0, service_time=0.05) for v in ("1", "2"))
    assert abs(count(old, "failed") / 60 - 0.3) < 4 * (0.3 * 0.7 / 60) ** 0.5
    assert abs(count(new, "failed") / 60 - 0.027) < 4 * (0.027 * 0.973 / 60) ** 0.5
    assert b"traceparent" not in bytes_between(old, "sidecar", "billing")
    assert b"traceparent" in bytes_between(new, "sidecar", "billing")


# --- retries --------------------------------------------------------------------------------------------------------------


def test_every_back_off_is_within_its_bounds() -> None:
    trace = play("retries", fail_share=1.0, retries=5, service_time=0.0, slow_share=0.0, until_s=20.0)
    ended = {fact.wait: record.time_s for record, fact in every(trace, WaitEnded)}
    pauses = [
        (int(match[1]), ended[record.id] - record.time_s)
        for record, fact in every(trace, WaitStarted)
        if record.id in ended and (match := re.match(r"retry (\d+)", fact.label))
    ]
    assert {retry for retry, _ in pauses} == {1, 2, 3, 4, 5}
    longest = Counter[int]()
    for retry, pause_s in pauses:
        assert 0 <= pause_s <= RetryPolicy().back_off_s(retry, 1.0) + 1e-9
        longest[retry] = max(longest[retry], round(1e6 * pause_s))
    assert longest[1] > 12_000, "of twenty draws the largest is above the middle"
    assert longest[3] > 88_000


def test_all_attempts_together_have_the_route_s_time() -> None:
    trace = play(
        "retries", base={"try-timeout": 4.0}, retries=10, service_time=30.0, slow_share=0.0, until_s=17.0, interval=60.0
    )
    [(record, fact)] = [(r, f) for r, f in every(trace, TimedOut) if f.what == "route"]
    assert fact.after_s == 15.0
    assert record.time_s == pytest.approx(15.0 + 3 * LOOPBACK_S)
    assert count(trace, "tries") == 4  # after 0, 4, 8 and 12 s and the pauses; a fifth would come after the end
    assert notes(trace, "orders")[-1][1] == "no bill 1: 504"


def test_what_is_not_worth_a_retry_is_passed_on() -> None:
    trace = play("retries", base={"retry-on": "connect-failure"}, fail_share=1.0, until_s=6.0)
    assert count(trace, "retries") == 0
    assert count(trace, "failed") == 6


def test_no_window_of_ten_seconds_has_more_retries_than_the_budget() -> None:
    trace = play("retries", budget=True, retries=5, fail_share=1.0, service_time=0.05, slow_share=0.0, until_s=40.0)
    asked, retried = moments(trace, "asked"), moments(trace, "retries")
    assert len(retried) > 5
    for now_s in retried:
        window = [sum(now_s - 10 < moment <= now_s for moment in times) for times in (asked, retried)]
        assert window[1] <= 0.2 * (window[0] + 1) + 0.1 * 10 + 1e-9
    assert count(trace, "retries refused") >= 30


# --- storms ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("app", "proxy"), [(0, 0), (2, 1), (1, 3), (3, 0)])
def test_the_layers_multiply(app: int, proxy: int) -> None:
    trace = play(
        "retry-storm", app_retries=app, proxy_retries=proxy, fail_share=1.0, stall=0.0, service_time=0.01, until_s=8.0
    )
    paths = [f.label for _, f in every(trace, MessageStarted) if f.receiver == "billing" and f.label.startswith("GET")]
    given_up = [f"GET /bill/{text.split()[-1]}" for _, text in notes(trace, "orders")]
    assert len(given_up) >= 4
    assert [paths.count(path) for path in given_up] == [(1 + app) * (1 + proxy)] * len(given_up)


CURES = {
    "none": ({}, False),
    "a budget, but two layers": ({"budget": True}, False),
    "one layer, but no budget": ({"app-retries": 0}, False),
    "one layer within a budget": ({"app-retries": 0, "budget": True}, True),
    "no retries at all": ({"app-retries": 0, "proxy-retries": 0}, True),
    "patience": ({"try-timeout": 10.0}, True),
}


@pytest.mark.parametrize("cure", CURES)
def test_what_cures_a_storm(cure: str) -> None:
    """Billing is well again after 9 s. Whether anybody gets an answer 20 s later is up to those who ask."""
    knobs, cured = CURES[cure]
    late = [moment for moment in moments(play("retry-storm", base=knobs), "answered") if moment > 30.0]
    assert len(late) >= 5 if cured else not late


# --- ejection and breaker -------------------------------------------------------------------------------------------------


def test_five_failures_eject_and_a_sweep_lets_back() -> None:
    trace = play("circuit-breaker", until_s=42.0)
    story = [(time_s, text) for time_s, text in notes(trace, "sidecar") if "billing1" in text]
    (out_s, out), (back_s, back) = story
    failures = [r.time_s for r, f in every(trace, MessageStarted) if (f.sender, f.label[:3]) == ("billing1", "503")]
    assert out == "billing1 is ejected for 30 s"
    assert out_s == pytest.approx(failures[4] + L)
    assert back == "billing1 gets requests again"
    assert back_s == pytest.approx(40.0)
    asked = moments(trace, "asked billing1")
    assert not [moment for moment in asked if out_s + 2 * L < moment < 40.0]


def test_without_ejection_a_third_fails_for_ever() -> None:
    trace = play("circuit-breaker", ejection=False, until_s=30.0)
    assert count(trace, "failed") == pytest.approx(count(trace, "asked") / 3, abs=2)


def test_an_open_circuit_spares_the_sick_and_tries_now_and_then() -> None:
    trace = play("circuit-breaker", sick=3, until_s=40.0)
    states = [(record.time_s, fact.value) for record, fact in every(trace, StateChanged) if fact.key == "circuit"]
    opened_s = states[0][0]
    assert [value for _, value in states[:5]] == ["open", "half-open", "open", "half-open", "open"]
    tries = [moment for moment in moments(trace, "tries") if moment > opened_s]
    assert len(tries) >= 3
    assert all(later - earlier >= 5.0 for earlier, later in pairwise(tries))
    assert tries[0] - opened_s == pytest.approx(5.0, abs=0.5 + 1e-6)  # somebody asks every 0.5 s


def test_a_circuit_closes_when_a_try_goes_well() -> None:
    trace = play("circuit-breaker", [at(15.0, "set sick 0")], sick=3, until_s=30.0)
    states = [fact.value for _, fact in every(trace, StateChanged) if fact.key == "circuit"]
    assert states[-2:] == ["half-open", "closed"]
    assert moments(trace, "answered")[-1] > 29.0


# --- layers ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", ["503", "hangs up"])
def test_layer_4_passes_every_failure_on(trouble: str) -> None:
    trace = play("layer-4", trouble=trouble, retries=10, until_s=15.0)
    assert count(trace, "retries") == 0
    assert count(trace, "failed") >= 2
    assert count(trace, "asked billing1") + count(trace, "asked billing2") == 15


@pytest.mark.parametrize("trouble", ["503", "hangs up"])
def test_layer_7_asks_again(trouble: str) -> None:
    trace = play("layer-4", layer="7", trouble=trouble, retries=10, until_s=15.0)
    assert count(trace, "failed") == 0
    assert count(trace, "retries") > 2


def test_layer_4_shares_out_connections_and_layer_7_requests() -> None:
    four, seven = (play("layer-4", layer=layer, fail_share=0.0, until_s=10.0) for layer in ("4", "7"))
    assert (count(four, "asked billing1"), count(four, "asked billing2")) == (10, 0)
    assert (count(seven, "asked billing1"), count(seven, "asked billing2")) == (5, 5)


# --- mutual TLS -----------------------------------------------------------------------------------------------------------

CARD = b"5555-4444-3333-2222"


def test_an_observer_reads_the_card_in_plain_text_and_nothing_of_it_in_tls() -> None:
    sealed, plain = play("mtls", until_s=4.0), play("mtls", base={"between": "plain text"}, until_s=4.0)
    for trace in (sealed, plain):
        assert CARD in bytes_between(trace, "orders", "sidecar1")
        assert count(trace, "answered") == 4
    assert CARD not in bytes_between(sealed, "sidecar1", "sidecar2")
    labels = {fact.label for _, fact in every(plain, MessageStarted) if fact.sender == "sidecar1"}
    assert any(CARD.decode() in label for label in labels)


REFUSED = {
    "none": ("alert: certificate required", "peer did not return a certificate"),
    "expired": ("alert: certificate expired", "certificate has expired"),
    "forged": ("alert: unknown ca", "unable to get local issuer certificate"),
}


@pytest.mark.parametrize("certificate", REFUSED)
def test_a_wrong_certificate_is_refused_and_both_sides_say_why(certificate: str) -> None:
    alert, reason = REFUSED[certificate]
    trace = play("mtls", certificate=certificate, until_s=4.0)
    assert count(trace, "answered") == count(trace, "requests at billing") == 0
    assert count(trace, "handshakes refused") >= 3
    assert {text for _, text in notes(trace, "sidecar2")} == {f"handshake refused: {reason}"}
    assert {text for _, text in notes(trace, "sidecar1")} == {f"no answer from sidecar2: {alert}"}
    assert all(text.endswith("503") for _, text in notes(trace, "orders"))


def test_a_good_certificate_of_somebody_else_is_refused_by_name() -> None:
    trace = play("mtls", base={"certificate": "of a guest"}, until_s=4.0)
    assert count(trace, "handshakes refused") == 0
    assert count(trace, "callers refused") == 4
    assert all(text.endswith("403") for _, text in notes(trace, "orders"))


@pytest.mark.parametrize("certificate", ["expired", "forged", "of a guest"])
def test_a_server_with_a_wrong_certificate_is_told_nothing(certificate: str) -> None:
    trace = play("mtls", base={"far-certificate": certificate}, until_s=4.0)
    assert count(trace, "answered") == count(trace, "requests at billing") == 0
    assert all("no connection to sidecar2" in text for _, text in notes(trace, "sidecar1"))


def test_a_certificate_counts_from_the_next_connection_on() -> None:
    trace = play("mtls", [at(3.0, "set certificate expired")], until_s=8.0)
    assert max(moments(trace, "answered")) < 3.0
    assert min(moments(trace, "handshakes refused")) > 3.0


# --- the crash ------------------------------------------------------------------------------------------------------------


def test_nothing_is_answered_while_the_sidecar_is_down() -> None:
    trace = play("sidecar-crash", until_s=16.0, interval=0.5, crash_every=5.8)
    assert moments(trace, "crashes") == pytest.approx([5.8, 13.6])
    asked_in_vain = [time_s for time_s, text in notes(trace, "orders") if "refused" in text and time_s < 13.6]
    assert asked_in_vain == pytest.approx([asked_s + 2 * LOOPBACK_S for asked_s in (6.0, 6.5, 7.0, 7.5)])


@pytest.mark.parametrize(("accepts", "helped"), [("strict", False), ("permissive", True)])
def test_going_around_helps_only_where_plain_text_is_taken(accepts: str, helped: bool) -> None:
    trace = play("sidecar-crash", base={"without-sidecar": "go around it"}, accepts=accepts, until_s=7.9)
    around = moments(trace, "gone around")
    assert around
    assert any(moment > around[0] for moment in moments(trace, "answered")) is helped
    plain = bytes_between(trace, "orders", "sidecar2")
    assert (b"GET /bill" in plain) is helped
