"""A host whose links share one cable; and faults that name a message by its first word."""

import pytest
import trio

from engines.lab.commands import CommandError, TimedCommand, parse_command
from engines.lab.facts import PacketDelivered, PacketKind, PacketSent
from engines.lab.host import Host
from engines.lab.knobs import Number
from engines.lab.links import HEADER_BYTES
from engines.lab.scenario import HostSpec, Scenario
from engines.lab.session import run_headless
from tests.patterns.laws import breaches, every

SIZE = 60
TURNED_S = 5.0


async def source(host: Host) -> None:
    """At once, and again after the knob was turned, a datagram to each of the others."""
    socket = host.datagram_socket()
    for _ in range(2):
        for other in ("one", "two", "three"):
            await socket.send_to(bytes(SIZE), other, 9)
        await trio.sleep(TURNED_S + 1)


async def sink(host: Host) -> None:
    host.datagram_socket(9)
    await trio.sleep_forever()


def arrivals(uplink: str, bandwidth: float) -> list[float]:
    knob = Number("cable", "cable", "B/s", 100.0, 1.0, 1e9, 100.0, "what the source shares")
    hosts = [HostSpec("source", source, uplink=uplink), *(HostSpec(name, sink) for name in ("one", "two", "three"))]
    scenario = Scenario("s", "s", "", tuple(hosts), (knob,), network={"latency": 0.25, "bandwidth": bandwidth})
    session = run_headless(scenario, commands=[TimedCommand(TURNED_S, parse_command("set cable 200B/s"))], until_s=20.0)
    assert breaches(session.trace) == []
    sent = [record.id for record, packet in every(session.trace, PacketSent) if packet.kind is PacketKind.DATAGRAM]
    at = {delivered.packet: record.time_s for record, delivered in every(session.trace, PacketDelivered)}
    return [at[packet] for packet in sent]


def test_packets_of_a_shared_uplink_queue_behind_each_other_whoever_they_are_for() -> None:
    one_s = (SIZE + HEADER_BYTES) / 100
    again_s = TURNED_S + 1
    expected = [0.25 + n * one_s for n in (1, 2, 3)] + [0.25 + again_s + n * one_s / 2 for n in (1, 2, 3)]
    assert arrivals("cable", float("inf")) == pytest.approx(expected, abs=1e-9)


def test_behind_the_uplink_each_link_takes_its_own_time() -> None:
    one_s, link_s = (SIZE + HEADER_BYTES) / 100, (SIZE + HEADER_BYTES) / 1000
    assert arrivals("cable", 1000.0)[:3] == pytest.approx([0.25 + n * one_s + link_s for n in (1, 2, 3)], abs=1e-9)


def test_without_a_shared_uplink_nobody_waits_for_another() -> None:
    assert arrivals("", 1000.0)[:3] == pytest.approx([0.25 + (SIZE + HEADER_BYTES) / 1000] * 3, abs=1e-9)


@pytest.mark.parametrize(
    "text", ["lose next PUBACK from broker", "drop next 3 PUBREL", "hold next GET", "reset after 70% of next PUBLISH"]
)
def test_a_fault_may_name_the_first_word_of_a_label(text: str) -> None:
    command = parse_command(text)
    assert parse_command(str(command)) == command


def test_other_words_are_still_refused() -> None:
    for text in ("lose next puback", "lose next Puback"):
        with pytest.raises(CommandError):
            parse_command(text)
