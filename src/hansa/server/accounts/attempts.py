"""Attempts to sign in: how often they may fail, asked before a password is hashed and told afterwards.

Two limits. One on the address, for those who try many names. One on the name *at that address*, for those who try many
passwords: not on the name alone, or a stranger could lock its owner out. What many addresses do together is bounded by
the short queue that passwords are hashed in (`bridge.slowly`).
"""

import logging
from dataclasses import dataclass

from hansa.server.accounts.models import User
from hansa.server.lifecycle.addresses import Addressed, address
from hansa.server.lifecycle.throttles import FailureLimit
from hansa.server.measures import SIGN_INS_FAILED

log = logging.getLogger(__name__)

DETAIL = "Too many attempts to sign in have failed. Wait, or use a token."

ADDRESSES = FailureLimit("sign_in_address", detail=DETAIL)
NAMES = FailureLimit("sign_in", detail=DETAIL)

_LONGEST_NAME = User._meta.get_field("username").max_length


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody at `address` is about to show a secret, and says they are `username` (empty: a code needs no name)."""

    address: str
    username: str = ""

    def check(self) -> None:
        """Raise Throttled if too many attempts like this one have failed."""
        ADDRESSES.check(self.address)
        if self.username:
            NAMES.check((self.address, self.username))

    def failed(self) -> None:
        """The secret was wrong."""
        SIGN_INS_FAILED.labels("password" if self.username else "invitation").inc()
        if ADDRESSES.failed(self.address):
            log.warning("Too many attempts to sign in from %s have failed; more are refused for now.", self.address)
        if self.username:
            NAMES.failed((self.address, self.username))

    def succeeded(self) -> None:
        """The secret was right. The name begins anew; not the address, where a guesser may have an account as well."""
        if self.username:
            NAMES.succeeded((self.address, self.username))


def attempt(request: Addressed, username: str = "") -> Attempt:
    """What is to be counted when a request shows a secret."""
    return Attempt(address(request), username[:_LONGEST_NAME])


def forget() -> None:
    """Forget all failures."""
    ADDRESSES.clear()
    NAMES.clear()
