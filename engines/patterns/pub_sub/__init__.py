"""Publish/subscribe: who has something to say says it to a topic, and need not know who listens. A module for each lesson."""

from engines.patterns.contract import Pattern
from engines.patterns.pub_sub import (
    away_and_back,
    consumer_group,
    delivery,
    fan_out,
    late_joiner,
    long_job,
    notifications,
    pipeline,
    poison_message,
    replay,
    shared_subscription,
    slow_consumer,
    slow_subscriber,
    two_generals,
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
        two_generals.LESSON,
        slow_subscriber.LESSON,
        shared_subscription.LESSON,
        replay.LESSON,
        consumer_group.LESSON,
        slow_consumer.LESSON,
        poison_message.LESSON,
        pipeline.LESSON,
        long_job.LESSON,
    ),
)
