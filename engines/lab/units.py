"""Quantities as people write and read them: `200 ms`, `1.5 MB/s`, `5 %`. Inside, everything is in base units.

Base units: seconds for times, bytes for sizes, bytes a second for rates, a fraction (0 to 1) for percentages, plain numbers
for counts.
"""

import math
import re
from decimal import Decimal

_SCALES: dict[str, dict[str, float]] = {
    "s": {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0},
    "B": {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9},
    "B/s": {"B/s": 1.0, "kB/s": 1e3, "MB/s": 1e6, "GB/s": 1e9},
    "%": {"%": 0.01},
    "1/s": {"/s": 1.0, "1/s": 1.0, "/min": 1 / 60},
    "": {},
}
_ALMOST_ONE = 0.9995
"""What reads as 1 in three digits: from here on the next larger unit is used, so that nothing is `1000 ms`."""
_NOISE_S = 1e-12
"""What is left when one time is taken from another; nobody means it."""
_QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf|unlimited|off)\s*(\S*)\s*")


def parse_quantity(text: str, unit: str) -> float:
    """The number that `text` means, in base units. A bare number is in the unit itself (`5` of `%` is 0.05).

    `unit` is one of "s", "B", "B/s", "%", "1/s" or "" (a count). "unlimited" and "off" are infinity. Raises ValueError with
    a sentence that says what is accepted.
    """
    match = _QUANTITY.fullmatch(text)
    scales = _SCALES.get(unit, {})
    if match:
        number, suffix = match.groups()
        if number in ("inf", "unlimited", "off") and not suffix:
            return math.inf
        if not suffix:
            return _scaled(number, scales[unit] if unit == "%" else 1.0)
        for name, scale in scales.items():
            if name == suffix or name.lower() == suffix.lower():
                return _scaled(number, scale)
    accepted = ", ".join(scales) if scales else "a plain number"
    raise ValueError(f"{text!r} is not a quantity here; write a number and one of: {accepted}" if scales
                     else f"{text!r} is not a number")  # fmt: skip


def _scaled(number: str, scale: float) -> float:
    """The float nearest to the product, as if a person had multiplied: 70 % is 0.7, which 70 * 0.01 is not."""
    return float(Decimal(number) * Decimal(repr(scale)))


def format_quantity(value: float, unit: str) -> str:
    """`value` (in base units) as a person reads it, with at most three significant digits: `40 ms`, `1.5 MB/s`, `5 %`."""
    if math.isinf(value):
        return "unlimited"
    if unit == "s":
        return format_seconds(value)
    if unit == "%":
        return f"{_short(value * 100)} %"
    if unit in ("B", "B/s"):
        for prefix, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
            if abs(value) >= scale * _ALMOST_ONE:
                return f"{_short(value / scale)} {prefix}{unit}"
        return f"{_short(value)} {unit}"
    if unit == "1/s":
        return f"{_short(value)} /s"
    return f"{_short(value)} {unit}".rstrip()


def format_seconds(value_s: float) -> str:
    """A duration with the unit that keeps it short: `350 µs`, `40 ms`, `2.5 s`, `3 min 20 s`."""
    size = abs(value_s)
    if size < _NOISE_S:
        return "0 s"
    if size < 1e-3 * _ALMOST_ONE:
        return f"{_short(value_s * 1e6)} µs"
    if size < _ALMOST_ONE:
        return f"{_short(value_s * 1e3)} ms"
    if size < 120:
        return f"{_short(value_s)} s"
    minutes, seconds = divmod(value_s, 60)
    return f"{minutes:.0f} min {seconds:.0f} s" if seconds >= 0.5 else f"{minutes:.0f} min"


def _short(number: float) -> str:
    text = f"{number:.3g}"
    if "e" in text:
        text = f"{number:.0f}"
    return text
