"""Outlier ejection: one of several upstreams fails again and again, and gets no requests for a while. Decided purely.

The rules and the numbers are Envoy's (architecture overview, "Outlier detection"; `OutlierDetection` of its cluster
configuration): 5 failures in a row eject at once; a sweep every 10 s lets back those whose time is over, 30 s for
each time that they were ejected; at most 10 % of the upstreams may be out, but one always may. If fewer than half are left,
all get requests again, healthy or not (its panic threshold).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

CONSECUTIVE, INTERVAL_S, BASE_EJECTION_S, MOST_EJECTED = 5, 10.0, 30.0, 0.1
PANIC_BELOW = 0.5


@dataclass
class _Record:
    failures: int = 0  # in a row
    ejections: int = 0
    until_s: float | None = None  # when its time out is over; None while it is in


@dataclass
class Outliers:
    """What is known of the upstreams `hosts`; the limits may be changed at any time and hold from then on."""

    hosts: Sequence[str]
    consecutive: int = CONSECUTIVE
    base_ejection_s: float = BASE_EJECTION_S
    most_ejected: float = MOST_EJECTED
    _records: dict[str, _Record] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._records = {host: _Record() for host in self.hosts}

    @property
    def ejected(self) -> list[str]:
        return [host for host in self.hosts if self._records[host].until_s is not None]

    def candidates(self) -> list[str]:
        """Who may get the next request, in their order."""
        healthy = [host for host in self.hosts if self._records[host].until_s is None]
        return healthy if len(healthy) >= PANIC_BELOW * len(self.hosts) else list(self.hosts)

    def succeeded(self, host: str) -> None:
        self._records[host].failures = 0

    def failed(self, host: str, now_s: float) -> float | None:
        """One more failure of `host`; for how many seconds it is ejected because of that, or None."""
        record = self._records[host]
        record.failures += 1
        if record.failures < self.consecutive or record.until_s is not None or not self._may_eject():
            return None
        record.failures = 0
        record.ejections += 1
        ejection_s = self.base_ejection_s * record.ejections
        record.until_s = now_s + ejection_s
        return ejection_s

    def _may_eject(self) -> bool:
        """Whether one more may be out: the first always, a further one while that stays within the limit."""
        out = len(self.ejected)
        return out == 0 or (out + 1) <= self.most_ejected * len(self.hosts) + 1e-9

    def sweep(self, now_s: float) -> list[str]:
        """Let those back whose time is over, and return them."""
        back = [host for host in self.ejected if (self._records[host].until_s or 0.0) <= now_s + 1e-9]
        for host in back:
            self._records[host].until_s = None
        return back
