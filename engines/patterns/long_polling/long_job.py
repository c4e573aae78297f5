"""A long job by long polling: the question whether it is done is held until it is, or until the hold is over.

202 Accepted and Location as in RFC 9110, sections 15.3.3 and 10.2.2; 204 says “not yet”.
"""

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engines.lab.facts import EventBorn, EventHandled, Measured, MessageStarted, TimedOut
from engines.lab.host import Host
from engines.lab.knobs import Number
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.jobs import JOB_KNOBS, Jobs, event_when_done
from engines.patterns.long_polling.held import HOLD_KNOB, hold
from engines.patterns.long_polling.notifications import NO_ANSWER_BEAT
from engines.patterns.long_polling.retry import Retry
from engines.patterns.troubles import CUT_ANSWERS, KILL_CLIENT, KILL_SERVER, LOSE_RESPONSE, UNPLUG_CLIENT
from engines.patterns.workload import LONG_JOB
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Accepts videos at once; answers the question about one when it is done."""
    jobs = Jobs(host)

    async def take_video(request: Request) -> Response:
        await request.body()
        job = jobs.accept()
        return Response(job.to_json(), 202, {"Location": f"/jobs/{job.handle}"}, "application/json")

    async def tell_when_done(request: Request) -> Response:
        job = jobs.find(request.path_params["handle"])
        if job is None:
            return Response(status_code=404)
        if not job.done:
            await hold(host, request, lambda: jobs.wait_done(job), host.knobs.number("hold"))
        return Response(job.to_json(), media_type="application/json") if job.done else Response(status_code=204)

    routes = [Route("/videos", take_video, methods=["POST"]), Route("/jobs/{handle}", tell_when_done)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(jobs.work)
        await serve_http(host, Starlette(routes=routes))


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Uploads a video, waits to be told that it is converted, and after a while uploads the next."""
    async with http_client(host, base_url="http://server") as http:
        while True:
            handle = await upload(host, http)
            if await wait_done(host, http, handle):
                host.measure("videos done")
                await trio.sleep(host.knobs.number("pause"))
            else:
                host.measure("jobs lost")
                host.note("the server knows of no such job: all over again")


async def upload(host: Host, http: httpx.AsyncClient) -> str:
    """Hand a video over, again if need be, until the server has accepted it. Returns where to ask about it."""
    video, retry = host.rng.randbytes(int(host.knobs.number("video-size"))), Retry(host)
    while True:
        try:
            response = await http.post("/videos", content=video, headers={"Content-Type": "video/mp4"})
        except httpx.TransportError as error:
            await retry.pause(type(error).__name__)
        else:
            host.measure("uploads")
            return response.headers["Location"]


async def wait_done(host: Host, http: httpx.AsyncClient, handle: str) -> bool:
    """Ask until the answer is more than “not yet”. False when the server has never heard of the job, or has forgotten it."""
    retry = Retry(host)
    while True:
        host.measure("polls")
        try:
            response = await http.get(handle)
        except httpx.ReadTimeout:
            continue  # perhaps it just takes long: ask again, on a new connection
        except httpx.TransportError as error:
            await retry.pause(type(error).__name__)
            continue
        retry.reset()
        if response.status_code == 404:
            return False
        if response.status_code == 200 and (event := event_when_done(response.content)) is not None:
            host.event_handled(event)
            return True


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS

LESSON = Lesson(
    name="long-job",
    title="A long job",
    purpose="The client asks once whether its video is done, and the answer waits for the video: see how soon the client knows.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: Http1Dissector},
    network={"latency": 0.15},
    until_s=30.0,
    knobs=(
        HOLD_KNOB,
        *JOB_KNOBS,
        Number("pause", "pause", "s", 1.0, 0.1, 600.0, 1.0, "the client's pause before it uploads the next video"),
        READ_TIMEOUT,
        CONNECT_TIMEOUT,
    ),
    faults=(KILL_SERVER, KILL_CLIENT, UNPLUG_CLIENT, CUT_ANSWERS, LOSE_RESPONSE),
    metrics=("measured:videos done", "measured:polls", "empty", "event-delay", "event-delay-max", "bytes",
             "bytes-per-event-byte", "measured:jobs lost", "open"),
    beats=(
        Beat(Measured, "404: the server knows nothing of this job any more. All that the client can do is to begin anew.",
             {"what": "jobs lost"}),
        Beat(EventHandled, "The client knows that its video is done, one transit after it was."),
        Beat(EventBorn, "The video is done, and the question about it is already here: the answer leaves at once."),
        Beat(TimedOut, "Silence for {after_s} s, and the client's own read timeout ends the wait: it must be longer than the"
             " hold.", {"what": "read"}),
        NO_ANSWER_BEAT,
        Beat(MessageStarted, "202 Accepted, at once: the work is not done, but the client has a handle for it.",
             {"label": "202"}),
        Beat(MessageStarted, "204: not yet, and the hold is over. The client asks again at once.", {"label": "204"}),
        Beat(MessageStarted, "{sender} shows the handle: tell me when it is done. The server keeps the question.",
             {"label": "GET /jobs"}),
    ),
    try_next=(
        "Hold for 1 s: more questions, and the client knows just as soon.",
        "Hold for 10 s: the client's read timeout of 5 s comes first, and it must connect and ask anew.",
        "Hold for 60 s with a read timeout of 90 s: one question for each video.",
        "Let the job take 3.4 s: it ends in the gap between two questions, and the answer takes up to three transits.",
        "Kill the server and restart it: the client notices at once, and its handle was only in memory.",
        "Keep the handles in a store, kill the server and restart it: late, but nothing is lost.",
        "Unplug the client while the server works: the answer waits in the server's TCP until the cable is back.",
    ),
    workload=LONG_JOB,
)  # fmt: skip
