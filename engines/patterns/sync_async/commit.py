"""A commit, as PostgreSQL does it: the answer waits until the log is on the disk, or it does not. What does a power cut take?

With synchronous_commit off a crash loses transactions that were acknowledged, but never corrupts: what is lost is the end of
the commit order. PostgreSQL's documentation ("Asynchronous Commit") bounds the risk to three times wal_writer_delay, because
the WAL writer favours whole pages when there is much to do. The words on the wire are ours, not PostgreSQL's protocol.
"""

import trio

from engines.lab.facts import HostCrashed, Measured, MessageStarted, Noted, TimedOut, WorkStarted
from engines.lab.host import Host
from engines.lab.knobs import Number, Toggle
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.sync_async.cached_file import CachedFile
from engines.patterns.sync_async.ledger import Ledger
from engines.patterns.sync_async.wal import WriteAheadLog
from engines.patterns.troubles import CUT_ANSWERS, LOSE_RESPONSE
from engines.wire.plain import Plain, PlainDissector
from engines.wire.plain_peers import PlainCaller, PlainLost, PlainStream, answer, serve_plain

DATABASE = 5432
REPLAY_S = 0.3

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """A database of rows that are nothing but numbers: a log on the disk, and in memory what the log says."""
    file = CachedFile(host.disk, "log", host.randomness("power cut"))
    log = WriteAheadLog(host, file, lambda: host.knobs.number("fsync-time"))
    rows = await recover(host, log)
    at_risk: dict[int, int] = {}  # acknowledged and not flushed: row, LSN behind it

    def show_risk() -> None:
        shown = len(at_risk)
        for row in [row for row, lsn in at_risk.items() if lsn <= log.flushed]:
            del at_risk[row]
        if shown:
            host.state("at risk", len(at_risk))

    async def handle(request: Plain, session: PlainStream) -> Plain:
        if request.text == "SELECT all rows":
            return answer(request, f"{len(rows)} rows", " ".join(map(str, rows)).encode())
        row = int(request.text.split()[1])
        lsn = log.insert(f"row {row} ".encode() + request.body)
        rows[row] = None
        if host.knobs.on("synchronous-commit"):
            await log.flush(lsn, alone=not host.knobs.on("group-commit"))
        else:
            at_risk[row] = lsn
        show_risk()
        return answer(request, f"committed {row}")

    async def wal_writer() -> None:
        while True:
            await trio.sleep(host.knobs.number("wal-writer-delay"))
            await log.flush_in_background()
            show_risk()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wal_writer)
        await serve_plain(host, DATABASE, handle)


async def recover(host: Host, log: WriteAheadLog) -> dict[int, None]:
    """Replay the log, if there is one: rows in the order of their commits."""
    found = log.recovered
    rows = {int(payload.split()[1]): None for payload in found.payloads}
    if rows:
        await host.work(f"replay {len(rows)} records", REPLAY_S)
        host.note(f"replayed {len(rows)} rows; the log ends " + (f"torn: {found.torn}" if found.torn else "cleanly"))
        if found.torn:
            host.measure("torn ends")
    return rows


# --- the client ---------------------------------------------------------------------------------------------------------

MOST_SESSIONS = 16


async def client(host: Host) -> None:
    """Sessions that commit row after row, and a ledger of what they were promised."""
    ledger = Ledger(host)
    async with trio.open_nursery() as nursery:
        for number in range(MOST_SESSIONS):
            nursery.start_soon(session, host, ledger, number)


async def session(host: Host, ledger: Ledger, number: int) -> None:
    """Commit a row, think, commit the next. Whatever breaks: connect again, and look up what is there."""

    async def rows_there() -> set[int]:
        reply = await database.call("SELECT all rows", timeout_s=host.knobs.number("read-timeout"))
        return {int(row) for row in reply.body.split()}

    async with trio.open_nursery() as nursery:
        database = PlainCaller(host, nursery, "server", DATABASE)
        while True:
            if number >= host.knobs.number("sessions"):
                await trio.sleep(0.5)
                continue
            row = 0
            try:
                await ledger.audit(rows_there)
                row = ledger.next_row()
                body = (b"." * 100_000)[: int(host.knobs.number("row-size"))]
                await database.call(f"COMMIT {row}", body, timeout_s=host.knobs.number("read-timeout"))
            except PlainLost as error:
                ledger.doubtful = True
                host.note(f"{f'row {row} is in doubt' if row else 'no database'}: {error}")
                await trio.sleep(1.0)
            else:
                ledger.promise(row)
                await trio.sleep(host.knobs.number("think-time") * (0.5 + host.rng.random()))


