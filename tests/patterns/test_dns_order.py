"""The lesson on DNS against what can be worked out by hand, in virtual time."""

from math import sqrt

import pytest

from engines.lab.facts import Measured, MessageStarted, PacketSent, Role
from engines.lab.session import Session
from engines.metrics import Numbers
from engines.patterns.stateful_stateless.dns_order import LESSON
from tests.patterns.laws import every
from tests.patterns.runs import at, run

LATENCY_S, SEARCH_S = 0.1, 0.3


def counted(session: Session, what: str) -> int:
    return sum(fact.what == what for _, fact in every(session.trace, Measured))


def test_a_question_costs_one_round_trip_and_the_search() -> None:
    session = run(LESSON, knobs={"jitter": 0.0}, until_s=10.0)
    numbers = Numbers(session.trace)
    assert numbers.value("requests", 10.0) == numbers.value("responses", 10.0) == counted(session, "found") == 18
    assert numbers.value("delay-max", 10.0) == pytest.approx(2 * LATENCY_S + SEARCH_S)
    assert numbers.value("delay", 10.0) == pytest.approx(2 * LATENCY_S)
    assert counted(session, "overtook") == 9  # names known by heart, each while an earlier one is looked for


def test_by_their_ids_answers_are_right_in_any_order_and_by_their_order_they_are_not() -> None:
    by_id, by_order = run(LESSON), run(LESSON, knobs={"told-by": "order"})
    assert (counted(by_id, "found"), counted(by_id, "wrong address")) == (30, 0)
    assert counted(by_id, "overtook") > 0
    assert counted(by_order, "found") + counted(by_order, "wrong address") == 30
    assert counted(by_order, "wrong address") > 15
    in_order = run(LESSON, knobs={"told-by": "order", "jitter": 0.0, "search-time": 0.0})
    assert (counted(in_order, "found"), counted(in_order, "wrong address")) == (30, 0)


@pytest.mark.parametrize("lost", ["request", "response"])
def test_what_is_lost_is_asked_again_after_the_timeout_with_the_same_id(lost: str) -> None:
    session = run(LESSON, [at(0.0, f"drop next {lost}")], knobs={"questions": 1.0, "jitter": 0.0}, until_s=3.0)
    asked = [(record.time_s, fact.stream) for record, fact in every(session.trace, MessageStarted)
             if fact.role is Role.REQUEST]  # fmt: skip
    assert [time_s for time_s, _ in asked] == [0.0, 1.0]
    assert len({number for _, number in asked}) == 1
    assert Numbers(session.trace).value("delay", 3.0) == pytest.approx(1.0 + 2 * LATENCY_S + SEARCH_S)


def test_a_server_that_was_restarted_answers_as_if_nothing_had_been() -> None:
    session = run(LESSON, [at(4.1, "kill server"), at(5.5, "restart server")])
    assert (counted(session, "found"), counted(session, "failed")) == (30, 0)
    assert len({fact.flow for _, fact in every(session.trace, PacketSent)}) == 1


def test_a_question_asked_twice_is_answered_twice_and_nobody_minds() -> None:
    session = run(LESSON, knobs={"dns-timeout": 0.3, "jitter": 0.0})
    assert counted(session, "found") == 30
    assert counted(session, "strays") == 15  # every name that is looked for: 0.5 s


def test_failures_under_loss_are_as_rare_as_three_attempts_make_them() -> None:
    """An attempt fails when either of two packets is lost: 1 - 0.8². All three do with its cube: 4.7 %, of 1,200 questions."""
    knobs = {"loss": 0.2, "questions": 20.0, "jitter": 0.0, "search-time": 0.0, "dns-timeout": 0.3, "page-every": 1.0}
    session = run(LESSON, knobs=knobs, until_s=59.0)
    asked, share = 20 * 58, (1 - 0.8**2) ** 3
    failed = counted(session, "failed")
    assert abs(failed / asked - share) < 3 * sqrt(share * (1 - share) / asked)
