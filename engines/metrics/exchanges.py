"""Requests and what became of them: each response belongs to the oldest request of its connection, and there of its stream,
that has none yet."""

import re
from collections import deque
from dataclasses import dataclass

from engines.lab.facts import (
    ConnectionClosed,
    ConnectionOpening,
    ConnectionReset,
    MessageEnded,
    MessageStarted,
    PacketDelivered,
    PacketSent,
    Role,
)
from engines.lab.trace import Trace
from engines.metrics.bodies import END_OF_HEAD, Body, FramedBodies, body_after
from engines.metrics.collect import Collector, Handlers
from engines.metrics.streams import Direction, Streams
from engines.streams import in_datagram

_STATUS = re.compile(r"\d{3}\b")
_EMPTY = (204, 304)
_SWITCHING = 101
_ENDS_WITH_FIN = "connection closed"  # then only the FIN tells the receiver that the message is whole
_CUT_SHORT = "cut short"
_NO_BODY = "no body"
_DATAGRAM = "datagram"
_EXCHANGED = (Role.REQUEST, Role.RESPONSE, Role.ERROR)


@dataclass(slots=True)
class _OpenBody:
    message: int
    body: Body
    counted: int = 0


@dataclass(slots=True)
class _Response:
    status: int | None
    asked_at_s: float | None  # when the first byte of its request was sent
    counted: bool = False


