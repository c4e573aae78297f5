"""A service as its callers' proxy sees it: several instances, time limits, retries, a breaker, ejections.

This is the shell around pure decisions (`retries`, `retry_budget`, `breaker`, `outliers`): it asks, waits and writes down what
happened. A library inside a service can use it just as well as a proxy beside one: that is the whole choice.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx
import trio

from engines.lab.facts import WaitKind
from engines.lab.host import Host
from engines.lab.units import format_seconds
from engines.wire.breaker import Breaker, Circuit, Event
from engines.wire.forwarding import Answer, Forwarded, passed_on
from engines.wire.outliers import BASE_EJECTION_S, CONSECUTIVE, INTERVAL_S, MOST_EJECTED, Outliers
from engines.wire.retries import Ending, Outcome, RetryPolicy
from engines.wire.retry_budget import PER_SECOND, RATIO, RetryBudget
from engines.wire.streaming import streaming

ROUTE_TIMEOUT_S = 15.0
"""Envoy: how long a request may take until its response is complete, retries included (`RouteAction.timeout`)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How an upstream is treated, asked anew for each request. What is None or infinite is off.

    `budget` is the share of requests that may be retried and the retries a second that always may. `breaker` is after how many
    failures in a row the circuit opens, and for how long.
    """

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    budget: tuple[float, float] | None = None
    try_timeout_s: float = math.inf
    route_timeout_s: float = ROUTE_TIMEOUT_S
    breaker: tuple[int, float] | None = None
    ejection: bool = False
    consecutive: int = CONSECUTIVE
    base_ejection_s: float = BASE_EJECTION_S
    most_ejected: float = MOST_EJECTED
    sweep_s: float = INTERVAL_S


class Upstream:
    """The service that `hosts` are instances of, asked through `http`. `url` makes the beginning of a URL of a host's name."""

    def __init__(
        self,
        host: Host,
        http: httpx.AsyncClient,
        hosts: Sequence[str],
        settings: Callable[[], Settings] = Settings,
        url: Callable[[str], str] = "http://{}".format,
    ) -> None:
        self._host = host
        self._http = http
        self._settings = settings
        self._url = url
        self._luck = host.randomness("back-off")
        self._turn = 0
        self._budget = RetryBudget(RATIO, PER_SECOND)
        self._breaker = Breaker()
        self._outliers = Outliers(tuple(hosts))

    async def sweep(self) -> None:
        """Let ejected instances back when their time is over; runs until cancelled."""
        while True:
            await trio.sleep(self._settings().sweep_s)
            for instance in self._outliers.sweep(trio.current_time()):
                self._host.note(f"{instance} gets requests again")
                self._show_ejected()

    async def ask(self, request: Forwarded) -> Answer:
        """The answer of some instance, after retries perhaps, or one of our own: 503 or 504."""
        settings = self._settings()
        self._budget.request(trio.current_time())
        with trio.move_on_after(settings.route_timeout_s):
            return await self._with_retries(request, settings)
        self._host.timed_out("route", settings.route_timeout_s)
        return Answer(504)

    async def _with_retries(self, request: Forwarded, settings: Settings) -> Answer:
        retries = 0
        while True:
            if not self._admitted(settings):
                self._host.measure("failed fast")
                return Answer(503)
            answer, outcome = await self._try(request, settings)
            if not settings.retry.wants_retry(outcome, retries):
                return answer
            if not self._affordable(settings):
                self._host.measure("retries refused")
                return answer
            retries += 1
            self._host.measure("retries")
            pause_s = settings.retry.back_off_s(retries, self._luck.random())
            with self._host.waiting(f"retry {retries}", WaitKind.TIMER):
                await trio.sleep(pause_s)

    def _admitted(self, settings: Settings) -> bool:
        if settings.breaker is None:
            self._breaker = Breaker()
            return True
        limit, open_s = settings.breaker
        before = Breaker(limit, open_s, self._breaker.circuit, self._breaker.failures, self._breaker.since_s)
        admitted = before.admit(trio.current_time())
        self._turn_breaker(admitted or before)
        return admitted is not None

    def _turn_breaker(self, breaker: Breaker) -> None:
        if breaker.circuit is not self._breaker.circuit:
            self._host.state("circuit", breaker.circuit.value)
            if breaker.circuit is Circuit.OPEN:
                self._host.measure("times opened")
        self._breaker = breaker

    def _affordable(self, settings: Settings) -> bool:
        if settings.budget is None:
            return True
        self._budget.ratio, self._budget.per_second = settings.budget
        return self._budget.spend(trio.current_time())

    async def _try(self, request: Forwarded, settings: Settings) -> tuple[Answer, Outcome]:
        """One attempt, and what the breaker and the ejections make of it."""
        instance = self._next_instance()
        event = Event.ABANDONED
        self._host.measure("tries")
        try:
            answer, outcome = await self._attempt(instance, request, settings)
            event = Event.FAILURE if outcome.failed else Event.SUCCESS
        finally:
            if settings.breaker is not None:
                self._turn_breaker(self._breaker.after(event, trio.current_time()))
        self._judge(instance, outcome, settings)
        return answer, outcome

    async def _attempt(self, instance: str, request: Forwarded, settings: Settings) -> tuple[Answer, Outcome]:
        try:
            with trio.move_on_after(settings.try_timeout_s):
                answer = await self._exchange(instance, request)
                return answer, Outcome(Ending.ANSWERED, answer.status)
            self._host.timed_out("try", settings.try_timeout_s)
            ending, status = Ending.TOO_SLOW, 504
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            self._host.note(f"no connection to {instance}: {error}")
            ending, status = Ending.NOT_CONNECTED, 503
        except httpx.TransportError as error:
            self._host.note(f"no answer from {instance}: {error}")
            ending, status = Ending.BROKEN, 503
        return Answer(status), Outcome(ending, status)

    async def _exchange(self, instance: str, request: Forwarded) -> Answer:
        url = self._url(instance) + request.target
        headers = httpx.Headers(list(request.headers))
        patience = httpx.Timeout(math.inf, connect=None)  # its own default for the connection; ours for all else
        async with streaming(
            self._http, request.method, url, headers=headers, content=request.body or None, timeout=patience
        ) as (response, pieces):
            body = b"".join([piece async for piece in pieces])
            return Answer(response.status_code, tuple(passed_on(response.headers.raw)), body)

    def _next_instance(self) -> str:
        candidates = self._outliers.candidates()
        self._turn += 1
        return candidates[self._turn % len(candidates)]

    def _judge(self, instance: str, outcome: Outcome, settings: Settings) -> None:
        if not settings.ejection:
            return
        rules = self._outliers
        rules.consecutive, rules.most_ejected = settings.consecutive, settings.most_ejected
        rules.base_ejection_s = settings.base_ejection_s
        if not outcome.failed:
            rules.succeeded(instance)
        elif (ejection_s := rules.failed(instance, trio.current_time())) is not None:
            self._host.measure("ejections")
            self._host.note(f"{instance} is ejected for {format_seconds(ejection_s)}")
            self._show_ejected()

    def _show_ejected(self) -> None:
        self._host.state("ejected", ", ".join(self._outliers.ejected) or "nobody")
