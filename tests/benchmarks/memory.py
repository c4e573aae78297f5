"""Bytes a fact: the trace's columns as they lie in memory, spare room included, without the payload. And what a collection of
garbage costs when there are that many."""

import gc
import sys
import time
import tracemalloc
from array import array
from dataclasses import dataclass

from tests.benchmarks.long_traces import long_trace
from tests.benchmarks.measuring import Figure, at_most
from tui.view.sequence import SequenceModel


@dataclass(frozen=True, slots=True)
class Memory:
    facts: int = 1_000_000
    facts_traced: int = 100_000

    def measure(self) -> list[Figure]:
        trace = long_trace(self.facts)
        columns = [value for value in vars(trace).values() if isinstance(value, array)]
        size = sum(sys.getsizeof(column) for column in columns)
        began = time.perf_counter()
        gc.collect()
        collection_s = time.perf_counter() - began
        return [
            Figure(f"trace of {self.facts:,}", size / len(trace), "bytes a fact", aim=at_most(64)),
            Figure("its payload", len(trace._payloads) / len(trace), "bytes a fact"),
            Figure("the diagram's index of it", self._index_bytes(), "bytes a fact"),
            Figure("a full collection meanwhile", collection_s * 1e3, "ms"),
        ]

    def _index_bytes(self) -> float:
        """What the diagram keeps beside the trace; on a shorter one, because the tracing is slow."""
        trace = long_trace(self.facts_traced)
        tracemalloc.start()
        model = SequenceModel(trace)
        model.consume()
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return held / len(model.trace)
