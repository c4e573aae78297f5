"""The plain protocol: messages cut anywhere are the same messages; calls get their own answers, or hear that there are none."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from engines.lab.commands import TimedCommand, parse_command
from engines.lab.dissection import Ended, Side, Started
from engines.lab.facts import MessageStarted, Noted, Role, TimedOut
from engines.lab.host import Host
from engines.lab.scenario import HostSpec, Program, Scenario
from engines.lab.session import SessionState, run_headless
from engines.lab.trace import Trace
from engines.wire.dissectors import dissector_named
from engines.wire.plain import MARKS, MAX_LINE, Plain, PlainDissector, line_at
from engines.wire.plain_peers import PlainCaller, PlainLost, PlainStream, answer, refusal, serve_plain
from tests.patterns.laws import breaches, every
from tests.wire.conversations import Event, Sizes, assert_covers, read

WORDS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"], include_characters=" "), max_size=40)
MESSAGES = st.builds(
    Plain, st.sampled_from(list(MARKS.values())), st.integers(0, 999_999_999), WORDS, st.binary(max_size=300)
)
SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=6).map(tuple) | st.sampled_from([(1,), (1 << 30,)])

# --- the observer -------------------------------------------------------------------------------------------------------


@given(st.lists(MESSAGES, max_size=5), SIZES)
def test_messages_cut_anywhere_are_the_same_messages(messages: list[Plain], sizes: Sizes) -> None:
    data, expected = b"", list[Event]()
    for message in messages:
        start, line = len(data), len(message.encode()) - len(message.body)
        data += message.encode()
        expected += (
            Started(message.role, message.text, start, start + line, len(message.body), message.tag),
            Ended(len(data), "announced size", message.tag),
        )
    assert read(PlainDissector(), Side.CLIENT, data, sizes) == expected
    starts = [event.offset for event in expected if isinstance(event, Started)]
    for start, end in zip(starts, [*starts[1:], len(data)], strict=False):
        for cut in (start + 1, (start + end) // 2, end):
            assert_covers(PlainDissector().parts(Side.CLIENT, data, start, cut), start, cut)


@given(st.binary(max_size=80) | st.lists(MESSAGES.map(Plain.encode) | st.binary(max_size=5)).map(b"".join), SIZES)
def test_nothing_confuses_the_observer(data: bytes, sizes: Sizes) -> None:
    """It never raises, says the same however the bytes were cut, and gives up once at most."""
    dissector = PlainDissector()
    events = read(dissector, Side.SERVER, data, sizes)
    assert events == read(PlainDissector(), Side.SERVER, data)
    assert len([e for e in events if isinstance(e, Started) and e.label.startswith("not plain")]) <= 1
    events += dissector.finish(Side.SERVER)
    assert sum(isinstance(e, Started) for e in events) == sum(isinstance(e, Ended) for e in events)
    assert dissector.finish(Side.SERVER) == []
    assert_covers(dissector.parts(Side.SERVER, data, 0, len(data)), 0, len(data))


def test_the_parts_of_a_message() -> None:
    data = Plain(Role.RESPONSE, 12, "4 bytes", b"abcd").encode()
    assert data == b"!12 4 4 bytes\nabcd"
    parts = PlainDissector().parts(Side.SERVER, data, 0, len(data))
    assert [(data[p.start : p.end], p.name) for p in parts] == [
        (b"!", "mark"),
        (b"12 ", "tag"),
        (b"4 ", "size"),
        (b"4 bytes", "words"),
        (b"\n", "line end"),
        (b"abcd", "body"),
    ]
    assert [p.name for p in parts if p.boundary] == ["size", "line end"]


def test_a_message_that_breaks_off_is_cut_short() -> None:
    dissector = PlainDissector()
    dissector.feed(Side.CLIENT, b">3 10 log\n12345")
    assert dissector.finish(Side.CLIENT) == [Ended(15, "cut short", 3)]


def test_words_that_do_not_fit_in_a_line_are_refused() -> None:
    for words in ("two\nlines", "x" * MAX_LINE):
        with pytest.raises(ValueError, match="do not fit"):
            Plain(Role.PUSH, 0, words).encode()
    longest = Plain(Role.PUSH, 0, "x" * (MAX_LINE - 6)).encode()
    assert len(longest) == MAX_LINE
    assert line_at(longest) is not None


def test_the_observer_is_known_by_name() -> None:
    assert isinstance(dissector_named("plain"), PlainDissector)


# --- the peers ----------------------------------------------------------------------------------------------------------

PORT = 9
LATENCY_S = 0.1


async def server(host: Host) -> None:
    """Answers "wait N" after N seconds, and refuses everything else."""

    async def handle(message: Plain, stream: PlainStream) -> Plain | None:
        if message.role is Role.PUSH:
            host.note(f"told {message.text}")
            return None
        if not message.text.startswith("wait"):
            return refusal(message, "what?")
        await trio.sleep(float(message.text.split()[1]))
        await stream.push(f"soon {message.text}")
        return answer(message, message.text.replace("wait", "waited"), message.body)

    await serve_plain(host, PORT, handle)


def talk(program: Program, *commands: str) -> Trace:
    """A run of `program` on the host "client", beside a server."""

    async def client(host: Host) -> None:
        await program(host)
        host.note("finished")

    scenario = Scenario(
        "plain", "p", "", (HostSpec("client", client), HostSpec("server", server)),
        protocols={PORT: PlainDissector}, network={"latency": LATENCY_S}, until_s=60.0,
    )  # fmt: skip
    orders = [TimedCommand(float(at), parse_command(order)) for at, order in (c.split(" ", 1) for c in commands)]
    session = run_headless(scenario, commands=orders)
    assert session.status.state is SessionState.ENDED, session.status.message
    assert breaches(session.trace) == []
    assert "finished" in [noted.text for _, noted in every(session.trace, Noted)]
    return session.trace


def test_calls_overlap_and_each_gets_its_own_answer() -> None:
    pushed: list[str] = []

    async def program(host: Host) -> None:
        async def ask(seconds: int) -> None:
            reply = await caller.call(f"wait {seconds}", bytes(seconds))
            assert (reply.text, reply.body) == (f"waited {seconds}", bytes(seconds))
            assert trio.current_time() == pytest.approx(2 * LATENCY_S + seconds + 2 * LATENCY_S)

        async with trio.open_nursery() as nursery:
            caller = PlainCaller(host, nursery, "server", PORT, lambda message: pushed.append(message.text))
            async with trio.open_nursery() as asking:
                for seconds in (3, 1, 2):
                    asking.start_soon(ask, seconds)
            assert (await caller.call("dance")).role is Role.ERROR
            await caller.tell("goodbye")
            await trio.sleep(1)
            nursery.cancel_scope.cancel()

    trace = talk(program)
    assert pushed == ["soon wait 1", "soon wait 2", "soon wait 3"]
    assert "told goodbye" in [noted.text for _, noted in every(trace, Noted)]
    messages = [fact for _, fact in every(trace, MessageStarted)]
    tags = [fact.stream for fact in messages if fact.role in (Role.REQUEST, Role.RESPONSE, Role.ERROR)]
    assert tags == [0, 1, 2, 1, 2, 0, 0, 0]  # asked, answered; the last question finds tag 0 free


def test_all_that_wait_hear_of_a_lost_connection_and_the_next_call_opens_another() -> None:
    async def program(host: Host) -> None:
        failed: list[str] = []

        async def ask(seconds: int) -> None:
            with pytest.raises(PlainLost):
                await caller.call(f"wait {seconds}")
            failed.append(f"{seconds} at {trio.current_time():.1f}")

        async with trio.open_nursery() as nursery:
            caller = PlainCaller(host, nursery, "server", PORT)
            async with trio.open_nursery() as asking:
                asking.start_soon(ask, 7)
                asking.start_soon(ask, 8)
            assert failed == ["7 at 1.1", "8 at 1.1"]
            with pytest.raises(PlainLost, match="refused"):
                await caller.call("wait 0")
            await trio.sleep(2)
            assert (await caller.call("wait 0")).text == "waited 0"
            nursery.cancel_scope.cancel()

    talk(program, "1 kill server", "2 restart server")


def test_silence_has_a_limit() -> None:
    async def program(host: Host) -> None:
        async with trio.open_nursery() as nursery:
            caller = PlainCaller(host, nursery, "server", PORT)
            assert (await caller.call("wait 0", timeout_s=5)).text == "waited 0"
            with pytest.raises(PlainLost, match="no answer within 2 s"):
                await caller.call("wait 3", timeout_s=2)
            assert trio.current_time() == pytest.approx(4 * LATENCY_S + 2)
            with pytest.raises(PlainLost, match="no answer within 2 s"):
                await caller.call("wait 0", timeout_s=2)  # the cable is out: not even a connection
            await trio.sleep(2)
            assert (await caller.call("wait 0")).text == "waited 0"
            nursery.cancel_scope.cancel()

    trace = talk(program, "2.3 unplug client", "5 plug client")
    assert [fact.what for _, fact in every(trace, TimedOut)] == ["read", "read"]
