"""The house is in order: style, types, the directions between layers, and nothing in it that does not belong there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*(ROOT / "engines").rglob("*.py"), *(ROOT / "tui").rglob("*.py")])
HARD_LIMIT_LINES = 500


@pytest.mark.parametrize(
    "check",
    [
        ("-m", "ruff", "check", "."),
        ("-m", "ruff", "format", "--check", "."),
        ("-m", "mypy"),
        ("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"),
    ],
    ids=["ruff check", "ruff format", "mypy --strict", "import-linter"],
)
def test_one_command_checks_everything(check: tuple[str, ...]) -> None:
    result = subprocess.run(
        [sys.executable, *check], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_file_has_outgrown_its_concept() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: lines for name, lines in lengths.items() if lines > HARD_LIMIT_LINES} == {}


def test_the_engines_run_without_the_terminal() -> None:
    program = (
        "import sys; import engines.patterns.registry, engines.lab.session, engines.metrics, engines.story;"
        "print([m for m in ('textual', 'tui') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_module_says_what_it_is_for() -> None:
    silent = [str(path.relative_to(ROOT)) for path in SOURCES if not path.read_text().startswith('"""')]
    assert [name for name in silent if (ROOT / name).stat().st_size] == []


def test_no_wall_clock_and_no_unseeded_randomness_in_the_engines() -> None:
    banned = re.compile(
        r"\btime\.(time|monotonic)\(|datetime\.now|random\.(random|choice|randint|shuffle)\(|uuid4|secrets\."
    )
    allowed = {"engines/lab/determinism.py"}
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in (ROOT / "engines").rglob("*.py")
        if str(path.relative_to(ROOT)) not in allowed
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if banned.search(line)
    ]
    assert found == []


def test_no_address_of_a_machine_or_a_package_index_is_kept() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    banned = re.compile(r"/root/|/home/\w|files\.pythonhosted|pypi\.org/simple|index-url")
    found = [
        name
        for name in tracked
        if name != "tests/test_house.py"
        and (ROOT / name).is_file()
        and banned.search((ROOT / name).read_text(errors="replace"))
    ]
    assert found == []
