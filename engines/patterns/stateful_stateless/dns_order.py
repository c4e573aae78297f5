"""DNS over UDP: no connection, no order, no memory. Sixteen bits in each message are enough to find out whose answer it is.

An answer repeats the id of its question (RFC 1035, section 4.1.1). So a client may ask many things at once from one socket, and
the server may forget each as soon as it has answered. That the client believes an answer only if its id fits is also what keeps
a stranger from answering first (RFC 5452, section 4.3).
"""

from collections.abc import Sequence
from dataclasses import replace

import trio

from engines.lab.facts import HostCrashed, HostStarted, Measured, MessageStarted, PacketDropped, TimedOut
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import Fault, HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.troubles import KILL_SERVER, MOVE_CLIENT, UNPLUG_CLIENT
from engines.wire.dns import (
    PORT,
    RESOLVER_KNOBS,
    Answer,
    DnsError,
    Query,
    Question,
    Resolver,
    by_id,
    dns_resolver,
    serve_dns,
)
from engines.wire.dns_dissector import DnsDissector

# --- the server ---------------------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Knows every second name by heart, and has to look for the others. Of those who ask it keeps nothing at all."""

    async def answer(question: Question) -> list[str] | None:
        number = number_of(question.name)
        if number is None:
            return None
        if number % 2:
            await host.work(f"looks for {question.name}", host.knobs.number("search-time"))
        return [address_of(number)]

    await serve_dns(host, answer)


def number_of(name: str) -> int | None:
    """7 for img7.example; None for a name that does not exist."""
    digits = name.removeprefix("img").removesuffix(".example")
    return int(digits) if digits.isdecimal() else None


def address_of(number: int) -> str:
    """Addresses for examples, of RFC 5737."""
    return f"192.0.2.{number}"


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Opens a page now and then, whose pictures are on many hosts: it asks for all their addresses at once."""

    def match(queries: Sequence[Query], answer: Answer) -> Query | None:
        return MATCHES[str(host.knobs["told-by"])](queries, answer)

    async with (
        dns_resolver(host, "server", match=match, on_stray=lambda answer: host.measure("strays")) as resolver,
        trio.open_nursery() as nursery,
    ):
        page = Page(host)
        while True:
            for number in range(1, 1 + int(host.knobs.number("questions"))):
                nursery.start_soon(look_up, host, resolver, page, number)
            await trio.sleep(host.knobs.number("page-every"))


def oldest_first(queries: Sequence[Query], answer: Answer) -> Query | None:
    """What one would do if there were no ids: the first answer belongs to the first question."""
    return queries[0] if queries else None


MATCHES = {"id": by_id, "order": oldest_first}


class Page:
    """Which questions were asked before which: to see an answer overtake another."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._asked = 0
        self._open: set[int] = set()

    def ask(self) -> int:
        self._asked += 1
        self._open.add(self._asked)
        return self._asked

    def answered(self, place: int) -> None:
        self._open.discard(place)
        if any(earlier < place for earlier in self._open):
            self._host.measure("overtook")


async def look_up(host: Host, resolver: Resolver, page: Page, number: int) -> None:
    """Find out where a picture is. That the address is wrong nobody would notice before it is used."""
    place = page.ask()
    try:
        addresses = await resolver.resolve(f"img{number}.example")
    except DnsError as error:
        host.note(str(error))
        host.measure("failed")
    else:
        host.measure("found" if addresses == [address_of(number)] else "wrong address")
    page.answered(place)


# --- the lesson ---------------------------------------------------------------------------------------------------------

TIMEOUT, ATTEMPTS = RESOLVER_KNOBS

LOSE_QUESTION = Fault(
    "lose-question", "lose next question", "g", "drop next request",
    "the network loses the next question; nobody sends it again but the resolver, when its patience ends",
)  # fmt: skip
LOSE_ANSWER = Fault(
    "lose-answer", "lose next answer", "e", "drop next response",
    "the network loses the next answer: the server has long forgotten that it gave one",
)  # fmt: skip

LESSON = Lesson(
    name="dns-order",
    title="DNS: answers in any order",
    purpose="Six questions at once, no connection, a server that keeps nothing: see each answer find its question by 16 bits.",
    hosts=(HostSpec("client", client), HostSpec("server", server, "DNS server")),
    protocols={PORT: DnsDissector},
    network={"latency": 0.1, "jitter": 0.1},
    until_s=20.0,
    knobs=(
        Number("questions", "questions", "", 6, 1, 20, 1, "names that a page needs; all are asked for at once", integer=True),
        Number("page-every", "page every", "s", 4.0, 0.5, 60.0, 0.5, "how often the client opens a page"),
        Choice("told-by", "told by", "id", ("id", "order"),
               "how the client finds the question of an answer: by its id, or the oldest without one"),
        Number("search-time", "search time", "s", 0.3, 0.0, 10.0, 0.1,
               "how long the server looks for a name that it does not know by heart: every second"),
        replace(TIMEOUT, default=1.0),
        replace(ATTEMPTS, default=3),
    ),
    faults=(LOSE_QUESTION, LOSE_ANSWER, KILL_SERVER, UNPLUG_CLIENT, MOVE_CLIENT),
    metrics=("requests", "responses", "measured:found", "measured:wrong address", "measured:overtook", "measured:strays",
             "timeouts", "measured:failed", "delay", "delay-max", "bytes"),
    beats=(
        Beat(Measured, "An answer has overtaken that to an earlier question. Its id says whose it is, so that nobody minds.",
             {"what": "overtook"}),
        Beat(Measured, "A wrong address: this was the answer to another question. Without an id nothing in UDP tells one from the"
             " other.", {"what": "wrong address"}),
        Beat(Measured, "An answer that nobody waits for: its question was asked twice, and answered twice.", {"what": "strays"}),
        Beat(TimedOut, "No answer within {after_s} s. Was the question lost, or the answer? The resolver cannot know, and asks"
             " again. To ask twice does no harm.", {"what": "dns"}),
        Beat(HostCrashed, "The server is dead. There is no connection that could break: to the client it is silence.",
             {"host": "server"}),
        Beat(HostStarted, "The server is back and remembers nothing, which is as much as it had known: each question brings all"
             " that its answer needs.", {"host": "server", "attempt": "[2-9]"}),
        Beat(PacketDropped, "A datagram is gone ({reason}). Neither kernel nor network will send it again."),
        Beat(MessageStarted, "{label}: no handshake before it, nothing to close behind it. One datagram there, one back.",
             {"label": "A\\? "}),
        Beat(MessageStarted, "{label}: the same id as in its question. The server forgets both in this moment.",
             {"label": "A "}),
    ),
    try_next=(
        "Lose a question: 1 s later the resolver asks once more, with the same id, and all others were answered meanwhile.",
        "Tell answers by their order instead: the first answer goes to the first question, and most addresses are wrong.",
        "Kill the server and restart it within 2 s: what it had not answered is asked again, and the page is whole all the same.",
        "Move the client while it waits: the answers go to its old address. It asks again from the new one, and that is all.",
        "Set jitter to 0 and search time to 0: now the order is kept, and the order would do. It is luck, not a promise.",
        "Set the dns timeout to 0.3 s: slow questions are asked twice and answered twice; the second answer is a stray.",
        "Lose 20 %: three attempts find nearly every name. One question in twenty or so fails, with no connection to mend.",
    ),
)  # fmt: skip
