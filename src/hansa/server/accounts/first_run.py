"""The first administrator of an empty server: made in the browser, by who can read the server's terminal.

While there is no administrator, each start of the server makes a one-time code. Its text is printed and kept nowhere;
its digest is in memory, so that a code ends with its process.
"""

import hmac
from datetime import datetime

from hansa.server.accounts.models import User
from hansa.server.accounts.secrets import code_digest, new_code
from hansa.server.changes import change
from hansa.server.lifecycle.errors import ConflictError, ForbiddenError

_offered: list[str] = []
"""The digest of the code, while one may be used."""


def offer() -> str | None:
    """A new code, in the place of any before; None where an administrator exists already."""
    _offered.clear()
    if _is_done():
        return None
    code = new_code()
    _offered.append(code_digest(code))
    return code


def is_open() -> bool:
    """Whether the first administrator can still be made here."""
    return bool(_offered) and not _is_done()


def check(code: str) -> None:
    """Raise ForbiddenError for another code than the terminal shows, ConflictError once there is an administrator."""
    if not is_open():
        raise ConflictError("This server has an administrator already. Sign in, or ask them for an account.")
    if not hmac.compare_digest(code_digest(code), _offered[0]):
        raise ForbiddenError(
            "This is not the code that the server's terminal shows. It is new after each start: look for the newest."
        )


def create_administrator(*, user: User, now: datetime) -> None:
    """Save a user that was drafted, with the hash of a password, as the one who may do everything.

    Raises ConflictError if somebody was faster.
    """
    with change("accounts.create_administrator"):
        if _is_done():
            raise ConflictError("This server has an administrator already. Sign in, or ask them for an account.")
        user.is_staff = user.is_superuser = user.actor = True
        user.date_joined = now
        user.save(force_insert=True)
    _offered.clear()


def _is_done() -> bool:
    return User.objects.filter(is_superuser=True, is_active=True).exists()
