"""Publish/subscribe: who has something to say says it to a topic, and need not know who listens. A module for each lesson."""

from engines.patterns.contract import Pattern
from engines.patterns.pub_sub import consumer_group, pipeline, poison_message, replay, slow_consumer

PATTERN = Pattern(
    name="pub-sub",
    title="Publish / subscribe",
    tab="Pub/Sub",
    key="7",
    summary="Publishers speak to a topic, subscribers listen to it, and neither knows the other. A broker stands in between.",
    lessons=(replay.LESSON, consumer_group.LESSON, slow_consumer.LESSON, poison_message.LESSON, pipeline.LESSON),
)
