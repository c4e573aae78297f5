"""The server steers its clients: Retry-After says when it is worth asking, and 429 that it was not.

429 Too Many Requests: RFC 6585, section 4. How Retry-After is written: `pauses`.
"""

from dataclasses import replace

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engines.lab.facts import EventBorn, EventHandled, Measured, MessageStarted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number, Toggle
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.jobs import HANDLES_KNOB, JOB_SPREAD_KNOB, VIDEO_SIZE_KNOB, Jobs
from engines.patterns.short_polling.long_job import PAUSE_KNOB, answer_about, ask, makes_sense_of, upload
from engines.patterns.short_polling.pauses import as_date, as_seconds, pause, read_retry_after
from engines.patterns.troubles import CUT_ANSWERS, KILL_SERVER, LOSE_RESPONSE, UNPLUG_CLIENT
from engines.patterns.workload import JOB_TIME_KNOB
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """As in the long job; but it says when to come back, and turns away whoever comes too often."""
    jobs = Jobs(host)
    told_s: dict[str, float] = {}

    def come_back_in(wait_s: float) -> dict[str, str]:
        """The header field that says so, in the form that the knob asks for."""
        if wait_s <= 0 or host.knobs["retry-after"] == "none":
            return {}
        as_a_date = host.knobs["retry-after"] == "date"
        return {"Retry-After": as_date(wait_s, trio.current_time()) if as_a_date else as_seconds(wait_s)}

    async def take_video(request: Request) -> Response:
        await request.body()
        job = jobs.accept()
        headers = {"Location": f"/jobs/{job.handle}", **come_back_in(jobs.left_s(job))}
        return Response(job.to_json(), 202, headers, "application/json")

    async def tell(request: Request) -> Response:
        handle = request.path_params["handle"]
        now_s, allowed_s = trio.current_time(), told_s.get(handle, -60.0) + host.knobs.number("least-interval")
        if now_s < allowed_s:
            return Response(status_code=429, headers=come_back_in(allowed_s - now_s))
        told_s[handle] = now_s
        job = jobs.find(handle)
        answer = answer_about(job)
        if job is not None:
            answer.headers.update(come_back_in(jobs.left_s(job)))
        return answer

    routes = [Route("/videos", take_video, methods=["POST"]), Route("/jobs/{handle}", tell)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(jobs.work)
        await serve_http(host, Starlette(routes=routes))


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Waits as long as it is told, if it is told and obeys; otherwise as long as it likes."""

    def how_long(said: str | None) -> float:
        own_clock_s = trio.current_time() + host.knobs.number("clock-error")
        wanted_s = read_retry_after(said, own_clock_s) if host.knobs.on("obeys") else None
        return host.knobs.number("interval") if wanted_s is None else wanted_s

    async with http_client(host, base_url="http://server") as http:
        while True:
            accepted = await upload(host, http)
            handle, said = accepted.headers["Location"], accepted.headers.get("Retry-After")
            settled = False
            while not settled:
                await pause(host, max(LEAST_PAUSE_S, how_long(said)))
                answer = await ask(host, http, handle)
                settled = makes_sense_of(host, answer)
                said = answer.headers.get("Retry-After") if answer is not None else None
                if answer is not None and answer.status_code == 429:
                    host.measure("turned away")
            await trio.sleep(host.knobs.number("pause"))


LEAST_PAUSE_S = 0.05
"""Even when a date is over by its clock, a client does not ask without any pause."""

# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS

LESSON = Lesson(
    name="server-steers",
    title="The server steers",
    purpose="Only the server knows how long the job will take: see what a client saves that does what it is told.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: Http1Dissector},
    network={"latency": 0.15},
    until_s=30.0,
    knobs=(
        Choice("retry-after", "Retry-After", "seconds", ("seconds", "date", "none"), "how the server says when to come back"),
        Toggle("obeys", "client", True, "whether the client does as it is told", on="obeys", off="does not listen"),
        Number("interval", "polls every", "s", 0.5, 0.05, 60.0, 0.5, "the client's pause unless it is told, and obeys"),
        Number("least-interval", "allowed every", "s", 1.0, 0.0, 60.0, 0.5,
               "how often one may ask about a job; who asks sooner gets 429 (RFC 6585)"),
        Number("clock-error", "clock wrong by", "s", 0.0, -60.0, 60.0, 1.0, "how far the client's clock is ahead"),
        replace(JOB_TIME_KNOB, default=3.0),
        JOB_SPREAD_KNOB,
        VIDEO_SIZE_KNOB,
        HANDLES_KNOB,
        PAUSE_KNOB,
        READ_TIMEOUT,
        CONNECT_TIMEOUT,
    ),
    faults=(KILL_SERVER, UNPLUG_CLIENT, CUT_ANSWERS, LOSE_RESPONSE),
    metrics=("measured:videos done", "measured:polls", "empty", "measured:turned away", "event-delay",
             "event-delay-max", "bytes", "errors", "open"),
    beats=(
        Beat(Measured, "429 Too Many Requests. The client asked sooner than it may, and learned nothing but that.",
             {"what": "turned away"}),
        Beat(EventHandled, "The client learns that its video is done."),
        Beat(EventBorn, "The video is done, at the time that the server had foreseen."),
        Beat(MessageStarted, "202 Accepted, with a handle, and a word on when it will be worth asking: Retry-After.",
             {"label": "202"}),
        Beat(MessageStarted, "“Not yet.” A client that had done as it was told would not have asked.", {"label": "204"}),
        Beat(MessageStarted, "{sender} asks about its video.", {"label": "GET /jobs"}),
    ),
    try_next=(
        "Let the client not listen: it polls every 0.5 s, and every second time it is turned away with 429.",
        "Set the job time to 2.1 s: Retry-After counts whole seconds, so the client comes 0.9 s late.",
        "Say it with a date: no number of seconds, but again only full seconds, and two clocks that must agree.",
        "Say it with a date to a clock that is 3 s ahead: the date is over too early, and the client asks in vain.",
        "Say it with a date to a clock that is 3 s behind: the client believes it has time, and comes late.",
        "Do not listen, and allow a poll every 0 s: nobody is turned away, and the server looks up every time.",
        "Set the job time to 5 s: the server hangs up after 5 s of idleness, just as the client asks.",
        "Send no Retry-After: there is nothing to obey, and the client polls as it likes.",
    ),
)  # fmt: skip
