"""Uploading an image whole, in chunks, or resumably: what an interruption costs each of them."""

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from hashlib import sha256

import httpx
import trio
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from engines.lab.facts import Measured, MessageEnded, MessageStarted, Noted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.troubles import CUT_ANSWERS, KILL_CLIENT, KILL_SERVER, UNPLUG_CLIENT
from engines.wire import tus
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS, http_client
from engines.wire.http_server import serve_http

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Takes images: at /images all in one request, at /files by tus, which keeps every byte that came."""

    def keep(image: bytes | bytearray) -> None:
        host.measure("uploads")
        host.note(f"has the whole image: {len(image):,} bytes, SHA-256 {sha256(image).hexdigest()[:8]}")

    async def take_whole(request: Request) -> Response:
        received = bytearray()
        complete = False
        try:
            async for piece in request.stream():
                received += piece
            complete = True
        except ClientDisconnect:
            return Response(status_code=400)  # nobody will read it
        finally:
            if not complete:
                host.measure("wasted bytes", len(received))
        keep(received)
        return PlainTextResponse("thank you", status_code=201)

    async def completed(upload: tus.Upload) -> None:
        keep(upload.data)

    resumable = tus.TusServer(host.disk.setdefault("uploads", {}), completed)
    await serve_http(host, Starlette(routes=[Route("/images", take_whole, methods=["POST"]), *resumable.routes()]))


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Uploads an image, tries again until the server has it, pauses, uploads the next."""
    async with http_client(host, base_url="http://server") as http:
        while True:
            image = PNG_SIGNATURE + host.rng.randbytes(int(host.knobs.number("image-size")) - len(PNG_SIGNATURE))
            upload = METHODS[str(host.knobs["method"])]
            with host.working(f"upload {len(image):,} bytes"):
                await upload(host, http, image, Journey(len(image), host.knobs.number("interrupted-at")))
            await trio.sleep(2.0)


async def upload_whole(host: Host, http: httpx.AsyncClient, image: bytes, journey: "Journey") -> None:
    """The head says how long the body is. One interruption, and all of it must go again."""
    headers = {"Content-Length": str(len(image)), "Content-Type": "image/png"}

    async def attempt() -> None:
        async with aclosing(journey.pieces(image, WRITE_SIZE)) as pieces:
            response = await http.post("/images", content=pieces, headers=headers)
        response.raise_for_status()

    await until_done(host, attempt)


async def upload_chunked(host: Host, http: httpx.AsyncClient, image: bytes, journey: "Journey") -> None:
    """No length in the head: each chunk brings its own. Good for a body that is still being made; no help after a break."""

    async def attempt() -> None:
        async with aclosing(journey.pieces(image, int(host.knobs.number("piece-size")))) as chunks:
            response = await http.post("/images", content=chunks, headers={"Content-Type": "image/png"})
        response.raise_for_status()

    await until_done(host, attempt)


async def upload_resumable(host: Host, http: httpx.AsyncClient, image: bytes, journey: "Journey") -> None:
    """Create the upload, then send piece after piece; after a break ask how far it got, and go on from there."""
    url = ""

    async def attempt() -> None:
        nonlocal url
        sent = 0
        if url:
            sent = await tus.offset(http, url)
            host.measure("resumes")
        else:
            url = await tus.create(http, len(image))
        while sent < len(image):
            piece = image[sent : sent + int(host.knobs.number("piece-size"))]
            async with aclosing(journey.pieces(piece, WRITE_SIZE)) as body:
                sent = await tus.send(http, url, sent, len(piece), body)

    await until_done(host, attempt)


async def until_done(host: Host, attempt: Callable[[], Awaitable[None]]) -> None:
    """Try, and after a failure try again."""
    while True:
        try:
            return await attempt()
        except (httpx.HTTPError, tus.Refused) as error:
            host.note(f"interrupted: {str(error) or type(error).__name__}")
            await trio.sleep(1.0)


