"""What cannot be undone is asked about once."""

import sys
from typing import Annotated

import typer

from hansa.cli.exits import CommandError, ExitCode
from hansa.client.plaintext import clean

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def confirm(question: str, *, yes: bool) -> None:
    """Go on only after a yes: given as an option, or typed. CommandError otherwise."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError(f"{question} Nobody is there to ask: add --yes.", ExitCode.USAGE)
    sys.stderr.write(f"{clean(question)} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandError("nothing was deleted.")
