"""Fresh processes with other hash seeds, with and without interruptions, write the same trace file."""

from tests.repeatability import in_fresh_process


def test_one_digest_from_every_process() -> None:
    flat_out, disturbed, again = (in_fresh_process(number) for number in (2, 5, 8))
    assert len(flat_out) == 64
    assert flat_out == disturbed == again
