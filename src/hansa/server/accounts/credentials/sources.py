"""What a source of identities must offer."""

from collections.abc import Hashable
from typing import Protocol

from hansa.server.accounts.credentials.identities import Identity, Lookup


class UnavailableError(Exception):
    """The connection of our own cannot answer now. The ORM may; and where it cannot, it says best why."""


class Source(Protocol):
    """Reads users by a connection of its own. Used on one event loop, by any number of requests at once."""

    max_age: float
    """Seconds after which something must be read again, though the version is the same."""

    def version(self) -> Hashable:
        """What changes before any call returns that has changed a user or a token. Raises UnavailableError."""

    async def find(self, lookup: Lookup, key: str) -> Identity | None:
        """Read one user from the database as it is now, also one that is inactive. Raises UnavailableError."""

    async def close(self) -> None:
        """Give the connection back."""
