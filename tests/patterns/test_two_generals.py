"""Two generals, held to their formula, and to the argument that no number of acknowledgements is enough."""

import math

import pytest

from engines.lab.facts import Measured, MessageStarted
from engines.lab.knobs import Value
from engines.lab.trace import Trace
from engines.patterns.pub_sub.two_generals import DAY_S, EVENING_S, LESSON, OUTCOMES
from tests.patterns.laws import breaches, every
from tests.patterns.runs import at, run

NOBODY, ONE, BOTH = OUTCOMES


def outcomes(trace: Trace) -> dict[str, int]:
    """How many days ended in which way."""
    days = [fact.what for _, fact in every(trace, Measured)]
    return {outcome: days.count(outcome) for outcome in OUTCOMES}


def days_of(days: int, *orders: str, **knobs: Value) -> Trace:
    """So many days; an order is "TIME COMMAND"."""
    commands = [at(float(time_s), text) for time_s, text in (order.split(" ", 1) for order in orders)]
    trace = run(LESSON, commands, knobs=knobs, until_s=days * DAY_S + 0.9).trace
    assert breaches(trace) == []
    return trace


@pytest.mark.parametrize(
    ("caught", "acks", "messengers"), [(0.3, 0, 1), (0.2, 1, 1), (0.3, 2, 1), (0.2, 5, 1), (0.5, 3, 2)]
)
def test_one_attacks_alone_as_often_as_the_formula_says(caught: float, acks: int, messengers: int) -> None:
    """p (1 - p)^n, where p is the chance that all messengers with a message are caught; within four standard errors."""
    days = 300
    trace = days_of(days, caught=caught, acknowledgements=acks, messengers=messengers)
    p = caught**messengers
    found = outcomes(trace)
    assert sum(found.values()) == days
    for outcome, chance in {ONE: p * (1 - p) ** acks, BOTH: (1 - p) ** (acks + 1), NOBODY: 1 - (1 - p) ** acks}.items():
        standard_error = math.sqrt(chance * (1 - chance) / days)
        assert abs(found[outcome] / days - chance) <= 4 * standard_error, outcome


@pytest.mark.parametrize("acks", range(10))
def test_whatever_their_number_losing_the_last_leaves_one_alone(acks: int) -> None:
    """And losing none, or any but the last, does not."""
    hop_s = 0.1
    sent_s = [EVENING_S + 2 * hop_s * number for number in range(acks + 1)]
    assert outcomes(days_of(1, caught=0.0, acknowledgements=acks)) == {NOBODY: 0, ONE: 0, BOTH: 1}
    for number, time_s in enumerate(sent_s):
        what = f"ACK from {('south', 'north')[(number - 1) % 2]}" if number else "ATTACK from north"
        found = outcomes(days_of(1, f"{time_s - 0.01} drop next {what}", caught=0.0, acknowledgements=acks))
        expected = ONE if number == acks else NOBODY
        assert found == {outcome: int(outcome == expected) for outcome in OUTCOMES}, number


def test_who_is_alone_is_who_sent_the_last() -> None:
    for acks, loser in ((2, "north"), (3, "south")):
        trace = days_of(
            3, caught=0.0, acknowledgements=acks, latency=2.9 / (2 * acks + 1)
        )  # the last hop ends after dawn
        attacks = [fact.sender for _, fact in every(trace, MessageStarted) if fact.label.endswith("attacks")]
        assert set(attacks) == {loser}, "too late is as bad as lost"
