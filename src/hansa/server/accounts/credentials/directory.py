"""The directory of users that authenticators ask: one per event loop, closed with it."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Hashable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.db import DEFAULT_DB_ALIAS, connections

from hansa.server.accounts.credentials import orm
from hansa.server.accounts.credentials.identities import Identity, Lookup
from hansa.server.accounts.credentials.passwords import VerifiedPasswords
from hansa.server.accounts.credentials.recent import Recent
from hansa.server.accounts.credentials.sources import Source, UnavailableError
from hansa.server.accounts.models import User
from hansa.server.accounts.secrets import digest
from hansa.server.lifecycle.bridge import read

CAPACITY = 4096
"""Users kept; a busy server has fewer callers, and another one reads those that fell out again."""


@dataclass(frozen=True, slots=True)
class _Entry:
    identity: Identity
    version: Hashable
    until: float


class Directory:
    """Finds active users. What it keeps is used only while the source's version is the one it was read under."""

    def __init__(
        self, source: Source | None, *, capacity: int = CAPACITY, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._clock = clock
        self._entries: Recent[tuple[Lookup, str], _Entry] = Recent(capacity)
        self.passwords = VerifiedPasswords(clock=clock)

    async def user_of_token(self, text: str, clock: Callable[[], datetime]) -> User | None:
        """The active user a token belongs to, unless it has expired by the time that its row is known.

        A token has 160 random bits and is looked up by its SHA-256: how long an index or a dictionary takes to compare
        digests tells nobody anything about a token, so there is no need to compare in constant time.
        """
        identity = await self._find(Lookup.TOKEN, digest(text))
        if identity is None or not identity.is_active or identity.has_expired(clock()):
            return None
        return identity.user()

    async def user_named(self, username: str) -> User | None:
        """The active user with exactly this name."""
        identity = await self._find(Lookup.NAME, username)
        return identity.user() if identity is not None and identity.is_active else None

    async def close(self) -> None:
        """Close the source's connection."""
        if self._source is not None:
            await self._source.close()

    async def _find(self, lookup: Lookup, key: str) -> Identity | None:
        if self._source is None:
            return await read(orm.find, lookup, key)
        try:
            return await self._find_in(self._source, lookup, key)
        except UnavailableError:
            return await read(orm.find, lookup, key)

    async def _find_in(self, source: Source, lookup: Lookup, key: str) -> Identity | None:
        # Taken before the row is read: a change in between ends what is kept, be it read before the change or after.
        version, now = source.version(), self._clock()
        entry = self._entries.get((lookup, key))
        if entry is not None and entry.version == version and now < entry.until:
            return entry.identity
        identity = await source.find(lookup, key)
        if identity is not None:
            self._entries.put((lookup, key), _Entry(identity, version, now + source.max_age))
        return identity


_open: dict[asyncio.AbstractEventLoop, tuple[Directory, AsyncGenerator[Directory, None]]] = {}


async def directory() -> Directory:
    """The directory of the running loop, opened at the first call."""
    loop = asyncio.get_running_loop()
    if (found := _open.get(loop)) is not None:
        return found[0]
    for ended in [known for known in list(_open) if known.is_closed()]:
        _open.pop(ended, None)  # left without `shutdown_asyncgens`; asyncio.run and its like do that
    lifetime = _lifetime(loop)
    opened = await anext(lifetime)  # does not wait, so nobody else opens one meanwhile
    _open[loop] = opened, lifetime
    return opened


async def _lifetime(loop: asyncio.AbstractEventLoop) -> AsyncGenerator[Directory, None]:
    """A generator, because a loop ends those that are still open before it closes: on its thread, and awaiting them."""
    opened = Directory(_source())
    try:
        yield opened
    finally:
        _open.pop(loop, None)
        await opened.close()


def _source() -> Source | None:
    """The source for Django's default database; None where only the ORM knows the way."""
    connection = connections[DEFAULT_DB_ALIAS]
    if connection.vendor == "postgresql":
        from hansa.server.accounts.credentials.postgresql import PostgresqlSource

        return PostgresqlSource(connection)
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite" and Path(name).is_absolute():
        from hansa.server.accounts.credentials.sqlite import SqliteSource

        return SqliteSource(Path(name), connection)
    return None
