"""Everything that must be replaced for a run to be repeatable, in one place: the only module that touches private names.

Inside a lab run (found through the run that the calling task belongs to) the replaced functions give seeded randomness and
virtual time; everywhere else in the process they do what they always did. `install` checks first that every library still
has what we replace and says which one moved it.

What is replaced, and why:

- trio shuffles the tasks that are ready at the same time. In a lab run they go in the order of their creation.
- httpx draws multipart boundaries, wsproto draws masking keys and nonces from the operating system.
- httpcore's keep-alive expiry reads the wall clock.
- aioquic, where it is installed, draws connection ids and more from the operating system, and serves the streams of a
  connection in the order of a set, which is that of their addresses in memory. Its keys no seed can reach (see `sealed`).
"""

import os
import random
import threading
import time
from collections.abc import MutableSequence
from types import MemberDescriptorType, ModuleType
from typing import Any

import trio

from engines.lab.clock import PacedClock


class DeterminismError(RuntimeError):
    """A library no longer has the private name that repeatability rests on."""


_entropy: trio.lowlevel.RunVar[random.Random] = trio.lowlevel.RunVar("entropy")


def seed_run(seed: int) -> None:
    """Give the present run its one source of entropy. Call it once, inside the run."""
    _entropy.set(random.Random(f"entropy {seed}"))


def stream_of_randomness(seed: int, purpose: str) -> random.Random:
    """A generator of its own for one purpose (a host, a link), so that drawing from one never shifts another."""
    return random.Random(f"{purpose} {seed}")


def _in_lab_run() -> bool:
    try:
        return isinstance(trio.lowlevel.current_clock(), PacedClock)
    except RuntimeError:
        return False


class _BatchOrder(random.Random):
    """trio's `_r`: trio sorts a batch by task number and takes it from its end, so in a lab run the oldest must be last."""

    def shuffle(self, x: MutableSequence[Any]) -> None:
        if _in_lab_run():
            x.reverse()
        else:
            super().shuffle(x)


class _Shim:
    """A module seen through: all of `module`, but for the functions given."""

    def __init__(self, module: ModuleType, **replaced: Any) -> None:
        self.__dict__.update(replaced)
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def _urandom(size: int) -> bytes:
    if not _in_lab_run():
        return os.urandom(size)
    try:
        return _entropy.get().randbytes(size)
    except LookupError:
        raise DeterminismError("a lab run drew randomness before it was seeded") from None


def _monotonic() -> float:
    return trio.current_time() if _in_lab_run() else time.monotonic()


def birth_number(task: trio.lowlevel.Task) -> int:
    """Which task of all this was: the order in which tasks that are ready at the same time go."""
    number: int = task._counter
    return number


_installed = False
_installing = threading.Lock()  # sessions start in threads of their own, and may do so together


def install() -> None:
    """Replace what must be replaced, once per process. Raises DeterminismError when a library has moved a name."""
    global _installed
    with _installing:
        if not _installed:
            _install()
            _installed = True


def _install() -> None:
    import httpcore._async.http2
    import httpcore._async.http11
    import httpx._multipart
    import trio._core._run
    import wsproto.frame_protocol
    import wsproto.utilities

    scheduler: Any = trio._core._run
    _expect(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", bool)
    _expect(scheduler, "_r", random.Random)
    _expect(scheduler.Task, "_counter", MemberDescriptorType)
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
    scheduler._r = _BatchOrder()
    clients: tuple[Any, ...] = (httpcore._async.http11, httpcore._async.http2)
    for module in clients:
        _expect(module, "time", ModuleType)
        module.time = _Shim(time, monotonic=_monotonic)
    drawers: tuple[Any, ...] = (httpx._multipart, wsproto.frame_protocol, wsproto.utilities)
    for module in drawers:
        _expect(module, "os", ModuleType)
        module.os = _Shim(os, urandom=_urandom)


_aioquic_installed = False


def install_for_aioquic() -> None:
    """The same for aioquic, which only those who use it import. Raises DeterminismError when it has moved a name."""
    global _aioquic_installed
    with _installing:
        if not _aioquic_installed:
            _install_for_aioquic()
            _aioquic_installed = True


def _install_for_aioquic() -> None:
    import aioquic.quic.connection
    import aioquic.quic.packet
    import aioquic.quic.stream
    import aioquic.tls

    drawers: tuple[Any, ...] = (aioquic.quic.connection, aioquic.quic.packet, aioquic.tls)
    for module in drawers:
        _expect(module, "os", ModuleType)
        module.os = _Shim(os, urandom=_urandom)
    _expect(aioquic.quic.stream, "QuicStream", type)
    stream: Any = aioquic.quic.stream.QuicStream
    stream.__hash__ = lambda self: -1 if self.stream_id is None else self.stream_id >> 2


def _expect(module: Any, name: str, kind: type) -> None:
    if not isinstance(getattr(module, name, None), kind):
        raise DeterminismError(
            f"{module.__name__} has no {name} any more; runs would not be repeatable. Install the tested versions."
        )
