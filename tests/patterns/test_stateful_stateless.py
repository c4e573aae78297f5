"""Who forgets what: a restart at any idle moment, servers that take turns, tokens that outlive a logout, and primes."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.lab.commands import TimedCommand
from engines.lab.facts import Measured, MessageStarted, Noted, PacketDelivered, PacketSent, Role
from engines.lab.knobs import Value
from engines.lab.trace import Trace
from engines.patterns.stateful_stateless import PATTERN
from engines.patterns.stateful_stateless.prime import smallest_divisor
from engines.wire.balancer import CHECKED_AGAIN_S, Rota
from tests.patterns.laws import every
from tests.patterns.runs import at, run

RESTART, BALANCER = PATTERN.lesson("restart"), PATTERN.lesson("balancer")
TOKEN, PRIME = PATTERN.lesson("token"), PATTERN.lesson("prime")
NEVER, LATENCY_S = 3600.0, 0.1


def counted(trace: Trace, what: str, until_s: float = float("inf")) -> float:
    """How much the programs had measured of `what` by then."""
    return sum(fact.amount for record, fact in every(trace, Measured) if fact.what == what and record.time_s <= until_s)


# --- a restart ----------------------------------------------------------------------------------------------------------


def restarted(state: str, commands: list[TimedCommand]) -> Trace:
    knobs: dict[str, Value] = {"state": state, "deployed-every": NEVER, "customers": 3}
    return run(RESTART, commands, knobs=knobs, until_s=30.0).trace


@cache
def never_restarted(state: str) -> Trace:
    return restarted(state, [])


def idle(trace: Trace, time_s: float) -> bool:
    """Whether nothing is on its way then, nobody waits for an answer, and nobody asks before a goodbye could arrive."""
    sent, arrived = ([record.time_s for record, _ in every(trace, kind)] for kind in (PacketSent, PacketDelivered))
    if any(time_s - 1e-6 <= sent_s <= time_s + LATENCY_S + 1e-6 for sent_s in sent):
        return False
    roles = [m.role for r, m in every(trace, MessageStarted) if r.time_s <= time_s]
    return sum(sent_s <= time_s for sent_s in sent) == sum(
        arrived_s <= time_s for arrived_s in arrived
    ) and roles.count(Role.REQUEST) == roles.count(Role.RESPONSE)


@cache
def idle_moments(state: str) -> list[float]:
    return [n * 0.2 + 0.53 for n in range(98) if idle(never_restarted(state), n * 0.2 + 0.53)]


@pytest.mark.parametrize("state", ["memory", "database", "token"])
@given(data=st.data())
@settings(max_examples=12)
def test_a_restart_in_an_idle_moment(state: str, data: st.DataObject) -> None:
    """It changes nothing where the server is stateless; in memory it breaks exactly the purchases that are under way."""
    plain = never_restarted(state)
    time_s = data.draw(st.sampled_from(idle_moments(state)))
    logins = sum(m.label == "POST /login" and r.time_s <= time_s for r, m in every(plain, MessageStarted))
    under_way = logins - counted(plain, "purchases", time_s)
    trace = restarted(state, [at(time_s, "restart server")])
    assert counted(trace, "purchases broken") == (under_way if state == "memory" else 0)
    assert counted(trace, "steps repeated") == 0
    if state != "memory":
        assert counted(trace, "purchases") == pytest.approx(
            counted(plain, "purchases"), abs=3
        )  # a connection each to open


def test_the_file_of_the_database_outlives_its_program() -> None:
    """Sessions are found again after both have been restarted, as only the file can have kept them."""
    trace = restarted("database", [at(2.0, "restart server"), at(2.0, "restart database")])
    assert counted(trace, "purchases broken") == 0
    assert counted(trace, "purchases") > 0


def test_a_stateless_server_without_its_database_serves_nobody() -> None:
    trace = restarted("database", [at(2.0, "kill database")])
    assert counted(trace, "purchases") == counted(trace, "purchases", 2.0)
    assert any(note.text.startswith("the database does not answer") for _, note in every(trace, Noted))


# --- two servers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "sticky", "broken"),
    [("memory", False, True), ("memory", True, False), ("database", False, False), ("token", False, False)],
)
def test_who_needs_to_come_back_to_the_same_server(state: str, sticky: bool, broken: bool) -> None:
    trace = run(BALANCER, knobs={"state": state, "sticky": sticky}).trace
    assert (counted(trace, "purchases broken") > 0) == broken
    assert (counted(trace, "purchases") > 0) == (not broken)
    asked = {m.receiver for _, m in every(trace, MessageStarted) if m.sender == "balancer" and m.role is Role.REQUEST}
    assert asked == {"server1", "server2"}


@pytest.mark.parametrize(("state", "broken"), [("memory", True), ("database", False), ("token", False)])
def test_a_sticky_server_that_dies(state: str, broken: bool) -> None:
    trace = run(BALANCER, [at(2.3, "kill server1")], knobs={"state": state, "sticky": True}).trace
    assert (counted(trace, "purchases broken") > 0) == broken
    assert counted(trace, "purchases") > counted(trace, "purchases", 8.0)


def test_the_rota() -> None:
    rota = Rota(("a", "b", "c"))
    assert [rota.order(0.0)[0] for _ in range(4)] == ["a", "b", "c", "a"]
    assert rota.order(0.0, "a") == ["a", "b", "c"]
    rota.lost("c", 1.0)
    assert rota.order(1.5) == ["a", "b"]
    assert rota.order(1.5, "c") == ["a", "b"]
    assert sorted(rota.order(1.0 + CHECKED_AGAIN_S)) == ["a", "b", "c"]
    for server in "abc":
        rota.lost(server, 5.0)
    assert sorted(rota.order(5.0)) == ["a", "b", "c"], "when all are down, all are worth a try"


# --- a token ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["changed claims", "alg none", "another key"])
@pytest.mark.parametrize("accepts", ["hs256", "hs256 or none"])
def test_a_forgery_passes_only_where_the_server_lets_the_token_choose(way: str, accepts: str) -> None:
    trace = run(TOKEN, knobs={"tries": way, "accepts": accepts}).trace
    passed, refused = counted(trace, "forgeries accepted"), counted(trace, "forgeries refused")
    assert (passed > 0, refused > 0) == (
        (True, False) if (way, accepts) == ("alg none", "hs256 or none") else (False, True)
    )


def test_a_logout_needs_a_memory() -> None:
    """Without a list every logout is in vain, with one none is, until a restart loses the list."""
    assert counted(run(TOKEN).trace, "accepted after logout") > 0
    listed: dict[str, Value] = {"denylist": True}
    assert counted(run(TOKEN, knobs=listed).trace, "accepted after logout") == 0
    plain = run(TOKEN, knobs=listed).trace
    logout_s = next(r.time_s for r, m in every(plain, MessageStarted) if m.label == "POST /logout")
    trace = run(TOKEN, [at(logout_s + 0.5, "restart server")], knobs=listed).trace
    assert counted(trace, "accepted after logout") == 1


@pytest.mark.parametrize("lifetime_s", [1.0, 2.0, 2.5])
def test_a_token_ends_when_it_says(lifetime_s: float) -> None:
    """Uses are a pause and a round trip apart: as many succeed as begin before the token has expired at the server."""
    pause_s, latency_s = 0.8, 0.1
    trace = run(TOKEN, knobs={"lifetime": lifetime_s, "asks": 10}, until_s=4.0 * latency_s + lifetime_s + 1.2).trace
    period_s = pause_s + 2 * latency_s
    assert counted(trace, "accepted") == sum(n * period_s < lifetime_s - 1e-9 for n in range(1, 10))


# --- primes -------------------------------------------------------------------------------------------------------------


@given(st.integers(2, 5000))
def test_the_smallest_divisor(number: int) -> None:
    divisors = [d for d in range(2, number + 1) if number % d == 0]
    assert smallest_divisor(number)[0] == divisors[0]


@cache
def in_peace() -> list[str]:
    """What the client says when no server dies."""
    return [note.text for _, note in every(run(PRIME, until_s=15.0).trace, Noted)]


@given(st.lists(st.tuples(st.floats(0.1, 14.0), st.sampled_from(["server1", "server2"])), max_size=4))
@settings(max_examples=10)
def test_no_server_s_death_changes_an_answer(deaths: list[tuple[float, str]]) -> None:
    """Every question is answered, in the order of asking, with the truth; a death costs time."""
    commands = [at(time_s, f"{verb} {server}") for time_s, server in sorted(deaths) for verb in ("kill", "restart")]
    said = [note.text for _, note in every(run(PRIME, commands, until_s=15.0).trace, Noted) if note.text[0].isdigit()]
    assert said == in_peace()[: len(said)]
    assert len(said) >= len(in_peace()) - 2 * len(deaths)
    for text in said:
        number = int(text.split()[0])
        divisor, _ = smallest_divisor(number)
        assert text == (f"{number} is prime" if divisor == number else f"{number} is {divisor} x {number // divisor}")
