"""SQLite, in place: a lookup takes less time on the event loop than the hop to a thread that could do it."""

import math
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.db.backends.base.base import BaseDatabaseWrapper

from hansa.server.accounts.credentials.identities import Identity, Lookup
from hansa.server.accounts.credentials.recent import Recent
from hansa.server.accounts.credentials.rows import Rows, statement
from hansa.server.accounts.credentials.sources import UnavailableError

CAPACITY = 4096
"""Rows kept; as many as the directory keeps users."""
_STATEMENTS = {lookup: statement(lookup, "?") for lookup in Lookup}


class SqliteSource:
    """A read-only connection to the database's file, opened when it is first needed, and again after an error."""

    max_age = math.inf

    def __init__(self, file: Path, django_connection: BaseDatabaseWrapper) -> None:
        self._file = file
        self._rows = Rows(django_connection)
        self._connection: sqlite3.Connection | None = None
        self._opened = 0
        self._read: Recent[tuple[Lookup, str], tuple[tuple[Any, ...], Identity]] = Recent(CAPACITY)  # Any: as fetched

    def version(self) -> tuple[int, int]:
        """The number of this connection, and its PRAGMA data_version.

        That changes with every commit of any other connection, in this process or another, in WAL mode too. It is told
        apart from the present state at each call because no statement of this connection is ever left open: an open
        one would hold the snapshot that it began with.
        """
        ((number,),) = self._fetch("PRAGMA data_version")
        return self._opened, number

    async def find(self, lookup: Lookup, key: str) -> Identity | None:
        """Read one user: some 20 µs, without giving the loop to anybody else.

        Whatever is committed anywhere has it read again. A row that is as it was is not made into a user again.
        """
        rows = self._fetch(_STATEMENTS[lookup], key)
        if not rows:
            return None
        known = self._read.get((lookup, key))
        if known is None or known[0] != rows[0]:
            known = rows[0], self._rows.identity(rows[0])
            self._read.put((lookup, key), known)
        return known[1]

    async def close(self) -> None:
        """Close the file."""
        self._drop()

    def _fetch(self, sql: str, *parameters: str) -> list[tuple[Any, ...]]:  # Any: one type per column
        try:
            if self._connection is None:
                self._connection = self._open()
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            self._drop()
            raise UnavailableError(str(error)) from error

    def _open(self) -> sqlite3.Connection:
        """Never to wait for a lock: the whole loop would. For any thread: a loop may be run by one after another."""
        self._opened += 1
        address = f"file:{quote(str(self._file))}?mode=ro"
        connection = sqlite3.connect(address, uri=True, timeout=0, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA query_only=ON")
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
