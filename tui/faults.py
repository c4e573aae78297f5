"""Which faults are on, folded over the commands that were applied: by whichever key, palette or script they came."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engines.lab.commands import CommandError, parse_command

if TYPE_CHECKING:
    from engines.lab.scenario import Fault


@dataclass(frozen=True, slots=True)
class FaultState:
    """`on` for faults that last, `times` for how often it happened."""

    on: bool
    times: int


def canonical(command: str) -> str:
    """The command's one spelling, or the text itself if it cannot be read."""
    try:
        return str(parse_command(command))
    except CommandError:
        return command.strip()


def fault_states(faults: Sequence["Fault"], commands: Sequence[str]) -> list[FaultState]:
    """The state of each of `faults` after `commands`, oldest first."""
    given = [canonical(command) for command in commands]
    states: list[FaultState] = []
    for fault in faults:
        on = canonical(fault.on)
        off = canonical(fault.off) if fault.off is not None else None
        last = next((command for command in reversed(given) if command in (on, off)), None)
        states.append(FaultState(off is not None and last == on, given.count(on)))
    return states
