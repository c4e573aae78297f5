"""The command, as a shell meets it: stdout, stderr and exit status."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

import tui.app
import tui.cli_list
from engines.demos import make_demo
from engines.lab.host import Host
from engines.lab.scenario import HostSpec, Need
from engines.lab.trace_file import read_trace
from engines.patterns import registry
from engines.patterns.contract import Lesson, Pattern
from tui.cli import main

Shell = Callable[..., tuple[int, str, str]]


@pytest.fixture
def commtui(capsys: pytest.CaptureFixture[str]) -> Shell:
    """Run the command in this process; returns status, stdout, stderr."""

    def run(*args: str) -> tuple[int, str, str]:
        status = main(args)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def process(*args: str, **options: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "tui", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Instead of opening the app, take down how it would have been opened."""
    calls: list[dict[str, object]] = []

    def run_app(**options: object) -> int:
        calls.append(options)
        return 0

    monkeypatch.setattr(tui.app, "run_app", run_app)
    return calls


# --- opening the app ----------------------------------------------------------------------------------------------------


def test_without_arguments_the_app_opens(commtui: Shell, opened: list[dict[str, object]]) -> None:
    assert commtui() == (0, "", "")
    assert opened == [
        {
            "demo": None,
            "seed": None,
            "pace": None,
            "theme": None,
            "ascii": None,
            "no_motion": False,
        }
    ]


def test_the_app_opens_as_the_options_say(commtui: Shell, opened: list[dict[str, object]]) -> None:
    options = ("--scenario", "simple-get", "--seed", "3", "--pace", "2x", "--theme", "classroom-light")
    for words in (("request-response", *options), (*options, "request-response")):
        assert commtui(*words, "--ascii", "--no-motion")[0] == 0
    assert opened[0] == opened[1]
    assert opened[0] == {
        "demo": make_demo("request-response", "simple-get", seed=3),
        "seed": 3,
        "pace": 2.0,
        "theme": "classroom-light",
        "ascii": True,
        "no_motion": True,
    }


def test_a_pace_may_be_flat_out(commtui: Shell, opened: list[dict[str, object]]) -> None:
    commtui("--pace", "flat")
    assert opened[0]["pace"] == float("inf")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["request-respons"], "did you mean 'request-response'?"),
        (["rnu"], "did you mean 'run'?"),
        (["lst"], "did you mean 'list'?"),
        (["zzzzzz"], "there are request-response"),
        (["--seed", "7", "run"], "'run' comes first"),
        (["request-response", "--scenario", "simple-gt"], "did you mean 'simple-get'?"),
        (["--scenario", "simple-gt"], "did you mean 'simple-get'?"),
        (["--theme", "clasroom-dark"], "did you mean 'classroom-dark'?"),
        (["--theme", "?"], "there are classroom-dark"),
        (["--pace", "0"], "write 0.1 or more"),
        (["--pace", "fast"], "write 0.1 or more"),
        (["--pace", "nan"], "write 0.1 or more"),
        (["--sed", "7"], "--seed"),
        (["--seed", "x"], "not a valid integer"),
        (["run"], "PATTERN"),
        (["run", "request-respons"], "did you mean 'request-response'?"),
        (["run", "request-response", "--scenario", "simple"], "did you mean 'simple-get'?"),
        (["run", "request-response", "--set", "latncy=3"], "did you mean 'latency'?"),
        (["run", "request-response", "--set", "latency=3 parsec"], "one of: us"),
        (["run", "request-response", "--set", "latency=99s"], "latency goes from 0 s to 10 s"),
        (["run", "request-response", "--set", "latency"], "write KNOB=VALUE"),
        (["run", "request-response", "--set", "=3"], "write KNOB=VALUE"),
        (["run", "request-response", "--until", "-1"], "a run begins at 0 s"),
        (["run", "request-response", "--until", "soon"], "write seconds"),
        (["run", "request-response", "--until", "unlimited"], "must stop somewhere"),
        (["run", "request-response", "--at", "-1", "kill server"], "a run begins at 0 s"),
        (["run", "request-response", "--at", "1", "kil server"], "did you mean 'kill'?"),
        (["run", "request-response", "--at", "1", "kill srver"], "did you mean 'server'?"),
        (["run", "request-response", "--at", "1", "set latency 99h"], "latency goes from"),
        (["run", "request-response", "--json", "--text"], "choose one"),
        (["run", "request-response", "--trace", "/no/such/place"], "cannot write /no/such/place"),
        (["list", "--jso"], "--json"),
        (["request-response", "--at", "1", "kil server"], "did you mean 'kill'?"),
        (["request-response", "--set", "latncy=3"], "did you mean 'latency'?"),
        (["request-response", "--start-at", "unlimited"], "must stop somewhere"),
        (["nowhere.toml"], "cannot read nowhere.toml"),
        (["run", "nowhere.toml"], "cannot read nowhere.toml"),
        (["nowhere.toml", "--seed", "3"], "--seed is what nowhere.toml says itself"),
        (["save", "demo.txt", "request-response"], "ends in .toml"),
        (["save", "/no/such/place.toml", "request-response"], "cannot write /no/such/place.toml"),
    ],
    ids=" ".join,
)
def test_what_is_wrong_is_said_in_one_line(
    commtui: Shell, opened: list[dict[str, object]], words: list[str], hint: str
) -> None:
    status, out, err = commtui(*words)
    assert status == 2
    assert out == ""
    assert err.startswith("commtui: ")
    assert err.count("\n") == 1
    assert hint in err
    assert opened == []


