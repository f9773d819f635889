"""Changes of rows: one named transaction each, with a crash point on either side of its commit.

A change may share its transaction with others (`lifecycle/shared.py`), or be part of another one: then it is a
savepoint, and committed when that one is.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction

from hansa.crashpoints import crash_point


@contextmanager
def change(name: str) -> Iterator[None]:
    """A transaction that changes rows."""
    with transaction.atomic():
        yield
        transaction.on_commit(lambda: crash_point(f"{name}.committed"))
        crash_point(f"{name}.written")
