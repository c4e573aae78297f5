"""Names the parts of one MQTT 5 packet, for people who want to see where each thing in it begins and ends.

Pure, and never at a loss: what is half there is "incomplete", what cannot be read says so.
"""

from engines.lab.dissection import Part
from engines.wire import mqtt_grammar as grammar


def packet_parts(stream: bytes, start: int, end: int) -> list[Part]:
    """The parts of the packet at bytes `start` to `end`, without gaps or overlaps."""
    if start >= end:
        return []
    stream = stream[:end]
    parts: list[Part] = []
    try:
        header = grammar.fixed_header(stream, start)
        for field in grammar.fields_of(stream, header):
            if field.end > field.start:
                parts.append(Part(field.start, field.end, field.name, field.note, field.boundary))
        left = "bytes", "after the packet"
    except grammar.IncompleteError:
        left = "packet", "incomplete"
    except grammar.MalformedError as error:
        left = "bytes", f"not MQTT 5: {error}"
    position = parts[-1].end if parts else start
    return parts + ([Part(position, end, *left)] if position < end else [])
