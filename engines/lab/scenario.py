"""What a run is made of, as data: hosts with their programs, knobs, faults. The lab needs no more than this to run it.

A program is an ordinary coroutine function that takes its `Host` and serves or calls until it is killed. Its local
variables are its memory: a restart calls it again from the top, and only `host.disk` is still there.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec

from engines.lab.dissection import DissectorFactory
from engines.lab.host import Host
from engines.lab.knobs import NETWORK_KNOBS, Knob

Program = Callable[[Host], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class HostSpec:
    """A party: one lifeline, one program. `title` is what the diagram's head says (default: the name).

    `uplink` names a knob of the scenario: the bandwidth (B/s) that all packets of this host share on their way out of it,
    whoever they are for. Without one, each link has the network's bandwidth to itself.

    Parties that name the same `machine` share it, as the containers of a pod do: their links are the loopback, they reach each
    other's ports as "localhost", no two of them listen on the same port, and they have one cable. Default: one of its own.
    """

    name: str
    program: Program
    title: str = ""
    uplink: str = ""
    machine: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong on purpose. `on` and `off` are commands (see `commands`); without `off` it happens once.

    `key` is the key that the UI offers for it.
    """

    name: str
    title: str
    key: str
    on: str
    help: str
    off: str | None = None


@dataclass(frozen=True, slots=True)
class Need:
    """A library that comes only with an extra: the name of its module, and what to install to have it."""

    module: str
    install: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing to try. `name` is for the command line, `title` for people, `purpose` one sentence on what to look at.

    `protocols` says which dissector reads the connections to a port. `until_s` is how long a run without a UI lasts unless
    told otherwise.
    """

    name: str
    title: str
    purpose: str
    hosts: tuple[HostSpec, ...]
    knobs: tuple[Knob, ...] = ()
    faults: tuple[Fault, ...] = ()
    protocols: Mapping[int, DissectorFactory] = field(default_factory=dict)
    until_s: float = 30.0
    network: Mapping[str, float] = field(default_factory=dict)  # other defaults for the network's knobs, by name
    needs: tuple[Need, ...] = ()  # what must be installed besides, or the run fails and says so

    def lacks(self) -> str:
        """One line on what is not installed and how to install it; "" when nothing is lacking."""
        for need in self.needs:
            if find_spec(need.module) is None:
                return f"this scenario needs {need.module}, which is not installed; get it with: pip install '{need.install}'"
        return ""

    def all_knobs(self) -> tuple[Knob, ...]:
        """The scenario's own knobs, then the network's with this scenario's defaults."""
        return self.knobs + tuple(
            replace(knob, default=self.network.get(knob.name, knob.default)) for knob in NETWORK_KNOBS
        )
