"""Reads DNS over UDP as a passive observer (RFC 1035, sections 4.1 and 4.2.1): every datagram is a message, whole or not at all.

The id of a message is its stream: answers come in any order, and belong to the question that has their id.
"""

from collections.abc import Iterator, Sequence

from engines.lab.dissection import Ended, Part, Side, Started
from engines.lab.facts import Role
from engines.wire.dns_grammar import (
    COUNTS,
    HEADER_SIZE,
    Entry,
    Header,
    MalformedError,
    entries_of,
    header_at,
)

DATAGRAM = "datagram"
"""What ends a message over UDP: the word of the `MessageEnded` fact."""


class DnsDissector:
    """A flow of datagrams between two sockets. What is fed at a time is one datagram."""

    name = "dns"

    def __init__(self) -> None:
        self._fed = {Side.CLIENT: 0, Side.SERVER: 0}

    def feed(self, side: Side, data: bytes) -> Sequence[Started | Ended]:
        """Read one datagram that `side` sent."""
        start = self._fed[side]
        end = self._fed[side] = start + len(data)
        role, label, stream = read_message(data)
        return Started(role, label, start, end, 0, stream), Ended(end, DATAGRAM, stream)

    def finish(self, side: Side) -> Sequence[Ended]:
        """There is no end of a stream in UDP, and nothing that could be cut short."""
        return ()

    def parts(self, side: Side, stream: bytes, start: int, end: int) -> list[Part]:
        """Name the parts of the message at bytes `start` to `end` of `stream`. Pure."""
        message = stream[start:end]
        return [
            Part(start + part.start, start + part.end, part.name, part.note, part.boundary)
            for part in _filled(_parts(message), len(message))
        ]


def read_message(message: bytes) -> tuple[Role, str, int]:
    """What a datagram is to the two who exchange it, its label, and its id: `A? api.example id 0x1a2b`."""
    try:
        header = header_at(message)
        entries = list(entries_of(message))
    except MalformedError as error:
        return Role.ERROR, f"not DNS: {error}", 0
    told_by = f"id 0x{header.id:04x}"
    question = next((entry for entry in entries if entry.section == 0), None)
    asked = f"{question.kind}? {question.name.text}" if question is not None else header.opcode
    if not header.is_response:
        return Role.REQUEST, f"{asked} {told_by}", header.id
    if header.rcode != "NOERROR":
        return Role.ERROR, f"{header.rcode} {asked} {told_by}", header.id
    answers = [entry for entry in entries if entry.section == 1]
    return Role.RESPONSE, f"{_answer_words(answers, asked)}{_cut_words(header)} {told_by}", header.id


def _answer_words(answers: Sequence[Entry], asked: str) -> str:
    if not answers:
        return f"no answer to {asked}"
    more = f" +{len(answers) - 1}" if len(answers) > 1 else ""
    return f"{answers[0].kind} {answers[0].content}{more}"


def _cut_words(header: Header) -> str:
    return " truncated" if "TC" in header.flag_names else ""


def _parts(message: bytes) -> Iterator[Part]:
    """The parts as far as they can be read."""
    try:
        header = header_at(message)
    except MalformedError:
        return
    direction = "response" if header.is_response else "query"
    words = [direction, header.opcode, *header.flag_names]
    if header.is_response:
        words.append(header.rcode)
    yield Part(0, 2, "id", f"0x{header.id:04x}: an answer has that of its question")
    yield Part(2, 4, "flags", ", ".join(words))
    for number, (name, count) in enumerate(zip(COUNTS, header.counts, strict=True)):
        yield Part(4 + 2 * number, 6 + 2 * number, name, f"{count} follow" if count else "none", boundary=True)
    try:
        for entry in entries_of(message):
            yield from _entry_parts(entry)
    except MalformedError:
        return


def _entry_parts(entry: Entry) -> Iterator[Part]:
    what = "question" if entry.section == 0 else "record"
    name, at = entry.name, entry.name.end
    pointer = f", the rest as at byte {name.pointer}" if name.pointer is not None else ""
    yield Part(name.start, name.end, f"{what} name", f"{name.text}{pointer}")
    yield Part(at, at + 2, "type", entry.kind)
    yield Part(at + 2, at + 4, "class", entry.rdclass)
    if entry.section == 0:
        return
    yield Part(at + 4, at + 8, "TTL", f"{entry.ttl_s:,} s")
    yield Part(at + 8, at + 10, "data length", f"{entry.end - entry.data} bytes", boundary=True)
    if entry.end > entry.data:
        yield Part(entry.data, entry.end, "data", entry.content)


def _filled(parts: Iterator[Part], end: int) -> Iterator[Part]:
    """`parts`, and what could not be read behind them."""
    position = 0
    for part in parts:
        position = part.end
        yield part
    if position < end:
        yield Part(position, end, "header" if position < HEADER_SIZE else "bytes", "not readable as DNS")
