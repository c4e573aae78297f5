"""Pure parts of going back: landmarks, what can be done to a message at a moment, and the lines about branches."""

from dataclasses import replace

import pytest

from engines.lab.commands import TimedCommand, parse_command
from engines.lab.facts import PacketSent, TimedOut
from engines.lab.trace import Trace
from engines.patterns.registry import PATTERNS
from tests.tui.contest import open_paused
from tests.tui.fake_lab import FakeSession, lesson
from tui.index import TraceIndex
from tui.landmarks import ANYTHING, KINDS, LANDMARK_CODES, Landmarks
from tui.loading import load_engine
from tui.panels.branches import BranchRow, PartingFacts, branch_lines, parting_lines
from tui.panels.comparison import difference_table
from tui.panels.glyphs import UNICODE
from tui.panels.lines import joined, width_of
from tui.runs import Run
from tui.this_message import Chosen, chosen_message

ENGINE = replace(load_engine(), open_session=open_paused)
KIND = {kind.name: kind for kind in KINDS}


def landmarks(*facts: tuple[float, object]) -> Landmarks:
    trace = Trace()
    made = Landmarks(trace)
    for time_s, fact in facts:
        fact_id = trace.record(fact, time_s)  # type: ignore[arg-type]
        if trace.kind[fact_id] in LANDMARK_CODES:
            made.take(fact_id)
    return made


def test_landmarks_are_jumped_to_by_moments_and_never_twice() -> None:
    late = TimedOut("client", "read", 2.0)
    made = landmarks((1.0, late), (2.0, late), (2.0, late), (5.0, late))
    timeout = KIND["timeout"]
    assert [made.after(timeout, t) for t in (0.0, 1.0, 1.5, 2.0, 5.0)] == [0, 1, 1, 3, None]
    assert [made.before(timeout, t) for t in (6.0, 5.0, 2.0, 1.0, 0.5)] == [3, 1, 0, None, None]
    assert (made.count(timeout), made.number(timeout, 3), made.count(KIND["loss"])) == (4, 4, 0)
    assert made.after(ANYTHING, 1.0) == 1
    assert made.before(KIND["error"], 9.0) is None


def test_going_to_and_fro_visits_the_same_landmarks() -> None:
    session = FakeSession(lesson(), "p/s", 0, {}, 1.0)
    session.start()
    for order in ("kill server", "restart server", "drop next message"):
        session.advance(1.7)
        session.command(order)
    index = TraceIndex(session.trace)
    index.consume()
    there, here = [], 0.0
    while (fact := index.landmarks.after(ANYTHING, here)) is not None:
        there.append(fact)
        here = session.trace.time[fact]
    back = []
    here = 99.0
    while (fact := index.landmarks.before(ANYTHING, here)) is not None:
        back.append(fact)
        here = session.trace.time[fact]
    assert there == back[::-1]
    assert len(there) == 3


# --- this message -------------------------------------------------------------------------------------------------------


def a_run(*orders: tuple[float, str], until_s: float = 6.0, **knobs: float) -> Run:
    """Simple GET, with these orders, read up to a moment."""
    pattern = next(p for p in PATTERNS if p.name == "request-response")
    commands = [TimedCommand(time_s, parse_command(text)) for time_s, text in orders]
    run = Run(
        ENGINE, pattern, pattern.lesson("simple-get"),
        seed=1, knobs=knobs, pace=1.0, now=lambda: 0.0, commands=commands, paused=True,
    )  # fmt: skip
    run.session.start()
    run.session.run_until(until_s)
    assert run.session.wait_idle(60.0)
    run.session.close()
    while run.consume():
        pass
    return run


def first_request(run: Run) -> tuple[int, float, float]:
    """The first request's MessageStarted, when it was sent, and when it arrived."""
    message = next(i for i in range(len(run.trace)) if run.index.newest_message(run.trace.time[i]) == i)
    packet = run.trace.cause[message]
    way, _ = run.model.messages.way(packet, len(run.trace))
    return message, way[0][0], way[-1][0]


def offers(chosen: Chosen) -> dict[str, tuple[str, float | None, bool]]:
    return {deed.title.split(",")[0]: (deed.order, deed.at_s, bool(deed.refusal)) for deed in chosen.deeds[:4]}


def test_while_it_is_on_its_way_it_can_be_caught_at_the_playhead() -> None:
    run = a_run()
    message, sent_s, arrives_s = first_request(run)
    packet = run.trace.cause[message]
    found = offers(chosen_message(run, message, (sent_s + arrives_s) / 2))
    assert found["drop it"] == (f"drop #{packet}", None, False)
    assert found["hold it"] == (f"hold #{packet}", None, False)
    assert found["duplicate it"] == ("", None, True)


