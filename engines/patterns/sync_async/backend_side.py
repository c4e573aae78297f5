"""The backend's choice: to work inside the request, or to accept it, hand out a handle, and let a queue of workers do it.

202 Accepted promises nothing but that the request was taken (RFC 9110, section 15.3.3). A client may say what it would like:
`Prefer: respond-async, wait=10` asks for an answer that is not kept waiting for longer than 10 s (RFC 7240, sections 4.1 and
4.3). The server may ignore that; when it does as asked, `Preference-Applied` says so (section 3).
"""

import re
from dataclasses import dataclass, field, replace

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engines.lab.facts import Measured, MessageStarted, TimedOut, WaitKind, WaitStarted, WorkStarted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.sync_async.crew import Crew
from engines.patterns.troubles import CUT_ANSWERS, KILL_SERVER, LOSE_RESPONSE
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http

# --- the server ---------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Job:
    """One piece of work; `over` when it is done."""

    name: str
    over: trio.Event = field(default_factory=trio.Event)

    @property
    def done(self) -> bool:
        return self.over.is_set()


async def server(host: Host) -> None:
    """Converts videos: inside the request, behind a queue, or as the client would like it."""
    jobs: dict[str, Job] = {}
    workers = Crew(host, lambda: host.knobs.number("workers"))

    async def convert(job: Job) -> None:
        async with workers.member(f"{job.name} in line"):
            await host.work(f"convert {job.name}", host.knobs.number("job-time"))
        host.measure("conversions")
        job.over.set()

    async def take(request: Request) -> Response:
        video = (await request.body())[:6].decode("ascii", "replace").strip()
        jobs[video] = job = Job(video)
        match host.knobs["working"]:
            case "inside the request":
                await convert(job)
            case "behind a queue":
                nursery.start_soon(convert, job)
            case "as the client prefers":
                nursery.start_soon(convert, job)
                with trio.move_on_after(patience_s(request)):
                    await job.over.wait()
        if job.done:
            return Response(f"{video} is converted\n", 200, media_type="text/plain")
        applied = {"Preference-Applied": "respond-async"} if host.knobs["working"] == "as the client prefers" else {}
        return Response(status_code=202, headers={"Location": f"/videos/{video}", **applied})

    async def tell(request: Request) -> Response:
        job = jobs.get(request.path_params["name"])
        if job is None:
            return Response(status_code=404)
        return (
            Response(f"{job.name} is converted\n", media_type="text/plain") if job.done else Response(status_code=204)
        )

    routes = [Route("/videos", take, methods=["POST"]), Route("/videos/{name}", tell)]
    async with trio.open_nursery() as nursery:
        await serve_http(host, Starlette(routes=routes))


def patience_s(request: Request) -> float:
    """How long the client would like to wait for the answer itself: for ever, unless it prefers otherwise."""
    preferences = request.headers.get("prefer", "")
    if "respond-async" not in preferences:
        return float("inf")
    wait = re.search(r"\bwait=(\d+)", preferences)
    return float(wait[1]) if wait else 0.0


# --- the clients --------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Has one video after another converted, and pauses in between."""
    number = 0
    await trio.sleep(host.rng.random())  # people do not begin all at once
    async with http_client(host, base_url="http://server") as http:
        while True:
            number += 1
            began_s = trio.current_time()
            await have_converted(host, http, f"{host.name}{number}")
            host.measure("videos done")
            host.measure("waited seconds", trio.current_time() - began_s)
            await trio.sleep(host.knobs.number("pause"))


async def have_converted(host: Host, http: httpx.AsyncClient, video: str) -> None:
    """Hand a video over, and over again, until it is converted."""
    while True:
        headers = {"Prefer": f"respond-async, wait={int(host.knobs.number('wait'))}"}
        try:
            with host.waiting(f"hand over {video}"):
                response = await http.post("/videos", content=video.ljust(1000), headers=headers)
        except httpx.TransportError as error:
            host.measure("given up")
            host.note(f"no answer about {video}: {type(error).__name__}; all over again")
            await trio.sleep(0.5)
            continue
        if response.status_code == 200 or await done_later(host, http, response.headers["Location"]):
            return
        host.measure("jobs lost")


