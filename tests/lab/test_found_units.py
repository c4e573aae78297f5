"""What the contract of patterns found in quantities."""

import pytest

from engines.lab.units import parse_quantity


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [("70%", "%", 0.7), ("70", "%", 0.7), ("35ms", "s", 0.035), ("29 %", "%", 0.29), ("1.1 kB", "B", 1100.0)],
)
def test_a_quantity_is_the_nearest_float_to_what_was_written(text: str, unit: str, value: float) -> None:
    assert parse_quantity(text, unit) == value
