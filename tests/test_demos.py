"""Demos: what is written is read back exactly, in both forms, and every mistake is said with its line."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.demos import Demo, DemoFileError, command_line, demo_file, make_demo, read_demo
from engines.lab.session import run_headless
from engines.lab.trace_file import trace_digest
from engines.patterns.registry import PATTERNS, find_lesson, find_pattern
from tests.patterns.orders import orders
from tests.patterns.runs import other_values, text_of
from tui.cli import main
from tui.cli_demo import Wanted, find_demo

SIMPLE = find_lesson(find_pattern("request-response"), "simple-get")


@st.composite
def demos(draw: st.DrawFn) -> Demo:
    """Any lesson, some of its knobs at other values, and orders that fit it."""
    pattern = draw(st.sampled_from(PATTERNS))
    lesson = draw(st.sampled_from(pattern.lessons))
    knobs = {
        knob.name: draw(st.sampled_from(values))
        for knob in draw(st.lists(st.sampled_from(lesson.all_knobs()), unique_by=lambda k: k.name, max_size=4))
        if (values := other_values(knob))
    }
    given_orders = draw(orders(lesson))
    return Demo(
        pattern,
        lesson,
        draw(st.integers(-5, 10**9)),
        knobs,
        tuple(given_orders),
        draw(st.floats(0, 1e6) | st.just(0.0)),
    )


@given(demos())
@settings(max_examples=60)
def test_a_file_says_what_was_written(demo: Demo) -> None:
    assert read_demo(demo_file(demo)) == demo


@given(demos())
@settings(max_examples=60)
def test_a_command_line_says_what_was_meant(demo: Demo) -> None:
    words = shlex.split(command_line(demo))
    assert words[0] == "commtui"
    options: dict[str, list[str]] = {}
    rest = iter(words[2:])
    for word in rest:
        if word == "--at":
            options.setdefault(word, []).extend((next(rest), next(rest)))
        else:
            options.setdefault(word, []).append(next(rest))
    at = options.get("--at", [])
    wanted = Wanted(
        words[1],
        options.get("--scenario", [None])[0],  # type: ignore[list-item]
        int(options.get("--seed", ["0"])[0]),
        options.get("--set", []),
        list(zip(at[::2], at[1::2], strict=True)),
        options.get("--start-at", [None])[0],  # type: ignore[list-item]
    )
    assert find_demo(wanted) == demo


def test_a_demo_is_the_run() -> None:
    demo = make_demo(
        "request-response",
        seed=7,
        settings=[("latency", "123ms")],
        orders=[(2.5, "kill server"), (4.0, "restart server")],
    )
    again = read_demo(demo_file(demo))
    first, second = (
        run_headless(d.lesson, name=d.name, seed=d.seed, knobs=d.knobs, commands=d.commands, until_s=10.0)
        for d in (demo, again)
    )
    assert trace_digest(first.trace) == trace_digest(second.trace)


GOOD = """\
commtui = 1
pattern = "request-response"
scenario = "simple-get"
seed = 7

[knobs]
latency = "200 ms"
burst = 3
keep-alive = true

[[commands]]
at = 2
do = "kill server"

