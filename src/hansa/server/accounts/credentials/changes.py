"""How often this process has changed users or tokens, for databases that do not tell.

Django's connections are watched where every statement passes, not by signals: a bulk `update`, a cascade, the admin, a
raw cursor are all the same here. Not seen are other processes, `COPY`, functions called by a SELECT, and transactions
begun by `set_autocommit(False)`: for those `postgresql.MAX_AGE` holds.
"""

import re
from collections.abc import Callable
from threading import Lock
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from hansa.server.accounts.models import Token, User

_TABLES = (User._meta.db_table, Token._meta.db_table)
_HINT = re.compile(rf'update "{User._meta.db_table}" set "last_(seen|login)" = %s where', re.IGNORECASE)  # noqa: S608  # compared, not sent
"""Written with every task that is leased; says nothing of anybody's rights."""


class Changes:
    """A number that grows. Two threads that note something at once make it grow twice, which `+=` alone would not."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.number = 0

    def note(self) -> None:
        """Something was changed."""
        with self._lock:
            self.number += 1


CHANGES = Changes()

Execute = Callable[[Any, Any, bool, dict[str, Any]], Any]  # Any: as in Django's execute_wrapper


def note_writes(execute: Execute, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:  # Any: as above
    """An execute wrapper: notes what may have changed users or tokens once it is to be seen by others.

    Noted when the statement is done, which is the commit where there is no transaction; else again on commit, before
    the service that wrote returns. A lookup in between reads the old row under a version that the commit ends.
    """
    if not _concerns_credentials(sql if isinstance(sql, str) else repr(sql)):
        return execute(sql, params, many, context)
    connection: BaseDatabaseWrapper = context["connection"]
    try:
        return execute(sql, params, many, context)
    finally:
        CHANGES.note()
        if connection.in_atomic_block:
            connection.on_commit(CHANGES.note)


def _concerns_credentials(sql: str) -> bool:
    if sql[:6].upper() == "SELECT" or _HINT.match(sql):
        return False
    lowered = sql.lower()
    return any(table in lowered for table in _TABLES)


def watch(connection: BaseDatabaseWrapper, **kwargs: object) -> None:
    """Receiver of `connection_created`. SQLite tells by itself."""
    if connection.vendor != "sqlite" and note_writes not in connection.execute_wrappers:
        connection.execute_wrappers.append(note_writes)
