"""The database itself: whether it can be opened, is whole, and fits this version of Hansa."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from hansa.server.config import Config
from hansa.server.database import Postgres
from hansa.server.doctor.finding import Finding, error, listed, warning, well

OLDEST_POSTGRES = 14
RESTORE = (
    "stop the server and restore a backup (hansa restore); keep the damaged file for a look at what it still holds"
)


def sqlite(path: Path, *, quick: bool, served: bool) -> Iterator[Finding]:
    """The file: its structure, its references; and its journal, if it is `served` by a process just now.

    A restored database, and a copy, are one file without a write-ahead log until a server is started on them.
    """
    if not path.exists():
        yield error(
            "database", f"{path} is not there", "a database", "start the server once; or hansa restore a backup"
        )
        return
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
            yield from _inside(connection, path, quick=quick, served=served)
    except sqlite3.DatabaseError as problem:
        yield error("database", f"{path}: {problem}", "an SQLite database that can be read", RESTORE)


def _inside(connection: sqlite3.Connection, path: Path, *, quick: bool, served: bool) -> Iterator[Finding]:
    check = "quick_check" if quick else "integrity_check"
    problems = [row[0] for row in connection.execute(f"PRAGMA {check}(20)") if row[0] != "ok"]
    if problems:
        yield error("database", f"{check}: {listed(problems)}", "ok", RESTORE)
        return
    if orphans := sorted({f"{row[0]} → {row[2]}" for row in connection.execute("PRAGMA foreign_key_check")}):
        yield error("database", f"rows refer to rows that are not there: {listed(orphans)}", "none", RESTORE)
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal" and served:
        yield warning("database", f"its journal mode is {mode}", "wal", "restart the server: it sets it when it starts")
    yield well(
        "database", f"{path.name}, {path.stat().st_size / 2**20:,.1f} MiB, whole, SQLite {sqlite3.sqlite_version}"
    )


def postgres(place: Postgres) -> Iterator[Finding]:
    """Whether it can be reached, and what it is. Needs Django to be set up."""
    from django.db import DatabaseError, connection

    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('server_version_num')::int, pg_is_in_recovery()")
            version, standby = cursor.fetchone()
            cursor.execute("SELECT current_setting('server_encoding')")
            (encoding,) = cursor.fetchone()
    except DatabaseError as problem:
        yield error(
            "database",
            f"the {place} cannot be asked: {' '.join(str(problem).split())}",
            "an answer",
            "look at HANSA_DATABASE_URL, at whether that server runs and lets this machine in, and at its log",
        )
        return
    if version // 10_000 < OLDEST_POSTGRES:
        yield warning("database", f"PostgreSQL {version // 10_000}", f"{OLDEST_POSTGRES} or later", "upgrade it")
    if standby:
        yield error("database", f"the {place} is a standby: it takes no writes", "the primary", "name that one")
    if encoding != "UTF8":
        yield error("database", f"its encoding is {encoding}", "UTF8", "make a database with ENCODING 'UTF8'")
    yield well("database", f"{place}, version {version // 10_000}")


def migrations(config: Config) -> Iterator[Finding]:
    """Whether the tables are those of this version; unless they are, look no further. Needs Django to be set up."""
    from django.db import DatabaseError, connection
    from django.db.migrations.loader import MigrationLoader

    try:
        loader = MigrationLoader(connection)
    except DatabaseError as problem:
        yield error("migrations", " ".join(str(problem).split()), "tables that can be read", RESTORE)
        return
    known, applied = set(loader.disk_migrations), set(loader.applied_migrations or ())
    ours = {app for app, _ in known}
    if newer := sorted(
        f"{app}.{name}" for app, name in applied - known if app in ours and not _replaced(loader, app, name)
    ):
        yield error(
            "migrations",
            f"the database has been used by a newer Hansa: {listed(newer)}",
            "no migration that this version does not know",
            "run the newer version; going back needs a backup from before",
        )
    elif missing := sorted(f"{app}.{name}" for app, name in known - applied):
        yield warning(
            "migrations",
            f"not applied yet: {listed(missing)}",
            "all of them",
            "start the server, which applies them, or: hansa migrate",
        )
    else:
        yield well("migrations", f"all {len(applied)} are applied ({'PostgreSQL' if config.postgres else 'SQLite'})")


def _replaced(loader: object, app: str, name: str) -> bool:
    replacing = getattr(loader, "replacements", {}).values()
    return any((app, name) in migration.replaces for migration in replacing)
