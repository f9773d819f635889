"""The database put back as it was, so that many things can be tried on the same rows. SQLite and PostgreSQL."""

from django.db import connection, transaction

PREFIX = "snapshot_"


class Snapshot:
    """A copy of every table, beside it. To be dropped: nothing else knows of the copies."""

    def __init__(self) -> None:
        tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
        quoted = connection.ops.quote_name
        self._copies = {quoted(table): quoted(PREFIX + table) for table in tables}
        with connection.cursor() as cursor:
            for table, copy in self._copies.items():
                cursor.execute(f"CREATE TABLE {copy} AS SELECT * FROM {table}")  # noqa: S608  # names of Django's

    def changed(self) -> list[str]:
        """The tables that are not as they were."""
        asked = " UNION ALL ".join(
            f"SELECT '{table}' WHERE EXISTS (SELECT * FROM {table} EXCEPT SELECT * FROM {copy})"  # noqa: S608  # as above
            f" OR EXISTS (SELECT * FROM {copy} EXCEPT SELECT * FROM {table})"
            for table, copy in self._copies.items()
        )
        with connection.cursor() as cursor:
            cursor.execute(asked)
            return [name.strip('"') for (name,) in cursor.fetchall()]

    def restore(self) -> None:
        """Every row as it was. What refers to what is looked at when all are back."""
        with transaction.atomic(), connection.cursor() as cursor:
            for table, copy in self._copies.items():
                cursor.execute(f"DELETE FROM {table}")  # noqa: S608  # as above
                cursor.execute(f"INSERT INTO {table} SELECT * FROM {copy}")  # noqa: S608  # as above

    def drop(self) -> None:
        """Leave nothing behind."""
        with connection.cursor() as cursor:
            for copy in self._copies.values():
                cursor.execute(f"DROP TABLE {copy}")