# --- the lesson ---------------------------------------------------------------------------------------------------------

POWER_CUT = Fault(
    "power-cut", "cut the power", "k", "kill server",
    "the server's machine loses power: its memory is gone, and of what was not fsynced, each sector may or may not be there",
    off="restart server",
)  # fmt: skip

LESSON = Lesson(
    name="commit",
    title="PostgreSQL's commit",
    purpose="A commit waits for the disk, or does not: cut the power, and count what was acknowledged and is gone.",
    hosts=(HostSpec("client", client), HostSpec("server", server, "database")),
    protocols={DATABASE: PlainDissector},
    network={"latency": 0.05},
    until_s=20.0,
    knobs=(
        Toggle("synchronous-commit", "synchronous_commit", True,
               "whether a commit is answered only once its record is on the disk"),
        Number("fsync-time", "fsync", "s", 0.05, 0.0, 5.0, 0.05, "how long the disk takes to make things durable"),
        Number("wal-writer-delay", "wal_writer_delay", "s", 0.2, 0.001, 10.0, 0.1,
               "the WAL writer's pause between two rounds (PostgreSQL 17: 200 ms)"),
        Toggle("group-commit", "group commit", True, "whether one fsync serves all who wait for one"),
        Number("sessions", "sessions", "", 4, 1, MOST_SESSIONS, 1, "connections that commit, each one row after another",
               integer=True),
        Number("think-time", "think", "s", 0.2, 0.01, 10.0, 0.1, "a session's pause between two commits, give or take half"),
        Number("row-size", "row", "B", 100, 0, 50_000, 100, "bytes of a row; the log has pages of 8 kB", ratio=2.0, integer=True),
        Number("read-timeout", "read timeout", "s", 3.0, 0.1, 60.0, 0.5, "how long a session bears silence"),
    ),
    faults=(POWER_CUT, CUT_ANSWERS, LOSE_RESPONSE),
    metrics=("measured:acknowledged", "measured:lost after acknowledgement", "delay", "delay-p95", "work-finished",
             "measured:torn ends", "timeouts"),
    beats=(
        Beat(Measured, "{amount:.0f} rows were acknowledged, and are gone. The client has it in writing; the database has never"
             " heard of them.", {"what": "lost after"}),
        Beat(HostCrashed, "The power is gone. What was in memory was never written down: buffers, page cache, all of it.",
             {"host": "server"}),
        Beat(Noted, "The log ends in the middle of a record: its checksum does not fit, and it is thrown away. Nobody ever sees"
             " half a row.", {"text": ".*torn"}),
        Beat(Noted, "The client looks up what it was promised. {text}.", {"text": "all .* are there"}),
        Beat(Noted, "No answer came, and so nobody can say whether the row was committed. Only a look will tell.",
             {"text": "row .* in doubt"}),
        Beat(WorkStarted, "The log is read from its beginning, and every whole record is done again.", {"label": "replay"}),
        Beat(TimedOut, "Silence for {after_s} s. The row may be committed or not.", {"what": "read"}),
        Beat(WorkStarted, "fsync: the log goes from memory to the disk. Who waits for it will keep what is promised.",
             {"label": "fsync"}),
        Beat(MessageStarted, "“{label}”: a promise. Whether it can be kept depends on where the record is now.",
             {"label": "committed"}),
        Beat(MessageStarted, "{label}: the record is in the server's memory, and nowhere else yet.", {"label": "COMMIT"}),
    ),
    try_next=(
        "Turn synchronous_commit off: a commit takes one round trip. Cut the power and restart: some rows are gone.",
        "Leave it on and cut the power as often as you like: rows are in doubt, but none that was acknowledged is lost.",
        "With it off, set wal_writer_delay to 3 s: cut the power late in a round, and seconds of promises are lost.",
        "With it off, let fsync take 2 s and cut the power: three times wal_writer_delay was never meant for such a disk.",
        "With it on, let fsync take 0.5 s with 8 sessions: group commit serves all who wait with one or two of them.",
        "As above without group commit: eight fsyncs in a row take 4 s, and every session gives up after 3 s.",
        "Cut the answers for a while: commits are done and nobody hears of it. In doubt is not lost.",
    ),
)  # fmt: skip
