"""The anatomy of each envelope: parts without gaps, a boundary in every message, and sizes that the specifications give."""

import json
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.lab.dissection import Ended, Part, Side, Started
from engines.lab.facts import ConnectionOpening, MessageEnded, MessageStarted, Noted, PacketSent, Role
from engines.lab.trace import Trace
from engines.patterns.request_response import PATTERN
from engines.patterns.request_response.envelopes import ENVELOPES, PRICES, grpc_message, grpc_text
from engines.wire.dissectors import dissector_named
from engines.wire.envelopes import grpc_parts, json_parts, protobuf_parts, varint, xml_parts
from engines.wire.http2_frames import HEADER_SIZE
from engines.wire.ssh import BLOCK_BYTES, packet, read_string, string
from engines.wire.ssh_dissector import SshDissector
from tests.patterns.laws import every
from tests.patterns.runs import run

ANATOMY = PATTERN.lesson("anatomy")
NAMES = [envelope.name for envelope in ENVELOPES]


def played(name: str, **knobs: str | bool) -> Trace:
    values = {key.replace("_", "-"): value for key, value in knobs.items()}
    return run(ANATOMY, knobs={"envelope": name, **values}, until_s=12.0).trace


def sent(trace: Trace, flow: int, sender: str) -> bytes:
    """All that `sender` sent on `flow`."""
    return b"".join(
        p.payload for _, p in every(trace, PacketSent) if (p.flow, p.sender) == (flow, sender) and p.attempt == 1
    )


def messages(trace: Trace) -> list[tuple[MessageStarted, bytes, list[Part]]]:
    """Every message that came to its end, its bytes and its parts."""
    openings = {fact.flow: fact for _, fact in every(trace, ConnectionOpening)}
    ends = {fact.message: fact.end for _, fact in every(trace, MessageEnded)}
    found = []
    for record, message in every(trace, MessageStarted):
        if record.id not in ends:
            continue
        opening = openings[message.flow]
        side = Side.CLIENT if message.sender == opening.client else Side.SERVER
        stream = sent(trace, message.flow, message.sender)
        dissector = dissector_named(opening.protocol)
        assert dissector is not None
        parts = dissector.parts(side, stream, message.offset, ends[record.id])
        assert_covers(parts, message.offset, ends[record.id])
        found.append((message, stream[message.offset : ends[record.id]], parts))
    return found


def assert_covers(parts: Sequence[Part], start: int, end: int) -> None:
    assert [part.start for part in parts] == [start, *(part.end for part in parts[:-1])]
    assert parts[-1].end == end


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_every_envelope_brings_the_answer(name: str, kept: bool) -> None:
    trace = played(name, kept=kept)
    said = [note.text for _, note in every(trace, Noted)]
    assert len(said) >= 8
    for text in said:
        _, _, answer = text.partition(": ")
        item, _, price = answer.partition(" cost ")
        assert price == PRICES[item]


@pytest.mark.parametrize("name", NAMES)
def test_every_question_and_answer_shows_its_boundary(name: str) -> None:
    found = [(m, parts) for m, _, parts in messages(played(name)) if m.role in (Role.REQUEST, Role.RESPONSE)]
    assert len(found) >= 16
    for message, parts in found:
        if name != "dns":  # there the datagram is the boundary
            assert any(part.boundary for part in parts), message
        assert not any(part.name == "bytes" for part in parts), message


@pytest.mark.parametrize(
    ("ends", "boundary"),
    [("content-length", "content-length"), ("chunked", "last chunk"), ("close", "connection closed")],
)
def test_three_ways_to_end_a_body(ends: str, boundary: str) -> None:
    trace = played("http/1.1", body_ends=ends, kept=True)
    responses = {record.id for record, m in every(trace, MessageStarted) if m.role is Role.RESPONSE}
    found = {fact.boundary for _, fact in every(trace, MessageEnded) if fact.message in responses}
    assert found == {boundary}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("json-rpc", ["object begins", "member", "object ends"]),
        ("graphql", ["object begins", "member", "object ends"]),
        ("soap", ["declaration", "element", "text", "element ends"]),
        ("grpc", ["compressed", "message length", "field tag", "length", "value"]),
        ("ssh", ["packet length", "padding length", "message number", "string length", "string data", "padding"]),
    ],
)
def test_the_parts_of_a_question(name: str, wanted: list[str]) -> None:
    question = next(parts for m, _, parts in messages(played(name)) if m.role is Role.REQUEST)
    names = [part.name for part in question]
    assert [part for part in dict.fromkeys(names) if part in wanted] == wanted


