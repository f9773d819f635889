"""A command's way to a server: which one, with whose credentials, and how it answers.

`with_server` gives a command the four options that all of these share, and a `Session` in their place.
"""

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Concatenate

import typer
from rich.console import RenderableType
from rich.text import Text

from hansa.cli import credentials, output
from hansa.cli.exits import CommandError, ExitCode
from hansa.cli.words import listed
from hansa.client.api import Api
from hansa.client.plaintext import clean
from hansa.client.transport import Transport

Server = Annotated[
    str | None,
    typer.Option("--server", envvar="HANSA_SERVER", metavar="URL", help="The server; else the one logged in to last."),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file", envvar="HANSA_TOKEN_FILE", metavar="FILE", help="Read the token from this file; else as saved."
    ),
]
AsClient = Annotated[
    str, typer.Option("--as", metavar="NAME", help="Of several clients enrolled on this machine, this one.")
]
Ca = Annotated[
    Path | None,
    typer.Option("--ca", envvar="HANSA_CA", metavar="FILE", help="Trust this private authority (PEM), and no other."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, for programs.")]


@dataclass(frozen=True, slots=True)
class Session:
    """One command's conversation with one server."""

    api: Api
    url: str
    json: bool

    def show(self, value: Any, *renderables: RenderableType) -> None:  # Any: Structs and what they are made of
        """The command's answer: `value` for programs, the rest for people; strings are cleaned, and not wrapped."""
        if self.json:
            output.print_json(value)
            return
        console = output.console()
        for each in renderables:
            if isinstance(each, str):
                console.print(Text(clean(each)), soft_wrap=True)
            else:
                console.print(each)


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and how to be known and sure there."""

    url: str
    token: str
    ca: Path | None


def with_server(command: Callable[Concatenate[Session, ...], None]) -> Callable[..., None]:
    """Turn a command on a Session into one with the options --server, --token-file, --ca and --json."""

    @wraps(command)
    def wrapped(
        *,
        server: str | None,
        token_file: Path | None,
        ca: Path | None,
        as_json: bool,
        **own: Any,  # Any: the command's own options, read and checked by typer
    ) -> None:
        target = find_target(server, token_file, ca)
        with connected(target) as api:
            command(Session(api, target.url, as_json), **own)

    signature = inspect.signature(command)
    own = list(signature.parameters.values())[1:]
    kind = inspect.Parameter.KEYWORD_ONLY
    shared = [
        inspect.Parameter("server", kind, default=None, annotation=Server),
        inspect.Parameter("token_file", kind, default=None, annotation=TokenFile),
        inspect.Parameter("ca", kind, default=None, annotation=Ca),
        inspect.Parameter("as_json", kind, default=False, annotation=AsJson),
    ]
    # typer reads a command's options from its signature.
    wrapped.__signature__ = signature.replace(parameters=[*own, *shared])  # type: ignore[attr-defined] # read by inspect
    return wrapped


def find_server(server: str | None) -> str:
    """The server to ask: the one named, else the one logged in to last."""
    url = server or credentials.load().server
    if not url:
        raise CommandError(
            "no server is named. Log in once (hansa login --server URL), or give --server URL or HANSA_SERVER.",
            ExitCode.USAGE,
        )
    return credentials.normal(url)


def find_target(server: str | None, token_file: Path | None, ca: Path | None) -> Target:
    """The server and a person's credentials for it: a token file, HANSA_TOKEN, or what `hansa login` saved."""
    url = find_server(server)
    saved = credentials.load().saved(url)
    token = _given_token(token_file) or (saved.token if saved else "")
    if not token:
        raise CommandError(
            f"no credentials for {url}. Log in (hansa login --server {url}), or name a token file by --token-file.",
            ExitCode.NOT_ALLOWED,
        )
    return Target(url, token, ca or (Path(saved.ca) if saved and saved.ca else None))


def find_client_target(server: str | None, token_file: Path | None, ca: Path | None, *, client: str = "") -> Target:
    """The server and a client's credentials for it: as given, or as enrolled on this machine, by name if several are.

    Never a person's saved token: who logged in to manage trainings is not who takes part in them.
    """
    url, trusted = _client_server(server, client)
    ca = ca or trusted
    if client:
        return Target(url, credentials.read_token(credentials.client_token_path(url, client)), ca)
    if token := _given_token(token_file):
        return Target(url, token, ca)
    enrolled = sorted(credentials.client_folder(url).glob("*.token"))
    if len(enrolled) == 1:
        return Target(url, credentials.read_token(enrolled[0]), ca)
    names = listed(file.stem for file in enrolled)
    raise CommandError(
        f"{len(enrolled)} clients of {url} are enrolled on this machine ({names}). Name one: --as NAME"
        if enrolled
        else f"no client of {url} is enrolled on this machine. Enroll one with its code (hansa enroll CODE --server "
        f"{url}), or name a token file by --token-file.",
        ExitCode.NOT_ALLOWED,
    )


def _client_server(server: str | None, client: str) -> tuple[str, Path | None]:
    """The server named, else the only one at which this client (or any) was enrolled here, else that of the login."""
    enrolled = {place.server: Path(place.ca) if place.ca else None for place in credentials.enrollments()}
    if server:
        url = credentials.normal(server)
        return url, enrolled.get(url)
    if client:
        enrolled = {url: ca for url, ca in enrolled.items() if credentials.client_token_path(url, client).exists()}
    if len(enrolled) == 1:
        return next(iter(enrolled.items()))
    url = credentials.load().server
    if not url:
        raise CommandError(
            "no server is named, and "
            + (f"several are known here ({listed(enrolled)}). " if enrolled else "no such client is enrolled here. ")
            + "Give --server URL or HANSA_SERVER; a new machine is enrolled by hansa enroll CODE --server URL.",
            ExitCode.USAGE,
        )
    return url, enrolled.get(url)


def _given_token(token_file: Path | None) -> str:
    if token_file is not None:
        return credentials.read_token(token_file)
    return os.environ.get("HANSA_TOKEN", "").strip()


@contextmanager
def connected(target: Target) -> Iterator[Api]:
    """The API, known there by a token."""
    with Transport(target.url, target.token, ca=target.ca) as transport:
        yield Api(transport)


@contextmanager
def anonymous(url: str, ca: Path | None, *, basic: tuple[str, str] | None = None) -> Iterator[Api]:
    """The API before there is a token."""
    with Transport(url, basic=basic, ca=ca) as transport:
        yield Api(transport)
