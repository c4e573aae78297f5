"""A pool of database connections: requests arrive at random, each needs a query, and there are only so many connections.

The application keeps connections to a database and lends them to its requests. Too few, and requests queue in the
application while the database idles; too many, and they queue in the database, where it costs more.
"""

from math import inf

import trio

from engines.lab.facts import (
    ConnectionRefused,
    HostCrashed,
    Measured,
    MessageStarted,
    PoolAssigned,
    PoolEvicted,
    PoolOpening,
    PoolQueued,
    PoolResized,
)
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number, Value
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.multiplexing.processors import Processors
from engines.patterns.troubles import LOSE_RESPONSE
from engines.wire.connection_pool import ConnectionPool, PoolTerms, PoolTimeout
from engines.wire.postgres import PostgresDissector
from engines.wire.postgres_client import PgConnection, PgError, pg_connect
from engines.wire.postgres_frames import PORT, PgConnectionLost
from engines.wire.postgres_server import Database, PgServer

ORDERS = 100
REPORT = "SELECT state, count(*) FROM orders GROUP BY state"

# --- the application ----------------------------------------------------------------------------------------------------


async def app(host: Host) -> None:
    """Requests come in, whether the ones before are done or not; each asks the database for an order, or for a report."""

    async def connect() -> PgConnection:
        return await pg_connect(host, "database")

    pool = ConnectionPool(host, connect, terms_of(host))

    def turned(value: Value) -> None:
        pool.change(terms_of(host))

    chance, number = host.randomness("arrivals"), 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.run)
        with (
            host.knobs.watching("pool-size", turned),
            host.knobs.watching("min-idle", turned),
            host.knobs.watching("idle-timeout", turned),
        ):
            while True:
                together = BURST if host.knobs["arrivals"] == "bursts" else 1
                gap_s = together / host.knobs.number("rate")
                draw, report = chance.expovariate(1.0), chance.random()
                await trio.sleep(gap_s if host.knobs["arrivals"] == "evenly" else gap_s * draw)
                for _ in range(together):
                    number += 1
                    wants_report = report < host.knobs.number("report-share")
                    nursery.start_soon(answer, host, pool, number, wants_report)


def terms_of(host: Host) -> PoolTerms:
    """How the pool is to be kept, as the knobs say now."""
    knobs = host.knobs
    return PoolTerms(int(knobs.number("pool-size")), int(knobs.number("min-idle")), knobs.number("idle-timeout"))


async def answer(host: Host, pool: ConnectionPool[PgConnection], number: int, report: bool) -> None:
    """One request: borrow a connection, ask, give it back."""
    name = f"report {number}" if report else f"order {number}"
    sql = REPORT if report else f"SELECT * FROM orders WHERE id = {1 + (number - 1) % ORDERS}"
    limit_s = host.knobs.number("query-timeout")
    try:
        async with pool.connection(name, host.knobs.number("pool-timeout")) as connection:
            with trio.fail_after(limit_s):
                await connection.query(sql)
    except PoolTimeout:
        host.measure("starved")
        host.note(f"{name}: no connection came free")
    except trio.TooSlowError:
        host.timed_out("query", limit_s)
        host.measure("failed")
    except (OSError, PgError, PgConnectionLost) as error:
        host.measure("failed")
        host.note(f"{name}: {error}")
    else:
        host.measure("answered")


# --- the database -------------------------------------------------------------------------------------------------------

SETUP = f"""
CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT, state TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ORDERS})
INSERT INTO orders SELECT i, 'tea pot ' || i, CASE i % 3 WHEN 0 THEN 'paid' WHEN 1 THEN 'sent' ELSE 'new' END FROM n;
"""


async def database(host: Host) -> None:
    """Answers queries, as many at a time as there are connections; but it has only so many cores to do so."""
    knobs, chance = host.knobs, host.randomness("service")
    processors = Processors(lambda: knobs.number("cores"), lambda: knobs.number("contention"))

    async def work(statement: str) -> None:
        draw = chance.expovariate(1.0)
        if statement == REPORT:
            await host.work("report", knobs.number("report-time"))  # of which it spends the most waiting for the disk
            return
        with host.working("query"):
            await processors.work(knobs.number("query-time") * (draw if knobs["spread"] == "exponential" else 1.0))

    def turned(value: Value) -> None:
        processors.retune()

    server = PgServer(
        store := Database(host.disk, SETUP),
        work=work,
        chance=host.rng,
        max_connections=lambda: knobs.number("max-connections"),
        on_sessions=lambda count: host.state("sessions", count),
    )
    try:
        with knobs.watching("cores", turned), knobs.watching("contention", turned):
            async with host.listen(PORT) as listener, trio.open_nursery() as nursery:
                while True:
                    nursery.start_soon(server.serve, await listener.accept())
    finally:
        store.close()


# --- the lesson ---------------------------------------------------------------------------------------------------------

BURST = 10

SLOW_REPORTS = Fault(
    "slow-reports", "slow reports", "w", "set report-share 10%",
    "every tenth request is a report that takes very long, and holds its connection all the while", off="set report-share 0%",
)  # fmt: skip

KILL_DATABASE = Fault(
    "kill-database", "kill database", "k", "kill database",
    "the database's program dies: its kernel closes all connections, what is on its disk stays", off="restart database",
)  # fmt: skip

KILL_APP = Fault(
    "kill-app", "kill app", "c", "kill app",
    "the application dies with its pool, its queue, and all who stand in it", off="restart app",
)  # fmt: skip

