"""Milliseconds to paint one whole frame of the diagram at random moments and random places, for short and for long runs; what it
costs to read a fact before that. Measured in processor time of the thread."""

import gc
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.long_traces import ROUND_S, long_trace
from tests.benchmarks.measuring import Figure, at_most, percentile, ratio_at_most
from tui.view.lifelines import HEADER_HEIGHT
from tui.view.sequence import COMPACT, Mode, SequenceModel, Window

MODES = (("compact", COMPACT), ("to scale", Mode(0.02)))


@dataclass(frozen=True, slots=True)
class Frames:
    lengths: tuple[int, ...] = (1_000, 100_000, 1_000_000)
    sizes: tuple[tuple[int, int], ...] = ((120, 36), (200, 50))
    frames: int = 400

    def measure(self) -> list[Figure]:
        models, figures = [], []
        for length in self.lengths:
            model = SequenceModel(long_trace(length))
            began = time.thread_time()
            model.consume()
            facts = len(model.trace)
            figures.append(Figure(f"reading a fact, of {length:,}", (time.thread_time() - began) / facts * 1e6, "µs"))
            models.append(model)
        with without_collections():
            for size in self.sizes:
                for title, mode in MODES:
                    figures += self._frames(models, size, title, mode)
        return figures

    def _frames(self, models: list[SequenceModel], size: tuple[int, int], title: str, mode: Mode) -> list[Figure]:
        """Long and short runs in turn, so that a busy machine slows all of them."""
        chance = random.Random(7)
        times: list[list[float]] = [[] for _ in models]
        for number in range(-10, self.frames):
            view = View.chosen(chance)
            for model, taken in zip(models, times, strict=True):
                spent = view.paint(model, size, mode, chance)
                if number >= 0:
                    taken.append(spent * 1e3)
        shortest = median(times[0])
        figures = []
        for length, taken in zip(self.lengths, times, strict=True):
            name = f"frame {size[0]}x{size[1]} {title}, {length:,} facts"
            middle = median(taken)
            flat = ratio_at_most(1.10) if length != self.lengths[0] else None
            figures.append(Figure(f"{name}", middle, "ms", shortest, middle / shortest, flat, f"{self.lengths[0]:,}"))
            figures.append(Figure(f"{name}, p99", percentile(taken, 99), "ms", aim=at_most(12)))
        return figures


@dataclass(frozen=True, slots=True)
class View:
    """What a person looks at, within a round of the trace's traffic: the same in every trace, so that only their length
    differs. `place_s` is None for somebody who follows the playhead."""

    moment_s: float
    place_s: float | None

    @classmethod
    def chosen(cls, chance: random.Random) -> "View":
        moment, place = chance.uniform(0, ROUND_S), chance.uniform(0, ROUND_S)
        return cls(moment, place if chance.random() < 0.5 else None)

    def paint(self, model: SequenceModel, size: tuple[int, int], mode: Mode, chance: random.Random) -> float:
        """Seconds for all that a frame needs of the model, in any of the rounds, scrolled back to any before it."""
        width, height = size[0], size[1] - HEADER_HEIGHT
        rounds = int(model.trace.time[len(model.trace) - 1] // ROUND_S) + 1
        shown = chance.randrange(1, rounds)
        moment = self.moment_s + shown * ROUND_S
        top = None
        if self.place_s is not None:
            top = model.row_of_time(self.place_s + chance.randrange(shown) * ROUND_S, mode)
        began = time.thread_time()
        rows = model.row_count(moment, mode)
        model.header(width, 0, moment)
        model.paint(Window(max(0, rows - height) if top is None else top, height, 0, width), moment, mode)
        return time.thread_time() - began


@contextmanager
def without_collections() -> Iterator[None]:
    """What was made so far is left alone by the garbage collector, as in the app."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