# --- help ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["request-response", "--help"]], ids=" ".join)
def test_the_help_names_everything(commtui: Shell, words: list[str]) -> None:
    status, out, _ = commtui(*words)
    assert status == 0
    options = ("--scenario", "--seed", "--pace", "--theme", "--ascii", "--no-motion", "--version")
    for word in ("[PATTERN]", "run PATTERN", "list", *options):
        assert word in out
    assert "open the app\n" not in out, "the command behind opening the app has no name of its own"


def test_the_help_of_run_explains_the_language_of_commands(commtui: Shell) -> None:
    status, out, _ = commtui("run", "--help")
    assert status == 0
    for words in ("set KNOB VALUE", "kill HOST", "move HOST", "cut A>B", "drop next [N]", "release", "WHAT is message"):
        assert words in out
    assert "Examples:" in out


def test_every_example_in_the_help_runs(commtui: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shlex

    from tui.cli_run import EXAMPLES

    monkeypatch.chdir(tmp_path)
    for example in EXAMPLES.strip().splitlines():
        status, out, err = commtui(*shlex.split(example)[1:])
        assert (status, err) == (0, ""), example
        assert out


def test_the_version(commtui: Shell) -> None:
    status, out, _ = commtui("--version")
    assert status == 0
    assert out.startswith("commtui")


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["list"]], ids=" ".join)
def test_what_is_not_needed_is_not_imported(words: list[str]) -> None:
    # Patterns are real protocol code, so that listing them takes the network libraries; nothing takes Textual.
    heavy = {"textual"} if words == ["list"] else {"textual", "rich", "trio", "httpx", "hypercorn", "asyncio"}
    code = f"import sys; from tui.cli import main; main({words!r}); print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# --- list ---------------------------------------------------------------------------------------------------------------


def test_the_list_names_every_pattern_scenario_knob_and_fault(commtui: Shell) -> None:
    _, text, _ = commtui("list")
    _, data, _ = commtui("list", "--json")
    listed = {pattern["name"]: pattern for pattern in json.loads(data)["patterns"]}
    assert list(listed) == [pattern.name for pattern in registry.PATTERNS]
    for pattern in registry.PATTERNS:
        scenarios = {scenario["name"]: scenario for scenario in listed[pattern.name]["scenarios"]}
        for lesson in pattern.lessons:
            assert f"  {lesson.name}: {lesson.title}" in text
            knobs = {knob["name"]: knob for knob in scenarios[lesson.name]["knobs"]}
            assert list(knobs) == [knob.name for knob in lesson.all_knobs()]
            assert all(knob["help"] and "default" in knob and "kind" in knob for knob in knobs.values())
            assert knobs["latency"]["unit"] == "s"
            assert knobs["bandwidth"]["maximum"] == "inf"
            assert [fault["name"] for fault in scenarios[lesson.name]["faults"]] == [f.name for f in lesson.faults]


# --- run ----------------------------------------------------------------------------------------------------------------

RUN = ("run", "request-response", "--scenario", "simple-get", "--until", "5")


def test_a_run_prints_its_numbers(commtui: Shell) -> None:
    status, out, err = commtui(*RUN)
    assert (status, err) == (0, "")
    assert out.startswith("request-response / simple-get, seed 0: stopped at 5 s\n")
    assert "requests" in out


def test_the_same_words_give_the_same_run_and_another_seed_another(commtui: Shell, tmp_path: Path) -> None:
    traces: list[bytes] = []
    for seed in ("1", "1", "2"):
        path = tmp_path / f"{len(traces)}.jsonl"
        assert commtui(*RUN, "--set", "jitter=50ms", "--seed", seed, "--trace", str(path))[0] == 0
        traces.append(path.read_bytes())
    assert traces[0] == traces[1]
    assert traces[0] != traces[2]


