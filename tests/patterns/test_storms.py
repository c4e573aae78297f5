"""Whatever a person orders, and whenever: a run goes on, can be replayed, and obeys the laws of a trace."""

import os

import pytest

from engines.patterns.contract import Lesson
from tests.patterns.runs import LESSONS
from tests.patterns.storm import storm

EXAMPLES = int(os.environ.get("COMMTUI_FAULT_EXAMPLES", "12"))


@pytest.mark.timeout(0 if EXAMPLES > 100 else 120)
@pytest.mark.parametrize("lesson", LESSONS)
def test_random_orders(lesson: Lesson) -> None:
    storm(lesson, EXAMPLES, derandomize=EXAMPLES <= 100)