[[commands]]
at = 3.5
do = "restart server"
"""


def test_a_file_by_hand() -> None:
    demo = read_demo(GOOD)
    assert demo.knobs == {"latency": 0.2, "burst": 3.0, "keep-alive": True}
    assert [(timed.time_s, str(timed.command)) for timed in demo.commands] == [
        (2.0, "kill server"),
        (3.5, "restart server"),
    ]
    assert read_demo('pattern = "request-response"') == make_demo("request-response")


@pytest.mark.parametrize(
    ("change", "line", "reason"),
    [
        (lambda text: "", 1, "no pattern is named"),
        (lambda text: text.replace('"request-response"', '"request-respons"'), 2, "did you mean 'request-response'?"),
        (lambda text: text.replace("simple-get", "simple-gt"), 3, "did you mean 'simple-get'?"),
        (lambda text: text.replace("seed = 7", "seed = 7.5"), 4, "seed is a whole number, not 7.5"),
        (lambda text: text.replace("seed = 7", "sed = 7"), 4, "did you mean 'seed'?"),
        (lambda text: text.replace("seed = 7", "seed = "), 4, "not TOML"),
        (lambda text: text.replace("latency =", "latncy ="), 7, "did you mean 'latency'?"),
        (lambda text: text.replace("200 ms", "200 parsec"), 7, "one of: us"),
        (lambda text: text.replace("burst = 3", "burst = [3]"), 8, "a text, a number, true or false"),
        (lambda text: text.replace("keep-alive = true", "keep-alive = 5"), 9, "'kept' or 'closed'"),
        (lambda text: text.replace("at = 2", "at = -2"), 12, "a number of seconds from 0 on, not -2"),
        (lambda text: text.replace("at = 2", "when = 2"), 11, "this command lacks 'at'"),
        (lambda text: text.replace("at = 3.5", 'at = 3.5\nhost = "x"'), 17, "no 'host'"),
        (lambda text: text.replace("kill server", "kil server"), 13, "did you mean 'kill'?"),
        (lambda text: text.replace("restart server", "restart srver"), 17, "did you mean 'server'?"),
        (lambda text: text.replace("commtui = 1", "commtui = 2"), 1, "reads format 1, not 2"),
        (lambda text: text.replace("[knobs]", "[nobs]"), 6, "did you mean 'knobs'?"),
        (lambda text: "start-at = inf\n" + text, 1, "a number of seconds from 0 on"),
        (lambda text: 'commands = ["kill server"]\npattern = "request-response"', 1, "commands are tables"),
    ],
)  # fmt: skip
def test_what_is_wrong_has_a_line_and_a_reason(change: Callable[[str], str], line: int, reason: str) -> None:
    with pytest.raises(DemoFileError) as caught:
        read_demo(change(GOOD))
    assert caught.value.line == line
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


MANGLED = st.builds(lambda at, junk: GOOD[:at] + junk + GOOD[at:], st.integers(0, len(GOOD)), st.text(max_size=6))


@given(st.text(max_size=200) | MANGLED)
def test_any_text_is_a_demo_or_a_line_and_a_reason(text: str) -> None:
    line = 1
    try:
        read_demo(text)
    except DemoFileError as error:
        line = error.line
    assert 1 <= line <= max(1, len(text.splitlines()))


def test_save_and_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "demo.toml"
    words = ["request-response", "--seed", "7", "--set", "latency=90ms", "--at", "2", "kill server"]
    assert main(["save", str(path), *words]) == 0
    assert capsys.readouterr().out == f"commtui {path}\n"
    assert main(["save", str(path), *words]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["save", str(path), *words, "--force"]) == 0
    capsys.readouterr()
    outputs = []
    for what in ([str(path)], words):
        assert main(["run", *what, "--text"]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]


def test_a_broken_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "demo.toml"
    path.write_text(GOOD.replace("kill server", "kil server"))
    assert main(["run", str(path)]) == 2
    assert capsys.readouterr().err == f"commtui: {path}, line 13: no command 'kil'; did you mean 'kill'?\n"


def test_knobs_keep_values_that_their_usual_words_would_round() -> None:
    knob = next(knob for knob in SIMPLE.all_knobs() if knob.name == "latency")
    assert text_of(knob, 0.123456789)
    settings_by_hand = [("latency", "0.123456789"), ("loss", "6.25%"), ("jitter", "0.0000001234")]
    demo = make_demo("request-response", settings=settings_by_hand)
    assert read_demo(demo_file(demo)).knobs == {"latency": 0.123456789, "loss": 0.0625, "jitter": 1.234e-7}
    minutes = make_demo("long-polling", settings=[("hold", "320")])
    assert read_demo(demo_file(minutes)).knobs == {"hold": 320.0}
