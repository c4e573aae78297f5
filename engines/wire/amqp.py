"""Reads AMQP 0-9-1 messages out of a connection's bytes, as a passive observer: a method with its content is one message.

Frames of several channels may be mixed on one connection (section 4.2.6 of the specification forbids it only within a
channel), so a message's `stream` is its channel. What is said depends on the bytes alone, never on how they were cut into
packets. Bytes that cannot be frames are said to be "not AMQP" once, and nothing more is found in that direction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from engines.lab.dissection import Ended, Part, Side, Started
from engines.lab.facts import Role
from engines.wire import amqp_grammar as grammar
from engines.wire.amqp_grammar import BODY, HEADER, HEARTBEAT, METHOD, Frame, MalformedError, Method, Value
from engines.wire.amqp_parts import message_parts

Event = Started | Ended

_ROLES = {
    "basic.publish": Role.PUSH,
    "basic.deliver": Role.PUSH,
    "basic.return": Role.ERROR,
    "basic.get": Role.REQUEST,
    "basic.get-ok": Role.RESPONSE,
    "basic.get-empty": Role.RESPONSE,
    "basic.ack": Role.ACK,
    "basic.nack": Role.ACK,
    "basic.reject": Role.ACK,
}
"""What a method is to the two who exchange it; all others agree on something: CONTROL."""
_SETTLED_WELL = 200
"""The reply code of a close that has nothing to complain of: reply-success."""

_DETAILS = {
    "basic.publish": "{routing-key}",
    "basic.deliver": "{routing-key}",
    "basic.get-ok": "{routing-key}",
    "basic.return": "{reply-code} {reply-text}",
    "basic.get": "{queue}",
    "basic.ack": "{delivery-tag}",
    "basic.nack": "{delivery-tag}",
    "basic.reject": "{delivery-tag}",
    "basic.consume": "{queue}",
    "basic.cancel": "{consumer-tag}",
    "basic.qos": "prefetch {prefetch-count}",
    "queue.declare": "{queue}",
    "queue.declare-ok": "{queue}",
    "connection.tune": "heartbeat {heartbeat} s",
    "connection.tune-ok": "heartbeat {heartbeat} s",
    "connection.close": "{reply-code} {reply-text}",
    "channel.close": "{reply-code} {reply-text}",
}
"""What a label says of a method's arguments. A content's message-id, where it has one, is said in their place."""


class AmqpDissector:
    """An AMQP 0-9-1 connection. See `engines.lab.dissection.Dissector`."""

    name = "amqp"

    def __init__(self) -> None:
        self._directions = (_Direction(), _Direction())

    def feed(self, side: Side, data: bytes) -> Sequence[Event]:
        """Take the next bytes that `side` sent and return what they completed, in order."""
        return self._directions[side].feed(data)

    def finish(self, side: Side) -> Sequence[Ended]:
        """`side` will send nothing more: contents that lack a part of their body are cut short."""
        return self._directions[side].finish()

    def parts(self, side: Side, stream: bytes, start: int, end: int) -> list[Part]:
        """Name the parts of the message at bytes `start` to `end` of `stream`. Pure."""
        return message_parts(stream, start, min(end, len(stream)))


# --- finding messages ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Content:
    """A content that is on its way in one channel: its method has come; `missing` body bytes once its header has as well."""

    method: Method
    arguments: dict[str, Value]
    start: int
    missing: int = -1

    @property
    def begun(self) -> bool:
        return self.missing >= 0


class _Direction:
    """The messages of one side."""

    def __init__(self) -> None:
        self._offset = 0  # of the first pending byte
        self._pending = bytearray()
        self._contents: dict[int, _Content] = {}
        self._lost = False

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        self._pending += data
        position = 0
        try:
            while not self._lost and (end := self._take(position, events)):
                position = end
        except MalformedError as error:
            self._lose(self._offset + position, str(error), events)
        if self._lost:
            position = len(self._pending)
        self._offset += position
        del self._pending[:position]
        return events

    def finish(self) -> list[Ended]:
        end = self._offset + len(self._pending)
        self._offset, self._pending = end, bytearray()
        if self._lost:
            self._lost = False
            return [Ended(end, "connection closed")]
        cut = [Ended(end, "cut short", channel) for channel, content in self._contents.items() if content.begun]
        self._contents.clear()
        return cut

    def _take(self, position: int, events: list[Event]) -> int:
        """Take the frame at `position`; where it ends, or 0 when it is not all there. Raises MalformedError."""
        data = self._pending
        if self._offset + position == 0 and data[:1] == grammar.PROTOCOL[:1]:
            return self._protocol_header(events)
        frame = grammar.frame_at(data, position)
        if frame is None:
            return 0
        _TAKERS[frame.kind](self, frame, events)
        return frame.end

    def _protocol_header(self, events: list[Event]) -> int:
        """Section 4.2.2: "AMQP", 0, and the version in three octets. Only the first bytes of a direction can be one."""
        data, size = self._pending, grammar.PROTOCOL_HEADER_SIZE
        if not grammar.PROTOCOL.startswith(data[:4]):
            raise MalformedError("no protocol header here")
        if len(data) < size:
            return 0
        version = "-".join(map(str, data[5:8]))
        events.append(Started(Role.CONTROL, f"protocol header {version}", 0, size, 0))
        events.append(Ended(size, "fixed size"))
        return size

    def _method(self, frame: Frame, events: list[Event]) -> None:
        start, end = frame.payload
        offset = self._offset + frame.start
        unfinished = self._contents.pop(frame.channel, None)
        if unfinished and unfinished.begun:
            events.append(Ended(offset, "cut short", frame.channel))
        method = grammar.method_at(self._pending, start, end)
        if method is None:
            self._whole(frame, Role.CONTROL, "a method that 0-9-1 does not know", events)
            return
        arguments = grammar.values_of(grammar.arguments_at(self._pending, start + 4, end, method))
        if method.name in grammar.CONTENT_METHODS:
            self._contents[frame.channel] = _Content(method, arguments, offset)
        else:
            self._whole(frame, role_of(method, arguments), label_of(method, arguments), events)

    def _header(self, frame: Frame, events: list[Event]) -> None:
        content = self._contents.get(frame.channel)
        if content is None or content.begun:
            raise MalformedError("a content header that no method announced")
        start, end = frame.payload
        content.missing = grammar.body_size_at(self._pending, start, end)
        properties = grammar.properties_at(self._pending, start + grammar.CONTENT_HEADER_SIZE, end)
        label = label_of(content.method, content.arguments, str(grammar.values_of(properties).get("message-id", "")))
        size = None if content.missing else 0
        role = role_of(content.method, content.arguments)
        events.append(Started(role, label, content.start, self._offset + frame.end, size, frame.channel))
        self._count(frame, 0, events)

    def _body(self, frame: Frame, events: list[Event]) -> None:
        content = self._contents.get(frame.channel)
        if content is None or not content.begun:
            raise MalformedError("a content body without its header")
        start, end = frame.payload
        self._count(frame, end - start, events)

    def _count(self, frame: Frame, size: int, events: list[Event]) -> None:
        content = self._contents[frame.channel]
        content.missing = max(0, content.missing - size)
        if not content.missing:
            del self._contents[frame.channel]
            events.append(Ended(self._offset + frame.end, "body size", frame.channel))

    def _heartbeat(self, frame: Frame, events: list[Event]) -> None:
        self._whole(frame, Role.HEARTBEAT, "heartbeat", events)

    def _whole(self, frame: Frame, role: Role, label: str, events: list[Event]) -> None:
        """The frame is a message of its own."""
        start, end = self._offset + frame.start, self._offset + frame.end
        stream = 0 if frame.kind == HEARTBEAT else frame.channel
        events += Started(role, label, start, end, 0, stream), Ended(end, "frame end", stream)

    def _lose(self, offset: int, reason: str, events: list[Event]) -> None:
        """From here on no frame can be found: what is open is cut short, the rest lasts until the close."""
        for channel, content in self._contents.items():
            if content.begun:
                events.append(Ended(offset, "cut short", channel))
        self._contents.clear()
        self._lost = True
        events.append(Started(Role.ERROR, f"not AMQP: {reason}", offset, offset, None))


_TAKERS = {
    METHOD: _Direction._method,
    HEADER: _Direction._header,
    BODY: _Direction._body,
    HEARTBEAT: _Direction._heartbeat,
}


def role_of(method: Method, arguments: dict[str, Value]) -> Role:
    """What a method is to the two who exchange it; a close that complains is an error."""
    if method.name.endswith(".close") and arguments.get("reply-code", _SETTLED_WELL) != _SETTLED_WELL:
        return Role.ERROR
    return _ROLES.get(method.name, Role.CONTROL)


def label_of(method: Method, arguments: dict[str, Value], message_id: str = "") -> str:
    """A method in a few words: "basic.deliver event 7, redelivered"."""
    try:
        detail = message_id or _DETAILS.get(method.name, "").format_map(arguments)
    except KeyError:
        return method.name  # its arguments are cut off or not what they should be
    if arguments.get("multiple"):
        detail = f"all up to {detail}"
    if arguments.get("redelivered"):
        detail += ", redelivered"
    return f"{method.name} {detail}".strip()
