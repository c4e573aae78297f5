"""DNS over UDP: the dissector against dnspython, then resolver and server against each other in virtual time."""

import random

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from engines.lab.dissection import Ended, Side, Started
from engines.lab.facts import PacketSent, Role
from engines.lab.host import Host
from engines.lab.knobs import KnobBoard
from engines.wire.dissectors import dissector_named
from engines.wire.dns import RESOLVER_KNOBS, DnsError, DnsTimeout, Question, dns_resolver, serve_dns
from engines.wire.dns_dissector import DnsDissector, read_message
from tests.lab.rig import Rig, run_in_rig
from tests.wire.conversations import assert_covers

LATENCY_S = 0.1


def query(name: str = "api.example", kind: str = "A", number: int = 0x1A2B) -> dns.message.Message:
    return dns.message.make_query(name, kind, use_edns=False, id=number)


def answer(to: dns.message.Message, *records: str) -> dns.message.Message:
    response = dns.message.make_response(to)
    if records:
        asked = to.question[0]
        response.answer.append(dns.rrset.from_text(asked.name, 300, "IN", asked.rdtype, *records))
    return response


# --- the dissector ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "role", "label"),
    [
        (query(), Role.REQUEST, "A? api.example id 0x1a2b"),
        (query("api.example", "AAAA", 7), Role.REQUEST, "AAAA? api.example id 0x0007"),
        (query("."), Role.REQUEST, "A? . id 0x1a2b"),
        (answer(query(), "192.0.2.7"), Role.RESPONSE, "A 192.0.2.7 id 0x1a2b"),
        (answer(query(), "192.0.2.7", "192.0.2.8"), Role.RESPONSE, "A 192.0.2.7 +1 id 0x1a2b"),
        (answer(query(kind="MX"), "10 mail.example."), Role.RESPONSE, "MX 10 mail.example. id 0x1a2b"),
        (answer(query()), Role.RESPONSE, "no answer to A? api.example id 0x1a2b"),
    ],
)
def test_labels(message: dns.message.Message, role: Role, label: str) -> None:
    assert read_message(message.to_wire(want_shuffle=False)) == (role, label, message.id)


def test_errors_and_truncation_are_said() -> None:
    missing = answer(query())
    missing.set_rcode(dns.rcode.NXDOMAIN)
    assert read_message(missing.to_wire())[:2] == (Role.ERROR, "NXDOMAIN A? api.example id 0x1a2b")
    cut = answer(query())
    cut.flags |= dns.flags.TC
    assert read_message(cut.to_wire())[1] == "no answer to A? api.example truncated id 0x1a2b"


def test_the_parts_of_an_answer_are_those_of_the_rfc() -> None:
    """RFC 1035, 4.1.1 to 4.1.3, byte by byte; the record's name is a pointer to the question's (4.1.4)."""
    wire = answer(query(), "192.0.2.7").to_wire()
    parts = DnsDissector().parts(Side.SERVER, b"earlier" + wire, 7, 7 + len(wire))
    assert [(part.start - 7, part.end - 7, part.name) for part in parts] == [
        (0, 2, "id"), (2, 4, "flags"), (4, 6, "questions"), (6, 8, "answers"), (8, 10, "authority records"),
        (10, 12, "additional records"), (12, 25, "question name"), (25, 27, "type"), (27, 29, "class"),
        (29, 31, "record name"), (31, 33, "type"), (33, 35, "class"), (35, 39, "TTL"), (39, 41, "data length"),
        (41, 45, "data"),
    ]  # fmt: skip
    notes = {part.name: part.note for part in parts}
    assert notes["id"].startswith("0x1a2b")
    assert notes["flags"] == "response, QUERY, RD, NOERROR"
    assert notes["record name"] == "api.example, the rest as at byte 12"
    assert notes["TTL"] == "300 s"
    assert notes["data"] == "192.0.2.7"


NAMES = st.lists(st.text("abcxyz0-", min_size=1, max_size=12), min_size=1, max_size=4).map(".".join)
KINDS = st.sampled_from(["A", "AAAA", "MX", "TXT", "NS", "CNAME"])
RECORDS = {"A": "192.0.2.1", "AAAA": "2001:db8::1", "MX": "5 m.example.", "TXT": '"some text"', "NS": "n.example.",
           "CNAME": "c.example."}  # fmt: skip
MESSAGES = st.builds(query, NAMES, KINDS, st.integers(0, 0xFFFF)) | st.builds(
    lambda name, kind, number: answer(query(name, kind, number), RECORDS[kind]), NAMES, KINDS, st.integers(0, 0xFFFF)
)


