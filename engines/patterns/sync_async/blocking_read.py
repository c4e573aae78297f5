"""A blocking read: a thread asks its kernel, the kernel asks the disk, and until then the thread does not exist for the CPU.

read(2) returns when the data are there. Meanwhile the kernel takes the thread off the CPU and gives it to whoever can run: the
machine loses nothing, the thread loses all of that time.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from engines.lab.facts import MessageStarted, Role, WaitStarted, WorkFinished, WorkStarted
from engines.lab.host import Host
from engines.lab.knobs import Number, Toggle
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.sync_async.machine import (
    BLOCK_SIZE_KNOB,
    DISK,
    DISK_TIME_KNOB,
    EIO,
    HANG_DISK,
    KILL_DISK,
    SYSTEM_CALLS,
    contents,
    disk,
)
from engines.wire.plain import Plain, PlainDissector
from engines.wire.plain_peers import PlainCaller, PlainLost, PlainStream, answer, refusal, serve_plain

# --- the program --------------------------------------------------------------------------------------------------------


async def thread(host: Host) -> None:
    """Reads some blocks and uses each, line after line. Nothing here looks as if it took time."""
    async with trio.open_nursery() as nursery:
        kernel = PlainCaller(host, nursery, "kernel", SYSTEM_CALLS)
        await kernel.open()
        block = 0
        while True:
            for _ in range(int(host.knobs.number("reads"))):
                block += 1
                if await read(host, kernel, block):
                    await use(host, block)
            await trio.sleep(host.knobs.number("pause"))


async def read(host: Host, kernel: PlainCaller, block: int) -> bytes:
    """One system call; nothing when it failed."""
    host.measure("system calls")
    asked_s = trio.current_time()
    try:
        with host.waiting("blocked in read()"):
            reply = await kernel.call(f"read(3) block {block}")
    except PlainLost:
        reply = Plain(Role.ERROR, 0, "the machine is down")
    host.measure("blocked seconds", trio.current_time() - asked_s)
    if reply.role is Role.ERROR:
        host.note(f"no block: {reply.text}")
        await trio.sleep(1.0)
        return b""
    host.measure("blocks read")
    return reply.body


async def use(host: Host, block: int) -> None:
    """What the thread wanted the block for."""
    seconds = host.knobs.number("use-time")
    await host.work(f"use block {block}", seconds)
    host.measure("computing seconds", seconds)


# --- the kernel ---------------------------------------------------------------------------------------------------------


async def kernel(host: Host) -> None:
    """Finds blocks in memory, or has them read while it lends the CPU to somebody else."""
    async with trio.open_nursery() as nursery:
        drive = PlainCaller(host, nursery, "disk", DISK)

        async def system_call(call: Plain, gate: PlainStream) -> Plain:
            block = call.text.partition(" ")[2]
            size = int(host.knobs.number("block-size"))
            if host.rng.random() < host.knobs.number("cache-hits"):
                host.measure("found in memory")
                return answer(call, f"{size} bytes, from the page cache", contents(block, size))
            try:
                with lent_cpu(host):
                    found = await drive.call(f"read {block}")
            except PlainLost:
                return refusal(call, EIO)
            return answer(call, f"{len(found.body)} bytes", found.body)

        nursery.start_soon(drive.open)
        await serve_plain(host, SYSTEM_CALLS, system_call)


@contextmanager
def lent_cpu(host: Host) -> Iterator[None]:
    """While inside, the thread that called is off the CPU. Somebody else may want it."""
    since_s = trio.current_time()
    if host.knobs.on("other-program"):
        with host.working("CPU: another program"):
            yield
        host.measure("other program seconds", trio.current_time() - since_s)
    else:
        with host.waiting("CPU: idle"):
            yield
        host.measure("idle seconds", trio.current_time() - since_s)


# --- the lesson ---------------------------------------------------------------------------------------------------------

KILL_THREAD = Fault(
    "kill-thread", "kill thread", "c", "kill thread",
    "the program dies in the middle of its read; the kernel has the block read all the same", off="restart thread",
)  # fmt: skip

LESSON = Lesson(
    name="blocking-read",
    title="A blocking read",
    purpose="A thread reads block after block: see it stand off the CPU, and who works meanwhile (slowed down 10,000 times).",
    hosts=(HostSpec("thread", thread), HostSpec("kernel", kernel, "kernel and CPU"), HostSpec("disk", disk)),
    protocols={SYSTEM_CALLS: PlainDissector, DISK: PlainDissector},
    network={"latency": 0.02},
    until_s=20.0,
    knobs=(
        Number("reads", "reads", "", 3, 1, 100, 1, "blocks that the thread wants, before it pauses", integer=True),
        DISK_TIME_KNOB,
        Number("cache-hits", "in the cache", "%", 0.0, 0.0, 1.0, 0.1, "chance that the kernel's page cache has a block already"),
        Number("use-time", "use", "s", 0.2, 0.0, 10.0, 0.1, "how long the thread computes on each block"),
        Toggle("other-program", "another program", True, "whether somebody else has work for the CPU", "ready", "none"),
        BLOCK_SIZE_KNOB,
        Number("pause", "pause", "s", 1.0, 0.05, 60.0, 0.5, "the thread's pause after its reads"),
    ),
    faults=(HANG_DISK, KILL_DISK, KILL_THREAD),
    metrics=("measured:blocks read", "measured:blocked seconds", "measured:computing seconds",
             "measured:other program seconds", "measured:idle seconds", "measured:system calls", "measured:found in memory"),
    beats=(
        Beat(WaitStarted, "The thread has called read(). It cannot go on: the kernel takes it off the CPU, in the middle of a"
             " line of code.", {"host": "thread"}),
        Beat(WorkStarted, "The CPU is free, and another program gets it. To block wastes the thread's time, not the machine's.",
             {"label": "CPU: another"}),
        Beat(WaitStarted, "The CPU is free, and nobody wants it. It idles.", {"label": "CPU: idle"}),
        Beat(WorkFinished, "The disk is done and interrupts the CPU. The kernel will make the thread runnable again.",
             {"host": "disk", "outcome": "done"}),
        Beat(WorkStarted, "read() has returned. For the thread no time has passed; for everybody else, an age.",
             {"label": "use "}),
        Beat(MessageStarted, "The block is in memory already: the kernel copies it, and the thread never leaves the CPU.",
             {"label": ".*page cache"}),
        Beat(MessageStarted, "EIO: the disk does not answer any more. An error, at least.", {"label": "EIO"}),
        Beat(MessageStarted, "A system call: {label}. From here on it is the kernel that works.", {"label": r"read\(3\)"}),
    ),
    try_next=(
        "Read 8 blocks: the time of one, eight times over. The thread asks only when it has the block before.",
        "Set the disk to 100 s, a spinning disk's 10 ms: for minutes on end the thread computes nothing at all.",
        "Find all blocks in the cache: no disk, no waiting, and the other program gets nothing.",
        "Let half of the blocks be in the cache: which read is slow, nobody can tell from the code.",
        "Unplug the disk: read() does not return, and there is no timeout that one could set. Plug it in again.",
        "Break the disk: now there is an error, and the thread can at least decide what to do.",
        "Let no other program be ready: the CPU idles just as long as the thread is blocked.",
    ),
)  # fmt: skip
