"""Tokens on this machine: a person's, kept per server by `hansa login`, and clients', a file each by `hansa enroll`.

Both lie under $XDG_CONFIG_HOME/hansa (~/.config/hansa), readable by their owner only:

    credentials.json                        people's tokens, by server; which server was used last
    clients/<host>_<port>/<name>.token      one client's token, and nothing else
    clients/<host>_<port>/server.json       where those clients were enrolled, so that they need not be told again

A token is sent to the server it was got from and to no other.
"""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from hansa.cli.exits import CommandError, ExitCode
from hansa.client.address import checked_url
from hansa.client.plaintext import clean


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """One person's token for one server."""

    username: str
    token: str
    token_id: str
    ca: str | None = None
    """The private authority's certificate, an absolute path."""


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """The content of credentials.json."""

    format: int = 1
    server: str = ""
    """Asked when no --server is given: the one that was logged in to last."""
    servers: dict[str, Saved] = {}

    def saved(self, server: str) -> Saved | None:
        """What is saved for a server, however its address is written."""
        return self.servers.get(normal(server))

    def having(self, server: str, saved: Saved) -> "Credentials":
        """With one more server, which is asked from now on."""
        return Credentials(server=normal(server), servers={**self.servers, normal(server): saved})

    def without(self, server: str) -> "Credentials":
        """With one server less; another one is asked then, if there is one."""
        servers = {url: saved for url, saved in self.servers.items() if url != normal(server)}
        kept = self.server if self.server in servers else next(iter(servers), "")
        return Credentials(server=kept, servers=servers)


def normal(server: str) -> str:
    """One way to write a server's address; UsageError if it is none.

    >>> normal("HTTPS://Hansa.Example.org:443/")
    'https://hansa.example.org'
    """
    return str(checked_url(server)).rstrip("/")


def folder() -> Path:
    """Where tokens are kept on this machine."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    # The XDG specification: a relative path is to be ignored.
    return (Path(home) if Path(home).is_absolute() else Path.home() / ".config") / "hansa"


def path() -> Path:
    """The file with people's tokens."""
    return folder() / "credentials.json"


def load() -> Credentials:
    """What is saved; nothing, if nothing is. CommandError if the file cannot be read."""
    try:
        return msgspec.json.decode(path().read_bytes(), type=Credentials)
    except FileNotFoundError:
        return Credentials()
    except OSError as error:
        raise CommandError(f"{path()} cannot be read: {error.strerror}.", ExitCode.NOT_ALLOWED) from error
    except msgspec.DecodeError as error:
        raise CommandError(
            f"{path()} is not what `hansa login` wrote ({error}). Remove it and log in again.", ExitCode.NOT_ALLOWED
        ) from error


def encoded(credentials: Credentials) -> str:
    """The content of credentials.json."""
    return msgspec.json.format(msgspec.json.encode(credentials), indent=2).decode() + "\n"


def save(credentials: Credentials) -> None:
    """Keep for the next command."""
    with secret_file(path()) as write:
        write(encoded(credentials))


def client_token_path(server: str, username: str) -> Path:
    """Where `hansa enroll` puts a client's token unless told otherwise.

    CommandError for what is no user name: whatever a server calls a client, its file is in the folder, and is not
    another client's.
    """
    if not re.fullmatch(r"[\w.@+-]{1,150}", username) or username in (".", ".."):
        raise CommandError(
            f"{clean(username)!r:.200} cannot name a client's file. Name a file yourself: --token-file FILE"
        )
    return client_folder(server) / f"{username}.token"


def client_folder(server: str) -> Path:
    """Where the tokens of this machine's clients of one server are."""
    place = re.sub(r"[^\w.-]", "_", urlsplit(normal(server)).netloc)
    return folder() / "clients" / place


class Enrollment(msgspec.Struct, frozen=True, kw_only=True):
    """The server that clients of this machine were enrolled at."""

    server: str
    ca: str | None = None
    """The private authority's certificate, an absolute path."""


def remember_enrollment(server: str, ca: Path | None) -> None:
    """Keep where a client was enrolled; its token is kept by itself."""
    enrollment = Enrollment(server=normal(server), ca=str(ca.absolute()) if ca else None)
    with secret_file(client_folder(server) / "server.json") as write:
        write(msgspec.json.encode(enrollment).decode() + "\n")


def enrollments() -> list[Enrollment]:
    """The servers at which clients of this machine were enrolled. What cannot be read is left out."""
    found = []
    for file in sorted((folder() / "clients").glob("*/server.json")):
        with suppress(OSError, msgspec.DecodeError):
            found.append(msgspec.json.decode(file.read_bytes(), type=Enrollment))
    return found


def read_token(file: Path) -> str:
    """The token in a file. The message of an error never repeats the content."""
    try:
        content = file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise CommandError(f"the token file {file} cannot be read: {error.strerror}.", ExitCode.NOT_ALLOWED) from error
    except UnicodeDecodeError:
        content = ""
    if not re.fullmatch(r"[0-9a-f]{40}", content):
        raise CommandError(
            f"the token file {file} does not hold a token; wanted is one line of 40 hex characters, as `hansa enroll` "
            "or `hansa tokens create --output FILE` write it.",
            ExitCode.NOT_ALLOWED,
        )
    return content


class SecretFile:
    """Called once with the text, it puts it in place."""

    def __init__(self, target: Path, temporary: Path, descriptor: int) -> None:
        self._target, self._temporary, self._descriptor = target, temporary, descriptor

    def __call__(self, text: str, *, to: Path | None = None) -> None:
        """Durable, and whole: a reader sees the old content or the new. `to`: another name in the same folder."""
        os.write(self._descriptor, text.encode())
        os.fsync(self._descriptor)
        self._temporary.replace(to or self._target)


@contextmanager
def secret_file(target: Path) -> Iterator[SecretFile]:
    """A file of mode 600 at `target`, once its text is given.

    Opened before there is a text, so that a folder that cannot be written to is told while a one-time code is still
    worth something. CommandError if it cannot.
    """
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # mode 600 by its contract
    except OSError as error:
        raise CommandError(f"{target} cannot be written: {error.strerror}. Nothing was asked of the server.") from error
    try:
        yield SecretFile(target, Path(name), descriptor)
    except OSError as error:
        raise CommandError(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        os.close(descriptor)
        with suppress(FileNotFoundError):  # moved to its place
            Path(name).unlink()
