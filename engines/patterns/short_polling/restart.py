"""The server is restarted while it works. Are the handles that it gave away still worth anything?"""

from dataclasses import replace

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engines.lab.facts import EventHandled, Measured, MessageStarted, Noted, WorkStarted
from engines.lab.host import Host
from engines.lab.knobs import Number
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.jobs import HANDLES_KNOB, JOB_SPREAD_KNOB, VIDEO_SIZE_KNOB, Jobs
from engines.patterns.short_polling.long_job import PAUSE_KNOB, answer_about, client
from engines.patterns.short_polling.pauses import as_seconds
from engines.patterns.troubles import CUT_ANSWERS, KILL_SERVER, LOSE_RESPONSE, UNPLUG_CLIENT
from engines.patterns.workload import JOB_TIME_KNOB
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS
from engines.wire.http_server import serve_http

# --- the server (the client is that of the long job) ----------------------------------------------------------------------


async def server(host: Host) -> None:
    """A web server, and behind it the video service, which ends and starts again with every deployment."""
    jobs: Jobs | None = None

    async def video_service() -> None:
        nonlocal jobs
        while True:
            jobs = Jobs(host)
            with trio.move_on_after(host.knobs.number("deployed-every")):
                await jobs.work()
            jobs = None
            host.note("a deployment: the service ends, and with it all that it had in memory")
            host.measure("deployments")
            await host.work("start the new version", START_S)

    async def take_video(request: Request) -> Response:
        await request.body()
        if jobs is None:
            return Response(status_code=503, headers={"Retry-After": as_seconds(START_S)})
        job = jobs.accept()
        return Response(job.to_json(), 202, {"Location": f"/jobs/{job.handle}"}, "application/json")

    async def tell(request: Request) -> Response:
        if jobs is None:
            return Response(status_code=503, headers={"Retry-After": as_seconds(START_S)})
        return answer_about(jobs.find(request.path_params["handle"]))

    routes = [Route("/videos", take_video, methods=["POST"]), Route("/jobs/{handle}", tell)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(video_service)
        await serve_http(host, Starlette(routes=routes))


START_S = 0.5

# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS

LESSON = Lesson(
    name="restart",
    title="A restart",
    purpose="The video service is deployed anew every 7 s: see what a handle is worth when only memory knew it.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: Http1Dissector},
    network={"latency": 0.15},
    until_s=30.0,
    knobs=(
        HANDLES_KNOB,
        Number("deployed-every", "deployed every", "s", 7.0, 0.5, 3600.0, 1.0, "how long until the service is started anew"),
        replace(JOB_TIME_KNOB, default=4.0),
        JOB_SPREAD_KNOB,
        Number("interval", "polls every", "s", 1.0, 0.05, 60.0, 0.5, "the client's pause between an answer and the next poll"),
        VIDEO_SIZE_KNOB,
        PAUSE_KNOB,
        READ_TIMEOUT,
        CONNECT_TIMEOUT,
    ),
    faults=(KILL_SERVER, UNPLUG_CLIENT, CUT_ANSWERS, LOSE_RESPONSE),
    metrics=("measured:videos done", "measured:jobs lost", "measured:deployments", "measured:uploads", "measured:polls",
             "wasted", "event-delay-max", "errors"),
    beats=(
        Beat(Measured, "404: the handle means nothing any more. The video has to be uploaded and converted from the"
             " beginning, and the client has waited for nothing.", {"what": "jobs lost"}),
        Beat(Noted, "A deployment: the service ends, and all that it had in memory is gone. What is written down elsewhere"
             " stays.", {"text": "a deployment"}),
        Beat(EventHandled, "The video is done. Its service lived long enough, or had a store to go on from."),
        Beat(WorkStarted, "The service works on a video. If it knows it from the store, this may be the second time.",
             {"label": "convert"}),
        Beat(MessageStarted, "503 with Retry-After: nobody is here just now. That is not yet bad news.", {"label": "503"}),
        Beat(MessageStarted, "404 Not Found: nobody has ever heard of this job.", {"label": "404"}),
        Beat(MessageStarted, "202 Accepted. A promise; where is it written down?", {"label": "202"}),
    ),
    try_next=(
        "Keep the handles in a store: the same restarts, no job lost, no video uploaded twice.",
        "Keep them in a store and let jobs take 9 s: each deployment comes first, and the video is never done.",
        "Kill the server and restart it: the same loss, with the connections gone as well.",
        "Deploy every 60 s: memory seems to do. It is a matter of time.",
        "Kill the server with handles in the store and restart it at once: the client sees an error, and then its job.",
        "Poll every 10 s: with handles in memory the client learns of its loss only then.",
    ),
)  # fmt: skip
