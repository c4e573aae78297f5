"""When to ask again, and after what pause: decided purely. Somebody else waits, and asks.

The rules and the numbers are Envoy's (router filter, "x-envoy-retry-on"; `RetryPolicy` of its route configuration): nothing is
retried unless that is configured, then once. A layer-7 proxy can do this because it has kept the request and knows from the
status what became of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

BASE_S = 0.025
"""Envoy: base interval of the back-off, 25 ms."""
CAP_S = 0.25
"""Envoy: ten times the base interval unless configured."""


class Ending(Enum):
    """How an attempt ended."""

    ANSWERED = "answered"
    NOT_CONNECTED = "no connection"
    BROKEN = "broken off"
    TOO_SLOW = "too slow"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt; `status` is what the client is told of it (RFC 9110, section 15.6)."""

    ending: Ending
    status: int

    @property
    def failed(self) -> bool:
        """Whether that speaks against the upstream: no answer, or 5xx."""
        return self.ending is not Ending.ANSWERED or self.status >= 500


_RETRY_ON: dict[str, Callable[[Outcome], bool]] = {
    "5xx": lambda outcome: outcome.failed,
    "gateway-error": lambda outcome: outcome.status in (502, 503, 504),
    "reset": lambda outcome: outcome.ending is not Ending.ANSWERED,
    "connect-failure": lambda outcome: outcome.ending is Ending.NOT_CONNECTED,
}
"""Envoy's names: "5xx" includes that there was no answer at all, "reset" is the lack of one for any reason."""

CONDITIONS = tuple(_RETRY_ON)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often at most to ask again (0: never), on what, and the scale of the pauses in between."""

    retries: int = 0
    retry_on: str = "5xx"
    base_s: float = BASE_S
    cap_s: float = CAP_S

    def wants_retry(self, outcome: Outcome, retries_so_far: int) -> bool:
        """Whether to ask again after `outcome`, if there is budget for it."""
        return retries_so_far < self.retries and _RETRY_ON[self.retry_on](outcome)

    def back_off_s(self, retry: int, luck: float) -> float:
        """The pause before retry number `retry` (from 1): random in [0, (2^N - 1) x base), capped. `luck` is in [0, 1)."""
        ceiling_s: float = (2**retry - 1) * self.base_s
        return min(self.cap_s, luck * ceiling_s)
