"""Server-sent events: one request, and a response that never ends. A module for each lesson."""

from engines.patterns.contract import Pattern
from engines.patterns.sse import (
    buffering_proxy,
    drop_and_resume,
    end_for_good,
    live_feed,
    six_connections,
    slow_client,
)

PATTERN = Pattern(
    name="sse",
    title="Server-sent events",
    tab="SSE",
    key="6",
    summary="The client asks once, and the server tells it everything in one response that never ends.",
    lessons=(
        live_feed.LESSON,
        drop_and_resume.LESSON,
        end_for_good.LESSON,
        slow_client.LESSON,
        buffering_proxy.LESSON,
        six_connections.LESSON,
    ),
)
