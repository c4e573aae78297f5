"""What random fault schedules found in TCP: a sender that waits for the window woke up ever more often, and runs stood still."""

import pytest
import trio

from engines.lab.facts import PacketSent
from engines.lab.tcp import Endpoint
from tests.lab.rig import Rig, run_in_rig

SIZE = 500_000


def test_a_full_window_wakes_the_sender_once_for_each_update(monkeypatch: pytest.MonkeyPatch) -> None:
    pumped = 0
    pump = Endpoint._pump

    def counted(self: Endpoint) -> None:
        nonlocal pumped
        pumped += 1
        pump(self)

    monkeypatch.setattr(Endpoint, "_pump", counted)

    async def body(rig: Rig) -> None:
        ours, theirs = await rig.connected()

        async def read() -> None:
            received = 0
            while received < SIZE:
                received += len(await theirs.receive_some(1000))
                await trio.sleep(0.001)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await ours.send_all(bytes(SIZE))

    trace = run_in_rig(body, latency_s=0.05).trace
    packets = sum(kind == PacketSent.code for kind in trace.kind)
    assert pumped <= 2 * packets
