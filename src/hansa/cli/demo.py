"""A server with something on it: `hansa demo --fill`."""

from typing import Annotated

import typer

from hansa.cli import output
from hansa.cli.exits import CommandError, ExitCode
from hansa.cli.session import Session, with_server


@with_server
def demo(
    session: Session,
    fill: Annotated[bool, typer.Option("--fill", help="Put a federation to look at onto the server.")] = False,
) -> None:
    """Fill a server with a federation to look at: trainings, clients, a failure, a refusal, models to ask.

    Five clients learn in this process from drawings that it makes, and speak to the server as all clients do; it takes
    some seconds. What is there already stays. Not for a server in use: all that it makes begins with "demo-" or
    "shapes", and is deleted by hand.
    """
    if not fill:
        raise CommandError("say what to do: `hansa demo --fill` fills the server.", ExitCode.USAGE)
    from hansa.simulation.demo.filling import fill as filled  # not with every command: it needs what they do not

    made = filled(session.api, output.note)
    output.note("Look at it in a browser:")
    session.show(made, f"{session.url}/", f"{session.url}/models/{made.model}/ask/")