def test_kept_connections_of_http2_say_less_each_time() -> None:
    """The second question refers to fields that the first has put into HPACK's table (RFC 7541, section 2.3.2)."""
    questions = [data for m, data, _ in messages(played("h2", kept=True)) if m.role is Role.REQUEST]
    first, second = (len(data) - HEADER_SIZE for data in questions[:2])
    assert second < first / 2


def test_a_question_in_dns_weighs_what_the_rfc_says() -> None:
    """A header of 12, the name with a length before each label and a zero at the end, type and class (RFC 1035, 4.1)."""
    for message, data, _ in messages(played("dns")):
        if message.role is Role.REQUEST:
            name = message.label.split()[1]
            assert len(data) == 12 + len(name) + 2 + 4


# --- gRPC, JSON, XML ----------------------------------------------------------------------------------------------------


@given(st.text(max_size=30))
def test_a_grpc_message_reads_what_it_wrote(text: str) -> None:
    data = grpc_message(text)
    assert grpc_text(data) == text
    parts = grpc_parts(data, 0, len(data))
    assert_covers(parts, 0, len(data))
    assert [part.name for part in parts][:4] == ["compressed", "message length", "field tag", "length"]


@given(st.integers(0, 2**63))
def test_a_varint(value: int) -> None:
    data, rest = bytearray(), value
    while rest > 0x7F:
        data.append(rest & 0x7F | 0x80)
        rest >>= 7
    data.append(rest)
    assert varint(bytes(data), 0, len(data)) == (value, len(data))
    assert varint(bytes(data), 0, len(data) - 1) == (0, 0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=6), JSON, min_size=1, max_size=5), st.integers(0, 5))
def test_a_member_each(value: dict[str, object], start: int) -> None:
    body = json.dumps(value, separators=(",", ":")).encode()
    stream = b"x" * start + body
    parts = json_parts(stream, start, len(stream), {})
    assert_covers(parts, start, len(stream))
    assert [part.note for part in parts if part.name == "member"] == [json.dumps(key)[1:-1] for key in value]


def test_an_xml_document() -> None:
    body = b'<?xml version="1.0"?><a:Envelope><a:Body><x>1</x></a:Body></a:Envelope>'
    parts = xml_parts(body, 0, len(body))
    assert_covers(parts, 0, len(body))
    assert [part.name for part in parts].count("element") == [part.name for part in parts].count("element ends") == 3
    assert [part.boundary for part in parts] == [False] * (len(parts) - 1) + [True]


@given(st.binary(max_size=60))
def test_garbage_is_left_alone(junk: bytes) -> None:
    for cut in (grpc_parts, xml_parts, lambda *at: json_parts(*at, {}), lambda *at: list(protobuf_parts(*at))):
        parts = cut(junk, 0, len(junk))
        if parts:
            assert_covers(parts, 0, len(junk))
    assert_covers(
        [*SshDissector().parts(Side.CLIENT, junk, 0, len(junk)), Part(len(junk), len(junk), "")], 0, len(junk)
    )


# --- SSH ----------------------------------------------------------------------------------------------------------------


@given(st.binary(min_size=1, max_size=80))
def test_a_packet_of_ssh(payload: bytes) -> None:
    """RFC 4253, section 6: a multiple of 8 bytes in all, at least 4 of them padding, and no more than are needed."""
    data = packet(payload, Random(1))
    length, padding = int.from_bytes(data[:4], "big"), data[4]
    assert len(data) == 4 + length
    assert len(data) % BLOCK_BYTES == 0
    assert 4 <= padding < 4 + BLOCK_BYTES
    assert data[5 : 4 + length - padding] == payload


@given(st.text(max_size=20))
def test_a_string_of_ssh(text: str) -> None:
    assert read_string(b"?" + string(text), 1) == (text, 1 + 4 + len(text.encode()))
    with pytest.raises(ValueError, match=r"length|longer"):
        read_string(string(text)[:-1] if text else b"", 0)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_how_the_bytes_of_ssh_are_cut_changes_nothing(sizes: list[int]) -> None:
    luck = Random(2)
    payloads = [
        bytes([80]) + string("price@shop") + b"\x01" + string("x"),
        bytes([81]) + string("1"),
        b"\x14" + b"k" * 30,
    ]
    stream = b"SSH-2.0-commtui\r\n" + b"".join(packet(payload, luck) for payload in payloads)

    def events(cuts: list[int]) -> list[Started | Ended]:
        dissector, position, found, turn = SshDissector(), 0, [], 0
        while position < len(stream):
            size = cuts[turn % len(cuts)]
            found += dissector.feed(Side.CLIENT, stream[position : position + size])
            position, turn = position + size, turn + 1
        return found

    assert events(sizes) == events([len(stream)])
    assert len(events(sizes)) == 2 * 4
