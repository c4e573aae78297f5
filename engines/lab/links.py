"""Links: how long a packet takes from one host to another, and whether it may pass at all. One object a direction."""

import math
import random
from typing import Literal

LinkState = Literal["up", "held", "cut"]

HEADER_BYTES = 40
"""What a packet weighs besides its payload: IPv4 and TCP headers without options, 20 bytes each (RFC 791, RFC 9293, 3.1)."""


LOOPBACK_S = 50e-6
"""One way between two programs of the same machine. The kernel copies the bytes and wakes the other: tens of microseconds."""


class Uplink:
    """The one cable by which a host sends to all others: its packets queue for it, whoever they are for.

    `bandwidth` is in bytes a second; the queue has no limit.
    """

    def __init__(self) -> None:
        self.bandwidth = math.inf
        self._busy_until_s = 0.0

    def leaves(self, now_s: float, size: int) -> float:
        """When a packet with `size` bytes of payload, sent now, has left the host; it takes its place in the queue."""
        self._busy_until_s = max(now_s, self._busy_until_s) + (size + HEADER_BYTES) / self.bandwidth
        return self._busy_until_s


class Link:
    """One direction between two hosts, or between two programs of one machine: the `loopback`, which knobs do not change.

    `uplink` is what its sender shares among all its links, if it shares anything.

    `latency_s` is the propagation time, `jitter_s` the width of a uniform extra delay, `bandwidth` in bytes a second (a
    queue of unlimited length waits for it), `loss` the chance that a packet dies. A packet never overtakes an earlier one
    of the same flow: jitter delays, it does not reorder a stream.
    """

    def __init__(self, sender: str, receiver: str, randomness: random.Random, *, loopback: bool = False) -> None:
        self.sender = sender
        self.receiver = receiver
        self.loopback = loopback
        self.latency_s = LOOPBACK_S if loopback else 0.0
        self.jitter_s = 0.0
        self.bandwidth = math.inf
        self.loss = 0.0
        self.state: LinkState = "up"
        self.uplink: Uplink | None = None
        self._randomness = randomness
        self._busy_until_s = 0.0
        self._last_arrival_s: dict[int, float] = {}

    def arrival(self, now_s: float, flow: int, size: int, *, ordered: bool = True) -> float:
        """When a packet with `size` bytes of payload, sent now, arrives; it takes its place in the queue.

        Datagrams (not `ordered`) may overtake each other when there is jitter.
        """
        ready_s = self.uplink.leaves(now_s, size) if self.uplink else now_s
        departs = max(ready_s, self._busy_until_s) + (size + HEADER_BYTES) / self.bandwidth
        self._busy_until_s = departs
        arrives = departs + self.latency_s
        if self.jitter_s:
            arrives += self.jitter_s * self._randomness.random()
        if ordered:
            arrives = max(arrives, self._last_arrival_s.get(flow, 0.0))
            self._last_arrival_s[flow] = arrives
        return arrives

    def loses(self) -> bool:
        """Draw whether the next packet is lost."""
        return self.loss > 0 and self._randomness.random() < self.loss

    def where_lost(self) -> float:
        """Draw how far a lost packet gets: a fraction of its way."""
        return 0.3 + 0.5 * self._randomness.random()

    def forget(self, flow: int) -> None:
        """The flow is over."""
        self._last_arrival_s.pop(flow, None)
