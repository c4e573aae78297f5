"""Publish/subscribe: who has something to say says it to a topic, and need not know who listens. A module for each lesson."""

from engines.patterns.contract import Pattern
from engines.patterns.pub_sub import (
    away_and_back,
    delivery,
    fan_out,
    late_joiner,
    long_job,
    notifications,
    shared_subscription,
    slow_subscriber,
)

PATTERN = Pattern(
    name="pub-sub",
    title="Publish / subscribe",
    tab="Pub/Sub",
    key="7",
    summary="Publishers speak to a topic, subscribers listen to it, and neither knows the other. A broker stands in between.",
    lessons=(
        notifications.LESSON,
        fan_out.LESSON,
        away_and_back.LESSON,
        late_joiner.LESSON,
        delivery.LESSON,
        slow_subscriber.LESSON,
        shared_subscription.LESSON,
        long_job.LESSON,
    ),
)
