"""Replication with failover: is a commit answered before the followers have it, or after? What does the next leader lack?

As in PostgreSQL (synchronous_standby_names): nobody waits for standbys, or a commit waits for all that are named, or for ANY 1
of them, which with the leader is a majority of three. Who leads is decided by people here, not by an election.
"""

import trio

from engines.lab.facts import HostCrashed, KnobTurned, Measured, MessageStarted, Noted, Role, TimedOut, WaitStarted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.sync_async.ledger import Ledger
from engines.patterns.sync_async.replica import DATABASE, NAMES, database
from engines.wire.plain import PlainDissector
from engines.wire.plain_peers import PlainCaller, PlainLost

# --- the client (what leader and followers do stands in `replica`) ----------------------------------------------------------


async def client(host: Host) -> None:
    """Writes row after row to whoever leads, and keeps a ledger of what was acknowledged."""
    ledger, asked = Ledger(host), host.knobs["leader"]
    async with trio.open_nursery() as nursery:
        databases = {name: PlainCaller(host, nursery, name, DATABASE) for name in NAMES}

        async def rows_there() -> set[int]:
            reply = await leader.call("SELECT all rows", timeout_s=host.knobs.number("read-timeout"))
            if reply.role is Role.ERROR:
                raise PlainLost(reply.text)
            return {int(row) for row in reply.body.split()}

        while True:
            if asked != host.knobs["leader"]:
                ledger.doubtful, asked = True, host.knobs["leader"]
            leader = databases[str(asked)]
            try:
                await ledger.audit(rows_there)
                row = ledger.next_row()
                reply = await leader.call(f"INSERT {row}", timeout_s=host.knobs.number("read-timeout"))
                if reply.role is Role.ERROR:
                    raise PlainLost(reply.text)
                ledger.promise(row)
            except PlainLost as error:
                ledger.doubtful = True
                host.measure("failed writes")
                host.note(f"not written, as far as anybody knows: {error}")
                await trio.sleep(0.3)
            await trio.sleep(host.knobs.number("pause"))


# --- the lesson ---------------------------------------------------------------------------------------------------------

KILL_DB1 = Fault(
    "kill-db1", "kill db1", "k", "kill db1", "the first leader crashes; its disk stays as it is", off="restart db1"
)
KILL_DB2 = Fault(
    "kill-db2", "kill db2", "f", "kill db2", "the quicker follower crashes; its disk stays as it is", off="restart db2"
)
CUT_DB3 = Fault(
    "cut-db3", "unplug db3", "u", "unplug db3", "the slower follower's cable is out: silence, and no error", off="plug db3"
)  # fmt: skip

LESSON = Lesson(
    name="replication",
    title="Replication and failover",
    purpose="A leader ships its log to two followers. Kill it, make a follower the leader, and see what that one lacks.",
    hosts=(HostSpec("client", client), *(HostSpec(name, database) for name in NAMES)),
    protocols={DATABASE: PlainDissector},
    network={"latency": 0.05},
    until_s=24.0,
    knobs=(
        Choice("replication", "replication", "asynchronous", ("asynchronous", "synchronous", "quorum"),
               "what a commit waits for: nobody else, all followers, or one of the two (with the leader, a majority)"),
        Choice("leader", "leader", "db1", NAMES, "who leads, by order of the operators"),
        Number("lag", "lag", "s", 1.0, 0.0, 10.0, 0.1, "how long the log waits to be shipped, when no commit waits for that"),
        Number("disk-time", "disk", "s", 0.05, 0.0, 5.0, 0.05, "how long db1 and db2 take to write"),
        Number("slow-disk", "db3's disk", "s", 0.4, 0.0, 5.0, 0.1, "how long db3 takes to write"),
        Number("pause", "pause", "s", 0.1, 0.02, 10.0, 0.1, "the client's pause between two rows"),
        Number("read-timeout", "read timeout", "s", 3.0, 0.1, 60.0, 0.5, "how long the client bears silence"),
    ),
    faults=(KILL_DB1, KILL_DB2, CUT_DB3),
    metrics=("measured:acknowledged", "measured:lost after acknowledgement", "measured:rows dropped", "delay", "delay-p95",
             "measured:failed writes", "timeouts"),
    beats=(
        Beat(Measured, "{amount:.0f} rows were acknowledged by the old leader, and the new one has never heard of them.",
             {"what": "lost after"}),
        Beat(Measured, "Whoever was leader once must forget what nobody else has: {amount:.0f} rows are dropped.",
             {"what": "rows dropped"}),
        Beat(HostCrashed, "{host} is dead. Its disk still has all that it wrote; but who can read it?", {"host": "db"}),
        Beat(KnobTurned, "By order of the operators, {value} leads from now on, with what it has.", {"knob": "leader"}),
        Beat(Noted, "The client looks up what it was promised. {text}.", {"text": "all .* are there"}),
        Beat(TimedOut, "Silence for {after_s} s. The row is on the leader's disk, and perhaps nowhere else.", {"what": "read"}),
        Beat(WaitStarted, "{host} has the row on its own disk, and that is not enough: it waits for followers.",
             {"label": "row .* wait for"}),
        Beat(MessageStarted, "{sender} ships its log to {receiver}: {label}.", {"label": "log: "}),
        Beat(MessageStarted, "“{label}”, on its disk. From now on {sender} could lead, and would know these.",
             {"label": "db. has"}),
        Beat(MessageStarted, "{sender} joins, and shows what it has.", {"label": "FOLLOW"}),
        Beat(MessageStarted, "“{label}”, says {sender}. On how many disks that is true, the answer does not say.",
             {"label": "committed"}),
    ),
    try_next=(
        "Kill db1 and make db2 the leader: rows that were acknowledged and not yet shipped are gone.",
        "After that, restart db1: it comes back as a follower, and must drop the rows that only it has.",
        "Replicate synchronously, then kill db1 and promote db2 or db3: nothing is lost. A write takes as long as db3's disk.",
        "Replicate synchronously and unplug db3: all writes hang, and db1 is in perfect health.",
        "Replicate by quorum and unplug db3: nothing hangs, for db2 and db1 are a majority.",
        "Let db3's disk take 2 s, replicate by quorum, kill db1 and promote db3: the majority had the rows, but not db3.",
        "Set the lag to 0: hardly anything is ever lost, and nobody has promised that.",
        "Make db2 the leader while db1 is well: even a planned change loses rows when nobody waits for the shipping.",
    ),
)  # fmt: skip
