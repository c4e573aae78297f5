"""What is replaced for repeatability is still there, works inside a run, and leaves the rest of the process alone."""

import os
import random
import time
from types import ModuleType

import httpcore._async.http11
import httpx._multipart
import pytest
import trio
import trio._core._run

from engines.lab import determinism
from engines.lab.clock import PacedClock


def in_lab_run(seed: int, draw: object) -> object:
    async def main() -> object:
        determinism.seed_run(seed)
        return draw()  # type: ignore[operator]

    return trio.run(main, clock=PacedClock(pace=float("inf")))


def test_randomness_in_a_run_comes_from_its_seed() -> None:
    determinism.install()

    def draw() -> object:
        return httpx._multipart.os.urandom(16)

    assert in_lab_run(1, draw) == in_lab_run(1, draw)
    assert in_lab_run(1, draw) != in_lab_run(2, draw)


def test_outside_a_run_randomness_and_time_are_real() -> None:
    determinism.install()
    assert httpx._multipart.os.urandom(16) != httpx._multipart.os.urandom(16)
    assert httpx._multipart.os.getpid() == os.getpid()
    clock = httpcore._async.http11.time
    assert abs(clock.monotonic() - time.monotonic()) < 1


def test_keep_alive_of_httpcore_reads_virtual_time() -> None:
    determinism.install()
    assert in_lab_run(0, lambda: httpcore._async.http11.time.monotonic()) == 0.0


def test_tasks_that_are_ready_together_run_in_the_order_of_their_birth() -> None:
    determinism.install()
    order: list[int] = []

    async def main() -> None:
        async def note(number: int) -> None:
            await trio.sleep(1)
            order.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(note, number)

    trio.run(main, clock=PacedClock(pace=float("inf")))
    assert order == list(range(50))


def test_another_trio_run_in_the_process_is_still_shuffled() -> None:
    determinism.install()
    shuffled = list(range(50))
    trio._core._run._r.shuffle(shuffled)
    assert shuffled != list(range(50))


def test_a_name_that_moved_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(determinism, "_installed", False)
    monkeypatch.delattr(trio._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING")
    with pytest.raises(determinism.DeterminismError, match="_ALLOW_DETERMINISTIC_SCHEDULING"):
        determinism.install()


def test_what_is_replaced_is_what_the_libraries_use() -> None:
    determinism.install()
    assert not isinstance(httpx._multipart.os, ModuleType)
    assert isinstance(trio._core._run._r, random.Random)
