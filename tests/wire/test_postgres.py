"""PostgreSQL's protocol: messages spelled out by hand, random conversations cut anywhere, both peers against each other."""

import struct
from random import Random
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from engines.lab.dissection import Ended, Side, Started
from engines.lab.facts import MessageEnded, MessageStarted, Role
from engines.lab.host import Host
from engines.lab.scenario import HostSpec, Program, Scenario
from engines.lab.session import SessionState, run_headless
from engines.lab.trace import Trace
from engines.wire.postgres import PostgresDissector
from engines.wire.postgres_client import PgError, pg_connect
from engines.wire.postgres_frames import (
    PORT,
    PgConnectionLost,
    data_row,
    error,
    message,
    row_description,
    startup,
    string,
    values_in,
)
from engines.wire.postgres_server import Database, PgServer, statements_in
from tests.patterns.laws import breaches
from tests.patterns.runs import at
from tests.wire.conversations import Event, Sizes, assert_covers, read

SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=6).map(tuple) | st.sampled_from([(1,), (1 << 30,)])
READY = message(b"Z", b"I")

# --- bytes ----------------------------------------------------------------------------------------------------------------


def test_messages_are_as_the_documentation_spells_them() -> None:
    """Section "Message Formats": lengths count themselves and not the type; strings end with a zero byte."""
    assert startup("ada", "shop") == b"\0\0\0\x20\0\x03\0\0user\0ada\0database\0shop\0\0"
    assert message(b"Q", string("SELECT 1")) == b"Q\0\0\0\x0dSELECT 1\0"
    assert READY == b"Z\0\0\0\x05I"
    assert data_row([1, None, "é", b"\x00\xff"]) == (
        b"D\0\0\0\x1f\0\x04" + b"\0\0\0\x011" + b"\xff\xff\xff\xff" + b"\0\0\0\x02\xc3\xa9" + b"\0\0\0\x06\\x00ff"
    )
    assert row_description(["id"], [(1,)]) == b"T\0\0\0\x1b\0\x01id\0" + struct.pack(">ihihih", 0, 0, 20, 8, -1, 0)
    assert error("42601", "no") == b"E\0\0\0\x1eSERROR\0VERROR\0C42601\0Mno\0\0"


@given(st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=9) | st.integers(), max_size=6))
def test_a_row_is_read_as_it_was_written(row: list[Any]) -> None:
    content = data_row(row)[5:]
    assert values_in(content) == [None if value is None else str(value) for value in row]
    for size in range(len(content)):
        with pytest.raises(PgConnectionLost):
            values_in(content[:size] or b"\0")


def test_types_are_those_of_the_first_values_that_are_there() -> None:
    described = row_description(["a", "b", "c"], [(None, 1.5, None), ("x", None, None), (3, 2, None)])
    kinds = [struct.unpack_from(">i", described, described.index(name) + 8)[0] for name in (b"a\0", b"b\0", b"c\0")]
    assert kinds == [25, 701, 25]


@pytest.mark.parametrize(
    ("sql", "statements"),
    [("", []), (" ; ;", []), ("SELECT 1", ["SELECT 1"]), ("SELECT ';'; SELECT 2;", ["SELECT ';'", "SELECT 2"])],
)
def test_a_query_may_hold_several_statements(sql: str, statements: list[str]) -> None:
    assert list(statements_in(sql)) == statements


# --- the dissector --------------------------------------------------------------------------------------------------------

