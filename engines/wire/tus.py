"""Resumable uploads, tus 1.0.0 with its creation extension (https://tus.io/protocols/resumable-upload): server and client.

An upload is created, then filled by PATCH requests that each say where they go on. Whatever cuts a PATCH short, the server
keeps the bytes that came, and a HEAD tells the client how many those are.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import aclosing
from dataclasses import dataclass, field

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

VERSION = "1.0.0"
CONTENT_TYPE = "application/offset+octet-stream"

# --- the server ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Upload:
    """`size` bytes that are wanted, and those that have come. `turn` is the number of the newest request that asked for it."""

    size: int
    data: bytearray = field(default_factory=bytearray)
    turn: int = 0

    @property
    def complete(self) -> bool:
        return len(self.data) == self.size


class TusServer:
    """The routes of a tus server. `uploads` is where it keeps them: on a disk, if it is to survive a restart.

    `on_complete` is awaited when the last byte of an upload has come, before the response to its PATCH leaves.
    """

    def __init__(
        self,
        uploads: MutableMapping[str, Upload],
        on_complete: Callable[[Upload], Awaitable[None]],
        path: str = "/files",
        max_size: int = 2**30,
    ) -> None:
        self._uploads = uploads
        self._on_complete = on_complete
        self._path = path
        self._max_size = max_size

    def routes(self) -> list[Route]:
        """The creation URL and the upload URLs."""
        return [
            Route(self._path, self._answer(self._create), methods=["POST", "OPTIONS"]),
            Route(f"{self._path}/{{name}}", self._answer(self._touch), methods=["HEAD", "PATCH", "OPTIONS"]),
        ]

    def _answer(self, act: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """`act` behind the rules for every request: the version is agreed on first."""

        async def endpoint(request: Request) -> Response:
            if request.method == "OPTIONS":
                max_size = {"Tus-Max-Size": str(self._max_size)}
                response = _reply(204, {"Tus-Version": VERSION, "Tus-Extension": "creation", **max_size})
            elif request.headers.get("Tus-Resumable") != VERSION:
                response = _reply(412, {"Tus-Version": VERSION})
            else:
                response = await act(request)
            response.headers["Tus-Resumable"] = VERSION
            return response

        return endpoint

    async def _create(self, request: Request) -> Response:
        size = _whole_number(request.headers.get("Upload-Length"))
        if size is None:
            return _reply(400)
        if size > self._max_size:
            return _reply(413)
        name = str(len(self._uploads) + 1)
        upload = self._uploads[name] = Upload(size)
        if upload.complete:
            await self._on_complete(upload)
        return _reply(201, {"Location": f"{self._path}/{name}"})

    async def _touch(self, request: Request) -> Response:
        """HEAD and PATCH. Both end an earlier PATCH that is still waiting for bytes of a connection long dead."""
        upload = self._uploads.get(request.path_params["name"])
        if upload is None:
            return _reply(404)
        upload.turn += 1
        if request.method == "HEAD":
            lengths = {"Upload-Offset": str(len(upload.data)), "Upload-Length": str(upload.size)}
            return _reply(200, {**lengths, "Cache-Control": "no-store"})
        if request.headers.get("Content-Type") != CONTENT_TYPE:
            return _reply(415)
        if _whole_number(request.headers.get("Upload-Offset")) != len(upload.data):
            return _reply(409)
        return await self._fill(upload, request)

    async def _fill(self, upload: Upload, request: Request) -> Response:
        turn, was_complete = upload.turn, upload.complete
        try:
            async with aclosing(request.stream()) as pieces:
                async for piece in pieces:
                    if upload.turn != turn:
                        return _reply(409)
                    if len(upload.data) + len(piece) > upload.size:
                        return _reply(413)
                    upload.data += piece
        except ClientDisconnect:
            return _reply(400)  # nobody will read it; what came is kept
        if upload.complete and not was_complete:
            await self._on_complete(upload)
        return _reply(204, {"Upload-Offset": str(len(upload.data))})


def _reply(status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(status_code=status, headers=headers)


def _whole_number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


# --- the client ---------------------------------------------------------------------------------------------------------


class Refused(Exception):
    """The server answered with another status than the one that means success."""

    def __init__(self, what: str, status: int) -> None:
        super().__init__(f"{what} was refused with status {status}")
        self.status = status


async def create(http: httpx.AsyncClient, size: int, path: str = "/files") -> str:
    """Announce an upload of `size` bytes; returns its URL. Raises Refused or httpx.TransportError."""
    response = await http.post(path, headers={"Tus-Resumable": VERSION, "Upload-Length": str(size)})
    return _expect(response, 201, "the creation").headers["Location"]


async def offset(http: httpx.AsyncClient, url: str) -> int:
    """How many bytes of the upload the server has. Raises Refused or httpx.TransportError."""
    response = await http.head(url, headers={"Tus-Resumable": VERSION})
    return int(_expect(response, 200, "the question for the offset").headers["Upload-Offset"])


async def send(http: httpx.AsyncClient, url: str, offset: int, size: int, pieces: AsyncIterator[bytes]) -> int:
    """Send the next `size` bytes of an upload, from `offset` on; returns the new offset. Raises Refused or TransportError."""
    headers = {
        "Tus-Resumable": VERSION,
        "Upload-Offset": str(offset),
        "Content-Type": CONTENT_TYPE,
        "Content-Length": str(size),
    }
    response = await http.patch(url, content=pieces, headers=headers)
    return int(_expect(response, 204, "a piece").headers["Upload-Offset"])


def _expect(response: httpx.Response, status: int, what: str) -> httpx.Response:
    if response.status_code != status:
        raise Refused(what, response.status_code)
    return response
