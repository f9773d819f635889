"""The database as a file, and back: SQLite by its own online copy, PostgreSQL by pg_dump and pg_restore.

Everything but the sessions of browsers. The key of a session is kept as the cookie has it, so that whoever reads it is
signed in; what else signs anybody in (tokens, codes of invitations, passwords) is kept as hashes.
"""

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hansa.server.backup.manifest import BackupError, Manifest, Stored
from hansa.server.config import Config
from hansa.server.database import Postgres

if TYPE_CHECKING:
    import psycopg

Migrations = list[tuple[str, str]]
BLOBS = "SELECT sha256, size FROM blobs_blob ORDER BY sha256"
MIGRATIONS = "SELECT app, name FROM django_migrations ORDER BY app, name"
SESSIONS = "django_session"


@dataclass(frozen=True, slots=True)
class Contents:
    """What the copy has rows of."""

    blobs: list[Stored]
    migrations: Migrations


class Dump(Protocol):
    """How one kind of database is saved and restored."""

    kind: str
    name: str
    """Of its file in a backup."""

    def save(self, path: Path) -> Contents:
        """Write the database as it is at one moment, beside a server that works. Raises BackupError."""

    def check_free(self) -> None:
        """Raise BackupError unless there is room for a restored database: none, or an empty one."""

    def restore(self, path: Path) -> None:
        """All of it, or nothing. Raises BackupError."""

    def has(self, known: Manifest) -> bool:
        """Whether a database is there that is as this backup's: an interrupted try restored it. Raises BackupError."""


def of(config: Config) -> Dump:
    """The database that these settings name."""
    return Sqlite(config.database) if config.postgres is None else PostgresDump(config.postgres)


class Sqlite:
    """A file in the home."""

    kind = "sqlite"
    name = "hansa.sqlite3"

    def __init__(self, path: Path) -> None:
        self._path = path

    def save(self, path: Path) -> Contents:
        """By SQLite's online copy: readers and the writer go on."""
        if not self._path.exists():
            raise BackupError(f"There is no database {self._path}. Name the server's folder by HANSA_HOME.")
        try:
            whole = path.with_name(f"{path.name}.whole")
            self._copy(whole)
            contents = _written_anew(whole, path)
            whole.unlink()
        except sqlite3.DatabaseError as error:
            raise BackupError(f"The database {self._path} cannot be read: {error}. hansa doctor says more.") from error
        _sync(path)
        return contents

    def _copy(self, path: Path) -> None:
        with (
            closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=30)) as source,
            closing(sqlite3.connect(path)) as target,
        ):
            source.backup(target)

    def check_free(self) -> None:
        """The home is empty: there is none."""

    def restore(self, path: Path) -> None:
        """By a rename."""
        path.replace(self._path)

    def has(self, known: Manifest) -> bool:
        """It is a file in the home, and copied again with the others."""
        return False


def _written_anew(whole: Path, path: Path) -> Contents:
    """A copy without sessions. Each row is written again: what SQLite deletes stays in the file it is deleted from."""
    with closing(sqlite3.connect(whole)) as source:
        source.execute("PRAGMA journal_mode=DELETE")  # one file, with nothing beside it
        if (found := source.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise BackupError(f"The database is damaged: {found}. hansa doctor says what to do.")
        if source.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (SESSIONS,)).fetchone():
            source.execute(f"DELETE FROM {SESSIONS}")  # noqa: S608  # our own name
            source.commit()
        blobs = [Stored(*row) for row in source.execute(BLOBS)]
        contents = Contents(blobs, source.execute(MIGRATIONS).fetchall())
        source.execute("VACUUM INTO ?", (str(path),))
    return contents


