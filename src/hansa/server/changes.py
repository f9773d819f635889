"""Changes of rows: one named transaction each, with a crash point on either side of its commit.

Inside another one it is a savepoint, and part of that one's change. One that shares its transaction with others
(`lifecycle/shared.py`) is a savepoint too, and passes the second point when all of them are committed.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction

from hansa.crashpoints import crash_point
from hansa.server.lifecycle.shared import is_shared


@contextmanager
def change(name: str) -> Iterator[None]:
    """A transaction that changes rows."""

    def committed() -> None:
        crash_point(f"{name}.committed")

    with transaction.atomic():
        yield
        if is_shared():
            transaction.on_commit(committed)
        crash_point(f"{name}.written")
    if not is_shared():
        committed()
