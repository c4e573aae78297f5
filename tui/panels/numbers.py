"""The numbers a lesson is judged by, each with its history as a row of bars."""

from collections.abc import Sequence
from dataclasses import dataclass

from tui.panels.glyphs import Glyphs
from tui.panels.lines import Line, Span, clip, fit, line


@dataclass(frozen=True, slots=True)
class Reading:
    """One number at the playhead: its title, its value as people read it, and its history (oldest first)."""

    title: str
    text: str
    history: tuple[float | None, ...] = ()


def sparkline(values: Sequence[float | None], width: int, glyphs: Glyphs) -> str:
    """The last `width` of `values` as bars between the lowest and the highest of them; a gap where there is no value."""
    shown = list(values)[-width:] if width > 0 else []
    known = [value for value in shown if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    scale = (len(glyphs.spark) - 1) / (high - low) if high > low else 0.0
    return "".join(" " if value is None else glyphs.spark[round((value - low) * scale)] for value in shown)


def number_lines(readings: Sequence[Reading], width: int, glyphs: Glyphs) -> list[Line]:
    """One line a reading: title, value, and bars in what room is left."""
    title_width = min(20, max((len(reading.title) for reading in readings), default=0), max(8, width - 12))
    value_width = min(max((len(reading.text) for reading in readings), default=0), max(6, width - title_width - 3))
    spark_width = width - title_width - value_width - 4
    lines: list[Line] = []
    for reading in readings:
        bars = sparkline(reading.history, spark_width, glyphs) if spark_width >= 4 else ""
        lines.append(
            clip(
                line(
                    Span(" " + fit(reading.title, title_width, glyphs.ellipsis) + " ", "muted"),
                    Span(fit(reading.text.rjust(value_width), value_width, glyphs.ellipsis), "strong"),
                    Span(f" {bars}", "spark"),
                ),
                width,
            )
        )
    return lines
