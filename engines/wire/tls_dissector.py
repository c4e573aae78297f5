"""Reads TLS out of a connection's bytes as an observer without keys does: each record is a message.

It sees who asks for which name and which protocol (the hellos are plain), that an alert came if it came early, and of all
else no more than its length and its time. In TLS 1.3 the certificates are sealed already, and so are most alerts: the
observer sees a record, and then perhaps that the connection ends (RFC 8446, section 2 and appendix E).
"""

from collections.abc import Sequence

from engines.lab.dissection import Ended, Part, Side, Started
from engines.lab.facts import Role
from engines.wire import tls_grammar as grammar
from engines.wire.tls_grammar import MalformedError, Record
from engines.wire.tls_parts import record_parts

Event = Started | Ended

SEALED = "sealed"
"""What a record is called of which nothing can be said. Its length is among its parts."""


class TlsDissector:
    """A TLS connection. See `engines.lab.dissection.Dissector`."""

    name = "tls"
    sealed = True  # keys come from where no seed reaches

    def __init__(self) -> None:
        self._directions = (_Direction(), _Direction())

    def feed(self, side: Side, data: bytes) -> Sequence[Event]:
        """Take the next bytes that `side` sent and return what they completed, in order."""
        return self._directions[side].feed(data)

    def finish(self, side: Side) -> Sequence[Ended]:
        """`side` will send nothing more: a record that is not all there is cut short."""
        return self._directions[side].finish()

    def parts(self, side: Side, stream: bytes, start: int, end: int) -> list[Part]:
        """Name the parts of the record at bytes `start` to `end` of `stream`. Pure."""
        return record_parts(stream, start, min(end, len(stream)))


class _Direction:
    """The records of one side."""

    def __init__(self) -> None:
        self._offset = 0  # of the first pending byte
        self._pending = bytearray()
        self._open = False  # a record has been announced and is not all here
        self._lost = False

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        self._pending += data
        position = 0
        try:
            while not self._lost and (record := grammar.record_at(self._pending, position)) is not None:
                whole = record.end <= len(self._pending)
                if not self._open and (whole or record.kind == grammar.APPLICATION_DATA):
                    events.append(self._started(record))
                    self._open = True
                if not whole:
                    break
                events.append(Ended(self._offset + record.end, "record length"))
                self._open = False
                position = record.end
        except MalformedError as error:
            self._lost = True
            at = self._offset + position
            events.append(Started(Role.ERROR, f"not TLS: {error}", at, at, None))
        if self._lost:
            position = len(self._pending)
        self._offset += position
        del self._pending[:position]
        return events

    def _started(self, record: Record) -> Started:
        start, end = record.fragment
        label = label_of(record.kind, bytes(self._pending[start:end]))
        return Started(Role.CONTROL, label, self._offset + record.start, self._offset + start, end - start)

    def finish(self) -> list[Ended]:
        end = self._offset + len(self._pending)
        self._offset, self._pending = end, bytearray()
        if self._lost:
            self._lost = False
            return [Ended(end, "connection closed")]
        cut, self._open = self._open, False
        return [Ended(end, "cut short")] if cut else []


def label_of(kind: int, fragment: bytes) -> str:
    """A record in a few words. Nothing that depends on sealed bytes may be in them."""
    if kind == grammar.ALERT and len(fragment) == 2:
        return f"alert: {grammar.ALERTS.get(fragment[1], str(fragment[1]))}"
    if kind == grammar.CHANGE_CIPHER_SPEC:
        return "change_cipher_spec"
    if kind == grammar.HANDSHAKE and (what := grammar.handshake_type(fragment)) is not None:
        return _handshake_label(what, fragment)
    return SEALED


def _handshake_label(what: int, fragment: bytes) -> str:
    """With what a hello asks for: "ClientHello billing (h2)"."""
    name = grammar.HANDSHAKE_TYPES[what]
    if what not in (grammar.CLIENT_HELLO, grammar.SERVER_HELLO):
        return name
    fields = grammar.hello_fields(fragment)
    notes = {field.number: field.note for field in fields if field.number >= 0}
    if what == grammar.CLIENT_HELLO:
        asks_for = f"({notes[grammar.ALPN]})" if notes.get(grammar.ALPN) else ""
        return " ".join(filter(None, [name, notes.get(grammar.SERVER_NAME, ""), asks_for]))
    if any(field.name == "random" and field.note for field in fields):
        return "HelloRetryRequest"
    legacy = next((field.note for field in fields if field.name == "legacy version"), "")
    return f"{name} {notes.get(grammar.SUPPORTED_VERSIONS) or legacy}".strip()
