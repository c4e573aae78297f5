"""AMQP 0-9-1 over a byte stream, the same for both peers: methods with their content in and out, and heartbeats.

pamqp encodes and decodes the frames. What is here is what makes a conversation of them: a content put together from its
frames (specification, section 4.2.6), and a connection that counts as dead after two missed heartbeats (section 4.2.7).
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import trio
from pamqp import base, body, commands, constants, frame, header, heartbeat

from engines.lab.recorder import present_cause
from engines.lab.tcp import Endpoint

PORT = 5672
HEARTBEAT_S = 60
"""RabbitMQ 4's default heartbeat timeout. A beat is sent every half of it; two missed, and the peer is held to be dead."""
FRAME_MAX = constants.FRAME_MAX_SIZE
"""131,072 bytes: RabbitMQ 4's default."""
HANDSHAKE_S = 10.0
"""RabbitMQ 4's handshake_timeout."""
_OVERHEAD = 8  # a frame's header and end, which frame_max counts as well

Properties = commands.Basic.Properties
WITH_CONTENT = (commands.Basic.Publish, commands.Basic.Deliver, commands.Basic.GetOk, commands.Basic.Return)


class AmqpConnectionLost(Exception):
    """The connection is gone: closed, reset, or silent for too long. What was not acknowledged will be delivered again."""


class AmqpMalformed(AmqpConnectionLost):
    """The peer sent bytes that are no frames."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a method carries besides its arguments."""

    body: bytes = b""
    properties: Properties = field(default_factory=Properties)


NO_CONTENT = Content()


@dataclass(frozen=True, slots=True)
class Arrived:
    """A method that came in on a channel, with its whole content. `cause` is the fact because of which it is here."""

    channel: int
    method: base.Frame
    content: Content = NO_CONTENT
    cause: int = field(default_factory=present_cause)


class AmqpStream:
    """One connection. `heartbeat_s` is the timeout that the peers agreed on; 0 means that silence is no sign of death."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.heartbeat_s = 0.0
        self.frame_max = FRAME_MAX
        self._endpoint = endpoint
        self._received = bytearray()
        self._unfinished: dict[int, _Assembly] = {}
        self._turn = trio.Lock()
        self._last_sent = trio.current_time()

    async def send_protocol_header(self) -> None:
        """Say "AMQP 0-9-1", the first bytes of a connection (section 4.2.2)."""
        await self._send(header.ProtocolHeader().marshal())

    async def receive_protocol_header(self) -> bool:
        """Whether the peer begins with the header of this very version. Raises AmqpConnectionLost."""
        while len(self._received) < 8:
            await self._receive_more()
        found = bytes(self._received[:8])
        del self._received[:8]
        return found == header.ProtocolHeader().marshal()

    async def send(self, channel: int, method: base.Frame, content: Content | None = None) -> None:
        """Send a method, and its content in as few frames as the peers agreed on. Raises AmqpConnectionLost."""
        await self._send(b"".join(frame.marshal(part, channel) for part in self._frames(method, content)))

    def _frames(self, method: base.Frame, content: Content | None) -> Iterator[frame.FrameTypes]:
        yield method
        if content is not None:
            yield header.ContentHeader(body_size=len(content.body), properties=content.properties)
            room = self.frame_max - _OVERHEAD
            for start in range(0, len(content.body), room):
                yield body.ContentBody(content.body[start : start + room])

    async def receive(self) -> Arrived:
        """The next method with its whole content. Raises AmqpConnectionLost."""
        while True:
            channel, part = await self._next_frame()
            if isinstance(part, heartbeat.Heartbeat):
                continue  # that it came is all there is to it
            if isinstance(part, base.Frame):
                self._unfinished.setdefault(channel, _Assembly(part))
            arrived = self._put_together(channel, part)
            if arrived is not None:
                return arrived

    def _put_together(self, channel: int, part: frame.FrameTypes) -> Arrived | None:
        """Add a frame to what has come in its channel; the method, once all of it is there."""
        assembly = self._unfinished.get(channel)
        if assembly is None or not assembly.add(part):
            raise AmqpMalformed(f"a {part.name} where none belongs")
        if not assembly.complete:
            return None
        del self._unfinished[channel]
        return Arrived(channel, assembly.method, Content(bytes(assembly.body), assembly.properties))

    async def keep_alive(self) -> None:
        """Send a heartbeat whenever nothing else was sent for half the timeout; returns when there are none to send."""
        while self.heartbeat_s:
            due = self._last_sent + self.heartbeat_s / 2
            if trio.current_time() < due:
                await trio.sleep_until(due)
            else:
                await self._send(heartbeat.Heartbeat.marshal())

    def close(self) -> None:
        """Close the connection under the protocol, without waiting."""
        self._endpoint.close()

    async def _send(self, data: bytes) -> None:
        try:
            async with self._turn:
                await self._endpoint.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise AmqpConnectionLost(str(error)) from error
        self._last_sent = trio.current_time()

    async def _next_frame(self) -> tuple[int, frame.FrameTypes]:
        while True:
            size = _frame_size(self._received)
            if size and len(self._received) >= size:
                data = bytes(self._received[:size])
                del self._received[:size]
                return _decoded(data)
            await self._receive_more()

    async def _receive_more(self) -> None:
        """Any octets are as good as a heartbeat (section 4.2.7)."""
        try:
            with trio.fail_after(self.heartbeat_s or math.inf):
                data = await self._endpoint.receive_some()
        except trio.TooSlowError:
            raise AmqpConnectionLost(f"two heartbeats missed: silence for {self.heartbeat_s:g} s") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise AmqpConnectionLost(str(error)) from error
        if not data:
            raise AmqpConnectionLost("closed by the peer")
        self._received += data


@dataclass(slots=True)
class _Assembly:
    """A method whose content is still coming."""

    method: base.Frame
    properties: Properties = field(default_factory=Properties)
    body: bytearray = field(default_factory=bytearray)
    missing: int | None = None  # bytes of the body; None before the content header

    def add(self, part: frame.FrameTypes) -> bool:
        """Take the next frame; False when it does not belong here."""
        if isinstance(part, header.ContentHeader) and self.missing is None:
            self.missing, self.properties = part.body_size, part.properties
        elif isinstance(part, body.ContentBody) and self.missing is not None:
            self.missing -= len(part)
            self.body += part.value
        else:
            return part is self.method
        return self.missing >= 0

    @property
    def complete(self) -> bool:
        return self.missing == 0 or not isinstance(self.method, WITH_CONTENT)


def _frame_size(data: bytearray) -> int:
    """The size of the frame that `data` begins with, or 0 when too little of it has come. Raises AmqpMalformed."""
    if len(data) < constants.FRAME_HEADER_SIZE:
        return 0
    size: int = struct.unpack_from(">I", data, 3)[0]
    if data.startswith(constants.AMQP) or size > FRAME_MAX:
        raise AmqpMalformed("the peer does not speak AMQP 0-9-1")
    return constants.FRAME_HEADER_SIZE + size + 1


def _decoded(data: bytes) -> tuple[int, frame.FrameTypes]:
    """One frame. pamqp raises whatever it meets in a bad one, and sees none in a body of no bytes."""
    try:
        _, channel, part = frame.unmarshal(data)
    except Exception as error:
        raise AmqpMalformed(f"no frame of AMQP 0-9-1: {error}") from error
    return channel, part
