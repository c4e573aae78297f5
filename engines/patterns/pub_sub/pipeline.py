"""Microservices: a video is uploaded, compressed, formatted, and its owner is notified. By a chain of requests, or by topics?

In a chain every service calls the next and waits for it: the client waits for the sum, and one service that is down is enough
for all uploads to fail. With topics each service says what it has done, and whoever cares takes it from there: the client
waits for the upload alone, and a service that was down finds its work where it left off. The work is the same, and so is the
time until the video is ready; what changes is who has to be there at the same time.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engines.lab.facts import EventHandled, EventLost, HostCrashed, Measured, MessageStarted, StateChanged
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import Fault, HostSpec, Program
from engines.patterns.contract import Beat, Lesson
from engines.patterns.pub_sub.turned import wait_turned
from engines.patterns.workload import EVENT_KNOBS, Event, let_events_happen
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http
from engines.wire.kafka import KafkaDissector
from engines.wire.kafka_broker import KafkaBroker
from engines.wire.kafka_client import KafkaConnectionLost, KafkaProducer, LogReader, OutOfRange, Pauses
from engines.wire.kafka_protocol import PORT
from engines.wire.kafka_records import Record

FETCH_WAIT_S = 3.0
LISTENS_ON_S = 15.0
"""How long a service goes on reading topics after a turn to the chain, since the last time that something came."""

# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Uploads videos, each whether or not the ones before are done: there are many people behind it."""
    async with http_client(host, base_url="http://upload") as http, trio.open_nursery() as nursery:

        async def begin(video: Event) -> None:
            nursery.start_soon(upload, host, http, video)

        await let_events_happen(host, begin)


async def upload(host: Host, http: httpx.AsyncClient, video: Event) -> None:
    """One upload, and how long its owner has to look at a progress bar."""
    began_s = trio.current_time()
    try:
        problem = problem_of(await http.post("/videos", content=video.to_json()))
    except httpx.TransportError as error:
        problem = type(error).__name__
    waited_s = trio.current_time() - began_s
    host.measure("uploads")
    host.measure("waiting seconds", waited_s)
    if problem:
        host.measure("failed uploads")
        host.event_lost(video.number, f"the client was told that it failed: {problem}")
    else:
        host.state("waited", f"{waited_s:.2f} s")


def problem_of(response: httpx.Response) -> str:
    """ "" if all is well."""
    return "" if response.status_code < 400 else f"{response.status_code} {response.reason_phrase}"


# --- the services -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """A service: which one it calls in a chain; which topic it reads and which it writes, if there are topics."""

    name: str
    calls: str = ""
    reads: str = ""
    writes: str = ""


STEPS = (
    Step("upload", calls="compress", writes="uploaded"),
    Step("compress", calls="format", reads="uploaded", writes="compressed"),
    Step("format", calls="notify", reads="compressed", writes="formatted"),
    Step("notify", reads="formatted"),
)


def service(step: Step) -> Program:
    """The program of one step. It deals with one video at a time, however it hears of it."""

    async def program(host: Host) -> None:
        turn = trio.Lock()

        async def deal_with(video: Event) -> None:
            async with turn:
                await host.work(f"{step.name} video {video.number}", host.knobs.number(f"{step.name}-time"))
            if not step.writes:
                host.event_handled(video.number)

        async with http_client(host) as http, trio.open_nursery() as nursery:
            if step.reads:
                nursery.start_soon(take_from_topic, host, step, deal_with)
            await take_requests(host, step, http, deal_with)

    return program


DealWith = Callable[[Event], Awaitable[None]]


async def take_requests(host: Host, step: Step, http: httpx.AsyncClient, deal_with: DealWith) -> None:
    """Deal with what is posted here, and pass it on before the answer: to the next service, or to a topic."""
    producer = KafkaProducer(host)

    async def take(request: Request) -> Response:
        video = Event.from_json(await request.body())
        await deal_with(video)
        if host.knobs["coupling"] == "topics" and step.writes:
            await producer.send(step.writes, Record(video.to_json().encode()))
            return Response(status_code=202)
        if step.calls:
            problem = await call(http, step.calls, video)
            if problem:
                host.measure("wasted seconds", host.knobs.number(f"{step.name}-time"))
                return Response(f"{step.calls}: {problem}", status_code=502)
        return Response(status_code=204)

    await serve_http(host, Starlette(routes=[Route("/videos", take, methods=["POST"])]))


async def call(http: httpx.AsyncClient, other: str, video: Event) -> str:
    """Have another service do its part, and wait until it has. Returns what went wrong, "" if nothing."""
    try:
        return problem_of(await http.post(f"http://{other}/videos", content=video.to_json()))
    except httpx.TransportError as error:
        return type(error).__name__


async def take_from_topic(host: Host, step: Step, deal_with: DealWith) -> None:
    """Deal with what the service before has written, in one's own time. How far one has come is on one's own disk.

    After a turn to the chain it goes on for a while, to deal with what is still on its way here.
    """
    reader, producer, pauses = LogReader(host, step.reads), KafkaProducer(host), Pauses(host)
    while True:
        if host.knobs["coupling"] == "topics":
            host.disk["listens until"] = trio.current_time() + LISTENS_ON_S
        elif host.disk.get("listens until", 0.0) <= trio.current_time():
            await wait_turned(host, "coupling")
            continue
        offset = host.disk.get("offset", 0)
        try:
            found = await reader.fetch(offset, max_wait_s=FETCH_WAIT_S)
        except (OutOfRange, KafkaConnectionLost) as error:
            await pauses.pause(error)
            continue
        pauses.reset()
        for record in found.records:
            host.state("backlog", found.end - record.offset)
            await deal_with(Event.from_json(record.value))
            if step.writes:
                await producer.send(step.writes, Record(record.value))
            host.disk["offset"] = record.offset + 1
        if found.records:
            host.state("backlog", 0)
            host.disk["listens until"] = trio.current_time() + LISTENS_ON_S


