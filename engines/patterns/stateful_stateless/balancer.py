"""Two servers behind a balancer: whoever keeps sessions in memory needs every client to come back to the same one."""

from dataclasses import replace

from engines.lab.facts import Measured, MessageStarted, Noted, StateChanged
from engines.lab.host import Host
from engines.lab.knobs import Toggle
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
from engines.patterns.troubles import LOSE_RESPONSE, UNPLUG_CLIENT
from engines.wire.balancer import balance
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS

# --- the balancer and the client (the servers are those of the shop) -----------------------------------------------------


async def balancer(host: Host) -> None:
    """Passes each request to the server whose turn it is, or, if it is sticky, to the one that the client was at before."""
    await balance(host, ("server1", "server2"), sticky=lambda: host.knobs.on("sticky"))


async def client(host: Host) -> None:
    """Customers at their browsers; they know one address, and not how many servers there are."""
    await customers(host, "http://balancer")


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS

LESSON = Lesson(
    name="balancer",
    title="Two servers",
    purpose="Two servers take turns: see what a session in the memory of one of them is worth at the other.",
    hosts=(
        HostSpec("client", client), HostSpec("balancer", balancer), HostSpec("server1", serve_shop),
        HostSpec("server2", serve_shop), HostSpec("database", database),
    ),
    protocols={80: Http1Dissector},
    network={"latency": 0.05},
    until_s=30.0,
    knobs=(
        STATE_KNOB,
        Toggle("sticky", "sticky", False, "whether the balancer sends a client to the server that it was at before"),
        replace(CUSTOMERS_KNOB, default=3),
        PAUSE_KNOB,
        replace(READ_TIMEOUT, default=3.0),
        CONNECT_TIMEOUT,
    ),
    faults=(
        Fault("kill-server1", "kill server1", "k", "kill server1", "one server dies, and its memory with it",
              off="restart server1"),
        Fault("kill-server2", "kill server2", "j", "kill server2", "the other server dies, and its memory with it",
              off="restart server2"),
        Fault("kill-database", "kill database", "d", "kill database", "the database's program dies; its file stays",
              off="restart database"),
        UNPLUG_CLIENT,
        LOSE_RESPONSE,
    ),
    metrics=("measured:purchases", "measured:purchases broken", "measured:steps repeated", "requests", "bytes", "delay",
             "delay-p95", "errors"),
    beats=(
        Beat(Measured, "This step came to a server that has never seen the customer. The one that had was not asked.",
             {"what": "purchases broken"}),
        Beat(Measured, "A purchase is finished, whichever servers took part in it.", {"what": "purchases$"}),
        Beat(Noted, "{text}. The balancer asks the other one: nothing had been sent yet, so nothing can be done twice.",
             {"text": "server. cannot"}),
        Beat(StateChanged, "Sessions in the memory of {host}: {value}. The other server knows nothing of them.",
             {"key": "sessions"}),
        Beat(MessageStarted, "401 from {sender}: not my customer.", {"label": "401", "sender": "server"}),
        Beat(MessageStarted, "{sender} asks the database: it was perhaps the other one that wrote this down.",
             {"label": "GET /sessions"}),
        Beat(MessageStarted, "The balancer chose {receiver}. To the client there is only one server.", {"sender": "balancer",
             "receiver": "server"}),
    ),
    try_next=(
        "Make the balancer sticky: each customer stays with one server, and no purchase is broken.",
        "Make it sticky and kill server1: its customers go to the other one, which does not know them.",
        "Keep the state in a token: any server will do, sticky or not, and either may be killed at any time.",
        "Keep the state in a database: any server will do. Then kill the database, and none will.",
        "Not sticky, in memory, 2 customers: they take turns just as the servers do, and nothing breaks. That is luck.",
    ),
)  # fmt: skip
