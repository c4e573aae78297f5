"""Where a server keeps what it knows of a client between two requests: in memory, in a database, or in the client's hands.

HTTP itself remembers nothing (RFC 9110, section 3.3: "each request message can be understood in isolation"), so a session
hangs on a cookie (RFC 6265). In memory and in a database it is a number that means something to the server alone; as a
token it is the session itself, signed, and any server that has the key can read it.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engines.lab.facts import WaitKind
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.wire.http_client import http_client
from engines.wire.http_server import serve_http
from engines.wire.sqlite_file import SqliteFile
from engines.wire.tokens import TokenRefusedError, sign, verify

STATE_KNOB = Choice(
    "state", "state kept in", "memory", ("memory", "database", "token"),
    "the server's memory, a database that all servers share (SQLite 3), or a signed token in the client's cookie",
)  # fmt: skip

CUSTOMERS_KNOB = Number("customers", "customers", "", 2, 1, 8, 1, "how many shop at the same time", integer=True)
PAUSE_KNOB = Number("pause", "pause", "s", 1.0, 0.2, 60.0, 0.5, "how long a customer thinks between two steps")

COOKIE = "session"
KEY = "a secret that every server of this shop knows"
DATABASE_PATIENCE_S = 1.0


@dataclass(slots=True)
class Session:
    """What the shop knows of a customer between two requests."""

    user: str
    cart: list[str] = field(default_factory=list)
    ordered: bool = False

    def to_fields(self) -> dict[str, Any]:
        return {"sub": self.user, "cart": self.cart, "ordered": self.ordered}

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> "Session":
        return cls(fields["sub"], list(fields["cart"]), bool(fields["ordered"]))


class DatabaseAwayError(Exception):
    """The sessions are in a database, and it does not answer."""


class Keeper(Protocol):
    """One way to keep sessions. A session is found again by the cookie that `keep` returned."""

    async def find(self, cookie: str) -> Session | None: ...
    async def keep(self, cookie: str | None, session: Session) -> str: ...


class InMemory:
    """In a dictionary: quick, and gone with the program."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._sessions: dict[str, Session] = {}

    async def find(self, cookie: str) -> Session | None:
        return self._sessions.get(cookie)

    async def keep(self, cookie: str | None, session: Session) -> str:
        cookie = cookie or _number(self._host)
        if cookie not in self._sessions:
            self._host.state("sessions", len(self._sessions) + 1)
        self._sessions[cookie] = session
        return cookie


class InDatabase:
    """In a database on another host: the server remembers nothing, the system as a whole does. Raises DatabaseAwayError."""

    def __init__(self, host: Host, http: httpx.AsyncClient) -> None:
        self._host = host
        self._http = http

    async def find(self, cookie: str) -> Session | None:
        answer = await ask_database(self._http, "GET", f"/sessions/{cookie}")
        return Session.from_fields(answer.json()) if answer.status_code == 200 else None

    async def keep(self, cookie: str | None, session: Session) -> str:
        cookie = cookie or _number(self._host)
        await ask_database(self._http, "PUT", f"/sessions/{cookie}", json.dumps(session.to_fields()))
        return cookie


class InToken:
    """In the cookie itself, as a JSON Web Token: nothing to remember, nowhere. Any server that has the key can read it."""

    async def find(self, cookie: str) -> Session | None:
        try:
            return Session.from_fields(verify(cookie, KEY, 0.0))
        except (TokenRefusedError, KeyError):
            return None  # a cookie of another kind, from before the knob was turned

    async def keep(self, cookie: str | None, session: Session) -> str:
        return sign(session.to_fields(), KEY)


async def ask_database(http: httpx.AsyncClient, method: str, path: str, content: str | None = None) -> httpx.Response:
    """Read or write something in the database. Raises DatabaseAwayError."""
    try:
        return await http.request(method, f"http://database{path}", content=content, timeout=DATABASE_PATIENCE_S)
    except httpx.TransportError as error:
        raise DatabaseAwayError(type(error).__name__) from error


def _number(host: Host) -> str:
    return f"{host.rng.getrandbits(64):016x}"


# --- the shop -----------------------------------------------------------------------------------------------------------


