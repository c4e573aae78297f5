"""The inside of a computer as parties with lifelines of their own: a disk, and what it is to ask a kernel for something.

Real figures are too small to watch: a system call takes some hundred nanoseconds, a read from flash (NVMe) about 100 µs, one
from a spinning disk about 10 ms. Lessons slow time down ten thousandfold, so that one second stands for flash's 100 µs.
"""

from engines.lab.host import Host
from engines.lab.knobs import Number
from engines.lab.scenario import Fault
from engines.patterns.sync_async.crew import Crew
from engines.wire.plain import Plain
from engines.wire.plain_peers import PlainStream, answer, serve_plain

SYSTEM_CALLS, DISK = 1, 2
"""Ports that stand for no network: the gate between programs and their kernel, and the cable to the disk."""

DISK_TIME_KNOB = Number(
    "disk-time", "disk", "s", 1.0, 0.0, 200.0, 0.1, "one read; 1 s here is 100 µs (flash), so a spinning disk's 10 ms are 100 s"
)  # fmt: skip
BLOCK_SIZE_KNOB = Number(
    "block-size", "block", "B", 512, 1, 65_536, 512, "bytes of one read", ratio=2.0, integer=True
)  # fmt: skip
DISK_QUEUE_KNOB = Number(
    "disk-queue", "at a time", "", 8, 1, 64, 1, "how many reads the disk works on at a time; a spinning disk: 1", integer=True
)  # fmt: skip

HANG_DISK = Fault(
    "hang-disk", "unplug disk", "u", "unplug disk",
    "the disk's cable is out: no answer and no error, and who waits for it waits on", off="plug disk",
)  # fmt: skip
KILL_DISK = Fault(
    "kill-disk", "break disk", "k", "kill disk",
    "the disk fails, and its kernel notices: reads end with EIO", off="restart disk",
)  # fmt: skip

EIO = "EIO: input/output error"


async def disk(host: Host) -> None:
    """Reads blocks, so many at a time as it can (one, where the lesson has no such knob)."""
    arms = Crew(host, lambda: host.knobs.number("disk-queue") if "disk-queue" in host.knobs else 1)

    async def command(request: Plain, cable: PlainStream) -> Plain:
        async with arms.member(f"{request.text}, in line"):
            await host.work(request.text, host.knobs.number("disk-time"))
        return answer(request, "here it is", contents(request.text, int(host.knobs.number("block-size"))))

    await serve_plain(host, DISK, command)


def contents(what: str, size: int) -> bytes:
    """What stands in a block."""
    return (f"{what} " * (size // len(what) + 1)).encode()[:size]
