"""One run: hosts and their programs on a network, under a clock, with every order and every fact written down."""

from collections.abc import Callable, Mapping, Sequence
from random import Random

import trio

from engines.lab import determinism
from engines.lab.clock import PacedClock
from engines.lab.commands import (
    ChangeLink,
    Command,
    FaultNext,
    FaultThis,
    KillHost,
    MoveHost,
    Release,
    ResetConnection,
    RestartHost,
    SetKnob,
    TimedCommand,
)
from engines.lab.facts import (
    CommandApplied,
    HostCrashed,
    HostDeclared,
    HostFinished,
    HostStarted,
    KnobTurned,
    MessageStarted,
    RunEnded,
    RunFailed,
    RunStarted,
    StateChanged,
    Text,
)
from engines.lab.fate import NextMessages, PartOfBody
from engines.lab.host import Host
from engines.lab.kernel import Kernel
from engines.lab.knobs import KnobBoard, Value
from engines.lab.network import Network
from engines.lab.recorder import Recorder, because_of
from engines.lab.scenario import HostSpec, Scenario
from engines.lab.scheduler import Scheduler
from engines.lab.trace import NO_CAUSE, Trace
from engines.lab.whereabouts import Whereabouts, whereabouts


class ProgramError(Exception):
    """A program raised; the message is one line for people, the cause the exception itself."""


class _Machine:
    """A host with the life of its program."""

    def __init__(self, spec: HostSpec, kernel: Kernel, host: Host) -> None:
        self.spec = spec
        self.kernel = kernel
        self.host = host
        self.starts = 0
        self.scope: trio.CancelScope | None = None
        self.task: trio.lowlevel.Task | None = None


