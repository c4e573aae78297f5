"""The writing half of a connection: control packets at once, messages as the session's sender allows, one task for both."""

from collections import deque
from collections.abc import Callable

import trio
from mqtt5 import DisconnectPacket, DisconnectReasonCode, Packet

from engines.lab.recorder import because_of, present_cause
from engines.wire.mqtt_delivery import Sender
from engines.wire.mqtt_packets import FAREWELL_S, MqttConnectionLost, MqttStream


class Outbox:
    """What one end of a connection has to say. Nobody who says something waits for the network; `write` does.

    `on_rest` is called whenever there is nothing more to say for now.
    """

    def __init__(self, stream: MqttStream, sender: Sender, on_rest: Callable[[], None] = lambda: None) -> None:
        self._stream = stream
        self._sender = sender
        self._on_rest = on_rest
        self._control: deque[tuple[Packet, int]] = deque()
        self._news = trio.Event()
        self._last: DisconnectPacket | None = None
        self._finished = trio.Event()
        self._closed = False

    def say(self, packet: Packet) -> None:
        """Send a control packet, before any message that waits."""
        self._control.append((packet, present_cause()))
        self.look()

    def look(self) -> None:
        """There is something new in the session, or more quota."""
        self._news.set()

    def close(self) -> None:
        """Take nothing more out of the session: somebody else may have it by now."""
        self._closed = True

    def leave(self, reason: DisconnectReasonCode) -> None:
        """Say nothing more than DISCONNECT, with that reason."""
        self.close()
        self._last = self._last or DisconnectPacket(reason_code=reason)
        self.look()

    @property
    def leaving(self) -> bool:
        """Whether the last word is as good as spoken."""
        return self._last is not None

    async def finish(self) -> None:
        """Wait until all that can be said has been said, and then DISCONNECT. Gives up after FAREWELL_S."""
        self._last = self._last or DisconnectPacket()
        self.look()
        with trio.move_on_after(FAREWELL_S):
            await self._finished.wait()

    async def write(self) -> None:
        """Send what there is, until the last word is spoken or the connection is lost: whoever reads learns that too."""
        try:
            while True:
                self._news = trio.Event()
                while (item := self._next()) is not None:
                    packet, cause = item
                    because_of(cause)
                    await self._stream.send(packet)
                self._on_rest()
                if self._last is not None:
                    await self._stream.send(self._last)
                    break
                await self._news.wait()
        except MqttConnectionLost:
            pass
        self._finished.set()

    def _next(self) -> tuple[Packet, int] | None:
        if self._closed:
            return None
        if self._control:
            return self._control.popleft()
        return self._sender.next_packet(trio.current_time())
