"""Multiplexing, demultiplexing, pools: how many requests share how few connections. A module for each lesson."""

from engines.patterns.contract import Pattern
from engines.patterns.multiplexing import (
    database_pool,
    flow_control,
    goaway,
    h2_backend,
    h2_frontend,
    head_of_line_quic,
    lost_segment,
    pipelining,
    stream_limit,
    twenty_requests,
)

PATTERN = Pattern(
    name="multiplexing",
    title="Multiplexing and pools",
    tab="Mux/Pool",
    key="8",
    summary="Many requests, few connections: take turns on one, keep a pool of several, or share one stream by stream.",
    lessons=(
        twenty_requests.LESSON,
        h2_backend.LESSON,
        h2_frontend.LESSON,
        pipelining.LESSON,
        lost_segment.LESSON,
        head_of_line_quic.LESSON,
        flow_control.LESSON,
        stream_limit.LESSON,
        goaway.LESSON,
        database_pool.LESSON,
    ),
)
