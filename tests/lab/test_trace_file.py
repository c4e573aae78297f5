"""A trace survives its file exactly, and a broken file is refused in one clear line."""

import json
import math
import re
from contextlib import suppress
from dataclasses import fields
from enum import IntEnum
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.lab.facts import FACTS, Fact, HostDeclared, PacketKind, PacketSent, Text
from engines.lab.trace import Trace
from engines.lab.trace_file import TraceFileError, read_trace, schema, trace_digest, write_trace

DOCUMENT = Path(__file__).parents[2] / "docs" / "trace-format.md"

_INTEGERS = st.integers(-(2**31), 2**31 - 1)
_VALUES: dict[Any, st.SearchStrategy[Any]] = {
    int: _INTEGERS,
    bool: st.booleans(),
    str: st.text(max_size=8),
    Text: st.text(max_size=12).map(Text),
    bytes: st.binary(max_size=20),
    float: st.floats(allow_nan=False),
}


def facts_of(fact: type[Fact]) -> st.SearchStrategy[Fact]:
    return st.builds(fact, **{f.name: _VALUES.get(f.type, st.sampled_from(f.type)) for f in fields(fact)})


any_fact = st.one_of([facts_of(fact) for fact in FACTS])


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    trace, now = Trace(), 0.0
    for fact in draw(st.lists(any_fact, max_size=12)):
        now += draw(st.floats(0, 1e6))
        trace.record(fact, now, draw(st.integers(-1, len(trace) - 1)))
    return trace


def file_of(trace: Trace) -> bytes:
    file = BytesIO()
    write_trace(trace, file)
    return file.getvalue()


@given(traces())
def test_reading_what_was_written_gives_the_same_trace(trace: Trace) -> None:
    data = file_of(trace)
    again = read_trace(BytesIO(data))
    assert list(again) == list(trace)
    assert again.names == trace.names
    assert file_of(again) == data
    assert trace_digest(again) == trace_digest(trace)


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.__name__)
@settings(max_examples=20)
@given(data=st.data())
def test_every_class_of_fact_survives(fact: type[Fact], data: st.DataObject) -> None:
    trace = Trace()
    trace.record(data.draw(facts_of(fact)), data.draw(st.floats(0, 1e300)))
    assert list(read_trace(BytesIO(file_of(trace)))) == list(trace)


def small() -> Trace:
    trace = Trace()
    trace.record(HostDeclared("client"), 0.0)
    trace.record(PacketSent(1, "client", "server", PacketKind.SYN_ACK, 0, 1, math.inf, b"\x00hi"), 0.1 + 0.2, 0)
    return trace


def test_the_file_is_these_very_bytes() -> None:
    assert file_of(small()).decode().splitlines() == [
        '{"format":"commtui-trace","version":1,"facts":2}',
        '{"id":0,"t":0.0,"cause":null,"fact":"HostDeclared","host":"client"}',
        '{"id":1,"t":0.30000000000000004,"cause":0,"fact":"PacketSent","flow":1,"sender":"client","receiver":"server",'
        '"kind":"syn_ack","offset":0,"attempt":1,"arrives_s":"inf","payload":"AGhp"}',
    ]
    assert trace_digest(small()) == trace_digest(small())


