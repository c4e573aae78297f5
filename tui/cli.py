"""The command: `commtui` opens the app, `commtui run` runs a scenario without it, `commtui list` says what there is.

Importing this costs no more than click: patterns, networks and Textual are imported by the commands that need them.
"""

import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches

import click

from tui.saying import say

_HELP = ("-h", "--help")
_OPEN = "open the app"  # the name has blanks in it, so that nobody can type it by accident

_INTERRUPTED = 130  # 128 + SIGINT, as shells say it


class FirstWord(click.Group):
    """A group whose first word is one of its commands or the name of a pattern to open the app on."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, *_HELP, "--version"):
            args = [_OPEN, *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in super().list_commands(ctx) if name != _OPEN]

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The group's help is also that of opening the app: it is what people do most."""
        formatter.write_usage("commtui", "[PATTERN] [OPTIONS]      open the app, on that pattern")
        formatter.write_usage("commtui", "FILE [OPTIONS]           open the app and play a demo", prefix="       ")
        formatter.write_usage("commtui", "run PATTERN|FILE         run a scenario without it", prefix="       ")
        formatter.write_usage("commtui", "save FILE PATTERN        write a demo", prefix="       ")
        formatter.write_usage(
            "commtui", "compare [PATTERN]...     one workload under several patterns", prefix="       "
        )
        formatter.write_usage("commtui", "list [--json]            say what there is", prefix="       ")
        self.format_help_text(ctx, formatter)
        shown = [*self.commands[_OPEN].params, *self.get_params(ctx)]
        records = [p.get_help_record(ctx) for p in shown if isinstance(p, click.Option)]
        options = [record for record in records if record is not None]
        with formatter.section("Options"):
            formatter.write_dl(options)
        self.format_commands(ctx, formatter)


class OpenCommand(click.Command):
    """Opening the app; asked for help, it gives that of the whole."""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        assert ctx.parent is not None
        ctx.parent.command.format_help(ctx.parent, formatter)


