"""An asynchronous read: an event loop wants blocks and will not stand still for them. Readiness, completion, or helpers?"""

import re
from contextlib import suppress
from dataclasses import dataclass, field, replace

import trio

from engines.lab.facts import MessageStarted, Noted, Role, WaitStarted, WorkStarted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.sync_async.crew import Crew
from engines.patterns.sync_async.event_loop import HELPERS, WAYS, EventLoop
from engines.patterns.sync_async.machine import (
    BLOCK_SIZE_KNOB,
    DISK,
    DISK_QUEUE_KNOB,
    DISK_TIME_KNOB,
    EIO,
    HANG_DISK,
    KILL_DISK,
    SYSTEM_CALLS,
    disk,
)
from engines.wire.plain import Plain, PlainDissector
from engines.wire.plain_peers import PlainCaller, PlainLost, PlainStream, answer, refusal, serve_plain

# --- the event loop (what it does with the three ways stands in `event_loop`) -----------------------------------------------


async def loop(host: Host) -> None:
    """Wants some blocks, serves others until they are there, and does so again."""
    async with trio.open_nursery() as nursery:
        events = EventLoop(host, nursery)
        await events.kernel.open()
        await events.helpers.open()
        last = 0
        while True:
            blocks = [last + 1 + n for n in range(int(host.knobs.number("reads")))]
            last = blocks[-1]
            events.wanted = set(blocks)
            events.spare_s = host.knobs.number("other-work")
            try:
                await WAYS[str(host.knobs["way"])](events, blocks)
                while await events.other_work():
                    pass
                host.measure("rounds")
            except PlainLost as error:
                host.note(f"no kernel: {error}")
            await trio.sleep(host.knobs.number("pause"))


# --- the helper threads -------------------------------------------------------------------------------------------------


async def helper(host: Host) -> None:
    """Threads that have nothing to do but to block; one read at a time each."""
    threads = Crew(host, lambda: host.knobs.number("helpers"))
    async with trio.open_nursery() as nursery:
        kernel = PlainCaller(host, nursery, "kernel", SYSTEM_CALLS)
        nursery.start_soon(kernel.open)

        async def read(task: Plain, queue: PlainStream) -> Plain:
            block = int(task.text.split()[-1])
            async with threads.member(f"block {block} in line"):
                try:
                    reply = await blocking_read(host, kernel, block)
                except PlainLost as error:
                    return refusal(task, str(error))
            return answer(task, f"block {block} is here", reply.body) if reply.body else refusal(task, reply.text)

        await serve_plain(host, HELPERS, read)


async def blocking_read(host: Host, kernel: PlainCaller, block: int) -> Plain:
    """What a thread of its own may do: ask, and stand still until the answer is there."""
    host.measure("system calls")
    if host.knobs["source"] == "socket":
        host.measure("system calls")
        await kernel.call(f"write({100 + block}) ask for block {block}")
        with host.waiting("a thread blocked in read()"):
            return await kernel.call(f"read({100 + block})")
    with host.waiting("a thread blocked in pread()"):
        return await kernel.call(f"pread(3) block {block}")


# --- the kernel ---------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Process:
    """What the kernel knows of one program: what has come for its sockets, and how many completions it was given."""

    arrived: dict[int, Plain] = field(default_factory=dict)
    completed: int = 0
    changed: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)


async def kernel(host: Host) -> None:
    """Fetches blocks from wherever they are, and tells who asked in the way in which it was asked."""
    processes: dict[PlainStream, Process] = {}
    async with trio.open_nursery() as nursery:
        source = PlainCaller(host, nursery, "source", DISK)

        async def fetch(block: int) -> Plain:
            try:
                found = await source.call(f"read block {block}")
            except PlainLost:
                return Plain(Role.ERROR, 0, EIO)
            return Plain(Role.RESPONSE, 0, f"{len(found.body)} bytes", found.body)

        async def receive(process: Process, fd: int, block: int) -> None:
            process.arrived[fd] = await fetch(block)
            process.changed.unpark_all()

        async def complete(process: Process, gate: PlainStream, block: int) -> None:
            found = await fetch(block)
            await post(gate, f"completion: block {block}" + (f": {found.text}" if not found.body else ""), found.body)
            process.completed += 1
            process.changed.unpark_all()

        async def system_call(call: Plain, gate: PlainStream) -> Plain:
            process = processes.setdefault(gate, Process())
            numbers = [int(number) for number in re.findall(r"-?\d+", call.text)]
            match call.text.partition("(")[0]:
                case "epoll_ctl" if host.knobs["source"] == "file":
                    return refusal(call, "EPERM: a file is always ready")
                case "epoll_wait":
                    while numbers[0] < 0 and not process.arrived:
                        await process.changed.park()
                    ready = " ".join(map(str, process.arrived))
                    return answer(call, f"ready: {ready}" if ready else "nothing is ready", ready.encode())
                case "write":
                    nursery.start_soon(receive, process, numbers[0], numbers[1])
                case "read":
                    while numbers[0] not in process.arrived:
                        await process.changed.park()
                    return replace(process.arrived.pop(numbers[0]), tag=call.tag)
                case "pread":
                    return replace(await fetch(numbers[1]), tag=call.tag)
                case "io_uring_enter" if numbers[0]:
                    for block in call.body.split():
                        nursery.start_soon(complete, process, gate, int(block))
                case "io_uring_enter":
                    while process.completed <= int(call.body.split()[1]):
                        await process.changed.park()
            return answer(call, "done")

        nursery.start_soon(source.open)
        await serve_plain(host, SYSTEM_CALLS, system_call)


