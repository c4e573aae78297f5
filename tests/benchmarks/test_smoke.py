"""Every benchmark still runs. Nothing is timed here: at this size the figures mean nothing."""

import math

import pytest

from tests.benchmarks.measuring import table
from tests.benchmarks.registry import BENCHMARKS, measure


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_gives_figures(name: str) -> None:
    figures = measure(name, tiny=True)
    assert figures
    assert all(math.isfinite(figure.value) for figure in figures)
    assert all((figure.met is None) == (figure.aim is None) for figure in figures)
    assert len(table(figures).splitlines()) == len(figures) + 1
