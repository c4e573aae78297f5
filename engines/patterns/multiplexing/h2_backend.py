"""HTTP/1.1 in front, HTTP/2 behind: the requests of many connections share one. Multiplexing, by a proxy."""

from engines.lab.facts import MessageStarted, Noted, PoolAssigned, PoolQueued
from engines.patterns.contract import Beat, Lesson
from engines.patterns.multiplexing.proxying import FAULTS, HOSTS, knobs_for
from engines.patterns.multiplexing.rounds import HTTP_1, HTTP_2
from engines.wire.http1 import Http1Dissector
from engines.wire.http2 import Http2Dissector

LESSON = Lesson(
    name="h2-backend",
    title="Multiplexing proxy",
    purpose="The client knows only HTTP/1.1 and brings six connections; the proxy puts them all on one to the server.",
    hosts=HOSTS,
    protocols={80: Http1Dissector, 8080: Http2Dissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=knobs_for(front=HTTP_1, behind=HTTP_2, requests=12, client_pool=6),
    faults=FAULTS,
    metrics=("latest:makespan seconds", "open", "connections", "streams", "pool-busy", "pool-wait", "pool-wait-p95", "requests",
             "bytes", "overhead", "measured:failed"),
    beats=(
        Beat(Noted, "{text}.", {"text": "all "}),
        Beat(PoolAssigned, "The proxy needs its first connection to the server. All others will share it.",
             {"host": "proxy", "how": "opened"}),
        Beat(MessageStarted, "{label} goes on to the server as stream {stream}, on the connection that all of them share.",
             {"sender": "proxy", "role": "request", "stream": "[1-9]"}),
        Beat(MessageStarted, "An answer comes back on stream {stream}. The number tells the proxy whose it is.",
             {"sender": "server", "role": "response", "stream": "[1-9]"}),
        Beat(MessageStarted, "{label} goes on to the server, on a connection that it has for itself.",
             {"sender": "proxy", "role": "request"}),
        Beat(PoolQueued, "{label} needs a connection to the proxy, and each carries one request at a time.", {"host": "client"}),
        Beat(MessageStarted, "The answer goes to the client, on the connection on which it was asked for.",
             {"sender": "proxy", "role": "response"}),
    ),
    try_next=(
        "Speak HTTP/1.1 behind: the proxy needs its whole pool of 4, two requests of each six wait, and a round takes 1.80 s.",
        "Set the client's pool to 12: all are asked for at once, and behind the proxy there is still one connection.",
        "Speak HTTP/2 in front as well: one connection on each side, and 0.80 s instead of 1.40 s: no queue is left.",
        "Kill the proxy and restart it: all connections die. Kill the server instead: one dies, and the client gets 502s.",
        "Unplug the client for a while: the proxy notices nothing, and answers into the void.",
    ),
)  # fmt: skip
