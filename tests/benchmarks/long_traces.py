"""Traces as long as you like, made of a real run: one round of a lesson's traffic, copied again and again, each copy later and
with numbers of its own."""

from functools import cache

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from engines.lab.facts import FACTS, ConnectionOpening, PacketReleased, PacketSent, PoolCreated, integer_fields
from engines.lab.host import Host
from engines.lab.scenario import HostSpec, Scenario
from engines.lab.session import run_headless
from engines.lab.trace import NO_CAUSE, Trace
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import http_client
from engines.wire.http_server import serve_http

ASKED_TOGETHER, ASKED_IN_TURN = 3, 8
ROUND_S = 10.0
"""Long enough that everything is closed and has arrived before the next round begins."""

_FACT_NUMBERS = frozenset(("packet", "message", "work", "wait"))


async def _server(host: Host) -> None:
    async def item(request: Request) -> PlainTextResponse:
        await host.work("look it up", 0.05)
        size = 5_000 if request.path_params["number"] % 4 == 0 else 200
        return PlainTextResponse("x" * size)

    await serve_http(host, Starlette(routes=[Route("/item/{number:int}", item)]))


async def _client(host: Host) -> None:
    for start in range(3):
        await trio.sleep_until(start * ROUND_S)
        async with http_client(host, base_url="http://server") as http:
            async with trio.open_nursery() as nursery:
                for number in range(ASKED_TOGETHER):
                    nursery.start_soon(http.get, f"/item/{number}")
            for number in range(ASKED_IN_TURN):
                response = await http.get(f"/item/{number}")
                await host.work(f"use {len(response.content):,} bytes", 0.02)


@cache
def long_trace(length: int) -> Trace:
    """About `length` facts, no fewer than a round has. Do not add to it: it is kept."""
    hosts = (HostSpec("client", _client), HostSpec("server", _server))
    model = run_headless(
        Scenario("items", "Items", "", hosts, protocols={80: Http1Dissector}), until_s=3 * ROUND_S - 0.1
    ).trace
    _, first, stop = (i for i in range(len(model)) if model.kind[i] == PoolCreated.code)
    columns = (model.a, model.b, model.c, model.d, model.e, model.f)
    rows = [(i, model.kind[i], [column[i] for column in columns], model.payload(i)) for i in range(first, stop)]
    flows = sum(kind == ConnectionOpening.code for _, kind, _, _ in rows)
    shifts = [[_shift(name, stop - first, flows) for name in integer_fields(fact)] for fact in FACTS]
    for shift in shifts:
        shift.extend([0] * (6 - len(shift)))
    moments = (PacketSent.code, PacketReleased.code)

    trace = Trace()
    for name in model.names:
        trace._intern(name)
    for i in range(first):
        values = [column[i] for column in columns]
        trace.append_row(model.kind[i], model.time[i], model.cause[i], values, model.x[i], model.payload(i))
    for copy in range(max(1, (length - first) // (stop - first))):
        later_s, later = copy * ROUND_S, copy * (stop - first)
        for i, kind, values, payload in rows:
            cause = model.cause[i]
            trace.append_row(
                kind,
                model.time[i] + later_s,
                cause if cause == NO_CAUSE else cause + later,
                [value + copy * step for value, step in zip(values, shifts[kind], strict=True)],
                model.x[i] + later_s if kind in moments else model.x[i],
                payload,
            )
    return trace


def _shift(field: str, facts: int, flows: int) -> int:
    """By how much a field grows from one copy to the next."""
    return facts if field in _FACT_NUMBERS else {"flow": flows, "pool": 1}.get(field, 0)
