"""The transcript says in words what happened, a line for each thing that can be seen."""

from collections.abc import Iterator

import pytest

from engines.export.transcript import _LINES, transcript
from engines.lab.facts import (
    FACTS,
    CommandApplied,
    ConnectionClosed,
    ConnectionReset,
    Fact,
    HostCrashed,
    HostStarted,
    LinkChanged,
    Noted,
    PacketKind,
    Role,
    Text,
    TimedOut,
    WaitEnded,
    WaitKind,
    WaitStarted,
    WorkFinished,
    WorkStarted,
)
from tests.synthetic import REQUEST, RESPONSE, Script
from tests.test_story import example


def lines(script: Script) -> Iterator[str]:
    return transcript(script.trace)


def test_an_exchange_reads_like_this() -> None:
    script = Script().begin()
    script.connect(0.0)
    script.exchange(1.0)
    assert list(lines(script)) == [
        "0.000 s  run: request-response/simple-get begins, seed 7",
        "0.000 s  client to server: opens connection c1 to port 80",
        "0.000 s  client: connection c1 is open",
        "0.000 s  server: connection c1 is open",
        "1.000 s  client to server: request GET /hello sent on c1",
        "1.040 s  server: request GET /hello from client has arrived whole",
        "1.060 s  server to client: response 200 OK sent on c1",
        "1.100 s  client: response 200 OK from server has arrived whole",
    ]


def test_a_loss_and_what_it_holds_up_are_told() -> None:
    script = Script().begin()
    script.connect(0.0)
    first = script.send(1.0, "server", RESPONSE[:-5])
    answer = script.start(1.0, "server", Role.RESPONSE, "200 OK", 0, first)
    second = script.send(1.1, "server", RESPONSE[-5:])
    script.end(1.1, answer, len(RESPONSE))
    script.drop(1.2, first)
    script.arrive(1.3, second)
    script.arrive(12.0, script.send_again(11.0, first))
    assert list(lines(script))[4:] == [
        " 1.000 s  server to client: response 200 OK sent on c1",
        " 1.100 s  server: response 200 OK ends after 43 B (content-length)",
        " 1.200 s  server to client: data on c1, 38 B was lost on its way (loss)",
        "11.000 s  server to client: data on c1, 38 B sent again, attempt 2",
        "12.000 s  client: data on c1, 38 B from server has arrived",
        "12.000 s  client: response 200 OK from server has arrived whole",
    ]


def test_what_goes_wrong_and_what_is_ordered_is_told() -> None:
    script = Script().begin()
    trace = script.trace
    trace.record(CommandApplied(0, Text("kill server")), 1.0)
    trace.record(HostCrashed("server"), 1.0)
    trace.record(LinkChanged("client", "server", "cut"), 2.0)
    trace.record(TimedOut("client", "read", 5.0), 3.0)
    trace.record(ConnectionReset(1, "client", "reset"), 4.0)
    trace.record(HostStarted("server", 2), 5.0)
    work = trace.record(WorkStarted("server", Text("resize")), 6.0)
    trace.record(WorkFinished(work, "server", Text("done")), 6.3)
    wait = trace.record(WaitStarted("server", WaitKind.HELD, Text("nothing new")), 7.0)
    trace.record(WaitEnded(wait, "server", Text("news")), 9.0)
    assert [line.split("  ", 1)[1] for line in transcript(trace)][1:] == [
        "order: kill server",
        "server: crashed",
        "link from client to server: is cut",
        "client: timed out, read, after 5 s",
        "client: connection c1 is gone, reset",
        "server: started again, time 2",
        "server: began work, resize",
        "server: finished resize after 300 ms, done",
        "server: holds a request open, nothing new",
        "server: stopped waiting for nothing new after 2 s, news",
    ]


def test_nothing_in_a_label_can_break_a_line_or_steer_a_terminal() -> None:
    script = Script().begin()
    script.trace.record(Noted("server", Text("one\ntwo \x1b[31mred\u202e")), 1.0)
    assert list(transcript(script.trace))[-1] == "1.000 s  server: one two  [31mred "


def test_a_response_that_ends_with_the_connection_is_whole_at_the_fin_and_one_cut_short_never() -> None:
    script = Script().begin()
    script.connect(0.0)
    packet = script.send(1.0, "server", RESPONSE)
    answer = script.start(1.0, "server", Role.RESPONSE, "200 OK", 0, packet)
    script.arrive(1.1, packet)
    fin = script.send(2.0, "server", b"", kind=PacketKind.FIN)
    script.end(2.0, answer, len(RESPONSE), "connection closed")
    before = list(lines(script))
    script.arrive(2.1, fin)
    assert not any("whole" in line for line in before)
    assert list(lines(script))[-1] == "2.100 s  client: response 200 OK from server has arrived whole"
    short = Script().begin()
    short.connect(0.0)
    packet = short.send(1.0, "client", REQUEST)
    asked = short.start(1.0, "client", Role.REQUEST, "GET /hello", 0, packet)
    short.end(2.0, asked, len(REQUEST), "cut short")
    short.arrive(2.1, packet)
    assert not any("whole" in line for line in lines(short))
    assert "ends after 37 B (cut short)" in list(lines(short))[-1]


def test_what_comes_to_a_closed_end_is_too_late() -> None:
    script = Script().begin()
    script.connect(0.0)
    script.trace.record(ConnectionClosed(1, "client"), 0.5)
    script.exchange(1.0)
    assert list(lines(script))[-1] == "1.100 s  client: data on c1, 43 B from server comes too late, this end is closed"


def test_every_class_of_fact_has_a_line_or_is_left_out_on_purpose() -> None:
    assert set(_LINES) == set(FACTS)


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.__name__)
def test_every_line_is_plain_words(fact: type[Fact]) -> None:
    trace, _ = example(fact)
    for line in transcript(trace):
        assert line.isprintable()
        assert not set(line) & set("─│┌┐└┘├┤═║█▄▀►◄→←╳{}")


def test_the_first_facts_alone_can_be_told_too() -> None:
    script = Script().begin()
    script.connect(0.0)
    script.exchange(1.0)
    assert list(transcript(script.trace, 4)) == list(lines(script))[:2]
    assert list(transcript(Script().trace)) == []
