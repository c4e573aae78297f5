"""One way to print a line, whatever the terminal's encoding."""

import sys

import click


def say(text: str, *, err: bool = False) -> None:
    """Print `text` to standard output, or with `err` to standard error, in the encoding that the stream has.

    click takes a stream in ASCII for a mistake and writes UTF-8 to it, unless it is given the stream by name.
    """
    click.echo(text, file=sys.stderr if err else sys.stdout)
