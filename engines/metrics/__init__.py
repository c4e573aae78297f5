"""Numbers: folds over a trace that say how a pattern fares. `Numbers(trace).value("delay-p95", time_s)`."""

from engines.metrics.catalogue import CATALOGUE, Metric, Moment, UnknownMetric, find_metric
from engines.metrics.numbers import Numbers, format_value

__all__ = ["CATALOGUE", "Metric", "Moment", "Numbers", "UnknownMetric", "find_metric", "format_value"]
