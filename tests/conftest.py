"""Shared by all tests: hypothesis without a database of examples and without wall-clock deadlines."""

from hypothesis import HealthCheck, settings

settings.register_profile("commtui", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("commtui")
