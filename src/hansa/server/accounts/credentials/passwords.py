"""Passwords that were found right a moment ago, so that Basic does not pay for the slow hash in every request."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from hansa.server.accounts.credentials.recent import Recent
from hansa.server.accounts.models import User

CAPACITY = 4096
SECONDS = 300.0

_STORED_HASH_BACKENDS = frozenset(
    {"django.contrib.auth.backends.ModelBackend", "django.contrib.auth.backends.AllowAllUsersModelBackend"}
)
"""Those whose word depends on the user's row alone. What others say (LDAP) may change where we do not see it."""


@dataclass(frozen=True, slots=True)
class _Verified:
    mac: bytes = field(repr=False)
    until: float


class VerifiedPasswords:
    """At most one password per user, as a keyed digest that is worth nothing outside this process.

    The digest covers the hash that the user's row had: a changed password, be it the same text, is checked anew.
    Wrong passwords leave no trace here.
    """

    def __init__(
        self, *, capacity: int = CAPACITY, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._key = secrets.token_bytes(32)
        self._seconds = seconds
        self._clock = clock
        self._verified: Recent[UUID, _Verified] = Recent(capacity)

    def remember(self, user: User, password: str) -> None:
        """Django has just found this password right: `user` is what `authenticate` returned, hash and all."""
        if user.is_active and getattr(user, "backend", None) in _STORED_HASH_BACKENDS:
            self._verified.put(user.pk, _Verified(self._mac(user, password), self._clock() + self._seconds))

    def knows(self, user: User, password: str) -> bool:
        """Whether this password was found right for this hash in the last minutes."""
        verified = self._verified.get(user.pk)
        if verified is None:
            return False
        if verified.until <= self._clock():
            self._verified.drop(user.pk)
            return False
        return hmac.compare_digest(verified.mac, self._mac(user, password))

    def _mac(self, user: User, password: str) -> bytes:
        # Two parts of a fixed length, then the rest: no two triples give the same text.
        text = user.pk.bytes + hashlib.sha256(user.password.encode()).digest() + password.encode()
        return hmac.digest(self._key, text, "sha256")
