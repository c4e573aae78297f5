"""Orders about one chosen packet, and copies of datagrams: each is on record, obeys the laws, and replays."""

import pytest
import trio

from engines.export.transcript import transcript
from engines.lab.commands import TimedCommand, parse_command
from engines.lab.facts import CommandApplied, PacketDelivered, PacketDropped, PacketKind, PacketSent
from engines.lab.host import Host
from engines.lab.scenario import HostSpec, Scenario
from engines.lab.session import Session, run_headless
from engines.metrics.numbers import Numbers
from tests.lab.worlds import ECHO
from tests.patterns.laws import breaches, every


async def _asks(host: Host) -> None:
    with host.datagram_socket() as socket:
        for number in range(5):
            await socket.send_to(b"%d" % number, "server", 53)
            await trio.sleep(1)


async def _hears(host: Host) -> None:
    with host.datagram_socket(53) as socket:
        while True:
            payload, _ = await socket.receive_from()
            host.note(f"heard {payload.decode()}")


DATAGRAMS = Scenario(
    "bells", "Bells", "", (HostSpec("client", _asks), HostSpec("server", _hears)), network={"latency": 0.1}
)


def ordered(scenario: Scenario, *orders: tuple[float, str], until_s: float = 8.0) -> Session:
    commands = [TimedCommand(time_s, parse_command(text)) for time_s, text in orders]
    session = run_headless(scenario, commands=commands, until_s=until_s)
    assert breaches(session.trace) == []
    return session


def heard(session: Session) -> list[str]:
    return [line.split()[-1] for line in transcript(session.trace) if ": heard" in line]


def packets(session: Session, kind: PacketKind) -> list[int]:
    return [record.id for record, sent in every(session.trace, PacketSent) if sent.kind is kind]


@pytest.mark.parametrize(
    "text", ["duplicate #7", "release #7", "duplicate next 2 packets from client", "duplicate next push"]
)
def test_the_new_orders_read_what_they_write(text: str) -> None:
    assert str(parse_command(text)) == text


def test_a_datagram_on_its_way_can_be_made_two() -> None:
    third = packets(ordered(DATAGRAMS), PacketKind.DATAGRAM)[2]
    session = ordered(DATAGRAMS, (2.05, f"duplicate #{third}"))
    assert heard(session) == ["0", "1", "2", "2", "3", "4"]
    copy = next((record, sent) for record, sent in every(session.trace, PacketSent) if sent.attempt == 2)
    assert (copy[0].cause, copy[0].time_s, copy[1].arrives_s) == (third, 2.05, pytest.approx(2.15))
    assert copy[1].payload == b"2"
    lines = "\n".join(transcript(session.trace))
    assert "2.050 s  network: a copy of the datagram on c1, 1 B from client to server is on its way too" in lines
    assert Numbers(session.trace).value("retransmissions", 8.0) == 0


def test_the_next_datagrams_can_be_made_two() -> None:
    assert heard(ordered(DATAGRAMS, (0.5, "duplicate next 2 packets from client"))) == list("0112234")
    assert heard(ordered(DATAGRAMS, (0.5, "duplicate next packet from server"))) == list("01234")


def test_what_arrived_or_was_never_sent_is_left_alone() -> None:
    third = packets(ordered(DATAGRAMS), PacketKind.DATAGRAM)[2]
    for order in (f"duplicate #{third}", "duplicate #3", "duplicate #99999", f"release #{third}"):
        assert heard(ordered(DATAGRAMS, (2.5, order))) == list("01234")


def test_tcp_has_no_use_for_a_copy() -> None:
    plain = ordered(ECHO)
    data = packets(plain, PacketKind.DATA)[0]
    sent_s = plain.trace.time[data]
    session = ordered(ECHO, (sent_s + 0.01, f"duplicate #{data}"), (sent_s + 0.02, "duplicate next 3 packets"))
    assert len(every(session.trace, CommandApplied)) == 2
    assert len(every(session.trace, PacketSent)) == len(every(plain.trace, PacketSent))


def test_one_of_two_held_packets_goes_on() -> None:
    third, fourth = packets(ordered(DATAGRAMS), PacketKind.DATAGRAM)[2:4]
    orders = ((2.05, f"hold #{third}"), (3.05, "hold next packet"), (5.0, f"release #{third}"))
    session = ordered(DATAGRAMS, *orders)
    assert heard(session) == list("0132")
    delivered = {fact.packet: record.time_s for record, fact in every(session.trace, PacketDelivered)}
    assert delivered[third] == 5.0
    assert fourth in delivered


def test_a_dropped_copy_leaves_the_original() -> None:
    third = packets(ordered(DATAGRAMS), PacketKind.DATAGRAM)[2]
    session = ordered(DATAGRAMS, (2.05, f"duplicate #{third}"), (2.06, f"drop #{third}"))
    assert heard(session) == list("01234")
    assert [fact.packet for _, fact in every(session.trace, PacketDropped)] == [third]


def test_a_copy_is_replayed_from_the_record() -> None:
    live = Session(DATAGRAMS, paused=True)
    live.start()
    live.run_until(1.05)
    assert live.wait_idle(60.0)
    live.command(f"duplicate #{packets(ordered(DATAGRAMS), PacketKind.DATAGRAM)[1]}")
    live.run_until(8.0)
    assert live.wait_idle(60.0)
    live.close()
    again = run_headless(DATAGRAMS, commands=live.commands, until_s=8.0)
    assert heard(again) == heard(live) == list("011234")
    assert list(again.trace.time) == list(live.trace.time)
