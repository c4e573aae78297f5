"""Synchronous and asynchronous: to wait for the answer, or to go on without it. A module for each lesson."""

from engines.patterns.contract import Pattern
from engines.patterns.sync_async import (
    asynchronous_read,
    backend_side,
    blocking_read,
    client_side,
    commit,
    page_cache,
    replication,
)

PATTERN = Pattern(
    name="sync-async",
    title="Synchronous / asynchronous",
    tab="Sync/Async",
    key="2",
    summary="Wait until it is done, or go on without: in a program, between services, and in what a database promises.",
    lessons=(
        blocking_read.LESSON,
        asynchronous_read.LESSON,
        client_side.LESSON,
        backend_side.LESSON,
        commit.LESSON,
        page_cache.LESSON,
        replication.LESSON,
    ),
)
