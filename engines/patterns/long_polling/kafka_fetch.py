"""Kafka's fetch: a consumer asks for records from an offset on, and the broker holds the question until it is worth it.

This is long polling, although nobody calls it that: Kafka's consumers pull. The real thing is a binary protocol over TCP (API
key 1, Fetch); here HTTP stands in for it, with the same parameters: `fetch.min.bytes` (1), `fetch.max.wait.ms` (500), and
on the consumer's side `max.poll.records` (500), which limits what one `poll()` hands to the program and has no influence on
what is fetched (Kafka 3 and 4, consumer configuration).
"""

from dataclasses import replace

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engines.lab.facts import EventHandled, Measured, MessageStarted, WaitEnded, WaitStarted
from engines.lab.host import Host
from engines.lab.knobs import Number
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.long_polling.held import hold
from engines.patterns.long_polling.notifications import as_response, events_in, read_number
from engines.patterns.long_polling.retry import Retry
from engines.patterns.troubles import CUT_ANSWERS, KILL_CLIENT, KILL_SERVER, LOSE_RESPONSE, UNPLUG_CLIENT
from engines.patterns.workload import EVENT_KNOBS, Event, let_events_happen
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http

# --- the broker ---------------------------------------------------------------------------------------------------------


async def broker(host: Host) -> None:
    """Keeps a log of one partition, and answers a fetch when there is enough to send, or when it has waited long enough."""
    log: list[Event] = host.disk.setdefault("log", [])
    grown = trio.Event()

    async def append(record: Event) -> None:
        nonlocal grown
        log.append(record)
        grown.set()
        grown = trio.Event()

    async def fetch(request: Request) -> Response:
        offset = read_number(request, "offset", default=0)
        min_bytes = read_number(request, "min_bytes", default=1)
        max_wait_ms = read_number(request, "max_wait_ms", default=500)

        def size_bytes() -> int:
            return sum(len(record.to_json()) for record in log[offset:])

        async def enough() -> None:
            while size_bytes() < min_bytes:
                await grown.wait()

        if size_bytes() < min_bytes:
            await hold(host, request, enough, max_wait_ms / 1000)
        return as_response(log[offset:])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_events_happen, host, append)
        await serve_http(host, Starlette(routes=[Route("/fetch", fetch)]))


# --- the consumer -------------------------------------------------------------------------------------------------------


async def consumer(host: Host) -> None:
    """Works on what was fetched while the next fetch is already on its way. How far it has come, it commits to its disk."""
    fetched, batches = trio.open_memory_channel[list[Event]](0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_fetching, host, fetched)
        async for batch in batches:
            while batch:
                most = int(host.knobs.number("max-poll-records"))
                await work_on(host, batch[:most])
                host.disk["committed"] = host.disk.get("committed", 0) + len(batch[:most])
                batch = batch[most:]


async def keep_fetching(host: Host, fetched: trio.MemorySendChannel[list[Event]]) -> None:
    """One fetch at a time; the next when the program has taken what the last one brought."""
    offset, retry = host.disk.get("committed", 0), Retry(host)
    async with http_client(host, base_url="http://server") as http:
        while True:
            params = {
                "offset": offset,
                "min_bytes": int(host.knobs.number("fetch-min-bytes")),
                "max_wait_ms": round(1000 * host.knobs.number("fetch-max-wait")),
            }
            host.measure("fetches")
            try:
                response = await http.get("/fetch", params=params)
            except httpx.ReadTimeout:
                continue
            except httpx.TransportError as error:
                await retry.pause(type(error).__name__)
                continue
            retry.reset()
            records = events_in(response)
            offset += len(records)
            if records:
                await fetched.send(records)


async def work_on(host: Host, records: list[Event]) -> None:
    """What the program does with the records that one `poll()` hands to it."""
    host.measure("polls")
    with host.working("1 record" if len(records) == 1 else f"{len(records)} records"):
        for record in records:
            await trio.sleep(host.knobs.number("record-time"))
            host.event_handled(record.number)


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS
ARRIVALS, RATE, BURST, SIZE = EVENT_KNOBS

LESSON = Lesson(
    name="kafka-fetch",
    title="Kafka's fetch",
    purpose="A Kafka consumer polls long, too (over HTTP here): see how min bytes and max wait trade requests for delay.",
    hosts=(HostSpec("client", consumer, "consumer"), HostSpec("server", broker, "broker")),
    protocols={80: Http1Dissector},
    network={"latency": 0.1},
    until_s=20.0,
    knobs=(
        Number("fetch-min-bytes", "fetch.min.bytes", "B", 1, 1, 1_000_000, 500,
               "the broker waits until it has so much to send (Kafka 4: 1)", ratio=2.0, integer=True),
        Number("fetch-max-wait", "fetch.max.wait.ms", "s", 0.5, 0.001, 60.0, 0.25,
               "but no longer than this (Kafka 4: 500 ms)"),
        Number("max-poll-records", "max.poll.records", "", 500, 1, 10_000, 100,
               "how many records one poll() hands to the program (Kafka 4: 500)", integer=True),
        Number("record-time", "time for a record", "s", 0.01, 0.0, 10.0, 0.01, "how long the program works on a record"),
        ARRIVALS,
        replace(RATE, default=5.0),
        BURST,
        SIZE,
        READ_TIMEOUT,
        CONNECT_TIMEOUT,
    ),
    faults=(KILL_CLIENT, UNPLUG_CLIENT, KILL_SERVER, CUT_ANSWERS, LOSE_RESPONSE),
    metrics=("measured:fetches", "empty", "events-handled", "event-delay-mean", "event-delay-max", "measured:polls",
             "bytes-per-event-byte", "events-duplicated"),
    beats=(
        Beat(Measured, "poll() hands records to the program. The next fetch is on its way meanwhile.", {"what": "polls"}),
        Beat(WaitStarted, "The broker has not yet enough to send. It holds the fetch, for fetch.max.wait.ms at most.",
             {"label": "held"}),
        Beat(WaitEnded, "The wait is over, and what there is must do, be it nothing at all.",
             {"host": "server", "outcome": "nothing happened"}),
        Beat(WaitEnded, "fetch.min.bytes have come together: the answer leaves at once.", {"host": "server", "outcome": "news"}),
        Beat(EventHandled, "The program is done with record {event}."),
        Beat(MessageStarted, "A fetch: the records from this offset on. It is the consumer that knows how far it has come.",
             {"label": "GET /fetch"}),
    ),
    try_next=(
        "Set fetch.min.bytes to 1 kB: the broker waits for ten records or for half a second. Far fewer fetches, and later news.",
        "Set fetch.min.bytes to 1 kB and fetch.max.wait.ms to 10 s: a fetch for ten records, and the first of them is late.",
        "Set both so and let 0.1 events happen a second: the read timeout of 5 s comes first (Kafka's is 30 s).",
        "Let 100 events happen a second: min bytes are there at once, and the round trip makes the batches.",
        "Let a record take 1 s: records pile up at the broker, not at the consumer. Who pulls cannot be flooded.",
        "Let a record take 1 s and set max.poll.records to 1: a commit after each, and less to repeat after a crash.",
        "Kill the consumer in the middle of a batch and restart it: what was not committed comes a second time.",
    ),
)  # fmt: skip
