"""The servers that are compared, each started as its makers advise, with one user and a token that can be ended."""

import os
import secrets
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from environments import PEERS, programs
from harness import BenchmarkError, Child, child, free_port, serving

from hansa.server.config import KNOWN

PATH = "/api/users/myself/"
USERNAME = "benchmark"
DATABASE_VARIABLE = "HANSA_DATABASE_URL"


@dataclass(frozen=True)
class Stack:
    """A running server with one user."""

    url: str
    child: Child
    new_token: Callable[[], str]
    """Make a token and end the one before."""


Start = Callable[[Path, str], AbstractContextManager[Stack]]
"""Start a stack in a folder of its own on an empty database."""


@contextmanager
def hansa(folder: Path, database: str) -> Iterator[Stack]:
    """`hansa serve` as it ships."""
    settings = {} if database.startswith("sqlite:") else {DATABASE_VARIABLE: database}
    if settings and DATABASE_VARIABLE not in KNOWN:
        raise BenchmarkError(f"this version has no {DATABASE_VARIABLE}")
    with serving(folder, settings) as server:
        ids: list[str] = []

        def new_token() -> str:
            created = server.api.create_token("measured")
            while ids:
                server.api.revoke_token(ids.pop())
            ids.append(created.id)
            return created.token

        yield Stack(server.url, server.child, new_token)


@contextmanager
def peer(environment: str, command: Sequence[str], folder: Path, database: str) -> Iterator[Stack]:
    """The peers' project, served by a command in which {port} is the port; its programs are the environment's."""
    installed = programs(environment)
    settings = {
        "PATH": f"{installed}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(PEERS),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PEER_SECRET_KEY": secrets.token_hex(25),
        "PEER_DATABASE_URL": database,
        "DJANGO_SETTINGS_MODULE": "peer.settings",
        "DJANGO_SUPERUSER_USERNAME": USERNAME,
        "DJANGO_SUPERUSER_PASSWORD": secrets.token_hex(16),
        "DJANGO_SUPERUSER_EMAIL": "benchmark@example.org",
    }

    def manage(*arguments: str) -> str:
        done = subprocess.run(
            [installed / "python", PEERS / "manage.py", *arguments],
            env=settings,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise BenchmarkError(f"manage.py {arguments[0]} failed: {done.stderr.strip().splitlines()[-1:]}")
        return done.stdout

    manage("migrate", "--verbosity=0")
    manage("createsuperuser", "--noinput")
    port = str(free_port())
    words = [word.format(port=port) for word in command]
    full: list[str | Path] = [installed / words[0], *words[1:]]
    with child(f"{environment} ({command[0]})", full, log=folder / "server.log", env=settings) as process:
        # "Generated token <key> for user <name>"; -r ends the one before
        yield Stack(f"http://127.0.0.1:{port}", process, lambda: manage("drf_create_token", "-r", USERNAME).split()[2])


def _granian(interface: str, *options: str) -> list[str]:
    """One worker. Granian itself is a process beside it, which only watches."""
    common = ["--host", "127.0.0.1", "--port", "{port}", "--workers", "1", "--log-level", "error"]
    return ["granian", "--interface", interface, *common, *options, f"peer.{interface}:application"]


_RUNBOLT = ["python", str(PEERS / "manage.py"), "runbolt", "--host", "127.0.0.1", "--port", "{port}", "--no-admin"]

STACKS: dict[str, Start] = {
    "hansa": hansa,
    "drf-wsgi": partial(peer, "drf", _granian("wsgi", "--blocking-threads", "1")),
    "drf-asgi": partial(peer, "drf", _granian("asgi")),
    "django-bolt": partial(peer, "bolt", _RUNBOLT),
}
BASELINES = ("drf-wsgi", "drf-asgi")
"""What the others are compared with: the better of these two in the same run."""
