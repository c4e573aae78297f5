"""Retries, budgets, breakers and ejections as pure tables: nothing here waits, connects or draws."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.wire.breaker import Breaker, Circuit, Event
from engines.wire.outliers import Outliers
from engines.wire.retries import BASE_S, CAP_S, CONDITIONS, Ending, Outcome, RetryPolicy
from engines.wire.retry_budget import PER_SECOND, RATIO, TTL_S, RetryBudget
from engines.wire.tracing import TraceParent, next_hop

# --- retries ------------------------------------------------------------------------------------------------------------

OK, NOT_FOUND, SICK, GATEWAY = (Outcome(Ending.ANSWERED, status) for status in (200, 404, 500, 503))
REFUSED, BROKEN, SLOW = Outcome(Ending.NOT_CONNECTED, 503), Outcome(Ending.BROKEN, 502), Outcome(Ending.TOO_SLOW, 504)
RETRIED = {
    "5xx": [SICK, GATEWAY, REFUSED, BROKEN, SLOW],
    "gateway-error": [GATEWAY, REFUSED, BROKEN, SLOW],
    "reset": [REFUSED, BROKEN, SLOW],
    "connect-failure": [REFUSED],
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_what_is_retried(condition: str) -> None:
    policy = RetryPolicy(retries=1, retry_on=condition)
    everything = [OK, NOT_FOUND, SICK, GATEWAY, REFUSED, BROKEN, SLOW]
    assert [outcome for outcome in everything if policy.wants_retry(outcome, 0)] == RETRIED[condition]
    assert not any(policy.wants_retry(outcome, 1) for outcome in everything)


def test_nothing_is_retried_unless_configured() -> None:
    assert not RetryPolicy().wants_retry(BROKEN, 0)


@given(st.integers(1, 30), st.floats(0, 1, exclude_max=True))
def test_the_back_off_is_between_zero_and_its_ceiling(retry: int, luck: float) -> None:
    pause_s = RetryPolicy().back_off_s(retry, luck)
    assert 0 <= pause_s <= min(CAP_S, (2**retry - 1) * BASE_S)


def test_the_ceilings_are_envoy_s() -> None:
    nearly_one = 1 - 1e-12
    ceilings = [RetryPolicy().back_off_s(retry, nearly_one) for retry in range(1, 7)]
    assert ceilings == pytest.approx([0.025, 0.075, 0.175, 0.25, 0.25, 0.25])


# --- budgets ------------------------------------------------------------------------------------------------------------


def test_a_budget_is_a_share_of_the_requests_and_a_few_a_second() -> None:
    budget = RetryBudget()
    for n in range(100):
        budget.request(n / 100)
    granted = sum(budget.spend(1.0) for _ in range(1000))
    assert granted == RATIO * 100 + PER_SECOND * TTL_S == 120


def test_a_budget_without_a_minimum_grants_nothing_to_who_asks_nothing() -> None:
    budget = RetryBudget(per_second=0)
    assert not budget.spend(0.0)
    for n in range(5):
        budget.request(float(n))
    assert [budget.spend(5.0) for _ in range(3)] == [True, False, False]


def test_what_is_older_than_the_ttl_counts_no_more() -> None:
    budget = RetryBudget(per_second=0)
    for _ in range(5):
        budget.request(0.0)
    assert budget.balance(9.999) == 1
    assert budget.balance(10.0) == 0


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=200))
def test_in_no_window_are_there_more_retries_than_the_budget_allows(moments: list[tuple[float, bool]]) -> None:
    budget = RetryBudget(per_second=0.5)
    requests, retries = list[float](), list[float]()
    for time_s, is_request in sorted(moments):
        if is_request:
            budget.request(time_s)
            requests.append(time_s)
        elif budget.spend(time_s):
            retries.append(time_s)
            since_s = time_s - TTL_S
            window = [sum(moment > since_s for moment in times) for times in (requests, retries)]
            assert window[1] <= RATIO * window[0] + 0.5 * TTL_S + 1e-6


# --- breakers -----------------------------------------------------------------------------------------------------------

S, F, A = Event.SUCCESS, Event.FAILURE, Event.ABANDONED
CLOSED, OPEN, HALF = Circuit.CLOSED, Circuit.OPEN, Circuit.HALF_OPEN

TRANSITIONS = [
    # circuit, failures so far, event -> circuit, failures, when it opened
    (CLOSED, 0, S, CLOSED, 0, 0.0),
    (CLOSED, 1, S, CLOSED, 0, 0.0),
    (CLOSED, 0, F, CLOSED, 1, 0.0),
    (CLOSED, 1, F, CLOSED, 2, 0.0),
    (CLOSED, 2, F, OPEN, 3, 9.0),
    (CLOSED, 2, A, CLOSED, 2, 0.0),
    (OPEN, 3, S, OPEN, 3, 0.0),
    (OPEN, 3, F, OPEN, 3, 0.0),
    (OPEN, 3, A, OPEN, 3, 0.0),
    (HALF, 3, S, CLOSED, 0, 0.0),
    (HALF, 3, F, OPEN, 3, 9.0),
    (HALF, 3, A, OPEN, 3, 0.0),
]


@pytest.mark.parametrize("row", TRANSITIONS, ids=lambda row: f"{row[0].value}-{row[1]}-{row[2].value}")
def test_every_transition_of_a_breaker(row: tuple[Circuit, int, Event, Circuit, int, float]) -> None:
    before, failures, event, after, failures_after, since_s = row
    breaker = Breaker(limit=3, open_s=5.0, circuit=before, failures=failures).after(event, 9.0)
    assert (breaker.circuit, breaker.failures, breaker.since_s) == (after, failures_after, since_s)


def test_the_table_is_complete() -> None:
    assert {(row[0], row[2]) for row in TRANSITIONS} == {(circuit, event) for circuit in Circuit for event in Event}


def test_whom_a_breaker_admits() -> None:
    closed = Breaker(open_s=5.0)
    assert closed.admit(1.0) is closed
    is_open = Breaker(open_s=5.0, circuit=OPEN, since_s=10.0)
    assert is_open.admit(14.9) is None
    trial = is_open.admit(15.0)
    assert trial is not None
    assert trial.circuit is HALF
    assert trial.admit(99.0) is None, "one request at a time may try"


# --- ejections ----------------------------------------------------------------------------------------------------------


def fail(outliers: Outliers, host: str, now_s: float, times: int = 5) -> list[float | None]:
    return [outliers.failed(host, now_s) for _ in range(times)]


def test_the_fifth_failure_in_a_row_ejects() -> None:
    outliers = Outliers(["a", "b", "c"])
    fail(outliers, "a", 0.0, 4)
    outliers.succeeded("a")
    assert fail(outliers, "a", 0.0) == [None, None, None, None, 30.0]
    assert outliers.ejected == ["a"]
    assert outliers.candidates() == ["b", "c"]


def test_each_ejection_is_longer_than_the_one_before_and_ends_at_a_sweep() -> None:
    outliers = Outliers(["a", "b", "c"])
    fail(outliers, "a", 4.0)
    assert outliers.sweep(30.0) == []
    assert outliers.sweep(40.0) == ["a"]
    assert fail(outliers, "a", 41.0)[-1] == 60.0
    assert outliers.sweep(100.0) == []
    assert outliers.sweep(101.0) == ["a"]
    assert fail(outliers, "a", 102.0)[-1] == 90.0


@pytest.mark.parametrize(
    ("hosts", "most", "ejected"), [(3, 0.1, 1), (10, 0.1, 1), (20, 0.1, 2), (30, 0.1, 3), (4, 0.5, 2), (3, 1.0, 3), (2, 0.0, 1)]
)  # fmt: skip
def test_only_so_many_are_ejected_but_one_always_may_be(hosts: int, most: float, ejected: int) -> None:
    names = [str(n) for n in range(hosts)]
    outliers = Outliers(names, most_ejected=most)
    for name in names:
        fail(outliers, name, 0.0)
    assert len(outliers.ejected) == ejected


def test_when_most_are_ejected_all_get_requests_again() -> None:
    outliers = Outliers(["a", "b", "c"], most_ejected=1.0)
    fail(outliers, "a", 0.0)
    assert outliers.candidates() == ["b", "c"]
    fail(outliers, "b", 0.0)
    assert outliers.candidates() == ["a", "b", "c"]


def test_who_is_out_is_not_ejected_again() -> None:
    outliers = Outliers(["a", "b"])
    assert fail(outliers, "a", 0.0, 20).count(30.0) == 1


# --- traces -------------------------------------------------------------------------------------------------------------


def test_a_trace_goes_on_with_an_id_for_each_hop() -> None:
    luck = random.Random(1)
    first = next_hop("", luck)
    second = next_hop(str(first), luck)
    assert second.trace == first.trace
    assert second.parent != first.parent
    assert len(str(first)) == 55


@pytest.mark.parametrize(
    "header", ["nonsense", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", "ff-" + "1" * 32 + "-" + "1" * 16 + "-01"]
)
def test_what_cannot_be_read_begins_a_new_trace(header: str) -> None:
    assert next_hop(header, random.Random(1)).trace not in header


def test_ids_are_never_zero() -> None:
    class Zeros(random.Random):
        def getrandbits(self, k: int, /) -> int:
            return 0

    zeros: Callable[[], random.Random] = Zeros
    assert next_hop("", zeros()) == TraceParent("0" * 31 + "1", "0" * 15 + "1")
