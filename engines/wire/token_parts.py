"""Names the parts of a JSON Web Token where it stands in an HTTP field: header, claims and signature, in plain text.

It takes no key, as it would take none for anybody else on the way (RFC 7519; RFC 7515, section 3.1).
"""

import json
import re

from engines.lab.dissection import Part
from engines.wire.tokens import decoded

_TOKEN = re.compile(rb"(eyJ[A-Za-z0-9_-]*)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)")
"""Header and claims are JSON objects, so their base64url begins with that of `{"`."""
_LONGEST_NOTE = 120


def token_parts(stream: bytes, start: int, end: int) -> list[Part]:
    """The parts of the first token in bytes `start` to `end` of `stream`, with their dots; none when there is no token."""
    token = _TOKEN.search(stream, start, end)
    if token is None:
        return []
    header, claims = (_said(token[i]) for i in (1, 2))
    if header is None or claims is None:
        return []
    signature = "made with a key over all before it" if token[3] else "none: nobody vouches for the claims"
    notes = ("token header", header), ("token claims", claims), ("token signature", signature)
    return [
        Part(token.start(i), token.end(i) + (i < 3), name, note)
        for i, (name, note) in enumerate(notes, start=1)
        if token.end(i) + (i < 3) > token.start(i)
    ]


def _said(part: bytes) -> str | None:
    """The JSON of one part in a line, or None if it is none."""
    try:
        text = json.dumps(decoded(part.decode()))
    except ValueError:
        return None
    return text if len(text) <= _LONGEST_NOTE else f"{text[: _LONGEST_NOTE - 1]}…"
