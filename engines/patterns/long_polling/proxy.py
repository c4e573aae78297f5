"""A proxy in between, with a time limit of its own: a question that is held longer than that is answered 504.

Envoy's route timeout is 15 s unless configured: from the last byte of the request to the last of the response, retries
included; then it answers 504 (Envoy's documentation, HTTP route components, RouteAction.timeout). RFC 6202, section 5.5,
advises to send an answer before that happens.
"""

import math
from dataclasses import replace

from engines.lab.facts import EventBorn, EventHandled, EventLost, MessageStarted, Noted, TimedOut, WaitEnded
from engines.lab.host import Host
from engines.lab.knobs import Number
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.long_polling.held import HOLD_KNOB
from engines.patterns.long_polling.notifications import CURSOR_KNOB, follow, server
from engines.patterns.troubles import KILL_CLIENT, KILL_SERVER, LOSE_RESPONSE, UNPLUG_CLIENT
from engines.patterns.workload import EVENT_KNOBS
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS, http_client
from engines.wire.proxy import reverse_proxy

# --- the proxy and the client (the server is that of the notifications) --------------------------------------------------


async def proxy(host: Host) -> None:
    """Passes everything on, and does not know that this silence has a meaning."""
    await reverse_proxy(
        host, "server", timeout_s=lambda: host.knobs.number("route-timeout"), silence_s=lambda: math.inf
    )


async def client(host: Host) -> None:
    """Follows the events as ever; it knows the proxy by the name of the service."""
    async with http_client(host, base_url="http://proxy") as http:
        await follow(host, http)


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS
ARRIVALS, RATE, BURST, SIZE = EVENT_KNOBS

LESSON = Lesson(
    name="proxy",
    title="A proxy's timeout",
    purpose="The server holds for 30 s, the proxy waits for 15 s: see an empty reply become an error, and how to cure it.",
    hosts=(HostSpec("client", client), HostSpec("proxy", proxy), HostSpec("server", server)),
    protocols={80: Http1Dissector},
    network={"latency": 0.1},
    until_s=60.0,
    knobs=(
        replace(HOLD_KNOB, default=30.0),
        Number("route-timeout", "proxy waits", "s", 15.0, 0.1, math.inf, 5.0,
               "how long the proxy gives a request until its response is complete (Envoy 1.x, route timeout: 15 s)", ratio=2.0),
        CURSOR_KNOB,
        ARRIVALS,
        replace(RATE, default=0.05),
        BURST,
        SIZE,
        replace(READ_TIMEOUT, default=60.0),
        CONNECT_TIMEOUT,
    ),
    faults=(
        UNPLUG_CLIENT, KILL_CLIENT, KILL_SERVER, LOSE_RESPONSE,
        Fault("kill-proxy", "kill proxy", "x", "kill proxy", "the proxy's program dies, and both its connections with it",
              off="restart proxy"),
    ),
    metrics=("errors", "empty", "measured:polls", "event-delay-mean", "event-delay-max", "events-handled", "events-waiting",
             "connections", "timeouts"),
    beats=(
        Beat(TimedOut, "The proxy has waited for {after_s} s, and gives no request more than that. It hangs up on the server,"
             " which was doing nothing wrong.", {"what": "proxy"}),
        Beat(MessageStarted, "504 Gateway Timeout. To the client this is an error like any other: it cannot tell a long hold from"
             " a dead server.", {"label": "504", "sender": "proxy"}),
        Beat(WaitEnded, "The server hears that its client, the proxy, has left. It drops the request that it held.",
             {"host": "server", "outcome": "client left"}),
        Beat(Noted, "{text}. A sane client pauses after an error, and the pause grows. What happens meanwhile is late.",
             {"text": "no answer"}),
        Beat(EventLost, "Event {event} is lost: no question was held when it happened."),
        Beat(EventHandled, "The client hears of event {event}."),
        Beat(EventBorn, "Event {event} happens."),
        Beat(MessageStarted, "204 in time: an empty reply is not an error, and the proxy is content.",
             {"label": "204", "sender": "server"}),
        Beat(MessageStarted, "The question goes on its way to the server, in two stages.", {"label": "GET", "sender": "client"}),
    ),
    try_next=(
        "Hold for 10 s, less than the proxy waits: 204 instead of 504, no error and no pause.",
        "Hold for 14.9 s: less than 15 s, and still 504. The way to the server and back counts, too.",
        "Let the proxy wait without limit: the cure of whoever may configure the proxy.",
        "Let the proxy wait 1 s: one 504 after another, the pauses grow to 8 s, and what happens waits for them.",
        "Let the proxy wait 1 s and send no cursor: what happens in the pauses is not late any more, but lost.",
        "Let an event happen every second: no hold lasts long enough to trouble the proxy. The quiet feeds are in danger.",
        "Set the read timeout to 10 s: now it is the client that gives up before the proxy does.",
        "Kill the server: the proxy answers 502, because it finds nobody there.",
    ),
)  # fmt: skip
