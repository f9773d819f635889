"""The database: SQLite in HANSA_HOME, or the PostgreSQL that HANSA_DATABASE_URL names."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

FORM = "postgresql://user:password@host:port/name?sslmode=verify-full"
PARAMETERS = frozenset(
    {
        "host",
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "channel_binding",
        "gssencmode",
        "passfile",
        "connect_timeout",
        "target_session_attrs",
        "tcp_user_timeout",
    }
)
"""Of libpq's, those that say how to reach a server. A wrong name would weaken a connection without a word."""
ADVISORY_LOCK = 0x48616E7361  # "Hansa"
LOCK_SECONDS = 5
LOCK_NOT_AVAILABLE = "55P03"


class DatabaseURLError(ValueError):
    """The URL cannot be used. The message has no part of it that could belong to a password."""


class UnusableDatabaseError(Exception):
    """It cannot be reached, brought up to date or had for oneself; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Postgres:
    """Where a PostgreSQL database is; what is empty is left to libpq (`PGPASSFILE`, the user's name, port 5432)."""

    name: str
    user: str = ""
    password: str = field(default="", repr=False)
    host: str = ""
    """A name, an address, or the folder of a unix socket."""
    port: str = ""
    parameters: tuple[tuple[str, str], ...] = ()
    """Further parameters of libpq, such as sslmode."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL of the form libpq knows. Raises DatabaseURLError."""
        scheme, found, _ = url.partition("://")
        if not found or scheme not in ("postgresql", "postgres"):
            raise DatabaseURLError(f"it must be like {FORM}" + (f", not begin with {scheme}://" if found else ""))
        try:
            parts = urlsplit(url)
            host, port = unquote(parts.hostname or ""), str(parts.port or "")
        except ValueError:
            raise DatabaseURLError(f"its host or port cannot be read; it must be like {FORM}. {_ENCODE}") from None
        name = unquote(parts.path.removeprefix("/"))
        if not name or "/" in name or parts.fragment or "@" in parts.query:  # an @ there: of a password cut in two
            raise DatabaseURLError(f"it must end with the name of one database, as {FORM} does. {_ENCODE}")
        parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
        if unknown := sorted(parameters.keys() - PARAMETERS):
            known = ", ".join(sorted(PARAMETERS))
            raise DatabaseURLError(f"the parameter {unknown[0]!r} is not one of {known}")
        return cls(
            name=name,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            host=parameters.pop("host", host),
            port=port,
            parameters=tuple(sorted(parameters.items())),
        )

    def __str__(self) -> str:
        return f"PostgreSQL database {self.name!r} on {self.host or 'this machine'}" + (self.port and f":{self.port}")


_ENCODE = "In a user's name or a password write %40 for @, %2F for /, %3A for :, %23 for #, %3F for ?, %25 for %."


def django_settings(postgres: Postgres | None, home: Path) -> dict[str, Any]:  # Any: Django's own shape of DATABASES
    """The entry of Django's DATABASES."""
    return _sqlite(home) if postgres is None else _postgres(postgres)


def _sqlite(home: Path) -> dict[str, Any]:  # Any: as above
    """One writer thread owns all writing services (lifecycle/bridge.py); IMMEDIATE and the busy timeout are for what
    else writes: the admin, and commands run beside the server.
    """
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": home / "hansa.sqlite3",
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "timeout": 5,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
            " PRAGMA cache_size=-16000; PRAGMA journal_size_limit=67108864;",
        },
        # A file, not memory: the writer thread and the readers have connections of their own.
        "TEST": {"NAME": home / "test.sqlite3"},
    }


def _postgres(postgres: Postgres) -> dict[str, Any]:  # Any: as above
    """Every thread keeps its connection, and asks before each piece of work whether it still holds: a server that
    was restarted costs nobody a request.
    """
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": postgres.name,
        "USER": postgres.user,
        "PASSWORD": postgres.password,
        "HOST": postgres.host,
        "PORT": postgres.port,
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"connect_timeout": "10", "application_name": "hansa", **dict(postgres.parameters)},
    }


@contextmanager
def explained(postgres: Postgres | None) -> Iterator[None]:
    """Turn what Django's database layer raises into UnusableDatabaseError."""
    from django.db import DatabaseError

    try:
        yield
    except DatabaseError as error:
        seen = " ".join(str(error).split())  # PostgreSQL's come in several lines
        if postgres is None:
            raise UnusableDatabaseError(
                f"The database cannot be opened or brought up to date: {seen}. Look at its file, its permissions and "
                "the free space; restore it from a backup if it is damaged."
            ) from error
        raise UnusableDatabaseError(
            f"The {postgres} cannot be opened or brought up to date: {seen}. Look at HANSA_DATABASE_URL, at whether "
            "that server runs and lets this machine in, and at its log."
        ) from error


@contextmanager
def sole_server(postgres: Postgres | None) -> Iterator["Sole"]:
    """Between its two ends no other server works on this PostgreSQL database, wherever it was started.

    On SQLite the lock on HANSA_HOME says so already. Raises UnusableDatabaseError, if another one is there after a few
    seconds, in which PostgreSQL notices that a server was killed.
    """
    if postgres is None:
        yield Sole(None)
        return
    from django.db import OperationalError, connection

    held = connection.copy()  # open as long as the server runs; none of its threads' own
    held.inc_thread_sharing()
    try:
        with explained(postgres), held.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
            try:
                cursor.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])
            except OperationalError as error:
                if getattr(error.__cause__, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                    raise
                raise UnusableDatabaseError(
                    f"Another server works on the {postgres}. Stop it first, or name another database by "
                    "HANSA_DATABASE_URL."
                ) from error
        yield Sole(held)
    finally:
        held.close()


class Sole:
    """The lock that keeps other servers away. It is lost with its connection, as when PostgreSQL is restarted."""

    def __init__(self, held: Any) -> None:  # Any: Django's connection; None on SQLite, where nothing can be lost
        self._held = held

    def holds(self) -> bool:
        """Whether it is ours: still, or again. False: another server has it by now.

        Raises OperationalError while the database is away.
        """
        if self._held is None or (self._held.connection is not None and self._held.is_usable()):
            return True
        self._held.close()
        with self._held.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [ADVISORY_LOCK])
            (taken,) = cursor.fetchone()
        if not taken:
            self._held.close()
        return bool(taken)
