"""The client goes away while the server works, and comes back: all that it needs is the handle, if it wrote it down."""

import trio

from engines.lab.facts import EventBorn, EventHandled, MessageStarted, Noted, WaitKind
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.jobs import JOB_KNOBS
from engines.patterns.short_polling.long_job import ask, makes_sense_of, server, upload
from engines.patterns.short_polling.pauses import pause
from engines.patterns.troubles import KILL_CLIENT, KILL_SERVER, LOSE_RESPONSE, UNPLUG_CLIENT
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS, http_client

# --- the client (the server is that of the long job) ----------------------------------------------------------------------


async def phone(host: Host) -> None:
    """Somebody opens the app, looks at it for a while, puts the phone away, and opens it again."""
    while True:
        with trio.move_on_after(host.knobs.number("stays")):
            await app(host)
        host.note("the app is closed")
        with host.waiting("app closed", WaitKind.TIMER):
            await trio.sleep(host.knobs.number("stays-away"))
        host.note("the app is opened")


async def app(host: Host) -> None:
    """Goes on with the video that it has a handle for; without one it begins anew. What is not on disk ends with it."""
    notes = {"memory": dict[str, str](), "disk": host.disk}
    async with http_client(host, base_url="http://server") as http:
        while True:
            kept = notes[str(host.knobs["handle-noted"])]
            if "handle" not in kept:
                accepted = await upload(host, http)
                kept["handle"] = accepted.headers["Location"]
            elif makes_sense_of(host, await ask(host, http, kept["handle"])):
                del kept["handle"]
            await pause(host, host.knobs.number("interval"))


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS

LESSON = Lesson(
    name="leave-and-return",
    title="Leave and return",
    purpose="The phone is put away while the server works: see what the client needs to remember to get its video.",
    hosts=(HostSpec("client", phone, "phone"), HostSpec("server", server)),
    protocols={80: Http1Dissector},
    network={"latency": 0.15},
    until_s=30.0,
    knobs=(
        Choice("handle-noted", "handle noted", "disk", ("disk", "memory"), "where the app keeps the handle of its video"),
        Number("stays", "app open for", "s", 3.0, 0.1, 600.0, 1.0, "how long the app is open"),
        Number("stays-away", "closed for", "s", 4.0, 0.1, 600.0, 1.0, "how long it is closed then"),
        Number("interval", "polls every", "s", 1.0, 0.05, 60.0, 0.5, "the app's pause between an answer and the next poll"),
        *JOB_KNOBS,
        READ_TIMEOUT,
        CONNECT_TIMEOUT,
    ),
    faults=(KILL_CLIENT, KILL_SERVER, UNPLUG_CLIENT, LOSE_RESPONSE),
    metrics=("measured:uploads", "measured:videos done", "events-waiting", "measured:polls", "empty",
             "event-delay-max", "work-finished", "connections", "open"),
    beats=(
        Beat(Noted, "The app is closed: no connection, no timer, nothing that a server could reach. The work goes on.",
             {"text": "the app is closed"}),
        Beat(Noted, "The app is open again. If it knows its handle it can ask at once; if not, it has to upload again.",
             {"text": "the app is opened"}),
        Beat(EventHandled, "The phone shows its handle and gets its video. Nobody held a connection open for it."),
        Beat(EventBorn, "The video is done, whether or not anybody is there. It waits for whoever brings the handle."),
        Beat(MessageStarted, "A handle, at once. Whoever writes it down may go away.", {"label": "202"}),
        Beat(MessageStarted, "A video goes to the server.", {"label": "POST"}),
    ),
    try_next=(
        "Keep the handle in memory only: the app uploads again whenever it is opened, and never sees a video.",
        "Kill the client and restart it after a while: what is on its disk is enough to go on.",
        "Let the app be closed for 20 s: nothing is lost, and nobody waited.",
        "Unplug the client instead of closing the app: polls go nowhere, and time limits end them.",
        "Kill the server while the app is closed, and restart it: now it is the server that has forgotten.",
        "Keep the server's handles in a store and do it again: both may leave and return.",
    ),
)  # fmt: skip
