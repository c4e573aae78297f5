"""The pause between two polls, where all the art of polling is, and what a server may say about it.

Retry-After is a number of whole seconds or a date (RFC 9110, section 10.2.3), and a date has whole seconds too (section
5.6.7). RFC 9110 gives it a meaning with 503 and 3xx, RFC 6585 (section 4) with 429; with 202 and 204 it is a custom of
services that want to be polled.
"""

import math
from email.utils import formatdate, parsedate_to_datetime

import trio

from engines.lab.facts import WaitKind
from engines.lab.host import Host

RUN_BEGINS_S = 1_767_225_600
"""The date in the laboratory when a run begins, in seconds of Unix time: Thu, 01 Jan 2026 00:00:00 GMT."""


async def pause(host: Host, seconds: float) -> None:
    """Wait before the next poll, for everybody to see."""
    with host.waiting("until the next poll", WaitKind.TIMER):
        await trio.sleep(seconds)


def as_seconds(wait_s: float) -> str:
    """Retry-After as a number: not too early, so it is rounded up."""
    return str(math.ceil(wait_s))


def as_date(wait_s: float, now_s: float) -> str:
    """Retry-After as a date: the first full second after `wait_s` from `now_s` on."""
    return formatdate(RUN_BEGINS_S + math.ceil(now_s + wait_s), usegmt=True)


def read_retry_after(text: str | None, now_s: float) -> float | None:
    """How long to wait, by a clock that shows `now_s` since the run began; None when nothing sensible was said."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        date_s = parsedate_to_datetime(text).timestamp() - RUN_BEGINS_S
    except ValueError:
        return None
    return max(0.0, date_s - now_s)
