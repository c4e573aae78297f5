"""What the lessons of this pattern have in common: a number of requests made at once, timed until the last answer is there."""

import math
from collections.abc import Sequence

import httpx
import trio

from engines.lab.host import Host
from engines.lab.knobs import Number

HTTP_1, HTTP_2 = "http/1.1", "http/2"

REQUESTS_KNOB = Number("requests", "requests", "", 20, 1, 100, 1, "how many the client makes at once", integer=True)
SERVICE_KNOB = Number(
    "service-time", "service time", "s", 0.2, 0.0, 10.0, 0.1, "how long the server works on a request"
)
PAUSE_KNOB = Number(
    "interval", "pause", "s", 2.0, 0.1, 60.0, 0.5, "after the last answer, until all are asked for again"
)

PATIENT = httpx.Timeout(None, pool=math.inf)
"""Whoever stands in line stays there; the other time limits are the knobs'."""


async def ask_for_all(host: Host, http: httpx.AsyncClient, paths: Sequence[str]) -> list[float]:
    """Ask for all `paths` at once; how long each took, infinity for one that failed. The makespan is the longest of them."""
    began_s = trio.current_time()
    took_s = [math.inf] * len(paths)

    async def ask(index: int) -> None:
        try:
            await http.get(paths[index], timeout=PATIENT)
        except httpx.TransportError as error:
            host.measure("failed")
            host.note(f"{paths[index]} failed: {type(error).__name__}")
        else:
            took_s[index] = trio.current_time() - began_s

    async with trio.open_nursery() as nursery:
        for index in range(len(paths)):
            nursery.start_soon(ask, index)
    tell_makespan(host, took_s)
    return took_s


def tell_makespan(host: Host, took_s: Sequence[float]) -> None:
    """Say how long all of it took, if all of it was answered."""
    makespan_s = max(took_s)
    if makespan_s < math.inf:
        host.measure("makespan seconds", makespan_s)
        host.note(f"all {len(took_s)} answered after {makespan_s:.2f} s")
