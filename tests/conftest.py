"""Shared by all tests: hypothesis without a database of examples and without wall-clock deadlines; rare garbage collections.

The suite tries the same examples each time, so that its verdict on a commit is always the same. To look for what they miss:
`python -m uv run pytest --hypothesis-profile explore`.
"""

import gc

from hypothesis import HealthCheck, settings

settings.register_profile(
    "commtui", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", settings.get_profile("commtui"), derandomize=False)
settings.load_profile("commtui")


def pytest_collection_finish() -> None:
    """What is imported by now stays, and need not be looked through again and again: that was a tenth of all."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