UNPLUG_DATABASE = Fault(
    "unplug-database", "unplug database", "u", "unplug database",
    "the database's cable is out: connections look as good as ever, and no answer comes", off="plug database",
)  # fmt: skip

LESSON = Lesson(
    name="database-pool",
    title="A pool of database connections",
    purpose="Requests borrow a connection, ask and give it back: see where they queue when there are too few, or too many.",
    hosts=(HostSpec("app", app), HostSpec("database", database)),
    protocols={PORT: PostgresDissector},
    network={"latency": 0.05},
    until_s=50.0,
    knobs=(
        Number("pool-size", "pool size", "", 3, 1, 200, 1, "connections that the app may hold (HikariCP: 10)", integer=True),
        Number("report-share", "reports", "%", 0.0, 0.0, 1.0, 0.05, "share of requests that want a report"),
        Number("report-time", "report time", "s", 10.0, 0.1, 600.0, 1.0, "how long a report waits for the disk, on no core"),
        Number("rate", "requests", "1/s", 5.0, 0.1, 200.0, 0.5, "how many arrive a second, on average", ratio=1.5),
        Choice("arrivals", "they arrive", "at random", ("at random", "evenly", "bursts"),
               "one by one at random (Poisson), at even distances, or ten at a time at random"),
        Number("query-time", "query time", "s", 0.3, 0.001, 10.0, 0.05, "how long a query takes on a core of its own"),
        Choice("spread", "query times are", "alike", ("alike", "exponential"), "all the same, or at random around it"),
        Number("cores", "cores", "", 2, 1, 64, 1, "of the database: more queries than that share them", integer=True),
        Number("contention", "contention", "%", 0.05, 0.0, 1.0, 0.05, "what each query loses for every one beyond the cores"),
        Number("max-connections", "max connections", "", 100, 1, 1000, 1, "that the database accepts (PostgreSQL: 100)",
               integer=True),
        Number("pool-timeout", "pool timeout", "s", 30.0, 0.05, inf, 1.0, "how long a request waits for one (HikariCP: 30 s)",
               ratio=2.0),
        Number("query-timeout", "query timeout", "s", inf, 0.05, inf, 1.0, "how long it then waits for the answer", ratio=2.0),
        Number("min-idle", "min idle", "", 0, 0, 200, 1, "idle ones opened ahead of need (HikariCP: the pool size)",
               integer=True),
        Number("idle-timeout", "idle timeout", "s", 600.0, 0.1, inf, 1.0, "after which one more is closed (HikariCP: 10 min)",
               ratio=2.0),
    ),
    faults=(SLOW_REPORTS, KILL_DATABASE, KILL_APP, UNPLUG_DATABASE, LOSE_RESPONSE),
    metrics=("pool-wait", "pool-wait-p95", "pool-queue", "pool-use", "measured:answered", "measured:starved", "measured:failed",
             "delay", "open"),
    beats=(
        Beat(Measured, "A request has waited in vain for a connection. Its query was never sent.", {"what": "starved"}),
        Beat(HostCrashed, "{host} is dead. Its kernel closes the connections; whoever holds one learns of it at once.",
             {"host": "database"}),
        Beat(MessageStarted, "{label}: each connection costs the database a process and memory, so it has a limit. Pools of all"
             " instances together must stay below.", {"label": "FATAL"}),
        Beat(ConnectionRefused, "Nobody listens there. A pool spares nobody this: each request finds out for itself."),
        Beat(PoolEvicted, "A connection is taken out of the pool: {reason}. It was found dead before it was lent, not after.",
             {"reason": "closed by peer"}),
        Beat(PoolResized, "The pool may now hold {size} connections. One that is lent is never taken from anybody."),
        Beat(PoolOpening, "A connection is opened ahead of need, so that nobody has to wait for the greeting."),
        Beat(MessageStarted, "A report: it holds its connection for as long as it takes, and the others share what is left.",
             {"label": "SELECT state"}),
        Beat(PoolQueued, "{label} needs a connection. If all are lent, it waits in the app; the database knows nothing of it."),
        Beat(PoolAssigned, "No connection is idle and there is room for another: a round trip for TCP and one for the log-in"
             " before the first query.", {"how": "opened"}),
        Beat(PoolAssigned, "A connection was given back, or idle: whoever stands first in line asks at once.", {"how": "reused"}),
    ),
    try_next=(
        "Set the pool size to 20: queries share two cores and take 5 s instead of 0.5, and fewer are answered in all.",
        "Set the pool size to 2: no query takes longer than it must, and half of the requests wait a second for their turn.",
        "Let slow reports in: in a few seconds they hold all three connections, and quick orders queue behind them.",
        "Let slow reports in with a pool of 10: they hold half of it, and orders pass them by on the others.",
        "Set the pool size to 5 and max connections to 3: who asks for a fourth is told “sorry, too many clients already”.",
        "Kill the database: requests fail at once instead of waiting. Restart it: the dead are found before they are lent.",
        "Unplug the database: no error anywhere. Its connections look well, all are lent, and after 30 s the queue starves.",
        "Set the pool size to 20 for a while, then to 3: nobody loses a connection, and the queue melts.",
        "Set min idle to 3 and start again: the connections are there before the first request.",
        "Set query time to 10 ms and latency to 200 ms: the pool is as busy as before, with waiting for the network.",
    ),
)  # fmt: skip
