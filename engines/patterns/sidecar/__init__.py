"""Sidecar: what every service needs of the network, in a proxy beside it and not in it. A module for each lesson."""

from engines.patterns.contract import Pattern
from engines.patterns.sidecar import (
    circuit_breaker,
    layer_4,
    mtls,
    retries,
    retry_storm,
    sidecar_crash,
    swap_live,
    with_sidecar,
    without,
)

PATTERN = Pattern(
    name="sidecar",
    title="Sidecar",
    tab="Sidecar",
    key="0",
    summary="A proxy beside each service does what all services need: retries, limits, TLS, traces. The service stays thin.",
    lessons=(
        with_sidecar.LESSON,
        without.LESSON,
        swap_live.LESSON,
        retries.LESSON,
        retry_storm.LESSON,
        circuit_breaker.LESSON,
        layer_4.LESSON,
        mtls.LESSON,
        sidecar_crash.LESSON,
    ),
)
