"""A token (JWT): the server remembers nobody and still knows who asks. What that buys, and what can no longer be taken back."""

from dataclasses import replace

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engines.lab.facts import Measured, MessageStarted, Noted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number, Toggle
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.troubles import KILL_CLIENT, KILL_SERVER, LOSE_RESPONSE, UNPLUG_CLIENT
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http
from engines.wire.tokens import EPOCH_S, Claims, TokenRefusedError, forge, sign, verify

# --- the server ---------------------------------------------------------------------------------------------------------

KEY = "only the server knows this: 32 bytes or more"
OTHER_KEY = "somebody else's key, which is just as long"
ALGORITHMS = {"hs256": ("HS256",), "hs256 or none": ("HS256", "none")}


async def server(host: Host) -> None:
    """Hands out tokens and takes them at their word, once the signature has proved that the word is its own."""
    denied: set[str] = set()  # the tokens of those who have logged out, if a list is kept

    async def login(request: Request) -> Response:
        now_s, name = trio.current_time(), (await request.body()).decode()
        number = host.disk["tokens"] = host.disk.get("tokens", 0) + 1
        claims = {
            "sub": name,
            "role": "user",
            "jti": str(number),
            "exp": EPOCH_S + now_s + host.knobs.number("lifetime"),
        }
        return Response(sign(claims, KEY))

    async def me(request: Request) -> Response:
        try:
            claims = who(request)
        except TokenRefusedError as reason:
            host.note(f"refused: {reason}")
            return Response(str(reason), 401)
        host.note(f"{claims['sub']}, {claims['role']}")
        return Response(f"{claims['sub']} is {claims['role']}")

    async def logout(request: Request) -> Response:
        if host.knobs.on("denylist"):
            denied.add(token_in(request))
            host.state("denied", len(denied))
        return Response(status_code=204)

    def who(request: Request) -> Claims:
        token = token_in(request)
        if token in denied and host.knobs.on("denylist"):
            raise TokenRefusedError("logged out")
        algorithms = ALGORITHMS[str(host.knobs["accepts"])]
        return verify(token, KEY, trio.current_time(), algorithms=algorithms, leeway_s=host.knobs.number("leeway"))

    routes = [Route("/login", login, methods=["POST"]), Route("/me", me), Route("/logout", logout, methods=["POST"])]
    await serve_http(host, Starlette(routes=routes))