class Journey:
    """The way of an image's bytes out of the program: it breaks off once, when `share` of them have gone, if not all."""

    def __init__(self, size: int, share: float) -> None:
        self._left = size * share if share < 1 else math.inf

    async def pieces(self, data: bytes, size: int) -> AsyncGenerator[bytes, None]:
        """`data` in pieces of `size` bytes."""
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            if len(piece) > self._left:
                piece, self._left = piece[: int(self._left)], math.inf
                if piece:
                    yield piece
                raise httpx.WriteError("the app was put to sleep")
            self._left -= len(piece)
            yield piece


PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
WRITE_SIZE = 10_000
METHODS = {"whole": upload_whole, "chunked": upload_chunked, "resumable": upload_resumable}

# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, WRITE_TIMEOUT, _ = TIMEOUT_KNOBS

LESSON = Lesson(
    name="upload",
    title="Upload an image",
    purpose="An upload is interrupted on its way: see what has to be sent again, and what it takes to go on instead.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: Http1Dissector},
    network={"latency": 0.1, "bandwidth": 100_000.0},
    until_s=30.0,
    knobs=(
        Choice("method", "method", "whole", tuple(METHODS), "one body with its length, one body in chunks, or tus 1.0.0"),
        Number("interrupted-at", "interrupted at", "%", 0.7, 0.0, 1.0, 0.1,
               "how far the first attempt of each upload gets; 100 % is all the way"),
        Number("image-size", "image", "B", 200_000, 1000, 10_000_000, 50_000, "size of the image", ratio=2.0, integer=True),
        Number("piece-size", "piece", "B", 50_000, 1000, 10_000_000, 10_000,
               "bytes in one chunk of a chunked body, or in one PATCH of a resumable upload", ratio=2.0, integer=True),
        CONNECT_TIMEOUT,
        READ_TIMEOUT,
        WRITE_TIMEOUT,
    ),
    faults=(
        Fault("reset-at-70", "reset at 70 % of body", "e", "reset after 70% of next request",
              "the connection is reset when 70 % of the next announced body has passed"),
        Fault("reset-at-40kb", "reset after 40 kB of body", "g", "reset after 40kB of next request",
              "the connection is reset when 40 kB of the next body have passed, announced or not"),
        KILL_SERVER,
        KILL_CLIENT,
        UNPLUG_CLIENT,
        CUT_ANSWERS,
    ),
    metrics=("measured:uploads", "bytes", "measured:wasted bytes", "measured:resumes", "overhead", "throughput-now",
             "requests", "resets", "timeouts"),
    beats=(
        Beat(Measured, "{amount} bytes had arrived, and the server throws them away: part of a body is not a message. They"
             " will all be sent again.", {"what": "wasted bytes"}),
        Beat(Measured, "The client asked how far it had got, and goes on from there. What had arrived is not sent again.",
             {"what": "resumes"}),
        Beat(Noted, "The upload broke off. The client cannot know how much has arrived: what it handed over may still be"
             " on its way, or lost.", {"host": "client", "text": "interrupted"}),
        Beat(Noted, "The server {text}. Only now was the upload worth anything.", {"text": "has the whole"}),
        Beat(MessageStarted, "A HEAD request: “how many bytes do you have?” One round trip, instead of sending everything"
             " again.", {"label": "HEAD"}),
        Beat(MessageStarted, "The upload gets a name of its own before the first byte of it is sent. That name is what"
             " survives a broken connection.", {"label": "POST /files"}),
        Beat(MessageEnded, "The chunk of size 0: only now does the server know how long the body was.",
             {"boundary": "last chunk"}),
    ),
    try_next=(
        "Set method to resumable, and compare the wasted bytes after the next interruption.",
        "Set method to chunked: the length is not announced any more, but an interruption costs the same.",
        "Set method to resumable and the piece to 5 kB: nothing is safer for it, and each piece pays a round trip.",
        "Kill the server in the middle of a resumable upload and restart it: what is on its disk is still there.",
        "Reset the connection at 70 % of a body while the method is whole, and watch all of it go again.",
        "Set method to whole and bandwidth to 20 kB/s: the client gives up on uploads that do arrive, and sends them again.",
        "Unplug the client for ten seconds: nobody is told, and the time limits have to find out.",
    ),
)  # fmt: skip
