"""Programs that share a machine: their link is the loopback, localhost is theirs together, and so is the cable."""

import math
from collections.abc import Mapping

import trio

from engines.lab.commands import TimedCommand, parse_command
from engines.lab.facts import (
    ConnectionOpening,
    ConnectionRefused,
    LinkChanged,
    PacketDelivered,
    PacketDropped,
    PacketSent,
    StateChanged,
)
from engines.lab.host import Host
from engines.lab.knobs import Value
from engines.lab.links import LOOPBACK_S
from engines.lab.scenario import HostSpec, Program, Scenario
from engines.lab.session import SessionState, run_headless
from engines.lab.tcp import Endpoint
from engines.lab.trace import Trace
from tests.patterns.laws import every

LATENCY_S = 0.1


async def idle(host: Host) -> None:
    await trio.sleep_forever()


async def echo(host: Host) -> None:
    """Answers on port 7, one connection after another."""
    async with host.listen(7) as listener:
        while True:
            async with await listener.accept() as stream:
                try:
                    while data := await stream.receive_some():
                        await stream.send_all(data)
                except trio.BrokenResourceError:
                    pass


def asking(server: str, answers: list[float]) -> Program:
    """Ask `server` every second and note how long the answer took; infinity for a refusal."""

    async def ask(host: Host) -> None:
        while True:
            begun = trio.current_time()
            try:
                with trio.move_on_after(0.9):
                    async with await host.connect(server, 7) as stream:
                        await stream.send_all(b"?")
                        if await stream.receive_some():
                            answers.append(trio.current_time() - begun)
            except (OSError, trio.BrokenResourceError):
                answers.append(math.inf)
            await trio.sleep_until(begun + 1)

    return ask


def run(
    *hosts: HostSpec, commands: Mapping[float, str] | None = None, knobs: Mapping[str, Value] | None = None
) -> Trace:
    scenario = Scenario("pod", "pod", "", hosts, network={"latency": LATENCY_S})
    orders = [TimedCommand(at, parse_command(order)) for at, order in (commands or {}).items()]
    session = run_headless(scenario, until_s=8.0, commands=orders, knobs=knobs)
    assert session.status.state is SessionState.ENDED, session.status.message
    return session.trace


def test_programs_of_one_machine_talk_over_the_loopback_whatever_the_network_does() -> None:
    answers: list[float] = []
    run(
        HostSpec("app", asking("localhost", answers), machine="pod"),
        HostSpec("sidecar", echo, machine="pod"),
        HostSpec("far", idle),
        knobs={"latency": 2.0, "jitter": 1.0, "loss": 0.9, "bandwidth": 1000.0},
        commands={3.5: "set latency 3s", 4.5: "unplug app", 6.5: "plug app"},
    )
    assert len(answers) == 8
    assert all(abs(answer - 4 * LOOPBACK_S) < 1e-9 for answer in answers)


def test_localhost_is_who_listens_there_and_when_nobody_does_it_refuses() -> None:
    answers: list[float] = []
    trace = run(
        HostSpec("app", asking("localhost", answers), machine="pod"),
        HostSpec("sidecar", echo, machine="pod"),
        commands={1.5: "kill sidecar", 3.5: "restart sidecar"},
    )
    assert [answer == math.inf for answer in answers] == [False, False, True, True, False, False, False, False]
    assert {opening.server for _, opening in every(trace, ConnectionOpening)} == {"sidecar"}
    assert len(every(trace, ConnectionRefused)) == 2


def test_alone_on_its_machine_a_host_is_its_own_localhost() -> None:
    trace = run(HostSpec("app", asking("localhost", answers := [])), HostSpec("far", echo))
    assert answers == [math.inf] * len(answers)
    assert {opening.server for _, opening in every(trace, ConnectionOpening)} == {"app"}


def test_a_port_belongs_to_the_machine() -> None:
    complaints: list[str] = []

    async def second(host: Host) -> None:
        try:
            host.listen(7)
        except OSError as error:
            complaints.append(str(error))
        await trio.sleep_forever()

    run(HostSpec("second", second, machine="pod"), HostSpec("first", echo, machine="pod"))
    assert complaints == ["port 7 of second is in use"]
    complaints.clear()
    run(HostSpec("second", second), HostSpec("first", echo))
    assert complaints == []


def test_who_is_killed_at_its_first_steps_leaves_the_port_to_its_successor() -> None:
    """Its child task comes to listen when it is dead already, at the moment at which the next program does the same."""

    async def listen(host: Host) -> None:
        async with host.listen(7) as listener, trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(answer_once, await listener.accept())

    async def answer_once(stream: Endpoint) -> None:
        async with stream:
            await stream.send_all(await stream.receive_some())

    async def later(host: Host) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, host)

    answers: list[float] = []
    run(HostSpec("app", asking("sidecar", answers)), HostSpec("sidecar", later), commands={0.0: "restart sidecar"})
    assert len(answers) == 8


def test_a_machine_has_one_cable() -> None:
    """Unplugging one of its programs takes them all off the network, and mends with either's name."""
    near: list[float] = []
    far: list[float] = []
    trace = run(
        HostSpec("app", asking("far", far), machine="pod"),
        HostSpec("probe", asking("localhost", near), machine="pod"),
        HostSpec("sidecar", echo, machine="pod"),
        HostSpec("far", echo),
        commands={1.5: "unplug app", 4.5: "plug sidecar"},
    )
    assert len(near) == 8
    assert 2 < len(far) < 6
    cut = {(fact.sender, fact.receiver) for _, fact in every(trace, LinkChanged) if fact.state == "cut"}
    assert cut == {(a, b) for pod in ("app", "probe", "sidecar") for a, b in ((pod, "far"), ("far", pod))}
    assert every(trace, PacketDropped)


def test_a_machine_has_one_address_and_the_loopback_needs_none() -> None:
    """All who share it move together; what they say to each other goes on, and connections to others are dead."""
    near: list[float] = []
    trace = run(
        HostSpec("app", asking("localhost", near), machine="pod"),
        HostSpec("sidecar", echo, machine="pod"),
        HostSpec("far", idle),
        commands={2.00005: "move sidecar"},
    )
    assert len(near) == 8
    assert all(abs(answer - 4 * LOOPBACK_S) < 1e-9 for answer in near)
    moved = {(fact.host, fact.value) for _, fact in every(trace, StateChanged) if fact.key == "address"}
    assert moved == {("app", "app@2"), ("sidecar", "sidecar@2")}


def test_a_cut_that_names_both_ends_cuts_just_that() -> None:
    trace = run(
        HostSpec("app", asking("localhost", answers := []), machine="pod"),
        HostSpec("sidecar", echo, machine="pod"),
        HostSpec("far", idle),
        commands={2.5: "cut app>sidecar"},
    )
    assert len(answers) == 3
    assert [(fact.sender, fact.receiver) for _, fact in every(trace, LinkChanged)] == [("app", "sidecar")]


def test_other_links_have_the_network_s_latency() -> None:
    trace = run(HostSpec("app", asking("far", answers := []), machine="pod"), HostSpec("far", echo))
    assert all(abs(answer - 4 * LATENCY_S) < 1e-9 for answer in answers)
    sent = {record.id: record.time_s for record, _ in every(trace, PacketSent)}
    assert all(record.time_s - sent[fact.packet] > LATENCY_S - 1e-9 for record, fact in every(trace, PacketDelivered))
