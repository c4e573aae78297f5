"""Long polling: the client asks, and the server answers when it has something to say. A module for each lesson."""

from engines.patterns.contract import Pattern
from engines.patterns.long_polling import (
    batching,
    kafka_fetch,
    late_disconnect,
    long_job,
    notifications,
    pool,
    proxy,
)

PATTERN = Pattern(
    name="long-polling",
    title="Long polling",
    tab="Long poll",
    key="5",
    summary="The client asks, and the server keeps the question until it has an answer. Prompt, at the price of held requests.",
    lessons=(
        notifications.LESSON,
        long_job.LESSON,
        proxy.LESSON,
        pool.LESSON,
        late_disconnect.LESSON,
        batching.LESSON,
        kafka_fetch.LESSON,
    ),
)
