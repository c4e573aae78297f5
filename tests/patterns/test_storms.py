"""Whatever a person orders, and whenever: a run goes on, can be replayed, and obeys the laws of a trace.

A few schedules for each lesson, the same each time but others for each. `python -m tests.patterns.storm` tries many.
"""

import os
from zlib import crc32

import pytest

from engines.patterns.contract import Lesson
from tests.patterns.runs import LESSONS
from tests.patterns.storm import storm

EXAMPLES = int(os.environ.get("COMMTUI_FAULT_EXAMPLES", "8"))


@pytest.mark.timeout(0 if EXAMPLES > 100 else 120)
@pytest.mark.parametrize("lesson", LESSONS)
def test_random_orders(lesson: Lesson) -> None:
    storm(lesson, EXAMPLES, crc32(lesson.purpose.encode()) if EXAMPLES <= 100 else None)
