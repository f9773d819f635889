"""A person's API tokens: `hansa tokens …`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from hansa.cli import credentials, lookup, output
from hansa.cli.output import Column
from hansa.cli.session import Session, with_server
from hansa.cli.words import ago, duration, short_ids

app = typer.Typer(no_args_is_help=True, help="Your own API tokens.")


@app.command()
@with_server
def create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for, to know it again.")],
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="It ends after this time (12h, 30d); else never.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Put the text in this file (mode 600).")
    ] = None,
) -> None:
    """Make a token. Its text is shown this once."""
    seconds = duration(expires) if expires else None
    if to is None:
        made = session.api.create_token(name, seconds)
        session.show(made, made.token)
        return
    with credentials.secret_file(to) as write:
        made = session.api.create_token(name, seconds)
        write(made.token + "\n")
    output.note(f"The token is in {to}.")
    if session.json:
        output.print_json({"id": made.id, "name": made.name, "expires_at": made.expires_at, "token_file": str(to)})


@app.command("list")
@with_server
def list_(session: Session) -> None:
    """List your tokens, without their texts, which the server does not know."""
    tokens, now = session.api.tokens(), datetime.now(UTC)
    ids = short_ids([token.id for token in tokens])
    columns = [Column("id", style="cyan"), Column("name", give="cut"), Column("created"), Column("expires")]
    rows = [
        (ids[token.id], token.name, ago(token.created_at, now), (token.expires_at or "never")[:16].replace("T", " "))
        for token in tokens
    ]
    session.show(tokens, output.table(columns, rows) if rows else "No tokens.")


@app.command()
@with_server
def revoke(
    session: Session,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="Its id, or the beginning of it, or name.")],
) -> None:
    """End a token. Whoever uses it is refused from now on."""
    found = lookup.token_id(session.api, token)
    session.api.revoke_token(found)
    session.show({"revoked": found}, f"Token {found} is revoked.")
