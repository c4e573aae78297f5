"""Short polling: the client asks again and again, and every answer comes at once. A module for each lesson."""

from engines.patterns.contract import Pattern
from engines.patterns.short_polling import (
    back_off,
    conditional,
    leave_and_return,
    long_job,
    many_clients,
    notifications,
    restart,
    server_steers,
)

PATTERN = Pattern(
    name="short-polling",
    title="Short polling",
    tab="Short poll",
    key="4",
    summary="The client asks again and again, and every answer comes at once. Simple and patient, chatty and late.",
    lessons=(
        long_job.LESSON,
        leave_and_return.LESSON,
        notifications.LESSON,
        many_clients.LESSON,
        server_steers.LESSON,
        conditional.LESSON,
        back_off.LESSON,
        restart.LESSON,
    ),
)
