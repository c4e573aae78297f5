"""What all benchmarks share: figures with aims, comparisons that hold on a busy machine, and the table.

Two things are compared in one run, in turn: ours, the reference, ours again. When the two measurements of ours disagree,
somebody else used the machine and the round is measured again. Rounds are judged by that disagreement alone, never by
their result, so choosing the calmest ones does not favour anybody.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal, Protocol

DISAGREEMENT = 0.05
"""How far two measurements of the same thing may be apart in a calm round."""

PATIENCE = 2
"""How many times as many rounds as wanted are tried before the calmest have to do."""

LEAST_WIDTHS = (44, 17, 24, 6, 8, 3)
"""Of the table's columns, so that the tables of several benchmarks stand in line."""


@dataclass(frozen=True, slots=True)
class Aim:
    """A bound on a figure itself or on its ratio to the reference."""

    of: Literal["figure", "ratio"]
    at: Literal["least", "most"]
    bound: float

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at == "least" else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at == 'least' else '≤'} {short(self.bound)}{'x' if self.of == 'ratio' else ''}"


def ratio_at_least(bound: float) -> Aim:
    return Aim("ratio", "least", bound)


def ratio_at_most(bound: float) -> Aim:
    return Aim("ratio", "most", bound)


def at_least(bound: float) -> Aim:
    return Aim("figure", "least", bound)


def at_most(bound: float) -> Aim:
    return Aim("figure", "most", bound)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. Without an aim it is there to explain the others."""

    name: str
    value: float
    unit: str
    reference: float | None = None
    ratio: float | None = None
    aim: Aim | None = None
    against: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None without one."""
        if self.aim is None:
            return None
        judged = self.ratio if self.aim.of == "ratio" else self.value
        assert judged is not None, f"{self.name} has an aim for its ratio and no reference"
        return self.aim.met(judged)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "aim": str(self.aim) if self.aim else None, "met": self.met}


class Benchmark(Protocol):
    """Something to measure; its fields say how thoroughly."""

    def measure(self) -> list[Figure]: ...


@dataclass(frozen=True, slots=True)
class Comparison:
    """Medians over the calmest rounds; `ratio` is the median of the rounds' ratios, which drift does not touch."""

    ours: float
    reference: float
    ratio: float

    def figure(self, name: str, unit: str, aim: Aim | None, against: str) -> Figure:
        return Figure(name, self.ours, unit, self.reference, self.ratio, aim, against)


def compare(ours: Callable[[], float], reference: Callable[[], float], rounds: int) -> Comparison:
    """Measure both in turn until `rounds` calm rounds are there, or patience is at its end."""
    measured: list[tuple[float, float, float]] = []
    calm = 0
    while calm < rounds and len(measured) < PATIENCE * rounds:
        before, other, after = ours(), reference(), ours()
        disagreement = abs(math.log(before / after))
        calm += disagreement <= DISAGREEMENT
        measured.append((disagreement, (before + after) / 2, other))
    chosen = sorted(measured)[:rounds]
    return Comparison(
        median(a for _, a, _ in chosen), median(b for _, _, b in chosen), median(a / b for _, a, b in chosen)
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def short(value: float) -> str:
    """A number with as many digits as it deserves."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def table(figures: Sequence[Figure]) -> str:
    """The figures for people."""
    head = ("", "figure", "reference", "ratio", "aim", "met")
    rows = [head] + [
        (
            figure.name,
            f"{short(figure.value)} {figure.unit}".rstrip(),
            "" if figure.reference is None else f"{short(figure.reference)} ({figure.against})",
            "" if figure.ratio is None else f"{figure.ratio:.3f}",
            "" if figure.aim is None else str(figure.aim),
            {True: "yes", False: "NO", None: ""}[figure.met],
        )
        for figure in figures
    ]
    widths = [max(least, *(len(row[i]) for row in rows)) for i, least in enumerate(LEAST_WIDTHS)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