class Exchanges(Collector):
    """Counts requests and responses, times each pair from end to end, and measures the bodies."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace)
        self.requests = self.level("requests")
        self.responses = self.level("responses")
        self.errors = self.level("errors")
        self.empty = self.level("empty")
        self.payload = self.level("payload")
        self.delays = self.series("delay")
        self._streams = Streams()
        self._http1: set[int] = set()
        self._framed: dict[int, dict[int, FramedBodies]] = {}  # HTTP/2 connections, and both their directions
        self._unanswered: dict[tuple[int, int], deque[float]] = {}
        self._responses: dict[int, _Response] = {}
        self._bodies: dict[tuple[int, int], _OpenBody] = {}
        self._in_datagrams: dict[
            int, tuple[int, int | None, tuple[int, int]]
        ] = {}  # responses that arrive whole or not at all

    def handlers(self) -> Handlers:
        return {
            ConnectionOpening: self._opening,
            ConnectionClosed: self._closed,
            ConnectionReset: self._closed,
            PacketSent: self._sent,
            PacketDelivered: self._delivered,
            MessageStarted: self._started,
            MessageEnded: self._ended,
        }

    def _opening(self, i: int) -> None:
        if self.trace.names[self.trace.e[i]].startswith("http/1.1"):
            self._http1.add(self.trace.a[i])
        elif self.trace.names[self.trace.e[i]] == "h2":
            client, server = self.trace.b[i], self.trace.c[i]
            self._framed[self.trace.a[i]] = {server: FramedBodies(False), client: FramedBodies(True)}

    def _closed(self, i: int) -> None:
        self._streams.end_closed(self.trace, i)

    def _sent(self, i: int) -> None:
        if self._streams.packet_sent(self.trace, i) is None:
            return
        if open_body := self._bodies.get((self.trace.a[i], self.trace.b[i])):
            self._count_body(i, open_body, self.trace.payload(i))
        elif bodies := self._framed.get(self.trace.a[i]):
            content = bodies[self.trace.b[i]].take(self.trace.payload(i))
            if content:
                self.payload.add(i, content)

    def _delivered(self, i: int) -> None:
        if answer := self._in_datagrams.pop(self.trace.a[i], None):
            self._answered(i, *answer)
        for goal in self._streams.packet_delivered(self.trace, i):
            self._arrived(i, goal)

    def _started(self, i: int) -> None:
        trace = self.trace
        flow, sender, role, offset = trace.a[i], trace.b[i], trace.d[i], trace.e[i]
        direction = self._streams[flow, sender]
        direction.forget_before(offset)
        if role not in _EXCHANGED:
            return  # a message inside a response, or on a connection that knows no requests
        head_end = self._open_body(i, direction) if flow in self._http1 else direction.last_end(offset)
        exchange = (flow, trace.f[i])
        if role == Role.REQUEST:
            self.requests.add(i, 1)
            first = direction.first_packet(offset, i)
            self._unanswered.setdefault(exchange, deque()).append(trace.time[first])
        else:
            match = _STATUS.match(trace.text(i))
            status = int(match[0]) if match else None
            if status is None and flow in self._framed:
                return  # RST_STREAM: a request has come to nothing, and that is no response
            if status is not None and status < 200 and status != _SWITCHING:
                return  # interim: the answer proper is still to come (RFC 9110, section 15.2)
            waiting = self._unanswered.get(exchange)
            if in_datagram(trace, i):
                self._in_datagrams[trace.cause[i]] = i, status, exchange
                return
            self._responses[i] = _Response(status, waiting.popleft() if waiting else None)
            direction.expect(head_end, _head_of(i))
            self._report(i, direction)

    def _ended(self, i: int) -> None:
        trace = self.trace
        message, end, boundary = trace.a[i], trace.c[i], trace.names[trace.d[i]]
        key = (trace.a[message], trace.b[message])
        open_body = self._bodies.get(key)
        if open_body and open_body.message == message:
            del self._bodies[key]
            if (
                boundary == _NO_BODY and open_body.counted
            ):  # the answer to a HEAD announces a body that it does not have
                self.payload.add(i, -open_body.counted)
        if message in self._responses and boundary not in (_CUT_SHORT, _DATAGRAM):
            direction = self._streams[key]
            direction.expect(end + (boundary == _ENDS_WITH_FIN), _end_of(message))
            self._report(i, direction)

    def _report(self, i: int, direction: Direction) -> None:
        """What was expected may have been there already: a FIN may tell only later that a message is whole."""
        for goal in direction.reached():
            self._arrived(i, goal)

    def _arrived(self, i: int, goal: int) -> None:
        message, is_end = divmod(goal, 2)
        response = self._responses.get(message)
        if response is None:
            return  # its end came before what was thought to be the end of its head: more messages shared their packet
        if not response.counted:
            response.counted = True
            self._count(i, response)
        if not is_end:
            return
        del self._responses[message]
        if response.asked_at_s is not None:
            self.delays.add(i, self.trace.time[i] - response.asked_at_s)

    def _answered(self, i: int, message: int, status: int | None, exchange: tuple[int, int]) -> None:
        """A response came in a datagram: it answers its request however often that was sent, and a second one answers none."""
        asked = self._unanswered.pop(exchange, None)
        self._responses[message] = _Response(status, asked[0] if asked else None)
        self._arrived(i, _end_of(message))

    def _count(self, i: int, response: _Response) -> None:
        self.responses.add(i, 1)
        if response.status in _EMPTY:
            self.empty.add(i, 1)
        if response.status is not None and response.status >= 400:
            self.errors.add(i, 1)

    def _open_body(self, i: int, direction: Direction) -> int:
        """Find where the head of message `i` ends and begin to count the body behind it; returns that place."""
        offset = self.trace.e[i]
        sent = direction.bytes_from(self.trace, offset)
        size = sent.find(END_OF_HEAD) + len(END_OF_HEAD)
        if size < len(END_OF_HEAD):
            return offset + len(sent)
        open_body = _OpenBody(i, body_after(sent[:size], self.trace.d[i] == Role.REQUEST))
        self._bodies[self.trace.a[i], self.trace.b[i]] = open_body
        self._count_body(i, open_body, sent[size:])
        return offset + size

    def _count_body(self, i: int, open_body: _OpenBody, data: bytes) -> None:
        content = open_body.body.take(data)
        if content:
            open_body.counted += content
            self.payload.add(i, content)


def _head_of(message: int) -> int:
    return 2 * message


def _end_of(message: int) -> int:
    return 2 * message + 1