QUERIES = st.sampled_from(["SELECT 1", "SELECT  *\nFROM orders", "UPDATE orders SET state = 'sent'", ""])
CELLS = st.none() | st.integers(0, 999) | st.text("abc", max_size=5)
NOTICE = message(b"N", b"SNOTICE\0Mby the way\0\0")


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, Role, str, str]:
    """An answer to a query: its bytes, and its role, label and boundary as an observer should see them."""
    kind = draw(st.sampled_from(["rows", "command", "error", "rows, then an error", "empty", "two"]))
    names = draw(st.lists(st.sampled_from(["id", "item", "state"]), min_size=1, max_size=3))
    rows = draw(st.lists(st.tuples(*[CELLS] * len(names)), max_size=4))
    select = row_description(names, rows) + b"".join(map(data_row, rows))
    done = message(b"C", string(f"SELECT {len(rows)}"))
    label = f"rows of {', '.join(names)}"
    refusal = error("42601", "no such thing")
    return {
        "rows": (select + done + READY, Role.RESPONSE, label, "ReadyForQuery"),
        "two": (select + done + select + done + READY, Role.RESPONSE, label, "ReadyForQuery"),
        "command": (message(b"C", string("INSERT 0 1")) + READY, Role.RESPONSE, "INSERT 0 1", "ReadyForQuery"),
        "empty": (message(b"I") + READY, Role.RESPONSE, "EmptyQueryResponse", "ReadyForQuery"),
        "error": (refusal + READY, Role.ERROR, "ERROR 42601 no such thing", "ReadyForQuery, after an error"),
        "rows, then an error": (select + refusal + READY, Role.RESPONSE, label, "ReadyForQuery, after an error"),
    }[kind]


def events_of(said: list[tuple[bytes, Role, str, str]]) -> tuple[bytes, list[tuple[Any, ...]]]:
    """The bytes of some messages, and what an observer should find: (role, label, start, end, boundary)."""
    data, found = b"", list[tuple[Any, ...]]()
    for content, role, label, boundary in said:
        found.append((role, label, len(data), len(data) + len(content), boundary))
        data += content
    return data, found


def found_in(events: list[Event]) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for event in events:
        if isinstance(event, Started):
            found.append((event.role, event.label, event.offset))
        else:
            found[-1] += (event.end, event.boundary)
    return found


GREETING = (
    message(b"R", bytes(4)) + message(b"S", b"server_version\x0015\0") + message(b"K", bytes(8)) + READY,
    Role.CONTROL,
    "AuthenticationOk",
    "ReadyForQuery",
)


@given(st.lists(answers() | st.just((NOTICE, Role.CONTROL, "NoticeResponse", "length")), max_size=6), SIZES)
def test_a_server_is_read_alike_however_its_bytes_are_cut(
    said: list[tuple[bytes, Role, str, str]], sizes: Sizes
) -> None:
    data, expected = events_of([GREETING, *said])
    dissector = PostgresDissector()
    assert found_in(read(dissector, Side.SERVER, data, sizes)) == expected
    assert not dissector.finish(Side.SERVER)
    for _, _, start, end, _ in expected:
        parts = dissector.parts(Side.SERVER, data, start, end)
        assert_covers(parts, start, end)
        assert all(part.note != "not looked into" for part in parts)


@given(st.lists(QUERIES, max_size=6), SIZES, st.booleans())
def test_a_client_is_read_alike_however_its_bytes_are_cut(queries: list[str], sizes: Sizes, asks_for_tls: bool) -> None:
    said = [(struct.pack(">ii", 8, 80877103), Role.CONTROL, "SSLRequest", "length")] if asks_for_tls else []
    said.append((startup("ada", "shop"), Role.CONTROL, "StartupMessage user=ada database=shop", "length"))
    said += [(message(b"Q", string(sql)), Role.REQUEST, " ".join(sql.split()) or "Query", "length") for sql in queries]
    said.append((message(b"X"), Role.CONTROL, "Terminate", "length"))
    data, expected = events_of(said)
    dissector = PostgresDissector()
    assert found_in(read(dissector, Side.CLIENT, data, sizes)) == expected
    for _, _, start, end, _ in expected:
        assert_covers(dissector.parts(Side.CLIENT, data, start, end), start, end)


