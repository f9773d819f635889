"""A server's database when the server has ended, read by SQL: SQLite's file, or a PostgreSQL. Not by the server's code.

Rows come alike from both: ids as hexadecimal without dashes, JSON as what it says.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

Row = dict[str, Any]  # Any: by the column


class TablesError(Exception):
    """They cannot be read; the message is the database's."""


class Tables(Protocol):
    """The tables of one database."""

    def rows(self, query: str) -> Iterator[Row]:
        """What a query finds, by the names of its columns."""

    def references(self, target: str) -> Iterator[str]:
        """The values of every column of every table that refers to rows of `target`."""

    def orphans(self) -> Iterator[str]:
        """Rows that point to rows which are not there, in words."""


@contextmanager
def opened(home: Path, database_url: str = "") -> Iterator[Tables]:
    """The tables of the server in this data folder, or in this PostgreSQL. Raises TablesError."""
    if not database_url:
        uri = f"{(home / 'hansa.sqlite3').resolve().as_uri()}?mode=ro"
        try:
            with closing(sqlite3.connect(uri, uri=True)) as database:
                database.row_factory = sqlite3.Row
                yield _Sqlite(database)
        except sqlite3.Error as error:
            raise TablesError(str(error)) from error
        return
    import psycopg
    from psycopg.rows import dict_row

    try:
        with psycopg.connect(database_url, row_factory=dict_row) as connection:
            yield _Postgres(connection)
    except psycopg.Error as error:
        raise TablesError(" ".join(str(error).split())) from error


def count(database_url: str) -> int:
    """How many tables a PostgreSQL database has where a server would make its own. Raises TablesError."""
    query = "SELECT count(*) AS tables FROM pg_tables WHERE schemaname = current_schema()"
    with opened(Path(), database_url) as tables:
        (row,) = tables.rows(query)
    return int(row["tables"])


class _Sqlite:
    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def rows(self, query: str) -> Iterator[Row]:
        return (dict(row) for row in self._database.execute(query))

    def references(self, target: str) -> Iterator[str]:
        for row in list(self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")):
            for key in list(self.rows(f'PRAGMA foreign_key_list("{row["name"]}")')):
                if key["table"] == target:
                    yield from _values(self, row["name"], key["from"])

    def orphans(self) -> Iterator[str]:
        for table, row, parent, _ in self._database.execute("PRAGMA foreign_key_check"):
            yield f"row {row} of {table} points to a row of {parent} that is not there"


_FOREIGN_KEYS = """
    SELECT child.relname AS "table", attribute.attname AS "column"
    FROM pg_constraint AS key
    JOIN pg_class AS child ON child.oid = key.conrelid
    JOIN pg_class AS parent ON parent.oid = key.confrelid
    JOIN pg_attribute AS attribute ON attribute.attrelid = key.conrelid AND attribute.attnum = key.conkey[1]
    WHERE key.contype = 'f' AND parent.relname = '{}'
"""


class _Postgres:
    def __init__(self, connection: Any) -> None:  # Any: psycopg is optional, and its rows are by the column
        self._connection = connection

    def rows(self, query: str) -> Iterator[Row]:
        for row in self._connection.execute(query):
            yield {name: value.hex if isinstance(value, UUID) else value for name, value in row.items()}

    def references(self, target: str) -> Iterator[str]:
        for key in list(self.rows(_FOREIGN_KEYS.format(target))):
            yield from _values(self, key["table"], key["column"])

    def orphans(self) -> Iterator[str]:
        """None: it refuses to commit them."""
        return iter(())


def _values(tables: Tables, table: str, column: str) -> Iterator[str]:
    query = f'SELECT DISTINCT "{column}" AS value FROM "{table}" WHERE "{column}" IS NOT NULL'  # noqa: S608  # the schema's own names
    return (row["value"] for row in tables.rows(query))


def unpacked(value: Any) -> Any:  # Any: JSON
    """A column of JSON: text in SQLite, read by the driver of PostgreSQL."""
    return json.loads(value) if isinstance(value, str) else value
