"""Reads SSH as far as a passive observer can: the version lines, and packets as long as they are not encrypted (RFC 4253)."""

import struct
from collections.abc import Sequence
from contextlib import suppress

from engines.lab.dissection import Ended, Event, Part, Side, Started
from engines.lab.facts import Role
from engines.wire.http1_grammar import readable
from engines.wire.ssh import GLOBAL_REQUEST, LONGEST_PACKET, REQUEST_FAILURE, REQUEST_SUCCESS, read_string

LONGEST_LINE = 255
"""The version line with its end (section 4.2)."""
BOUNDARY = "packet length"
_HEAD = 5

_MESSAGES: dict[int, tuple[str, Role]] = {
    1: ("disconnect", Role.CONTROL),
    2: ("ignore", Role.CONTROL),
    20: ("kexinit", Role.CONTROL),
    21: ("newkeys", Role.CONTROL),
    GLOBAL_REQUEST: ("global request", Role.REQUEST),
    REQUEST_SUCCESS: ("request success", Role.RESPONSE),
    REQUEST_FAILURE: ("request failure", Role.ERROR),
}
"""RFC 4250, section 4.1.2, in short."""


class SshDissector:
    """One SSH connection. See `engines.lab.dissection.Dissector`."""

    name = "ssh"

    def __init__(self) -> None:
        self._sides = (_Direction(), _Direction())

    def feed(self, side: Side, data: bytes) -> Sequence[Event]:
        return self._sides[side].feed(data)

    def finish(self, side: Side) -> Sequence[Ended]:
        """Packets are announced when they are whole, so nothing is ever left open."""
        return []

    def parts(self, side: Side, stream: bytes, start: int, end: int) -> list[Part]:
        if stream[start:end].startswith(b"SSH-"):
            text = readable(stream[start:end].strip())
            return [Part(start, end, "version line", f"{text}; ends with CR LF", boundary=True)]
        if end - start < _HEAD:
            return [Part(start, end, "bytes", "incomplete")] if end > start else []
        return _packet_parts(stream, start, end)


class _Direction:
    """What has come of one side and is not yet a packet."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._offset = 0
        self._lined = False
        self._lost = False

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        self._pending += data
        while not self._lost and (size := self._next_size()):
            label, role = self._label(size)
            end = self._offset + size
            events.append(Started(role, label, self._offset, self._offset + min(size, _HEAD), size))
            events.append(Ended(end, BOUNDARY if self._lined else "line end"))
            self._lined = True
            del self._pending[:size]
            self._offset = end
        return events

    def _next_size(self) -> int:
        """The size of the next line or packet if it is all there, else 0."""
        if not self._lined:
            size = self._pending.find(b"\n") + 1
            self._lost = not (b"SSH-".startswith(self._pending[:4]) and (size or len(self._pending)) <= LONGEST_LINE)
            return 0 if self._lost else size
        if len(self._pending) < _HEAD:
            return 0
        length, padding = struct.unpack_from("!IB", self._pending)
        self._lost = not padding < length <= LONGEST_PACKET
        return 4 + length if not self._lost and len(self._pending) >= 4 + length else 0

    def _label(self, size: int) -> tuple[str, Role]:
        if not self._lined:
            return readable(bytes(self._pending[:size]).strip()), Role.CONTROL
        label, role = _MESSAGES.get(self._pending[_HEAD], (f"message {self._pending[_HEAD]}", Role.CONTROL))
        if role is Role.REQUEST:
            with suppress(ValueError):
                label = read_string(bytes(self._pending[_HEAD:size]), 1)[0]
        return label, role


def _packet_parts(stream: bytes, start: int, end: int) -> list[Part]:
    length, padding = struct.unpack_from("!IB", stream, start)
    body_end = max(start + _HEAD, min(end, start + 4 + length - padding))
    parts = [
        Part(start, start + 4, "packet length", f"{length} bytes follow", boundary=True),
        Part(start + 4, start + _HEAD, "padding length", f"{padding} bytes"),
    ]
    if body_end > start + _HEAD:
        number = stream[start + _HEAD]
        parts.append(Part(start + _HEAD, start + _HEAD + 1, "message number", _MESSAGES.get(number, (str(number),))[0]))
    at = start + _HEAD + 1
    while at < body_end:
        try:
            text, after = read_string(stream[:body_end], at)
        except ValueError:
            text, after = "", at + 1
        if text and stream[at] == 0:
            parts.append(Part(at, at + 4, "string length", f"{after - at - 4} bytes"))
            parts.append(Part(at + 4, after, "string data"))
        else:
            after = at + 1
            parts.append(Part(at, after, "flag", "wants a reply" if stream[at] else "no reply wanted"))
        at = after
    if body_end < end:
        parts.append(Part(body_end, end, "padding", "random, so that lengths and patterns tell less"))
    return parts
