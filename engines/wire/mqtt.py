"""Reads MQTT 5 packets out of a connection's bytes, as a passive observer: each packet is a message.

What is said depends on the bytes alone, never on how they were cut into packets of the network. Bytes that cannot be MQTT 5
are said to be "not MQTT 5" once, and nothing more is found in that direction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from engines.lab.dissection import Ended, Part, Side, Started
from engines.lab.facts import Role
from engines.wire import mqtt_grammar as grammar
from engines.wire.mqtt_grammar import FixedHeader, IncompleteError, MalformedError, Value
from engines.wire.mqtt_parts import packet_parts

Event = Started | Ended

_ROLES = {
    grammar.CONNECT: Role.REQUEST,
    grammar.CONNACK: Role.RESPONSE,
    grammar.PUBLISH: Role.PUSH,
    grammar.PUBACK: Role.ACK,
    grammar.PUBREC: Role.ACK,
    grammar.PUBCOMP: Role.ACK,
    grammar.SUBSCRIBE: Role.REQUEST,
    grammar.SUBACK: Role.RESPONSE,
    grammar.UNSUBSCRIBE: Role.REQUEST,
    grammar.UNSUBACK: Role.RESPONSE,
    grammar.PINGREQ: Role.HEARTBEAT,
    grammar.PINGRESP: Role.HEARTBEAT,
}
"""What a packet is to the two who exchange it; PUBREL, DISCONNECT and AUTH say how to go on: CONTROL."""
_REFUSAL = 0x80
"""A reason code of this or more is bad news (2.4)."""


@dataclass(slots=True)
class _Direction:
    """One side's packets."""

    offset: int = 0  # of the first pending byte
    pending: bytearray = field(default_factory=bytearray)
    body_left: int = 0  # bytes of an open PUBLISH's payload that have not come
    lost: bool = False

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        self.pending += data
        try:
            while self._take(events):
                pass
        except IncompleteError:
            pass
        except MalformedError as error:
            self.lost = True
            events.append(Started(Role.ERROR, f"not MQTT 5: {error}", self.offset, self.offset, None))
        if self.lost:
            self._move_on(len(self.pending))
        return events

    def finish(self) -> list[Ended]:
        end = self.offset + len(self.pending)
        unfinished = "connection closed" if self.lost else "cut short" if self.body_left else ""
        self.offset, self.pending, self.body_left, self.lost = end, bytearray(), 0, False
        return [Ended(end, unfinished)] if unfinished else []

    def _take(self, events: list[Event]) -> bool:
        """Take a packet, or the rest of a payload; False when there is no more. Raises IncompleteError or MalformedError."""
        if self.lost or not self.pending:
            return False
        if self.body_left:
            size = min(self.body_left, len(self.pending))
            self.body_left -= size
            self._move_on(size)
            if not self.body_left:
                events.append(Ended(self.offset, "remaining length"))
            return True
        header = grammar.fixed_header(self.pending, 0)
        values, body = self._read(header)
        events.append(
            Started(
                role_of(header, values), label_of(header, values), self.offset, self.offset + body, header.end - body
            )
        )
        self.body_left = header.end - body
        self._move_on(body)
        if not self.body_left:
            events.append(Ended(self.offset, "remaining length"))
        return True

    def _read(self, header: FixedHeader) -> tuple[dict[str, list[Value]], int]:
        """The fields of a packet by name, and where its body begins: the payload of a PUBLISH; no other packet has one."""
        values: dict[str, list[Value]] = {}
        for found in grammar.fields_of(self.pending, header):
            if found.name == "payload":
                return values, found.start
            values.setdefault(found.name, []).append(found.value)
        return values, header.end

    def _move_on(self, size: int) -> None:
        self.offset += size
        del self.pending[:size]


class MqttDissector:
    """An MQTT 5 connection. See `engines.lab.dissection.Dissector`."""

    name = "mqtt"

    def __init__(self) -> None:
        self._directions = (_Direction(), _Direction())

    def feed(self, side: Side, data: bytes) -> Sequence[Event]:
        """Take the next bytes that `side` sent and return what they completed, in order."""
        return self._directions[side].feed(data)

    def finish(self, side: Side) -> Sequence[Ended]:
        """`side` will send nothing more: a payload that is not all there is cut short."""
        return self._directions[side].finish()

    def parts(self, side: Side, stream: bytes, start: int, end: int) -> list[Part]:
        """Name the parts of the packet at bytes `start` to `end` of `stream`. Pure."""
        return packet_parts(stream, start, min(end, len(stream)))


# --- what is said of a packet -------------------------------------------------------------------------------------------


def role_of(header: FixedHeader, values: dict[str, list[Value]]) -> Role:
    """What a packet is to the two who exchange it; one whose every reason code is a refusal is an error."""
    codes = [int(code) for code in values.get("reason code", [])]
    if codes and all(code >= _REFUSAL for code in codes):
        return Role.ERROR
    return _ROLES.get(header.kind, Role.CONTROL)


def label_of(header: FixedHeader, values: dict[str, list[Value]]) -> str:
    """A packet in a few words: "PUBLISH QoS 2 id 7 DUP news/1". What is cut off first where there is little room comes last."""
    kind = header.kind
    name = grammar.NAMES[kind]
    number = str(values.get("packet id", [""])[0])
    codes = [int(code) for code in values.get("reason code", [])]
    if kind == grammar.PUBLISH:
        said = ["QoS", str(header.qos), "id", number] if header.qos else []
        said += [word for bit, word in ((8, "DUP"), (1, "RETAIN")) if header.flags & bit]
        said.append(str(values["topic"][0]))
    elif kind == grammar.CONNECT:
        said = [str(values["client id"][0])]
        said += ["clean start"] if int(values["connect flags"][0]) & 2 else []
        said += [f"will {values['will topic'][0]}"] if "will topic" in values else []
    elif kind == grammar.CONNACK and not codes[0]:
        said = ["session present"] if values["acknowledge flags"][0] else []
    elif kind == grammar.SUBSCRIBE:
        filters = zip(values.get("topic filter", []), values.get("options", []), strict=False)
        said = [", ".join(f"{text} QoS {int(options) & 3}" for text, options in filters)]
    elif kind == grammar.UNSUBSCRIBE:
        said = [", ".join(map(str, values.get("topic filter", [])))]
    elif kind == grammar.SUBACK:
        said = [", ".join(f"QoS {code}" if code <= 2 else grammar.reason_name(kind, code) for code in codes)]
    else:
        said = [number] if number else []
        said += [grammar.reason_name(kind, code) for code in codes if code]
    return " ".join(filter(None, [name, *said]))
