"""The backend is started anew while its clients are idle: does their work go on?"""

from dataclasses import replace

import trio

from engines.lab.facts import Measured, MessageStarted, Noted, StateChanged, WorkStarted
from engines.lab.host import Host
from engines.lab.knobs import Number
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.stateful_stateless.sessions import (
    CUSTOMERS_KNOB,
    PAUSE_KNOB,
    STATE_KNOB,
    customers,
    database,
    serve_shop,
)
from engines.patterns.troubles import KILL_SERVER, LOSE_RESPONSE, UNPLUG_CLIENT
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS

# --- the server ---------------------------------------------------------------------------------------------------------

START_S = 0.4


async def server(host: Host) -> None:
    """A shop that is deployed anew every now and then: the old version ends, and with it all that it had in memory."""
    while True:
        with trio.move_on_after(host.knobs.number("deployed-every")):
            await serve_shop(host)
        host.measure("deployments")
        host.note("a deployment ends this program")
        await host.work("start the new version", START_S)


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Customers at their browsers. Most of the time they think, and nothing moves."""
    await customers(host, "http://server")


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS

LESSON = Lesson(
    name="restart",
    title="A restart",
    purpose="The shop is started anew while its customers think: see who can go on, and where the state has to be for it.",
    hosts=(HostSpec("client", client), HostSpec("server", server), HostSpec("database", database)),
    protocols={80: Http1Dissector},
    network={"latency": 0.1},
    until_s=40.0,
    knobs=(
        STATE_KNOB,
        Number("deployed-every", "deployed every", "s", 7.0, 0.5, 3600.0, 1.0, "how long until the server is started anew"),
        CUSTOMERS_KNOB,
        PAUSE_KNOB,
        replace(READ_TIMEOUT, default=3.0),
        CONNECT_TIMEOUT,
    ),
    faults=(
        KILL_SERVER,
        Fault("kill-database", "kill database", "d", "kill database", "the database's program dies; its file stays",
              off="restart database"),
        UNPLUG_CLIENT,
        LOSE_RESPONSE,
    ),
    metrics=("measured:purchases", "measured:purchases broken", "measured:steps repeated", "measured:deployments", "requests",
             "bytes", "delay", "delay-p95", "errors"),
    beats=(
        Beat(Measured, "The server does not know this customer any more: what it knew was in its memory. All steps so far were"
             " for nothing.", {"what": "purchases broken"}),
        Beat(Measured, "A purchase is finished: every step found the state that the step before had left.",
             {"what": "purchases$"}),
        Beat(Noted, "A deployment. Nobody was being served at that moment, perhaps; and still somebody may lose something.",
             {"text": "a deployment"}),
        Beat(Noted, "{text}. The server is alive and helpless: its state is elsewhere, and elsewhere is down.",
             {"text": "the database"}),
        Beat(WorkStarted, "A new program begins with an empty memory.", {"label": "start"}),
        Beat(StateChanged, "Sessions in the server's memory: {value}. They last as long as its program.", {"key": "sessions"}),
        Beat(MessageStarted, "401: a cookie that means nothing to this program.", {"label": "401"}),
        Beat(MessageStarted, "The server asks the database who this is: one more round trip for every step, and the server itself"
             " need remember nothing.", {"label": "GET /sessions"}),
        Beat(MessageStarted, "The server writes down what it knows before it answers.", {"label": "PUT /sessions"}),
        Beat(MessageStarted, "The customer logs in: from here on there is something to remember.", {"label": "POST /login"}),
        Beat(MessageStarted, "The next step. The cookie comes along, and HTTP itself knows nothing of the step before.",
             {"label": "PUT", "sender": "client"}),
    ),
    try_next=(
        "Keep the state in a database: the same restarts, and no purchase is broken. Every step takes longer.",
        "Keep the state in a token: no purchase is broken, no session is looked up, and every request carries the cart.",
        "With the state in a database, kill the database: the server is stateless, the system is not.",
        "With the state in memory, deploy every 60 s: all is well for a minute. Then it is not.",
        "Kill the server and restart it at a moment when nothing moves: what breaks depends on the state alone.",
        "Turn the state from memory to token in mid-purchase: the old cookies are of no use to anybody.",
    ),
)  # fmt: skip
