"""The server's own commands: `hansa serve`, `hansa migrate`, `hansa createsuperuser`."""

from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from hansa.cli.extras import needs_extra

PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""For Django's commands: every argument, --help included, is theirs."""


def serve(
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The address to listen on; 0.0.0.0 for all of this machine's.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", min=1, max=65535, help="The port.")] = 8000,
    tls_cert: Annotated[
        Path | None,
        typer.Option("--tls-cert", metavar="FILE", help="Certificate chain (PEM). Together with --tls-key."),
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Its private key (PEM).")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Allow other machines without TLS: tokens travel in the clear.")
    ] = False,
) -> None:
    """Run the server until Ctrl-C.

    Works in an empty folder: the data goes to HANSA_HOME (./hansa-data), the database is made and kept up to date.
    """
    process = _process("hansa serve")
    raise typer.Exit(process.serve(host=host, port=port, tls_cert=tls_cert, tls_key=tls_key, insecure=insecure))


def migrate(context: typer.Context) -> None:
    """Bring the database up to date.

    Django's command: its own options follow. `hansa serve` does so by itself.
    """
    raise typer.Exit(_process("hansa migrate").manage(["migrate", *context.args]))


def createsuperuser(context: typer.Context) -> None:
    """Make an account that may do everything.

    Django's command: its own options follow. With --noinput the account comes from DJANGO_SUPERUSER_USERNAME,
    _PASSWORD and _EMAIL.
    """
    raise typer.Exit(_process("hansa createsuperuser").manage(["createsuperuser", *context.args]))


def _process(command: str) -> ModuleType:
    with needs_extra("server", command):
        from hansa.server import process
    return process
