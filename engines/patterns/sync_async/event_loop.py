"""Three ways of an event loop to have blocks read without standing still: readiness, completion, and helpers that block for it.

Readiness (epoll) says when a read *would not block*; the read itself is a further system call. It is for sockets and pipes: a
regular file counts as always ready, and epoll_ctl(2) refuses it with EPERM. Completion (io_uring) says when a read *is done*;
requests and completions lie in memory that program and kernel share, so that one system call submits many of them and none is
needed to pick them up. Helpers are threads that block, so that the loop need not; they work with everything.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import trio

from engines.lab.facts import Role
from engines.lab.host import Host
from engines.patterns.sync_async.machine import SYSTEM_CALLS
from engines.wire.plain import Plain
from engines.wire.plain_peers import PlainCaller, PlainLost

HELPERS = 3
"""The port that stands for the queue in front of the helper threads."""
SLICE_S = 0.1
"""The loop's other work comes in pieces of so many seconds; between two of them it looks around."""


class EventLoop:
    """One thread that serves others as well: it must never stand still while there is something that it could do."""

    def __init__(self, host: Host, nursery: trio.Nursery) -> None:
        self.host = host
        self.kernel = PlainCaller(host, nursery, "kernel", SYSTEM_CALLS, self._completed, self._forget)
        self.helpers = PlainCaller(host, nursery, "helper", HELPERS)
        self.wanted: set[int] = set()
        self.spare_s = 0.0  # other work that is left in this round
        self.ring: list[Plain] = []  # completions that the kernel has put there
        self.seen = 0  # how many of them were picked up
        self.watched: set[int] = set()  # descriptors that epoll knows
        self.woken = trio.lowlevel.ParkingLot()

    def _completed(self, completion: Plain) -> None:
        self.ring.append(completion)

    def _forget(self) -> None:
        """The kernel is gone, with all that it knew of us."""
        self.ring.clear()
        self.watched.clear()
        self.seen = 0
        self.wanted.clear()
        self.woken.unpark_all()

    async def call(self, text: str, body: bytes = b"", *, blocking: bool = False) -> Plain:
        """A system call. A `blocking` one may take long, and the loop stands still meanwhile. Raises PlainLost."""
        self.host.measure("system calls")
        if not blocking:
            return await self.kernel.call(text, body)
        with self.standing_still(f"blocked in {text.partition('(')[0]}()"):
            return await self.kernel.call(text, body)

    @contextmanager
    def standing_still(self, label: str) -> Iterator[None]:
        """Inside, the loop does nothing for anybody; that it goes on afterwards is a wake-up."""
        since_s = trio.current_time()
        with self.host.waiting(label):
            yield
        self.host.measure("wake-ups")
        self.host.measure("blocked seconds", trio.current_time() - since_s)

    async def other_work(self) -> bool:
        """Do a piece of other work. False when there is none left."""
        if self.spare_s < SLICE_S / 2:
            return False
        self.spare_s -= SLICE_S
        await self.host.work("serve others", SLICE_S)
        self.host.measure("other work seconds", SLICE_S)
        return True

    def take(self, block: int, reply: Plain) -> None:
        """A read has come to an end, well or badly."""
        if block not in self.wanted:
            return
        self.wanted.discard(block)
        if reply.role is Role.ERROR or not reply.body:
            self.host.measure("failed reads")
            self.host.note(f"no block {block}: {reply.text}")
        else:
            self.host.measure("blocks read")


# --- the three ways -----------------------------------------------------------------------------------------------------


async def by_readiness(loop: EventLoop, blocks: list[int]) -> None:
    """epoll: ask which descriptors have something, and read those; ask without waiting while there is other work."""
    descriptors = {3 + n: block for n, block in enumerate(blocks)}
    for fd in descriptors:
        if fd not in loop.watched or loop.host.knobs["source"] == "file":
            reply = await loop.call(f"epoll_ctl(ADD, {fd})")
            if reply.role is Role.ERROR:
                loop.host.note("epoll takes no files: all that is left is to block")
                return await by_blocking(loop, blocks)
            loop.watched.add(fd)
    for fd, block in descriptors.items():
        await loop.call(f"write({fd}) ask for block {block}")
    while loop.wanted:
        spare = loop.spare_s >= SLICE_S / 2
        reply = await loop.call(f"epoll_wait(timeout {0 if spare else -1})", blocking=not spare)
        ready = [int(fd) for fd in reply.body.split()]
        for fd in ready:
            loop.take(descriptors.get(fd, 0), await loop.call(f"read({fd})"))
        if not ready:
            await loop.other_work()


async def by_completion(loop: EventLoop, blocks: list[int]) -> None:
    """io_uring: submit all reads with one call, and pick up what is done from memory; call again only to sleep."""
    orders = " ".join(map(str, blocks)).encode()
    await loop.call(f"io_uring_enter(submit {len(blocks)}, wait 0)", orders)
    while loop.wanted:
        while loop.ring:
            completion = loop.ring.pop(0)
            loop.seen += 1
            loop.take(int(completion.text.split()[2].rstrip(":")), completion)
        if loop.wanted and not await loop.other_work():
            await loop.call("io_uring_enter(submit 0, wait 1)", f"seen {loop.seen}".encode(), blocking=True)


async def by_helpers(loop: EventLoop, blocks: list[int]) -> None:
    """Helper threads: each blocks for one read at a time, and wakes the loop when it has it."""

    async def delegate(block: int) -> None:
        try:
            reply = await loop.helpers.call(f"please read block {block}")
        except PlainLost as error:
            reply = Plain(Role.ERROR, 0, str(error))
        loop.take(block, reply)
        loop.woken.unpark_all()

    async with trio.open_nursery() as nursery:
        for block in blocks:
            nursery.start_soon(delegate, block)
        while loop.wanted:
            if not await loop.other_work():
                with loop.standing_still("nothing to do"):
                    await loop.woken.park()


async def by_blocking(loop: EventLoop, blocks: list[int]) -> None:
    """What is left when nothing else goes: one read after another, and nobody is served meanwhile."""
    for block in blocks:
        loop.take(block, await loop.call(f"pread(3) block {block}", blocking=True))


Way = Callable[[EventLoop, list[int]], Awaitable[None]]
WAYS: dict[str, Way] = {"epoll": by_readiness, "io_uring": by_completion, "helpers": by_helpers}
