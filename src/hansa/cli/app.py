"""All commands in one tree, and what becomes of an error: lines on stderr and an exit code, never a traceback."""

import platform
from collections.abc import Sequence
from typing import Annotated

import typer

from hansa import __version__
from hansa.cli import client, clients, importing, models, output, tokens, trainings
from hansa.cli.backup import backup, restore
from hansa.cli.chaos import chaos
from hansa.cli.demo import demo
from hansa.cli.doctor import doctor
from hansa.cli.exits import CommandError, exit_code
from hansa.cli.init import init
from hansa.cli.login import enroll, login, logout
from hansa.cli.serve import PASSED_ON, createsuperuser, migrate, serve
from hansa.cli.session import AsJson
from hansa.client.errors import HansaError
from hansa.protocol import PROTOCOL_VERSION

app = typer.Typer(
    name="hansa",
    rich_markup_mode=None,  # plain help and usage errors: dense, and the same in a log as in a terminal
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # it prints local variables, among them tokens
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 server unreachable, 4 not allowed.",
)
app.command()(init)
app.command()(serve)
app.command(context_settings=PASSED_ON, add_help_option=False)(migrate)
app.command(context_settings=PASSED_ON, add_help_option=False)(createsuperuser)
app.command()(doctor)
app.command()(backup)
app.command()(restore)
app.command()(login)
app.command()(logout)
app.command()(enroll)
app.command()(demo)
app.command()(chaos)
for group, name in (
    (client.app, "client"),
    (models.app, "models"),
    (trainings.app, "trainings"),
    (clients.app, "clients"),
    (tokens.app, "tokens"),
    (importing.app, "import"),
):
    app.add_typer(group, name=name)


def _say_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def _hansa(
    _version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="As hansa version.")
    ] = False,
) -> None:
    """Hansa: federated learning between parties that keep their data."""


@app.command()
def version(as_json: AsJson = False) -> None:
    """Say which Hansa this is."""
    if as_json:
        output.print_json({"hansa": __version__, "protocol": PROTOCOL_VERSION, "python": platform.python_version()})
    else:
        output.say(f"hansa {__version__} (protocol {PROTOCOL_VERSION}, Python {platform.python_version()})")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit code. `arguments`: without the program's name; None takes the process's."""
    output.warnings_as_lines()
    try:
        app(args=None if arguments is None else list(arguments), prog_name="hansa")
    except CommandError as error:
        output.complain(str(error), error.choices)
        return error.code
    except HansaError as error:
        output.complain(str(error))
        return exit_code(error)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0
