"""A TCP connection breaks, and HTTP quietly opens another: nothing that matters was in it. Unless somebody put it there.

TCP is stateful: both ends keep numbers, windows and timers, and when one has lost them the connection is over. HTTP on top of it
is stateless: each request can be understood in isolation (RFC 9110, section 3.3), so that the next one may as well take another
connection. A server that remembers by connection who asked takes that away; the same section forbids it, and names RFC 4559 for
having done it.
"""

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from engines.lab.facts import ConnectionOpening, ConnectionReset, Measured, MessageStarted, Noted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.troubles import KILL_SERVER, LOSE_REQUEST, LOSE_RESPONSE, MOVE_CLIENT, UNPLUG_CLIENT
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Has a form of several steps. Which is next, the request says; or the server remembers it, by connection."""
    step_of: dict[tuple[str, int], int] = {}  # the other end of a connection -> the last step that was taken there

    async def take_step(request: Request) -> Response:
        step = int(request.path_params["step"])
        if host.knobs["step-is-in"] == "connection":
            assert request.client is not None
            connection = (request.client.host, request.client.port)
            if step != step_of.get(connection, 0) + 1 and step != 1:
                return PlainTextResponse("which form? begin at step 1\n", 409)
            step_of[connection] = step
        await host.work(f"step {step}", host.knobs.number("work-time"))
        return PlainTextResponse(f"step {step} done\n")

    await serve_http(host, Starlette(routes=[Route("/steps/{step:int}", take_step, methods=["PUT"])]))


# --- the client ---------------------------------------------------------------------------------------------------------

PATIENCE = 4
"""How often the client tries a step before it lets the form be."""


async def client(host: Host) -> None:
    """Fills in one form after the other. PUT may be repeated (RFC 9110, section 9.2.2), so a step that failed is tried again."""
    async with http_client(host, base_url="http://server") as http:
        while True:
            step, failures = 1, 0
            while step <= host.knobs.number("steps") and failures < PATIENCE:
                try:
                    response = await http.put(f"/steps/{step}")
                except httpx.TransportError as error:
                    host.note(f"step {step}: {type(error).__name__}, so once more")
                    host.measure("tried again")
                    failures += 1
                    await trio.sleep(0.5)
                    continue
                if response.status_code == httpx.codes.CONFLICT:
                    host.measure("begun again")
                    step = 1
                else:
                    step, failures = step + 1, 0
                await trio.sleep(host.knobs.number("think-time"))
            host.measure("forms done" if step > host.knobs.number("steps") else "forms given up")
            host.disk["forms"] = host.disk.get("forms", 0) + 1
            host.state("forms", host.disk["forms"])


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS

LESSON = Lesson(
    name="tcp-breaks",
    title="TCP breaks, HTTP goes on",
    purpose="A form in five steps. Break its connection: the next step takes another, and the form does not notice.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: Http1Dissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Choice("step-is-in", "step is in", "request", ("request", "connection"),
               "where it stands which form and step this is: in each request, or in the server's memory of a connection"),
        Number("steps", "steps", "", 5, 1, 20, 1, "of a form", integer=True),
        Number("think-time", "think time", "s", 0.8, 0.0, 30.0, 0.2, "pause of the client between two steps"),
        Number("work-time", "work time", "s", 0.2, 0.0, 10.0, 0.1, "how long the server works on a step"),
        CONNECT_TIMEOUT,
        READ_TIMEOUT,
    ),
    faults=(LOSE_REQUEST, LOSE_RESPONSE, MOVE_CLIENT, KILL_SERVER, UNPLUG_CLIENT),
    metrics=("measured:forms done", "measured:begun again", "measured:tried again", "measured:forms given up", "connections",
             "resets", "timeouts", "responses", "delay-max"),
    beats=(
        Beat(ConnectionReset, "{host} learns that its connection is gone: {reason}. All that TCP knew is worth nothing now."),
        Beat(ConnectionOpening, "Another connection. The request that goes over it says all that is needed.",
             {"flow": "([2-9]|\\d\\d)"}),
        Beat(Noted, "{host}: {text}. PUT may be repeated without harm, whether it had arrived or not."),
        Beat(Measured, "The form is begun again: what had been filled in was remembered with a connection, and died with it.",
             {"what": "begun again"}),
        Beat(MessageStarted, "{label}: to the server this is a stranger, for it comes over another connection.",
             {"label": "409"}),
        Beat(MessageStarted, "{label}: a request that says which step it is. Any connection will do.", {"label": "PUT"}),
    ),
    try_next=(
        "Lose the next response: its connection is reset. The step is tried again on another, and the form goes on.",
        "Put the step into the connection, then lose a response at step 4: the form begins again at step 1.",
        "Move the client between two steps: its next request is answered with RST, and the one after that goes through.",
        "Move the client while the server works: the answer goes to the old address. Only the read timeout of 5 s ends the wait.",
        "Kill the server between two steps and restart it at once: httpx sees that the connection is closed and opens another.",
        "Unplug the client for 1 s: nothing breaks. TCP sends again until it gets through, and the form is a little late.",
    ),
)  # fmt: skip
