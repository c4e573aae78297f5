"""The story tells what matters, in plain words, for every kind of fact there is."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.lab.facts import (
    FACTS,
    CommandApplied,
    ConnectionReset,
    Fact,
    HostCrashed,
    LinkChanged,
    MessageEnded,
    Noted,
    PacketDelivered,
    PacketDropped,
    PacketHeld,
    PacketKind,
    PacketReleased,
    PacketSent,
    PoolAssigned,
    Role,
    Text,
    TimedOut,
    WaitEnded,
    WaitKind,
    WaitStarted,
    WorkFinished,
    WorkStarted,
)
from engines.lab.trace import Trace
from engines.metrics import find_metric
from engines.patterns.contract import Beat, Lesson
from engines.patterns.registry import PATTERNS
from engines.sentences import SENTENCES, sentence
from engines.story import beat_faults, cause_chain, explain, story_at, tell
from tests.synthetic import REQUEST, RESPONSE, Script

LESSON = Lesson("simple-get", "Simple GET", "Look at the trip there and back.", ())

_EXAMPLES: dict[Any, Any] = {int: 1, bool: True, str: "server", Text: Text("GET /hello"), bytes: b"x", float: 1.5}
_REFERENCES = {
    "packet": PacketSent(1, "client", "server", PacketKind.DATA, 0, 1, 1.0, b"x"),
    "message": None,
    "work": WorkStarted("server", Text("resize")),
    "wait": WaitStarted("server", WaitKind.HELD, Text("nothing new")),
}


def example(fact: type[Fact], **values: Any) -> tuple[Trace, int]:
    """A trace that ends in a fact of that class, with whatever it refers to before it."""
    script = Script().begin()
    script.connect(0.0)
    script.exchange(0.1)
    trace = script.trace
    for field in fields(fact):
        if field.name in values:
            continue
        if (referred := _REFERENCES.get(field.name)) is not None:
            values[field.name] = trace.record(referred, 0.5)
        elif field.name == "message":
            values[field.name] = next(r.id for r in trace if type(r.fact).__name__ == "MessageStarted")
        elif field.type in _EXAMPLES:
            values[field.name] = _EXAMPLES[field.type]
        else:
            values[field.name] = next(iter(field.type))  # type: ignore[arg-type]
    return trace, trace.record(fact(**values), 2.0)


def said(fact: type[Fact], **values: Any) -> str:
    return sentence(*example(fact, **values))


def test_no_class_of_fact_is_without_a_sentence() -> None:
    assert set(SENTENCES) == set(FACTS)


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.__name__)
def test_every_sentence_is_a_sentence(fact: type[Fact]) -> None:
    text = said(fact)
    assert text == text.strip()
    assert text[-1] in ".!?" or fact is Noted, text
    assert text[0].isupper() or text.startswith(("“", "server", "client")), text
    assert "{" not in text
    assert "  " not in text
    assert len(text) < 300, "one or two sentences"


@pytest.mark.parametrize(
    ("fact", "field", "words"),
    [
        (PacketDropped, "reason", ["loss", "cut", "fault", "reset", "host down", "something new"]),
        (PacketHeld, "reason", ["fault", "link held", "something new"]),
        (
            MessageEnded,
            "boundary",
            ["content-length", "last chunk", "no body", "connection closed", "cut short", "new"],
        ),
        (TimedOut, "what", ["connect", "read", "write", "pool", "patience"]),
        (ConnectionReset, "reason", ["reset", "retransmission timeout", "gave up connecting"]),
        (LinkChanged, "state", ["up", "held", "cut"]),
        (WorkFinished, "outcome", ["done", "cancelled", "failed", "answered late"]),
        (WaitEnded, "outcome", ["done", "cancelled", "failed", "answered late"]),
        (PoolAssigned, "how", ["opened", "reused"]),
        (WaitStarted, "kind", list(WaitKind)),
        (PacketSent, "kind", list(PacketKind)),
    ],
)
def test_every_word_a_fact_may_contain_has_its_own_sentence(fact: type[Fact], field: str, words: list[Any]) -> None:
    texts = [said(fact, **{field: word}) for word in words]
    assert len(set(texts)) == len(words)


@pytest.mark.parametrize("role", list(Role))
def test_every_role_of_a_message_has_its_own_sentence(role: Role) -> None:
    script = Script().begin()
    message = script.start(0.0, "client", role, "GET /hello", 0)
    text = sentence(script.trace, message)
    assert "GET /hello" in text
    assert "client" in text


def test_a_packet_is_called_by_what_it_carries() -> None:
    script = Script().begin()
    script.connect(0.0)
    head = script.send(0.1, "client", REQUEST)
    script.start(0.1, "client", Role.REQUEST, "GET /hello", 0, head)
    more = script.send(0.1, "client", bytes(2000))
    script.drop(0.12, head)
    again = script.send_again(0.3, head)
    arrived = script.arrive(0.35, again)
    assert sentence(script.trace, head).startswith("“GET /hello” leaves client for server.")
    assert sentence(script.trace, more).startswith("2 kB more of “GET /hello” leaves client")
    assert "sends “GET /hello” again (attempt 2)" in sentence(script.trace, again)
    assert sentence(script.trace, arrived) == "“GET /hello” has reached server, 50 ms after it left."


def test_a_lost_packet_says_that_the_sender_does_not_know() -> None:
    text = said(PacketDropped, reason="loss")
    assert "finds out by waiting in vain" in text
    assert "TCP will send it again" in text


def test_the_causes_of_a_fact_lead_back_to_the_first() -> None:
    script = Script().begin()
    first = script.send(0.0, "client", b"x")
    second = script.arrive(0.1, first)
    third = script.trace.record(WorkStarted("server", Text("resize")), 0.1, second)
    assert cause_chain(script.trace, third) == (second, first)
    assert explain(script.trace, third, LESSON).cause_chain == (second, first)
    assert cause_chain(script.trace, first) == ()


def test_the_beats_of_a_lesson_come_first_and_only_where_they_fit() -> None:
    lesson = replace(
        LESSON,
        beats=(
            Beat(TimedOut, "{host} gave up after {after_s} s.", {"what": "read"}),
            Beat(PacketSent, "A chunk of {sender}'s.", {"kind": "data", "payload": "GET"}),
        ),
    )
    trace, fact = example(TimedOut, what="read", after_s=5.0, host="client")
    assert explain(trace, fact, lesson).text == "client gave up after 5 s."
    trace, fact = example(TimedOut, what="connect")
    assert explain(trace, fact, lesson).text == sentence(trace, fact)
    packet = next(r.id for r in trace if isinstance(r.fact, PacketSent))
    assert explain(trace, packet, lesson).text == "A chunk of client's."
    assert story_at(trace, packet + 1, lesson).text == "A chunk of client's."


def test_the_story_tells_the_weightiest_of_the_latest_instant() -> None:
    script = Script().begin()
    script.connect(0.0)
    script.exchange(0.1)
    crash = script.trace.record(HostCrashed("server"), 1.0)
    script.trace.record(WorkStarted("client", Text("waiting room")), 1.0)
    routine = script.send(2.0, "client", b"x")
    story = story_at(script.trace, routine + 1, LESSON)
    assert story.fact_id == crash
    assert story.time_s == 1.0
    assert "memory" in story.text


def test_the_last_things_told_are_newest_first_one_of_each_instant() -> None:
    script = Script().begin()
    script.connect(0.0)
    script.exchange(1.0)
    script.exchange(2.0)
    told = tell(script.trace, len(script.trace), LESSON, 3)
    assert [round(s.time_s, 3) for s in told] == [2.06, 2.0, 1.06]
    assert told[0].text.startswith("server answers client: 200 OK")
    assert tell(script.trace, len(script.trace), LESSON, 1) == told[:1]


def test_before_anything_happens_the_story_is_what_to_look_at() -> None:
    story = story_at(Trace(), 0, replace(LESSON, try_next=("Turn the latency up.",)))
    assert (story.fact_id, story.text, story.try_next) == (None, LESSON.purpose, "Turn the latency up.")


def test_suggestions_go_on_with_every_order_given() -> None:
    lesson = replace(LESSON, try_next=("First.", "Second."))
    script = Script().begin()
    script.connect(0.0)
    script.exchange(0.1)
    before = len(script.trace)
    script.trace.record(CommandApplied(0, Text("set latency 200ms")), 1.0)
    assert story_at(script.trace, before, lesson).try_next == "First."
    assert story_at(script.trace, before + 1, lesson).try_next == "Second."
    assert story_at(script.trace, before, LESSON).try_next == ""


@given(st.integers(0, 30))
def test_the_story_at_a_moment_does_not_depend_on_what_came_after(length: int) -> None:
    long, short = Script().begin(), Script().begin()
    for script, until in ((long, 4), (short, 1)):
        script.connect(0.0)
        for k in range(until):
            script.exchange(float(k))
    length = min(length, len(short.trace))
    assert story_at(long.trace, length, LESSON) == story_at(short.trace, length, LESSON)


def test_a_beat_that_names_a_field_that_is_not_there_is_found() -> None:
    lesson = replace(
        LESSON, beats=(Beat(TimedOut, "{hots} gave up.", {"why": "("}), Beat(TimedOut, "{host}.", {"what": "a|b"}))
    )
    assert len(beat_faults(lesson)) == 3
    assert "no field 'hots'" in beat_faults(lesson)[0]


@pytest.mark.parametrize(
    "lesson", [lesson for pattern in PATTERNS for lesson in pattern.lessons], ids=lambda lesson: lesson.name
)
def test_the_beats_and_numbers_of_every_lesson_exist(lesson: Lesson) -> None:
    assert beat_faults(lesson) == []
    for name in lesson.metrics:
        assert find_metric(name).title
    assert all(line.endswith((".", "?")) for line in lesson.try_next)


def test_released_packets_say_how_long_they_took() -> None:
    script = Script().begin()
    script.connect(0.0)
    packet = script.send(0.0, "server", RESPONSE)
    script.start(0.0, "server", Role.RESPONSE, "200 OK", 0, packet)
    script.trace.record(PacketHeld(packet, 1, "fault"), 0.1)
    released = script.trace.record(PacketReleased(packet, 1, 3.0), 3.0)
    script.trace.record(PacketDelivered(packet, 1, "client"), 3.0)
    assert sentence(script.trace, released) == "“200 OK” goes on, 3 s after it was sent."