def test_the_only_message_of_one_byte() -> None:
    dissector = PostgresDissector()
    dissector.feed(Side.CLIENT, struct.pack(">ii", 8, 80877103))
    assert found_in(list(dissector.feed(Side.SERVER, b"N"))) == [
        (Role.CONTROL, "no: go on in the clear", 0, 1, "length")
    ]
    assert [part.name for part in dissector.parts(Side.SERVER, b"N", 0, 1)] == ["answer"]
    dissector.feed(Side.CLIENT, struct.pack(">ii", 8, 80877103))
    assert found_in(list(dissector.feed(Side.SERVER, b"S")))[0][1] == "yes: TLS begins"
    assert dissector.feed(Side.CLIENT, b"\x16\x03\x01") == dissector.feed(Side.SERVER, b"\x16\x03\x03") == []


def test_a_fatal_error_ends_by_itself() -> None:
    """Before the first ReadyForQuery any error ends the connection; after it a FATAL one does."""
    refused = error("53300", "sorry, too many clients already", "FATAL")
    label = "FATAL 53300 sorry, too many clients already"
    assert found_in(list(PostgresDissector().feed(Side.SERVER, refused))) == [
        (Role.ERROR, label, 0, len(refused), "length")
    ]
    dissector = PostgresDissector()
    dissector.feed(Side.SERVER, GREETING[0])
    assert found_in(list(dissector.feed(Side.SERVER, refused)))[0][1] == label
    assert not dissector.finish(Side.SERVER)


def test_an_answer_without_its_end_is_cut_short() -> None:
    dissector = PostgresDissector()
    dissector.feed(Side.SERVER, GREETING[0] + row_description(["id"], []))
    assert dissector.finish(Side.SERVER) == [Ended(len(GREETING[0] + row_description(["id"], [])), "cut short")]


def test_the_parts_of_an_answer() -> None:
    data = row_description(["id"], [(7,)]) + data_row([7]) + message(b"C", b"SELECT 1\0") + READY
    parts = [(part.name, part.note) for part in PostgresDissector().parts(Side.SERVER, data, 0, len(data))]
    assert parts == [
        ("type", "RowDescription"), ("length", "27 bytes, these four among them"), ("columns", "1"), ("id", "column of int8"),
        ("type", "DataRow"), ("length", "11 bytes, these four among them"), ("columns", "1"), ("value 1", "7"),
        ("type", "CommandComplete"), ("length", "13 bytes, these four among them"), ("command tag", "SELECT 1"),
        ("type", "ReadyForQuery"), ("length", "5 bytes, these four among them"), ("status", "idle"),
    ]  # fmt: skip


SHREDS = st.sampled_from(
    [startup("a", "b"), READY, error("1", "x"), NOTICE, b"T\0\0\0\x06\0\x09", b"D\0\0\0\x05", b"\0\0\0\x08"]
)


@given(st.lists(SHREDS | st.binary(max_size=9), max_size=9).map(b"".join), st.sampled_from(Side), SIZES)
def test_no_bytes_bring_it_down(data: bytes, side: Side, sizes: Sizes) -> None:
    dissector = PostgresDissector()
    events = [*read(dissector, side, data, sizes), *dissector.finish(side)]
    assert events == [*read(again := PostgresDissector(), side, data), *again.finish(side)], "cuts matter"
    assert all(event.label.isprintable() for event in events if isinstance(event, Started))
    assert_covers(dissector.parts(side, data, 0, len(data)), 0, len(data))


# --- both peers -----------------------------------------------------------------------------------------------------------

LATENCY_S, WORK_S = 0.1, 0.5
RTT_S = 2 * LATENCY_S
SETUP = "CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT); INSERT INTO orders VALUES (1, 'tea'), (2, NULL);"


def run(client: Program, *, most: int = 100, commands: tuple[Any, ...] = ()) -> Trace:
    """Run a client against a server of ours; it must come to its end."""
    ended = []

    async def to_its_end(host: Host) -> None:
        await client(host)
        ended.append(True)

    async def server(host: Host) -> None:
        async def work(statement: str) -> None:
            await trio.sleep(WORK_S)

        database = Database(host.disk, SETUP)
        pg = PgServer(database, work=work, chance=Random(1), max_connections=lambda: most)
        async with host.listen(PORT) as listener, trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(pg.serve, await listener.accept())

    hosts = (HostSpec("client", to_its_end), HostSpec("server", server))
    scenario = Scenario("pg", "pg", "", hosts, protocols={PORT: PostgresDissector}, network={"latency": LATENCY_S})
    session = run_headless(scenario, commands=commands, until_s=60.0)
    assert session.status.state is SessionState.ENDED, session.status.message
    assert ended, "the client hangs"
    assert breaches(session.trace) == []
    return session.trace