class Lab:
    """Builds the hosts of a scenario and runs their programs. Lives inside one `trio.run` with a PacedClock."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        name: str,
        seed: int,
        knobs: Mapping[str, Value],
        trace: Trace,
        clock: PacedClock,
        recorder: Recorder,
    ) -> None:
        self._scenario = scenario
        self._name = name
        self._seed = seed
        self._trace = trace
        self._recorder = recorder
        self.knobs = KnobBoard(scenario.all_knobs())
        for knob, value in knobs.items():
            self.knobs.set(knob, value)
        self.scheduler = Scheduler(clock)
        self._network = Network(seed, self.scheduler, recorder)
        self._network.reset_connection = self._reset_connection
        self._network.reset_end = lambda flow, host, packet: self._machines[host].kernel.refuse(flow, packet)
        self._machines: dict[str, _Machine] = {}
        self._commands_applied = 0
        self._nursery: trio.Nursery | None = None
        self._running = 0

    async def run(self, commands: Sequence[TimedCommand]) -> None:
        """Run until every program has returned. Raises ProgramError when one fails."""
        determinism.seed_run(self._seed)
        for timed in commands:
            self.command_at(timed)
        try:
            async with trio.open_nursery() as events:
                events.start_soon(self.scheduler.run)
                self._set_up()
                if lack := self._scenario.lacks():
                    self._recorder.record(RunFailed(self._scenario.hosts[0].name, Text(lack)), NO_CAUSE)
                    raise ProgramError(lack)
                async with trio.open_nursery() as self._nursery:
                    # From right to left: servers, by convention on the right, listen before clients call.
                    for machine in reversed(self._machines.values()):
                        self._start(machine)
                self._recorder.record(RunEnded(Text("every program has returned")), NO_CAUSE)
                events.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            failure = _first_leaf(group, ProgramError)
            if failure is None:
                raise
            raise failure from failure.__cause__

    def _set_up(self) -> None:
        """Declare the hosts, lay the links, set them to the network's knobs."""
        self._recorder.record(RunStarted(self._seed, Text(self._name)))
        machines = {spec.name: spec.machine or spec.name for spec in self._scenario.hosts}
        for name in machines:
            self._recorder.record(HostDeclared(name))
        self._network.connect_hosts(machines)
        kernels = {name: Kernel(name, self._network, self._scenario.protocols) for name in machines}
        ports: dict[str, dict[int, str]] = {machine: {} for machine in machines.values()}
        for spec in self._scenario.hosts:
            kernel = kernels[spec.name]
            kernel.neighbours = kernels
            kernel.ports = ports[machines[spec.name]]
            host = Host(spec.name, kernel, self.knobs, self._recorder, self._randomness_of(spec.name))
            self._machines[spec.name] = _Machine(spec, kernel, host)
            if spec.uplink:
                self._network.share_uplink(spec.name, list(machines))
        self._tune_links()

    def _randomness_of(self, host: str) -> Callable[[str], Random]:
        return lambda purpose: determinism.stream_of_randomness(self._seed, f"host {host} {purpose}".rstrip())

    def _tune_links(self) -> None:
        for link in self._network.links.values():
            if link.loopback:
                continue
            link.latency_s = self.knobs.number("latency")
            link.jitter_s = self.knobs.number("jitter")
            link.bandwidth = self.knobs.number("bandwidth")
            link.loss = self.knobs.number("loss")
            if link.uplink is not None:
                link.uplink.bandwidth = self.knobs.number(self._machines[link.sender].spec.uplink)

    # --- programs -------------------------------------------------------------------------------------------------------

    def _start(self, machine: _Machine) -> None:
        assert self._nursery is not None
        machine.starts += 1
        machine.scope = trio.CancelScope()
        self._running += 1
        fact = self._recorder.record(HostStarted(machine.spec.name, machine.starts))
        self._nursery.start_soon(self._live, machine, machine.scope, fact, name=machine.spec.name)

    async def _live(self, machine: _Machine, scope: trio.CancelScope, started: int) -> None:
        """The life of a program: until it returns, fails or is killed."""
        because_of(started)
        name = machine.spec.name
        machine.task = trio.lowlevel.current_task()
        try:
            with scope:
                if not scope.cancel_called:  # killed before it could begin
                    await machine.spec.program(machine.host)
        except Exception as error:
            if scope.cancel_called or self._recorder.sealed:
                return  # it was on its way out: its streams were closed under its hands
            reason = _one_line(error)
            self._recorder.record(RunFailed(name, Text(reason)))
            raise ProgramError(f"{name} failed: {reason}") from error
        self._running -= 1
        if machine.scope is scope:
            machine.scope = None
            machine.kernel.close_all()
            self._recorder.record(HostFinished(name))
        if scope.cancel_called and self._running == 0:
            # Killed programs may be started again: keep the run alive for it.
            await trio.sleep_forever()

    def _kill(self, machine: _Machine) -> None:
        if machine.scope is None:
            return
        self._recorder.record(HostCrashed(machine.spec.name))
        machine.scope.cancel()
        machine.kernel.close_all()
        machine.scope = None

    def pull_the_plug(self) -> None:
        """Close every connection of every host, so that nothing that shields itself from cancellation waits for bytes."""
        for machine in self._machines.values():
            machine.kernel.close_all()

    def whereabouts(self) -> tuple[Whereabouts, ...]:
        """Where every task of every running program stands at this moment, hosts from left to right."""
        return tuple(
            stand
            for machine in self._machines.values()
            if machine.scope is not None and machine.task is not None
            for stand in whereabouts(machine.spec.name, machine.task)
        )

    # --- commands -------------------------------------------------------------------------------------------------------

    def command_at(self, timed: TimedCommand) -> None:
        """Apply a command at its time, before everything else that happens then."""
        self.scheduler.call_command_at(timed.time_s, lambda: self._apply(timed.command))

    def _apply(self, command: Command) -> None:
        fact = self._recorder.record(CommandApplied(self._commands_applied, Text(str(command))), NO_CAUSE)
        self._commands_applied += 1
        because_of(fact)
        match command:
            case SetKnob(name, text):
                self._turn(name, text)
            case KillHost(host):
                self._kill(self._machines[host])
            case RestartHost(host):
                self._kill(self._machines[host])
                self._start(self._machines[host])
            case MoveHost(host):
                self._move(host)
            case ChangeLink():
                self._change_links(command)
            case ResetConnection(flow):
                self._reset_connection(flow)
            case FaultNext(action, count, kind, sender, None):
                self._network.rules.append(NextMessages(action, count, kind, sender))
            case FaultNext(action, _, kind, sender, float() as after, in_bytes):
                self._network.rules.append(PartOfBody(action, kind, sender, after, in_bytes))
            case FaultThis(action, chosen):
                self._fault_this(action, chosen)
            case Release():
                self._network.release_all()
        because_of(NO_CAUSE)

    def _move(self, host: str) -> None:
        """A machine has one address: all who share it move together."""
        for mate in self._mates(host):
            address = self._network.move(mate)
            self._machines[mate].kernel.moved(self._recorder.record(StateChanged(mate, "address", Text(address))))

    def _turn(self, name: str, text: str) -> None:
        knob = self.knobs.knobs[name]
        value = knob.parse(text)
        self._recorder.record(KnobTurned(name, Text(knob.format(value))))
        self.knobs.set(name, value)
        self._tune_links()

    def _change_links(self, command: ChangeLink) -> None:
        for one, other in self._link_ends(command):
            ways = [(one, other), (other, one)] if command.both else [(one, other)]
            for sender, receiver in ways:
                self._network.change_link(self._network.link(sender, receiver), command.state)

    def _link_ends(self, command: ChangeLink) -> list[tuple[str, str]]:
        """Whose links change. A cable is that of a machine: all who share it are off the network, and still reach each other."""
        if command.receiver:
            return [(command.sender, command.receiver)]
        mates = self._mates(command.sender)
        return [(mate, other) for mate in mates for other in self._machines if other not in mates]

    def _mates(self, host: str) -> list[str]:
        """All who are on the machine of `host`, itself too."""
        return [name for name in self._machines if name == host or self._network.link(host, name).loopback]

    def _reset_connection(self, flow: int) -> None:
        self._network.drop_flow(flow, "reset")
        for machine in self._machines.values():
            machine.kernel.reset(flow)

    def _fault_this(self, action: str, chosen: int) -> None:
        """Do something to what is on its way of a packet or of the message that it carries."""
        if 0 <= chosen < len(self._trace) and self._trace.kind[chosen] == MessageStarted.code:
            chosen = self._trace.cause[chosen]
        packet = self._network.in_flight.get(chosen)
        if packet is not None:
            self._network.befall(packet, action)


def _first_leaf(error: BaseException, kind: type[ProgramError]) -> ProgramError | None:
    """The first exception of `kind` in a group of groups."""
    if isinstance(error, kind):
        return error
    if isinstance(error, BaseExceptionGroup):
        found = (_first_leaf(inner, kind) for inner in error.exceptions)
        return next((leaf for leaf in found if leaf is not None), None)
    return None


def _one_line(error: BaseException) -> str:
    """An exception as a person reads it: the innermost one, without line breaks."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
