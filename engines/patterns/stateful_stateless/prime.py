"""Is this number prime? A service that remembers nothing: any server may answer, and anything may be asked twice."""

from dataclasses import replace

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from engines.lab.facts import Measured, MessageStarted, Noted, StateChanged, WorkStarted
from engines.lab.host import Host
from engines.lab.knobs import Number, Toggle
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.troubles import KILL_CLIENT, LOSE_REQUEST, LOSE_RESPONSE
from engines.wire.balancer import balance
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http

# --- the servers --------------------------------------------------------------------------------------------------------

DIVISION_S = 0.002
"""What one trial division takes here; in truth a millionth of it."""


def smallest_divisor(number: int) -> tuple[int, int]:
    """The smallest divisor of `number` above 1, and how many had to be tried. A prime's is the number itself."""
    divisor, tried = 2, 0
    while divisor * divisor <= number:
        tried += 1
        if number % divisor == 0:
            return divisor, tried
        divisor += 1
    return number, tried


async def server(host: Host) -> None:
    """Answers from the request alone. It may keep what it found out, but nobody depends on that: a cache is no state."""
    known: dict[int, str] = {}

    async def prime(request: Request) -> PlainTextResponse:
        number = request.path_params["number"]
        if host.knobs.on("cache") and number in known:
            host.measure("from the cache")
            return PlainTextResponse(known[number])
        divisor, tried = smallest_divisor(number)
        await host.work(f"try {tried} divisors of {number}", tried * DIVISION_S)
        answer = f"{number} is prime" if divisor == number else f"{number} is {divisor} x {number // divisor}"
        if host.knobs.on("cache"):
            known[number] = answer
            host.state("known", len(known))
        return PlainTextResponse(answer)

    await serve_http(host, Starlette(routes=[Route("/prime/{number:int}", prime)]))


async def balancer(host: Host) -> None:
    """Takes turns, and need not be sticky: there is nothing at a server that a client would have to come back to."""
    await balance(host, ("server1", "server2"), sticky=lambda: False)


# --- the client ---------------------------------------------------------------------------------------------------------

ATTEMPTS = 5


async def client(host: Host) -> None:
    """Asks about one number after the other, and again when there is no answer: a GET does no harm twice (RFC 9110, 9.2.2)."""
    async with http_client(host, base_url="http://balancer") as http:
        while True:
            number = host.rng.randint(2, int(host.knobs.number("up-to")))
            if await ask(host, http, number):
                host.measure("answers")
            else:
                host.measure("given up")
            await trio.sleep(host.knobs.number("pause"))


async def ask(host: Host, http: httpx.AsyncClient, number: int) -> bool:
    for attempt in range(ATTEMPTS):
        try:
            answer = await http.get(f"/prime/{number}")
            if answer.is_success:
                host.note(answer.text)
                return True
        except httpx.TransportError as error:
            host.note(f"no answer: {type(error).__name__}")
        if attempt < ATTEMPTS - 1:
            host.measure("retries")
            await trio.sleep(0.5)
    return False


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS

LESSON = Lesson(
    name="prime",
    title="Is this number prime?",
    purpose="Nothing to remember: kill one server and then the other, at any moment, and see that nobody is worse off.",
    hosts=(
        HostSpec("client", client), HostSpec("balancer", balancer), HostSpec("server1", server),
        HostSpec("server2", server),
    ),
    protocols={80: Http1Dissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Number("up-to", "numbers up to", "", 9999, 10, 1_000_000, 1000, "the client asks about numbers up to this", ratio=10.0,
               integer=True),
        Number("pause", "pause", "s", 0.5, 0.05, 60.0, 0.25, "the client's pause after an answer"),
        Toggle("cache", "cache", False, "whether a server keeps what it has found out, in its memory"),
        replace(READ_TIMEOUT, default=3.0),
        CONNECT_TIMEOUT,
    ),
    faults=(
        Fault("kill-server1", "kill server1", "k", "kill server1", "one server dies; it knew nothing worth keeping",
              off="restart server1"),
        Fault("kill-server2", "kill server2", "j", "kill server2", "the other server dies", off="restart server2"),
        Fault("kill-balancer", "kill balancer", "b", "kill balancer", "the one thing of which there is only one",
              off="restart balancer"),
        KILL_CLIENT,
        LOSE_REQUEST,
        LOSE_RESPONSE,
    ),
    metrics=("measured:answers", "measured:retries", "measured:given up", "measured:from the cache", "requests", "delay",
             "delay-p95", "work-started", "errors"),
    beats=(
        Beat(Noted, "{text}. It had been told nothing that it could have forgotten: the other one answers.",
             {"host": "balancer", "text": "server. cannot"}),
        Beat(Noted, "{text}. Whichever server said so, the other would have said the same.", {"text": r"\d"}),
        Beat(Measured, "Again, then: the question carries all that is needed, and asking twice does no harm.",
             {"what": "retries"}),
        Beat(Measured, "{host} knew this already. That saves time; without it, the answer would be the same.",
             {"what": "from the cache"}),
        Beat(StateChanged, "{host} has {value} answers in its cache. If it dies they are lost, and nobody will notice but by"
             " the clock.", {"key": "known"}),
        Beat(WorkStarted, "{host} works it out, from the request alone.", {"label": "try"}),
        Beat(MessageStarted, "The balancer gives the question to {receiver}.", {"sender": "balancer", "receiver": "server"}),
    ),
    try_next=(
        "Kill server1: the answers go on, all from server2, and no client has to begin again.",
        "Kill both, then restart one: the client tries again until somebody is there, and loses only time.",
        "Turn the cache on and ask about numbers up to 10: soon nobody works any more. Kill a server: a few divisions, no loss.",
        "Lose the next response: the work is done twice, the answer is the same.",
        "Kill the balancer: no server can be reached. Statelessness does not help where there is only one of a thing.",
    ),
)  # fmt: skip