@given(st.lists(st.tuples(st.sampled_from(Side), MESSAGES), max_size=8))
def test_every_datagram_is_one_message_of_its_id(datagrams: list[tuple[Side, dns.message.Message]]) -> None:
    dissector = DnsDissector()
    streams = {Side.CLIENT: b"", Side.SERVER: b""}
    for side, message in datagrams:
        wire = message.to_wire()
        start, end = len(streams[side]), len(streams[side]) + len(wire)
        streams[side] += wire
        started, ended = dissector.feed(side, wire)
        assert isinstance(started, Started)
        assert (started.offset, started.stream, started.role) == (
            start, message.id, Role.RESPONSE if message.flags & dns.flags.QR else Role.REQUEST,
        )  # fmt: skip
        assert ended == Ended(end, "datagram", message.id)
        for stop in (end, start + len(wire) // 2):
            assert_covers(dissector.parts(side, streams[side], start, stop), start, stop)
    assert not dissector.finish(Side.CLIENT)


@given(MESSAGES, st.integers(0, 60), st.binary(max_size=4))
def test_broken_messages_are_read_as_far_as_they_go(message: dns.message.Message, place: int, noise: bytes) -> None:
    wire = message.to_wire()
    for data in (wire[:place], wire[:place] + noise + wire[place + len(noise) :], noise * 20):
        started, _ = DnsDissector().feed(Side.CLIENT, data)
        assert isinstance(started, Started)
        assert started.label.isprintable()
        assert_covers(DnsDissector().parts(Side.CLIENT, data, 0, len(data)), 0, len(data))


def test_a_name_that_points_to_itself_is_not_followed_for_ever() -> None:
    loop = bytes.fromhex("1a2b01000001000000000000c00c00010001")
    assert read_message(loop)[1] == "not DNS: a name that never ends"


def test_it_is_registered() -> None:
    assert isinstance(dissector_named("dns"), DnsDissector)


# --- resolver and server ------------------------------------------------------------------------------------------------


def host(rig: Rig, name: str, **knobs: float) -> Host:
    board = KnobBoard(RESOLVER_KNOBS)
    for knob, value in knobs.items():
        board.set(knob.replace("_", "-"), value)
    return Host(name, rig.kernels[name], board, rig.recorder, lambda purpose: random.Random(f"{name} {purpose}"))


async def zone(question: Question) -> list[str] | None:
    """`slow-N.example` takes N tenths of a second; `none.example` does not exist."""
    name, _, _ = question.name.partition(".")
    if name == "none":
        return None
    if name.startswith("slow-"):
        await trio.sleep(int(name.removeprefix("slow-")) / 10)
    return [f"192.0.2.{n}" for n in range(1, {"many": 21, "long": 61}.get(name, 2))]


def packets(rig: Rig) -> list[tuple[float, PacketSent]]:
    return [(record.time_s, record.fact) for record in rig.trace if isinstance(record.fact, PacketSent)]


def test_a_question_costs_one_round_trip_and_leaves_nothing_behind() -> None:
    async def body(rig: Rig) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_dns, host(rig, "b"), zone)
            async with dns_resolver(host(rig, "a"), "b") as resolver:
                assert await resolver.resolve("api.example") == ["192.0.2.1"]
                assert trio.current_time() == 2 * LATENCY_S
                assert await resolver.resolve("many.example") == [f"192.0.2.{n}" for n in range(1, 21)]
                with pytest.raises(DnsError, match="NXDOMAIN for none"):
                    await resolver.resolve("none.example")
                assert (await resolver.ask("long.example")).flags & dns.flags.TC
            nursery.cancel_scope.cancel()
        assert not rig.kernels["a"].datagram_sockets
        assert not rig.kernels["b"].datagram_sockets

    sizes = [len(packet.payload) for _, packet in packets(run_in_rig(body, latency_s=LATENCY_S))]
    assert sizes[:2] == [12 + 13 + 4, 12 + 13 + 4 + 16]
    assert max(sizes) <= 512


def test_answers_come_out_of_order_and_find_their_questions() -> None:
    order: list[str] = []

    async def body(rig: Rig) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_dns, host(rig, "b"), zone)
            async with dns_resolver(host(rig, "a"), "b") as resolver, trio.open_nursery() as asking:

                async def ask(name: str) -> None:
                    reply = await resolver.ask(name)
                    assert reply.question[0].name == dns.name.from_text(name)
                    order.append(name)

                for name in ("slow-3.example", "slow-1.example", "slow-2.example", "api.example"):
                    asking.start_soon(ask, name)
            nursery.cancel_scope.cancel()

    rig = run_in_rig(body, latency_s=LATENCY_S)
    assert order == ["api.example", "slow-1.example", "slow-2.example", "slow-3.example"]
    ids = [packet.payload[:2] for _, packet in packets(rig)]
    assert len(set(ids[:4])) == 4
    assert set(ids[4:]) == set(ids[:4])


def test_silence_is_asked_again_as_often_as_the_knobs_say() -> None:
    async def body(rig: Rig) -> None:
        async with dns_resolver(host(rig, "a", dns_timeout=2.0, dns_attempts=3), "b") as resolver:
            with pytest.raises(DnsTimeout) as failure:
                await resolver.resolve("api.example")
            assert failure.value.attempts == 3
            assert trio.current_time() == 6.0

    sent = packets(run_in_rig(body, latency_s=LATENCY_S))
    assert [time_s for time_s, _ in sent] == [0.0, 2.0, 4.0]
    assert len({packet.payload for _, packet in sent}) == 1


def test_an_answer_that_comes_twice_is_a_stray_the_second_time() -> None:
    strays: list[int] = []

    async def body(rig: Rig) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_dns, host(rig, "b"), zone)
            asker = host(rig, "a", dns_timeout=0.3)
            async with dns_resolver(asker, "b", on_stray=lambda message: strays.append(message.id)) as resolver:
                assert await resolver.resolve("slow-2.example") == ["192.0.2.1"]
                assert trio.current_time() == pytest.approx(0.4)  # the first of two answers will do
                await trio.sleep(1)
            nursery.cancel_scope.cancel()

    run_in_rig(body, latency_s=LATENCY_S)
    assert len(strays) == 1


def test_only_the_server_is_believed() -> None:
    async def body(rig: Rig) -> None:
        async with dns_resolver(host(rig, "a", dns_timeout=1.0, dns_attempts=1), "b") as resolver:
            with rig.kernels["b"].bind(5353) as liar, rig.kernels["b"].bind(53) as silent:

                async def lie() -> None:
                    data, (client, port) = await silent.receive_from()
                    forged = answer(dns.message.from_wire(data), "192.0.2.66")
                    await liar.send_to(forged.to_wire(), client, port)

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(lie)
                    with pytest.raises(DnsTimeout):
                        await resolver.resolve("api.example")

    run_in_rig(body, latency_s=LATENCY_S)