@pytest.mark.parametrize("when", ["before it was sent", "after it arrived"])
def test_at_any_other_time_it_is_caught_where_it_was_sent(when: str) -> None:
    run = a_run()
    message, sent_s, arrives_s = first_request(run)
    time_s = sent_s / 2 if when == "before it was sent" else arrives_s
    found = offers(chosen_message(run, message, time_s))
    assert found["drop it"] == (f"drop #{run.trace.cause[message]}", sent_s, False)


def test_what_is_held_can_be_let_go() -> None:
    plain = a_run()
    message, sent_s, _ = first_request(plain)
    packet = plain.trace.cause[message]
    run = a_run((sent_s + 0.01, f"hold #{packet}"))
    found = offers(chosen_message(run, message, sent_s + 1.0))
    assert found["release it"] == (f"release #{packet}", None, False)
    assert "hold it" not in found
    run = a_run((sent_s + 0.01, "hold client-server"))
    held = chosen_message(run, message, sent_s + 1.0)
    assert "restore the link" in next(deed.refusal for deed in held.deeds if deed.title == "release it")


def test_a_retransmission_is_what_is_on_its_way() -> None:
    plain = a_run()
    message, sent_s, _ = first_request(plain)
    run = a_run((sent_s + 0.01, f"drop #{plain.trace.cause[message]}"))
    again = next(r for r in run.trace if isinstance(r.fact, PacketSent) and r.fact.attempt == 2)
    found = offers(chosen_message(run, message, again.time_s + 0.001))
    assert found["drop it"][0] == f"drop #{again.id}"
    lost = chosen_message(run, message, again.time_s - 0.01)
    assert any("lost as it is" in deed.refusal for deed in lost.deeds)


def test_without_latency_there_is_no_moment_to_catch_it_in() -> None:
    run = a_run(latency=0.0)
    message, _, _ = first_request(run)
    chosen = chosen_message(run, message, 5.0)
    assert any("no moment to catch it in" in deed.refusal for deed in chosen.deeds)
    assert chosen.next_ones("drop", 4) == "drop next 4 requests from client"


def test_every_offer_is_a_command_that_reads_back() -> None:
    run = a_run()
    for fact_id in range(len(run.trace)):
        if isinstance(run.trace[fact_id].fact, PacketSent) or fact_id in (first_request(run)[0],):
            for deed in chosen_message(run, fact_id, run.trace.time[fact_id]).deeds:
                assert deed.order or deed.refusal
                if deed.order:
                    assert str(parse_command(deed.order)) == deed.order


# --- lines --------------------------------------------------------------------------------------------------------------

ROWS = (
    BranchRow(0, "as it was", 0, 41.2, False),
    BranchRow(1, "set latency 500 ms at 3.200 s", 1, 12.0, True),
    BranchRow(2, "drop “GET /hello” at 5.000 s", 2, 9.1234, False),
)


def test_the_list_of_branches() -> None:
    assert joined(branch_lines(ROWS, 1, 60, UNICODE)) == (
        "   0 as it was                                   41.200 s\n"
        " ►   1 set latency 500 ms at 3.200 s   shown     12.000 s\n"
        "       2 drop “GET /hello” at 5.000 s             9.123 s"
    )
    assert "Go back in time" in joined(branch_lines(ROWS[:1], 0, 60, UNICODE))


@pytest.mark.parametrize("width", [30, 44, 60, 100])
def test_the_lines_fit(width: int) -> None:
    facts = PartingFacts(3.2, "an order " * 9, (3.4, 4.0), ("something happens " * 5, "something else"))
    lines = [*branch_lines(ROWS, 0, width, UNICODE), *parting_lines(facts, ("as it was", "branch 1"), width, UNICODE)]
    assert max(map(width_of, lines)) <= width + 8 * (width < 40)


def test_where_two_part_in_words() -> None:
    heads = ("as it was", "branch 1")
    assert joined(parting_lines(PartingFacts(None), heads, 60, UNICODE)) == " no difference so far"
    assert joined(parting_lines(PartingFacts(3.2, "an order."), heads, 60, UNICODE)) == (
        "█first difference at 3.200 s: an order.\n it has had no effect so far"
    )
    facts = PartingFacts(3.2, "an order.", (3.4, 3.7), ("it arrives.", "it arrives late."))
    assert joined(parting_lines(facts, heads, 60, UNICODE)) == (
        "█first difference at 3.200 s: an order.\n█as it was, 3.400 s: it arrives.\n█branch 1, 3.700 s: it arrives late."
    )


def test_by_how_much_the_numbers_differ() -> None:
    one: dict[str, float | None] = {"requests": 5.0, "delay": 0.2, "overhead": 0.25, "bytes": None}
    other: dict[str, float | None] = {"requests": 5.0, "delay": 0.1, "overhead": 0.3, "bytes": 100.0}
    table = difference_table(("a", "b"), tuple(one), (one, other))
    assert [row[-1] for row in table.rows] == ["", "-100 ms", "+5 points", "only one"]
