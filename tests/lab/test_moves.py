"""A host gets another address: what that does to its connections, to its datagrams, and to nothing else."""

import pytest
import trio

from engines.lab.commands import CommandError, check_command, parse_command
from engines.lab.facts import (
    ConnectionReset,
    PacketDelivered,
    PacketDropped,
    PacketKind,
    PacketSent,
    StateChanged,
)
from engines.lab.knobs import KnobBoard
from engines.lab.network import MOVED
from engines.lab.scenario import HostSpec, Scenario
from engines.lab.session import run_headless
from engines.lab.tcp import Endpoint
from tests.lab.rig import Rig, run_in_rig
from tests.patterns.laws import breaches
from tests.patterns.runs import at

LATENCY_S = 0.1


def move(rig: Rig, host: str) -> str:
    rig.network.reset_end = lambda flow, who, packet: rig.kernels[who].refuse(flow, packet)
    return rig.network.move(host)


def fates(rig: Rig) -> list[str]:
    return [r.fact.reason for r in rig.trace if isinstance(r.fact, PacketDropped)]


def test_who_speaks_on_an_old_connection_gets_a_reset_a_round_trip_later() -> None:
    async def body(rig: Rig) -> None:
        ours, theirs = await rig.connected()
        assert move(rig, "a") == "a@2"
        start_s = trio.current_time()
        await ours.send_all(b"still me")
        with pytest.raises(trio.BrokenResourceError):
            await ours.receive_some()
        assert trio.current_time() == pytest.approx(start_s + 2 * LATENCY_S)
        with trio.move_on_after(5):
            await theirs.receive_some()
            pytest.fail("the server's end hears nothing of it")

    rig = run_in_rig(body, latency_s=LATENCY_S)
    assert [r.fact.host for r in rig.trace if isinstance(r.fact, ConnectionReset)] == ["a"]


def test_what_is_sent_to_the_old_address_reaches_nobody_and_is_sent_again_in_vain() -> None:
    async def body(rig: Rig) -> None:
        ours, theirs = await rig.connected()
        await theirs.send_all(b"on its way")
        move(rig, "a")
        await theirs.send_all(b"too late")
        with trio.move_on_after(10):
            await ours.receive_some()
            pytest.fail("nothing arrives")

    rig = run_in_rig(body, latency_s=LATENCY_S)
    reasons = fates(rig)
    assert len(reasons) > 4
    assert set(reasons) == {MOVED}


def test_what_left_before_the_move_still_arrives() -> None:
    async def body(rig: Rig) -> None:
        ours, theirs = await rig.connected()
        await ours.send_all(b"goodbye")
        move(rig, "a")
        assert await theirs.receive_some() == b"goodbye"

    run_in_rig(body, latency_s=LATENCY_S)


def test_a_reset_that_is_lost_is_answered_by_sending_again() -> None:
    async def body(rig: Rig) -> None:
        ours, _theirs = await rig.connected()
        move(rig, "a")
        back = rig.network.link("b", "a")
        back.loss = 1.0
        await ours.send_all(b"x")
        await trio.sleep(0.25)
        back.loss = 0.0
        with pytest.raises(trio.BrokenResourceError):
            await ours.receive_some()

    rig = run_in_rig(body, latency_s=LATENCY_S)
    sent = [r.fact for r in rig.trace if isinstance(r.fact, PacketSent)]
    assert [(p.kind, p.attempt) for p in sent[2:]] == [
        (PacketKind.DATA, 1), (PacketKind.RST, 1), (PacketKind.DATA, 2), (PacketKind.RST, 1),
    ]  # fmt: skip


def test_a_new_connection_is_as_good_as_any() -> None:
    async def body(rig: Rig) -> None:
        await rig.connected()
        move(rig, "a")
        ours, theirs = await rig.connected(81)
        await ours.send_all(b"hello")
        assert await theirs.receive_some() == b"hello"
        await theirs.send_all(b"welcome")
        assert await ours.receive_some() == b"welcome"

    assert fates(run_in_rig(body, latency_s=LATENCY_S)) == []


def test_a_connection_that_is_being_made_is_made_from_the_new_address() -> None:
    async def body(rig: Rig) -> None:
        found: list[Endpoint] = []

        async def connect() -> None:
            found.append(await rig.kernels["a"].connect("b", 80))

        async with rig.kernels["b"].listen(80), trio.open_nursery() as nursery:
            nursery.start_soon(connect)
            await trio.sleep(1.5 * LATENCY_S)
            move(rig, "a")  # the SYN-ACK is on its way to where nobody is
        assert trio.current_time() == pytest.approx(1.0 + 2 * LATENCY_S)  # the second SYN, a second after the first
        assert found[0].broken == ""

    run_in_rig(body, latency_s=LATENCY_S)


def test_datagrams_come_from_the_new_address_and_belong_to_the_same_flow() -> None:
    async def body(rig: Rig) -> None:
        with rig.kernels["a"].bind() as ours, rig.kernels["b"].bind(53) as theirs:
            await ours.send_to(b"1", "b", 53)
            before = (await theirs.receive_from())[1]
            move(rig, "a")
            await ours.send_to(b"2", "b", 53)
            after = (await theirs.receive_from())[1]
            assert (before, after) == (("a", ours.port), ("a@2", ours.port))
            await theirs.send_to(b"to the old", *before)
            await theirs.send_to(b"to the new", *after)
            assert await ours.receive_from() == (b"to the new", ("b", 53))

    rig = run_in_rig(body, latency_s=LATENCY_S)
    assert fates(rig) == [MOVED]
    assert {r.fact.flow for r in rig.trace if isinstance(r.fact, PacketSent)} == {1}
    assert sum(isinstance(r.fact, PacketDelivered) for r in rig.trace) == 3


def test_programs_of_one_host_go_on_talking_to_each_other() -> None:
    async def body(rig: Rig) -> None:
        kernel = rig.kernels["a"]
        async with kernel.listen(80) as listener:
            ours = await kernel.connect("a", 80)
            theirs = await listener.accept()
            move(rig, "a")
            await ours.send_all(b"self")
            assert await theirs.receive_some() == b"self"

    run_in_rig(body)


def test_the_order_is_recorded_and_a_program_that_asks_is_told() -> None:
    told: list[float] = []

    async def asks(host: object) -> None:
        while True:
            await host.wait_moved()  # type: ignore[attr-defined]
            told.append(trio.current_time())

    async def sleeps(host: object) -> None:
        await trio.sleep_forever()

    scenario = Scenario("s", "S", "p", (HostSpec("client", asks), HostSpec("server", sleeps)))
    session = run_headless(scenario, commands=[at(1.0, "move client"), at(2.0, "move client")], until_s=3.0)
    changes = [
        (r.time_s, r.fact.host, r.fact.key, r.fact.value) for r in session.trace if isinstance(r.fact, StateChanged)
    ]
    assert changes == [(1.0, "client", "address", "client@2"), (2.0, "client", "address", "client@3")]
    assert told == [1.0, 2.0]
    assert breaches(session.trace) == []


def test_the_command_has_one_text_form_and_wants_a_host_that_exists() -> None:
    command = parse_command("move client")
    assert str(command) == "move client"
    with pytest.raises(CommandError, match="did you mean 'client'"):
        check_command(parse_command("move klient"), ["client", "server"], KnobBoard([]))
    with pytest.raises(CommandError, match="needs to know what"):
        parse_command("move")
