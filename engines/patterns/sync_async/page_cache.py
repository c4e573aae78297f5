"""fsync and the page cache: write() returns when the kernel has a copy, in memory. Who must die for it to be lost?

A program that crashes takes nothing of it along: the kernel has it, and will write it back in its own time (Linux 6: dirty
pages after 30 s, dirty_expire_centisecs). A machine that loses power takes all of it, unless fsync() has returned.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import trio

from engines.lab.facts import HostCrashed, Measured, MessageStarted, Noted, Role
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.sync_async.cached_file import SECTOR
from engines.patterns.sync_async.ledger import Ledger
from engines.patterns.sync_async.machine import DISK, EIO, SYSTEM_CALLS
from engines.patterns.sync_async.wal import encode, replay
from engines.patterns.troubles import DROP_PACKET
from engines.wire.plain import Plain, PlainDissector
from engines.wire.plain_peers import PlainCaller, PlainLost, PlainStream, answer, refusal, serve_plain

SHOP = 80

# --- the customer -------------------------------------------------------------------------------------------------------


async def customer(host: Host) -> None:
    """Orders one thing after another, and keeps a ledger of what the shop said it had saved."""
    ledger = Ledger(host)

    async def orders_there() -> set[int]:
        reply = await shop.call("which orders are there?", timeout_s=host.knobs.number("read-timeout"))
        return {int(order) for order in reply.body.split()}

    async with trio.open_nursery() as nursery:
        shop = PlainCaller(host, nursery, "app", SHOP)
        while True:
            await trio.sleep(host.knobs.number("pause"))
            try:
                await ledger.audit(orders_there)
                order, began_s = ledger.next_row(), trio.current_time()
                reply = await shop.call(f"order {order}", timeout_s=host.knobs.number("read-timeout"))
                if reply.role is Role.RESPONSE:
                    ledger.promise(order)
                    host.measure("saving seconds", trio.current_time() - began_s)
            except PlainLost as error:
                ledger.doubtful = True
                host.note(f"no answer from the shop: {error}")
                await trio.sleep(1.0)


# --- the program --------------------------------------------------------------------------------------------------------


async def app(host: Host) -> None:
    """A shop that keeps its orders in a file. It lives as long as its machine has power."""
    while True:
        async with trio.open_nursery() as nursery:
            kernel = PlainCaller(host, nursery, "kernel", SYSTEM_CALLS, on_lost=nursery.cancel_scope.cancel)
            if await kernel.open():
                with suppress(PlainLost):
                    await sell(host, kernel)
            await trio.sleep(1.0)
            nursery.cancel_scope.cancel()


async def sell(host: Host, kernel: PlainCaller) -> None:
    """Take orders and save each as a record; call fsync as often as the knob says."""
    file = await kernel.call("read(3) all of it")
    found = replay(file.body)
    orders = {int(payload.split()[1]): None for payload in found.payloads}
    if file.body:
        host.note(f"{len(orders)} orders in the file" + (f", and a torn record: {found.torn}" if found.torn else ""))
    if found.torn:
        host.measure("torn records")
        if (await kernel.call(f"ftruncate(3) {found.end}")).role is Role.ERROR:
            return  # what is torn must be gone from the disk before anything is written behind it
    end, unsynced, turn = found.end, 0, trio.Lock()

    async def take(request: Plain, customer: PlainStream) -> Plain:
        nonlocal end, unsynced
        if not request.text.startswith("order"):
            return answer(request, f"{len(orders)} orders", " ".join(map(str, orders)).encode())
        async with turn:
            order = int(request.text.split()[1])
            payload = f"order {order} ".encode().ljust(int(host.knobs.number("record-size")), b".")
            record = encode(end, payload)
            await kernel.call(f"write(3) {len(record)} bytes", record)
            host.measure("write calls")
            end, unsynced = end + len(record), unsynced + 1
            if unsynced >= writes_per_fsync(host):
                host.measure("fsync calls")
                if (await kernel.call("fsync(3)")).role is Role.ERROR:
                    return refusal(request, f"order {order} is perhaps not saved: {EIO}")
                unsynced = 0
            orders[order] = None
            return answer(request, f"order {order} is saved")

    await serve_plain(host, SHOP, take)


def writes_per_fsync(host: Host) -> float:
    return {"never": float("inf"), "every write": 1, "every n writes": host.knobs.number("fsync-every")}[
        str(host.knobs["fsync"])
    ]


# --- the kernel ---------------------------------------------------------------------------------------------------------


@dataclass
class PageCache:
    """The file as the kernel has it in memory; `dirty` are the sectors that the disk does not have yet, and since when."""

    host: Host
    data: bytearray = field(default_factory=bytearray)
    dirty: dict[int, float] = field(default_factory=dict)
    writing: trio.Lock = field(default_factory=trio.Lock)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Show how much of it is in memory alone."""
        yield
        self.host.state("dirty sectors", len(self.dirty))

    def append(self, record: bytes) -> None:
        """What write() does: a copy, and a note to write it back some day."""
        with self.changing():
            first, self.data[len(self.data) :] = len(self.data) // SECTOR, record
            for sector in range(first, -(-len(self.data) // SECTOR)):
                self.dirty.setdefault(sector, trio.current_time())

    def cut(self, size: int) -> None:
        """What ftruncate() does."""
        with self.changing():
            del self.data[size:]
            for sector in [sector for sector in self.dirty if sector * SECTOR >= size]:
                del self.dirty[sector]

    async def write_back(self, drive: PlainCaller, older_than_s: float = 0.0) -> None:
        """Bring the sectors that are dirty now, and have been for so long, to the disk, one by one. Raises PlainLost."""
        async with self.writing:
            due = [sector for sector, since_s in self.dirty.items() if trio.current_time() - since_s >= older_than_s]
            for sector in due:
                since_s = self.dirty.pop(sector, None)
                if since_s is None:
                    continue
                content = bytes(self.data[sector * SECTOR : (sector + 1) * SECTOR])
                try:
                    await drive.call(f"write sector {sector}", content)
                except PlainLost:
                    self.dirty.setdefault(sector, since_s)
                    raise
                with self.changing():
                    self.host.measure("sectors written")


async def kernel(host: Host) -> None:
    """Keeps files in memory, brings them to the disk when told to or when they have been dirty for long."""
    async with trio.open_nursery() as nursery:
        drive = PlainCaller(host, nursery, "disk", DISK)
        cache, booted = PageCache(host), trio.Event()
        opened: PlainStream | None = None

        async def system_call(call: Plain, gate: PlainStream) -> Plain:
            nonlocal opened
            await booted.wait()
            try:
                match call.text.partition("(")[0]:
                    case "read":
                        opened = gate
                        return answer(call, f"{len(cache.data)} bytes", bytes(cache.data))
                    case "write" if gate is not opened:
                        return refusal(call, "EBADF: the call of a program that is dead")
                    case "write":
                        cache.append(call.body)
                    case "ftruncate":
                        cache.cut(int(call.text.split()[1]))
                        await drive.call(f"set length {len(cache.data)}")
                    case "fsync":
                        await cache.write_back(drive)
            except PlainLost:
                return refusal(call, EIO)
            return answer(call, "durable" if call.text.startswith("fsync") else "done")

        async def boot() -> None:
            """Read the file from the disk, which is all that there is of it now."""
            while not booted.is_set():
                try:
                    cache.data[:] = (await drive.call("read all sectors")).body
                    booted.set()
                except PlainLost:
                    await trio.sleep(0.5)

        nursery.start_soon(boot)
        nursery.start_soon(flusher, host, cache, drive)
        await serve_plain(host, SYSTEM_CALLS, system_call)


async def flusher(host: Host, cache: PageCache, drive: PlainCaller) -> None:
    """Write back what has been dirty for too long."""
    while True:
        await trio.sleep(0.5)
        try:
            await cache.write_back(drive, host.knobs.number("dirty-expire"))
        except PlainLost as error:
            host.note(f"cannot write back: {error}")


# --- the disk -----------------------------------------------------------------------------------------------------------


async def drive(host: Host) -> None:
    """Sectors: each is written as a whole, or not at all. (It has no cache of its own here; real ones have, and lose it.)"""
    platter: bytearray = host.disk.setdefault("platter", bytearray())
    arm = trio.Lock()
    powered: PlainStream | None = None

    async def command(request: Plain, cable: PlainStream) -> Plain | None:
        nonlocal powered
        if request.text.startswith("read"):
            powered = cable
        async with arm:
            if cable is not powered:
                return None  # what the machine had said before it lost power
            await host.work(request.text, host.knobs.number("sector-time"))
            if request.text.startswith("write"):
                start = int(request.text.split()[-1]) * SECTOR
                platter.extend(bytes(max(0, start - len(platter))))
                platter[start : start + len(request.body)] = request.body
            elif request.text.startswith("set length"):
                del platter[int(request.text.split()[-1]) :]
            else:
                return answer(request, f"{len(platter)} bytes", bytes(platter))
            return answer(request, "done")

    await serve_plain(host, DISK, command)


# --- the lesson ---------------------------------------------------------------------------------------------------------

KILL_APP = Fault(
    "kill-app", "kill the program", "k", "kill app",
    "the program crashes; its kernel lives on, and has all that was written", off="restart app",
)  # fmt: skip
POWER_CUT = Fault(
    "power-cut", "cut the power", "o", "kill kernel",
    "the machine loses power: program and page cache are gone, the disk keeps what it has", off="restart kernel",
)  # fmt: skip
HANG_DISK = Fault(
    "hang-disk", "unplug disk", "u", "unplug disk",
    "the disk's cable is out: write() does not care, fsync() waits on and on", off="plug disk",
)  # fmt: skip

LESSON = Lesson(
    name="page-cache",
    title="fsync and the page cache",
    purpose="A shop writes orders to a file. Crash the program, then cut the power: see which of the two takes what was “saved”.",
    hosts=(
        HostSpec("customer", customer), HostSpec("app", app, "shop"), HostSpec("kernel", kernel), HostSpec("disk", drive),
    ),
    protocols={SHOP: PlainDissector, SYSTEM_CALLS: PlainDissector, DISK: PlainDissector},
    network={"latency": 0.03},
    until_s=30.0,
    knobs=(
        Choice("fsync", "fsync", "never", ("never", "every write", "every n writes"), "when the program insists on the disk"),
        Number("fsync-every", "n", "", 5, 2, 100, 1, "with “every n writes”: one fsync for so many of them", integer=True),
        Number("dirty-expire", "written back after", "s", 5.0, 0.5, 60.0, 1.0,
               "how long the kernel keeps what only memory has (Linux 6: 30 s)"),
        Number("record-size", "record", "B", 700, 20, 8000, 100, "bytes of an order; a sector has 512", integer=True),
        Number("sector-time", "a sector", "s", 0.1, 0.0, 5.0, 0.05, "how long the disk takes to write one sector"),
        Number("pause", "pause", "s", 0.5, 0.05, 60.0, 0.25, "the customer's pause between two orders"),
        Number("read-timeout", "read timeout", "s", 4.0, 0.1, 60.0, 0.5, "how long the customer bears silence"),
    ),
    faults=(KILL_APP, POWER_CUT, HANG_DISK, DROP_PACKET),
    metrics=("measured:acknowledged", "measured:lost after acknowledgement", "measured:torn records", "measured:saving seconds",
             "measured:write calls", "measured:fsync calls", "measured:sectors written"),
    beats=(
        Beat(Measured, "{amount:.0f} orders were “saved”, and are gone. write() had returned for every one of them.",
             {"what": "lost after"}),
        Beat(HostCrashed, "The program is dead. The page cache is not its memory but the kernel's: nothing that was written is"
             " lost.", {"host": "app"}),
        Beat(HostCrashed, "The power is gone, and all memory with it. Whatever is not on the disk has never been.",
             {"host": "kernel"}),
        Beat(Noted, "Half of a record had reached the disk. Its checksum does not fit, so the program knows, and cuts it off.",
             {"text": ".*torn"}),
        Beat(Noted, "The customer looks it up. {text}.", {"text": "all .* are there"}),
        Beat(MessageStarted, "write() returns: the kernel has a copy. The disk has not heard of it.",
             {"label": "done", "sender": "kernel"}),
        Beat(MessageStarted, "fsync() returns: all of it is on the disk now. This is what “saved” should mean.",
             {"label": "durable"}),
        Beat(MessageStarted, "The kernel writes back a sector that has been dirty long enough, or that fsync waits for.",
             {"label": "write sector"}),
        Beat(MessageStarted, "“{label}”, says the shop.", {"label": "order .* saved"}),
    ),
    try_next=(
        "Kill the program and restart it: not one order is lost, although none was fsynced.",
        "Cut the power and restore it: all orders of the last five seconds are gone, though they were “saved”.",
        "Call fsync after every write, and cut the power: nothing is lost. Look at what an order costs now.",
        "Call fsync every 5 writes: the cost of an order goes down, and up to four of them are at risk.",
        "Cut the power while the disk is being written to: a torn record, found by its checksum.",
        "Unplug the disk: without fsync nobody notices. With fsync everybody waits.",
        "Set “written back after” to 30 s, as in Linux, and cut the power: half a minute of orders.",
    ),
)  # fmt: skip
