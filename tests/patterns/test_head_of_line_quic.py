"""The lesson on lost packets under QUIC and under HTTP/2, in virtual time."""

import pytest

pytest.importorskip("aioquic")

from engines.lab.facts import Measured, PacketDropped
from engines.lab.knobs import Value
from engines.lab.session import Session
from engines.metrics import Numbers
from engines.patterns.multiplexing.head_of_line_quic import LESSON
from tests.patterns.laws import every
from tests.patterns.runs import at, fingerprint, run

ROUND_TRIP_S, PARTS = 0.2, 8


def waits(session: Session) -> list[float]:
    return [fact.amount for _, fact in every(session.trace, Measured) if fact.what == "wait seconds"]


@pytest.mark.parametrize("transport", ["quic", "tcp+h2"])
def test_without_loss_nobody_is_late(transport: str) -> None:
    session = run(LESSON, knobs={"loss": 0.0, "transport": transport}, until_s=12.0)
    assert all(took_s == pytest.approx(ROUND_TRIP_S, rel=0.25) for took_s in waits(session))  # aioquic paces
    assert Numbers(session.trace).value("measured:parts late", 12.0) == 0


@pytest.mark.parametrize("time_s", [3.4, 3.5, 5.2, 7.0])
def test_one_lost_packet_makes_two_parts_late_at_most_with_quic_and_all_behind_it_with_tcp(time_s: float) -> None:
    def late(transport: str) -> tuple[float, float]:
        knobs: dict[str, Value] = {"loss": 0.0, "transport": transport}
        session = run(LESSON, [at(time_s, "drop next packet from server")], knobs=knobs, until_s=15.0)
        assert len(every(session.trace, PacketDropped)) == 1
        numbers = Numbers(session.trace)
        return numbers.value("measured:parts late", 15.0) or 0, numbers.value("max:wait seconds", 15.0) or 0

    quic, tcp = late("quic"), late("tcp+h2")
    assert quic[0] <= 2
    assert tcp == (
        PARTS,
        pytest.approx(3.25 * ROUND_TRIP_S),
    )  # half a trip, death half way back, the timer, half a trip


def test_of_many_pages_more_parts_are_late_with_tcp() -> None:
    """A hundred pages or so at 3 %."""

    def share_late(transport: str) -> float:
        knobs: dict[str, Value] = {"loss": 0.03, "transport": transport, "page-every": 0.1}
        numbers = Numbers(run(LESSON, knobs=knobs, until_s=40.0).trace)
        return (numbers.value("measured:parts late", 40.0) or 0) / (numbers.value("measured:parts", 40.0) or 1)

    assert share_late("tcp+h2") > 1.5 * share_late("quic") > 0


def test_fifty_runs_are_one_run() -> None:
    knobs: dict[str, Value] = {"loss": 0.1}
    assert len({fingerprint(run(LESSON, knobs=knobs, until_s=2.0).trace) for _ in range(50)}) == 1
