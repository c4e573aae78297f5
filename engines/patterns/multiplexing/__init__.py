"""Multiplexing: many requests over few connections, and what they wait for there. A module for each lesson."""

from engines.patterns.contract import Pattern
from engines.patterns.multiplexing import head_of_line_quic

PATTERN = Pattern(
    name="multiplexing",
    title="Multiplexing and pools",
    tab="Mux/Pool",
    key="8",
    summary="Many requests over few connections: who waits for whom, and at which layer.",
    lessons=(head_of_line_quic.LESSON,),
)
