"""Stateful and stateless: who has to remember what, and what becomes of it. A module for each lesson."""

from engines.patterns.contract import Pattern
from engines.patterns.stateful_stateless import (
    balancer,
    dns_order,
    prime,
    quic_migration,
    restart,
    tcp_breaks,
    token,
)

PATTERN = Pattern(
    name="stateful-stateless",
    title="Stateful / stateless",
    tab="State",
    key="9",
    summary="Who must remember what between two requests? Whoever remembers nothing can be restarted, doubled and replaced.",
    lessons=(
        restart.LESSON,
        balancer.LESSON,
        token.LESSON,
        prime.LESSON,
        tcp_breaks.LESSON,
        dns_order.LESSON,
        quic_migration.LESSON,
    ),
)
