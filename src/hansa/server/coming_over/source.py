"""The DLR platform's database: opened read-only, seen as it was at one moment, and read a piece at a time."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import IO, TYPE_CHECKING, Any, Self, TypeVar
from uuid import UUID

from hansa.server.coming_over import queries
from hansa.server.coming_over.errors import ComingOverError
from hansa.server.coming_over.rows import (
    Group,
    Membership,
    Metric,
    MetricCounts,
    Model,
    ModelKind,
    Rows,
    Token,
    Training,
    User,
)
from hansa.server.database import DatabaseURLError, Postgres

if TYPE_CHECKING:
    from psycopg import Connection

Row = TypeVar("Row")

PIECE = 8 * 2**20
"""Bytes of a model that are in memory at a time."""

SESSION = (
    "-c default_transaction_read_only=on -c lock_timeout=10s -c statement_timeout=0"
    " -c idle_in_transaction_session_timeout=0 -c application_name=hansa-import"
)


class Column(Enum):
    """Where a model's bytes lie: a column, a table, and its key."""

    WEIGHTS = ("weights", "fl_server_core_model", "id")
    PREPROCESSING = ("preprocessing", "fl_server_core_globalmodel", "model_ptr_id")
    FIRST_MOMENT = ("swag_first_moment", "fl_server_core_swagmodel", "globalmodel_ptr_id")
    SECOND_MOMENT = ("swag_second_moment", "fl_server_core_swagmodel", "globalmodel_ptr_id")

    @property
    def question(self) -> bytes:
        """For so many bytes from a place on, of the model with an id."""
        column, table, key = self.value
        return f"SELECT substring({column} FROM %s FOR %s) FROM {table} WHERE {key} = %s".encode()  # noqa: S608  # ours


@dataclass(frozen=True, slots=True)
class Source:
    """An open database of that platform, in one transaction that reads and cannot write."""

    place: Postgres
    _connection: "Connection[Any]"  # Any: rows, whose shape each question says

    @classmethod
    @contextmanager
    def opened(cls, url: str) -> Iterator[Self]:
        """Connect and look whether it is what it should be. Raises ComingOverError; no message holds the password."""
        place = _place(url)
        try:
            import psycopg
        except ImportError as error:
            raise ComingOverError(
                "psycopg, which speaks to PostgreSQL, is not installed or not complete: pip install 'hansa[postgres]'"
            ) from error
        try:
            with psycopg.connect(_conninfo(place)) as connection:
                connection.read_only = True
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                source = cls(place, connection)
                source._check_tables()
                yield source
                connection.rollback()
        except psycopg.Error as error:
            raise ComingOverError(_explain(place, error)) from error

    def check_apart(self, own: Postgres | None) -> None:
        """Raises ComingOverError if this server's own database is that one: its tables would be made there."""
        if own is not None and _spot(own) == _spot(self.place):
            raise ComingOverError(
                f"HANSA_DATABASE_URL names the same {self.place}. Give Hansa a database of its own: nothing is to be "
                "changed in the other."
            )

    def rows(self) -> Rows:
        """Everything but metrics and bytes."""
        return Rows(
            groups=self._all(Group, queries.GROUPS),
            users=self._all(User, queries.USERS),
            tokens=self._all(Token, queries.TOKENS),
            memberships=self._all(Membership, queries.MEMBERSHIPS),
            models=self._all(_model, queries.MODELS),
            trainings=self._all(_training, queries.TRAININGS),
            metrics=self._all(MetricCounts, queries.METRIC_COUNTS),
        )

    def metrics(self, model_id: UUID) -> tuple[Metric, ...]:
        """Of each key, step and reporter the last value, in the order in which they came."""
        return self._all(Metric, queries.METRICS, model_id)

    def copy(self, column: Column, model_id: UUID, size: int, out: IO[bytes]) -> None:
        """Write a model's bytes into a file, a piece at a time."""
        with self._connection.cursor(binary=True) as cursor:
            for offset in range(0, size, PIECE):
                cursor.execute(column.question, (offset + 1, PIECE, model_id))
                (piece,) = cursor.fetchone() or (b"",)
                out.write(piece)

    def _all(self, make: Callable[..., Row], question: str, *parameters: object) -> tuple[Row, ...]:
        from psycopg.rows import kwargs_row

        with self._connection.cursor(row_factory=kwargs_row(make)) as cursor:
            return tuple(cursor.execute(question.encode(), parameters or None))

    def _check_tables(self) -> None:
        """Raises ComingOverError naming the first table or column that is missing."""
        found = defaultdict(set)
        for table, column in self._connection.execute(queries.COLUMNS, (list(queries.TABLES),)):
            found[table].add(column)
        absent = [table for table in queries.TABLES if table not in found]
        if absent:
            raise ComingOverError(
                f"The {self.place} is not a database of the DLR platform: it has no table {absent[0]!r}"
                + (f" (and {len(absent) - 1} others are missing)" if len(absent) > 1 else "")
                + ". Name the database of its server (FL_POSTGRES_DBNAME there)."
            )
        lacking = [
            f"{table}.{column}"
            for table, columns in queries.TABLES.items()
            for column in columns
            if column not in found[table]
        ]
        if lacking:
            raise ComingOverError(
                f"The {self.place} is of an earlier version of the DLR platform: it has no column {lacking[0]}. Bring "
                "it up to date with that platform's own migrations (version 1.0) first."
            )


def _model(**row: Any) -> Model:  # Any: columns of the question
    return Model(**{**row, "kind": ModelKind(row["kind"]), "members": tuple(row["members"])})


def _training(**row: Any) -> Training:  # Any: as above
    return Training(**{**row, "participants": tuple(row["participants"])})


def _place(url: str) -> Postgres:
    if url.startswith(("sqlite:", "file:")):
        raise ComingOverError(
            "--database-url names an SQLite file. The DLR platform keeps its data in PostgreSQL; the SQLite setting it "
            "has never worked with its own tables. Give postgresql://user@host/name."
        )
    try:
        return Postgres.parse(url)
    except DatabaseURLError as error:
        raise ComingOverError(f"--database-url cannot be used: {error}") from error


def _spot(place: Postgres) -> tuple[str, str, str]:
    return place.host, place.port or "5432", place.name


def _conninfo(place: Postgres) -> str:
    """As libpq wants it; what the URL leaves out is left to libpq (PGPASSFILE, the user's name)."""
    from psycopg.conninfo import make_conninfo

    given = {"dbname": place.name, "user": place.user, "password": place.password, "host": place.host}
    named = {name: value for name, value in {**given, "port": place.port}.items() if value}
    parameters = {"connect_timeout": "10", **dict(place.parameters)}
    return make_conninfo("", **named, **parameters, options=SESSION, client_encoding="UTF8")


def _explain(place: Postgres, error: Exception) -> str:
    seen = " ".join(str(error).split())  # PostgreSQL's come in several lines
    if place.password:
        seen = seen.replace(place.password, "***")
    if getattr(error, "sqlstate", None) == "55P03":
        return (
            f"The {place} is being written by its server, which holds a lock on a table: {seen}. Stop that server, "
            "then run this again."
        )
    return (
        f"The {place} cannot be read: {seen}. Look at --database-url, at whether that server runs and lets this "
        "machine in, and at whether the user may read every table."
    )
