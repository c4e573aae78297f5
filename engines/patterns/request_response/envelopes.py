"""One question in many envelopes: "what do apples cost?", as a server and a client of each protocol would say it.

An envelope is three things: a port, a server, and a way for a client to ask. `open` makes a connection (or what stands for one)
and gives the function that asks; the connection lasts as long as the block.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

import h11
import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from engines.lab.dissection import DissectorFactory
from engines.lab.host import Host
from engines.wire.dns import DnsError, Question, dns_resolver, serve_dns
from engines.wire.dns_dissector import DnsDissector
from engines.wire.envelopes import GraphQlDissector, GrpcDissector, JsonRpcDissector, SoapDissector, varint
from engines.wire.h2_client import h2_client
from engines.wire.http1 import Http1Dissector
from engines.wire.http2 import Http2Dissector
from engines.wire.http_client import http_client
from engines.wire.http_server import serve_http
from engines.wire.postgres import PostgresDissector
from engines.wire.postgres_client import PgError, pg_connect
from engines.wire.postgres_frames import PORT as POSTGRES_PORT
from engines.wire.postgres_frames import PgConnectionLost
from engines.wire.postgres_server import Database, PgServer
from engines.wire.ssh import serve_ssh, ssh_client
from engines.wire.ssh_dissector import SshDissector

PRICES = {"apples": "1.20", "pears": "2.35", "plums": "0.99"}
KEPT_S = 600.0

Ask = Callable[[str], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Envelope:
    """`name` is that of its dissector; `serve` answers on `port`, `open` lets a client ask there."""

    name: str
    port: int
    dissector: DissectorFactory
    serve: Callable[[Host], Awaitable[None]]
    open: Callable[[Host], AbstractAsyncContextManager[Ask]]


async def serve_web(host: Host, app: Any, port: int) -> None:
    await serve_http(host, app, port, keep_alive_s=lambda: KEPT_S)


# --- HTTP/1.1: lines of text, an empty line, a body --------------------------------------------------------------------


async def serve_http1(host: Host) -> None:
    """Says how long the body is, or sends it in chunks, or just closes: three ways to end a message (RFC 9112, section 6.3)."""

    async def price(request: Request) -> Response:
        answer = PRICES[request.path_params["item"]]
        if host.knobs["body-ends"] == "content-length":
            return PlainTextResponse(answer)

        async def pieces() -> AsyncIterator[str]:
            yield answer[:2]
            yield answer[2:]

        return StreamingResponse(pieces(), media_type="text/plain")

    await serve_web(host, Starlette(routes=[Route("/price/{item}", price)]), 80)


@asynccontextmanager
async def open_http1(host: Host) -> AsyncIterator[Ask]:
    """By hand, with h11 to read the answer, because httpx will not speak HTTP/1.0, whose bodies end with the connection."""
    stream = await host.connect("server", 80)

    async def ask(item: str) -> str:
        nonlocal stream
        if stream.is_readable():  # the last answer ended with its connection
            stream = await host.connect("server", 80)
        protocol = h11.Connection(h11.CLIENT)
        head = protocol.send(h11.Request(method="GET", target=f"/price/{item}", headers=[("Host", "server")])) or b""
        if host.knobs["body-ends"] == "close":
            head = head.replace(b"HTTP/1.1", b"HTTP/1.0")
        await stream.send_all(head + (protocol.send(h11.EndOfMessage()) or b""))
        body = b""
        while not isinstance(event := protocol.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                protocol.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.ConnectionClosed):
                raise EOFError("the connection was closed")
        return body.decode()

    try:
        yield ask
    finally:
        await stream.aclose()


# --- HTTP/2: the same in frames ----------------------------------------------------------------------------------------


async def serve_http2(host: Host) -> None:
    async def price(request: Request) -> Response:
        return PlainTextResponse(PRICES[request.path_params["item"]])

    await serve_web(host, Starlette(routes=[Route("/price/{item}", price)]), 8080)


@asynccontextmanager
async def open_http2(host: Host) -> AsyncIterator[Ask]:
    async with h2_client(host, base_url="http://server:8080") as http:

        async def ask(item: str) -> str:
            return (await http.get(f"/price/{item}")).text

        yield ask


# --- DNS: a datagram there, a datagram back -----------------------------------------------------------------------------


async def serve_names(host: Host) -> None:
    async def answer(question: Question) -> list[str] | None:
        price = PRICES.get(question.name.partition(".")[0])
        return [f'"{price}"'] if price and question.kind == "TXT" else None

    await serve_dns(host, answer)


@asynccontextmanager
async def open_names(host: Host) -> AsyncIterator[Ask]:
    async with dns_resolver(host, "server") as resolver:

        async def ask(item: str) -> str:
            return (await resolver.resolve(f"{item}.price.example", "TXT"))[0].strip('"')

        yield ask


# --- JSON-RPC, GraphQL and SOAP: an envelope in the body of an envelope -------------------------------------------------


@asynccontextmanager
async def open_post(
    host: Host, url: str, content_type: str, write: Callable[[str], str], read: Callable[[str], str]
) -> AsyncIterator[Ask]:
    """Ask by posting a document; `write` makes it of an item, `read` takes the answer out of the reply."""
    async with http_client(host) as http:

        async def ask(item: str) -> str:
            reply = await http.post(url, content=write(item), headers={"Content-Type": content_type})
            return read(reply.text)

        yield ask


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


async def serve_json_rpc(host: Host) -> None:
    """JSON-RPC 2.0, section 5: the answer carries the id of its question, because answers may come in any order."""

    async def call(request: Request) -> Response:
        asked = await request.json()
        return JSONResponse({"jsonrpc": "2.0", "result": PRICES[asked["params"][0]], "id": asked["id"]})

    await serve_web(host, Starlette(routes=[Route("/rpc", call, methods=["POST"])]), 8001)


def open_json_rpc(host: Host) -> AbstractAsyncContextManager[Ask]:
    def write(item: str) -> str:
        host.disk["calls"] = host.disk.get("calls", 0) + 1
        return compact({"jsonrpc": "2.0", "method": "price", "params": [item], "id": host.disk["calls"]})

    return open_post(
        host, "http://server:8001/rpc", "application/json", write, lambda reply: json.loads(reply)["result"]
    )


async def serve_graphql(host: Host) -> None:
    """Answers the one query that it has a schema for; the shape of the answer is that of the question (GraphQL, section 2)."""

    async def query(request: Request) -> Response:
        item = (await request.json())["query"].split('"')[1]
        return JSONResponse({"data": {"item": {"price": PRICES[item]}}})

    await serve_web(host, Starlette(routes=[Route("/graphql", query, methods=["POST"])]), 8002)


def open_graphql(host: Host) -> AbstractAsyncContextManager[Ask]:
    def write(item: str) -> str:
        return compact({"query": f'{{ item(name: "{item}") {{ price }} }}'})

    def read(reply: str) -> str:
        return str(json.loads(reply)["data"]["item"]["price"])

    return open_post(host, "http://server:8002/graphql", "application/json", write, read)


SOAP = (
    '<?xml version="1.0"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/">'
    "<soap:Body>{}</soap:Body></soap:Envelope>"
)


async def serve_soap(host: Host) -> None:
    async def call(request: Request) -> Response:
        asked = (await request.body()).decode()
        price = PRICES[between(asked, "<item>", "</item>")]
        body = f'<PriceResponse xmlns="urn:shop"><price>{price}</price></PriceResponse>'
        return Response(SOAP.format(body), media_type="text/xml")

    await serve_web(host, Starlette(routes=[Route("/soap", call, methods=["POST"])]), 8003)


def open_soap(host: Host) -> AbstractAsyncContextManager[Ask]:
    def write(item: str) -> str:
        return SOAP.format(f'<Price xmlns="urn:shop"><item>{escape(item)}</item></Price>')

    return open_post(
        host, "http://server:8003/soap", "text/xml", write, lambda reply: between(reply, "<price>", "</price>")
    )


def between(text: str, before: str, after: str) -> str:
    return text.partition(before)[2].partition(after)[0]


# --- gRPC: numbers instead of names, a length before the message, the status behind it ----------------------------------


def grpc_message(text: str) -> bytes:
    """A message with one field, number 1, a string; before it a flag (not compressed) and its length in four bytes."""
    data = text.encode()
    message = b"\x0a" + bytes([len(data)]) + data  # field 1, length-delimited: protobuf.dev, "Encoding"
    return b"\x00" + len(message).to_bytes(4, "big") + message


def grpc_text(data: bytes) -> str:
    size, at = varint(data, 6, len(data))
    return data[at : at + size].decode()


async def serve_grpc(host: Host) -> None:
    """POST /package.Service/Method; the status comes last, in trailers, because a stream may fail late (PROTOCOL-HTTP2)."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = await Request(scope, receive).body()
        headers = [(b"content-type", b"application/grpc")]
        await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": True})
        await send({"type": "http.response.body", "body": grpc_message(PRICES[grpc_text(body)])})
        await send({"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]})

    await serve_web(host, app, 50051)


@asynccontextmanager
async def open_grpc(host: Host) -> AsyncIterator[Ask]:
    headers = {"Content-Type": "application/grpc", "TE": "trailers"}
    async with h2_client(host, base_url="http://server:50051") as http:

        async def ask(item: str) -> str:
            answer = await http.post("/shop.Prices/Price", content=grpc_message(item), headers=headers)
            return grpc_text(answer.content)

        yield ask


# --- PostgreSQL: a letter and a length before everything, and a row as columns -------------------------------------------

SETUP = "CREATE TABLE fruit (name TEXT PRIMARY KEY, price TEXT);" + "".join(
    f"INSERT INTO fruit VALUES ('{name}', '{price}');" for name, price in PRICES.items()
)


async def serve_database(host: Host) -> None:
    """The simple query protocol over a SQLite file; whoever connects says hello first and is told a good deal."""

    async def at_once(statement: str) -> None:
        return None

    database = Database(host.disk, SETUP)
    try:
        server = PgServer(database, work=at_once, chance=host.rng)
        async with host.listen(POSTGRES_PORT) as listener, trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(server.serve, await listener.accept())
    finally:
        database.close()


@asynccontextmanager
async def open_database(host: Host) -> AsyncIterator[Ask]:
    connection = await pg_connect(host, "server")
    try:

        async def ask(item: str) -> str:
            return (await connection.query(f"SELECT price FROM fruit WHERE name = '{item}'")).rows[0][0] or ""

        yield ask
    finally:
        await connection.aclose()


# --- SSH: a length, a padding, a number for what it is ------------------------------------------------------------------

PRICE_REQUEST = "price@shop.example"


async def serve_shell(host: Host) -> None:
    async def answer(item: str) -> str | None:
        return PRICES.get(item)

    await serve_ssh(host, PRICE_REQUEST, answer)


@asynccontextmanager
async def open_shell(host: Host) -> AsyncIterator[Ask]:
    async with ssh_client(host, "server", PRICE_REQUEST) as request:

        async def ask(item: str) -> str:
            return await request(item) or ""

        yield ask


ENVELOPES = (
    Envelope(Http1Dissector.name, 80, Http1Dissector, serve_http1, open_http1),
    Envelope(Http2Dissector.name, 8080, Http2Dissector, serve_http2, open_http2),
    Envelope(DnsDissector.name, 53, DnsDissector, serve_names, open_names),
    Envelope(JsonRpcDissector.name, 8001, JsonRpcDissector, serve_json_rpc, open_json_rpc),
    Envelope(GrpcDissector.name, 50051, GrpcDissector, serve_grpc, open_grpc),
    Envelope(GraphQlDissector.name, 8002, GraphQlDissector, serve_graphql, open_graphql),
    Envelope(SoapDissector.name, 8003, SoapDissector, serve_soap, open_soap),
    Envelope(PostgresDissector.name, POSTGRES_PORT, PostgresDissector, serve_database, open_database),
    Envelope(SshDissector.name, 22, SshDissector, serve_shell, open_shell),
)

TROUBLES = (
    OSError, EOFError, ValueError, trio.BrokenResourceError, trio.ClosedResourceError,
    h11.ProtocolError, httpx.TransportError, DnsError, PgError, PgConnectionLost,
)  # fmt: skip
"""What may go wrong with a question, whichever envelope it is in."""
