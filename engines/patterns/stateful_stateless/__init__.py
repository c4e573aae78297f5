"""Stateful and stateless: what a server remembers of its clients, and what happens when it forgets. A module for each lesson."""

from engines.patterns.contract import Pattern
from engines.patterns.stateful_stateless import dns_order, quic_migration, tcp_breaks

PATTERN = Pattern(
    name="stateful-stateless",
    title="Stateful / stateless",
    tab="State",
    key="9",
    summary="Who remembers what, and for how long? State that is lost is work that is lost; state in the message travels along.",
    lessons=(tcp_breaks.LESSON, dns_order.LESSON, quic_migration.LESSON),
)
