"""A long job: the server accepts a video at once with a handle for it, and the client asks again and again whether it is done.

202 Accepted says that the work is not done yet, and should point to something that tells how it stands (RFC 9110, section
15.3.3). Here that is the resource which Location names; by convention, for RFC 9110 (section 10.2.2) gives Location a
meaning only with 201 and 3xx.
"""

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engines.lab.facts import EventBorn, EventHandled, Measured, MessageStarted
from engines.lab.host import Host
from engines.lab.knobs import Number
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.jobs import JOB_KNOBS, Job, Jobs, event_when_done
from engines.patterns.short_polling.pauses import pause
from engines.patterns.troubles import CUT_ANSWERS, KILL_CLIENT, KILL_SERVER, LOSE_RESPONSE, UNPLUG_CLIENT
from engines.patterns.workload import LONG_JOB
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Accepts videos and answers questions about them, while a worker converts them."""
    jobs = Jobs(host)

    async def take_video(request: Request) -> Response:
        await request.body()
        job = jobs.accept()
        return Response(job.to_json(), 202, {"Location": f"/jobs/{job.handle}"}, "application/json")

    async def tell(request: Request) -> Response:
        return answer_about(jobs.find(request.path_params["handle"]))

    routes = [Route("/videos", take_video, methods=["POST"]), Route("/jobs/{handle}", tell)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(jobs.work)
        await serve_http(host, Starlette(routes=routes))


def answer_about(job: Job | None) -> Response:
    """404 when nobody knows of such a job, 204 while it is not done, and its state when it is."""
    if job is None:
        return Response(status_code=404)
    return Response(job.to_json(), media_type="application/json") if job.done else Response(status_code=204)


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Uploads a video, polls until it is converted, and after a while uploads the next."""
    async with http_client(host, base_url="http://server") as http:
        while True:
            accepted = await upload(host, http)
            handle = accepted.headers["Location"]
            settled = False
            while not settled:
                await pause(host, host.knobs.number("interval"))
                settled = makes_sense_of(host, await ask(host, http, handle))
            await trio.sleep(host.knobs.number("pause"))


async def upload(host: Host, http: httpx.AsyncClient) -> httpx.Response:
    """Hand a video over, again if need be, until the server has accepted it."""
    video = host.rng.randbytes(int(host.knobs.number("video-size")))
    while True:
        try:
            response = await http.post("/videos", content=video, headers={"Content-Type": "video/mp4"})
        except httpx.TransportError as error:
            host.note(f"perhaps not uploaded: {type(error).__name__}")
        else:
            if response.status_code == 202:
                host.measure("uploads")
                return response
        await trio.sleep(1.0)


async def ask(host: Host, http: httpx.AsyncClient, handle: str) -> httpx.Response | None:
    """One poll; None when there came no answer."""
    host.measure("polls")
    try:
        return await http.get(handle)
    except httpx.TransportError as error:
        host.note(f"no answer: {type(error).__name__}")
        return None


def makes_sense_of(host: Host, answer: httpx.Response | None) -> bool:
    """Deal with the answer to a poll. True when there is nothing left to ask."""
    if answer is not None and answer.status_code == 404:
        host.measure("jobs lost")
        host.note("the server knows of no such job: all over again")
        return True
    event = event_when_done(answer.content) if answer is not None and answer.status_code == 200 else None
    if event is None:
        return False
    host.event_handled(event)
    host.measure("videos done")
    return True


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS
INTERVAL_KNOB = Number(
    "interval", "polls every", "s", 2.0, 0.05, 60.0, 0.5, "the client's pause between an answer and the next poll"
)
PAUSE_KNOB = Number("pause", "pause", "s", 1.0, 0.1, 600.0, 1.0, "the client's pause before it uploads the next video")

LESSON = Lesson(
    name="long-job",
    title="A long job",
    purpose="The server takes the video and says “accepted” at once: see how often the client asks, and how late it learns.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: Http1Dissector},
    network={"latency": 0.15},
    until_s=30.0,
    knobs=(INTERVAL_KNOB, *JOB_KNOBS, PAUSE_KNOB, READ_TIMEOUT, CONNECT_TIMEOUT),
    faults=(KILL_SERVER, KILL_CLIENT, UNPLUG_CLIENT, CUT_ANSWERS, LOSE_RESPONSE),
    metrics=("measured:videos done", "measured:polls", "empty", "event-delay", "event-delay-max", "bytes",
             "bytes-per-event-byte", "measured:jobs lost", "open"),
    beats=(
        Beat(Measured, "404: the server knows nothing of this job any more. All that the client can do is to begin anew.",
             {"what": "jobs lost"}),
        Beat(EventHandled, "The client asks at last, and learns that its video is done. What it waited since then is the price"
             " of asking now and then."),
        Beat(EventBorn, "The video is done. The server knows it, nobody else does, and it may not speak before it is asked."),
        Beat(MessageStarted, "202 Accepted, at once: the work is not done, but the client has a handle for it and is free to"
             " go.", {"label": "202"}),
        Beat(MessageStarted, "“Not yet.” A request and a response, to learn nothing.", {"label": "204"}),
        Beat(MessageStarted, "{sender} shows the handle and asks: is it done?", {"label": "GET /jobs"}),
    ),
    try_next=(
        "Poll every 0.2 s: the client knows at once, and nearly all its questions were for nothing.",
        "Poll every 10 s: two questions at most, and the video lies there done while nobody knows.",
        "Let the job time vary by 100 %: the wait after the end is anything between a transit and the interval, evenly.",
        "Set the interval to 4.8 s: the server closes the idle connection just as the next poll is on its way to it.",
        "Kill the server and restart it: the handles were in its memory, and the answer is 404.",
        "Keep the handles in a store, kill the server and restart it: late, but nothing is lost.",
        "Unplug the client while the server works: the work goes on, because nobody has to wait for it.",
    ),
    workload=LONG_JOB,
)  # fmt: skip
