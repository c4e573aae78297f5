"""A retry budget: retries may be a share of all requests, and a few a second in any case. It bounds what retries add to a load.

The numbers are Linkerd's defaults (`RetryBudget` of its service profiles: retryRatio 0.2, minRetriesPerSecond 10, ttl 10 s). A
fixed number of retries multiplies the load just when everything fails; a share of 20 % adds 20 %, whatever fails.
"""

from collections import deque
from dataclasses import dataclass, field

RATIO, PER_SECOND, TTL_S = 0.2, 10.0, 10.0


@dataclass
class RetryBudget:
    """What was asked and retried in the last `ttl_s` seconds; times are given by who asks."""

    ratio: float = RATIO
    per_second: float = PER_SECOND
    ttl_s: float = TTL_S
    _requests: deque[float] = field(default_factory=deque)
    _retries: deque[float] = field(default_factory=deque)

    def request(self, now_s: float) -> None:
        """A request came (not a retry): it earns a share of a retry."""
        self._requests.append(now_s)

    def balance(self, now_s: float) -> float:
        """How many retries are allowed now."""
        for times in (self._requests, self._retries):
            while times and times[0] <= now_s - self.ttl_s:
                times.popleft()
        return self.ratio * len(self._requests) + self.per_second * self.ttl_s - len(self._retries)

    def spend(self, now_s: float) -> bool:
        """Take a retry out of the budget, if there is one in it."""
        if self.balance(now_s) < 1 - 1e-9:
            return False
        self._retries.append(now_s)
        return True
