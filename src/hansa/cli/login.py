"""Getting and giving back credentials: `hansa login`, `hansa logout`, `hansa enroll`."""

import getpass
import os
import shlex
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from hansa.cli import credentials, output
from hansa.cli.exits import CommandError, ExitCode
from hansa.cli.session import AsJson, Ca, Server, Target, anonymous, connected, find_server
from hansa.cli.words import duration
from hansa.client.errors import CredentialsRefused, HansaError


def login(
    server: Server = None,
    username: Annotated[
        str | None, typer.Option("--username", "-u", metavar="NAME", help="Who logs in; asked for if left out.")
    ] = None,
    ca: Ca = None,
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="The login ends after this time (12h, 30d); else with logout.")
    ] = None,
) -> None:
    """Log in to a server, and ask that one from now on.

    The password is asked for, or read from HANSA_PASSWORD or from standard input. It is exchanged for a token, and
    not kept.
    """
    url = find_server(server)
    seconds = duration(expires) if expires else None
    name = username or _asked_for("User name: ")
    password = os.environ.get("HANSA_PASSWORD") or _secret(f"Password of {name} on {url}: ")
    trusted = ca.absolute() if ca else None
    with (
        credentials.secret_file(credentials.path()) as write,
        anonymous(url, trusted, basic=(name, password)) as api,
    ):
        try:
            made = api.create_token(f"hansa login on {socket.gethostname()}"[:100], seconds)
        except CredentialsRefused as error:
            raise CommandError(
                f"{url} does not know {name!r} with this password ({error.detail}).", ExitCode.NOT_ALLOWED
            ) from error
        saved = credentials.Saved(
            username=name, token=made.token, token_id=made.id, ca=str(trusted) if trusted else None
        )
        known = credentials.load()
        write(credentials.encoded(known.having(url, saved)))
    if before := known.saved(url):
        with suppress(HansaError):  # it is tidier, and no reason to fail: the new login stands
            _revoke(url, before)
    output.note(f"Logged in to {url} as {name}. The token is in {credentials.path()}.")


def logout(
    server: Server = None,
    local: Annotated[
        bool, typer.Option("--local", help="Only forget the token here; the server goes on accepting it.")
    ] = False,
) -> None:
    """Revoke the saved token on the server, and forget it."""
    url = find_server(server)
    known = credentials.load()
    saved = known.saved(url)
    if saved is None:
        raise CommandError(f"nobody is logged in to {url} on this machine.")
    if not local:
        try:
            _revoke(url, saved)
        except CredentialsRefused:
            output.note("The server had revoked the token already, or it had expired.")
    credentials.save(known.without(url))
    output.note(f"Logged out of {url}.")


def enroll(
    code: Annotated[str, typer.Argument(metavar="CODE", help="The one-time code that `hansa clients invite` printed.")],
    server: Server = None,
    ca: Ca = None,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="FILE", help="Put the token here; else under ~/.config/hansa."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make this machine a client.

    Exchanges a one-time code for a token, and prints the line that starts the client.
    """
    url = find_server(server)
    # The client's name, and with it the usual place, is known only when the code is spent: open one there first.
    first = token_file or credentials.client_folder(url) / "enrolling.token"
    with credentials.secret_file(first) as write:
        with anonymous(url, ca) as api:
            enrolled = api.enroll(code.strip())
        place = token_file or credentials.client_token_path(url, enrolled.username)
        write(enrolled.token + "\n", to=place)
    if token_file is None:
        credentials.remember_enrollment(url, ca)
    line = _run_line(url, place, ca)
    if as_json:
        output.print_json({"id": enrolled.id, "username": enrolled.username, "token_file": str(place)})
        return
    output.note(f"This machine is now {enrolled.username}. Its token is in {place}. Take part with a trainer of yours:")
    output.say(line)


def _revoke(url: str, saved: credentials.Saved) -> None:
    with connected(Target(url, saved.token, Path(saved.ca) if saved.ca else None)) as api:
        api.revoke_token(saved.token_id)


def _run_line(url: str, token_file: Path, ca: Path | None) -> str:
    words = ["hansa", "client", "run", "trainer:trainer", "--server", url, "--token-file", str(token_file)]
    return shlex.join(words + (["--ca", str(ca)] if ca else []))


def _asked_for(prompt: str) -> str:
    if not sys.stdin.isatty():
        raise CommandError("no user name is given. Add --username NAME.", ExitCode.USAGE)
    name = input(prompt).strip()
    if not name:
        raise CommandError("a user name is needed.", ExitCode.USAGE)
    return name


def _secret(prompt: str) -> str:
    """Typed without echo, or the first line of what is piped in."""
    password = getpass.getpass(prompt) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if not password:
        raise CommandError(
            "no password was given. Type it when asked, pipe it in, or set HANSA_PASSWORD.", ExitCode.USAGE
        )
    return password
