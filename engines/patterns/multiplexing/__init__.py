"""Multiplexing, demultiplexing, pools: how many requests share how few connections. A module for each lesson."""

from engines.patterns.contract import Pattern
from engines.patterns.multiplexing import database_pool

PATTERN = Pattern(
    name="multiplexing",
    title="Multiplexing and pools",
    tab="Mux/Pool",
    key="8",
    summary="Many requests, few connections: take turns on one, keep a pool of several, or share one stream by stream.",
    lessons=(database_pool.LESSON,),
)