def test_json_is_one_object_with_settings_and_commands(commtui: Shell, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    words = ["--set", "latency=80ms", "--seed", "5"]
    words += ["--at", "2", "set latency 20ms", "--at", "500ms", "drop next response"]
    status, out, err = commtui(*RUN, *words, "--json", "--trace", str(path))
    assert (status, err) == (0, "")
    told = json.loads(out)
    assert told["seed"] == 5
    assert told["knobs"]["latency"] == {"value": 0.08, "unit": "s", "text": "80 ms"}
    assert told["commands"] == [
        {"at_s": 0.5, "command": "drop next response"},
        {"at_s": 2.0, "command": "set latency 20ms"},
    ]
    assert told["end_s"] == 5.0
    assert told["numbers"]["lost"]["value"] == 1
    with path.open("rb") as file:
        assert len(read_trace(file)) == told["facts"]


def test_text_is_a_transcript_in_order_of_time(commtui: Shell) -> None:
    status, out, err = commtui(*RUN, "--text", "--at", "1", "kill server")
    assert (status, err) == (0, "")
    times = [float(line.split()[0]) for line in out.splitlines()]
    assert times == sorted(times)
    assert "order: kill server" in out
    assert "\x1b" not in out


def test_a_command_after_the_end_is_warned_of(commtui: Shell) -> None:
    status, out, err = commtui(*RUN, "--at", "9", "kill server")
    assert status == 0
    assert out
    assert err == "commtui: warning: the run stops at 5 s, before 'kill server' at 9 s\n"


def test_a_trace_file_that_cannot_be_written_is_refused_before_the_run_and_none_is_left(
    commtui: Shell, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.write_text("mine")
    assert commtui(*RUN, "--trace", str(tmp_path))[0] == 2
    assert commtui(*RUN, "--trace", str(kept), "--at", "1", "kil")[0] == 2
    assert kept.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [kept]


async def _fail(host: Host) -> None:
    host.note("about to fail")
    raise RuntimeError("no\nluck")


async def _return(host: Host) -> None:
    host.note("nothing to do")


@pytest.fixture
def _odd_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = tuple(
        Lesson(name, name.title(), "See what happens.", (HostSpec("client", program),), needs=needs)
        for name, program, needs in (
            ("failing", _fail, ()),
            ("short", _return, ()),
            ("lacking", _return, (Need("no_such_module_anywhere", "commtui[nothing]"),)),
        )
    )
    patterns = (Pattern("odd", "Odd", "Odd", "1", "Fails.", lessons),)
    monkeypatch.setattr(registry, "PATTERNS", patterns)
    monkeypatch.setattr(tui.cli_list, "PATTERNS", patterns)


@pytest.mark.usefixtures("_odd_pattern")
def test_a_pattern_that_fails_gives_one_line_and_status_1_and_its_trace(commtui: Shell, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    status, out, err = commtui("run", "odd", "--json", "--trace", str(path))
    assert status == 1
    assert err.count("\n") == 1
    assert "no luck" in err
    assert json.loads(out)["state"] == "failed"
    assert b"about to fail" in path.read_bytes()


@pytest.mark.usefixtures("_odd_pattern")
def test_what_is_not_installed_is_named_in_one_line_and_status_1(commtui: Shell) -> None:
    status, _, err = commtui("run", "odd", "--scenario", "lacking")
    assert status == 1
    assert err.count("\n") == 1
    assert "pip install 'commtui[nothing]'" in err


@pytest.mark.usefixtures("_odd_pattern")
def test_a_run_whose_programs_return_is_over(commtui: Shell) -> None:
    status, out, err = commtui("run", "odd", "--scenario", "short", "--json")
    assert (status, err) == (0, "")
    told = json.loads(out)
    assert (told["state"], told["end_s"]) == ("ended", 0.0)


def test_a_closed_pipe_is_quiet() -> None:
    run = process("run", "request-response", "--text", "--until", "200")
    assert run.stdout is not None
    assert run.stderr is not None
    run.stdout.readline()
    run.stdout.close()
    assert run.stderr.read() == b""
    run.stderr.close()
    run.wait(30)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_a_full_disk_behind_stdout_is_one_line() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tui", *RUN, "--text"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert done.stderr == b"commtui: cannot write the output: No space left on device\n"


def test_an_interrupt_ends_it_at_once_and_without_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    # Shells start background jobs with SIGINT ignored; the run must have it as a terminal would give it.
    run = process(
        "run", "request-response", "--until", "1000000", "--trace", str(path),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    wait_for_thread(run.pid)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130
    assert out == b""
    assert b"Traceback" not in err


def wait_for_thread(pid: int) -> None:
    """Until the process has begun its run, in its second thread."""
    deadline = monotonic() + 60
    while len(os.listdir(f"/proc/{pid}/task")) < 2 and monotonic() < deadline:
        pass


def test_output_that_is_not_utf_8_loses_no_line() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    run = process("list", env=environment)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, err) == (0, b"")
    assert out.isascii()
