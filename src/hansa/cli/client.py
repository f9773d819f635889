"""Taking part: `hansa client run`."""

from pathlib import Path
from typing import Annotated

import typer

from hansa.cli import usercode
from hansa.cli.session import AsClient, Ca, Server, TokenFile, find_client_target

app = typer.Typer(no_args_is_help=True, help="Take part in trainings as a client.")


@app.callback()
def _group() -> None:
    """Take part in trainings as a client."""  # keeps `run` a command of its own: there will be others


@app.command()
def run(
    trainer: Annotated[
        str, typer.Argument(metavar="MODULE:ATTRIBUTE", help="The trainer, or what makes one, from the current folder.")
    ],
    server: Server = None,
    token_file: TokenFile = None,
    client: AsClient = "",
    ca: Ca = None,
    state: Annotated[
        Path | None,
        typer.Option(envvar="HANSA_STATE", metavar="DIR", help="Keep the journal here; else under ~/.local/state."),
    ] = None,
) -> None:
    """Wait for tasks and do them with your trainer, until Ctrl-C.

    The server may come and go: the client tries for ever. A client that was killed goes on where it was, without
    training again what was trained.
    """
    from hansa.client import Client

    target = find_client_target(server, token_file, ca, client=client)
    loaded = usercode.load(trainer, having="train")
    Client(target.url, target.token, state=state, ca=target.ca).run(loaded)
