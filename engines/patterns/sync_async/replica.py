"""A database with followers: one leads and ships its log, the others append what comes and say how far they are.

The log is a list of row numbers on each one's own disk. A follower that joins shows all that it has; what the leader does not
have at the same place, the follower drops (in PostgreSQL, pg_rewind). Who leads is what the operators say: a knob.
"""

import math

import trio

from engines.lab.facts import Role
from engines.lab.host import Host
from engines.lab.knobs import Value
from engines.patterns.sync_async.ledger import rows_in_words
from engines.wire.plain import Plain
from engines.wire.plain_peers import PlainCaller, PlainLost, PlainStream, answer, refusal, serve_plain

DATABASE = 5432
NAMES = ("db1", "db2", "db3")
STATUS_S = 2.0
"""How often a follower says how far it is, even when nothing happens, so that a dead connection is found."""


async def database(host: Host) -> None:
    """Lead or follow, as the knob says, and whenever it is turned."""
    replica = Replica(host)
    async with trio.open_nursery() as nursery:
        with host.knobs.watching("leader", replica.leader_changed):
            nursery.start_soon(replica.follow_whoever_leads)
            await serve_plain(host, DATABASE, replica.handle)


class Replica:
    """One of the databases. `log` is on its disk, everything else in its memory."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.log: list[int] = host.disk.setdefault("log", [])
        self._have: dict[str, int] = {}  # how much of our log each follower has on its disk, as far as it said so
        self._streams: dict[str, PlainStream] = {}
        self._waiting = 0  # commits that wait for followers
        self._changed = trio.lowlevel.ParkingLot()
        self._writing = trio.Lock()
        self._following: trio.CancelScope | None = None
        self._show()

    @property
    def leads(self) -> bool:
        return self.host.knobs["leader"] == self.host.name

    def leader_changed(self, leader: Value) -> None:
        """Somebody else leads now, or we do: all that was agreed on is void."""
        self._have.clear()
        self._streams.clear()
        self._changed.unpark_all()
        if self._following is not None:
            self._following.cancel()
        self._show()

    def _show(self) -> None:
        self.host.state("role", f"{'leader' if self.leads else 'follower'}, {len(self.log)} rows")

    # --- leading --------------------------------------------------------------------------------------------------------

    async def handle(self, message: Plain, stream: PlainStream) -> Plain | None:
        """What clients and followers say to a leader."""
        words = message.text.split()
        if message.role is Role.ACK:
            if self._streams.get(words[0]) is stream:
                self._have[words[0]] = int(words[2])
                self._changed.unpark_all()
            return None
        if not self.leads:
            return refusal(message, f"not the leader: ask {self.host.knobs['leader']}")
        match words[0]:
            case "INSERT":
                return await self._insert(message, int(words[1]))
            case "FOLLOW":
                await self._admit(message, words[1], stream)
                return None
        return answer(message, f"{len(self.log)} rows", " ".join(map(str, self.log)).encode())

    async def _insert(self, request: Plain, row: int) -> Plain:
        """Write the row to our own disk, then wait for as many followers as was asked for."""
        async with self._writing:
            await self.host.work(f"write row {row}", disk_time_s(self.host))
            if not self.leads:
                return refusal(request, "not the leader any more")
            self.log.append(row)
            place = len(self.log)
            self._show()
        if not self._enough(place):
            with self.host.waiting(f"row {row}: wait for followers"):
                self._waiting += 1
                self._changed.unpark_all()
                while self.leads and not self._enough(place):
                    await self._changed.park()
                self._waiting -= 1
            if not self.leads:
                return refusal(request, "not the leader any more")
        self._changed.unpark_all()
        return answer(request, f"committed {row}")

    def _enough(self, place: int) -> bool:
        """Whether as many have the log up to `place` as must: nobody else, all others, or with us a majority."""
        others = [name for name in NAMES if name != self.host.name]
        have = sum(self._have.get(name, 0) >= place for name in others)
        needed = {"asynchronous": 0, "synchronous": len(others), "quorum": len(NAMES) // 2}
        return have >= needed[str(self.host.knobs["replication"])]

    async def _admit(self, request: Plain, name: str, stream: PlainStream) -> None:
        """A follower begins with what it has: tell it how much of that is right, and from then on ship what it lacks."""
        theirs = [int(row) for row in request.body.split()]
        keep = next(
            (n for n, (a, b) in enumerate(zip(theirs, self.log, strict=False)) if a != b),
            min(len(theirs), len(self.log)),
        )
        self._streams[name], self._have[name] = stream, keep
        self._changed.unpark_all()
        await stream.send(answer(request, f"keep {keep} rows"))
        sent = keep
        while self._streams.get(name) is stream:
            if sent == len(self.log):
                await self._changed.park()
                continue
            with trio.move_on_after(self.host.knobs.number("lag")):
                while not self._waiting and self._streams.get(name) is stream:
                    await self._changed.park()  # no commit waits for this: it can be sent with what comes next
            if self._streams.get(name) is stream:
                rows, sent = self.log[sent:], len(self.log)
                await stream.push(f"log: {rows_in_words(rows)}"[:1000], " ".join(map(str, rows)).encode())

    # --- following ------------------------------------------------------------------------------------------------------

    async def follow_whoever_leads(self) -> None:
        """Follow the leader, and the next one after it; rest while that is us."""
        while True:
            if self.leads:
                await self._changed.park()
                continue
            with trio.CancelScope() as self._following:
                await self._follow(str(self.host.knobs["leader"]))
                await trio.sleep(1.0)

    async def _follow(self, leader: str) -> None:
        """Follow `leader` until the connection is lost."""
        incoming, shipped = trio.open_memory_channel[Plain](math.inf)
        async with trio.open_nursery() as nursery:
            # What was received counts, also when the leader is dead: it is written before the connection is given up.
            caller = PlainCaller(self.host, nursery, leader, DATABASE, incoming.send_nowait, incoming.close)
            try:
                body = " ".join(map(str, self.log)).encode()
                reply = await caller.call(f"FOLLOW {self.host.name} with {len(self.log)} rows", body, timeout_s=5.0)
                if reply.role is Role.RESPONSE:
                    self._drop_behind(int(reply.text.split()[1]))
                    nursery.start_soon(self._report, caller)
                    async for message in shipped:
                        rows = [int(row) for row in message.body.split()]
                        while shipped.statistics().current_buffer_used:  # one write for all that has come meanwhile
                            rows += [int(row) for row in shipped.receive_nowait().body.split()]
                        await self._append(rows)
                        await self._tell(caller)
            except PlainLost:
                pass
            finally:
                caller.hang_up()
            nursery.cancel_scope.cancel()

    async def _append(self, rows: list[int]) -> None:
        await self.host.work(f"write {rows_in_words(rows)}", disk_time_s(self.host))
        self.log.extend(rows)
        self._show()

    def _drop_behind(self, keep: int) -> None:
        """Rows that the leader does not have, whoever was promised them."""
        if dropped := self.log[keep:]:
            del self.log[keep:]
            self.host.measure("rows dropped", len(dropped))
            self.host.note(f"drops {rows_in_words(dropped)}: the leader has never had them")
            self._show()

    async def _tell(self, caller: PlainCaller) -> None:
        """Tell the leader how far we are, if it is still there."""
        if caller.connected:
            await caller.tell(f"{self.host.name} has {len(self.log)} rows", role=Role.ACK)

    async def _report(self, caller: PlainCaller) -> None:
        """Say now and then how far we are: a dead connection is found by speaking on it."""
        try:
            while True:
                await trio.sleep(STATUS_S)
                await self._tell(caller)
        except PlainLost:
            pass


def disk_time_s(host: Host) -> float:
    """How long this machine's disk takes: the last one's is slower."""
    return host.knobs.number("slow-disk" if host.name == NAMES[-1] else "disk-time")
