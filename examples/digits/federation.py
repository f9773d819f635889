"""The server and the five clients of the demo, each a process of its own, started with the commands a person would use.

Accounts are made as in life: one superuser on the server's own machine, and an invitation for every client, which it
exchanges for a token.
"""

import os
import secrets
import socket
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from processes import Children, run

from hansa.client.api import Api
from hansa.client.errors import Unreachable
from hansa.client.transport import Transport

HERE = Path(__file__).resolve().parent
HANSA = Path(sysconfig.get_path("scripts"), "hansa")
ACTOR = "demo"
START_SECONDS = 120.0
POLL_SECONDS = 0.1


class DemoError(Exception):
    """The demo cannot go on; the text says why and what to do."""


@dataclass(frozen=True)
class Site:
    """One run of the demo: where its files lie, where its server listens, and with what to sign in."""

    folder: Path
    port: int
    password: str

    @classmethod
    def prepared(cls, folder: Path, port: int) -> Self:
        site = cls(folder, port, os.environ.get("DJANGO_SUPERUSER_PASSWORD") or secrets.token_hex(6))
        for part in (site.logs, site.data):
            part.mkdir()
        return site

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def environment(self, **more: str) -> dict[str, str]:
        """For the children: this process's environment, without settings that are meant for another server."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HANSA_", "DJANGO_"))}
        return {**kept, "PYTHONUNBUFFERED": "1", **more}


def start_server(children: Children, site: Site) -> None:
    """An empty folder becomes a server with one account that may do everything."""
    environment = site.environment(
        HANSA_HOME=str(site.folder / "server"),
        HANSA_REGISTRATION="open",  # on this machine only: who looks around may make an account
        DJANGO_SUPERUSER_USERNAME=ACTOR,
        DJANGO_SUPERUSER_PASSWORD=site.password,
        DJANGO_SUPERUSER_EMAIL="demo@example.org",
    )
    run([HANSA, "createsuperuser", "--noinput"], env=environment, log=site.logs / "setup.log")  # migrates as well
    children.start("server", [HANSA, "serve", "--port", str(site.port)], env=environment)


def sign_in(site: Site) -> Api:
    """As the actor, as soon as the server answers."""
    with Transport(site.url, basic=(ACTOR, site.password)) as transport:
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                return Api(Transport(site.url, Api(transport).create_token("demo").token))
            except Unreachable as error:
                if time.monotonic() > until:
                    raise DemoError(f"the server does not answer after {START_SECONDS:.0f} s: {error}") from error
                time.sleep(POLL_SECONDS)


def start_clients(children: Children, site: Site, api: Api, names: tuple[str, ...]) -> None:
    """Each in a process of its own, with its own token, journal and images."""
    with Transport(site.url) as anonymous:
        for name in names:
            token = site.folder / f"{name}.token"
            token.touch(mode=0o600)
            token.write_text(Api(anonymous).enroll(api.invite(name).code).token)
            options: list[str | Path] = ["--server", site.url, "--token-file", token, "--state", site.folder / name]
            children.start(
                name,
                [HANSA, "client", "run", "trainer:trainer", *options],
                env=site.environment(DIGITS=str(images_of(site, name)), OMP_NUM_THREADS="1"),
                cwd=HERE,
            )


def wait_for_clients(api: Api, names: tuple[str, ...]) -> None:
    """Until every client has asked for work: each has to import torch first."""
    until = time.monotonic() + START_SECONDS
    while missing := set(names) - {client.username for client in api.clients() if client.last_seen}:
        if time.monotonic() > until:
            raise DemoError(f"{', '.join(sorted(missing))} did not ask for work within {START_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)


def images_of(site: Site, client: str) -> Path:
    """The file that only this client reads."""
    return site.data / f"{client}.npz"


def free_port(wanted: int) -> int:
    """The port that is wanted, or for 0 any free one. DemoError if something else listens there."""
    with socket.socket() as probe:
        # As the server does: a port whose connections are only just closed counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except (OSError, OverflowError) as error:
            raise DemoError(
                f"port {wanted} on 127.0.0.1 cannot be used ({error}). End what listens there, or choose another "
                'one: make demo DEMO_ARGS="--port 0" takes any that is free.'
            ) from error
        free: int = probe.getsockname()[1]
    return free
