"""The line in which each program stands: found without changing the run, and found again by a double of it."""

import re
from threading import Event

import pytest

from engines.lab.session import Session
from engines.lab.whereabouts import Whereabouts
from engines.patterns.contract import Lesson
from engines.patterns.registry import find_lesson, find_pattern
from engines.source import Place, places, source_lines
from tests.patterns.runs import LESSONS, fingerprint, run
from tui.panels.code import code_lines, columns
from tui.panels.glyphs import UNICODE
from tui.panels.lines import text_of, width_of

SIMPLE = find_lesson(find_pattern("request-response"), "simple-get")


def standing(session: Session, time_s: float) -> tuple[Place, ...]:
    session.run_until(time_s)
    assert session.wait_idle(60.0)
    found: list[tuple[Whereabouts, ...]] = []
    asked = Event()

    def take(whereabouts: tuple[Whereabouts, ...]) -> None:
        found.append(whereabouts)
        asked.set()

    session.locate(take)
    assert asked.wait(60.0)
    return places(found[0])


def at(lesson: Lesson, time_s: float) -> tuple[Place, ...]:
    session = Session(lesson, paused=True)
    session.start()
    try:
        return standing(session, time_s)
    finally:
        session.close()


def code(place: Place) -> str:
    return source_lines(place.file)[place.line - 1].strip()


@pytest.mark.parametrize(
    ("time_s", "client", "server"),
    [
        (0.1, 'response = await http.get("/hello", headers=headers)', "await serve_http("),
        (0.7, 'response = await http.get("/hello", headers=headers)', 'await host.work("process", '),
        (1.12, 'await host.work(f"use {size:,} bytes", 0.05)', "await serve_http("),
        (1.5, 'await trio.sleep(host.knobs.number("interval"))', "await serve_http("),
    ],
)
def test_the_lines_of_a_simple_request(time_s: float, client: str, server: str) -> None:
    found = at(SIMPLE, time_s)
    assert code([place for place in found if place.host == "client"][-1]).startswith(client)
    assert code([place for place in found if place.host == "server"][-1]).startswith(server)


def test_who_has_crashed_stands_nowhere() -> None:
    session = Session(SIMPLE, paused=True)
    session.start()
    standing(session, 0.5)
    session.command("kill server")
    assert {place.host for place in standing(session, 2.0)} == {"client"}
    session.close()


@pytest.mark.parametrize("lesson", LESSONS)
def test_asking_changes_nothing_and_every_host_is_somewhere(lesson: Lesson) -> None:
    session = Session(lesson, paused=True)
    session.start()
    until_s = min(lesson.until_s, 6.0)
    for time_s in (0.05, until_s / 3, until_s / 2):
        found = standing(session, time_s)
        assert {place.host for place in found} <= {host.name for host in lesson.hosts}
        assert found
        for place in found:
            assert 1 <= place.line <= len(source_lines(place.file))
            assert code(place)
    session.run_until(until_s)
    assert session.wait_idle(60.0)
    session.close()
    assert fingerprint(session.trace) == fingerprint(run(lesson, until_s=until_s).trace)


def test_two_columns_with_a_pointer_each() -> None:
    found = at(SIMPLE, 0.7)
    lines = [text_of(line) for line in code_lines(columns(("client", "server"), found), 160, 9, UNICODE)]
    assert len(lines) == 9
    assert lines[0].split()[:2] == ["client", "request_response/simple_get.py,"]
    pointed = next(line for line in lines if "►" in line)
    assert "http.get" in pointed
    assert sum(line.count("►") for line in lines) == 2
    assert any(re.search("► +await host.work", line) for line in lines)


@pytest.mark.parametrize("width", [20, 46, 80, 120, 200])
def test_code_fits_its_width(width: int) -> None:
    shown = columns(("client", "server"), at(SIMPLE, 0.7))
    assert all(width_of(line) <= width for line in code_lines(shown, width, 12, UNICODE))
