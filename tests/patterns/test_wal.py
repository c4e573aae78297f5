"""The write-ahead log and the file under it: whatever a power cut leaves, replay finds a beginning of what was said."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.patterns.sync_async.cached_file import SECTOR, CachedFile
from engines.patterns.sync_async.ledger import rows_in_words
from engines.patterns.sync_async.wal import encode, replay

PAYLOADS = st.lists(st.binary(min_size=1, max_size=700), max_size=12)


def log_of(payloads: list[bytes]) -> tuple[bytes, list[int]]:
    """A log with these payloads, and where each record ends."""
    log, ends = b"", []
    for payload in payloads:
        log += encode(len(log), payload)
        ends.append(len(log))
    return log, ends


@given(PAYLOADS, st.integers(0, 10_000))
def test_a_log_that_was_cut_off_anywhere_gives_all_whole_records(payloads: list[bytes], cut: int) -> None:
    log, ends = log_of(payloads)
    cut = min(cut, len(log))
    found = replay(log[:cut])
    whole = sum(end <= cut for end in ends)
    assert found.payloads == payloads[:whole]
    assert found.end == ([0, *ends])[whole]
    assert bool(found.torn) == (found.end < cut)


@given(PAYLOADS.filter(bool), st.data())
def test_a_wrong_bit_anywhere_ends_the_log_before_its_record(payloads: list[bytes], data: st.DataObject) -> None:
    log, ends = log_of(payloads)
    place = data.draw(st.integers(0, len(log) - 1))
    broken = bytearray(log)
    broken[place] ^= 1 << data.draw(st.integers(0, 7))
    found = replay(bytes(broken))
    assert found.payloads == payloads[: sum(end <= place for end in ends)]
    assert found.torn


@given(PAYLOADS, st.integers(1, 5000))
def test_zeros_behind_the_end_are_no_records(payloads: list[bytes], zeros: int) -> None:
    log, _ = log_of(payloads)
    found = replay(log + bytes(zeros))
    assert (found.payloads, found.end) == (payloads, len(log))
    assert found.torn


def test_a_record_of_another_place_is_no_record() -> None:
    """What an earlier life of the file left behind must not count, however well its checksum fits."""
    log, _ = log_of([b"one"])
    assert replay(log + encode(0, b"two")).payloads == [b"one"]
    with pytest.raises(ValueError, match="says something"):
        encode(0, b"")


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=900), st.just("fsync"), st.just("cut"))), st.integers(0, 99))
def test_a_power_cut_takes_an_end_of_what_was_not_fsynced_and_nothing_else(steps: list[Any], seed: int) -> None:
    """The log over the file, many lives long: replay is always a beginning of what was appended, with all that was fsynced."""
    disk: dict[str, Any] = {}
    chance = random.Random(seed)
    file, said, safe = CachedFile(disk, "log", chance), list[bytes](), 0
    end = 0
    for step in [*steps, "cut"]:
        if step == "fsync":
            finish(file)
            safe = len(said)
        elif step == "cut":
            file = CachedFile(disk, "log", chance)
            found = replay(file.read())
            assert found.payloads == said[: len(found.payloads)]
            assert len(found.payloads) >= safe
            file.truncate(found.end)
            end, said, safe = found.end, found.payloads, len(found.payloads)
        else:
            record = encode(end, step)
            file.write(end, record)
            end += len(record)
            said.append(step)
            assert replay(file.read()).payloads == said  # programs see it at once


def finish(file: CachedFile) -> None:
    """An fsync that takes no time."""

    class Quick:
        async def work(self, label: str, seconds: float) -> None:
            return

    step = file.fsync(Quick(), 0.0)  # type: ignore[arg-type]  # of a host it wants no more than this
    with pytest.raises(StopIteration):
        step.send(None)


def test_each_sector_is_old_or_new_after_a_cut() -> None:
    left = set()
    for seed in range(40):
        disk: dict[str, Any] = {}
        file = CachedFile(disk, "f", random.Random(seed))
        file.write(0, b"a" * 3 * SECTOR)
        finish(file)
        file.write(SECTOR // 2, b"b" * 2 * SECTOR)
        assert file.durable == b"a" * 3 * SECTOR
        after = CachedFile(disk, "f", random.Random(seed)).read()
        old, new = b"a" * SECTOR, file.read()
        sectors = [after[n * SECTOR : (n + 1) * SECTOR] for n in range(3)]
        assert all(sector in (old, new[n * SECTOR : (n + 1) * SECTOR]) for n, sector in enumerate(sectors))
        left.add(tuple(sector == old for sector in sectors))
    assert len(left) == 8, "any of them may be missing, in any order"


def test_rows_in_words() -> None:
    assert rows_in_words([4]) == "row 4"
    assert rows_in_words([4, 5, 6, 9, 11, 12]) == "rows 4-6, 9, 11-12"
