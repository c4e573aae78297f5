"""The lessons on connections that break and connections that move, in virtual time."""

import pytest

from engines.lab.facts import ConnectionOpened, Measured, MessageStarted, Noted, PacketDropped, PacketKind, PacketSent
from engines.lab.knobs import Value
from engines.lab.session import Session
from engines.metrics import Numbers
from engines.patterns.stateful_stateless.quic_migration import LESSON as FILM
from engines.patterns.stateful_stateless.tcp_breaks import LESSON as FORM
from tests.patterns.laws import breaches, every
from tests.patterns.runs import at, fingerprint, run

ROUND_TRIP_S = 0.2


def counted(session: Session, what: str) -> int:
    return int(sum(fact.amount for _, fact in every(session.trace, Measured) if fact.what == what))


def connections(session: Session) -> int:
    return sum(fact.host == "client" for _, fact in every(session.trace, ConnectionOpened))


# --- a form over connections that break ---------------------------------------------------------------------------------


def test_undisturbed_a_form_takes_as_long_as_its_steps_and_one_connection() -> None:
    session = run(FORM)
    done = [record.time_s for record, fact in every(session.trace, Measured) if fact.what == "forms done"]
    step_s = ROUND_TRIP_S + 0.2 + 0.8
    assert done == pytest.approx([ROUND_TRIP_S + 5 * step_s * n for n in range(1, 5)])
    assert connections(session) == 1


@pytest.mark.parametrize("trouble", ["lose next response", "lose next request", "reset c1", "move client"])
def test_what_breaks_a_connection_costs_a_step_or_a_form_depending_on_where_the_state_is(trouble: str) -> None:
    """In the fourth step of the first form; the next request to be lost is that of the fifth."""
    by_request = run(FORM, [at(3.85, trouble)])
    assert (counted(by_request, "begun again"), counted(by_request, "forms given up")) == (0, 0)
    assert counted(by_request, "tried again") == 1
    assert connections(by_request) == 2
    by_connection = run(FORM, [at(3.85, trouble)], knobs={"step-is-in": "connection"})
    assert counted(by_connection, "begun again") == 1
    labels = [fact.label for _, fact in every(by_connection.trace, MessageStarted) if fact.label.startswith("PUT")]
    hit = 5 if "request" in trouble else 4
    assert labels[hit - 2 : hit + 3] == [f"PUT /steps/{n}" for n in (hit - 1, hit, hit, 1, 2)]


def test_a_connection_that_was_closed_between_two_requests_is_replaced_without_a_word() -> None:
    session = run(FORM, [at(4.5, "kill server"), at(4.51, "restart server")])
    assert (counted(session, "tried again"), connections(session)) == (0, 2)


# --- a film on a phone that moves ---------------------------------------------------------------------------------------

pytest.importorskip("aioquic")
MOVED_S = 5.5


def film(**knobs: Value) -> Session:
    named = {name.replace("_", "-"): value for name, value in knobs.items()}
    session = run(FILM, [at(MOVED_S, "move client")], knobs=named)
    assert breaches(session.trace) == []
    return session


def longest_s(session: Session) -> float:
    return max(fact.amount for _, fact in every(session.trace, Measured) if fact.what == "wait seconds")


def test_quic_makes_one_connection_and_moves_it() -> None:
    session = film()
    assert (counted(session, "handshakes"), counted(session, "asked in vain")) == (1, 0)
    assert longest_s(session) < 1.1 * ROUND_TRIP_S
    assert any(
        "the peer is at client@2" in fact.text for _, fact in every(session.trace, Noted) if fact.host == "server"
    )
    assert len({fact.flow for _, fact in every(session.trace, PacketSent)}) == 1


def test_quic_that_is_not_told_loses_a_round_trip_to_the_proof_of_its_address() -> None:
    session = film(notices=False)
    assert (counted(session, "handshakes"), counted(session, "asked in vain")) == (1, 0)
    assert longest_s(session) == pytest.approx(2 * ROUND_TRIP_S, abs=0.02)


def test_tcp_makes_another_connection() -> None:
    told, untold = film(transport="tcp"), film(transport="tcp", notices=False)
    assert connections(told) == connections(untold) == 2
    assert longest_s(told) == pytest.approx(2 * ROUND_TRIP_S)  # to connect, and to ask
    assert (counted(told, "asked in vain"), counted(untold, "asked in vain")) == (0, 1)
    resets = [r.time_s for r, fact in every(untold.trace, PacketSent) if fact.kind is PacketKind.RST]
    asked = [
        r.time_s
        for r, fact in every(untold.trace, MessageStarted)
        if fact.label.startswith("GET") and r.time_s > MOVED_S
    ]
    assert resets[0] == pytest.approx(asked[0] + ROUND_TRIP_S / 2)


def test_who_only_listens_waits_until_it_asks_anew() -> None:
    knobs: dict[str, Value] = {"notices": False, "piece-size": 50_000.0, "bandwidth": 50_000.0}
    session = run(FILM, [at(MOVED_S, "move client")], knobs=knobs)
    assert Numbers(session.trace).value("max:wait seconds", 20.0) == pytest.approx(3.0)  # its patience
    assert counted(session, "handshakes") == 1
    assert any(fact.reason == "address gone" for _, fact in every(session.trace, PacketDropped))


def test_fifty_moves_are_one_move() -> None:
    commands = [at(0.9, "move client"), at(1.6, "drop next packet"), at(2.2, "move client")]
    assert len({fingerprint(run(FILM, commands, until_s=3.0).trace) for _ in range(50)}) == 1