class PostgresDump:
    """A database of a PostgreSQL server, by that server's own programs."""

    kind = "postgresql"
    name = "hansa.pgdump"

    def __init__(self, place: Postgres) -> None:
        self._place = place

    def save(self, path: Path) -> Contents:
        """By pg_dump, of the moment at which the rows of blobs are read."""
        with self._connected() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute("SELECT pg_export_snapshot()")
            (snapshot,) = cursor.fetchone() or ("",)
            options = ("--format=custom", f"--snapshot={snapshot}", f"--exclude-table-data=*.{SESSIONS}")
            self._run("pg_dump", *options, f"--file={path}", self._conninfo())
            contents = _contents(cursor)
        _sync(path)
        return contents

    def check_free(self) -> None:
        """Tables of whatever schema are in the way."""
        tables = self._tables()
        if tables:
            raise BackupError(
                f"The {self._place} has {tables} tables; a backup is restored into an empty one. Make another "
                "(createdb), and name it by HANSA_DATABASE_URL."
            )

    def _tables(self) -> int:
        with self._connected() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            )
            (tables,) = cursor.fetchone() or (0,)
        return int(tables)

    def has(self, known: Manifest) -> bool:
        """pg_restore writes all or nothing: what has the same rows of these two tables has the others."""
        if not self._tables():
            return False
        with self._connected() as cursor:
            cursor.execute(
                "SELECT to_regclass('blobs_blob') IS NOT NULL AND to_regclass('django_migrations') IS NOT NULL"
            )
            (ours,) = cursor.fetchone() or (False,)
            if not ours:
                return False
            found = _contents(cursor)
        digests = {*known.left_out, *(blob.sha256 for blob in known.blobs)}
        return {blob.sha256 for blob in found.blobs} == digests and {*found.migrations} == {*known.database.migrations}

    def restore(self, path: Path) -> None:
        """By pg_restore, in one transaction."""
        options = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges")
        self._run("pg_restore", *options, f"--dbname={self._conninfo()}", str(path))

    def _run(self, program: str, *arguments: str) -> None:
        if shutil.which(program) is None:
            raise BackupError(
                f"{program} is not installed, which copies PostgreSQL databases. Install PostgreSQL's client programs "
                "(postgresql-client), of the server's version or a later one."
            )
        environ = {**os.environ, **({"PGPASSWORD": self._place.password} if self._place.password else {})}
        done = subprocess.run([program, *arguments], env=environ, capture_output=True, text=True, check=False)  # noqa: S603  # our own arguments
        if done.returncode:
            raise BackupError(f"{program} failed: {' '.join(done.stderr.split())[-500:]}{_advice(done.stderr)}")

    def _conninfo(self) -> str:
        """Without the password, which other users of this machine could read in the list of processes."""
        from psycopg.conninfo import make_conninfo

        place = self._place
        named = {"dbname": place.name, "user": place.user, "host": place.host, "port": place.port}
        return make_conninfo(**{name: value for name, value in named.items() if value}, **dict(place.parameters))

    @contextmanager
    def _connected(self) -> "Iterator[psycopg.Cursor[tuple[Any, ...]]]":  # Any: the columns of whatever is asked for
        import psycopg

        try:
            password = self._place.password or None
            with psycopg.connect(self._conninfo(), autocommit=True, password=password) as connection:
                yield connection.cursor()
        except psycopg.Error as error:
            seen = " ".join(str(error).split())
            raise BackupError(f"The {self._place} cannot be asked: {seen}. Look at HANSA_DATABASE_URL.") from error


def _advice(stderr: str) -> str:
    """What to do where PostgreSQL's programs are older than its server, which they name first in what they say."""
    if "version mismatch" not in stderr or (server := re.search(r"server version: (\d+)", stderr)) is None:
        return ""
    return f". Put a pg_dump of version {server[1]} or newer first in PATH."


def _contents(cursor: "psycopg.Cursor[tuple[Any, ...]]") -> Contents:  # Any: the columns of whatever is asked for
    cursor.execute(BLOBS)
    blobs = [Stored(digest, size) for digest, size in cursor.fetchall()]
    cursor.execute(MIGRATIONS)
    return Contents(blobs, [(app, name) for app, name in cursor.fetchall()])


def _sync(path: Path) -> None:
    path.chmod(0o600)
    with path.open("rb") as file:
        os.fsync(file.fileno())
