"""Push: the server speaks when it has something to say. A module for each lesson."""

from engines.patterns.contract import Pattern
from engines.patterns.push import amqp_push, chat, client_offline, half_open_peer, notifications, slow_client

PATTERN = Pattern(
    name="push",
    title="Push",
    tab="Push",
    key="3",
    summary="The server speaks unasked, over a connection that stays open. Real time, for a client that is there and keeps up.",
    lessons=(
        notifications.LESSON,
        client_offline.LESSON,
        slow_client.LESSON,
        half_open_peer.LESSON,
        chat.LESSON,
        amqp_push.LESSON,
    ),
)