async def done_later(host: Host, http: httpx.AsyncClient, handle: str) -> bool:
    """Ask now and then; the time in between is the client's own. False when nobody knows of the job any more."""
    while True:
        with host.waiting("free to do other things", WaitKind.TIMER):
            await trio.sleep(host.knobs.number("poll-interval"))
        host.measure("polls")
        try:
            response = await http.get(handle)
        except httpx.TransportError as error:
            host.note(f"no answer about {handle}: {type(error).__name__}")
            continue
        if response.status_code != 204:
            return response.status_code == 200


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS
PEOPLE = ("ann", "bob", "cyd")

LESSON = Lesson(
    name="backend-side",
    title="The backend's choice",
    purpose="Three clients, one worker: the server works inside the request, or accepts it and lets a queue do the work.",
    hosts=(*(HostSpec(name, client) for name in PEOPLE), HostSpec("server", server)),
    protocols={80: Http1Dissector},
    network={"latency": 0.1},
    until_s=40.0,
    knobs=(
        Choice("working", "the server works", "inside the request",
               ("inside the request", "behind a queue", "as the client prefers"),
               "whether it answers when the work is done, at once, or as the header Prefer says"),
        Number("job-time", "job time", "s", 1.5, 0.1, 60.0, 0.5, "how long one conversion takes"),
        Number("workers", "workers", "", 1, 1, 16, 1, "conversions at a time; the others stand in line", integer=True),
        Number("wait", "Prefer: wait", "", 3, 0, 60, 1, "Prefer: respond-async, wait=N: the seconds that clients like to wait",
               integer=True),
        Number("poll-interval", "polls every", "s", 1.0, 0.1, 60.0, 0.5, "how often a client with a handle asks"),
        Number("pause", "pause", "s", 1.0, 0.1, 60.0, 0.5, "a client's pause before its next video"),
        READ_TIMEOUT,
        CONNECT_TIMEOUT,
    ),
    faults=(
        KILL_SERVER,
        Fault("kill-client", "kill ann", "c", "kill ann", "ann's program dies; nobody waits for her video any more",
              off="restart ann"),
        Fault("unplug-client", "unplug ann", "u", "unplug ann", "ann's cable is out: both ends hear silence, and no error",
              off="plug ann"),
        replace(CUT_ANSWERS, title="cut server>ann", on="cut server>ann", off="restore server>ann",
                help="what the server sends to ann is lost, what she sends arrives"),
        LOSE_RESPONSE,
    ),
    metrics=("measured:videos done", "measured:conversions", "delay", "delay-max", "measured:given up", "measured:polls",
             "measured:jobs lost", "measured:waited seconds", "bytes"),
    beats=(
        Beat(TimedOut, "{host} gives up after {after_s} s of silence. The server works on, for nobody, and is asked again.",
             {"what": "read"}),
        Beat(Measured, "404: the handle means nothing any more. It was in the server's memory.", {"what": "jobs lost"}),
        Beat(MessageStarted, "202 Accepted: not done, but taken. {receiver} has a handle, and is free.", {"label": "202"}),
        Beat(MessageStarted, "200: done. {receiver} has waited for it all the time, or has just asked at the right moment.",
             {"label": "200"}),
        Beat(MessageStarted, "Not yet. A question for nothing, but a cheap one.", {"label": "204"}),
        Beat(WaitStarted, "{label}: all workers are busy. Whether somebody waits for it at the other end, the line cannot tell.",
             {"host": "server"}),
        Beat(WorkStarted, "A worker begins to {label}.", {"host": "server"}),
    ),
    try_next=(
        "Work behind a queue: every POST is answered in one round trip, and its client is free to go.",
        "Let a job take 2 s: the third in line times out after 5 s, asks again, and soon all work is done for nobody.",
        "Let a job take 2 s behind a queue: nobody times out, and as many videos are done as were converted.",
        "Work as the client prefers, with 3 s: quick ones get their 200 at once, the others a 202.",
        "Prefer wait=0: the same as a queue, on the client's wish. Preference-Applied says that it was granted.",
        "Give it 3 workers: inside the request is good enough, as long as there are as many workers as clients.",
        "Work behind a queue, kill the server and restart it: 404. A queue in memory is a promise in memory.",
        "Poll every 0.2 s behind a queue: known sooner, for many more requests.",
    ),
)  # fmt: skip
