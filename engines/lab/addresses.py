"""Addresses: where a host can be reached at present, and which connections were made with an address that it has no more.

A host's first address is its name. When it moves (a phone leaves the wifi, a router forgets a mapping) it gets another, and the
network delivers to that one only. Its programs see nothing of it unless they ask. Nor do its TCP connections, which are known by
the addresses and ports of both ends (RFC 9293, section 4), and so are dead without knowing it.
"""


class Addresses:
    """The present address of each host, and all that it ever had."""

    def __init__(self) -> None:
        self._present: dict[str, str] = {}
        self._owner: dict[str, str] = {}
        self._moves: dict[str, int] = {}
        self._flows: dict[str, set[int]] = {}  # host -> the connections that it takes part in
        self._stale: set[tuple[int, str]] = set()  # connections, and an end of each that is not where it was

    def of(self, host: str) -> str:
        """The present address of `host`."""
        return self._present.get(host, host)

    def owner(self, address: str) -> str:
        """The host that has or had `address`."""
        return self._owner.get(address, address)

    def is_present(self, address: str) -> bool:
        """Whether somebody can be reached there."""
        return self.of(self.owner(address)) == address

    def connected(self, flow: int, client: str, server: str) -> None:
        """A connection is made (or tried) with the addresses that both have now. One within a machine needs none."""
        for host in (client, server):
            self._flows.setdefault(host, set()).add(flow)
            self._stale.discard((flow, host))

    def is_stale(self, flow: int, host: str) -> bool:
        """Whether `host` has moved since that connection was made."""
        return (flow, host) in self._stale

    def move(self, host: str) -> str:
        """Give `host` another address and return it."""
        self._moves[host] = self._moves.get(host, 1) + 1
        address = f"{host}@{self._moves[host]}"
        self._present[host], self._owner[address] = address, host
        self._stale.update((flow, host) for flow in self._flows.pop(host, ()))
        return address
