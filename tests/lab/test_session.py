"""A session plays, pauses, steps, takes orders, and can be replayed to the byte."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.lab.commands import CommandError, TimedCommand, parse_command
from engines.lab.facts import CommandApplied, HostStarted, KnobTurned, RunEnded, RunFailed
from engines.lab.scenario import HostSpec, Scenario
from engines.lab.session import Session, SessionState, run_headless
from engines.lab.trace import Trace
from tests.lab.worlds import ECHO, echo_server, failing, returning

PATIENCE_S = 60


def rows(trace: Trace, until_s: float = math.inf) -> list[object]:
    """A trace as comparable values."""
    return [(r.time_s, r.cause, r.fact) for r in trace if r.time_s <= until_s]


def started(**settings: object) -> Session:
    session = Session(ECHO, paused=True, **settings)  # type: ignore[arg-type]
    session.start()
    assert session.wait_idle(PATIENCE_S)
    return session


def test_same_seed_same_trace_other_seed_other_trace() -> None:
    one, two, other = (run_headless(ECHO, seed=seed, until_s=20) for seed in (7, 7, 8))
    assert rows(one.trace) == rows(two.trace)
    assert rows(one.trace)[1:] != rows(other.trace)[1:]


def test_pauses_and_paces_do_not_change_what_happens() -> None:
    plain = run_headless(ECHO, seed=3, until_s=30)
    session = Session(ECHO, seed=3, pace=200.0)
    session.start()
    for pace in (50.0, 1000.0, math.inf):
        session.pause()
        session.wait_idle(PATIENCE_S)
        session.step()
        session.wait_idle(PATIENCE_S)
        session.set_pace(pace)
        session.play()
    session.run_until(30)
    assert session.wait_idle(PATIENCE_S)
    session.close()
    assert rows(session.trace, 30) == rows(plain.trace)


def test_a_step_ends_with_at_least_one_new_fact() -> None:
    session = started()
    lengths = []
    for _ in range(5):
        session.step()
        assert session.wait_idle(PATIENCE_S)
        lengths.append(len(session.trace))
    session.close()
    assert lengths == sorted(set(lengths))
    assert session.status.state is SessionState.ENDED


def test_run_until_shows_that_very_time() -> None:
    session = started()
    session.run_until(4.321)
    assert session.wait_idle(PATIENCE_S)
    assert session.status.now_s == 4.321
    session.close()


def test_an_order_takes_effect_in_a_paused_run() -> None:
    session = started()
    session.run_until(2.5)
    session.wait_idle(PATIENCE_S)
    session.command("set think-time 3 s")
    session.wait_idle(PATIENCE_S)
    applied = [r for r in session.trace if isinstance(r.fact, CommandApplied | KnobTurned)]
    session.close()
    assert [type(r.fact).__name__ for r in applied] == ["CommandApplied", "KnobTurned"]
    assert applied[0].time_s == pytest.approx(2.5, abs=1e-5)
    assert applied[1].cause == applied[0].id
    assert session.status.message == ""


ORDERS = st.sampled_from(
    [
        "set think-time 2 s",
        "set latency 300ms",
        "set loss 30%",
        "set jitter 50ms",
        "set bandwidth 2kB/s",
        "kill server",
        "restart server",
        "kill client",
        "restart client",
        "unplug client",
        "plug client",
        "cut client>server",
        "hold server>client",
        "restore client-server",
        "reset c1",
        "reset c2",
        "drop next packet",
        "lose next 2 packets",
        "hold next packet from server",
        "release",
        "drop #20",
    ]
)


@given(
    given=st.lists(st.tuples(st.floats(0, 20), ORDERS), max_size=12).map(sorted),
    seed=st.integers(0, 99),
)
def test_a_live_session_replays_from_its_record(given: list[tuple[float, str]], seed: int) -> None:
    live = started(seed=seed)
    for time_s, order in given:
        live.run_until(time_s)
        live.command(order)
    live.run_until(30)
    assert live.wait_idle(PATIENCE_S)
    status = live.status
    live.close()
    assert status.state is SessionState.PAUSED, status.message
    again = run_headless(ECHO, seed=seed, commands=live.commands, until_s=30)
    assert rows(again.trace) == rows(live.trace)
    assert sum(isinstance(r.fact, CommandApplied) for r in live.trace) == len(given)


def test_memory_is_lost_and_the_program_begins_again() -> None:
    commands = [TimedCommand(2.0, parse_command("kill server")), TimedCommand(4.0, parse_command("restart server"))]
    session = run_headless(ECHO, commands=commands, until_s=10)
    starts = [(r.fact.host, r.fact.attempt, r.time_s) for r in session.trace if isinstance(r.fact, HostStarted)]
    assert starts == [("server", 1, 0.0), ("client", 1, 0.0), ("server", 2, 4.0)]
    assert len(session.trace) > session.trace.length_at(5.0)  # the client found the new server


def test_a_failing_program_ends_its_session_with_a_reason() -> None:
    scenario = Scenario(
        "failing", "Failing", "", (HostSpec("client", failing), HostSpec("server", echo_server)), ECHO.knobs
    )
    session = run_headless(scenario, until_s=10)
    assert session.status.state is SessionState.FAILED
    assert session.status.message == "client failed: KeyError: 'no such thing'"
    assert [r.fact.host for r in session.trace if isinstance(r.fact, RunFailed)] == ["client"]


def test_a_run_whose_programs_return_ends() -> None:
    session = run_headless(Scenario("short", "Short", "", (HostSpec("client", returning),)), until_s=10)
    assert session.status.state is SessionState.ENDED
    assert isinstance(session.trace[len(session.trace) - 1].fact, RunEnded)


@pytest.mark.parametrize(
    ("order", "complaint"),
    [
        ("set latncy 20ms", "did you mean 'latency'?"),
        ("set latency 20 apples", "write a number and one of"),
        ("set latency 200 s", "goes from 0 s to 10 s"),
        ("kill sever", "did you mean 'server'?"),
        ("kil server", "did you mean 'kill'?"),
        ("drop next 3 respones", "did you mean 'response'?"),
        ("cut client", "cannot read"),
        ("", "an empty command"),
    ],
)
def test_a_wrong_order_is_refused_in_one_line(order: str, complaint: str) -> None:
    session = Session(ECHO)
    with pytest.raises(CommandError, match=complaint.replace("?", r"\?")) as caught:
        session.command(order)
    assert "\n" not in str(caught.value)
    assert session.commands == ()


def test_a_trace_that_fills_up_stops_the_run_and_says_so() -> None:
    session = Session(ECHO, pace=math.inf, limit_facts=500)
    session.start()
    assert session.wait_idle(PATIENCE_S)
    status = session.status
    session.close()
    assert 500 <= len(session.trace) < 600
    assert "stopped at 501 facts" in status.message
    assert status.state is SessionState.PAUSED


def test_closing_twice_or_before_the_start_is_harmless() -> None:
    session = Session(ECHO)
    session.close()
    session = started()
    session.close()
    session.close()


def test_a_program_killed_in_the_instant_of_its_start_never_begins() -> None:
    commands = [TimedCommand(2.0, parse_command("restart server"))] * 3
    session = run_headless(ECHO, commands=commands, until_s=10)
    assert session.status.state is SessionState.ENDED, session.status.message
