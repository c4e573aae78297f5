"""Request / response: one side asks, the other answers, and nobody speaks unasked. A module for each lesson."""

from engines.patterns.contract import Pattern
from engines.patterns.request_response import (
    anatomy,
    chat_wanted,
    long_request,
    lost_response,
    notification_wanted,
    simple_get,
    upload,
)

PATTERN = Pattern(
    name="request-response",
    title="Request / response",
    tab="Req/Resp",
    key="1",
    summary="One side asks, the other answers. The simplest pattern there is, and the yardstick for all others.",
    lessons=(
        simple_get.LESSON,
        anatomy.LESSON,
        upload.LESSON,
        long_request.LESSON,
        lost_response.LESSON,
        notification_wanted.LESSON,
        chat_wanted.LESSON,
    ),
)