class RunCommand(click.Command):
    """`run`, with the language of `--at` behind its options, taken from where it is defined so that it stays true."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from tui.cli_run import EXAMPLES, command_language

        formatter.write_paragraph()
        formatter.write("Commands, for --at SECONDS COMMAND:\n\n" + command_language() + "\n")
        formatter.write("\nExamples:\n\n" + EXAMPLES)


def _read_pace(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """How many times real time: a number, perhaps with an x, or `flat` for as fast as it goes."""
    if text is None:
        return None
    if text in ("flat", "inf"):
        return float("inf")
    try:
        pace = float(text.removesuffix("x"))
    except ValueError:
        pace = 0.0
    if not pace >= 0.1:
        raise click.UsageError(f"--pace {text!r}: write 0.1 or more (1 is real time), or flat")
    return pace


def _show_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        say(f"commtui {version('commtui')}")
    except PackageNotFoundError:
        say("commtui, not installed (run from its sources)")
    ctx.exit()


@click.group(cls=FirstWord, context_settings={"help_option_names": list(_HELP)})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def commtui() -> None:
    """A laboratory for backend communication patterns: real protocol code, under a clock you can stop, on a network you
    can break, drawn as a diagram you can scrub."""


def _scenario_options(command: Callable[..., int]) -> Callable[..., int]:
    """What `commtui`, `commtui run` and `commtui save` have in common: which run is meant."""
    for option in (
        click.option(
            "--at",
            "orders",
            multiple=True,
            nargs=2,
            metavar="SECONDS COMMAND",
            help="Give a command at that virtual time.",
        ),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="KNOB=VALUE",
            help="Start with that value, such as latency=80ms.",
        ),
        click.option("--seed", type=int, metavar="N", help="Decides every random choice (default: 0)."),
        click.option("--scenario", metavar="S", help="The scenario (default: the pattern's first)."),
    ):
        command = option(command)
    return command


_START_AT = click.option("--start-at", metavar="SECONDS", help="Watch from that virtual time on.")


@commtui.command(_OPEN, cls=OpenCommand, hidden=True)
@click.argument("pattern", required=False)
@_scenario_options
@_START_AT
@click.option(
    "--pace", callback=_read_pace, metavar="X", help="Virtual seconds a second: 0.1 to 100, or flat (default: 1)."
)
@click.option("--theme", metavar="T", help="classroom-dark or classroom-light.")
@click.option("--ascii", is_flag=True, help="Draw with ASCII characters alone.")
@click.option("--no-motion", is_flag=True, help="Let messages jump from event to event instead of gliding.")
def open_app(
    pattern: str | None,
    scenario: str | None,
    seed: int | None,
    settings: tuple[str, ...],
    orders: tuple[tuple[str, str], ...],
    start_at: str | None,
    pace: float | None,
    theme: str | None,
    ascii: bool,
    no_motion: bool,
) -> int:
    demo = None
    if pattern is not None or scenario is not None or settings or orders or start_at is not None:
        _check_names(pattern)
        from engines.patterns.registry import PATTERNS
        from tui.cli_demo import Wanted, find_demo

        demo = find_demo(Wanted(pattern or PATTERNS[0].name, scenario, seed, settings, orders, start_at))
    if theme is not None:
        _check_theme(theme)
    from tui.app import run_app

    return run_app(demo=demo, seed=seed, pace=pace, theme=theme, ascii=ascii or None, no_motion=no_motion)


def _check_names(pattern: str | None) -> None:
    """Refuse a first word that is no pattern and no file, and name the nearest thing that it may have been meant to be."""
    from engines.patterns.registry import PATTERNS
    from tui.cli_demo import names_a_file

    names = [known.name for known in PATTERNS]
    words = [*names, *(name for name in commtui.commands if name != _OPEN)]
    if pattern in commtui.commands:
        raise click.UsageError(f"{pattern!r} comes first: commtui {pattern} …")
    if pattern is not None and pattern not in names and not names_a_file(pattern):
        near = get_close_matches(pattern, words, 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(words)}"
        raise click.UsageError(f"no pattern or command {pattern!r}; {hint}")


def _check_theme(theme: str) -> None:
    from tui.themes import THEME_NAMES

    if theme not in THEME_NAMES:
        near = get_close_matches(theme, THEME_NAMES, 1, 0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(THEME_NAMES)}"
        raise click.UsageError(f"no theme {theme!r}; {hint}")


@commtui.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def list_patterns(as_json: bool) -> int:
    """Say what there is: patterns, scenarios, knobs, faults."""
    from tui.cli_list import listing_json, listing_text

    say(listing_json() if as_json else listing_text())
    return 0


@commtui.command("run", cls=RunCommand)
@click.argument("pattern", metavar="PATTERN|FILE")
@_scenario_options
@click.option("--until", metavar="SECONDS", help="Stop at that virtual time (default: the scenario's own).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: what was run, and all its numbers.")
@click.option("--text", "as_text", is_flag=True, help="Print what happened, a line for each event, in words.")
@click.option("--trace", "trace_path", type=click.Path(), metavar="FILE", help="Write every fact there, as JSON Lines.")
def run_scenario(
    pattern: str,
    scenario: str | None,
    seed: int | None,
    settings: tuple[str, ...],
    orders: tuple[tuple[str, str], ...],
    until: str | None,
    as_json: bool,
    as_text: bool,
    trace_path: str | None,
) -> int:
    """Run a scenario or a demo flat out, without the app, and print the numbers it came to.

    The same pattern, scenario, seed, settings and commands give the same run, byte for byte.
    """
    if as_json and as_text:
        raise click.UsageError("--json and --text both write to stdout; choose one")
    from tui.cli_demo import Wanted
    from tui.cli_run import Report, run

    form = "json" if as_json else "text" if as_text else "numbers"
    return run(Wanted(pattern, scenario, seed, settings, orders), Report(until, form, trace_path))


@commtui.command("save")
@click.argument("file")
@click.argument("pattern", metavar="PATTERN|FILE")
@_scenario_options
@_START_AT
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def save_demo(
    file: str,
    pattern: str,
    scenario: str | None,
    seed: int | None,
    settings: tuple[str, ...],
    orders: tuple[tuple[str, str], ...],
    start_at: str | None,
    force: bool,
) -> int:
    """Write a demo: a small file that says which scenario, with which seed, knobs and commands.

    `commtui FILE` plays it, `commtui run FILE` prints what it comes to.
    """
    from tui.cli_demo import Wanted, save

    return save(Wanted(pattern, scenario, seed, settings, orders, start_at), file, force=force)


@commtui.command("compare")
@click.argument("patterns", nargs=-1)
@click.option("--workload", default="notifications", metavar="W", help="What all of them do (default: notifications).")
@click.option("--seed", type=int, default=0, metavar="N", help="Decides every random choice (default: 0).")
@click.option(
    "--set", "settings", multiple=True, metavar="KNOB=VALUE", help="The same value for all that have the knob."
)
@click.option("--until", metavar="SECONDS", help="Stop at that virtual time (default: 60).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def compare_patterns(
    patterns: tuple[str, ...], workload: str, seed: int, settings: tuple[str, ...], until: str | None, as_json: bool
) -> int:
    """Run the same workload under several patterns (none named: under all that can) and print one table.

    All start from the same seed and the same knobs, and hear of the very same events.
    """
    from tui.cli_compare import compare

    return compare(patterns, workload, seed, settings, until, as_json)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status. Whatever is wrong with it is said in one line on stderr, status 2."""
    _print_anything()
    try:
        status = commtui.main(args=argv, prog_name="commtui", standalone_mode=False)
    except click.ClickException as error:
        message = " ".join(error.format_message().split())
        say(f"commtui: {message}", err=True)
        return error.exit_code
    except click.Abort:
        return _INTERRUPTED
    except OSError as error:  # a full disk behind stdout; a closed pipe is click's, and quiet
        say(f"commtui: cannot write the output: {error.strerror}", err=True)
        return 1
    return status if isinstance(status, int) else 0


def _print_anything() -> None:
    """A terminal or pipe that is not UTF-8 gets `\\u2501` instead of a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
