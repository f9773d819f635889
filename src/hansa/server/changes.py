"""Changes of rows: one named transaction each, with a crash point on either side of its commit."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction

from hansa.crashpoints import crash_point


@contextmanager
def change(name: str) -> Iterator[None]:
    """A transaction that changes rows. Inside another one it is a savepoint, and part of that one's change."""
    with transaction.atomic():
        yield
        crash_point(f"{name}.written")
    crash_point(f"{name}.committed")
