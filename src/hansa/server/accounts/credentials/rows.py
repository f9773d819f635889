"""One statement per way to find a user: all columns that an instance needs, and when the token ends."""

from collections.abc import Callable, Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from hansa.server.accounts.credentials.identities import Identity, Lookup
from hansa.server.accounts.models import Token, User

_ATTRIBUTES = [field.attname for field in User._meta.concrete_fields]
_COLUMNS = [field.get_col("u") for field in User._meta.concrete_fields]
_EXPIRES_AT = Token._meta.get_field("expires_at").get_col("t")

Convert = Callable[[Any, Any, BaseDatabaseWrapper], Any]  # Any: Django's converters know their types, its stubs do not


def statement(lookup: Lookup, placeholder: str) -> str:
    """The statement in SQL that both SQLite and PostgreSQL understand; the columns are indexed and unique."""
    users, tokens = User._meta.db_table, Token._meta.db_table
    columns = ", ".join(f'u."{field.column}"' for field in User._meta.concrete_fields)
    if lookup is Lookup.TOKEN:
        return (
            f'SELECT {columns}, t."expires_at" FROM "{tokens}" t JOIN "{users}" u ON u."id" = t."user_id" '  # noqa: S608  # names of our own models
            f'WHERE t."digest" = {placeholder}'
        )
    return f'SELECT {columns}, NULL FROM "{users}" u WHERE u."username" = {placeholder}'  # noqa: S608  # as above


class Rows:
    """Reads rows as Django would: by the converters of its own database backend."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._converters: list[tuple[int, Any, list[Convert]]] = []  # Any: an expression, untyped in the stubs
        for index, column in enumerate([*_COLUMNS, _EXPIRES_AT]):
            backend = connection.ops.get_db_converters(column)
            if converters := [*backend, *column.get_db_converters(connection)]:
                self._converters.append((index, column, converters))

    def identity(self, row: Sequence[Any]) -> Identity:  # Any: as the driver gives it
        """The user in a row of `statement`."""
        values = list(row)
        for index, column, converters in self._converters:
            for convert in converters:
                values[index] = convert(values[index], column, self._connection)
        *columns, expires_at = values
        return Identity(dict(zip(_ATTRIBUTES, columns, strict=True)), expires_at)