def broken(line: int, **changes: object) -> bytes:
    """The small trace's file with keys of one line changed; None takes the key away."""
    lines = file_of(small()).splitlines()
    record = json.loads(lines[line - 1])
    record.update(changes)
    lines[line - 1] = json.dumps({k: v for k, v in record.items() if v != "gone"}).encode()
    return b"\n".join(lines) + b"\n"


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b"", 1, "empty"),
        (b"\xff\xfe\n", 1, "no trace of commtui"),
        (b"[1]\n", 1, "no trace of commtui"),
        (b'{"format":"pcap"}\n', 1, "no trace of commtui"),
        (broken(1, version="gone"), 1, "version"),
        (broken(1, version=2), 1, "version 2 of the format, and this commtui reads up to 1: get a newer one"),
        (broken(1, facts="gone"), 1, "number of facts"),
        (broken(1, facts=3), 3, "ends after 2 facts, but its first line announces 3"),
        (file_of(small())[:-1], 3, "breaks off"),
        (file_of(small())[:-9] + b"\n", 3, "not JSON"),
        (file_of(small()) + b"\n", 4, "not JSON"),
        (file_of(small()) + b"7\n", 4, "JSON object"),
        (file_of(small()) + b"\xff\n", 4, "not JSON"),
        (broken(2, t="gone"), 2, "'t' is missing"),
        (broken(2, t="soon"), 2, "'t' is a number of seconds, not 'soon'"),
        (broken(2, t=10**400), 2, "'t' is a number of seconds"),
        (broken(2, t="inf"), 2, "'t' is a number of seconds"),
        (broken(2, t=9), 3, "time goes back from 9.0"),
        (broken(3, id=5), 3, "fact 1 should follow, not 5"),
        (broken(3, cause=1), 3, "the cause is an earlier fact or null, not 1"),
        (broken(3, cause=True), 3, "the cause is an earlier fact or null, not True"),
        (broken(3, fact="PacketSend"), 3, "did you mean 'PacketSent'?"),
        (broken(3, fact=9), 3, "no fact is called 9"),
        (broken(3, flow="gone"), 3, "PacketSent lacks 'flow'"),
        (broken(3, colour="red"), 3, "PacketSent has no field 'colour'"),
        (broken(3, flow=2**31), 3, "'flow' of PacketSent is a whole number of 32 bits"),
        (broken(3, flow=True), 3, "'flow' of PacketSent is a whole number"),
        (broken(3, sender=1), 3, "'sender' of PacketSent is text"),
        (broken(3, kind="SYN"), 3, "'kind' of PacketSent is one of syn, syn_ack, data, fin, rst, datagram, not 'SYN'"),
        (broken(3, payload="!"), 3, "'payload' of PacketSent is bytes in base64"),
        (broken(3, payload=None), 3, "'payload' of PacketSent is bytes in base64"),
        (broken(3, arrives_s=10**400), 3, "'arrives_s' of PacketSent is a number"),
        (broken(3, sender="\ud800"), 3, "'sender' of PacketSent is text in Unicode"),
        (broken(2, t=float("nan")), 2, "not JSON"),
        (file_of(small()) + b"[" * 100_000 + b"\n", 4, "not JSON"),
        (broken(3, arrives_s="never"), 3, "'arrives_s' of PacketSent is a number"),
    ],
)
def test_a_broken_file_is_refused_with_line_and_reason(data: bytes, line: int, reason: str) -> None:
    with pytest.raises(TraceFileError, match=re.escape(reason)) as caught:
        read_trace(BytesIO(data))
    assert caught.value.line == line
    assert "\n" not in str(caught.value)


@given(st.integers(0, 400), st.binary(min_size=1, max_size=3))
def test_no_damage_does_worse_than_a_clear_refusal(place: int, junk: bytes) -> None:
    data = file_of(small())
    damaged = data[: place % len(data)] + junk + data[place % len(data) + len(junk) :]
    with suppress(TraceFileError):
        read_trace(BytesIO(damaged))


def test_the_document_lists_every_fact_and_every_field() -> None:
    """`python -m tests.lab.test_trace_file` prints the table when facts have been added."""
    assert fact_table() in DOCUMENT.read_text(encoding="utf-8")


def fact_table() -> str:
    rows = ["| fact | fields |", "|---|---|"]
    for name, kinds in schema().items():
        rows.append(f"| `{name}` | {', '.join(f'`{field}` {kind}' for field, kind in kinds.items())} |")
    return "\n".join(rows) + "\n"


def test_enums_are_written_by_name() -> None:
    enums = {f.type for fact in FACTS for f in fields(fact) if isinstance(f.type, type) and issubclass(f.type, IntEnum)}
    assert {enum.__name__ for enum in enums} == {"PacketKind", "Role", "WaitKind"}


if __name__ == "__main__":
    print(fact_table())
