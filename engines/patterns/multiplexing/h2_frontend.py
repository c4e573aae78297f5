"""HTTP/2 in front, a pool of HTTP/1.1 behind: the streams of one connection, spread over several. Demultiplexing, by a proxy."""

from engines.lab.facts import MessageStarted, Noted, PoolAssigned, PoolQueued, PoolResized
from engines.patterns.contract import Beat, Lesson
from engines.patterns.multiplexing.proxying import FAULTS, HOSTS, knobs_for
from engines.patterns.multiplexing.rounds import HTTP_1, HTTP_2
from engines.wire.http1 import Http1Dissector
from engines.wire.http2 import Http2Dissector

LESSON = Lesson(
    name="h2-frontend",
    title="Demultiplexing proxy",
    purpose="One connection brings twelve streams; the server knows only HTTP/1.1, so the proxy deals them out over a pool.",
    hosts=HOSTS,
    protocols={80: Http1Dissector, 8080: Http2Dissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=knobs_for(front=HTTP_2, behind=HTTP_1, requests=12, client_pool=6),
    faults=FAULTS,
    metrics=("latest:makespan seconds", "pool-queue", "pool-wait", "pool-wait-p95", "pool-use", "pool-busy", "streams", "open",
             "connections", "bytes", "measured:failed"),
    beats=(
        Beat(Noted, "{text}.", {"text": "all "}),
        Beat(PoolResized, "The proxy's pool has another size. It grows at once; it shrinks as connections come free.",
             {"host": "proxy", "size": "[1-9]"}),
        Beat(PoolAssigned, "A connection to the server is free, and the next stream in line has it.",
             {"host": "proxy", "how": "reused"}),
        Beat(PoolQueued, "{label} has come in as a stream, at once; to go on it needs a connection of the proxy's pool.",
             {"host": "proxy"}),
        Beat(MessageStarted, "{label} leaves as stream {stream}; the next need not wait for its answer.",
             {"sender": "client", "role": "request", "stream": "[1-9]"}),
        Beat(MessageStarted, "{label} goes on to the server, alone on its connection.", {"sender": "proxy", "role": "request"}),
        Beat(MessageStarted, "An answer, back on stream {stream}, in whatever order they are ready.",
             {"sender": "proxy", "role": "response", "stream": "[1-9]"}),
    ),
    try_next=(
        "Set the proxy's pool to 12: no stream waits behind the proxy, and a round takes 0.80 s instead of 1.60 s.",
        "Set the proxy's pool to 1: HTTP/2 in front, and one after the other behind. The client cannot see why it is slow.",
        "Shrink the proxy's pool in mid-round: nobody is cut off, its connections close as they come free.",
        "Speak HTTP/2 behind too: no pool, no queue, one connection on each side.",
        "Make 50 requests: the queue has moved from the client into the proxy, where a class can look at it.",
        "Kill the server: each waiting stream gets its own 502, and the connection in front lives on.",
    ),
)  # fmt: skip