def token_in(request: Request) -> str:
    """The token in `Authorization: Bearer …` (RFC 6750, section 2.1)."""
    return request.headers.get("Authorization", "").removeprefix("Bearer ")


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Logs in, asks who it is a few times, logs out, and then tries what should not work."""
    async with http_client(host, base_url="http://server") as http:
        while True:
            try:
                await use_a_token(host, http)
            except httpx.TransportError as error:
                host.note(f"no answer: {type(error).__name__}")
            await pause(host)


async def use_a_token(host: Host, http: httpx.AsyncClient) -> None:
    token = (await http.post("/login", content="ada")).text
    host.measure("logins")
    for _ in range(int(host.knobs.number("asks"))):
        await pause(host)
        if await accepted(http, token):
            host.measure("accepted")
        else:
            host.measure("refused")
            return  # it has expired: log in again
    if host.knobs["tries"] != "nothing":
        await pause(host)
        if await accepted(http, forged(token, str(host.knobs["tries"]))):
            host.measure("forgeries accepted")
        else:
            host.measure("forgeries refused")
    await pause(host)
    await http.post("/logout", headers=bearer(token))
    await pause(host)
    # Another tab, another device, or whoever copied it, still has the token.
    if await accepted(http, token):
        host.measure("accepted after logout")


def forged(token: str, way: str) -> str:
    """What the owner of a token, or a thief, may make of it without the key. The claims say what the forger would like."""
    wish = {"role": "admin"}
    match way:
        case "changed claims":
            return forge(token, wish)
        case "alg none":
            return forge(token, wish, algorithm="none")
        case _:
            return sign({"sub": "ada", **wish}, OTHER_KEY)


async def accepted(http: httpx.AsyncClient, token: str) -> bool:
    return (await http.get("/me", headers=bearer(token))).is_success


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def pause(host: Host) -> None:
    await trio.sleep(host.knobs.number("pause"))


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS

LESSON = Lesson(
    name="token",
    title="A token (JWT)",
    purpose="The server knows everybody and remembers nobody: look inside a token, change it, let it expire, take it back.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: Http1Dissector},
    network={"latency": 0.1},
    until_s=30.0,
    knobs=(
        Choice("tries", "client tries", "changed claims", ("nothing", "changed claims", "alg none", "another key"),
               "what the client makes of its token, to become an administrator"),
        Choice("accepts", "server accepts", "hs256", tuple(ALGORITHMS),
               "the algorithms on the server's own list (RFC 8725, 3.1)"),
        Number("lifetime", "lifetime", "s", 60.0, 0.1, 86_400.0, 5.0,
               "how long a token is valid: its exp (RFC 7519, 4.1.4)",
               ratio=2.0),
        Number("leeway", "leeway", "s", 0.0, 0.0, 300.0, 1.0, "how long after exp it still passes: clocks disagree"),
        Toggle("denylist", "list of logouts", False, "whether the server remembers the tokens of those who have logged out"),
        Number("asks", "asks", "", 3, 1, 50, 1, "how often the client uses its token before it logs out", integer=True),
        Number("pause", "pause", "s", 0.8, 0.05, 60.0, 0.25, "the client's pause between two requests"),
        replace(READ_TIMEOUT, default=3.0),
        CONNECT_TIMEOUT,
    ),
    faults=(KILL_SERVER, KILL_CLIENT, UNPLUG_CLIENT, LOSE_RESPONSE),
    metrics=("measured:accepted", "measured:refused", "measured:forgeries refused", "measured:forgeries accepted",
             "measured:accepted after logout", "measured:logins", "requests", "bytes", "overhead"),
    beats=(
        Beat(Measured, "The forgery passes! The server let the token say how it wants to be checked, and it said: not at all.",
             {"what": "forgeries accepted"}),
        Beat(Measured, "Logged out, and still served. Nobody can take back a token that is signed and has not expired, unless"
             " somebody remembers that it was taken back.", {"what": "accepted after"}),
        Beat(Noted, "{text}. The claims can be read and changed by anybody; the signature over them cannot be made without the"
             " key.", {"text": "refused: the signature"}),
        Beat(Noted, "{text}. The header of a token is written by whoever sends it; the server's list decides.",
             {"text": "refused: an algorithm"}),
        Beat(Noted, "{text}. The time is inside, and was signed with the rest: no look-up was needed.",
             {"text": "refused: expired"}),
        Beat(Noted, "{text}. The server has kept a list to know this: it is stateful again.", {"text": "refused: logged out"}),
        Beat(Noted, "{text}. All this was in the token, the server has looked nothing up.", {"host": "server", "text": "ada"}),
        Beat(MessageStarted, "The client shows its token. Choose this row and look at the wire: header, claims and signature,"
             " in plain sight.", {"label": "GET /me"}),
        Beat(MessageStarted, "The client logs in, and gets a token for it: three parts with dots between.",
             {"label": "POST /login"}),
        Beat(MessageStarted, "The client logs out. What should a server forget that remembers nothing?",
             {"label": "POST /logout"}),
    ),
    try_next=(
        "Choose a GET /me and look at the wire: everything in a token can be read. It is signed, not secret.",
        "Let the client try “alg none”: refused. Then let the server accept “hs256 or none”: the client is administrator.",
        "Let the client try another key: the form is perfect, and the signature does not fit.",
        "Set the lifetime to 2 s: the token expires in use, and the client must log in again.",
        "Turn the list of logouts on: a token does not outlive its logout. Then kill the server and restart it: it does again.",
        "Kill the server and restart it: every token is as good as before. There was nothing to lose.",
    ),
)  # fmt: skip