def said(trace: Trace) -> list[tuple[str, str]]:
    return [(r.fact.sender, r.fact.label) for r in trace if isinstance(r.fact, MessageStarted)]


def test_logging_in_takes_two_round_trips_and_a_query_one() -> None:
    async def client(host: Host) -> None:
        connection = await pg_connect(host, "server")
        assert trio.current_time() == pytest.approx(2 * RTT_S)
        result = await connection.query("SELECT * FROM orders")
        assert trio.current_time() == pytest.approx(3 * RTT_S + WORK_S)
        assert result.rows == [["1", "tea"], ["2", None]]
        assert result.tag == "SELECT 2"
        await connection.aclose()

    trace = run(client)
    assert said(trace) == [
        ("client", "StartupMessage user=app database=shop"), ("server", "AuthenticationOk"),
        ("client", "SELECT * FROM orders"), ("server", "rows of id, item"), ("client", "Terminate"),
    ]  # fmt: skip
    boundaries = [record.fact.boundary for record in trace if isinstance(record.fact, MessageEnded)]
    assert boundaries == ["length", "ReadyForQuery", "length", "ReadyForQuery", "length"]


def test_an_error_leaves_the_session_as_it_was() -> None:
    async def client(host: Host) -> None:
        connection = await pg_connect(host, "server")
        for sql, code in (
            ("SELEC 1", "0A000"), ("SELECT * FROM nowhere", "42P01"), ("SELECT FROM WHERE", "42601"), ("BEGIN", "0A000"),
            ("INSERT INTO orders VALUES (1, 'again')", "23000"), ("ATTACH 'x' AS y", "0A000"),
        ):  # fmt: skip
            with pytest.raises(PgError) as caught:
                await connection.query(sql)
            assert caught.value.code == code, sql
            assert connection.usable
        assert (await connection.query("INSERT INTO orders(item) VALUES ('cup'), ('pot')")).tag == "INSERT 0 2"
        assert (
            await connection.query("UPDATE orders SET item = 'mug' WHERE id > 2; SELECT max(id) FROM orders")
        ).rows == [["4"]]
        assert (await connection.query("")).tag == ""

    run(client)


def test_there_are_only_so_many_connections() -> None:
    async def client(host: Host) -> None:
        held = await pg_connect(host, "server")
        with pytest.raises(PgError, match="sorry, too many clients already") as caught:
            await pg_connect(host, "server")
        assert caught.value.code == "53300"
        await held.aclose()
        await trio.sleep(1.0)
        assert (await (await pg_connect(host, "server")).query("SELECT 1")).rows == [["1"]]

    run(client, most=1)


def test_a_query_that_is_called_off_leaves_a_connection_that_nobody_can_use() -> None:
    async def client(host: Host) -> None:
        connection = await pg_connect(host, "server")
        with trio.move_on_after(0.3):
            await connection.query("SELECT 1")
        assert not connection.usable
        await connection.aclose()

    trace = run(client)
    assert ("client", "Terminate") not in said(trace), "the server would take it for an answer"


def test_what_is_on_the_disk_survives() -> None:
    async def client(host: Host) -> None:
        connection = await pg_connect(host, "server")
        await connection.query("INSERT INTO orders(item) VALUES ('cup')")
        await trio.sleep(5.0 - trio.current_time())
        assert not connection.usable, "the server is dead, and its kernel has said so"
        with pytest.raises(PgConnectionLost):
            await connection.query("SELECT 1")
        connection = await pg_connect(host, "server")
        assert (await connection.query("SELECT count(*) FROM orders")).rows == [["3"]]

    run(client, commands=(at(3.0, "restart server"),))
