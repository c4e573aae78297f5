"""A broker and its clients on the lab's network, for tests: programs talk, and the trace is held to every law."""

from collections.abc import Awaitable, Callable

import mqtt5
import trio

from engines.lab.commands import TimedCommand, parse_command
from engines.lab.facts import MessageStarted, Noted, PacketKind, PacketSent
from engines.lab.host import Host
from engines.lab.scenario import HostSpec, Scenario
from engines.lab.session import SessionState, run_headless
from engines.lab.trace import Trace
from engines.wire.mqtt import MqttDissector
from engines.wire.mqtt_broker import MqttBroker, Policy
from engines.wire.mqtt_client import MqttClient
from engines.wire.mqtt_packets import PORT, Message, MqttStream
from tests.patterns.laws import breaches, every

Talk = Callable[[Host], Awaitable[None]]
LATENCY_S = 0.1


class World:
    """A run of programs by host name, with a broker as the last host. `dropped` is (client, payload, reason)."""

    def __init__(self, *commands: str, policy: Policy | None = None, until_s: float = 60.0, **talks: Talk) -> None:
        self.dropped: list[tuple[str, str, str]] = []
        self._policy = policy
        hosts = [HostSpec(name, _noted(talk)) for name, talk in talks.items()]
        scenario = Scenario(
            "mqtt", "m", "", (*hosts, HostSpec("broker", self._broker)), protocols={PORT: MqttDissector}, until_s=until_s,
            network={"latency": LATENCY_S},
        )  # fmt: skip
        orders = [TimedCommand(float(at), parse_command(order)) for at, order in (c.split(" ", 1) for c in commands)]
        session = run_headless(scenario, commands=orders)
        assert session.status.state is SessionState.ENDED, session.status.message
        self.trace: Trace = session.trace
        assert breaches(self.trace) == []
        finished = [noted.host for _, noted in every(self.trace, Noted) if noted.text == "finished"]
        assert set(talks) <= set(finished), "a program did not come to its end"

    async def _broker(self, host: Host) -> None:
        def drop(client_id: str, message: Message, reason: str) -> None:
            if client_id:
                self.dropped.append((client_id, message.payload.decode(), reason))

        await MqttBroker(host, self._policy, on_drop=drop).serve()

    def labels(self, sender: str, receiver: str = "") -> list[str]:
        """What `sender` said, packet by packet."""
        return [
            str(message.label)
            for _, message in every(self.trace, MessageStarted)
            if message.sender == sender and receiver in ("", message.receiver)
        ]

    def kinds(self, sender: str, receiver: str = "") -> list[str]:
        """The types of the packets alone."""
        return [label.split()[0] for label in self.labels(sender, receiver)]

    def said_at(self, sender: str, label: str) -> list[float]:
        """When `sender` said that."""
        return [
            record.time_s
            for record, message in every(self.trace, MessageStarted)
            if message.sender == sender and message.label.startswith(label)
        ]

    def bytes_sent(self, sender: str) -> int:
        return sum(
            len(packet.payload)
            for _, packet in every(self.trace, PacketSent)
            if packet.sender == sender and packet.kind is PacketKind.DATA and packet.attempt == 1
        )


def _noted(talk: Talk) -> Talk:
    async def program(host: Host) -> None:
        await talk(host)
        host.note("finished")

    return program


class RawClient:
    """A client that says packet by packet what a test tells it to, and hears every packet."""

    def __init__(self, stream: MqttStream) -> None:
        self.stream = stream

    @classmethod
    async def connected(cls, host: Host, client_id: str = "raw", **options: object) -> "RawClient":
        """Connected, with a CONNACK that is returned as `hello`."""
        raw = cls(MqttStream(await host.connect("broker", PORT)))
        raw.hello = await raw.ask(mqtt5.ConnectPacket(client_id, **options))  # type: ignore[arg-type]
        return raw

    hello: mqtt5.Packet

    async def say(self, packet: mqtt5.Packet) -> None:
        await self.stream.send(packet)

    async def hear(self) -> mqtt5.Packet:
        return await self.stream.receive()

    async def ask(self, packet: mqtt5.Packet) -> mqtt5.Packet:
        await self.say(packet)
        return await self.hear()

    async def subscribe(self, *filters: mqtt5.TopicFilter, identifier: int | None = None) -> mqtt5.Packet:
        return await self.ask(mqtt5.SubscribePacket(1, list(filters), subscription_id=identifier))

    async def silence(self, seconds: float = 2.0) -> bool:
        """Whether nothing comes for so long."""
        with trio.move_on_after(seconds):
            await self.hear()
            return False
        return True


async def texts(client: MqttClient, seconds: float, *, ack: bool = True) -> list[str]:
    """What comes within `seconds`, acknowledged: the payload, with a star for DUP and an r for retained."""
    found = []
    with trio.move_on_after(seconds):
        async for received in client:
            found.append(received.payload.decode() + "*" * received.repeated + "r" * received.retained)
            if ack:
                received.ack()
    return found