async def broker(host: Host) -> None:
    """Three topics. It knows nothing of videos, nor who is up and who is not."""
    await KafkaBroker(host, {step.writes: lambda: 1 for step in STEPS if step.writes}).serve()


# --- the lesson ---------------------------------------------------------------------------------------------------------

KILL_COMPRESS, KILL_FORMAT, KILL_NOTIFY, KILL_UPLOAD, KILL_BROKER = (
    Fault(f"kill-{name}", f"kill {name}", key, f"kill {name}", help, off=f"restart {name}")
    for name, key, help in (
        ("compress", "c", "a chain breaks here; a topic keeps what compress should do until it is back"),
        ("format", "f", "a chain breaks here, after two of four steps; a topic keeps what format should do"),
        ("notify", "o", "in a chain the last step fails, and with it the whole upload"),
        ("upload", "u", "what the client talks to itself: no coupling helps against that"),
        ("broker", "k", "with topics, what everybody depends on; its logs are on its disk"),
    )
)

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS
ARRIVALS, RATE, _, SIZE = EVENT_KNOBS

LESSON = Lesson(
    name="pipeline",
    title="Microservices: topics or chain",
    purpose="Upload, compress, format, notify, over topics or as a chain of requests: kill a service, and see who waits.",
    hosts=(
        HostSpec("client", client), HostSpec(STEPS[0].name, service(STEPS[0])),
        HostSpec("broker", broker),  # in the middle: it has to do with all of them
        *(HostSpec(step.name, service(step)) for step in STEPS[1:]),
    ),
    protocols={80: Http1Dissector, PORT: KafkaDissector},
    network={"latency": 0.05},
    until_s=40.0,
    knobs=(
        Choice("coupling", "coupling", "topics", ("chain", "topics"),
               "each service calls the next and waits, or writes to a topic that the next one reads"),
        Number("upload-time", "upload takes", "s", 0.2, 0.0, 60.0, 0.1, "how long upload works on a video"),
        Number("compress-time", "compress takes", "s", 0.8, 0.0, 60.0, 0.1, "how long compress works on a video"),
        Number("format-time", "format takes", "s", 0.5, 0.0, 60.0, 0.1, "how long format works on a video"),
        Number("notify-time", "notify takes", "s", 0.1, 0.0, 60.0, 0.1, "how long notify works on a video"),
        replace(RATE, title="uploads", maximum=20.0, help="how many videos are uploaded a second, on average"),
        replace(ARRIVALS, title="uploads come", default="fixed", choices=("fixed", "poisson"), help="evenly, or at random"),
        replace(SIZE, title="video", help="bytes of one video: few, for a video"),
        replace(READ_TIMEOUT, default=10.0), CONNECT_TIMEOUT,
    ),
    faults=(KILL_COMPRESS, KILL_FORMAT, KILL_NOTIFY, KILL_UPLOAD, KILL_BROKER),
    metrics=("measured:waiting seconds", "measured:uploads", "measured:failed uploads", "events-handled", "events-waiting",
             "event-delay", "event-delay-max", "measured:wasted seconds", "events-duplicated", "bytes"),
    beats=(
        Beat(EventLost, "An upload fails. {reason}."),
        Beat(HostCrashed, "{host} is down. In a chain, every upload fails until it is back; with topics, its work waits for it.",
             {"host": "compress|format|notify"}),
        Beat(HostCrashed, "The broker is down: with topics, that is what nobody can do without. A chain has no use for it.",
             {"host": "broker"}),
        Beat(Measured, "{host} had done its part, and it was for nothing: a service behind it failed.", {"what": "wasted"}),
        Beat(EventHandled, "Video {event} is through: its owner is notified."),
        Beat(MessageStarted, "202 Accepted: the video is stored, and a topic knows of it. The client is free to go; the work goes"
             " on without it.", {"label": "202"}),
        Beat(StateChanged, "The client waited {value}. In a chain that is the sum of all services and of all the way there and"
             " back; with topics, that of one.", {"key": "waited"}),
        Beat(MessageStarted, "{label}, said {sender} to {receiver}: the whole chain in front of it fails with it.",
             {"label": "502"}),
        Beat(MessageStarted, "{sender} says what it has done, to whom it may concern: {label}.", {"label": "Produce [a-z]+/"}),
        Beat(MessageStarted, "{sender} calls {receiver}, and waits for it.",
             {"label": "POST", "sender": "upload|compress|format"}),
    ),
    try_next=(
        "Kill format and restart it after 10 s: no upload fails, nobody waits longer, and it works off what has come meanwhile.",
        "Set coupling to chain: a client waits 2 s for its upload and not 0.4 s. The video is ready about as late as before.",
        "Set coupling to chain and kill format: all uploads fail, after compress has worked on each for nothing.",
        "Kill the broker: now uploads wait for it. Loose coupling has a hub, and that one should not die.",
        "Set coupling to chain and kill the broker: nobody notices. A chain has other troubles.",
        "Let 1.5 videos a second come: compress cannot keep up, the backlog waits in a topic, and clients wait as before.",
        "Do the same with the chain: every client waits for the queue in front of compress, longer and longer.",
        "Let compress take 12 s with the chain: the client's patience ends at 10 s, the work does not.",
        "Turn coupling from topics to chain: the services still finish what is in the topics, and from then on only answer.",
    ),
)  # fmt: skip
