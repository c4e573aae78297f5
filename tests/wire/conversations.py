"""Random HTTP/1.1 conversations between the two real peers of h11, with the messages that an observer should find in them."""

from dataclasses import dataclass, field
from itertools import cycle

import h11
from hypothesis import strategies as st

from engines.lab.dissection import Dissector, Ended, Part, Side, Started
from engines.lab.facts import Role

Event = Started | Ended
Sizes = tuple[int, ...]

WHOLE: Sizes = (1 << 30,)
BODILESS = (204, 304)
BOUNDARIES = {"none": "no body", "length": "content-length", "chunked": "last chunk", "close": "connection closed"}


def read(dissector: Dissector, side: Side, data: bytes, sizes: Sizes = WHOLE) -> list[Event]:
    """Feed `data` in pieces of `sizes`, over and over, and return all that came of it."""
    events: list[Event] = []
    position = 0
    for size in cycle(sizes):
        if position >= len(data):
            break
        events += dissector.feed(side, data[position : position + size])
        position += size
    return events


def assert_covers(parts: list[Part], start: int, end: int) -> None:
    """The parts are the bytes `start` to `end` without gap or overlap, and what they say is fit to print."""
    assert [part.start for part in parts] + [end] == [start] + [part.end for part in parts]
    assert all(part.start < part.end for part in parts)
    assert all(part.note.isprintable() for part in parts)


@dataclass(frozen=True)
class Body:
    """How a body is framed ("none", "length", "chunked", "close") and the pieces it is sent in."""

    framing: str
    chunks: list[bytes]
    trailers: bool = False

    @property
    def size(self) -> int:
        return sum(map(len, self.chunks))

    @property
    def headers(self) -> list[tuple[str, str]]:
        named = {"length": [("Content-Length", str(self.size))], "chunked": [("Transfer-Encoding", "chunked")]}
        return [("Host", "a"), *named.get(self.framing, [])]


NO_BODY = Body("none", [])


@dataclass(frozen=True)
class Exchange:
    """A request, interim responses, a response."""

    method: str
    request: Body
    interim: list[int]
    status: int
    response: Body


def bodies(*framings: str) -> st.SearchStrategy[Body]:
    chunks = st.lists(st.binary(min_size=1, max_size=40), max_size=3)
    return st.builds(Body, st.sampled_from(framings), chunks, st.booleans())


EXCHANGES = st.builds(
    Exchange,
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE"]),
    request=bodies("length", "chunked") | st.just(NO_BODY),
    interim=st.lists(st.sampled_from([100, 102, 103, 104]), max_size=2),
    status=st.sampled_from([200, 201, 204, 304, 404, 500]),
    response=bodies("length", "chunked"),
)
SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=6).map(tuple) | st.sampled_from([(1,), WHOLE])

# Bytes that are nearly HTTP/1.1: the interesting garbage.
SHREDS = st.sampled_from(
    [b"GET / HTTP/1.1\r\n", b"HEAD /x HTTP/1.0\n", b"CONNECT a:1 HTTP/1.1\r\n", b"HTTP/1.1 200 OK\r\n",
     b"HTTP/1.1 101 \r\n", b"\r\n", b"\n", b"\r", b"5\r\n", b"0\r\n", b"Transfer-Encoding: chunked\r\n",
     b"Content-Length: 5\r\n", b"Content-Length: 5, 5\r\n", b"hello", b" folded\r\n", b"X: y\r\n", b":"]
)  # fmt: skip
GARBAGE = st.binary(max_size=80) | st.lists(SHREDS | st.binary(max_size=3), max_size=14).map(b"".join)


@dataclass
class Said:
    """What one side put on the wire during one exchange, and what is to be found in it."""

    offset: int
    data: bytes = b""
    events: list[Event] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.offset + len(self.data)

    def message(self, role: Role, label: str, head: bytes, body: Body, rest: bytes = b"") -> None:
        size = {"none": 0, "length": body.size}.get(body.framing)
        self.events.append(Started(role, label, self.end, self.end + len(head), size))
        self.data += head + rest
        self.events.append(Ended(self.end, BOUNDARIES[body.framing]))
        self.contents.append(b"".join(body.chunks))


class Conversation:
    """An h11 client and an h11 server, each reading what the other says. One `Said` a side and exchange.

    With `until_close` the last request says HTTP/1.0, so that h11 ends a body of unknown size by closing.
    """

    def __init__(self, exchanges: list[Exchange], until_close: bool) -> None:
        self._client, self._server = h11.Connection(h11.CLIENT), h11.Connection(h11.SERVER)
        self.said: tuple[list[Said], list[Said]] = ([], [])
        for number, exchange in enumerate(exchanges):
            if number:
                self._client.start_next_cycle()
                self._server.start_next_cycle()
            old = until_close and number == len(exchanges) - 1
            self._ask(exchange, f"/{number}", old)
            self._answer(exchange, old)

    def _ask(self, exchange: Exchange, target: str, old: bool) -> None:
        request = h11.Request(method=exchange.method, target=target, headers=exchange.request.headers)
        head = sent(self._client, request)
        if old:
            head = head.replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        said = self._next(Side.CLIENT)
        rest = content(self._client, exchange.request)
        said.message(Role.REQUEST, f"{exchange.method} {target}", head, exchange.request, rest)
        hear(self._server, said.data)

    def _answer(self, exchange: Exchange, old: bool) -> None:
        said = self._next(Side.SERVER)
        for status in exchange.interim:
            head = sent(self._server, h11.InformationalResponse(status_code=status, reason=b"Wait", headers=[]))
            said.message(Role.RESPONSE, f"{status} Wait", head, NO_BODY)
        body = exchange.response
        if old and body.framing == "chunked":
            body = Body("close", body.chunks)
        head = sent(self._server, h11.Response(status_code=exchange.status, reason=b"So", headers=body.headers))
        if exchange.method == "HEAD" or exchange.status in BODILESS:
            body = NO_BODY
        role = Role.ERROR if exchange.status >= 400 else Role.RESPONSE
        said.message(role, f"{exchange.status} So", head, body, content(self._server, body))
        hear(self._client, said.data)

    def _next(self, side: Side) -> Said:
        before = self.said[side]
        before.append(Said(before[-1].end if before else 0))
        return before[-1]


def sent(peer: h11.Connection, event: h11.Event) -> bytes:
    return peer.send(event) or b""


def content(peer: h11.Connection, body: Body) -> bytes:
    trailers = [("X-Sum", "1")] if body.trailers and body.framing == "chunked" else []
    chunks = b"".join(sent(peer, h11.Data(data=chunk)) for chunk in body.chunks)
    return chunks + sent(peer, h11.EndOfMessage(headers=trailers))


def hear(peer: h11.Connection, data: bytes) -> None:
    peer.receive_data(data)
    while peer.their_state is not h11.DONE and peer.next_event() not in (h11.NEED_DATA, h11.PAUSED):
        pass
