"""PostgreSQL: one connection per event loop, awaited in place."""

import asyncio
from functools import partial
from typing import Any

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper

from hansa.server.accounts.credentials.changes import CHANGES
from hansa.server.accounts.credentials.identities import Identity, Lookup
from hansa.server.accounts.credentials.rows import Rows, statement
from hansa.server.accounts.credentials.sharing import Shared
from hansa.server.accounts.credentials.sources import UnavailableError

_STATEMENTS = {lookup: statement(lookup, "%s").encode() for lookup in Lookup}

MAX_AGE = 2.0
"""Seconds for which a change that another process made to a user or a token may go unnoticed."""

PATIENCE_SECONDS = 5.0
"""A database that is silent for so long is asked by the ORM, whose error then says why."""


class PostgresqlSource:
    """A connection in autocommit: each statement sees all that was committed before it. Opened anew when it breaks."""

    max_age = MAX_AGE

    def __init__(self, django_connection: BaseDatabaseWrapper) -> None:
        self._parameters = _parameters(django_connection)
        self._rows = Rows(django_connection)
        self._lock = asyncio.Lock()
        self._reads: Shared[Identity | None] = Shared()
        self._connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None  # Any: one type per column

    def version(self) -> int:
        """How often this process has changed users or tokens."""
        return CHANGES.number

    async def find(self, lookup: Lookup, key: str) -> Identity | None:
        """Read one user, once for all who ask while nothing changes."""
        if "\0" in key:
            return None  # PostgreSQL has no such text
        return await self._reads.read((lookup, key, self.version()), partial(self._read, lookup, key))

    async def _read(self, lookup: Lookup, key: str) -> Identity | None:
        """A connection that turns out to be broken (the server was restarted) is replaced once."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), self._lock:
                try:
                    row = await self._fetch(_STATEMENTS[lookup], key)
                except psycopg.OperationalError:
                    row = await self._fetch(_STATEMENTS[lookup], key)
        except (psycopg.Error, TimeoutError) as error:
            raise UnavailableError(str(error)) from error
        return None if row is None else self._rows.identity(row)

    async def close(self) -> None:
        """Close the connection."""
        await self._reads.close()
        await self._close_connection()

    async def _close_connection(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()

    async def _fetch(self, sql: bytes, key: str) -> tuple[Any, ...] | None:  # Any: as above
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(**self._parameters)
        try:
            if self._connection.info.parameter_status("TimeZone") != "UTC":
                await self._connection.execute("SET TIME ZONE 'UTC'")  # as Django does, so that times look the same
            cursor = await self._connection.execute(sql, (key,))
            return await cursor.fetchone()
        finally:
            # Broken, or left in the middle of a statement by a request that was cancelled: nobody else's to use.
            if self._connection.pgconn.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                await self._close_connection()


def _parameters(django_connection: BaseDatabaseWrapper) -> dict[str, Any]:  # Any: libpq's, of several types
    """Django's own, without what belongs to its synchronous cursors."""
    parameters = dict(django_connection.get_connection_params())
    for name in ("cursor_factory", "context"):
        parameters.pop(name, None)
    # Django's sign for a pooler in between that hands out another session per transaction.
    pooled = django_connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS")
    parameters["prepare_threshold"] = None if pooled else 0
    return {**parameters, "autocommit": True}
