"""Where two traces part: against a comparison fact by fact, on real runs and on made-up ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.differences import Parting, first_difference
from engines.lab.commands import TimedCommand, parse_command
from engines.lab.facts import CommandApplied, Measured, Noted, PacketDropped, Text
from engines.lab.session import run_headless
from engines.lab.trace import Trace
from tests.benchmarks.long_traces import long_trace
from tests.lab.worlds import ECHO


def echo(*orders: tuple[float, str], until_s: float = 20.0) -> Trace:
    commands = [TimedCommand(time_s, parse_command(text)) for time_s, text in orders]
    return run_headless(ECHO, commands=commands, until_s=until_s).trace


def fact_by_fact(one: Trace, other: Trace) -> int | None:
    return next((a.id for a, b in zip(one, other, strict=False) if a != b), None)


NAMES = st.sampled_from(["alfa", "bravo", "charlie", "delta"])
FACTS = st.one_of(
    st.builds(Measured, NAMES, NAMES, st.sampled_from([1.0, 2.0])),
    st.builds(Noted, NAMES, st.sampled_from([Text(""), Text("a"), Text("b"), Text("ab")])),
)
STAMPED = st.lists(st.tuples(FACTS, st.sampled_from([0.0, 0.5])), max_size=12)


def made(facts: list[tuple[Measured | Noted, float]]) -> Trace:
    trace = Trace()
    for number, (fact, later_s) in enumerate(facts):
        trace.record(fact, number + later_s, number - 1)
    return trace


@given(STAMPED, STAMPED, STAMPED)
def test_it_is_what_a_comparison_fact_by_fact_finds(shared: list, one: list, other: list) -> None:  # type: ignore[type-arg]
    first, second = made(shared + one), made(shared + other)
    assert first_difference(first, second) == fact_by_fact(first, second)
    assert first_difference(second, first) == fact_by_fact(first, second)


@given(STAMPED, STAMPED, st.integers(1, 5))
def test_slices_find_the_same(one: list, other: list, budget: int) -> None:  # type: ignore[type-arg]
    first, second = made(one), made(other)
    parting = Parting(first, second)
    for _ in range(60):
        parting.consume(budget)
    assert parting.fact == fact_by_fact(first, second)


def test_a_run_does_not_differ_from_itself_nor_from_its_beginning() -> None:
    whole, part = echo(), echo(until_s=7.0)
    assert len(part) < len(whole)
    assert first_difference(whole, echo()) is None
    assert first_difference(part, whole) is first_difference(whole, part) is None
    parting = Parting(whole, part)
    assert parting.consume(1 << 20) is False
    assert (parting.fact, parting.effect) == (None, None)


def test_the_order_parts_them_and_its_effect_comes_later() -> None:
    plain, slow = echo(), echo((7.0, "set latency 300ms"))
    parting = Parting(plain, slow)
    while parting.consume(50):
        pass
    assert parting.fact is not None
    assert isinstance(slow[parting.fact].fact, CommandApplied)
    assert parting.effect is not None
    in_plain, in_slow = (plain[parting.effect[0]], slow[parting.effect[1]])
    assert type(in_plain.fact) is type(in_slow.fact)
    assert in_plain.fact != in_slow.fact or in_plain.time_s != in_slow.time_s
    assert in_slow.time_s > 7.0


def test_an_order_that_changes_nothing_has_no_effect() -> None:
    parting = Parting(echo(), echo((7.0, "release"), (8.0, "set loss 0%")))
    while parting.consume(1000):
        pass
    assert parting.fact is not None
    assert parting.effect is None


def test_a_dropped_packet_is_an_effect() -> None:
    plain = echo()
    sent = next(r.id for r in plain if getattr(r.fact, "payload", b"") and r.time_s > 5)
    lost = echo((plain[sent].time_s + 0.01, f"drop #{sent}"))
    parting = Parting(plain, lost)
    while parting.consume(1000):
        pass
    assert parting.effect is not None
    assert isinstance(lost[parting.effect[1]].fact, PacketDropped)


def test_long_traces_are_compared_by_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python looks at a few slices, not at each fact."""
    trace, slices = long_trace(100_000), []
    payloads = Trace.payloads

    def counted(self: Trace, first: int, stop: int) -> bytes:
        slices.append(first)
        return payloads(self, first, stop)

    monkeypatch.setattr(Trace, "payloads", counted)
    assert first_difference(trace, trace) is None
    assert len(slices) < 100
