"""Shared by all tests: hypothesis without a database of examples and without wall-clock deadlines; rare garbage collections."""

import gc

from hypothesis import HealthCheck, settings

settings.register_profile("commtui", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("commtui")


def pytest_collection_finish() -> None:
    """What is imported by now stays, and need not be looked through again and again: that was a tenth of all."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
