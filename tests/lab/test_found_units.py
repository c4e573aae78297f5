"""What the contract of patterns found in quantities."""

import pytest

from engines.lab.units import format_quantity, parse_quantity


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [("70%", "%", 0.7), ("70", "%", 0.7), ("35ms", "s", 0.035), ("29 %", "%", 0.29), ("1.1 kB", "B", 1100.0)],
)
def test_a_quantity_is_the_nearest_float_to_what_was_written(text: str, unit: str, value: float) -> None:
    assert parse_quantity(text, unit) == value


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.99999, "s", "1 s"), (0.99949, "s", "999 ms"), (0.00099999, "s", "1 ms"), (1e-16, "s", "0 s"), (5e-7, "s", "0.5 µs"),
        (999_999.0, "B", "1 MB"), (999.0, "B", "999 B"), (-0.99999, "s", "-1 s"),
    ],
)  # fmt: skip
def test_a_quantity_just_below_the_next_unit_is_said_in_that_unit(value: float, unit: str, text: str) -> None:
    assert format_quantity(value, unit) == text
