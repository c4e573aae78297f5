"""tus 1.0.0, both real peers on the lab's network: the statuses and headers of the protocol, and what survives a break."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import httpx
import pytest
import trio
from starlette.applications import Starlette

from engines.lab.commands import TimedCommand, parse_command
from engines.lab.host import Host
from engines.lab.scenario import HostSpec, Scenario
from engines.lab.session import SessionState, run_headless
from engines.wire import tus
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import http_client
from engines.wire.http_server import serve_http

Talk = Callable[[httpx.AsyncClient], Awaitable[None]]
TUS = {"Tus-Resumable": "1.0.0"}
PATCH = {**TUS, "Content-Type": "application/offset+octet-stream"}


class Conversation:
    """A run of `talk` against a tus server; `completed` are the uploads that became whole."""

    def __init__(self, talk: Talk, *commands: TimedCommand) -> None:
        self.completed: list[bytes] = []
        self._talk = talk
        hosts = (HostSpec("client", self._client), HostSpec("server", self._server))
        scenario = Scenario("tus", "tus", "", hosts, protocols={80: Http1Dissector}, until_s=60.0)
        session = run_headless(scenario, commands=commands)
        assert session.status.state is SessionState.ENDED, session.status.message

    async def _client(self, host: Host) -> None:
        async with http_client(host, base_url="http://server") as http:
            await self._talk(http)
        host.note("finished")

    async def _server(self, host: Host) -> None:
        async def on_complete(upload: tus.Upload) -> None:
            self.completed.append(bytes(upload.data))

        server = tus.TusServer(host.disk.setdefault("uploads", {}), on_complete, max_size=10_000)
        await serve_http(host, Starlette(routes=server.routes()))


async def pieces(*found: bytes) -> AsyncGenerator[bytes, None]:
    for piece in found:
        yield piece


async def send(http: httpx.AsyncClient, url: str, offset: int, data: bytes) -> int:
    async with aclosing(pieces(data)) as body:
        return await tus.send(http, url, offset, len(data), body)


def test_create_send_and_ask() -> None:
    async def talk(http: httpx.AsyncClient) -> None:
        url = await tus.create(http, 10)
        assert await tus.offset(http, url) == 0
        assert await send(http, url, 0, b"hello ") == 6
        assert await tus.offset(http, url) == 6
        assert await send(http, url, 6, b"tus!") == 10
        assert await tus.offset(http, url) == 10

    assert Conversation(talk).completed == [b"hello tus!"]


def test_creation_says_where() -> None:
    async def talk(http: httpx.AsyncClient) -> None:
        response = await http.post("/files", headers={**TUS, "Upload-Length": "10"})
        assert response.status_code == 201
        assert response.headers["Location"] == "/files/1"
        assert response.headers["Tus-Resumable"] == "1.0.0"
        again = await http.post("/files", headers={**TUS, "Upload-Length": "10"})
        assert again.headers["Location"] == "/files/2"

    Conversation(talk)


def test_head_is_not_for_caches() -> None:
    async def talk(http: httpx.AsyncClient) -> None:
        response = await http.head(await tus.create(http, 10), headers=TUS)
        assert response.status_code == 200
        assert response.headers["Upload-Offset"] == "0"
        assert response.headers["Upload-Length"] == "10"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Tus-Resumable"] == "1.0.0"

    Conversation(talk)


def test_options_tells_versions_and_extensions_without_being_told_one() -> None:
    async def talk(http: httpx.AsyncClient) -> None:
        response = await http.options("/files")
        assert response.status_code == 204
        assert response.headers["Tus-Version"] == "1.0.0"
        assert response.headers["Tus-Extension"] == "creation"
        assert response.headers["Tus-Max-Size"] == "10000"

    Conversation(talk)


@pytest.mark.parametrize("version", [{}, {"Tus-Resumable": "0.2.2"}, {"Tus-Resumable": ""}])
@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH"])
def test_another_version_is_refused_and_nothing_is_done(method: str, version: dict[str, str]) -> None:
    async def talk(http: httpx.AsyncClient) -> None:
        url = await tus.create(http, 3)
        headers = {"Upload-Length": "3", "Upload-Offset": "0", "Content-Type": tus.CONTENT_TYPE, **version}
        response = await http.request(method, "/files" if method == "POST" else url, headers=headers, content=b"abc")
        assert response.status_code == 412
        assert response.headers["Tus-Version"] == "1.0.0"
        assert await tus.offset(http, url) == 0
        assert await tus.create(http, 3) == "/files/2"

    assert Conversation(talk).completed == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({**PATCH, "Upload-Offset": "1"}, 409),
        ({**PATCH, "Upload-Offset": "-1"}, 409),
        ({**PATCH, "Upload-Offset": "x"}, 409),
        (PATCH, 409),
        ({**PATCH, "Upload-Offset": "0", "Content-Type": "image/png"}, 415),
        ({**TUS, "Upload-Offset": "0"}, 415),
    ],
)
def test_a_patch_that_does_not_fit_changes_nothing(headers: dict[str, str], status: int) -> None:
    async def talk(http: httpx.AsyncClient) -> None:
        url = await tus.create(http, 3)
        assert (await http.patch(url, headers=headers, content=b"abc")).status_code == status
        assert await tus.offset(http, url) == 0

    Conversation(talk)


@pytest.mark.parametrize("length", [None, "", "-1", "ten", "1.5", "²"])
def test_a_creation_needs_a_length(length: str | None) -> None:
    async def talk(http: httpx.AsyncClient) -> None:
        headers = TUS if length is None else {**TUS, "Upload-Length": length.encode()}
        assert (await http.post("/files", headers=headers)).status_code == 400  # type: ignore[arg-type]

    Conversation(talk)


def test_what_is_too_large_is_refused() -> None:
    async def talk(http: httpx.AsyncClient) -> None:
        with pytest.raises(tus.Refused, match="413"):
            await tus.create(http, 10_001)
        url = await tus.create(http, 3)
        with pytest.raises(tus.Refused, match="413"):
            await send(http, url, 0, b"four")
        assert await tus.offset(http, url) == 0

    assert Conversation(talk).completed == []


def test_an_unknown_upload_is_not_found() -> None:
    async def talk(http: httpx.AsyncClient) -> None:
        with pytest.raises(tus.Refused, match="404"):
            await tus.offset(http, "/files/77")
        with pytest.raises(tus.Refused, match="404"):
            await send(http, "/files/77", 0, b"abc")

    Conversation(talk)


def test_an_empty_upload_is_complete_at_once() -> None:
    async def talk(http: httpx.AsyncClient) -> None:
        assert await tus.offset(http, await tus.create(http, 0)) == 0

    assert Conversation(talk).completed == [b""]


def test_what_arrived_before_the_break_is_kept() -> None:
    data = bytes(range(256)) * 20

    async def talk(http: httpx.AsyncClient) -> None:
        url = await tus.create(http, len(data))
        with pytest.raises(httpx.TransportError):
            await send(http, url, 0, data)
        kept = await tus.offset(http, url)
        assert kept == int(0.7 * len(data))
        assert await send(http, url, kept, data[kept:]) == len(data)

    broken = TimedCommand(0.0, parse_command("reset after 70% of next request"))
    assert Conversation(talk, broken).completed == [data]


def test_what_arrived_before_a_restart_is_kept_on_disk() -> None:
    async def talk(http: httpx.AsyncClient) -> None:
        url = await tus.create(http, 6)
        await send(http, url, 0, b"abc")
        await trio.sleep(2.0)
        assert await tus.offset(http, url) == 3
        await send(http, url, 3, b"def")

    assert Conversation(talk, TimedCommand(1.0, parse_command("restart server"))).completed == [b"abcdef"]


def test_a_newer_request_takes_over_from_one_whose_bytes_are_late() -> None:
    """The client gave up on a PATCH whose rest still lies in the network; it must not arrive twice."""
    data = b"0123456789"

    async def slow_body() -> AsyncIterator[bytes]:
        yield data[:4]
        await trio.sleep(5.0)
        yield data[4:]

    async def talk(http: httpx.AsyncClient) -> None:
        url = await tus.create(http, len(data))

        async def first_try() -> None:
            with pytest.raises(tus.Refused, match="409"):
                await tus.send(http, url, 0, len(data), slow_body())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(first_try)
            await trio.sleep(1.0)
            kept = await tus.offset(http, url)
            assert kept == 4
            assert await send(http, url, kept, data[kept:]) == len(data)

    assert Conversation(talk).completed == [data]
