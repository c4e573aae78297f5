"""`commtui compare`: one workload under several patterns, as one table or one JSON object."""

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from engines.comparison import Result

from tui.cli_demo import read_seconds, read_setting
from tui.saying import say

DEFAULT_UNTIL_S = 60.0


def compare(
    names: Sequence[str], workload: str, seed: int, settings: Sequence[str], until: str | None, as_json: bool
) -> int:
    """Run the comparison and print it. Returns 1 when a run failed. Raises click.UsageError in one line."""
    from engines.comparison import EVENT_METRICS, CannotCompare, contenders
    from engines.comparison import compare as run_all
    from engines.patterns.registry import PATTERNS

    until_s = DEFAULT_UNTIL_S if until is None else read_seconds("--until", until)
    given = dict(read_setting(text) for text in settings)
    try:
        group = contenders(PATTERNS, names, workload)
        results = run_all(group, seed=seed, settings=given, until_s=until_s, metrics=EVENT_METRICS)
    except CannotCompare as error:
        raise click.UsageError(str(error)) from None
    say(_json(results, workload, seed, given, until_s) if as_json else _table(results, workload, seed, until_s))
    for result in results:
        if result.failure:
            say(f"commtui: {result.contender.name}: {' '.join(result.failure.split())}", err=True)
    return 1 if any(result.failure for result in results) else 0


def _table(results: Sequence["Result"], workload: str, seed: int, until_s: float) -> str:
    """The table that the comparison screen shows, and what it is of."""
    from engines.lab.units import format_quantity
    from tui.panels.comparison import comparison_table, table_text

    table = comparison_table([r.contender.pattern.name for r in results], [r.values for r in results])
    return f"{workload}, seed {seed}, {format_quantity(until_s, 's')} of virtual time\n{table_text(table)}"


def _json(results: Sequence["Result"], workload: str, seed: int, settings: dict[str, str], until_s: float) -> str:
    from engines.metrics import find_metric

    return json.dumps(
        {
            "format": "commtui-comparison",
            "version": 1,
            "workload": workload,
            "seed": seed,
            "settings": settings,
            "end_s": until_s,
            "patterns": {
                result.contender.pattern.name: {
                    "scenario": result.contender.lesson.name,
                    "failure": result.failure,
                    "numbers": {
                        name: {"value": value if value is None or math.isfinite(value) else str(value),
                               "unit": find_metric(name).unit}
                        for name, value in result.values.items()
                    },
                }
                for result in results
            },
        },
        ensure_ascii=False,
        allow_nan=False,
        indent=2,
    )  # fmt: skip