async def post(gate: PlainStream, text: str, body: bytes) -> None:
    """Put a completion where the program will find it, if there still is a program."""
    with suppress(PlainLost):
        await gate.push(text, body)


# --- the lesson ---------------------------------------------------------------------------------------------------------

KILL_LOOP = Fault(
    "kill-loop", "kill loop", "c", "kill loop", "the program's event loop dies, with all that it had asked for",
    off="restart loop",
)  # fmt: skip
KILL_HELPERS = Fault(
    "kill-helpers", "kill helpers", "h", "kill helper", "the helper threads die; whoever counts on them hears of it",
    off="restart helper",
)  # fmt: skip

LESSON = Lesson(
    name="asynchronous-read",
    title="An asynchronous read",
    purpose="An event loop wants blocks and serves others meanwhile: readiness, completion, helpers (slowed down 10,000 times).",
    hosts=(
        HostSpec("loop", loop, "event loop"), HostSpec("helper", helper, "helper threads"), HostSpec("kernel", kernel),
        HostSpec("source", disk, "socket or disk"),
    ),
    protocols={SYSTEM_CALLS: PlainDissector, HELPERS: PlainDissector, DISK: PlainDissector},
    network={"latency": 0.02},
    until_s=20.0,
    knobs=(
        Choice("way", "way", "epoll", tuple(WAYS), "how the loop learns of a block: readiness, completion, helper threads"),
        Choice("source", "read from", "socket", ("socket", "file"), "what its descriptors are; epoll takes no regular file"),
        Number("reads", "reads", "", 3, 1, 32, 1, "blocks that the loop wants at once", integer=True),
        Number("other-work", "other work", "s", 0.5, 0.0, 10.0, 0.1, "what the loop could do for others in each round"),
        replace(DISK_TIME_KNOB, title="source", help="until a block is there; 1 s here is 100 µs (flash, or a peer close by)"),
        replace(DISK_QUEUE_KNOB, help="how many reads the source works on at a time; a spinning disk: 1"),
        Number("helpers", "helpers", "", 4, 1, 32, 1, "helper threads (libuv: 4, for files)", integer=True),
        BLOCK_SIZE_KNOB,
        Number("pause", "pause", "s", 0.5, 0.05, 60.0, 0.5, "the loop's pause between two rounds"),
    ),
    faults=(replace(HANG_DISK, title="unplug source", on="unplug source", off="plug source",
                                        help="no answer and no error from the source, for as long as it lasts"),
            replace(KILL_DISK, title="break source", on="kill source", off="restart source",
                    help="the source fails, and the kernel notices: reads end with EIO"),
            KILL_HELPERS, KILL_LOOP),
    metrics=("measured:rounds", "measured:blocks read", "measured:system calls", "measured:wake-ups",
             "measured:blocked seconds", "measured:other work seconds", "measured:failed reads"),
    beats=(
        Beat(Noted, "EPERM: epoll takes sockets and pipes. A file counts as always ready, and reading it blocks all the same.",
             {"text": "epoll takes no files"}),
        Beat(MessageStarted, "“Tell me of this descriptor from now on.” Once is enough, however often it is read.",
             {"label": "epoll_ctl"}),
        Beat(MessageStarted, "Which of them are ready? A timeout of 0 only looks; there is other work to do.",
             {"label": r"epoll_wait\(timeout 0"}),
        Beat(MessageStarted, "Nothing else to do: the loop sleeps until any descriptor is ready.",
             {"label": r"epoll_wait\(timeout -1"}),
        Beat(MessageStarted, "Ready means: a read would not block now. The data still have to be read.", {"label": "ready: "}),
        Beat(MessageStarted, "One system call submits all reads: they lie in a ring in memory that both sides see.",
             {"label": "io_uring_enter.submit [1-9]"}),
        Beat(MessageStarted, "The read is done, and the kernel says so in memory. To see it takes no system call.",
             {"label": "completion"}),
        Beat(MessageStarted, "The loop has work for a helper: somebody else shall stand still.", {"label": "please read"}),
        Beat(WaitStarted, "A helper thread blocks, off the CPU. The loop does not.", {"label": "a thread"}),
        Beat(WaitStarted, "All helper threads are blocked. The next read must wait until one of them comes back.",
             {"host": "helper"}),
        Beat(WaitStarted, "The loop itself stands still: {label}.", {"host": "loop"}),
        Beat(WorkStarted, "Meanwhile the loop serves others. This is all that asynchronous means.", {"label": "serve others"}),
    ),
    try_next=(
        "Use io_uring: one system call for all three reads, and one to sleep, where epoll takes nine or more.",
        "Use helpers: the loop makes no system call at all, its helpers make two for each block.",
        "Use helpers and want 8 blocks: four threads, so the second four wait for the first four.",
        "Read from a file with epoll: EPERM. The loop blocks, block after block, and others are served last.",
        "Read from a file with io_uring: nothing changes. Completion does not care what it reads from.",
        "Let there be 3 s of other work: the blocks are there long before anybody looks, and the loop never sleeps.",
        "Let there be no other work: the loop sleeps nearly all of the time, as a thread would that blocks.",
        "Work on 1 at a time at the source: three times the time, whatever way the loop asks.",
    ),
)  # fmt: skip