async def serve_shop(host: Host) -> None:
    """A shop: log in, fill a cart, order. Its memory is in here, and lasts as long as this call; customers
    and orders are written down."""
    async with http_client(host) as http:
        keepers: dict[str, Keeper] = {
            "memory": InMemory(host), "database": InDatabase(host, http), "token": InToken(),
        }  # fmt: skip

        async def login(request: Request) -> Response:
            user = (await request.body()).decode()
            await ask_database(http, "PUT", f"/customers/{user}", "was here")
            cookie = await keepers[str(host.knobs["state"])].keep(None, Session(user))
            return _done(f"welcome, {user}", cookie)

        async def put_into_cart(request: Request) -> Response:
            keeper = keepers[str(host.knobs["state"])]
            session = await keeper.find(request.cookies.get(COOKIE, ""))
            if session is None:
                return Response("who are you?", 401)
            item = request.path_params["item"]
            if item not in session.cart:
                session.cart.append(item)
            return _done(", ".join(session.cart), await keeper.keep(request.cookies[COOKIE], session))

        async def order(request: Request) -> Response:
            keeper = keepers[str(host.knobs["state"])]
            session = await keeper.find(request.cookies.get(COOKIE, ""))
            if session is None:
                return Response("who are you?", 401)
            session.ordered = True
            await ask_database(http, "PUT", f"/orders/{request.cookies[COOKIE][-16:]}", ", ".join(session.cart))
            return _done(f"ordered: {', '.join(session.cart)}", await keeper.keep(request.cookies[COOKIE], session))

        async def database_away(request: Request, error: Exception) -> Response:
            host.note(f"the database does not answer: {error}")
            return Response(status_code=503)

        routes = [
            Route("/login", login, methods=["POST"]),
            Route("/cart/{item}", put_into_cart, methods=["PUT"]),
            Route("/order", order, methods=["PUT"]),
        ]
        await serve_http(host, Starlette(routes=routes, exception_handlers={DatabaseAwayError: database_away}))


def _done(text: str, cookie: str) -> Response:
    return Response(text, headers={"Set-Cookie": f"{COOKIE}={cookie}"})


IDLE_S = 3600.0
"""How long the database keeps an idle connection: long enough never to close one under a server's hands."""
SCHEMA = "create table kept (path text primary key, value text)"


async def database(host: Host) -> None:
    """Keeps customers and orders, and sessions if asked to, in a SQLite file, for whichever server comes."""

    async def value(request: Request) -> Response:
        path = request.url.path
        if request.method == "PUT":
            file.run("insert or replace into kept values (?, ?)", path, (await request.body()).decode())
            return Response(status_code=204)
        _, rows, _ = file.run("select value from kept where path = ?", path)
        return Response(rows[0][0]) if rows else Response(status_code=404)

    with SqliteFile(host.disk, "shop.db", SCHEMA) as file:
        routes = [Route("/{kind}/{number}", value, methods=["GET", "PUT"])]
        await serve_http(host, Starlette(routes=routes), keep_alive_s=lambda: IDLE_S)


# --- the customers ------------------------------------------------------------------------------------------------------

STEPS = (("POST", "/login"), ("PUT", "/cart/apples"), ("PUT", "/cart/pears"), ("PUT", "/cart/plums"), ("PUT", "/order"))
PAUSE_AFTER_TROUBLE_S = 1.0
APART = 0.3
"""Customers come one after the other, this share of a pause apart, so that they are at different steps."""


async def customer(host: Host, name: str, base_url: str) -> None:
    """One purchase: five steps with time to think between them, each of which may be repeated without harm."""
    async with http_client(host, base_url=base_url) as browser:  # a new one each time: no cookies from before
        finished = await purchase(host, browser, name)
    if finished:
        host.measure("purchases")
    else:
        host.measure("purchases broken")
        host.note(f"{name} is not known any more, and must begin again")


async def purchase(host: Host, browser: httpx.AsyncClient, name: str) -> bool:
    """From the login to the order. False when the server has forgotten who this is."""
    for method, path in STEPS:
        while True:
            try:
                answer = await browser.request(method, path, content=name if path == "/login" else None)
            except httpx.TransportError as error:
                host.note(f"{name}: no answer ({type(error).__name__}), will try again")
            else:
                if answer.status_code == 401:
                    return False
                if answer.is_success:
                    break
            host.measure("steps repeated")
            with host.waiting("try again", WaitKind.TIMER):
                await trio.sleep(PAUSE_AFTER_TROUBLE_S)
        if path != "/order":
            await trio.sleep(host.knobs.number("pause"))
    return True


async def customers(host: Host, base_url: str) -> None:
    """As many customers as the knob says; who is one too many stays away after the purchase."""
    names = ("Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hana")

    async def come(number: int) -> None:
        await trio.sleep(number * APART * host.knobs.number("pause"))
        while True:
            if number < host.knobs.number("customers"):
                await customer(host, names[number], base_url)
            await trio.sleep(host.knobs.number("pause"))

    async with trio.open_nursery() as nursery:
        for number in range(len(names)):
            nursery.start_soon(come, number)
