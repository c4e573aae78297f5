"""Rules of the house that a reviewer would otherwise have to remember."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from engines.patterns import registry
from tui.bindings import RESERVED
from tui.themes import STYLES

TUI = Path(__file__).parents[2] / "tui"
SOURCES = sorted(TUI.rglob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(TUI)))
def test_no_pattern_is_special(source: Path) -> None:
    text = source.read_text(encoding="utf-8")
    assert not re.search(r"if .*pattern(\.name)?\s*(==|!=|in)\s*[\"'(\[]", text)
    for pattern in registry.PATTERNS:
        for lesson in pattern.lessons:
            for name in {pattern.name, pattern.title} - set(STYLES):
                assert f'"{name}"' not in text, f"{name} is named in {source}"
            assert f'"{lesson.title}"' not in text


def test_keys_of_patterns_and_faults_are_free() -> None:
    keys = [pattern.key for pattern in registry.PATTERNS]
    assert len(set(keys)) == len(keys)
    for pattern in registry.PATTERNS:
        for lesson in pattern.lessons:
            faults = [fault.key for fault in lesson.faults]
            assert len(set(faults)) == len(faults), lesson.name
            assert not set(faults) & (RESERVED | set(keys)), lesson.name


def test_engines_and_network_libraries_wait_until_the_first_paint() -> None:
    late = {
        "trio",
        "httpx",
        "httpcore",
        "hypercorn",
        "starlette",
        "h11",
        "engines",
        "tui.view",
        "tui.widgets.pattern_tab",
    }
    code = f"import sys, tui.app; print(sorted({late} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TUI.parent)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(TUI)))
def test_no_file_is_too_long(source: Path) -> None:
    assert len(source.read_text(encoding="utf-8").splitlines()) <= 500
