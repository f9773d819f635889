"""The clients that may take part: `hansa clients …`."""

import shlex
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlsplit

import typer

from hansa.cli import output
from hansa.cli.output import Column
from hansa.cli.session import Session, with_server
from hansa.cli.words import ago, duration, short_ids

app = typer.Typer(no_args_is_help=True, help="The clients that may take part in trainings.")


@app.command()
@with_server
def invite(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The client's user name, such as hospital-a.")],
    expires: Annotated[str, typer.Option(metavar="TIME", help="The code can be used for this long.")] = "24h",
) -> None:
    """Invite a client: print the line to paste on its machine, with a one-time code.

    On this machine, `hansa clients invite NAME | sh` does so at once.
    """
    made = session.api.invite(name, duration(expires))
    if session.json:
        output.print_json(made)
        return
    output.note(f"{made.username} is invited. On its machine, until {made.expires_at[:16].replace('T', ' ')} UTC:")
    output.say(shlex.join(["hansa", "enroll", made.code, "--server", session.url]))
    if (urlsplit(session.url).hostname or "") in ("localhost", "127.0.0.1", "::1"):
        output.note(
            f"{session.url} is this machine's own address; another machine needs the one it sees this one under."
        )


@app.command("list")
@with_server
def list_(session: Session) -> None:
    """List the clients."""
    clients, now = session.api.clients(), datetime.now(UTC)
    ids = short_ids([client.id for client in clients])
    columns = [Column("id", style="cyan"), Column("name", give="cut"), Column("enrolled"), Column("asked for work")]
    rows = [
        (ids[client.id], client.username, "yes" if client.enrolled else "invited", ago(client.last_seen, now))
        for client in clients
    ]
    session.show(clients, output.table(columns, rows) if rows else "No clients. Invite one: hansa clients invite NAME")
