"""A QUIC client and server on two hosts of a rig, with a log of which streams each packet carries."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.logger import QuicLogger

from engines.lab.facts import PacketSent
from engines.lab.fate import Action, Subject, Verdict
from engines.lab.host import Host
from engines.lab.knobs import KnobBoard
from engines.wire import quic_connection
from engines.wire.quic import PORT, QuicClient, quic_connect, serve_quic
from engines.wire.quic_dissector import QuicDissector
from tests.lab.rig import Rig, run_in_rig

LATENCY_S = 0.1


def host(rig: Rig, name: str) -> Host:
    kernel = rig.kernels[name]
    kernel._protocols = {PORT: QuicDissector}
    return Host(name, kernel, KnobBoard([]), rig.recorder, lambda purpose: random.Random(f"{name} {purpose}"))


async def zeros(path: str) -> bytes:
    """As many bytes as the path says."""
    return bytes(int(path.removeprefix("/")))


@dataclass
class DropNth:
    """A rule of fate: from `since_s` on, the `number`th datagram (from 1) from `sender` is lost."""

    sender: str
    number: int
    now: Callable[[], float]
    since_s: float = 0.0
    seen: int = 0
    spent: bool = False

    def judge(self, packet: Subject) -> Verdict | None:
        if packet.sender != self.sender or self.now() < self.since_s:
            return None
        self.seen += 1
        if self.seen != self.number:
            return None
        self.spent = True
        return Verdict(Action.DROP, "fault")


@dataclass
class World:
    """What came of a run."""

    rig: Rig
    logger: QuicLogger
    news: list[tuple[float, str, str]] = field(default_factory=list)

    def streams_sent(self) -> list[tuple[float, frozenset[int]]]:
        """For each of the server's datagrams since its handshake: when it left, and the streams whose bytes it carries.

        The logger knows the frames and not the virtual time, the trace the time and not the frames: one datagram, one packet.
        """
        datagrams = [r.time_s for r in self.rig.trace if isinstance(r.fact, PacketSent) and r.fact.sender == "b"]
        packets = [
            frozenset(frame["stream_id"] for frame in event["data"]["frames"] if frame["frame_type"] == "stream")
            for event in self.logger.to_dict()["traces"][0]["events"]
            if event["name"] == "transport:packet_sent" and event["data"]["header"]["packet_type"] == "1RTT"
        ]
        count = min(len(packets), len(datagrams))
        return list(zip(datagrams[-count:], packets[-count:], strict=True))


Use = Callable[[QuicClient, Rig], Awaitable[None]]


def run_world(use: Use, *, answer: Callable[[str], Awaitable[bytes]] = zeros, idle_timeout_s: float = 30.0) -> World:
    """Connect "a" to "b", and `use` the connection."""
    logger = QuicLogger()
    worlds: list[World] = []
    plain = quic_connection.server_configuration

    def logged(timeout_s: float) -> QuicConfiguration:
        configuration = plain(timeout_s)
        configuration.quic_logger = logger
        return configuration

    async def body(rig: Rig) -> None:
        world = World(rig, logger)
        worlds.append(world)

        def noted(who: str) -> Callable[[str], None]:
            return lambda news: world.news.append((trio.current_time(), who, news))

        async def serve() -> None:
            await serve_quic(host(rig, "b"), answer, idle_timeout_s=idle_timeout_s, on_news=noted("server"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            async with quic_connect(
                host(rig, "a"), "b", idle_timeout_s=idle_timeout_s, on_news=noted("client")
            ) as client:
                await use(client, rig)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()

    quic_connection.server_configuration = logged
    try:
        run_in_rig(body, latency_s=LATENCY_S)
    finally:
        quic_connection.server_configuration = plain
    return worlds[0]
