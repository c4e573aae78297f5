"""How a run begins: everything that is decided before its first event."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engines.lab.commands import TimedCommand
    from engines.lab.knobs import Value


@dataclass(frozen=True, slots=True)
class Beginning:
    """`knobs` are starting values other than the defaults; `commands` are given at their virtual times. The run hurries to
    `start_at_s` before it plays at `pace`."""

    seed: int = 0
    pace: float = 1.0
    knobs: "Mapping[str, Value]" = field(default_factory=dict)
    commands: "tuple[TimedCommand, ...]" = ()
    start_at_s: float = 0.0

    def plain(self) -> "Beginning":
        """The same seed and pace, and nothing else: for another scenario."""
        return Beginning(self.seed, self.pace)
