"""Small scenarios without any protocol library, for tests of sessions."""

import trio

from engines.lab.host import Host
from engines.lab.knobs import Number
from engines.lab.scenario import HostSpec, Scenario
from engines.lab.tcp import Endpoint


async def echo_server(host: Host) -> None:
    async def serve(stream: Endpoint) -> None:
        async with stream:
            try:
                while data := await stream.receive_some():
                    await host.work("think", host.knobs.number("think-time"))
                    await stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                host.note("the client went away")

    async with host.listen(7) as listener, trio.open_nursery() as nursery:
        while True:
            nursery.start_soon(serve, await listener.accept())


async def echo_client(host: Host) -> None:
    number = 0
    while True:
        try:
            async with await host.connect("server", 7) as stream:
                while True:
                    number += 1
                    await stream.send_all(b"%d %d" % (number, host.rng.randrange(1000)))
                    if not await stream.receive_some():
                        break
                    await trio.sleep(1 + host.rng.random())
        except (OSError, trio.BrokenResourceError):
            await trio.sleep(1)


ECHO = Scenario(
    "echo",
    "Echo",
    "Nothing but a number that comes back.",
    (HostSpec("client", echo_client), HostSpec("server", echo_server)),
    (Number("think-time", "think time", "s", 0.1, 0.0, 10.0, 0.1, "how long the server thinks"),),
)


async def failing(host: Host) -> None:
    await trio.sleep(1)
    raise KeyError("no such thing")


async def returning(host: Host) -> None:
    await trio.sleep(1)
